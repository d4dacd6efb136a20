# Two commands are all a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed

.PHONY: help demo docs test test-all coverage simulator soak check format system bench cassettes lock clean
help:            ## list the targets
	@sed -n 's/^\([a-z-]*\): .*## /  make \1	/p' Makefile

# uv installs in seconds what takes pip more than a minute. It reads no pip.conf: behind a private index, pip does it.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
$(READY): pyproject.toml constraints.txt
	@echo "oktawatch: making $(VENV) and installing what pyproject.toml names (once, in seconds)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed ($(PYTHON)): set PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@{ $(PIP) uv && $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'; } 2>$(VENV)/uv.log || \
	  { echo "oktawatch: uv can't be had or failed ($(VENV)/uv.log): installing with pip, in a minute or two"; $(PIP) -e '.[dev]'; }
	@touch $@

demo: $(READY)   ## a simulated Okta org, oktawatch on it, the first alerts on screen
	@echo "oktawatch: running the demo (files in ./oktawatch-demo)"
	@$(BIN)/oktawatch demo

# Tests marked `slow` and the simulator's own wait for test-all, and properties draw a fifth of their examples.
PYTEST := $(BIN)/pytest -n auto --dist worksteal
test: $(READY)   ## the tests, in minutes
	@echo "oktawatch: running the tests"
	@$(PYTEST) -m "not slow" --ignore-glob='tests/*/simulator'

coverage: $(READY)  ## the branches that `make test` goes through, in all processes; a report of what it leaves out
	@echo "oktawatch: measuring what the tests cover"
	@rm -rf .coverage && mkdir .coverage
	@$(BIN)/coverage run -m pytest -n auto --dist worksteal -q -m "not slow"
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

simulator: $(READY) ## the simulated Okta org's own tests
	@echo "oktawatch: running the simulator's tests"
	@$(PYTEST) tests/unit/simulator tests/integration/simulator

KILLS ?= 100
SEEDS ?= 200
RUNS  ?= 500
LONG := OKTAWATCH_TEST_COLD=1 OKTAWATCH_FUZZ_BODIES=50000 OKTAWATCH_TEST_KILLS=$(KILLS) OKTAWATCH_SOAK_SEEDS=$(SEEDS) OKTAWATCH_SIMULATION_SEEDS=$(RUNS) OKTAWATCH_TEST_LEASE_TTL=30
test-all: $(READY)  ## every test, all examples of every property, every program in an interpreter of its own, the long forms of `make soak`
	@echo "oktawatch: running every test in its long form"
	@$(LONG) $(PYTEST) --hypothesis-profile=thorough

soak: $(READY)   ## the long forms alone: the daemon killed KILLS=100 times a database, leases of 30 s, SEEDS=200 orgs that do everything wrong, RUNS=500 daemons in virtual time
	@echo "oktawatch: killing the daemon $(KILLS) times a database; reading $(SEEDS) simulated orgs that do everything wrong; running $(RUNS) daemons in virtual time"
	@$(LONG) $(PYTEST) -rP tests/acceptance/crash/test_crashes.py tests/acceptance/soak tests/acceptance/test_replicas.py

system: $(READY) ## the systemd units, checked by systemd's own tools; two replicas behind a real PgBouncer
	@{ command -v systemd-analyze && command -v /usr/sbin/pgbouncer; } >/dev/null || { \
	  echo "oktawatch: installing systemd, for systemd-analyze, and pgbouncer"; \
	  root=; [ "$$(id -u)" = 0 ] || root=sudo; \
	  $$root apt-get update -qq && $$root apt-get install -qq -y --no-install-recommends systemd pgbouncer >/dev/null; }
	@echo "oktawatch: checking config/systemd, and running behind PgBouncer"
	@$(BIN)/pytest tests/system

check: $(READY)  ## ruff, its formatter, mypy --strict, the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

cassettes: $(READY) ## record tests/cassettes anew: a simulated org, or a real one (OKTA_CLIENT_ORGURL, OKTA_CLIENT_TOKEN)
	@$(BIN)/pytest -q --record-mode=rewrite tests/integration/systemlog/test_cassettes.py

format: $(READY) ## let ruff format and mend what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

$(VENV)/.docs: $(READY)
	@{ $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[docs]'; } 2>/dev/null || $(PIP) -e '.[docs]'
	@touch $@

docs: $(VENV)/.docs  ## write docs/cli.md from the commands' own help, and the site with the API reference to site/
	@$(BIN)/python -m docs.reference > docs/cli.md.new && mv docs/cli.md.new docs/cli.md
	@$(BIN)/sphinx-build -q --fail-on-warning --keep-going -b html docs site
	@echo "oktawatch: the site is in site/index.html"

bench: $(READY)  ## events a second, as ratios to programs that do nothing else (benchmarks/README.md)
	@$(BIN)/python -m benchmarks

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate
lock: $(READY)   ## pin the newest versions that pyproject.toml allows: constraints.txt for development, requirements.txt with hashes for running
	@{ echo "# Pinned versions of everything that development needs; made by 'make lock'."; \
	   echo uv | $(COMPILE) pyproject.toml --extra dev --extra docs -; } > constraints.txt.new && mv constraints.txt.new constraints.txt
	@{ echo "# Pinned versions and hashes of everything that oktawatch runs with; made by 'make lock'."; \
	   $(COMPILE) pyproject.toml --constraints constraints.txt --generate-hashes; } > requirements.txt.new && mv requirements.txt.new requirements.txt

clean:           ## remove what the targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis oktawatch-demo site
