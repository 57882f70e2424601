#!/usr/bin/env bash
# npm human-interval 2.0.1, with which job schedulers for Node read "3 hours" and "two minutes", reads "an hour", "a minute",
# "every hour" and "half an hour" as 0 milliseconds: no error, and a job that is due all the time. "five and a half minutes" is five.
#
# Seen on Node 20.20.2, in milliseconds:
#   "hour" 3600000
#   "one hour" 3600000
#   "an hour" 0
#   "every hour" 0
#   "half an hour" 0
#   "a minute" 0
#   "five and a half minutes" 300000
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
npm install --silent --no-save --no-audit --no-fund human-interval@2.0.1
cat > look.mjs <<'JS'
import humanInterval from 'human-interval';
for (const words of ['hour', 'one hour', 'an hour', 'every hour', 'half an hour', 'a minute', 'five and a half minutes'])
  console.log(JSON.stringify(words), humanInterval(words));
JS
node look.mjs | tee seen
diff - seen <<'SEEN'
"hour" 3600000
"one hour" 3600000
"an hour" 0
"every hour" 0
"half an hour" 0
"a minute" 0
"five and a half minutes" 300000
SEEN
