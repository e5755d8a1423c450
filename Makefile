# Two commands are all that a newcomer needs: `make demo` and `make test`. Both make .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test test-demo check docs figures mutants clean

demo: $(VENV)/.demo  ## Add Swahili to the demo base and show how well it works
	$(BIN)/mla-extend add-language sw --parallel-data demo --image-text demo --replace
	$(BIN)/mla-extend list

test: check  ## Lint, types and tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not demo" -n auto --maxprocesses 4 --dist loadfile

test-demo: $(VENV)/.dev  ## The tests that use the demo base, which is built first where it is not cached
	$(BIN)/python -m pytest -m demo

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.dev  ## Write docs/cli.md from --help
	$(BIN)/python docs/make_cli.py

figures: $(VENV)/.demo  ## Measure the README's figures again and write them into it
	$(BIN)/python benchmarks/figures.py --write

mutants: $(VENV)/.dev  ## Change the code in small ways and list what no test notices (ONLY=mla_extend/a/file.py for one)
	$(BIN)/python tests/mutants.py $(ONLY)

$(VENV)/.demo: pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(INSTALL) --editable '.[dev]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist mutants
