# Needs Python >= 3.11 and make, nothing else: each target sets up what it uses in .venv.

CANDIDATES := python3.13 python3.12 python3.11 python3 python
PYTHON ?= $(shell for p in $(CANDIDATES); do "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1 && echo "$$p" && break; done)
PYTEST_ARGS ?= -n 2 --dist loadfile
BIN := .venv/bin
TREE := build/tree

.DELETE_ON_ERROR:
.PHONY: help demo test lint format types tree bench docs clean

help:
	@echo 'make demo    explain a real photograph with a real network; pictures in onnxplain-demo/'
	@echo 'make test    run the tests'
	@echo 'make lint    ruff, mypy and the import contracts'
	@echo 'make format  let ruff fix and format'
	@echo 'make bench   measure; tables on the screen, JSON in benchmarks/results/'
	@echo 'make docs    build the site in site/'
	@echo 'make clean   remove .venv and everything that was built'

demo: .venv/models.stamp
	$(BIN)/onnxplain demo -o onnxplain-demo

test: .venv/dev.stamp
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: .venv/dev.stamp types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=$(TREE) $(BIN)/lint-imports --no-logo

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/dev.stamp tree
	$(BIN)/mypy

# The package is put together from five folders (package-dir in pyproject.toml). Python follows the editable install;
# mypy and import-linter do not, and get the same package as a tree of links.
tree:
	@rm -rf $(TREE)
	@mkdir -p $(TREE)/onnxplain
	@ln -s $(addprefix ../../../,$(wildcard api/*.py) api/py.typed adapters cli engine models) $(TREE)/onnxplain/

bench: .venv/dev.stamp
	$(BIN)/python -m benchmarks

docs: .venv/docs.stamp
	$(BIN)/mkdocs build --strict --quiet
	@echo 'site/index.html'

# .venv/NAME.stamp: the package, editable, with the extra NAME of pyproject.toml.
.venv/%.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'onnxplain needs Python 3.11 or later, and found none of: $(CANDIDATES).' >&2; \
	  echo 'Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python' >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  v=$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "$(PYTHON) cannot make virtual environments. Debian, Ubuntu: apt-get install python$$v-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv .venv

clean:
	rm -rf .venv build dist site onnxplain-demo onnxplain.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
