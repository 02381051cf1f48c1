# Two commands do everything on a machine that has Python 3.11+, pip and make:
#   make conformance   the suite against the reference gateway, report in reports/latest/
#   make test          ruff, mypy --strict, the tests, coverage
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The vendor's packages for JavaScript, as clients in tests; without npm those tests are skipped.
NODE := tests/clients/node
PACKAGES := $(if $(shell command -v npm),$(NODE)/node_modules/.package-lock.json)

.PHONY: conformance test lint clean

conformance: $(STAMP)
	$(BIN)/callproof run --gateway reference --report reports/latest

test: lint $(PACKAGES)
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --cov --cov-report=
	$(BIN)/coverage report

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

$(NODE)/node_modules/.package-lock.json: $(NODE)/package.json $(NODE)/package-lock.json
	cd $(NODE) && npm ci --ignore-scripts --no-audit --no-fund --silent
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage reports/latest $(NODE)/node_modules
