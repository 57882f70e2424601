-- By how much the wall clock was ahead of the server's own when a batch was submitted, in milliseconds: the times of the
-- batch are shown by it. A job keeps the same among its options.
alter table batches add column wall_ahead_ms integer not null default 0;
