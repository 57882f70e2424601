#!/usr/bin/env bash
# PyPI humanfriendly 10.0 counts a year as 52 weeks, both ways: a retention of "1y" ends a day and a quarter early, and 365 days
# are shown as "1 year and 1 day". PyPI pytimeparse2 1.7.1 has 365 days, npm ms 2.1.3 has 365.25.
#
# Seen on Python 3.11.7 and Node 20.20.2:
#   humanfriendly 1y = 364.0 days
#   humanfriendly 365 days = 1 year and 1 day
#   pytimeparse2 1y = 365.0 days
#   ms 1y = 365.25 days
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
npm install --silent --no-save --no-audit --no-fund ms@2.1.3
python3 -m venv python && python/bin/pip install --quiet --disable-pip-version-check humanfriendly==10.0 pytimeparse2==1.7.1
{
  python/bin/python - <<'PY'
import humanfriendly, pytimeparse2
print("humanfriendly 1y =", humanfriendly.parse_timespan("1y") / 86400, "days")
print("humanfriendly 365 days =", humanfriendly.format_timespan(365 * 86400))
print("pytimeparse2 1y =", pytimeparse2.parse("1y") / 86400, "days")
PY
  node -e "console.log('ms 1y =', require('ms')('1y') / 86400000, 'days')"
} | tee seen
diff - seen <<'SEEN'
humanfriendly 1y = 364.0 days
humanfriendly 365 days = 1 year and 1 day
pytimeparse2 1y = 365.0 days
ms 1y = 365.25 days
SEEN
