PYTHON := .venv/bin/python
UNIT := not slow and not e2e and not gpu
# Two processes, a file of tests in one of them: much of a run is imports and waiting.
PYTEST := $(PYTHON) -m pytest -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-slow test-modern fuzz e2e lint types format docs docs-site compile clean

help:  ## List these targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Make .venv of one of the lanes in requirements/; nothing where it is right.
	@scripts/setup.sh

demo: setup  ## Draw shapes into data/shapes, run the whole pipeline on them into runs/demo.
	.venv/bin/tfx-rcnn demo

test: lint types  ## Lint, format check, types, unit and end-to-end tests: what CI runs.
	$(PYTEST) -m "not slow and not gpu"

test-fast: setup  ## Unit tests only.
	$(PYTEST) -m "$(UNIT)"

test-slow: setup  ## The tests that `make test` leaves out: minutes each.
	$(PYTHON) -m pytest -m "slow and not gpu"

fuzz: setup  ## Ten thousand mutated inputs of each kind through the commands' own functions.
	$(PYTHON) -m tests.fuzz
	$(PYTHON) -m tests.fuzz.pictures --count 10000

test-modern:  ## On an older system: set up, test and demo in a clean root of Debian 13.
	@scripts/test_modern.sh

e2e: setup  ## End-to-end tests only.
	$(PYTHON) -m pytest -m "e2e and not slow"

lint: setup  ## Lint and check the format; changes nothing.
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: setup  ## Check the types of what pyproject.toml lists.
	$(PYTHON) -m mypy

format: setup  ## Format, and mend what lint can mend.
	$(PYTHON) -m ruff check --fix-only --quiet .
	$(PYTHON) -m ruff format .

docs-site: setup  ## Build the documentation site into build/site.
	@scripts/docs_site.sh

docs: setup  ## Write docs/configs.md and docs/commands.md anew from schema and commands.
	$(PYTHON) -m configs.reference > docs/configs.md
	$(PYTHON) -m pipeline.command_reference > docs/commands.md

compile: setup  ## Compile the demo pipeline for Kubeflow into build/demo.yaml.
	@mkdir -p build
	.venv/bin/tfx-rcnn compile --config configs/demo.yaml --image tfx-rcnn:latest \
	  --pipeline-root minio://pipelines/tfx-rcnn --out build/demo.yaml

clean:  ## Remove what tools left behind; keeps data, runs and .venv.
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -not -path './.uv/*' -prune -exec rm -rf {} +
