#!/usr/bin/env bash
# npm @datasert/cronjs-matcher 1.4.0 takes 7 for Sunday where it stands alone, but not at the end of a range: "5-7", Friday to
# Sunday, runs on Fridays and Saturdays only, without a word. npm croner 11.0.1, cron 4.4.0 and cron-parser 5.10.6 run on all three.
#
# Seen on Node 20.20.2:
#   7   cronjs      Sun Sun Sun Sun
#   5-7 cronjs      Fri Sat Fri Sat
#   5-7 croner      Fri Sat Sun Fri
#   5-7 cron        Fri Sat Sun Fri
#   5-7 cron-parser Fri Sat Sun Fri
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
export TZ=UTC
npm install --silent --no-save --no-audit --no-fund @datasert/cronjs-matcher@1.4.0 croner@11.0.1 cron@4.4.0 cron-parser@5.10.6
cat > look.mjs <<'JS'
import { getFutureMatches } from '@datasert/cronjs-matcher';
import { CronTime } from 'cron';
import { CronExpressionParser } from 'cron-parser';
import { Cron } from 'croner';
const [start, timezone] = [new Date('2026-03-02T00:00:00Z'), 'UTC'];
const told = (days, name, dates) => console.log(days.padEnd(3), name.padEnd(11), dates.map((at) => new Date(at).toUTCString().slice(0, 3)).join(' '));
const cronjs = (days) => getFutureMatches(`0 0 * * ${days}`, { startAt: start.toISOString(), matchCount: 4, timezone });
const line = '0 0 * * 5-7';
told('7', 'cronjs', cronjs('7'));
told('5-7', 'cronjs', cronjs('5-7'));
told('5-7', 'croner', new Cron(line, { timezone }).nextRuns(4, start));
const cron = new CronTime(line, timezone);
let at = start;
told('5-7', 'cron', Array.from({ length: 4 }, () => (at = cron.getNextDateFrom(at, timezone).toJSDate())));
const parsed = CronExpressionParser.parse(line, { currentDate: start, tz: timezone });
told('5-7', 'cron-parser', Array.from({ length: 4 }, () => parsed.next().toDate()));
JS
node look.mjs | tee seen
diff - seen <<'SEEN'
7   cronjs      Sun Sun Sun Sun
5-7 cronjs      Fri Sat Fri Sat
5-7 croner      Fri Sat Sun Fri
5-7 cron        Fri Sat Sun Fri
5-7 cron-parser Fri Sat Sun Fri
SEEN
