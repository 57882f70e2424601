-- The ends of a batch's jobs, many in a row: those that one commit brought, in their order, as a JSON array of the jobs'
-- ordinals. `seq` is the change that was the first of them; each job has its own.
create table batch_ends_anew (
    batch integer not null,
    seq integer not null,
    jobs text not null,
    primary key (batch, seq)
) strict, without rowid;

insert into batch_ends_anew (batch, seq, jobs) select batch, seq, json_array(job) from batch_ends;
drop table batch_ends;
alter table batch_ends_anew rename to batch_ends;
