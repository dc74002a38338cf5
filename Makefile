# Everything here stays inside the checkout: the environment in .venv, caches in .cache.
# `make` alone lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
CACHE  := $(CURDIR)/.cache

# Tools that would otherwise write under the home directory.
export XDG_CACHE_HOME := $(CACHE)
export MPLCONFIGDIR := $(CACHE)/matplotlib
export NUMBA_CACHE_DIR := $(CACHE)/numba
export TORCH_HOME := $(CACHE)/torch
export HYPOTHESIS_STORAGE_DIRECTORY := $(CACHE)/hypothesis
export IPYTHONDIR := $(CACHE)/ipython
export JUPYTER_CONFIG_DIR := $(CACHE)/jupyter/config
export JUPYTER_DATA_DIR := $(CACHE)/jupyter/data
export JUPYTER_RUNTIME_DIR := $(CACHE)/jupyter/runtime
# pip keeps no cache: setup runs again only when pyproject.toml or constraints.txt change, and then
# finds nearly everything installed. A cache in each checkout would hold the wheels of torch, up to
# several gigabytes, for a download that hardly ever happens again.
export PIP_NO_CACHE_DIR := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# No window is ever opened.
export MPLBACKEND := agg
# Work on small matrices gains nothing from threads, which wait for each other.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup test coverage lint docs demo pictures tutorials clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install the package with everything needed to work on it

# torch goes first and alone: which build of it fits (CPU, CUDA) is a matter of the machine and of
# how pip is set up there, and the second step keeps whichever it finds.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	@touch $@

test: $(STAMP) ## run the tests, two at a time, but those that take long
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

coverage: $(STAMP) ## run all tests, and see which lines and branches they reach
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-fail-under=98

lint: $(STAMP) ## ruff check, ruff format --check and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP) ## build the documentation into docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html

demo: $(STAMP) ## choose a panel on a small real data set; results in demo/
	$(BIN)/python tutorials/demo.py --out demo

pictures: demo ## renew the pictures in README and documentation from the demo
	cp demo/dotplot.png demo/path.png demo/selected_genes.png docs/_static/

# Figures as a notebook shows them; agg would warn at every plt.show().
tutorials: export MPLBACKEND := module://matplotlib_inline.backend_inline
tutorials: $(STAMP) ## run every notebook in tutorials/ from start to end, leaving the files as they are
	@set -e; \
	for notebook in tutorials/*.ipynb; do \
		if [ ! -e "$$notebook" ]; then echo "no notebooks in tutorials/"; continue; fi; \
		echo "$$notebook"; \
		$(BIN)/jupyter-execute --kernel_name=python3 --timeout=1200 "$$notebook"; \
	done

clean: ## remove what the other targets made, except .venv
	rm -rf .cache .ruff_cache .mypy_cache .pytest_cache .hypothesis .coverage coverage.xml htmlcov
	rm -rf demo dist build docs/_build docs/generated
	find src tests benchmarks tutorials docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
