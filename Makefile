# make lab    on a fresh machine: environment, model, JupyterLab        make test   environment, lint and every test
# Needs Python 3.11 or later (with venv), git and make; everything else goes into .venv here and into your user cache.

NOTEBOOK    ?= notebooks/00_start_here.ipynb
LAB_ARGS    ?=# passed on to JupyterLab, e.g. LAB_ARGS="--no-browser --port=8890"
MODEL       ?=# weights for `make lab`: empty for what gb.connect() takes, a name from `gradbook models`, or none
PYTEST_ARGS ?=# passed on to pytest, e.g. PYTEST_ARGS="-k journal -x"
PYTHON      ?=# the Python to build .venv with; found when empty

BIN     := .venv/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.PHONY: help lab model test test-bridges lint bench gallery clean

help: ## say what there is
	@echo 'gradbook, from a fresh clone:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo 'Settings: MODEL=$(MODEL) NOTEBOOK=$(NOTEBOOK) LAB_ARGS=$(LAB_ARGS) PYTEST_ARGS=$(PYTEST_ARGS) PYTHON=$(PYTHON)'

lab: .venv/lab.stamp ## open JupyterLab at the first notebook, with a model ready
	$(BIN)/gradbook lab --model '$(MODEL)' $(NOTEBOOK) $(AS_ROOT) $(LAB_ARGS)

model: .venv/lab.stamp ## fetch the weights of the embedded model (MODEL=name)
	$(BIN)/gradbook models get $(MODEL)

# Most tests wait more than they work, so they run on all cores; what measures time or fills the machine runs after them, one by one.
test: lint ## lint, then run every test
	@status=0; \
	$(BIN)/python -m pytest -q -n auto --dist loadscope -m 'not alone' $(PYTEST_ARGS) || [ $$? = 5 ] || status=1; \
	$(BIN)/python -m pytest -m alone $(PYTEST_ARGS) || [ $$? = 5 ] || status=1; \
	exit $$status

test-bridges: .venv/bridges.stamp ## run the tests that need TextGrad, GEPA or Dask, which it installs
	$(BIN)/python -m pytest -m bridges $(PYTEST_ARGS)

lint: .venv/test.stamp ## ruff, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/test.stamp ## run only what measures, and show the numbers
	$(BIN)/python -m pytest tests/benchmarks -s $(PYTEST_ARGS)

gallery: .venv/lab.stamp ## build a static site of the cases and notebooks in build/gallery
	$(BIN)/python casestudies/gallery.py --anew

clean: ## remove .venv and caches of this folder (weights stay in your user cache)
	rm -rf .venv build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/lab.stamp: .venv/python.stamp pyproject.toml constraints.txt
	@echo 'Installing gradbook into .venv (a minute or two)'
	@$(PIP) --editable .
	@touch $@

.venv/test.stamp: .venv/python.stamp pyproject.toml constraints.txt
	@echo 'Installing gradbook and its test tools into .venv (a minute or two)'
	@$(PIP) --editable '.[test]'
	@touch $@ .venv/lab.stamp

.venv/bridges.stamp: .venv/test.stamp
	@echo 'Installing TextGrad, GEPA and Dask into .venv (a few minutes)'
	@$(PIP) --editable '.[test,bridges,dask]'
	@touch $@

.venv/python.stamp:
	@found=; \
	for python in $(if $(PYTHON),'$(PYTHON)',python3 python3.13 python3.12 python3.11 python3.14 python); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'gradbook needs Python 3.11 or later, and found none. Install one, or name it: make lab PYTHON=path/to/python3' >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$found cannot make environments: its venv module is missing. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	fi; \
	"$$found" -m venv --clear .venv
	@touch $@
