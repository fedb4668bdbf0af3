# `make run` and `make test` set up a fresh Debian or Ubuntu by themselves; they need Python 3.11+ and make,
# and root or sudo where one of Debian's packages is missing. Nothing is done twice.

VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet --constraint constraints.txt --editable
CLIENT = miniprogram/node_modules
SDKS = tests/sdks
# As many tests at once, but for those that a busy machine would disturb: these run alone, afterwards.
WORKERS ?= $(shell expr $$(nproc) + 1)
RUN_TESTS = $(VENV)/bin/coverage run -m pytest
NO_TESTS = 5
# Followed by the name of a package: installs it.
DEBIAN = $(shell [ "$$(id -u)" = 0 ] || echo sudo) sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$$0"'

.DEFAULT_GOAL := help
.PHONY: help run test bench stack check format clean

help:  ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

run: $(VENV)/.service  ## set up, then run the service on :8000 and the sandbox on :8001
	@$(VENV)/bin/wxlogin dev

test: check $(VENV)/.servers $(CLIENT)/.package-lock.json $(SDKS)/node/node_modules/.package-lock.json $(VENV)/.go  ## set up, then every check and every test
	npm --prefix miniprogram test --silent
	$(VENV)/bin/coverage erase
	$(RUN_TESTS) -m 'not alone' --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST) || [ $$? = $(NO_TESTS) ]
	$(RUN_TESTS) -m alone $(PYTEST) || [ $$? = $(NO_TESTS) ]
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

bench: $(VENV)/.bench  ## measure how fast it is, beside others, which takes two idle cores and 17 minutes
	$(VENV)/bin/python -m bench.speed $(BENCH)

stack: $(VENV)/.tests  ## test the Compose stack, which takes a Docker engine and two minutes
	STACK_TESTS=1 $(VENV)/bin/pytest --quiet tests/compose $(PYTEST)

check: $(VENV)/.tests  ## ruff, mypy, import-linter
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

format: $(VENV)/.tests  ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

clean:  ## forget what was set up
	rm -rf $(VENV) $(CLIENT) $(SDKS)/node/node_modules miniprogram/coverage bench/contenders/express/node_modules .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "wxlogin needs Python 3.11 or newer: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(DEBIAN) python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.service: setup.cfg constraints.txt | $(VENV)/bin/python
	@echo "setting up in $(VENV), once"
	@$(INSTALL) .
	@touch $@

$(VENV)/.tests: setup.cfg constraints.txt | $(VENV)/bin/python
	@echo "setting up in $(VENV), once"
	@$(INSTALL) '.[dev,test]'
	@touch $@ $(VENV)/.service

$(VENV)/.bench: setup.cfg constraints.txt bench/contenders/express/package-lock.json $(VENV)/.tests $(VENV)/.servers
	@$(INSTALL) '.[bench]'
	@command -v wrk >/dev/null || $(DEBIAN) wrk
	npm --prefix bench/contenders/express ci --silent --no-audit --no-fund
	@touch $@

$(VENV)/.servers: Makefile
	@command -v redis-server >/dev/null || $(DEBIAN) redis-server
	@command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || $(DEBIAN) nginx
	@command -v promtool >/dev/null || $(DEBIAN) prometheus
	@command -v chromium >/dev/null || $(DEBIAN) chromium
	@command -v node >/dev/null || $(DEBIAN) nodejs
	@command -v npm >/dev/null || $(DEBIAN) npm
	@command -v go >/dev/null || $(DEBIAN) golang-go
	@touch $@

%/node_modules/.package-lock.json: %/package-lock.json | $(VENV)/.servers
	npm --prefix $* ci --silent --no-audit --no-fund
	@touch $@

# The tests build it again, which takes no time then, and no network.
$(VENV)/.go: $(wildcard $(SDKS)/go/*) | $(VENV)/.servers
	cd $(SDKS)/go && go build -buildvcs=false -o /dev/null .
	@touch $@
