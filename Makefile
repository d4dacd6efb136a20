# Start with `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed

.PHONY: help demo docs test test-all coverage simulator soak check format system bench cassettes lock clean
help:            ## list the targets
	@sed -n 's/^\([a-z-]*\): .*## /  make \1	/p' Makefile

# uv installs in seconds, and pip in more than a minute. uv ignores pip.conf, so pip is the fallback for private indexes. Like
# pip, uv compiles the modules at installation. Otherwise each of the first test processes would compile them.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
$(READY): pyproject.toml constraints.txt
	@echo "oktawatch: creating $(VENV) and installing the dependencies (only once, takes seconds)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is too old: install Python 3.11 or newer, and run make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@{ $(PIP) uv && $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'; } 2>$(VENV)/uv.log || \
	  { echo "oktawatch: uv failed (see $(VENV)/uv.log): installing with pip, which takes a minute or two"; $(PIP) -e '.[dev]'; }
	@touch $@

demo: $(READY)   ## run oktawatch on a simulated Okta org, and print the first alerts
	@echo "oktawatch: running the demo (files in ./oktawatch-demo)"
	@$(BIN)/oktawatch demo

# Without bytecode, each worker and each program that a test starts compiles all modules again, for minutes in total.
export PYTHONDONTWRITEBYTECODE :=

# `make test` skips the tests marked `slow` and those of the simulator, and runs a fifth of the property tests' examples.
PYTEST := $(BIN)/$(if $(COVERAGE),coverage run -m )pytest -n auto --dist worksteal
test: $(READY)   ## run the tests (minutes)
	@echo "oktawatch: running the tests"
	@$(PYTEST) -m "not slow" --ignore-glob='tests/*/simulator'

coverage: $(READY)  ## run `make test` and `make simulator`, and report the branches that they cover, in all processes
	@rm -rf .coverage && mkdir .coverage
	@$(MAKE) --no-print-directory test simulator COVERAGE=1
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

simulator: $(READY) ## run the tests of the simulated Okta org
	@echo "oktawatch: running the simulator's tests"
	@$(PYTEST) tests/unit/simulator tests/integration/simulator

KILLS ?= 100
SEEDS ?= 200
RUNS  ?= 500
LONG := OKTAWATCH_TEST_COLD=1 OKTAWATCH_FUZZ_BODIES=50000 OKTAWATCH_TEST_KILLS=$(KILLS) OKTAWATCH_SOAK_SEEDS=$(SEEDS) OKTAWATCH_SIMULATION_SEEDS=$(RUNS) OKTAWATCH_TEST_LEASE_TTL=30
test-all: $(READY)  ## run all tests with all examples, each program in a separate interpreter, and the long forms of `make soak`
	@echo "oktawatch: running all tests in their long form"
	@$(LONG) $(PYTEST) --hypothesis-profile=thorough

soak: $(READY)   ## run only the long tests: KILLS=100 kills of the daemon per database, leases of 30 s, SEEDS=200 faulty orgs, RUNS=500 daemons in virtual time
	@echo "oktawatch: killing the daemon $(KILLS) times per database; reading $(SEEDS) faulty simulated orgs; running $(RUNS) daemons in virtual time"
	@$(LONG) $(PYTEST) -rP tests/acceptance/crash/test_crashes.py tests/acceptance/soak tests/acceptance/test_replicas.py

system: $(READY) ## check the systemd units and the alert rules, run two replicas behind PgBouncer, rotate a file, and open a report in Chromium
	@{ command -v systemd-analyze && command -v /usr/sbin/pgbouncer && command -v /usr/sbin/logrotate && command -v promtool && command -v chromium; } >/dev/null || { \
	  echo "oktawatch: installing systemd, for systemd-analyze, pgbouncer, logrotate, prometheus, for promtool, and chromium"; \
	  root=; [ "$$(id -u)" = 0 ] || root=sudo; \
	  $$root apt-get update -qq && $$root apt-get install -qq -y --no-install-recommends systemd pgbouncer logrotate prometheus chromium >/dev/null; }
	@{ $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[system]'; } 2>/dev/null || $(PIP) -e '.[system]'
	@echo "oktawatch: checking config/systemd, config/prometheus and config/kubernetes, running behind PgBouncer, rotating a file, and opening a report in Chromium"
	@$(BIN)/pytest tests/system

check: $(READY)  ## check with ruff, mypy --strict and import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

cassettes: $(READY) ## record tests/cassettes again, from a simulated org or a real one (OKTA_CLIENT_ORGURL, OKTA_CLIENT_TOKEN)
	@$(BIN)/pytest -q --record-mode=rewrite tests/integration/systemlog/test_cassettes.py

format: $(READY) ## format with ruff, and apply its fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

$(VENV)/.docs: $(READY)
	@{ $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[docs]'; } 2>/dev/null || $(PIP) -e '.[docs]'
	@touch $@

docs: $(VENV)/.docs  ## generate docs/cli.md and docs/log-events.md from the code, and the site with the API reference in site/
	@$(BIN)/python -m docs.reference > docs/cli.md.new && mv docs/cli.md.new docs/cli.md
	@$(BIN)/python -m docs.log_events > docs/log-events.md.new && mv docs/log-events.md.new docs/log-events.md
	@$(BIN)/sphinx-build -q --fail-on-warning --keep-going -b html docs site
	@echo "oktawatch: the site is in site/index.html"

bench: $(READY)  ## measure events per second, relative to minimal programs (benchmarks/README.md)
	@$(BIN)/python -m benchmarks

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate
lock: $(READY)   ## pin the newest allowed versions: constraints.txt for development, requirements.txt with hashes for production
	@{ echo "# Pinned versions of all development dependencies, generated by 'make lock'."; \
	   echo uv | $(COMPILE) pyproject.toml --extra dev --extra docs --extra system -; } > constraints.txt.new && mv constraints.txt.new constraints.txt
	@{ echo "# Pinned versions and hashes of all runtime dependencies, generated by 'make lock'."; \
	   $(COMPILE) pyproject.toml --constraints constraints.txt --generate-hashes; } > requirements.txt.new && mv requirements.txt.new requirements.txt

clean:           ## remove the files that the targets created
	rm -rf $(VENV) .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis oktawatch-demo site
