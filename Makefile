# Everything runs in .venv, which the first target that needs it creates. Python 3.10 or newer is all there has to be.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= chainrule-disk

.PHONY: demo test check format dist clean help

help:        ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort

demo: $(VENV)/.demo  ## install chainrule into .venv and run the report's experiment, with pictures
	$(BIN)/chainrule disk --out $(OUT)

test: $(VENV)/.test  ## install with the test extra and run every test
	$(BIN)/python -m pytest -n auto -q

check: $(VENV)/.dev  ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## let the formatter do it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dist: $(VENV)/.dev  ## wheel and source distribution in dist/
	$(BIN)/python -m build

clean:       ## remove .venv and everything built
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The package is installed in place, so that a change in src/ is seen at once.
$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/pyvenv.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[plots]'
	@touch $@

$(VENV)/.test: $(VENV)/pyvenv.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: $(VENV)/pyvenv.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.test $(VENV)/.demo
