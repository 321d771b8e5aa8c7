# make demo   train on the built-in digits, evaluate, export (repeat it to resume)
# make test   the tests          make lint   ruff
# make bench  the benchmarks     make clean  build leftovers; keeps .venv and runs
# make ops    build the compiled ops beforehand, into the package
# make fuzz   30,000 random calls of the ops under sanitizers
# make bazel  bazel-bin/tfstylegan_ops.so and the library for model servers, offline
# make parity the tests' numbers of tensorflow-addons, computed again (Python 3.11 only)
# Options: PYTHON=python3.12  VENV=folder  DEMO_DIR=folder

PYTHON ?= python3
VENV ?= .venv
DEMO_DIR ?= runs/digits32
PARITY_VENV ?= .venv-parity

PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check -c constraints.txt
PINS := pyproject.toml setup.py constraints.txt

.PHONY: help demo test lint bench ops fuzz bazel parity clean
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q;s/^# //p' Makefile

demo: $(VENV)/.installed
	$(PY) -m tfstylegan.train --config=configs/digits32.py --workdir=$(DEMO_DIR)
	$(PY) -m tfstylegan.evaluate --model=$(DEMO_DIR) --metrics=pixel_frechet --untrained
	$(PY) -m tfstylegan.export --model=$(DEMO_DIR) --outdir=$(DEMO_DIR)/saved_model
	@echo
	@echo "Images:      $$(ls $(DEMO_DIR)/samples/fakes*.png | tail -n 1)"
	@echo "Metric:      $(DEMO_DIR)/metrics.jsonl"
	@echo "SavedModel:  $(DEMO_DIR)/saved_model"
	@echo "TensorBoard: $(VENV)/bin/tensorboard --logdir=$(DEMO_DIR)/tensorboard"

test: $(VENV)/.installed-test
	$(PY) -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

bench: $(VENV)/.installed
	$(PY) tools/bench_ops.py
	$(PY) tools/bench_training.py

ops: $(VENV)/.installed
	rm -f tfstylegan/ops/tfstylegan_ops-*.so
	$(PY) -c 'from tfstylegan.ops import building; building.build("tfstylegan/ops")'
	$(PY) -c 'from tfstylegan.ops import library; print(library.describe())'

fuzz: $(VENV)/.installed-test
	$(PY) tests/fuzz_ops.py --cases=20000
	$(PY) tests/fuzz_ops.py --cases=5000 --level=avx2
	$(PY) tests/fuzz_ops.py --cases=5000 --level=baseline

bazel: $(VENV)/.installed
	PYTHON=$(abspath $(PY)) bazel build //:tfstylegan_ops //:tfstylegan_ops.so

parity: $(PARITY_VENV)/.installed
	$(PARITY_VENV)/bin/python -W ignore tests/parity/make_numbers.py --check

clean:
	rm -f tfstylegan/ops/tfstylegan_ops-*.so
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find tfstylegan configs tools tests -name __pycache__ -prune -exec rm -rf {} +

# Editable installs: what runs is always the checkout, never a stale copy of it.
$(VENV)/.installed: $(VENV)/.created $(PINS)
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created $(PINS)
	$(PIP_INSTALL) -e '.[test]'
	@touch $@ $(VENV)/.installed

# TensorFlow 2.15 and tensorflow-addons, which do not work beside ours.
$(PARITY_VENV)/.installed: tests/parity/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	  || { echo "tensorflow-addons needs Python 3.11, which $(PYTHON) is not: name" \
	       "that one, as in make parity PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(PARITY_VENV)
	$(PARITY_VENV)/bin/python -m pip install --disable-pip-version-check -r $<
	@touch $@

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON) here:" \
	  "install Python 3.11 to 3.13 or name it, as in make demo PYTHON=python3.12" \
	  >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "tfstylegan needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is" \
	       "$$($(PYTHON) -V 2>&1): name another one, as in make demo" \
	       "PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make virtual environments: install its venv" \
	       "module (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
