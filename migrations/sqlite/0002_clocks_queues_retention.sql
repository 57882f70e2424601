-- What retries, clocks, manual jobs, retention and queues keep. The table of jobs is made anew: a check
-- with `in` of more than two values fills a table of its own at every write, so the checks spell it out.

create table jobs_anew (
    ordinal integer primary key,
    id blob not null unique check (length(id) = 16),
    function text not null,
    queue text not null,
    priority integer not null,
    on_interrupt text not null check (on_interrupt = 'rerun' or on_interrupt = 'fail'),
    -- Tags and metadata, for a job that has any.
    labels text,
    -- Retries, time-outs, retention and the rest of what most jobs leave out, as one JSON text.
    options text,
    -- What the client sent with an id of its own choice, to tell a repeated request from another one.
    fingerprint blob,
    state text not null,
    version integer not null,
    seq integer not null,
    finished_seq integer,
    attempt integer not null,
    failures integer not null default 0,
    interruptions integer not null default 0,
    crashes integer not null default 0,
    epoch integer,
    created_at integer not null,
    -- Not before this; none: at once. While `run_at_is_wall`, it is a moment of the wall clock.
    run_at integer,
    run_at_is_wall integer not null default 0,
    -- While it waits: when time next changes something about it, by the server's own clock.
    deadline_at integer,
    started_at integer,
    finished_at integer,
    expires_at integer,
    cancel_requested_at integer,
    arguments text,
    arguments_payload integer,
    arguments_bytes integer not null,
    result text,
    result_payload integer,
    result_bytes integer,
    error text,
    -- Whether it is in the index that belongs to its state. A job that starts at once is not, until the indexes reach it.
    indexed integer not null default 1,
    -- The commonest states first, and each text compared once.
    check (case state
        when 'pending' then finished_at is null and finished_seq is null and error is null
        when 'running' then epoch is not null and started_at is not null
            and finished_at is null and finished_seq is null and error is null
        when 'succeeded' then finished_at is not null and finished_seq is not null and error is null
        when 'failed' then finished_at is not null and finished_seq is not null and error is not null
        when 'cancelled' then finished_at is not null and finished_seq is not null and error is null
        else false end)
) strict;

insert into jobs_anew (ordinal, id, function, queue, priority, on_interrupt, labels, state, version, seq,
    finished_seq, attempt, interruptions, crashes, epoch, created_at, started_at, finished_at, expires_at,
    cancel_requested_at, arguments, arguments_payload, arguments_bytes, result, result_payload, result_bytes, error)
select ordinal, id, function, queue, priority, on_interrupt, labels, state, version, seq,
    finished_seq, attempt, interruptions, crashes, epoch, created_at, started_at, finished_at,
    finished_at + 604800000,
    cancel_requested_at, arguments, arguments_payload, arguments_bytes, result, result_payload, result_bytes, error
from jobs;

drop table jobs;
alter table jobs_anew rename to jobs;

-- What a starting server reads, once it has indexed what is behind `indexed_to`: the jobs that are not done.
create index jobs_unfinished on jobs (ordinal) where finished_seq is null and indexed = 1;

-- One timer needs the earliest of these; a job without one costs nothing here.
create index jobs_deadline on jobs (deadline_at) where deadline_at is not null;
create index jobs_wall on jobs (run_at) where run_at_is_wall = 1;
-- What the cleaner takes next, and ranges of ordinals that it looks through for done jobs of no index.
create index jobs_expiry on jobs (expires_at) where expires_at is not null and indexed = 1;

create table expiry_ranges (
    after_ordinal integer primary key,
    to_ordinal integer not null,
    look_at integer not null
) strict;

create index expiry_ranges_due on expiry_ranges (look_at);

-- Up to this ordinal every job is in the indexes or in a range.
alter table counters add column indexed_to integer not null default 0;
update counters set indexed_to = ordinal;

-- Attempts that failed, in order. A job that never failed has none.
create table attempts (
    job integer not null references jobs (ordinal),
    attempt integer not null,
    started_at integer not null,
    finished_at integer not null,
    error text not null,
    primary key (job, attempt)
) strict, without rowid;

-- Ids that are gone, for as long as a client is told so rather than that it never was.
create table tombstones (
    id blob primary key check (length(id) = 16),
    gone_at integer not null
) strict, without rowid;

create index tombstones_gone on tombstones (gone_at);

-- Settings made over HTTP. They stand until they are changed there: the file has only the first word.
create table queues (
    name text primary key,
    max_workers integer not null check (max_workers > 0),
    max_pending integer not null,
    paused integer not null default 0,
    shutdown integer not null default 0,
    -- Jobs that have waited without a change since this `seq` are to be cancelled: a shutdown asked for it.
    cancel_to integer
) strict, without rowid;

-- A repeated request finds its job by the key that its owner gave it, also when the job is gone.
drop table idempotency_keys;
create table idempotency_keys (
    owner text not null,
    idempotency_key text not null,
    fingerprint blob not null,
    job blob not null,
    created_at integer not null,
    primary key (owner, idempotency_key)
) strict, without rowid;

create index idempotency_keys_job on idempotency_keys (job);
create index idempotency_keys_age on idempotency_keys (created_at);

-- A delivery that was asked for again begins its schedule anew after this many attempts.
alter table deliveries add column schedule_from integer not null default 0;
