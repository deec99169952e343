# Every target says what it does in `make help`. `make run` and `make test` set up what they need by themselves.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

# Where the server listens and keeps its data; from the command line or the environment.
PORT ?= 8000
HOST ?= 127.0.0.1
DATA ?= ./data
# More words for pytest or the benchmarks: make test ARGS='-k share'
ARGS ?=

VENV := .venv
PYTHON_IN := $(VENV)/bin/python
INSTALL := $(PYTHON_IN) -m pip install -qq --disable-pip-version-check
# In the order of their files, so that those that wait longest are not the last.
# A worker that dies is replaced and given the same test again: not for ever.
PYTEST := $(PYTHON_IN) -m pytest --dist loadfile --no-loadscope-reorder --max-worker-restart 2

# A stamp says that a step is done for this lock file. They live in the environment and go with it.
CREATED := $(VENV)/.stamp-created
RUN := $(VENV)/.stamp-run
DEV := $(VENV)/.stamp-dev
EDITABLE := $(VENV)/.stamp-editable
WEIGHTS := $(VENV)/.stamp-weights

# An environment holds its own path: one that was moved, or whose Python is gone, is made anew.
ifneq ($(shell $(PYTHON_IN) -c pass 2>/dev/null && cat $(CREATED) 2>/dev/null),$(CURDIR))
$(shell rm -f $(CREATED) $(RUN) $(DEV) $(EDITABLE) $(WEIGHTS))
endif

.PHONY: help run test test-long check fix bench lock clean setup tools

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUN) $(EDITABLE) $(WEIGHTS) ## Start the server (PORT=8000 HOST=127.0.0.1 DATA=./data)
	@exec $(VENV)/bin/chatkeep serve --host "$(HOST)" --port "$(PORT)" --data "$(DATA)"

# Three workers for two cores, as many tests wait.
test: setup tools $(WEIGHTS) ## Run the tests (ARGS='-k share' to choose some)
	@exec $(PYTEST) -n 3 $(ARGS)

test-long: setup tools $(WEIGHTS) ## Run the tests that take minutes: crashes, soaks, many clients
	@exec $(PYTEST) -n 2 -m long $(ARGS)

check: setup ## Format, lint, types, import contracts and the project's own gates
	$(VENV)/bin/ruff format --quiet --check .
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/mypy src scripts tests $(wildcard bench)
	$(VENV)/bin/lint-imports --no-logo
	$(PYTHON_IN) scripts/gates.py

fix: setup ## Format, and repair what the linter can repair
	$(VENV)/bin/ruff check --quiet --fix-only .
	$(VENV)/bin/ruff format .

bench: setup $(WEIGHTS) ## Run the benchmarks and print their tables (ARGS='--only append' for some, then without streams)
	@$(PYTHON_IN) -m bench $(ARGS)
	@$(if $(ARGS),true,$(PYTHON_IN) -m bench.streams)

lock: $(CREATED) ## Write requirements/*.lock anew (UPGRADE=1 to take newer versions)
	@scripts/lock $(if $(UPGRADE),--upgrade)

clean: ## Remove the environment and all caches; the data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

setup: $(DEV) $(EDITABLE)

tools:
	@scripts/bootstrap

$(CREATED):
	@scripts/make-venv $(VENV)

$(RUN): requirements/run.lock | $(CREATED)
	@echo "Installing what chatkeep needs (once, about a minute)"
	@$(INSTALL) --require-hashes -r requirements/run.lock
	@touch $@

# dev.lock holds all of run.lock, so the same environment serves both.
$(DEV): requirements/dev.lock | $(CREATED)
	@echo "Installing what the tests and checks need (once, about a minute)"
	@$(INSTALL) --require-hashes -r requirements/dev.lock
	@touch $(RUN) $@

$(EDITABLE): pyproject.toml | $(RUN)
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# Without the weights everything works but the offline model, so that stops nothing.
$(WEIGHTS): | $(EDITABLE)
	@if $(VENV)/bin/chatkeep models fetch; then touch $@; else \
	  echo "The offline model's weights could not be fetched; going on without it."; fi
