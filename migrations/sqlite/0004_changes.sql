-- The order of all changes, so that whoever follows them goes on where they were: a row for each commit.
create table changes (
    first_seq integer primary key,
    last_seq integer not null,
    -- For each change in order: the job's ordinal, 8 bytes, the least significant first; of a job that is gone, the ordinal
    -- below zero, and its id behind it.
    entries blob not null
) strict;

-- What came before is not known any more: whoever asks for it begins anew.
update counters set seq_floor = seq;
