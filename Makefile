# Two commands for everybody: `make demo` and `make test`. Needs Python 3.11, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help test lint types tests format clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[sandbox]' --group dev
	@touch $@

test: lint types tests ## Everything that CI checks

lint: $(READY) ## Style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Static types
	$(BIN)/mypy

tests: $(READY) ## The tests
	$(BIN)/pytest -n auto

format: $(READY) ## Bring the code into format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what make has made
	rm -rf $(VENV) .meltano output build dist
