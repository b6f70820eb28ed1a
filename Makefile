# Needs Python 3.11 or later, git and make; what else is needed is set up in .venv, once for each state of the locks.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

.PHONY: help run test pythons bench bench-quick check format stubs lock graphiql clean

help:
	@echo "make run       sets up, then runs broker, database, reader, writer and gateway until Ctrl-C"
	@echo "make test      sets up and passes all tests"
	@echo "make pythons   passes the kit's unit tests on each other Python from 3.11 on that this machine has"
	@echo "make bench     measures this project beside others (some 12 minutes; make bench-quick: two)"
	@echo "make check     format, lint, types, import contracts, stubs, migrations, documented settings"
	@echo "make format    formats the code and mends what the linter can"
	@echo "make stubs     makes the gRPC stubs afresh from protocol/*.proto"
	@echo "make lock      renews requirements.lock and requirements-dev.lock"
	@echo "make graphiql  builds the GraphiQL that the gateway serves (needs Node.js)"

run: .venv/run.stamp
	@exec $(BIN)/python manage.py runstack

# Whatever a .env says, tests begin at the defaults.
test: .venv/dev.stamp
	CONTACTS_ENV_FILE= $(BIN)/pytest --numprocesses 2 --dist loadfile

pythons: .venv/dev.stamp
	@.ci/pythons

bench: .venv/dev.stamp
	$(BIN)/python -m benchmarks

bench-quick: .venv/dev.stamp
	$(BIN)/python -m benchmarks --quick

check: .venv/dev.stamp
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m protocol.generate --check
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py printsettings --check

format: .venv/dev.stamp
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

stubs: .venv/dev.stamp
	$(BIN)/python -m protocol.generate

lock: .venv/dev.stamp
	$(LOCK) --upgrade requirements.txt --output-file requirements.lock
	$(LOCK) --upgrade requirements-dev.txt --constraint requirements.lock --output-file requirements-dev.lock

graphiql:
	cd cqrssite/web/graphiql && npm ci && npm run build

clean:
	rm -rf .venv .pythons

$(BIN)/python:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/run.stamp: requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/dev.stamp: requirements-dev.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
