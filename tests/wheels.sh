#!/usr/bin/env bash
# The wheels for Python: wheels.sh SERVER BIN WHEELS builds both into WHEELS with the tools of BIN, and tries them in an environment
# of their own, from `pip install` to the first result.
set -euo pipefail
server=$(realpath "$1") bin=$(realpath "$2") wheels=$(realpath -m "$3")
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")

rm -rf "$wheels"
FUTURITY_BINARY=$server "$bin/pip" wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir "$wheels" \
	"$root/clients/python" "$root/clients/python-server"
(cd "$wheels" && ls -s --block-size=1 -- *.whl)

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
python3 -m venv "$fresh/venv"
seconds() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(seconds)" 'BEGIN { printf "%.1f s", b - a }'; }
began=$(seconds)
"$fresh/venv/bin/pip" install --quiet --disable-pip-version-check --find-links "$wheels" "futurity[server]"
echo "pip install \"futurity[server]\": $(since "$began")"
cat > "$fresh/first.py" <<'PROGRAM'
import futurity

if __name__ == "__main__":
    with futurity.local(2) as executor:
        print(list(executor.map(pow, range(10), [2] * 10)))
PROGRAM
began=$(seconds)
# Nothing but the wheels: no FUTURITY_BIN, and a PATH without `futurity`.
said=$(cd "$fresh" && env -i PATH=/usr/bin:/bin HOME="$fresh" "$fresh/venv/bin/python" -W error first.py)
echo "first.py: $(since "$began"): $said"
[ "$said" = "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]" ]
[ "$(env -i "$fresh/venv/bin/python" -c 'import futurity_server; print(futurity_server.path())')" = "$fresh/venv/bin/futurity" ]
"$fresh/venv/bin/futurity" --version
du -sh "$fresh/venv/lib" "$fresh/venv/bin/futurity" | sed "s#$fresh/##"
