# HOST is the machine's name to some shells, so it counts only on make's command line; PORT also in the environment.
UNUSED_HOST := $(if $(filter environment,$(origin HOST)),$(HOST))
HOST =
PORT ?=
NAME = tutorial
ARGS =
# Any supported Python will do; the first of these that is installed and works.
PYTHON ?= $(shell for v in 3.13 3.12 3.11; do python$$v -c '' 2>/dev/null && echo python$$v && exit; done; echo python3)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help serve test test-all test-ray lint format docs train bench-guard sbom audit lock

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: .venv/serve ## serve the shipped networks on HOST and PORT (127.0.0.1, 8000)
	@$(if $(UNUSED_HOST),echo 'HOST in the environment is not used; write: make serve HOST=$(UNUSED_HOST)' >&2)
	@exec $(BIN)/convoscope serve $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

test: .venv/dev ## run the tests, but for the slow ones, in a process for each core
	$(PARALLEL) -m 'not slow'

test-all: .venv/dev ## run all tests
	$(PARALLEL) -m 'not slow'
	$(BIN)/pytest -m slow

test-ray: .venv/dev ## run the tests on a Ray cluster of two nodes, which the others skip where Ray is not installed
	$(INSTALL) --require-hashes -r requirements/ray.txt
	$(BIN)/pytest tests/cluster

lint: .venv/dev node_modules ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell
	npm run --silent lint

format: .venv/dev node_modules ## rewrite the code in the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	npm run --silent format

docs: .venv/dev ## build the documentation as a site with search, in site/
	$(BIN)/zensical build --strict

train: .venv/dev ## train NAME (tutorial) with ARGS, such as --name mine; an interrupted training goes on
	$(BIN)/convoscope train $(NAME) $(ARGS)

bench-guard: .venv/dev ## measure the service against the bare engine, and fail where it has become slower (needs wrk)
	$(BIN)/python -m benchmarks.guard

sbom: .venv/dev ## list what the image installs, as CycloneDX, in sbom.json (uv fetches the tool)
	$(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --pyproject pyproject.toml \
	  --output-reproducible -o sbom.json requirements/serve.txt

audit: .venv/dev ## ask PyPI for advisories about what the image installs (needs the internet; uv fetches the tool)
	$(BIN)/uv tool run --from pip-audit==2.10.1 pip-audit --disable-pip --no-deps --strict -r requirements/serve.txt

lock: .venv/dev ## resolve the requirements anew; releases younger than a month are left out
	$(LOCK) -o requirements/serve.txt
	$(LOCK) --extra batch -c requirements/serve.txt -o requirements/batch.txt
	$(LOCK) --extra ray -c requirements/serve.txt -o requirements/ray.txt
	$(LOCK) --extra traces -c requirements/serve.txt -o requirements/traces.txt
	$(LOCK) --extra batch --extra dev --extra traces --extra training -c requirements/serve.txt -o requirements/dev.txt

# A file's tests stay in one process, where they share services and trained networks; each process needs up to 2 GB.
PARALLEL = OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

# openvino-telemetry is optional: it writes into the home folder and reports to its maker.
LOCK = $(BIN)/uv pip compile -q --upgrade pyproject.toml --group build --universal --python-version 3.11 --generate-hashes \
  --no-header --no-emit-index-url --no-emit-package openvino-telemetry --exclude-newer "$$(date -d '1 month ago' +%F)"
# The lock is complete, so what it leaves out on purpose is not to be asked for.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps

SUPPORTED = import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or \
  sys.exit("Convoscope needs Python 3.11 to 3.13; $(PYTHON) is %d.%d (make PYTHON=... chooses another)" % v)

node_modules: package.json package-lock.json
	npm ci --silent --no-audit --no-fund
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c '$(SUPPORTED)'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/serve: requirements/serve.txt pyproject.toml | .venv/bin/python
	$(INSTALL) --require-hashes -r requirements/serve.txt
	$(INSTALL) --no-build-isolation --editable .
	@touch $@

.venv/dev: requirements/dev.txt .venv/serve
	$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
