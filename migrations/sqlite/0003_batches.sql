-- Batches: jobs that were submitted together, with counts, results and callbacks of their own.

-- Its ordinal is one of the jobs' own row, so none is ever given twice. The counts move with the jobs, one update
-- of a batch in a commit; nothing is ever counted by looking through them.
create table batches (
    ordinal integer primary key,
    id blob not null unique check (length(id) = 16),
    function text not null,
    on_error text not null,
    total integer not null default 0,
    running integer not null default 0,
    succeeded integer not null default 0,
    failed integer not null default 0,
    cancelled integer not null default 0,
    -- Whether all its calls are there. While a streaming map brings them, only the server of this epoch adds any.
    closed integer not null,
    epoch integer not null,
    retention_ms integer not null,
    created_at integer not null,
    finished_at integer,
    expires_at integer,
    cancel_requested_at integer,
    -- Its time is over, and its jobs are being removed: nobody is shown it any more.
    going integer not null default 0,
    check ((finished_at is null) = (expires_at is null)),
    check (finished_at is null or (closed = 1 and total = succeeded + failed + cancelled))
) strict;

create index batches_expiry on batches (expires_at) where expires_at is not null;
-- What a starting server closes, and what it goes on cancelling.
create index batches_unfinished on batches (ordinal) where finished_at is null;

-- Where the jobs of a batch stand: runs of consecutive ordinals, for consecutive calls. What is submitted at once is one run.
create table batch_runs (
    batch integer not null references batches (ordinal),
    index_from integer not null,
    ordinal_from integer not null,
    count integer not null,
    primary key (batch, index_from)
) strict, without rowid;

-- No reference: each insert would look the batch up, and the end of a batch would look through all jobs.
alter table jobs add column batch integer;
-- The place among the calls of the batch, from 0.
alter table jobs add column batch_index integer;

-- The ends of a batch's jobs in their order, for whoever reads its results so. No index of the jobs: each write of each job
-- would open it.
create table batch_ends (
    batch integer not null,
    seq integer not null,
    job integer not null,
    primary key (batch, seq)
) strict, without rowid;

-- A callback is a job's or a batch's. Only those of batches say what they wait for: a job's wait for its end.
create table callbacks_anew (
    ordinal integer primary key,
    id blob not null unique check (length(id) = 16),
    job integer references jobs (ordinal),
    batch integer references batches (ordinal),
    at_event text,
    url text not null,
    host text not null,
    sealed blob,
    created_at integer not null,
    check ((job is null) != (batch is null)),
    check ((at_event is null) = (batch is null))
) strict;

insert into callbacks_anew (ordinal, id, job, url, host, sealed, created_at)
select ordinal, id, job, url, host, sealed, created_at from callbacks;

create table deliveries_anew (
    callback integer primary key references callbacks (ordinal),
    job integer,
    batch integer,
    host text not null,
    state text not null check (state in ('pending', 'delivered', 'failed', 'disabled')),
    next_at integer,
    attempts integer not null default 0,
    body text,
    schedule_from integer not null default 0,
    check ((state = 'pending') = (next_at is not null)),
    check ((job is null) != (batch is null))
) strict;

insert into deliveries_anew (callback, job, host, state, next_at, attempts, body, schedule_from)
select callback, job, host, state, next_at, attempts, body, schedule_from from deliveries;

drop table deliveries;
drop table callbacks;
alter table callbacks_anew rename to callbacks;
alter table deliveries_anew rename to deliveries;

create index callbacks_job on callbacks (job) where job is not null;
create index callbacks_batch on callbacks (batch) where batch is not null;
create index deliveries_due on deliveries (next_at) where state = 'pending';
create index deliveries_job on deliveries (job) where job is not null;
create index deliveries_batch on deliveries (batch) where batch is not null;
