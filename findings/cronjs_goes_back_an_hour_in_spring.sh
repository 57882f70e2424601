#!/usr/bin/env bash
# npm @datasert/cronjs-matcher 1.4.0, asked for the next moments of "*/30 * * * *" across the spring change of Europe/Berlin,
# answers with moments that go back: 03:00 and 03:30 come twice. In autumn it leaves the repeated hour out: for a whole hour
# nothing runs, though the line says every thirty minutes. npm croner 11.0.1 gives each half hour once, in order.
#
# Seen on Node 20.20.2 (UTC):
#   spring cronjs 00:30 01:00 01:30 01:00 01:30 02:00
#   spring croner 00:30 01:00 01:30 02:00 02:30 03:00
#   autumn cronjs 00:00 00:30 02:00 02:30
#   autumn croner 00:00 00:30 01:00 01:30
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
export TZ=UTC
npm install --silent --no-save --no-audit --no-fund @datasert/cronjs-matcher@1.4.0 croner@11.0.1
cat > look.mjs <<'JS'
import { getFutureMatches } from '@datasert/cronjs-matcher';
import { Cron } from 'croner';
const [line, timezone] = ['*/30 * * * *', 'Europe/Berlin'];
for (const [season, startAt, matchCount] of [['spring', '2026-03-29T00:20:00.000Z', 6], ['autumn', '2026-10-24T23:40:00.000Z', 4]]) {
  const told = (name, dates) => console.log(season, name, dates.map((at) => at.toISOString().slice(11, 16)).join(' '));
  told('cronjs', getFutureMatches(line, { startAt, matchCount, timezone }).map((at) => new Date(at)));
  told('croner', new Cron(line, { timezone }).nextRuns(matchCount, new Date(startAt)));
}
JS
node look.mjs | tee seen
diff - seen <<'SEEN'
spring cronjs 00:30 01:00 01:30 01:00 01:30 02:00
spring croner 00:30 01:00 01:30 02:00 02:30 03:00
autumn cronjs 00:00 00:30 02:00 02:30
autumn croner 00:00 00:30 01:00 01:30
SEEN
