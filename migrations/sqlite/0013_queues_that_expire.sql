-- A queue that somebody made for a while goes when it has been empty so long.
alter table queues add column expires_ms integer check (expires_ms > 0);
