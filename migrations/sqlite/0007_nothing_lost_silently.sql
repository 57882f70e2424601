-- What a value must read back as, and how far the commits reach.

-- CRC-32 of the arguments as they are kept, and of the result, or else of the error. None: from before this migration.
alter table jobs add column arguments_sum integer;
alter table jobs add column outcome_sum integer;

-- Commits that changed no job: those that did are rows of `changes`.
alter table counters add column quiet integer not null default 0;
