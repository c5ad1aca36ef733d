# Two commands set everything up on a machine that has only Python and a package index:
#   make demo    environment, install, eight NAS-Bench-201 cells from the bundled checkpoint, printed and drawn
#   make test    environment, install, lint, types, tests
# A third one runs the tests of the core in a second environment, with the lowest versions that are allowed:
#   make test-lowest
# and a fourth one those that need a CUDA device:
#   make test-gpu
# and a fifth one builds the documentation in site/:
#   make docs

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: demo test lowest test-lowest test-gpu docs lint clean

$(BIN)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[benchmarks]'
	@touch $@

$(BIN)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ $(BIN)/.demo

demo: $(BIN)/.demo
	$(BIN)/pkgen generate --space nas-bench-201 --task cifar10 -n 8 --seed 0 --draw cells.png

lint: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations=10

$(LOWEST)/.done: pyproject.toml .ci/lowest.py
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) .ci/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip --disable-pip-version-check -q install -c $(LOWEST)/constraints.txt -e '.[benchmarks]' pytest shapiq
	@touch $@

lowest: $(LOWEST)/.done

test-lowest: lowest
	$(LOWEST)/bin/python -m pytest $(addprefix tests/,$(addsuffix .py,test_pipeline test_denoiser test_scheduler test_network_model priors/test_priors publishing/test_dataset_folder budgets/test_limits))

test-gpu: $(BIN)/.dev
	$(BIN)/python -m pytest -m gpu --durations=10

docs: $(BIN)/.dev
	$(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) $(LOWEST) site cells.png
