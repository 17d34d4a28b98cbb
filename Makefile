# kubestorm: what a person does in this checkout. `make` or `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# More workers than cores: the end-to-end tests mostly wait.
PYTEST_ARGS ?= -n 3 --dist loadfile

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "kubestorm needs Python 3.11 or later; name one with: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python has no venv module. On Debian: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) (nothing outside this folder is touched but pip's own cache) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[pack,sandbox,dev]'
	@touch $(STAMP)

.PHONY: setup
setup: $(STAMP) ## Make .venv and install everything into it

.PHONY: demo
demo: setup ## Run the main job against the sandbox (KEEP=1 leaves it up, KUBE=real uses a real API server)
	@$(BIN)/python -m sandbox.demo $(if $(KEEP),--keep) $(if $(KUBE),--kube $(KUBE))

.PHONY: test
test: setup ## Run all tests (TESTS=tests/unit runs some)
ifdef TESTS
	@$(BIN)/python -m pytest $(PYTEST_ARGS) $(TESTS)
else
	@$(BIN)/python -m pytest $(PYTEST_ARGS) tests/unit tests/integration
	@# By themselves: the control planes of the integration tests would take a third of the machine.
	@$(BIN)/python -m pytest $(PYTEST_ARGS) tests/e2e tests/security
endif

.PHONY: test-stackstorm
test-stackstorm: PYTEST_ARGS = -s
test-stackstorm: setup ## Run the pack on a real StackStorm (ST2_URL=its API, ST2_KEY=a key)
	@$(BIN)/python -m pytest $(PYTEST_ARGS) tests/stackstorm

.PHONY: check
check: setup ## Lint, types, import rules, pack metadata
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/flake8
	PYTHONPATH=lib:engine/stormcell/shims/st2 $(BIN)/pylint --errors-only actions/*.py sensors/*.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# What only tests call is dead in the library; the sandbox is there for them.
	! $(BIN)/vulture lib actions sensors config_check.py | grep ^lib/ | grep -v 'status.py:.*variable'
	! $(BIN)/vulture sandbox lib tests bench | grep ^sandbox/
	$(BIN)/yamllint --strict .
	$(BIN)/stormcell check .

.PHONY: format
format: setup ## Put the code into its standard form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: bench
bench: setup ## Measure speed as ratios (bench/results.md)
	@$(BIN)/python -m bench

.PHONY: lock
lock: ## Choose the exact versions anew (needs uv)
	@uv pip compile --quiet --python-version 3.11 --extra pack --extra sandbox --extra dev --no-annotate --no-header pyproject.toml -o constraints.new
	@{ echo "# Exact versions that development, CI and the demo install. Made by: make lock"; cat constraints.new; } > constraints.txt && rm constraints.new

.PHONY: clean
clean: ## Remove .venv and everything that was built
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist .demo
