# Two commands do all: `make demo` and `make test`. Both build .venv from the hash-locked file first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# pytest-xdist workers; the suite is parallel-safe.
JOBS   ?= 2
# Lock files hold names, versions and hashes; no address of any index.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
           --no-header --no-annotate --no-emit-index-url --no-emit-find-links

.PHONY: help demo test check format lock faults bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) (about a minute, once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## start everything on embedded servers and show a card opening a gate (ONCE=1: end after the story)
	@$(BIN)/cardservice demo $(if $(ONCE),--once) $(DEMO_ARGS)

test: $(READY) ## run the whole test suite on embedded servers
	@tests/install-tools.sh
	@$(BIN)/python -m pytest -n $(JOBS) $(TEST_ARGS)

check: $(READY) ## format, lint, strict types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy cardservice readers entitlements hardware tests
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint docker/service.Dockerfile docker/reader.Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

format: $(READY) ## format the code and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(READY) ## make requirements.lock anew from pyproject.toml (newest allowed versions)
	@$(COMPILE) --upgrade --all-extras pyproject.toml -o requirements.lock
	@$(COMPILE) -c requirements.lock --extra service --extra pkcs11 pyproject.toml -o docker/service.lock
	@$(COMPILE) -c requirements.lock --extra reader --extra nfc --extra camera --extra modbus pyproject.toml -o docker/reader.lock
	@echo hatchling | $(COMPILE) -c requirements.lock - -o docker/build.lock

faults: $(READY) ## kill and cut everything in 200 seeded runs (SEEDS=1-200; make test runs 60 of them)
	@$(BIN)/python -m tests.faults --seeds $(or $(SEEDS),1-200)

bench: $(READY) ## measure against the bars of docs/benchmarks.md; exits 1 when one is missed
	@$(BIN)/python -m tests.benchmarks

clean: ## remove the virtual environment, the demo's data and caches
	rm -rf $(VENV) .data demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
