#!/usr/bin/env bash
# Durations as people write them in settings and calls, read by five libraries. npm timestring 7.0.0 and enhanced-ms 5.0.0 drop a
# minus sign: "-5m" is five minutes ahead. "1h30" is an hour and a half for npm parse-duration 2.1.9, an hour for the other two,
# and nothing for npm ms 2.1.3 and PyPI pytimeparse 1.1.8. "1:30" is 1.03 milliseconds for parse-duration, and 90 seconds for pytimeparse.
#
# Seen on Node 20.20.2 and Python 3.11.7, in milliseconds:
#   ms             -5m -300000  1h30 undefined  1:30 undefined
#   parse-duration -5m -300000  1h30 5400000  1:30 1.03
#   timestring     -5m 300000  1h30 3600000  1:30 refused
#   enhanced-ms    -5m 300000  1h30 3600000  1:30 null
#   pytimeparse    -5m -300000  1h30 None  1:30 90000
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
npm install --silent --no-save --no-audit --no-fund ms@2.1.3 parse-duration@2.1.9 timestring@7.0.0 enhanced-ms@5.0.0
python3 -m venv python && python/bin/pip install --quiet --disable-pip-version-check pytimeparse==1.1.8
cat > look.mjs <<'JS'
import ms from 'ms';
import parseDuration from 'parse-duration';
import timestring from 'timestring';
import * as enhanced from 'enhanced-ms';
const libraries = {
  ms, 'parse-duration': parseDuration, timestring: (text) => timestring(text, 'ms'),
  'enhanced-ms': enhanced.getMilliseconds ?? enhanced.parse ?? enhanced.default,
};
for (const [name, read] of Object.entries(libraries)) {
  const told = (text) => { try { return `${text} ${read(text)}`; } catch { return `${text} refused`; } };
  console.log(name.padEnd(14), ['-5m', '1h30', '1:30'].map(told).join('  '));
}
JS
cat > look.py <<'PY'
from pytimeparse import parse
told = lambda text: f"{text} {None if parse(text) is None else parse(text) * 1000}"
print("pytimeparse   ", "  ".join(map(told, ("-5m", "1h30", "1:30"))))
PY
{ node look.mjs; python/bin/python look.py; } | tee seen
diff - seen <<'SEEN'
ms             -5m -300000  1h30 undefined  1:30 undefined
parse-duration -5m -300000  1h30 5400000  1:30 1.03
timestring     -5m 300000  1h30 3600000  1:30 refused
enhanced-ms    -5m 300000  1h30 3600000  1:30 null
pytimeparse    -5m -300000  1h30 None  1:30 90000
SEEN
