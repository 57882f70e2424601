-- Receivers of callbacks take turns, and what became of deliveries is counted.

-- A host and port that deliveries go to. What has nothing more to be sent stays for a day, so that it is known how it answers.
create table receivers (
    host text primary key,
    -- Its next turn: when the earliest of its open deliveries is due, but not before the last POST to it was over. None: it
    -- has no open delivery.
    turn_at integer,
    -- How it answered last.
    pace text not null check (pace = 'new' or pace = 'quick' or pace = 'slow' or pace = 'silent'),
    -- Whose places it may have.
    share text not null generated always as (case pace when 'quick' then 'quick' when 'new' then 'new' else 'tried' end) virtual,
    used_at integer not null
) strict, without rowid;

create index receivers_turn on receivers (share, turn_at);
create index receivers_idle on receivers (used_at) where turn_at is null;

drop index deliveries_due;
create index deliveries_due on deliveries (host, next_at) where state = 'pending';
-- What an operator looks for.
create index deliveries_failed on deliveries (callback) where state = 'failed';

-- How many deliveries are in each state.
create table delivery_counts (
    state text primary key,
    count integer not null
) strict, without rowid;

insert into delivery_counts (state, count)
select s.value, (select count(*) from deliveries as d where d.state = s.value)
from json_each('["pending", "delivered", "failed", "disabled"]') as s;

insert into receivers (host, turn_at, pace, used_at)
select host, min(next_at), 'new', min(next_at) from deliveries where state = 'pending' group by host;

-- Turns and counts follow the deliveries, whichever statement changes them.
create trigger deliveries_made after insert on deliveries begin
    insert into receivers (host, turn_at, pace, used_at) values (new.host, new.next_at, 'new', new.next_at)
    on conflict (host) do update set turn_at = min(coalesce(turn_at, new.next_at), new.next_at);
    update delivery_counts set count = count + 1 where state = new.state;
end;

create trigger deliveries_moved after update of state, next_at on deliveries begin
    update receivers
    set turn_at = (select min(d.next_at) from deliveries as d where d.host = new.host and d.state = 'pending')
    where host = new.host;
    update delivery_counts set count = count + (state = new.state) - (state = old.state)
    where old.state != new.state and (state = new.state or state = old.state);
end;

create trigger deliveries_gone after delete on deliveries begin
    update receivers
    set turn_at = (select min(d.next_at) from deliveries as d where d.host = old.host and d.state = 'pending')
    where host = old.host and old.state = 'pending';
    update delivery_counts set count = count - 1 where state = old.state;
end;
