# One verb each. Everything lives in .venv of this folder; nothing outside it is changed.
PYTHON ?= python3
BIN := .venv/bin
# More than the cores there are: many tests wait for processes and servers.
TEST_PROCESSES ?= 6
PYTEST_ARGS ?=
# Images for containers often set it; here hundreds of processes would each compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test check format bench docs lock coverage clean

help:  ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready  ## create .venv from the hash lock and put flykeep into .venv/bin

.venv/.ready: requirements/dev.txt pyproject.toml scripts/setup.sh
	@PYTHON="$(PYTHON)" scripts/setup.sh
	@touch $@

demo: setup  ## the main job against a simulated Fly, compared byte for byte
	@$(BIN)/flykeep demo

# Asserts are rewritten once, by two processes, rather than by each of the test processes at once.
tests/__pycache__: | setup
	@$(BIN)/python -m pytest --collect-only -q tests/unit tests/shared_shapes >/dev/null & \
	$(BIN)/python -m pytest --collect-only -q tests/contract tests/integration tests/e2e >/dev/null; wait

test: setup tests/__pycache__  ## every test; what is skipped is listed with its reason
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --no-loadscope-reorder -p tests.no_skips $(PYTEST_ARGS)

check: setup  ## lint, format, types, import contracts, size gate
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/size_gate.py

format: setup  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## the export beside the shell pipeline, into build/bench.json
	@$(BIN)/python benchmarks/run.py

docs: setup  ## write the reference pages that are generated from the code
	@$(BIN)/python scripts/docs.py

lock: ## renew the hash locks (LOCK_ARGS=--upgrade moves versions)
	@PYTHON="$(PYTHON)" scripts/lock.sh $(LOCK_ARGS)

# The floor of the coverage target is not enforced yet: COVERAGE_FLOOR=90 makes it so.
COVERAGE_FLOOR ?= 0
coverage: setup  ## the tests with branch coverage
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --no-loadscope-reorder -p tests.no_skips --cov --cov-report=term --cov-fail-under=$(COVERAGE_FLOOR) $(PYTEST_ARGS)

clean:  ## remove what the verbs made, the environment too
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
