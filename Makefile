# Everything sets itself up: a fresh machine needs CPython 3.11-3.13 and make.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] <= (3,13))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
ARGS ?=
NAME ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test test-long lint format bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no CPython 3.11-3.13 found; install one, or say make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.lock | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r requirements.lock
	@touch $@

$(DEV): requirements-dev.lock | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@ $(RUNTIME)

setup: $(DEV) ## install everything, for development too

demo: $(RUNTIME) ## drain a real backlog with 3 local pods, and show it
	@$(BIN)/python manage.py demo $(ARGS)

up: $(RUNTIME) ## run the whole stack: web, workers, beat, Flower
	@$(BIN)/python manage.py up $(ARGS)

down: $(RUNTIME) ## stop the stack
	@$(BIN)/python manage.py down $(ARGS)

test: $(DEV) ## all tests but the slow ones, on SQLite and on PostgreSQL; ARGS="tests/contract -q"
	@PYTEST='$(BIN)/python -m pytest' .ci/both-databases -m "not slow" $(ARGS)

test-long: $(DEV) ## the tests that need minutes
	@PYTEST='$(BIN)/python -m pytest' .ci/both-databases -m slow --timeout 1800 $(ARGS)

lint: $(DEV) ## format, lint, types, import arrows, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 --config-file pods/agent/mypy.ini
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check

format: $(DEV) ## write what `lint` would ask for
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(RUNTIME) ## measure: NAME=scale, NAME=tick …
	@$(BIN)/python manage.py bench $(NAME) $(ARGS)

lock: $(DEV) ## pin the dependencies anew, with hashes (needs uv)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --quiet --upgrade -o requirements-dev.lock
	uv pip compile pyproject.toml -c requirements-dev.lock --universal --python-version 3.11 --generate-hashes --no-header --quiet -o requirements.lock

clean: ## remove what was built and run here; stops the stack first
	-@test ! -x $(BIN)/python || $(BIN)/python manage.py down
	rm -rf $(VENV) var static .mypy_cache .ruff_cache .pytest_cache .hypothesis
