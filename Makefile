# make install, make demo and make test need Python 3.11 or later and make: they create .venv and install into it.

# The first on the PATH that is recent enough and can make environments; make install PYTHON=/path/to/python chooses one.
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,\
	$(shell $(name) -c '$(SUITABLE)' 2>/dev/null && echo $(name))))
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo install dev lint test most-tests test-fast test-long test-all test-lowest mutants coverage fuzz test-gpu \
	gpu-acceptance bench bench-full bench-all soak pictures docs clean

demo: $(VENV)/.installed
	$(BIN)/spikeloom demo

install: $(VENV)/.installed
	@echo 'spikeloom is installed in .venv. This puts it on the PATH of this shell:'
	@echo '    export PATH="$$PWD/.venv/bin:$$PATH"'

dev: $(VENV)/.installed-dev
	$(BIN)/pre-commit install

# An up-to-date .venv is used again; a changed dependency or pin reinstalls.
$(VENV)/bin/python:
	@$(or $(PYTHON),false) -c '$(SUITABLE)' 2>/dev/null || { echo "make: expected Python 3.11 or later with its module venv," \
		"found $(or $(PYTHON),none). Install one, or name it: make install PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@ $(VENV)/.installed

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

# Every process of the tests would otherwise compile the sources again, where the environment says not to keep the result.
export PYTHONDONTWRITEBYTECODE :=

# Whole files, in order: tests of one share what they set up. Tests with Ray wait a lot, so that two cores run three files;
# those with Ray are in two of the processes (tests/conftest.py).
FILES := --dist loadfile --no-loadscope-reorder

# For the loop of work: without what takes long, Ray, and the linters.
test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 $(FILES) -m 'not slow and not ray and not long'

# Every kind of test but those marked long, with a fixed small share of the fault and fuzz counts; beside the linters,
# because mypy uses one core, and the first tests, those with Ray, often wait.
test: $(VENV)/.installed-dev
	$(MAKE) --no-print-directory --jobs 2 lint most-tests

most-tests: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 3 $(FILES) -m 'not long'

# What make test leaves out, about sixty tests of ten seconds or more each: most searches with Ray, clusters of two
# machines, compiled networks and GPU kernels, benchmarks, examples and pages of commands.
test-long: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 3 $(FILES) -m long

# Everything: the long tests, the full counts, and every program started by the interpreter instead of forked from one
# with the libraries.
test-all: lint
	SPIKELOOM_TEST_SHARE=1.0 SPIKELOOM_TEST_PRELOADED=0 $(BIN)/python -m pytest -n 3 $(FILES)

# The fast tests with the lowest versions that pyproject.toml allows, in an environment of its own, whose packages warn of
# newer ones that they bring along. Those on fake CUDA devices skip: they need a newer torch.
test-lowest: $(VENV)/bin/python
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	$(BIN)/python tests/lowest_versions.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip --disable-pip-version-check install --quiet --constraint .venv-lowest/constraints.txt --editable '.[dev]'
	NUMBA_CACHE_DIR=$(CURDIR)/.venv-lowest/numba .venv-lowest/bin/python -m pytest -n 2 $(FILES) -o filterwarnings= \
		-m 'not slow and not ray and not long'

# Known defects, put into copies of the sources one at a time: the tests that each names must fail. With words of titles or
# files, those alone: make mutants MUTANTS='clock Holm'.
mutants: $(VENV)/.installed-dev
	$(BIN)/python -m tests.mutants --at-once 2 $(MUTANTS)

# Changed files through every reader, ten minutes of processor time each: they are read, or refused in a line. With names
# of targets, those alone: make fuzz TARGETS='evt3 checkpoint' FUZZ_SECONDS=60. Findings are kept in runs/fuzz. Coverage
# guides it where there is a wheel of atheris (the extra fuzz); else changes are random.
FUZZ_SECONDS := 600
fuzz: $(VENV)/.installed-dev
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(TARGETS)

# The share of the lines of preprocess and of the neurons that their tests execute; less than 92 % of either is an error.
COVERED := tests/test_preprocess tests/test_pipeline/neurons tests/test_pipeline/kernels tests/test_pipeline/networks
coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 $(FILES) --cov --cov-report= $(COVERED)
	$(BIN)/python -m coverage report --include 'preprocess/*' --fail-under 92
	$(BIN)/python -m coverage report --include 'pipeline/neurons/*' --fail-under 92

# Beside SpikingJelly, tonic and other readers ($SPIKELOOM_PEERS), on the same files; equality first.
bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.preprocessing
	$(BIN)/python -m benchmarks.decoding

# Also a recording of 10^8 events and a data set of full size.
bench-full: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.preprocessing --full --plot docs/preprocessing-time.png

# Every table of docs/benchmarks.md and README.md, in about an hour of an idle machine; started again, it continues.
bench-all: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.bench_all

# The pictures of README.md and, with N_MNIST=DIR, of docs/science.md; minutes.
pictures: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.pictures $(if $(N_MNIST),--n-mnist $(N_MNIST))

# Large stores and searches, an hour of loaders, and accidents; started again, it continues. One part: make soak SOAK=kills
soak: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.soak $(SOAK)

# Where there is a CUDA device.
test-gpu: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m gpu

# Whether everything holds on a GPU, in less than ten minutes; started again, it continues.
gpu-acceptance: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.gpu_acceptance --json runs/gpu-acceptance/result.json

# The documentation as a site in site/, to open without a server or network; a broken link or anchor is an error.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) .venv-lowest build site *.egg-info .pytest_cache .mypy_cache .ruff_cache
