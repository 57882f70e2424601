-- What jobs wrote while they ran, in pieces of at most 64 KiB: their tail, of at most 1 MiB for each job.
create table log_pieces (
    job integer not null references jobs (ordinal),
    attempt integer not null,
    first_number integer not null,
    last_number integer not null,
    bytes integer not null,
    -- A JSON array for each line, with the end of a line behind it: number, stream, text.
    lines text not null,
    primary key (job, attempt, first_number)
) strict, without rowid;
