# The few commands that people and CI share. `make help` lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Each worker of each run would rewrite the assertions of all tests again: half a minute of a processor a run.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check e2e bench bed bed-build bed-down soak format lock clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## a virtual environment with the locked dependencies

# Reinstalls only when the lock or the project's own metadata changed; safe to run twice.
$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "missing: $(PYTHON) (set PYTHON=… to another Python >= 3.11)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { echo "missing: the venv module of $(PYTHON) (Debian: apt-get install python3.11-venv)"; exit 1; }
	@echo "installing the locked dependencies into $(VENV) (about half a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## the page's canary, end to end: a good version goes out, a bad one is taken off
	$(BIN)/python -m agent.demo

test: $(READY) ## unit, property, contract, scenario and simulation tests, and the conformance vectors
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not e2e" tests
	$(BIN)/python -m tests.conformance tests/conformance/vectors $(wildcard ../shared/vectors)
	$(BIN)/python -m tests.conformance --compat safe tests/conformance/vectors $(wildcard ../shared/vectors)

e2e: $(READY) ## the shipped processes on real servers: agent, alerts, Kafka, API server, kill -9
	@$(BIN)/python -m tests.e2e.bed build || echo "go on: the tests of what is missing fail"
	$(BIN)/python -m pytest -m e2e -n 3 --dist loadscope tests

bench: bed-build ## the promises in numbers, as ratios to raw hops of the same run (docs/performance.md)
	$(BIN)/python -m tests.bench

bed: $(READY) ## start the real servers on free ports and say where; twice is no harm (bed-down ends them)
	@$(BIN)/python -m tests.e2e.bed up

bed-down: $(READY) ## stop what `make bed` started, and what killed test runs left
	@$(BIN)/python -m tests.e2e.bed down

bed-build: $(READY) ## fetch and build the real servers, once (minutes; kept outside of the clone)
	@$(BIN)/python -m tests.e2e.bed build

soak: $(READY) ## long simulations and fuzzing (minutes to hours; SEEDS=n, RUNS=n, EXPRESSIONS=n; needs Go)
	$(BIN)/python -m tests.simulation --seeds $${SEEDS:-2000}
	SERINUS_EVERY_WRITE=1 $(BIN)/python -m pytest -q --timeout 3600 tests/simulation/test_routes.py
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --timeout 3600 -m "not e2e" --hypothesis-profile soak $$(grep -rl "@given" tests)
	$(BIN)/python -m tests.sequential --runs $${RUNS:-4000}
	$(BIN)/python -m tests.fuzz.expressions --count $${EXPRESSIONS:-100000} --seed $${SEED:-1}

check: $(READY) ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY) ## rewrite the files as the formatter wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## renew requirements.lock and the locks of the image from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --all-extras pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --constraint requirements.lock pyproject.toml -o deploy/image/agent.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --constraint requirements.lock --extra cli pyproject.toml -o deploy/image/cli.lock

clean: ## remove what the other commands made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
