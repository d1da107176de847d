# Everything a person types. `make` alone lists the targets.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
TESTING := $(VENV)/.testing
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo run test check bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## from nothing to a trained, evaluated, compared model in the browser (CHECK=1: verify and exit)
	@$(BIN)/python manage.py demo $(if $(CHECK),--check)

run: $(RUNTIME) ## web and worker on this machine, on the data that is there
	@$(BIN)/python manage.py serve

test: $(TESTING) ## all tests that this machine can run; says what it skipped
	@tests/run $(ARGS)

check: $(TESTING) ## style, types, import contracts, migrations, settings, dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check
	@VADLAB_TLS=1 VADLAB_HOSTS=lab.example.org VADLAB_ORIGINS=https://lab.example.org \
	  $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/pip check --disable-pip-version-check
	@if [ -x $(BIN)/pip-audit ]; then $(BIN)/pip-audit --progress-spinner off --timeout 10; \
	else echo "Known vulnerabilities were not looked up: $(BIN)/pip install pip-audit, and be online."; fi

bench: $(TESTING) ## the budgets of docs/benchmarks.md, measured on this machine
	@for script in tests/bench/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean: ## caches and the environment; the data in var/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) is not on this machine. Install Python 3.11, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "$(PYTHON) is `$(PYTHON) --version`; VADLab needs Python 3.11."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module. Install it (Debian: apt install python3.11-venv)."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): $(VENV)/pyvenv.cfg requirements.txt webapp/requirements.txt
	@echo "Installing into $(VENV) (PyTorch included; a minute or more) …"
	@$(PIP) -r requirements.txt && touch $@

$(TESTING): $(RUNTIME) tests/requirements.txt
	@echo "Installing the test tools …"
	@$(PIP) -r tests/requirements.txt && touch $@
