# Everything sets itself up: a fresh machine needs CPython 3.11-3.13 and make.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
# Stamps: what is newer than its lock file is not installed again. `demo` and `up` need the runtime alone.
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes
COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --quiet
# Test processes side by side; each has a database and a Valkey of its own. Many tests wait for real
# processes: one more than there are cores took 12 minutes where as many took 19.
JOBS ?= 3
ARGS ?=
NAME ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo up down test test-long mutants lint audit format bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Its own stamp: an interrupted `venv` leaves a python without pip.
$(MADE):
	@test -n "$(PYTHON)" || { echo "no CPython 3.11-3.13 found: install one, or say make PYTHON=/path/to/python"; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUNTIME): requirements.lock $(MADE)
	@echo "installing what the project runs on"
	@$(INSTALL) -r requirements.lock
	@touch $@

$(DEV): requirements-dev.lock $(MADE)
	@echo "installing what development needs too"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@ $(RUNTIME)

setup: $(DEV) ## install everything, for development too

demo: $(RUNTIME) ## drain a real backlog with 3 local pods, and show it
	@$(BIN)/python manage.py demo $(ARGS)

up: $(RUNTIME) ## run the whole stack: web, workers, beat, Flower
	@$(BIN)/python manage.py up $(ARGS)

down: $(RUNTIME) ## stop the stack
	@$(BIN)/python manage.py down $(ARGS)

test: $(DEV) ## all tests but the slow ones, on SQLite and on PostgreSQL; ARGS="tests/contract -q"
	@.ci/both-databases $(BIN)/python -m pytest -n $(JOBS) -m "not slow" $(ARGS)

test-long: $(DEV) ## the tests that need minutes
	@.ci/both-databases $(BIN)/python -m pytest -m slow --timeout 1800 $(ARGS)

mutants: $(DEV) ## take out one protective line at a time; fails where no test notices; ARGS="lease fence"
	@$(BIN)/python -m tests.mutations $(ARGS)

lint: $(DEV) ## format, lint, types, import arrows, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 pods/agent
	$(BIN)/lint-imports --no-logo
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check

audit: $(DEV) ## ask whether the lock has packages with known holes; wants the network
	$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.lock

format: $(DEV) ## write what `lint` would ask for
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What the agent is measured against, in an environment of its own: it wants other versions.
PEERS := .venv-peers
$(PEERS)/.made: benchmarks/peers/requirements.lock
	@$(PYTHON) -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes -r $< \
		&& touch $@ || echo "the other task queues cannot be installed here: they are left out"

ifeq ($(NAME),agent)
bench: $(PEERS)/.made
endif
bench: $(RUNTIME) ## measure: NAME=scale, NAME=tick …
	@$(BIN)/python -m benchmarks $(NAME) $(ARGS)

lock: $(DEV) ## pin what pyproject.toml asks for, with hashes; ARGS=--upgrade takes newer versions
	$(COMPILE) --group dev $(ARGS) -o requirements-dev.lock
	$(COMPILE) -c requirements-dev.lock -o requirements.lock

clean: ## stop the stack, remove what was built and run here
	@test ! -e $(RUNTIME) || $(BIN)/python manage.py down
	rm -rf $(VENV) var static .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
