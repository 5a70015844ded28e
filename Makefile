# On a fresh machine with Python 3.11, 3.12 or 3.13: `make demo`, `make test`, and `make label STUDIES=FOLDER`.
PYTHON ?= python3.11
ifeq (, $(shell command -v $(PYTHON) 2>/dev/null))
PYTHON := python3
endif
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

OLDEST_VENV ?= .venv-oldest
OLDEST_BIN := $(OLDEST_VENV)/bin
OLDEST_PIP := $(OLDEST_BIN)/python -m pip install --quiet --disable-pip-version-check

LABEL_VENV ?= .venv-label
LABEL_BIN := $(LABEL_VENV)/bin
LABEL_PIP := $(LABEL_BIN)/python -m pip install --disable-pip-version-check
LABEL_APP := monai_bundle/label_app
HOST ?= 127.0.0.1
PORT ?= 8000

.PHONY: demo test environments test-oldest lint unit fuzz label label-test bench gpu-check evidence evidence-status docs docs-serve dist clean

demo: $(VENV)/.runtime
	$(BIN)/casr segment monai_bundle/sample/images --output results/demo --overlay --probability --overwrite
	$(BIN)/casr evaluate results/demo monai_bundle/sample/masks --json results/demo/report.json
	@rm -rf results/demo-cine  # so that it can be run again; synth keeps what is there
	$(BIN)/casr synth --output results/demo-cine --count 1 --frames 12 --size 512 --seed 4
	$(BIN)/casr analyze results/demo-cine/synthetic/images --output results/demo-report --overwrite
	@echo "Mask, overlay, probability map, run.json and report.json are in results/demo."
	@echo "The report of a synthetic cine: results/demo-report/index.html."

test:
	$(MAKE) --jobs=2 environments
	$(MAKE) lint unit

environments: $(VENV)/.test $(LABEL_VENV)/.label

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# JOBS=2 runs two processes at a time, which is quicker.
JOBS ?= 1
unit: $(VENV)/.test $(LABEL_VENV)/.test
	$(BIN)/python Testing/run.py --jobs $(JOBS)

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

# Training and evaluation of everything that the model card claims, as experiments/plan.json lists it: hours, in pieces of
# MINUTES, at low priority. It can be stopped at any time and goes on where it was (experiments/LOG.md).
MINUTES ?= 170
THREADS ?= 1
evidence: $(VENV)/.test
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m casr_net.evaluation.crossval --minutes $(MINUTES) --threads $(THREADS)

# Speed of everything, beside other methods and accuracy, as docs/speed.md tells it; the training runner waits meanwhile.
# NOTE says what else was running, PARTS which parts are wanted ("--only cine"), QUICK=1 rehearses.
ROUNDS ?= 7
NOTE ?= nothing else was running
PARTS ?=
bench: $(VENV)/.test
	$(PIP) --constraint constraints.txt --editable ".[experiments]"
	$(BIN)/python benchmarks/bench.py --rounds $(ROUNDS) --note "$(NOTE)" $(PARTS) \
		$(if $(QUICK),--quick --no-lock --output results/bench)

# What only a machine with a GPU can prove: masks, half precision, speed, memory, training step, worker, casr segment.
# DEVICE=cpu rehearses the checks themselves. Exit code 2: there is no GPU, and nothing was checked.
DEVICE ?= cuda
gpu-check: $(VENV)/.runtime
	$(BIN)/python benchmarks/gpu_check.py --device $(DEVICE)

evidence-status: $(VENV)/.test
	$(BIN)/python -m casr_net.evaluation.crossval --status

label: $(LABEL_VENV)/.label
	@test -n "$(STUDIES)" || { echo "usage: make label STUDIES=FOLDER [PORT=8000] [HOST=127.0.0.1] [LABEL_OPTIONS=--no-tta]" >&2; exit 2; }
	@PYTHONPATH=$(LABEL_APP):monai_bundle $(LABEL_BIN)/python -m casr_label --studies "$(STUDIES)" --host $(HOST) --port $(PORT) $(LABEL_OPTIONS)

# The documentation as a site in site/; docs-serve shows it, with its search, and follows changes.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs
docs: $(VENV)/.test
	$(MKDOCS) build --quiet --strict
	@echo "The documentation is in site/index.html."

docs-serve: $(VENV)/.test
	$(MKDOCS) serve

# What a release uploads, checked as the package index does: source archive, and the wheel that is built from it.
dist: $(VENV)/.test
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python -m twine check --strict dist/*

# The package with the lowest versions that pyproject.toml allows of everything but torch, which is too large for that.
test-oldest: $(OLDEST_VENV)/.oldest
	PYTHONPATH=monai_bundle $(OLDEST_BIN)/python -m pytest -p no:cacheprovider Testing/files Testing/preprocessing \
		Testing/refinement Testing/metrics Testing/cli

# torch first and pinned: every later package finds it satisfied and pulls no other build.
$(VENV)/.runtime: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; assert (3, 11) <= sys.version_info < (3, 14), 'Python 3.11, 3.12 or 3.13 is needed'"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --constraint constraints.txt torch
	$(PIP) --constraint constraints.txt --editable .
	touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(PIP) --constraint constraints.txt --editable ".[test]"
	touch $@

# The package itself is not installed there: its folder is on the path, and one environment alone may own its metadata.
$(OLDEST_VENV)/.oldest: pyproject.toml constraints.txt .ci/oldest.py
	test -x $(OLDEST_BIN)/python || $(PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_PIP) --upgrade pip
	$(OLDEST_PIP) --constraint constraints.txt torch
	$(PYTHON) .ci/oldest.py > $(OLDEST_VENV)/oldest.txt
	$(OLDEST_PIP) --requirement $(OLDEST_VENV)/oldest.txt
	touch $@

$(LABEL_VENV)/.label: $(LABEL_APP)/requirements-label.txt
	$(PYTHON) -c "import sys; assert (3, 11) <= sys.version_info < (3, 13), 'the server needs Python 3.11 or 3.12 (its numpy 1.26 has no other wheels)'"
	@echo "1 of 3: an environment for the server, $(LABEL_VENV); once, some minutes and 2.5 GB"
	@test -x $(LABEL_BIN)/python || $(PYTHON) -m venv $(LABEL_VENV)
	@$(LABEL_PIP) --quiet --upgrade pip
	@echo "2 of 3: PyTorch, the largest part"
	@$(LABEL_PIP) torch==2.13.0
	@echo "3 of 3: MONAI Label and what it needs"
	@$(LABEL_PIP) --no-deps --requirement $(LABEL_APP)/requirements-label.txt
	@touch $@

# Only for the tests: the server's processes measure which of their lines run (Testing/label/conftest.py).
$(LABEL_VENV)/.test: $(LABEL_VENV)/.label $(VENV)/.test
	$(LABEL_PIP) --quiet --no-deps --constraint constraints.txt coverage
	touch $@

clean:
	rm -rf $(VENV) $(LABEL_VENV) $(OLDEST_VENV) build dist site results runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -prune -exec rm -rf {} +
