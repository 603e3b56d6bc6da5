# Every target sets up what it needs in .venv; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint interop type format bench bench-full bench-gpu soak train lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY) ## the environment in .venv, from requirements.lock

# What is in requirements.lock is installed only if its hash is right, the installer included: `part`
# takes a package and its hashes out of it. sam2 comes as source and needs torch to build, so it goes
# in last and sees the environment.
part = awk '/^[^ ]/ { is_it = /^$(1)==/ } is_it$(2)' requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make setup PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(call part,uv,) > $(VENV)/first.txt
	$(PY) -m pip install --quiet --require-hashes -r $(VENV)/first.txt
	$(call part,sam2, == 0) > $(VENV)/rest.txt
	$(VENV)/bin/uv pip install --compile-bytecode --python $(PY) --require-hashes --no-deps -r $(VENV)/rest.txt
	$(call part,sam2,) > $(VENV)/last.txt
	SAM2_BUILD_CUDA=0 $(VENV)/bin/uv pip install --python $(PY) --require-hashes --no-deps --no-build-isolation -r $(VENV)/last.txt
	$(VENV)/bin/uv pip install --python $(PY) --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## generate the demo dataset, annotate it, export it, score it, report on it
	$(PY) -m annotate dataset=demo models=tiny
	@$(PY) -m annotate.evaluate run=runs/demo truth=data/demo/truth.json
	@$(PY) -m annotate.report run=runs/demo

# Each core takes its share of the tests in their order, so that most modules stay in one worker with
# what they share, and in the end from what others have left. One thread each: models do not compete.
test: setup ## all tests, on every core
	OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses auto --dist worksteal

lint: setup ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Datumaro, Label Studio's SDK, LabelMe, LVIS, datasets and webdataset, which want other versions.
INTEROP := .interop
$(INTEROP)/.ready: tests/interop/requirements.lock | setup
	$(VENV)/bin/uv venv --quiet --clear --python $(PY) $(INTEROP)
	$(VENV)/bin/uv pip install --quiet --python $(INTEROP)/bin/python --require-hashes --no-deps -r $<
	@touch $@

interop: $(INTEROP)/.ready ## exports as other tools read them, in an environment of their own
	PYTHONPATH=. $(INTEROP)/bin/python -m pytest -o addopts= --noconftest -q tests/interop/readers.py

type: setup ## mypy alone
	$(VENV)/bin/mypy

format: setup ## let ruff write the layout
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: setup ## speed on this CPU, as ratios within one run, into bench/RESULTS.md; 11 min
	OMP_NUM_THREADS=1 $(PY) -m bench.page

bench-full: setup ## the same with models of full size and longer runs; 20 min
	OMP_NUM_THREADS=1 $(PY) -m bench.page --full

bench-gpu: setup ## the same on a CUDA device, with models of full size as well
	$(PY) -m bench.page --device cuda --full

soak: setup ## hours of kills, hostile files and long runs; see docs/reliability.md
	$(eval WORK := $(shell mktemp -d))
	OMP_NUM_THREADS=1 $(PY) -m tests.killing --work $(WORK)/kill --random 100 --every 1
	OMP_NUM_THREADS=1 $(PY) -m tests.killing_ray --work $(WORK)/ray --random 100
	OMP_NUM_THREADS=1 $(PY) -m tests.soak --work $(WORK)/soak --stills 20000 --frames 10000
	rm -rf $(WORK)

train: setup ## train the embedded models on; see training/README.md
	$(PY) -m training.grounder --run training/runs/grounder --minutes 92 --lr 1.2e-3 --lr-end 3e-5 \
		--init annotate/models/tiny/grounder
	$(PY) -m training.segmenter --run training/runs/segmenter --minutes 88 --lr 8e-4 --lr-end 2e-5 \
		--init annotate/models/tiny/segmenter/sam2.1_tiny.pt
	$(PY) -m training.figures --grounder training/runs/grounder/export \
		--segmenter training/runs/segmenter/export

lock: setup ## compile requirements.lock anew from pyproject.toml
	SAM2_BUILD_CUDA=0 $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 \
		--all-extras --no-annotate --no-header --generate-hashes --no-build-isolation-package sam2 \
		pyproject.toml -o requirements.lock
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
		--generate-hashes tests/interop/requirements.in -o tests/interop/requirements.lock

clean: ## remove what the tests and the demo made
	rm -rf data/demo runs/demo build dist .pytest_cache .mypy_cache .ruff_cache
