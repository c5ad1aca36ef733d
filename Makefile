# Two commands set everything up on a machine that has only Python and a package index:
#   make demo    environment, install, eight NAS-Bench-201 cells from the bundled checkpoint, printed and drawn
#   make test    environment, install, lint, types, tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: demo test lint clean

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

test: lint
	$(BIN)/python -m pytest --durations=10

clean:
	rm -rf $(VENV) cells.png
