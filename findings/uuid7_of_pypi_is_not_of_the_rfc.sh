#!/usr/bin/env bash
# PyPI uuid7 0.1.0 (imported as uuid_extensions) makes ids that say version 7 and the right variant, in a layout that RFC 9562 does
# not have: the first 36 bits are seconds, not the first 48 milliseconds. Whoever reads their time as the RFC has it finds one of
# around the year 2200, and sorted among ids of uuid6 2025.0.1 or uuid_utils they all come last. The three agree with themselves only.
#
# Seen on Python 3.11.7:
#   uuid7      version 7, of this year: False, after an id of uuid6 that is made later: True
#   uuid6      version 7, of this year: True
#   uuid_utils version 7, of this year: True
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check uuid7==0.1.0 uuid6==2025.0.1 uuid_utils==0.11.0
python/bin/python - <<'PY' | tee seen
import datetime
import uuid6, uuid_extensions, uuid_utils
now = datetime.datetime.now(datetime.timezone.utc)
def is_of_this_year(made):
    at = datetime.datetime.fromtimestamp((made.int >> 80) / 1000, datetime.timezone.utc)
    return abs((at - now).days) < 366
first, later = uuid_extensions.uuid7(), uuid6.uuid7()
print(f"uuid7      version {first.version}, of this year: {is_of_this_year(first)}, after an id of uuid6 that is made later: {first.int > later.int}")
print(f"uuid6      version {later.version}, of this year: {is_of_this_year(later)}")
third = uuid_utils.uuid7()
print(f"uuid_utils version {third.version}, of this year: {is_of_this_year(third)}")
PY
diff - seen <<'SEEN'
uuid7      version 7, of this year: False, after an id of uuid6 that is made later: True
uuid6      version 7, of this year: True
uuid_utils version 7, of this year: True
SEEN
