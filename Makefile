# On a fresh machine with Python 3.11: `make demo`, `make test`, and `make label STUDIES=FOLDER`.
PYTHON ?= python3.11
ifeq (, $(shell command -v $(PYTHON) 2>/dev/null))
PYTHON := python3
endif
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

LABEL_VENV ?= .venv-label
LABEL_BIN := $(LABEL_VENV)/bin
LABEL_PIP := $(LABEL_BIN)/python -m pip install --quiet --disable-pip-version-check
LABEL_APP := monai_bundle/label_app
HOST ?= 127.0.0.1
PORT ?= 8000

.PHONY: demo test lint unit fuzz label label-test clean

demo: $(VENV)/.runtime
	$(BIN)/casr segment monai_bundle/sample/images --output results/demo --overlay --probability --overwrite
	$(BIN)/casr evaluate results/demo monai_bundle/sample/masks --json results/demo/report.json
	@echo "Mask, overlay, probability map, run.json and report.json are in results/demo."

test: lint unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.test $(LABEL_VENV)/.label
	$(BIN)/python -m pytest --cov --cov-report=term

# The server has an environment of its own, since its packages do not go together with the others. The tests with a PACS
# need the Debian packages orthanc and orthanc-dicomweb, and skip with that reason where they are not.
label-test: $(VENV)/.test $(LABEL_VENV)/.label
	$(BIN)/python -m pytest Testing/label

# Damaged files of every format, for hours if you like: make fuzz COUNT=20000 [SEED=1] [FORMATS=dicom,tiff]
COUNT ?= 5000
SEED ?= 10
FORMATS ?=
fuzz: $(VENV)/.test
	CASR_FUZZ_COUNT=$(COUNT) CASR_FUZZ_SEED=$(SEED) CASR_FUZZ_FORMATS=$(FORMATS) $(BIN)/python -m pytest -s Testing/fuzz

label: $(LABEL_VENV)/.label
	@test -n "$(STUDIES)" || { echo "usage: make label STUDIES=FOLDER [PORT=8000] [HOST=127.0.0.1]" >&2; exit 2; }
	PYTHONPATH=$(LABEL_APP):monai_bundle $(LABEL_BIN)/python -m casr_label --studies "$(STUDIES)" --host $(HOST) --port $(PORT)

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

$(LABEL_VENV)/.label: $(LABEL_APP)/requirements-label.txt
	$(PYTHON) -c "import sys; assert (3, 11) <= sys.version_info < (3, 13), 'the server needs Python 3.11 or 3.12 (its numpy 1.26 has no other wheels)'"
	test -x $(LABEL_BIN)/python || $(PYTHON) -m venv $(LABEL_VENV)
	$(LABEL_PIP) --upgrade pip
	$(LABEL_PIP) torch==2.13.0
	$(LABEL_PIP) --no-deps --requirement $(LABEL_APP)/requirements-label.txt
	touch $@

clean:
	rm -rf $(VENV) $(LABEL_VENV) build results runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +
