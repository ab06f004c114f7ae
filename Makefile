# Two commands on a fresh machine: `make quickstart` and `make test`.
# Needs Python 3.11, git, make and libnuma. STACK=gpu installs the official vLLM.
STACK ?= cpu
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without compiled bytecode every actor compiles torch and vLLM again: twice the time to start.
unexport PYTHONDONTWRITEBYTECODE
# Threads that wait must sleep: see tests/conftest.py.
export OMP_WAIT_POLICY ?= PASSIVE
UV := $(BIN)/uv
TRACKERS := build/trackers
DOCS := build/docs-env
INSTALLED := $(VENV)/.installed-$(STACK)

.PHONY: quickstart test test-chaos test-fast test-unit test-gpu-stack check format lock install install-bench \
  install-trackers docs sbom clean

quickstart: $(INSTALLED)
	rm -rf runs/quickstart
	$(BIN)/medray launch configs/quickstart.yaml

# Two tests at a time: a run mostly waits for one of its actors. Those of one file, and those that
# look at one run, stay together (tests/conftest.py). The longest begin.
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
FAST := cli cluster data editing evaluation house imaging report review run study tracking

test: $(INSTALLED) $(TRACKERS) $(DOCS)
	$(PYTEST) $(PARALLEL) tests/integration tests/unit

# While you work: no model is loaded, and no real data are read.
test-fast: $(INSTALLED)
	$(PYTEST) $(PARALLEL) -n 3 -m 'not chaos and not data and not slow' $(addprefix tests/unit/,$(FAST))

test-unit: $(INSTALLED) $(TRACKERS) $(DOCS)
	$(PYTEST) $(PARALLEL) tests/unit

# The unit tests on what a GPU node installs, in an environment of its own (9 GB); no GPU is needed.
test-gpu-stack:
	$(MAKE) VENV=.venv-gpu STACK=gpu test-unit

# What takes too long for every change: dozens of kills, hundreds of steps.
test-chaos: $(INSTALLED)
	$(PYTEST) -m chaos -s

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(INSTALLED)

$(INSTALLED): requirements/$(STACK).txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(UV) || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	$(UV) pip sync --quiet --require-hashes --python $(BIN)/python requirements/$(STACK).txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# TRL, which `medray bench learner` compares with, and what it needs beside the lock.
install-bench: $(INSTALLED)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/bench.txt

# Weights & Biases and MLflow, for `run.trackers`, and what they need beside the lock.
install-trackers: $(INSTALLED)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/trackers.txt

# The same in a folder of their own, for their tests.
$(TRACKERS): requirements/trackers.txt | $(INSTALLED)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes --target $@ -r $<
	touch $@

# The documentation as pages that open from disk: build/docs/site/index.html.
docs: $(DOCS)
	$(DOCS)/bin/python site/build.py build/docs

# What builds it, in an environment of its own.
$(DOCS): requirements/docs.txt | $(INSTALLED)
	$(UV) venv --quiet --clear --python $(BIN)/python $@
	$(UV) pip install --quiet --python $@/bin/python --require-hashes -r $<
	touch $@

lock: $(INSTALLED)
	for stack in cpu gpu; do $(UV) pip compile --quiet requirements/$$stack.in --generate-hashes \
	  $$(printf -- '--override %s ' requirements/overrides.txt $$(ls requirements/overrides-$$stack.txt 2>/dev/null)) \
	  --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	  --output-file requirements/$$stack.txt; done
	for extra in trackers bench; do $(UV) pip compile --quiet requirements/$$extra.in --generate-hashes \
	  --constraint requirements/cpu.txt $$(printf -- '--override %s ' requirements/overrides.txt \
	  requirements/overrides-cpu.txt $$(ls requirements/overrides-$$extra.txt 2>/dev/null)) \
	  $$(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements/cpu.txt) \
	  --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	  --output-file requirements/$$extra.txt; done
	$(UV) pip compile --quiet requirements/docs.in --generate-hashes --python-version 3.11 --no-header \
	  --no-annotate --no-emit-index-url --output-file requirements/docs.txt

# What is installed, and under which licence: build/sbom-STACK/sbom.json (CycloneDX), licences.md.
sbom: $(INSTALLED)
	$(BIN)/python requirements/sbom.py requirements/$(STACK).txt build/sbom-$(STACK)

clean:
	rm -rf $(VENV) .venv-gpu build dist *.egg-info
