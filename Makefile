# Everything a contributor runs. `make serve` and `make test` need CPython 3.11 or newer and nothing else.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BIND ?= tcp://127.0.0.1:9000
PYTEST_ARGS ?=
# `--tests` for `make test` in each clone, too.
NEWCOMER_ARGS ?=
# Tests wait for servers and clocks about half of their time: two processes a core keep it busy.
TEST_WORKERS ?= $(shell echo $$((2 * $$(nproc 2>/dev/null || echo 2))))
# Bytecode is kept, also where the environment says otherwise: else each process of a run compiles all tests for itself,
# and each program that a test starts compiles the package.
export PYTHONDONTWRITEBYTECODE :=
SECONDS ?= 60
TARGETS ?= $(notdir $(wildcard fuzz/corpus/*))
# Everything is installed at the versions that pins.txt says, so that a release elsewhere changes nothing here.
PINNED := -q --disable-pip-version-check --constraint pins.txt

.DEFAULT_GOAL := help
.PHONY: help serve test test-tls test-workers combinations attacks test-busy test-all test-others test-deps pins wheel lint types check bench bench-report bench-smoke docs newcomer docs-tables fuzz fuzz-connections faults apt clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | sort | column -t -s '	'

serve: $(READY)  ## serve echo on $(BIND)
	$(BIN)/penstock serve echo --bind $(BIND)

test: $(READY) apt  ## every test, on this Python
	$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist worksteal $(PYTEST_ARGS)

test-tls: $(READY) apt  ## the conformance suite of streams, over TLS on every engine; TLS of others, and scanners
	PENSTOCK_TEST_TLS=1 $(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist worksteal -m "not full" \
		$(filter-out $(wildcard tests/conformance/test_datagram*.py) tests/conformance/test_records.py, \
		$(wildcard tests/conformance/test_*.py)) $(PYTEST_ARGS)
	$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist worksteal -m "full or not full" tests/outside/tls $(PYTEST_ARGS)

test-workers: $(READY)  ## workers that are killed, rolled and ended again and again, under load; prints figures
	$(BIN)/python -m pytest -q -s -m full tests/workers $(PYTEST_ARGS)

combinations: $(READY) apt  ## combinations of engine, handler and parameter of which make test has others
	$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist worksteal -m combination $(PYTEST_ARGS)

attacks: $(READY) apt  ## the attacks that take minutes, at full size, one after the other; more examples of every codec
	$(BIN)/python -m pytest -q -m full tests/attacks tests/conformance $(PYTEST_ARGS)
	CODEC_EXAMPLES=300 DIFFERENTIAL_INPUTS=20000 $(BIN)/python -m pytest -q -n auto tests/properties/test_codec_laws.py \
		tests/properties/test_codec_differential.py tests/engines/native/framing/test_choice.py

test-busy: $(READY)  ## tests that failed beside a busy machine once, fifty times beside processes that spin; or those of BUSY_ARGS
	$(BIN)/python tools/busy.py $(BUSY_ARGS)

test-all:  ## every test, on every CPython 3.11 and newer on this machine
	PYTHON="$(PYTHON)" tools/test_all.sh

test-others:  ## the codecs, the conformance suite and the native engine, on every other CPython of this machine
	PYTHON="$(PYTHON)" tools/test_all.sh others

test-deps:  ## the codecs and the command line with the lowest and with the newest version of each dependency
	PYTHON="$(PYTHON)" tools/test_deps.sh

wheel: $(READY)  ## build a wheel in dist/, install it into a fresh environment, test it there; likewise the image's steps
	BIN="$(BIN)" tools/wheel.sh
	$(BIN)/python -m pytest -q -m full tests/test_deploy.py

pins: $(READY)  ## move the pins to the newest versions; then `make check` and `make test-deps`
	$(BIN)/python tools/pins.py

lint: $(READY)  ## style, and the shape of the tree
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy --strict
	$(BIN)/mypy

check: lint types test  ## what a change has to pass

bench: $(READY) .venv-bench/.ready  ## measure beside the others; writes bench/results and the pages that quote it
	$(BIN)/python -m bench.run $(BENCH_ARGS)

bench-report: $(READY)  ## tables, plots and pages again, from the raw data in bench/results
	$(BIN)/python -m bench.run --report

bench-smoke: $(READY)  ## every scenario at tiny size: that they run, not how fast
	$(BIN)/python -m bench.run --quick
	$(BIN)/python -m pytest -q -m full tests/bench

fuzz: .venv-fuzz/.ready  ## fuzz every target for $(SECONDS) seconds
	@mkdir -p build/fuzz
	for target in $(TARGETS); do mkdir -p build/fuzz/$$target; cp -n fuzz/corpus/$$target/* build/fuzz/$$target; \
		.venv-fuzz/bin/python fuzz/run.py $$target -max_total_time=$(SECONDS) -timeout=5 -max_len=512 \
		-artifact_prefix=build/fuzz/$$target- build/fuzz/$$target || exit 1; done

fuzz-connections:  ## any sequence of calls and ends, ten minutes on AddressSanitizer and on the debug build, on every CPython here
	PYTHON="$(PYTHON)" tools/fuzz_connections.sh

faults: $(READY)  ## let every system call and allocation of the native engine fail in turn
	PENSTOCK_FAULTS=200 $(BIN)/python -m pytest -q tests/engines/native/test_faults.py

docs: .venv-docs/.ready  ## the documentation as a site, in build/site; a link that leads nowhere fails
	.venv-docs/bin/python tools/site_pages.py
	.venv-docs/bin/zensical build --strict --clean

newcomer:  ## a newcomer's hour, walked by a program: from a fresh clone, with a C compiler and without
	$(PYTHON) tools/newcomer.py $(NEWCOMER_ARGS)
	$(PYTHON) tools/newcomer.py --without-compiler $(NEWCOMER_ARGS)

docs-tables: $(READY)  ## regenerate what comes from the source: tables in docs/, the manual page, the types of options
	$(BIN)/python tools/options_types.py
	$(BIN)/python tools/docs_tables.py
	$(BIN)/python tools/man_page.py

apt:  # outside clients and tools for the tests; without them those tests say that they were skipped
	@tools/apt.sh

.venv-docs/.ready: pyproject.toml pins.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install $(PINNED) --upgrade pip
	.venv-docs/bin/python -m pip install $(PINNED) --group docs
	@touch $@

.venv-fuzz/.ready:
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install $(PINNED) --upgrade pip
	.venv-fuzz/bin/python -m pip install $(PINNED) --build-constraint pins.txt atheris -e .
	@touch $@

.venv-bench/.ready: bench/requirements.txt
	$(PYTHON) -m venv .venv-bench
	@# One that cannot be installed takes no part, and the report says so.
	for line in $$(grep -v '^#' $<); do .venv-bench/bin/python -m pip install -q "$$line" || true; done
	@touch $@

$(READY): pyproject.toml setup.py pins.txt $(shell find src -name "*.p[yx][xd]") $(filter-out %/built.py,$(wildcard src/penstock/core/law/*.py))
	@test -n "$(PYTHON)" || { echo "penstock needs CPython 3.11 or newer; none was found" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PINNED) --upgrade pip
	$(BIN)/python -m pip install $(PINNED) --build-constraint pins.txt --group test --group lint -e .
	@touch $@

clean:  ## forget the environment and everything built
	rm -rf $(VENV) .venvs .venv-bench .venv-docs .venv-fuzz build dist bench/build .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
