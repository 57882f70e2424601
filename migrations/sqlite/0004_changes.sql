-- The order of all changes, so that whoever follows them goes on where they were: a row for each commit.
create table changes (
    first_seq integer primary key,
    last_seq integer not null,
    -- For each change in order: by how much the job's ordinal is more or less than that of the change before, doubled, or one
    -- less than doubled if it is less, seven bits to a byte, the least significant first, the eighth bit where more follow.
    -- Of a job that is gone, its id: 16 bytes behind the number, which is that of ordinal 0.
    entries blob not null
) strict;

-- What came before is not known any more: whoever asks for it begins anew.
update counters set seq_floor = seq;
