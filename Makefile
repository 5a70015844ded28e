# Two commands on a fresh machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= python3.11
ifeq (, $(shell command -v $(PYTHON) 2>/dev/null))
PYTHON := python3
endif
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint unit clean

demo: $(VENV)/.runtime
	$(BIN)/casr segment monai_bundle/sample/images --output results/demo --overlay --probability --overwrite
	$(BIN)/casr evaluate results/demo monai_bundle/sample/masks --json results/demo/report.json
	@echo "Mask, overlay, probability map, run.json and report.json are in results/demo."

test: lint unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.test
	$(BIN)/python -m pytest --cov --cov-report=term

# torch first and pinned: every later package finds it satisfied and pulls no other build.
$(VENV)/.runtime: pyproject.toml
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), 'Python 3.11 or newer is needed'"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) torch==2.13.0
	$(PIP) --editable .
	touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(PIP) --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build results runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +
