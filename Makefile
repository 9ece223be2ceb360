# Everything a person types. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-demo
INSTALLED_TEST := $(VENV)/.installed-test

.DEFAULT_GOAL := help
.PHONY: help demo demo-mongodb chromium test torture check lint bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(BIN)/python setup.cfg pyproject.toml
	@echo "Setting up $(VENV), once: half a minute or so"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable .
	@touch $@

$(INSTALLED_TEST): $(BIN)/python setup.cfg pyproject.toml
	@echo "Setting up $(VENV) with the test tools and a MongoDB, once: a minute or so"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable '.[test,check,migrate]'
	@$(BIN)/python -m tests.migrate.peers
	@touch $@ $(INSTALLED)

demo: $(INSTALLED) ## Run the hub with demo data on the embedded store (ONCE=1 ends after the table, STORE=mongodb://... uses MongoDB)
	@$(BIN)/taxii-server demo $(if $(ONCE),--once) $(if $(STORE),--store '$(STORE)')

demo-mongodb: $(INSTALLED_TEST) ## The same on a MongoDB replica set that is started for it
	@$(BIN)/python -m tests.mongo $(BIN)/taxii-server demo $(if $(ONCE),--once) --store {}

test: $(INSTALLED_TEST) chromium ## Set up and run every test, MongoDB included, in two processes (PYTEST_ARGS='-n 0': in one)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

chromium: # The browser of tests/browser: Debian's, installed where that may be done; the tests say what to do elsewhere
	@command -v chromium >/dev/null || test -n "$$TAXII_TEST_CHROMIUM" \
		|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing chromium for the browser tests" \
			&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
		|| echo "There is no chromium: install it (apt-get install chromium) or set TAXII_TEST_CHROMIUM to one. The browser tests fail without it; PYTEST_ARGS='--ignore tests/browser' leaves them out."

torture: $(INSTALLED_TEST) ## Strike real servers and databases, print what was lost, then send them thousands of odd requests (ONLY=words of a fault, KIND=sqlite, RUNS=3)
	@$(BIN)/python -m tests.faults $(if $(ONLY),--only '$(ONLY)') $(if $(KIND),--kind '$(KIND)') $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED))
	@$(if $(ONLY)$(KIND),true,$(BIN)/python -m tests.fuzz $(if $(SEED),--seed $(SEED)))

lint: $(INSTALLED_TEST) ## Linters and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

bench: $(INSTALLED_TEST) ## Measure against the driver, a bare server and the peers, 35 minutes at most (SIZE=10000 for one size, QUICK=1 for a few minutes, BENCH_ARGS=--minutes 90)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,bench]'
	$(BIN)/python -m bench.run $(if $(SIZE),--sizes $(SIZE)) $(if $(QUICK),--quick) $(BENCH_ARGS)
	$(BIN)/python -m bench.report bench/results.json

check: lint test ## Linters, types and every test: what CI runs

clean: ## Remove what the other targets made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
