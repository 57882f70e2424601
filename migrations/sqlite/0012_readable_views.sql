-- For people who look at the file with another program: ids as clients know them, moments as RFC 3339 by the wall clock, values as
-- JSON. The server reads none of it. Only what SQLite 3.40 knows may stand here: an older program that does not understand one view
-- refuses the whole file.
create view readable_jobs as
select lower(printf('%s-%s-%s-%s-%s', substr(hex(j.id), 1, 8), substr(hex(j.id), 9, 4), substr(hex(j.id), 13, 4),
        substr(hex(j.id), 17, 4), substr(hex(j.id), 21))) as id,
    j.function,
    case when coalesce(j.options ->> '$.manual', 0) then null else j.queue end as queue,
    j.state,
    case when b.id is not null then lower(printf('%s-%s-%s-%s-%s', substr(hex(b.id), 1, 8), substr(hex(b.id), 9, 4),
        substr(hex(b.id), 13, 4), substr(hex(b.id), 17, 4), substr(hex(b.id), 21))) end as batch,
    j.batch_index,
    j.priority,
    j.attempt,
    strftime('%Y-%m-%dT%H:%M:%fZ', (j.created_at + coalesce(j.options ->> '$.wall_ahead_ms', 0)) / 1000.0, 'unixepoch') as created_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', (j.started_at + coalesce(j.options ->> '$.wall_ahead_ms', 0)) / 1000.0, 'unixepoch') as started_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', (j.finished_at + coalesce(j.options ->> '$.wall_ahead_ms', 0)) / 1000.0, 'unixepoch') as finished_at,
    j.started_at - j.created_at as queued_ms,
    case when j.started_at is not null then j.finished_at - j.started_at end as run_ms,
    j.arguments -> '$[0]' as args,
    j.arguments -> '$[1]' as kwargs,
    j.arguments_payload is not null as arguments_elsewhere,
    j.result,
    j.result_payload is not null as result_elsewhere,
    j.error ->> '$.type' as error_type,
    j.error ->> '$.message' as error_message,
    coalesce(j.labels -> '$[0]', '[]') as tags,
    (select json_group_object(pair.value ->> '$[0]', pair.value ->> '$[1]') from json_each(j.labels, '$[1]') as pair) as metadata
from jobs as j left join batches as b on b.ordinal = j.batch;

create view readable_batches as
select lower(printf('%s-%s-%s-%s-%s', substr(hex(id), 1, 8), substr(hex(id), 9, 4), substr(hex(id), 13, 4),
        substr(hex(id), 17, 4), substr(hex(id), 21))) as id,
    function,
    total,
    total - running - succeeded - failed - cancelled as pending,
    running,
    succeeded,
    failed,
    cancelled,
    strftime('%Y-%m-%dT%H:%M:%fZ', (created_at + wall_ahead_ms) / 1000.0, 'unixepoch') as created_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', (finished_at + wall_ahead_ms) / 1000.0, 'unixepoch') as finished_at
from batches
where going = 0;
