#!/usr/bin/env bash
# A cron line that names a day of the month and a weekday runs on either, unless one of the two is a star. Readers disagree on
# what a star is. "1-31" (every day): npm cron 4.4.0 and cron-schedule 6.0.0 take it for a star, so that only Mondays are left; npm croner
# 11.0.1, PyPI croniter 7.0.0 and cronsim 2.8 run every day. "*/2": cronsim takes it for a star, as Debian's cron does, so that both
# must hold; all the others run on either.
#
# Seen on Node 20.20.2 and Python 3.11.7, from 2026-03-01 (a Sunday) on:
#   1-31 and Monday cron          02 09 16 23
#   1-31 and Monday cron-schedule 02 09 16 23
#   1-31 and Monday croner        02 03 04 05
#   */2 and Monday  cron          02 03 05 07
#   */2 and Monday  cron-schedule 02 03 05 07
#   */2 and Monday  croner        02 03 05 07
#   1-31 and Monday croniter      02 03 04 05
#   1-31 and Monday cronsim       02 03 04 05
#   */2 and Monday  croniter      02 03 05 07
#   */2 and Monday  cronsim       09 23 13 27
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
export TZ=UTC
npm install --silent --no-save --no-audit --no-fund cron-schedule@6.0.0 cron@4.4.0 croner@11.0.1
python3 -m venv python && python/bin/pip install --quiet --disable-pip-version-check croniter==7.0.0 cronsim==2.8
cat > look.mjs <<'JS'
import { parseCronExpression } from 'cron-schedule';
import { CronTime } from 'cron';
import { Cron } from 'croner';
const start = new Date('2026-03-01T00:00:00Z');
for (const days of ['1-31', '*/2']) {
  const line = `0 0 ${days} * 1`;
  const told = (name, dates) => console.log(`${days} and Monday`.padEnd(15), name.padEnd(13), dates.map((at) => at.toISOString().slice(8, 10)).join(' '));
  const cron = new CronTime(line, 'UTC');
  let at = start;
  told('cron', Array.from({ length: 4 }, () => (at = cron.getNextDateFrom(at, 'UTC').toJSDate())));
  told('cron-schedule', parseCronExpression(line).getNextDates(4, start));
  told('croner', new Cron(line, { timezone: 'UTC' }).nextRuns(4, start));
}
JS
cat > look.py <<'PY'
from datetime import datetime, timezone
from croniter import croniter
from cronsim import CronSim
start = datetime(2026, 3, 1, tzinfo=timezone.utc)
for days in ("1-31", "*/2"):
    line = f"0 0 {days} * 1"
    told = lambda name, each: print(f"{days} and Monday".ljust(15), name.ljust(13), *(at.strftime("%d") for at in each))
    ours = croniter(line, start)
    told("croniter", [ours.get_next(datetime) for _ in range(4)])
    theirs = CronSim(line, start)
    told("cronsim", [next(theirs) for _ in range(4)])
PY
{ node look.mjs; python/bin/python look.py; } | tee seen
diff - seen <<'SEEN'
1-31 and Monday cron          02 09 16 23
1-31 and Monday cron-schedule 02 09 16 23
1-31 and Monday croner        02 03 04 05
*/2 and Monday  cron          02 03 05 07
*/2 and Monday  cron-schedule 02 03 05 07
*/2 and Monday  croner        02 03 05 07
1-31 and Monday croniter      02 03 04 05
1-31 and Monday cronsim       02 03 04 05
*/2 and Monday  croniter      02 03 05 07
*/2 and Monday  cronsim       09 23 13 27
SEEN
