# The front door. `make demo` shows the product at work; `make test` proves it. Both set up all they need.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Azure Blob Storage for the tests; it comes from npm. Without npm they skip what needs it, or fail under CI=true.
AZURITE := .emulators/azurite-3.35.0
# What the demo runs on, and which emulators that takes beside those that pip installs.
BROKER ?= sqs
RESULTS ?= dynamodb
DEMO_EMULATORS := $(if $(filter pubsub,$(BROKER)),emulators) $(if $(filter azureblob,$(RESULTS)),$(AZURITE))

.PHONY: help demo test emulators lint types imports check format docs benchmark build clean

help:  ## What can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

$(AZURITE):
	mkdir -p .emulators
	if command -v npm > /dev/null; then \
	    npm install --prefix .emulators --no-save --no-audit --no-fund --silent \
	        $(subst azurite-,azurite@,$(notdir $@)) && touch $@ || echo "Azurite could not be installed" >&2; \
	fi

demo: $(STAMP) $(DEMO_EMULATORS)  ## Run a small shop, here: BROKER=sqs|pubsub|sqlite RESULTS=dynamodb|s3|azureblob|gs|sqlite
	PYTHONPATH=examples $(BIN)/python -m demo --broker '$(BROKER)' --results '$(RESULTS)'

test: $(STAMP) $(AZURITE) emulators  ## Run all tests, against emulators on loopback
	$(BIN)/pytest -n 2 --dist worksteal $(PYTEST_ARGS)

emulators: .emulators/pstestd  ## Build the emulators that come as source

.emulators/pstestd: tests/emulators/pstest/main.go
	tests/emulators/pstest/build.sh $@

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

docs: $(STAMP)  ## Build the documentation as a site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

benchmark: $(STAMP)  ## Measure beside Celery and taskiq, and write benchmarks/RESULTS.md
	$(BIN)/pip install --quiet --editable '.[benchmark]'
	$(BIN)/python benchmarks/run.py

build: $(STAMP)  ## Build the wheel and the source archive into dist/
	$(BIN)/python -m build --quiet

clean:  ## Remove what was made
	rm -rf $(VENV) .emulators dist site .demo .taskq .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
