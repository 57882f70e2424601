#!/usr/bin/env bash
# "30 2 * * *" in Europe/Berlin, on the two nights on which the clocks change. Six readers of cron give three answers for each:
# in spring, when there is no 02:30, they run at 03:00, at 03:30, or not at all that day; in autumn, when there are two, they run at
# the first, at the second, or at both, so that a daily job runs twice.
#
# Seen on Node 20.20.2 and Python 3.11.7 (the first runs from the noon before on, in UTC):
#   spring croner      29T01:00 30T00:30
#   spring cron        29T01:00 30T00:30
#   spring cron-parser 29T01:30 30T00:30
#   spring cronjs      30T00:30 31T00:30
#   autumn croner      25T00:30 26T01:30
#   autumn cron        25T00:30 26T01:30
#   autumn cron-parser 25T00:30 26T01:30
#   autumn cronjs      25T01:30 26T01:30
#   spring croniter    29T01:00 30T00:30
#   spring cronsim     29T01:00 30T00:30
#   autumn croniter    25T00:30 25T01:30
#   autumn cronsim     25T00:30 26T01:30
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
export TZ=UTC
npm install --silent --no-save --no-audit --no-fund cron@4.4.0 croner@11.0.1 cron-parser@5.10.6 @datasert/cronjs-matcher@1.4.0
python3 -m venv python && python/bin/pip install --quiet --disable-pip-version-check croniter==7.0.0 cronsim==2.8 tzdata==2025.2
cat > look.mjs <<'JS'
import { getFutureMatches } from '@datasert/cronjs-matcher';
import { CronTime } from 'cron';
import { CronExpressionParser } from 'cron-parser';
import { Cron } from 'croner';
const [line, timezone] = ['30 2 * * *', 'Europe/Berlin'];
for (const [season, noon] of [['spring', '2026-03-28T12:00:00.000Z'], ['autumn', '2026-10-24T12:00:00.000Z']]) {
  const start = new Date(noon);
  const told = (name, dates) => console.log(season, name.padEnd(11), dates.map((at) => new Date(at).toISOString().slice(8, 16)).join(' '));
  told('croner', new Cron(line, { timezone }).nextRuns(2, start));
  const cron = new CronTime(line, timezone);
  let at = start;
  told('cron', Array.from({ length: 2 }, () => (at = cron.getNextDateFrom(at, timezone).toJSDate())));
  const parsed = CronExpressionParser.parse(line, { currentDate: start, tz: timezone });
  told('cron-parser', Array.from({ length: 2 }, () => parsed.next().toDate()));
  told('cronjs', getFutureMatches(line, { startAt: noon, matchCount: 2, timezone }));
}
JS
cat > look.py <<'PY'
from datetime import datetime, timezone
from zoneinfo import ZoneInfo
from croniter import croniter
from cronsim import CronSim
zone = ZoneInfo("Europe/Berlin")
for season, start in (("spring", datetime(2026, 3, 28, 13, tzinfo=zone)), ("autumn", datetime(2026, 10, 24, 14, tzinfo=zone))):
    told = lambda name, each: print(season, name.ljust(11), *(at.astimezone(timezone.utc).strftime("%dT%H:%M") for at in each))
    ours = croniter("30 2 * * *", start)
    told("croniter", [ours.get_next(datetime) for _ in range(2)])
    theirs = CronSim("30 2 * * *", start)
    told("cronsim", [next(theirs) for _ in range(2)])
PY
{ node look.mjs; python/bin/python look.py; } | tee seen
diff - seen <<'SEEN'
spring croner      29T01:00 30T00:30
spring cron        29T01:00 30T00:30
spring cron-parser 29T01:30 30T00:30
spring cronjs      30T00:30 31T00:30
autumn croner      25T00:30 26T01:30
autumn cron        25T00:30 26T01:30
autumn cron-parser 25T00:30 26T01:30
autumn cronjs      25T01:30 26T01:30
spring croniter    29T01:00 30T00:30
spring cronsim     29T01:00 30T00:30
autumn croniter    25T00:30 25T01:30
autumn cronsim     25T00:30 26T01:30
SEEN
