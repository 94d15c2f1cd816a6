# The front door. `make demo` shows the product at work; `make test` proves it. Both set up all they need.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test lint types imports check format benchmark build clean

help:  ## What can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: $(STAMP)  ## Run a small shop on a local AWS stack: a container worker and a Lambda function side by side
	PYTHONPATH=examples $(BIN)/python -m demo

test: $(STAMP)  ## Run all tests, against a local AWS stack
	$(BIN)/pytest -n 2 --dist worksteal $(PYTEST_ARGS)

lint: $(STAMP)  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Check types
	$(BIN)/mypy

imports: $(STAMP)  ## Check the direction of imports
	$(BIN)/lint-imports

check: lint types imports test  ## All of it

format: $(STAMP)  ## Put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(STAMP)  ## Measure beside Celery and taskiq, and write benchmarks/RESULTS.md
	$(BIN)/pip install --quiet --editable '.[benchmark]'
	$(BIN)/python benchmarks/run.py

build: $(STAMP)  ## Build the wheel and the source archive into dist/
	$(BIN)/python -m build --quiet

clean:  ## Remove what was made
	rm -rf $(VENV) dist .demo .taskq .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
