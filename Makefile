# Everything runs in .venv, which `make setup` builds from the pinned constraints.
# A CUDA build of torch: make setup PIP_ARGS="--extra-index-url <the index of your CUDA version>"
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: setup setup-test studio test lint bench peers apt clean

setup: .venv/.done
setup-test: .venv/.done-test

.venv/.done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Descant needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make environments: install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

.venv/.done-test: .venv/.done
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[test]'
	@touch $@

# The main job: the studio; where there is no terminal to open it in, the demonstration take is composed headless.
studio: setup
	@if [ -t 0 ] && [ -t 2 ]; then $(BIN)/descant; else $(BIN)/descant compose digits --seed 1 --out takes; fi

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup-test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

bench: setup-test
	$(BIN)/python -m tests.benchmarks

# Optional: the peers that the benchmarks measure beside us, in an environment of their own.
peers:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check strauss==1.0.3 astronify==0.11

# Optional: the Debian packages that the fullest tests use; a test that misses one is skipped and says so.
apt:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends jackd2 tmux

clean:
	rm -rf .venv build *.egg-info
