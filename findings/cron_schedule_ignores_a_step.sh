#!/usr/bin/env bash
# npm cron-schedule 6.0.0 takes "5/15" in the minutes and runs once an hour: it drops the step without a word.
# Four other readers of cron (npm cron 4.4.0, npm cron-parser 5.10.6, PyPI croniter 7.0.0, PyPI cronsim 2.8) run four times an
# hour, at 5, 20, 35 and 50; npm croner 11.0.1 refuses the expression. So the same line means 1 or 4 runs an hour, or an error.
#
# Seen on Node 20.20.2 and Python 3.11.7:
#   cron-schedule 00:05 01:05 02:05 03:05
#   cron          00:05 00:20 00:35 00:50
#   cron-parser   00:05 00:20 00:35 00:50
#   croner        refused
#   croniter      00:05 00:20 00:35 00:50
#   cronsim       00:05 00:20 00:35 00:50
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
export TZ=UTC
npm install --silent --no-save --no-audit --no-fund cron-schedule@6.0.0 cron@4.4.0 cron-parser@5.10.6 croner@11.0.1
python3 -m venv python && python/bin/pip install --quiet --disable-pip-version-check croniter==7.0.0 cronsim==2.8
cat > look.mjs <<'JS'
import { parseCronExpression } from 'cron-schedule';
import { CronTime } from 'cron';
import { CronExpressionParser } from 'cron-parser';
import { Cron } from 'croner';
const [line, start] = ['5/15 * * * *', new Date('2026-03-01T00:00:00Z')];
const told = (name, dates) => console.log(name.padEnd(13), dates.map((at) => at.toISOString().slice(11, 16)).join(' '));
told('cron-schedule', parseCronExpression(line).getNextDates(4, start));
const cron = new CronTime(line, 'UTC');
let at = start;
told('cron', Array.from({ length: 4 }, () => (at = cron.getNextDateFrom(at, 'UTC').toJSDate())));
const parsed = CronExpressionParser.parse(line, { currentDate: start, tz: 'UTC' });
told('cron-parser', Array.from({ length: 4 }, () => parsed.next().toDate()));
try { told('croner', new Cron(line, { timezone: 'UTC' }).nextRuns(4, start)); } catch { console.log('croner        refused'); }
JS
cat > look.py <<'PY'
from datetime import datetime, timezone
from croniter import croniter
from cronsim import CronSim
line, start = "5/15 * * * *", datetime(2026, 3, 1, tzinfo=timezone.utc)
each = croniter(line, start)
print("croniter     ", *(each.get_next(datetime).strftime("%H:%M") for _ in range(4)))
each = CronSim(line, start)
print("cronsim      ", *(next(each).strftime("%H:%M") for _ in range(4)))
PY
{ node look.mjs; python/bin/python look.py; } | tee seen
diff - seen <<'SEEN'
cron-schedule 00:05 01:05 02:05 03:05
cron          00:05 00:20 00:35 00:50
cron-parser   00:05 00:20 00:35 00:50
croner        refused
croniter      00:05 00:20 00:35 00:50
cronsim       00:05 00:20 00:35 00:50
SEEN
