# make demo and make test need Python 3.11 and make, and nothing else: both create .venv and install into it.

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo install dev lint test test-all test-gpu bench bench-full clean

demo: $(VENV)/.installed
	$(BIN)/spikeloom demo

install: $(VENV)/.installed

dev: $(VENV)/.installed-dev
	$(BIN)/pre-commit install

# An up-to-date .venv is used again; a changed dependency or pin installs anew.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.installed

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

# Half of the time is waiting for Ray and for child processes. Whole files, in order: tests of one share what they set up.
TWO_FILES := -n 2 --dist loadfile --no-loadscope-reorder

# Every kind of test, with a fixed small share of the long fault and fuzz counts.
test: lint
	$(BIN)/python -m pytest $(TWO_FILES)

# The full counts.
test-all: lint
	SPIKELOOM_TEST_SHARE=1.0 $(BIN)/python -m pytest $(TWO_FILES)

# Beside SpikingJelly and tonic, on the same files; equality first.
bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.preprocessing

# Also a recording of 10^8 events and a data set of full size.
bench-full: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.preprocessing --full --plot docs/preprocessing-time.png

# Where there is a CUDA device.
test-gpu: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m gpu

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
