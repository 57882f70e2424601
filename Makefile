# `make` alone lists the targets. `.ci/run` calls `make test`, and so can you.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test check torture torture-brief torture-memory torture-multiplied mutants overload fuzz bench bench-growth bench-many bench-peers bench-programs bench-webhooks lab-cgroups lab-egress clients lab-proxies lab-silence recipes doc clean-data tools fmt lint tests test-python test-python-cpython test-python-long bench-python wheels contract doctests

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

run: ## build, then serve on http://127.0.0.1:8080
	@cargo run --release --locked

test: tools fmt lint tests test-python contract lab-egress torture-brief doctests doc ## everything that CI checks
	@echo "==> all of it holds"

check: fmt lint ## the fast part of `make test`: format and lints

bench: ## rates, latencies, memory and start of the durable path beside a bare echo, in a release build
	@echo "==> bench"
	@cargo bench --locked --no-run --bench echo
	@cargo bench --locked --bench throughput

bench-growth: ## servers with a million jobs that wait and up to five million that are done beside one with next to none, in a release build
	@echo "==> bench-growth"
	@cargo bench --locked --bench growth

bench-many: ## a map of a million lines, a thousand readers of every change, in a release build
	@echo "==> bench-many"
	@cargo bench --locked --bench many

bench-peers: ## the same work done by BullMQ, Celery, Dask, Huey and Python's executors, in a release build; installs them below target
	@echo "==> bench-peers"
	@cargo bench --locked --bench peers

bench-programs: ## workers and commands beside Python's executors and a bare pipe, in a release build
	@echo "==> bench-programs"
	@cargo bench --locked --bench programs

bench-webhooks: ## a hundred thousand callbacks, some to receivers that hang, and http.request beside Python's threads, in a release build
	@echo "==> bench-webhooks"
	@cargo bench --locked --bench webhooks

torture: ## kills, power cuts, failing calls, flipped bits, full disks, each many times, in a release build: an hour and more; as root
	@echo "==> torture"
	@cargo build --release --locked && cargo build --locked
	@python3 tests/torture target/release/futurity --debug-program target/debug/futurity

# A few of each.
torture-brief:
	@echo "==> torture, briefly"
	@cargo build --locked
	@python3 tests/torture target/debug/futurity --debug-program target/debug/futurity --scale 0.006

torture-memory: ## what thousands of connections hold at most, in a release build: some minutes
	@echo "==> torture-memory"
	@cargo build --release --locked
	@python3 tests/torture/memory.py target/release/futurity --connections 16384

torture-multiplied: ## what one request may become: memory, disk, and what others notice, in a release build; where there is no network
	@echo "==> torture-multiplied"
	@cargo build --release --locked
	@unshare -n sh -c 'ip link set lo up; exec python3 tests/torture/multiplied.py target/release/futurity'

overload: ## ten times the capacity for three minutes, with clients that are slow, deaf or gone, in a release build
	@echo "==> overload"
	@cargo build --release --locked
	@python3 tests/torture/overload.py target/release/futurity --seconds 180

mutants: ## break the server on purpose, a promise at a time; the tests must notice
	@echo "==> mutants"
	@python3 tests/mutants.py

FUZZ_SECONDS ?= 60
fuzz: ## libFuzzer on each reader of what strangers send, FUZZ_SECONDS (60) each; needs cargo-fuzz and a nightly compiler
	@echo "==> fuzz"
	@set -e; for target in $$(ls fuzz/fuzz_targets | sed 's/\.rs$$//'); do \
		cargo +nightly fuzz run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096; \
	done

lab-egress: ## nothing that is denied is connected to, and names that hang delay no others: in a network namespace of its own; needs iproute2
	@echo "==> egress"
	@cargo build --locked
	@python3 tests/lab/egress.py target/debug/futurity && python3 tests/lab/lookups.py target/debug/futurity; \
	case $$? in \
		0) ;; \
		77) echo "NOTE: no network namespace, or no iproute2; the egress lab is SKIPPED" ;; \
		*) exit 1 ;; \
	esac

lab-cgroups: ## control groups with all controllers, in a virtual machine; needs qemu-system-x86, a kernel, busybox-static, cpio
	@echo "==> lab-cgroups"
	@cargo build --release --locked
	@tests/lab/cgroups.sh target/release/futurity

doc: ## the documentation; a broken link fails
	@echo "==> documentation"
	@RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

clean-data: ## remove ./futurity-data with every job in it; stop the server first
	@echo "==> remove ./futurity-data"
	@rm -rf ./futurity-data

SCHEMATHESIS := target/schemathesis/bin/schemathesis

# What the tests need and the machine lacks. A tool that cannot be had is named, and its tests are skipped.
tools:
	@echo "==> tools"
	@missing=; \
	command -v strace >/dev/null || missing="strace"; \
	command -v gm >/dev/null || missing="$$missing graphicsmagick"; \
	command -v ip >/dev/null || missing="$$missing iproute2"; \
	if [ -z "$$missing" ]; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "missing, installed from Debian: $$missing"; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null \
			|| echo "NOTE: $$missing could not be installed; the tests that need it are SKIPPED"; \
	else \
		echo "NOTE: $$missing is missing; the tests that need it are SKIPPED (apt-get install $$missing)"; \
	fi
	@if [ -e $(SCHEMATHESIS) ] && cmp -s tests/contract/requirements.txt target/schemathesis/requirements.txt; then :; \
	else \
		echo "schemathesis is missing: install it from PyPI into target/schemathesis"; \
		{ python3 -m venv --clear target/schemathesis \
			&& target/schemathesis/bin/pip install --quiet --disable-pip-version-check \
				--requirement tests/contract/requirements.txt \
			&& cp tests/contract/requirements.txt target/schemathesis/; } >/dev/null \
			|| { rm -rf target/schemathesis; echo "NOTE: schemathesis could not be installed"; }; \
	fi
	@cargo nextest --version >/dev/null 2>&1 \
		|| echo "NOTE: cargo-nextest is missing; cargo test runs instead, and no test is timed out"

fmt:
	@echo "==> format"
	@cargo fmt --check
	@python3 tests/mutants.py --list >/dev/null

lint:
	@echo "==> lints"
	@cargo clippy --all-targets --locked -- -D warnings

# Generated requests, valid and not, against the contract, and clients that two generators make of it; in a network namespace
# without a route.
contract: tools
	@echo "==> contract"
	@if [ -e $(SCHEMATHESIS) ]; then \
		cargo build --locked || exit 1; \
		python3 tests/contract/run.py target/debug/futurity $(SCHEMATHESIS); \
		case $$? in \
			0) ;; \
			77) echo "NOTE: no network namespace can be had; generated requests are SKIPPED" ;; \
			*) exit 1 ;; \
		esac; \
	else echo "NOTE: schemathesis is missing; generated requests are SKIPPED"; fi
	@echo "==> generated clients"
	@python3 tests/clients/install.py $(CLIENTS)/brief brief; \
	case $$? in \
		0) cargo build --locked && python3 tests/clients/main_job.py target/debug/futurity $(CLIENTS)/brief openapi-python-client openapi-typescript ;; \
		77) echo "NOTE: generators of clients cannot be had; generated clients are SKIPPED" ;; \
		*) exit 1 ;; \
	esac

lab-proxies: ## nginx, HAProxy, Caddy and Apache before a server, as docs/proxies.md has them; takes them from Debian if they are missing
	@echo "==> lab-proxies"
	@cargo build --locked
	@python3 tests/lab/proxies.py target/debug/futurity target/proxies $(PROXIES); \
	case $$? in \
		0) ;; \
		77) echo "NOTE: no proxy is here and none can be downloaded; the lab of proxies is SKIPPED" ;; \
		*) exit 1 ;; \
	esac

READERS := target/readers
SILENT_SECONDS ?= 3600
lab-silence: ## streams that are silent for SILENT_SECONDS (3600), through 18 readers and each proxy: nothing cuts one; needs npm
	@echo "==> lab-silence"
	@cargo build --locked
	@if ! cmp -s tests/lab/readers/requirements.txt $(READERS)/requirements.txt \
		|| ! cmp -s tests/lab/readers/package.json $(READERS)/node/package.json; then \
		python3 -m venv --clear $(READERS)/python && rm -rf $(READERS)/node && mkdir $(READERS)/node \
			&& $(READERS)/python/bin/pip install --quiet --disable-pip-version-check --requirement tests/lab/readers/requirements.txt \
			&& cp tests/lab/readers/package.json $(READERS)/node/ \
			&& npm install --prefix $(READERS)/node --no-audit --no-fund --no-package-lock --ignore-scripts --silent \
			&& cp tests/lab/readers/requirements.txt $(READERS)/; \
	fi
	@python3 tests/lab/silence.py target/debug/futurity $(READERS) target/proxies --seconds $(SILENT_SECONDS)

recipes: ## each block of docs/recipes.md prints what the page says; installs pandas, polars and DuckDB below target
	@echo "==> recipes"
	@cargo build --locked
	@if ! cmp -s tests/recipes/requirements.txt target/recipes/requirements.txt; then \
		python3 -m venv --clear target/recipes \
			&& target/recipes/bin/pip install --quiet --disable-pip-version-check --requirement tests/recipes/requirements.txt \
			&& cp tests/recipes/requirements.txt target/recipes/; \
	fi
	@python3 tests/recipes/run.py target/debug/futurity target/recipes/bin/python

CLIENTS := target/clients
clients: ## clients that seven generators make of openapi.yaml do the main job; needs npm and a JDK, and installs the rest below target
	@echo "==> clients"
	@cargo build --locked
	@python3 tests/clients/install.py $(CLIENTS)/all all && python3 tests/clients/main_job.py target/debug/futurity $(CLIENTS)/all

PYTHON := target/python/bin
PYTHON_PINS := clients/python/requirements-test.txt

test-python: ## the package for Python: format, lints, types, tests against a real server
	@echo "==> python"
	@if [ -e $(PYTHON)/pytest ] && cmp -s $(PYTHON_PINS) target/python/requirements.txt; then :; \
	else \
		echo "the tools of the Python package are missing: install them from PyPI into target/python"; \
		{ python3 -m venv --clear target/python \
			&& $(PYTHON)/pip install --quiet --disable-pip-version-check --requirement $(PYTHON_PINS) \
			&& $(PYTHON)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable clients/python \
			&& cp $(PYTHON_PINS) target/python/requirements.txt; } >/dev/null \
			|| { rm -rf target/python; echo "NOTE: they could not be installed; the Python package is NOT TESTED"; }; \
	fi
	@if [ -e $(PYTHON)/pytest ]; then \
		cargo build --locked || exit 1; \
		tests/python.sh target/debug/futurity $(PYTHON); \
	fi

bench-python: ## the Python executor beside ProcessPoolExecutor, loky and Dask, in a release build; installs them below target
	@echo "==> bench-python"
	@cargo build --release --locked
	@if ! cmp -s clients/python/benchmarks/requirements.txt target/bench-python/requirements.txt; then \
		python3 -m venv --clear target/bench-python \
			&& target/bench-python/bin/pip install --quiet --disable-pip-version-check --requirement clients/python/benchmarks/requirements.txt \
			&& cp clients/python/benchmarks/requirements.txt target/bench-python/; \
	fi
	@FUTURITY_BIN=$(CURDIR)/target/release/futurity PYTHONPATH=clients/python/src:clients/python/benchmarks \
		target/bench-python/bin/python clients/python/benchmarks/executors.py

test-python-long: ## 10,000 calls through 100 kills of the server and 20 of the client, Hypothesis against threads, 100,000 calls without a leak
	@echo "==> python, long"
	@cargo build --release --locked
	@cd clients/python && FUTURITY_LONG=1 FUTURITY_BIN=$(CURDIR)/target/release/futurity ../../$(PYTHON)/pytest tests/test_long.py --durations=3

wheels: ## the two wheels for Python, in target/wheels, tried in an environment of their own; needs what test-python installs
	@echo "==> wheels"
	@cargo build --release --locked
	@tests/wheels.sh target/release/futurity $(PYTHON) target/wheels

CPYTHON ?= /usr/bin/python3.11
test-python-cpython: ## CPython's own tests of concurrent.futures, run through the package; CPYTHON names an interpreter that has them
	@echo "==> CPython's tests"
	@cargo build --locked
	@FUTURITY_BIN=$(CURDIR)/target/debug/futurity PYTHONPATH=clients/python/src:$$(echo target/python/lib/python3.*/site-packages) \
		$(CPYTHON) clients/python/tests/cpython.py

# The doctests have a step of their own: nextest does not run them.
tests:
	@echo "==> tests"
	@if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --locked; \
	else cargo build --locked --examples && cargo test --locked --tests; fi

doctests:
	@echo "==> doctests"
	@cargo test --locked --doc
