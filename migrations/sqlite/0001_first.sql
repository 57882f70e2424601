-- The first schema. Times are Unix milliseconds, ids 16-byte blobs, JSON is text.

-- One row: the counters that must never go back, and the number of the server that owns running jobs.
-- They are stored because the largest value in a table sinks when rows are deleted.
create table counters (
    only_row integer primary key check (only_row = 1),
    epoch integer not null,
    ordinal integer not null,
    seq integer not null,
    seq_floor integer not null,
    payload integer not null
) strict;

insert into counters (only_row, epoch, ordinal, seq, seq_floor, payload) values (1, 0, 0, 0, 0, 0);

-- The ordinal is the order of submission, and the rowid: new jobs go to the end of the table.
create table jobs (
    ordinal integer primary key,
    id blob not null unique check (length(id) = 16),
    function text not null,
    queue text not null,
    priority integer not null,
    on_interrupt text not null check (on_interrupt in ('rerun', 'fail')),
    labels text,
    state text not null check (state in ('pending', 'running', 'succeeded', 'failed', 'cancelled')),
    version integer not null,
    seq integer not null,
    finished_seq integer,
    attempt integer not null,
    interruptions integer not null default 0,
    crashes integer not null default 0,
    epoch integer,
    created_at integer not null,
    run_at integer,
    run_at_is_wall integer not null default 0,
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
    check ((state in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null)),
    check ((finished_at is null) = (finished_seq is null)),
    check ((state = 'failed') = (error is not null)),
    check (state != 'running' or (epoch is not null and started_at is not null))
) strict;

-- What a starting server reads: the jobs that are not done, and nothing else.
create index jobs_unfinished on jobs (ordinal) where finished_seq is null;

-- One timer needs the earliest of these; a job without a deadline costs nothing here.
create index jobs_deadline on jobs (deadline_at) where deadline_at is not null;

-- Values too large for the hot row, in pieces of at most 256 KiB.
create table chunks (
    payload integer not null,
    number integer not null,
    bytes blob not null,
    primary key (payload, number)
) strict;

-- Payloads of more than one piece are written ahead of the job that will own them; a row stands here
-- until it does. What a starting server finds here belongs to nobody.
create table unlinked_payloads (payload integer primary key) strict;

-- A repeated request finds its job by the key its owner gave it.
create table idempotency_keys (
    owner text not null,
    idempotency_key text not null,
    fingerprint blob not null,
    job integer references jobs (ordinal),
    created_at integer not null,
    primary key (owner, idempotency_key)
) strict, without rowid;

create table callbacks (
    ordinal integer primary key,
    id blob not null unique check (length(id) = 16),
    job integer not null references jobs (ordinal),
    url text not null,
    host text not null,
    sealed blob,
    created_at integer not null
) strict;

create index callbacks_job on callbacks (job);

-- The outbox: one row for each callback of a done job, written in the transaction that settles it.
-- The body is rendered once, before the first attempt, and is the same in every later one.
create table deliveries (
    callback integer primary key references callbacks (ordinal),
    job integer not null references jobs (ordinal),
    host text not null,
    state text not null check (state in ('pending', 'delivered', 'failed', 'disabled')),
    next_at integer,
    attempts integer not null default 0,
    body text,
    check ((state = 'pending') = (next_at is not null))
) strict;

create index deliveries_due on deliveries (next_at) where state = 'pending';
create index deliveries_job on deliveries (job);

create table delivery_attempts (
    callback integer not null references callbacks (ordinal),
    number integer not null,
    at integer not null,
    status integer,
    error text,
    body text,
    duration_ms integer not null,
    primary key (callback, number)
) strict, without rowid;
