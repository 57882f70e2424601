#!/usr/bin/env bash
# Canonical JSON is what fingerprints and signatures are made of. PyPI jcs 0.2.1 writes integers as doubles without a word, so that
# 9007199254740993 and 9007199254740992 have the same canonical form, and two requests the same fingerprint. PyPI rfc8785 0.1.4
# refuses the first. PyPI canonicaljson 2.0.0 keeps it, but is another format in spite of its name: 1.0 and 1e-7 are written otherwise.
#
# Seen on Python 3.11.7:
#   jcs           9007199254740992 9007199254740992 1 1e-7
#   rfc8785       refused refused 1 1e-7
#   canonicaljson 9007199254740993 9007199254740992 1.0 1e-07
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check jcs==0.2.1 rfc8785==0.1.4 canonicaljson==2.0.0
python/bin/python - <<'PY' | tee seen
import canonicaljson, jcs, rfc8785
def told(write, value):
    try:
        return write(value).decode()
    except ValueError:
        return "refused"
for name, write in (("jcs", jcs.canonicalize), ("rfc8785", rfc8785.dumps), ("canonicaljson", canonicaljson.encode_canonical_json)):
    print(name.ljust(13), *(told(write, value) for value in (2**53 + 1, 2**53, 1.0, 1e-7)))
PY
diff - seen <<'SEEN'
jcs           9007199254740992 9007199254740992 1 1e-7
rfc8785       refused refused 1 1e-7
canonicaljson 9007199254740993 9007199254740992 1.0 1e-07
SEEN
