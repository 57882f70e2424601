#!/usr/bin/env bash
# The checks of the Python package: python.sh SERVER BIN, where SERVER is the program and BIN has the pinned tools.
set -euo pipefail
server=$(realpath "$1") bin=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/../clients/python"

"$bin/ruff" format --check --quiet . ../python-server
"$bin/ruff" check --quiet . ../python-server
"$bin/mypy"
# It runs on node, which the machine may not have.
if "$bin/pyright" --version >/dev/null 2>&1; then "$bin/pyright" --pythonpath "$bin/python"; else echo "NOTE: pyright cannot start; it is SKIPPED"; fi
FUTURITY_BIN=$server "$bin/pytest"
