#!/usr/bin/env bash
# npm cron-schedule 6.0.0 does not know Quartz's "#" (nth weekday) and "W" (nearest working day), and does not say so: it reads
# the digits before them. "1#1", the first Monday of a month, becomes every Monday; "15W" becomes the 15th, also on a Sunday.
# npm croner 11.0.1 knows both; npm cron 4.4.0 refuses both.
#
# Seen on Node 20.20.2:
#   1#1 cron-schedule 03-02 03-09 03-16
#   1#1 croner        03-02 04-06 05-04
#   1#1 cron          refused
#   15W cron-schedule 03-15 04-15 05-15
#   15W croner        03-16 04-15 05-15
#   15W cron          refused
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
export TZ=UTC
npm install --silent --no-save --no-audit --no-fund cron-schedule@6.0.0 cron@4.4.0 croner@11.0.1
cat > look.mjs <<'JS'
import { parseCronExpression } from 'cron-schedule';
import { CronTime } from 'cron';
import { Cron } from 'croner';
const start = new Date('2026-03-01T00:00:00Z');
for (const [word, line] of [['1#1', '0 0 * * 1#1'], ['15W', '0 0 15W * *']]) {
  const told = (name, dates) => {
    try { console.log(word, name.padEnd(13), dates().map((at) => at.toISOString().slice(5, 10)).join(' ')); }
    catch { console.log(word, name.padEnd(13), 'refused'); }
  };
  told('cron-schedule', () => parseCronExpression(line).getNextDates(3, start));
  told('croner', () => new Cron(line, { timezone: 'UTC' }).nextRuns(3, start));
  told('cron', () => [new CronTime(line, 'UTC').getNextDateFrom(start, 'UTC').toJSDate()]);
}
JS
node look.mjs | tee seen
diff - seen <<'SEEN'
1#1 cron-schedule 03-02 03-09 03-16
1#1 croner        03-02 04-06 05-04
1#1 cron          refused
15W cron-schedule 03-15 04-15 05-15
15W croner        03-16 04-15 05-15
15W cron          refused
SEEN
