-- An end is a row of its own, written once: a job that ends with a value changes nothing that was written before.
-- So the table of jobs is divided: what was called for and how far it has come, what came of it, and which are not done.

alter table jobs rename to calls;

create table calls_anew (
    -- The order of submission, and the rowid: new ones go to the end of the table.
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
    -- `pending` or `running`, and `done` once it has ended. One that ended with a value is left as it ran: its end says that it
    -- is done.
    state text not null,
    version integer not null,
    seq integer not null,
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
    cancel_requested_at integer,
    arguments text,
    arguments_payload integer,
    arguments_bytes integer not null,
    -- CRC-32 of the arguments as they are kept.
    arguments_sum integer,
    -- The batch, and the place among its calls, from 0. No reference: each insert would look the batch up, and the end of a
    -- batch would look through all jobs.
    batch integer,
    batch_index integer,
    -- The commonest state first, and each text compared once.
    check (case state
        when 'running' then epoch is not null and started_at is not null
        when 'pending' then true
        when 'done' then true
        else false end)
) strict;

-- What came of a job. No reference to its call: each insert would look it up.
create table ends (
    job integer primary key,
    state text not null,
    -- Of the whole job, whose last change this is.
    version integer not null,
    seq integer not null,
    finished_at integer not null,
    -- None: it goes with its batch.
    expires_at integer,
    result text,
    result_payload integer,
    result_bytes integer,
    error text,
    -- CRC-32 of the result as it is kept, or else of the error, and of the ordinal behind it, and 2^32 more, which says so: that
    -- of an end from before this migration is of the value alone.
    sum integer,
    -- Whether it is in the index of what expires, or in a range that is looked through.
    indexed integer not null,
    check (case state
        when 'succeeded' then error is null
        when 'failed' then error is not null
        when 'cancelled' then error is null
        else false end)
) strict;

-- Jobs that are not done: what a starting server reads. One that starts as it comes enters late, when thousands have come
-- after it, and most never have to.
create table unfinished (job integer primary key) strict;

insert into unfinished (job) select ordinal from calls where finished_seq is null and indexed = 1 order by ordinal;

insert into calls_anew (ordinal, id, function, queue, priority, on_interrupt, labels, options, fingerprint, state, version, seq,
    attempt, failures, interruptions, crashes, epoch, created_at, run_at, run_at_is_wall, deadline_at, started_at,
    cancel_requested_at, arguments, arguments_payload, arguments_bytes, arguments_sum, batch, batch_index)
select ordinal, id, function, queue, priority, on_interrupt, labels, options, fingerprint,
    iif(finished_seq is null, state, 'done'), version, seq,
    attempt, failures, interruptions, crashes, epoch, created_at, run_at, run_at_is_wall, deadline_at, started_at,
    cancel_requested_at, arguments, arguments_payload, arguments_bytes, arguments_sum, batch, batch_index
from calls order by ordinal;

insert into ends (job, state, version, seq, finished_at, expires_at, result, result_payload, result_bytes, error, sum, indexed)
select ordinal, state, version, finished_seq, finished_at, expires_at, result, result_payload, result_bytes, error, outcome_sum,
    indexed
from calls where finished_seq is not null order by ordinal;

drop table calls;
alter table calls_anew rename to calls;

-- One timer needs the earliest of these; a job without one costs nothing here.
create index calls_deadline on calls (deadline_at) where deadline_at is not null;
create index calls_wall on calls (run_at) where run_at_is_wall = 1;
-- What the cleaner takes next, and ranges of ordinals that it looks through for done jobs of no index.
create index ends_expiry on ends (expires_at) where expires_at is not null and indexed = 1;

-- A job as whoever reads it sees it.
create view jobs as
select c.ordinal, c.id, c.function, c.queue, c.priority, c.on_interrupt, c.labels, c.options, c.fingerprint,
    coalesce(e.state, c.state) as state, coalesce(e.version, c.version) as version, coalesce(e.seq, c.seq) as seq,
    e.seq as finished_seq, c.attempt, c.failures, c.interruptions, c.crashes, c.epoch, c.created_at, c.run_at,
    c.run_at_is_wall, c.deadline_at, c.started_at, e.finished_at, e.expires_at, c.cancel_requested_at,
    c.arguments, c.arguments_payload, c.arguments_bytes, c.arguments_sum,
    e.result, e.result_payload, e.result_bytes, e.error, e.sum as outcome_sum, c.batch, c.batch_index
from calls as c left join ends as e on e.job = c.ordinal;
