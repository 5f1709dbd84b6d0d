# Two commands matter: `make up` and `make test`. Both work first on a fresh clone with only python3 (3.11+) and make.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help up test bench lint generate lock clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

up: $(VENV)/.up  ## agent and SLO service on this machine; page on http://127.0.0.1:9490 (ARGS="--simulate")
	@exec $(BIN)/gpufleet up $(ARGS)

test: $(VENV)/.test  ## the whole suite; says what it had to skip and why (ARGS="-k ledger")
	@$(BIN)/python -m pytest -n 4 --dist worksteal $(ARGS)

lint: $(VENV)/.lint  ## ruff, mypy --strict, import contracts, generated files up to date
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/python -m tests.generate --check

bench: $(VENV)/.test  ## benchmarks; tables on the screen, JSON in build/bench
	@$(BIN)/python -m tests.bench $(ARGS)

generate: $(VENV)/.lint  ## refresh everything generated: goldens, schema, rules, boards
	@$(BIN)/python -m tests.generate

lock: $(VENV)/.pip  ## what the images install, hash by hash, from the package index (ARGS="--upgrade")
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group lock
	@PATH="$(CURDIR)/$(BIN):$$PATH" deploy/lock.sh $(ARGS)

clean:  ## remove what make made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "gpufleet needs Python 3.11 or later, and $(PYTHON) is older: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "making $(VENV) …"
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "$(PYTHON) cannot make a virtual environment (on Debian: apt-get install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check -U 'pip>=25.1'
	@touch $@

$(VENV)/.up: $(VENV)/.pip pyproject.toml
	@echo "installing gpufleet …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[slo]'
	@touch $@

$(VENV)/.test: $(VENV)/.up tests/tools.sh
	@echo "installing the test tools …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[slo,otlp,kubernetes]' --group test
	@bash tests/tools.sh $(VENV)/tools
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group lint
	@touch $@
