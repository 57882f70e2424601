-- A delivery during which servers have died is known, as a job is: the third time it is taken for the cause.

-- The epoch of the server that is sending it, or was when it ended; none while nobody does.
alter table deliveries add column begun integer;
-- Servers that died meanwhile.
alter table deliveries add column deaths integer not null default 0;

-- What is on its way: never many.
create index deliveries_begun on deliveries (begun) where begun is not null;
