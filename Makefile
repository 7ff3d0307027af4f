# The plain way works as well: pip install -c constraints.txt -e ".[dev]", fastsac, pytest.  This file only saves typing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PARALLEL ?= -n auto --dist worksteal
BENCH ?= update train startup

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all golden coverage check docs site format bench build clean

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: $(READY)  ## Make .venv and install everything into it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "fastsac needs Python 3.11, 3.12 or 3.13, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed.  On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(READY)  ## Train Pendulum-v1 until it is solved, some ten seconds (trained policies: fastsac demo)
	@run=runs/demo-$$(date +%Y%m%d-%H%M%S); \
	$(BIN)/fastsac train --env Pendulum-v1 --stop-at-return -180 --run-dir $$run

test: $(READY)  ## Run the tests, but for the slow ones
	$(BIN)/python -m pytest $(PARALLEL)

test-all: $(READY)  ## Run all tests
	$(BIN)/python -m pytest $(PARALLEL) -m "slow or not slow"

coverage: $(READY)  ## Run all tests and say which lines of the package they run
	$(BIN)/python -m pytest $(PARALLEL) -m "slow or not slow" --cov --cov-report=term:skip-covered

golden: $(READY)  ## Compare numbers with another commit, bit for bit: make golden BASE=COMMIT
	$(BIN)/python tests/golden/compare.py $(or $(BASE),HEAD)

check: $(READY)  ## Run the linters and the type checker
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(READY)  ## Check the documents, and build them as a site: site/index.html
	$(BIN)/python -m pytest -q tests/test_docs*.py
	@$(MAKE) site

site: $(READY)
	$(BIN)/python -m bench.report --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in site/index.html."

format: $(READY)  ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)  ## Run the benchmarks (or some: make bench BENCH=update)
	@mkdir -p runs
	for name in $(BENCH); do $(BIN)/python -m bench.$$name --json runs/bench-$$name.json || exit 1; done

build: $(READY)  ## Build sdist and wheel into dist/
	$(BIN)/python -m build --no-isolation

clean:  ## Remove .venv, dist and caches; runs/ stays
	rm -rf $(VENV) dist build site htmlcov .coverage* .hypothesis .pytest_cache .mypy_cache .ruff_cache
