# `make demo` and `make test` do all the set-up on a fresh machine: Python >= 3.10 with venv is enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/installed  ## train MMDG++ on the embedded synthetic benchmark and print its table
	$(BIN)/fasbench run --method mmdg++ --protocol synth/fixed/lmn-k

test: $(VENV)/installed  ## the whole suite but the tests marked slow
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist
