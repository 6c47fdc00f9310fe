# Every target sets up what it needs: `make demo` and `make test` work from a clean clone.
PYTHON ?= python3
VENV ?= .venv
FOLDER := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(FOLDER)
STAMP := $(VENV)/.installed
JAX := .venv-jax
JAX_STAMP := $(JAX)/.installed
INVERTMEEG := .venv-invertmeeg
INVERTMEEG_STAMP := $(INVERTMEEG)/.installed

CUTEST := .venv-cutest
CUTEST_STAMP := $(CUTEST)/.installed

DOCS_STAMP := $(VENV)/.docs

OLDEST := .venv-oldest
OLDEST_STAMP := $(OLDEST)/.installed
NEWEST := .venv-newest

# What `make package` builds with, where it tries the wheels, and beside which versions.
PACKAGE := .venv-package
INSTALLED := build/installed
CONSTRAINTS ?= constraints.txt

.PHONY: help demo test test-plain test-everywhere test-oldest test-newest lint style types package test-wheels bench bench-jax bench-learning bench-eeg bench-invertmeeg bench-cutest gpu table1-gpu docs clean

help:
	@echo "make demo        reconstruct simulated EEG sources, next to MNE and sLORETA"
	@echo "make style       how the code is written, by ruff"
	@echo "make types       types and import rules"
	@echo "make lint        both, and docstrings against signatures"
	@echo "make test        the same, and the whole test suite"
	@echo "make test-plain  what hangs on rounding, on the plainest path through MKL and torch"
	@echo "make test-everywhere  the suite on every path that this processor knows (an hour)"
	@echo "make test-oldest the tests with the oldest versions that are admitted"
	@echo "make test-newest the tests with the newest versions that there are"
	@echo "make package     build both distributions, install the wheels elsewhere, and try them"
	@echo "make test-wheels the same, and the tests of the packages with what was installed"
	@echo "make bench       time the optimizer against its energy and against other libraries"
	@echo "make bench-jax   the same, beside JAX's batched solvers too"
	@echo "make bench-learning  what learning buys on families of problems, in and out of distribution"
	@echo "make bench-eeg   source imaging over caps, patches, noise and heads, beside classical methods"
	@echo "make bench-invertmeeg  the same beside solvers of invertmeeg, on its four data sets"
	@echo "make bench-cutest  unconstrained problems of CUTEst, beside L-BFGS of torch and SciPy"
	@echo "make gpu         laws, batches and a training step on a GPU, in at most eight minutes"
	@echo "make table1-gpu  train what Table I lacks side by side on a GPU, eight minutes at a time"
	@echo "make docs        the site, in docs/_build/html: warnings are errors, its examples run"
	@echo "make clean       remove the environment and build products"

$(STAMP): pyproject.toml problems/esi/pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("learnmm needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,toy,bench,dev]" --editable "problems/esi[metrics]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/learnmm-esi head-model --ico 3
	$(BIN)/python examples/esi/demo.py

style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-cache

lint: style types
	$(BIN)/python -m pytest tests/test_docstrings.py

test: lint
	$(BIN)/python -m pytest -n auto --durations 10 --ignore tests/test_docstrings.py

# Tests that do not hang on rounding: files and names, refusals, who is asked and when, what is
# copied or left alone, what runs in other processes. The rest has to hold on any processor.
ANYWHERE := tests/esi tests/benchmarks tests/training tests/storage tests/test_* \
	tests/core/test_c[ah]* tests/core/test_ha* tests/core/test_[npqr]* \
	tests/unroll/test_hidden* tests/unroll/test_memory* \
	tests/problems/test_settings* \
	tests/optim/test_optim_buffers* tests/optim/test_optim_closures* tests/optim/test_optim_r* \
	tests/solve/test_asking* tests/solve/test_borrowed* tests/solve/test_copies* \
	tests/solve/test_transforms* tests/solve/test_unmodified* *misuse*

# What torch compiles for one path does not compile on another, so no cache is shared, and nothing
# is compiled here: that too says little about rounding. Every property has a few of its examples,
# and every test a few of its cases; `make test-everywhere` has all of them.
test-plain: $(STAMP)
	HYPOTHESIS_PROFILE=few \
	MKL_ENABLE_INSTRUCTIONS=SSE4_2 ATEN_CPU_CAPABILITY=default TORCHINDUCTOR_CACHE_DIR=$(VENV)/plain \
	$(BIN)/python -m pytest -n auto tests -k "not compile and not one_graph" \
	$(foreach one,$(ANYWHERE),--ignore-glob '$(one)')

test-everywhere: $(STAMP)
	$(BIN)/python tests/everywhere.py

$(OLDEST_STAMP): pyproject.toml problems/esi/pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/$(FOLDER)/python -m pip install --quiet --constraint constraints-oldest.txt --editable ".[train,toy]" --editable "problems/esi[cluster,metrics]" hatchling pytest pytest-xdist hypothesis
	touch $(OLDEST_STAMP)

test-oldest: $(OLDEST_STAMP)
	$(OLDEST)/$(FOLDER)/python -m pytest -n auto tests

# Set up anew each time: what is newest changes.
test-newest:
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/$(FOLDER)/python -m pip install --quiet --editable ".[train,toy,bench,dev]" --editable "problems/esi[metrics]"
	$(NEWEST)/$(FOLDER)/python -m pytest -n auto tests

package:
	rm -rf dist
	$(PYTHON) -m venv --clear $(PACKAGE)
	$(PACKAGE)/$(FOLDER)/python -m pip install --quiet --constraint constraints.txt build twine
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(PACKAGE)/$(FOLDER)/python -m build --outdir dist/learnmm .
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(PACKAGE)/$(FOLDER)/python -m build --outdir dist/learnmm-esi problems/esi
	$(PACKAGE)/$(FOLDER)/python -m twine check --strict dist/learnmm/* dist/learnmm-esi/*
	$(PYTHON) -m venv --clear $(INSTALLED)
	$(INSTALLED)/$(FOLDER)/python -m pip install --quiet --constraint $(CONSTRAINTS) dist/learnmm/*.whl
	$(INSTALLED)/$(FOLDER)/python -I tests/installed.py core
	$(INSTALLED)/$(FOLDER)/python -m pip install --quiet --constraint $(CONSTRAINTS) dist/learnmm-esi/*.whl
	$(INSTALLED)/$(FOLDER)/python -I tests/installed.py all

# Nothing of the checkout is on the path but the helpers of the tests, and the working directory is
# not either, as `python -m pytest` would have it.
test-wheels: package
	$(INSTALLED)/$(FOLDER)/python -m pip install --quiet --constraint $(CONSTRAINTS) "learnmm[toy]" "learnmm-esi[cluster,metrics]" pytest pytest-xdist hypothesis
	$(INSTALLED)/$(FOLDER)/pytest -n auto --override-ini pythonpath=tests --ignore tests/benchmarks --ignore-glob 'tests/test_*' tests

bench: $(STAMP)
	$(BIN)/python -m benchmarks.esi_iteration
	$(BIN)/python -m benchmarks.bounded
	$(BIN)/python -m benchmarks.peers $(if $(wildcard $(JAX_STAMP)),--jax $(JAX)/bin/python)
	$(BIN)/python -m benchmarks.many $(if $(wildcard $(JAX_STAMP)),--jax $(JAX)/bin/python)

# An environment of its own: JAX and torch need not agree about anything.
$(JAX_STAMP): constraints.txt
	$(PYTHON) -m venv $(JAX)
	$(JAX)/bin/python -m pip install --quiet --constraint constraints.txt jax jaxopt optimistix
	touch $(JAX_STAMP)

bench-jax: $(JAX_STAMP) bench

bench-learning: $(STAMP)
	$(BIN)/python -m benchmarks.learning --anew

bench-eeg: $(STAMP)
	$(BIN)/python -m benchmarks.eeg_outside --samples 40

# An environment of its own: invertmeeg is under the GPL, and runs in a process of its own.
$(INVERTMEEG_STAMP): constraints.txt
	$(PYTHON) -m venv $(INVERTMEEG)
	$(INVERTMEEG)/bin/python -m pip install --quiet --constraint constraints.txt invertmeeg
	touch $(INVERTMEEG_STAMP)

# JAX computes the functions here, and torch takes the steps: they share an environment.
$(CUTEST_STAMP): constraints.txt
	$(PYTHON) -m venv $(CUTEST)
	$(CUTEST)/bin/python -m pip install --quiet --constraint constraints.txt sif2jax --editable ".[toy,bench]"
	touch $(CUTEST_STAMP)

bench-cutest: $(CUTEST_STAMP)
	$(CUTEST)/bin/python -m benchmarks.cutest

gpu: $(STAMP)
	$(BIN)/python -m benchmarks.gpu

table1-gpu: $(STAMP)
	$(BIN)/python examples/esi/table1_gpu.py

bench-invertmeeg: $(STAMP) $(INVERTMEEG_STAMP)
	$(BIN)/python -m benchmarks.eeg_invertmeeg --samples 20

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $(DOCS_STAMP)

# Both read the pages once.
docs: $(DOCS_STAMP)
	$(BIN)/python -m sphinx -M html docs docs/_build --fail-on-warning --keep-going
	$(BIN)/python -m sphinx -M doctest docs docs/_build --fail-on-warning --keep-going

clean:
	rm -rf $(VENV) $(JAX) $(INVERTMEEG) $(CUTEST) $(OLDEST) $(NEWEST) $(PACKAGE) docs/_build docs/generated docs/api/generated docs/gallery docs/sg_execution_times.rst build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
