# Two commands do everything: `make evolve` and `make test`. The rest is for developers.

# Python 3.11 is what the project is tested with first; any of 3.10 to 3.13 will do.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PEERS ?= .venv-peers
OLDEST ?= .venv-oldest
PY := $(VENV)/bin/python
CONFIG ?= examples/first_finish.ini
# Further arguments of `make evolve` and `make bench`, for example ARGS="--seed 3 --workers 1".
ARGS ?=
# `make test` runs the tests of a file in one process, because they share consoles and races. More
# than four processes would wait for the longest file.
PARALLEL := --numprocesses=logical --maxprocesses=4 --dist=loadfile

# The tested version. Nothing here uses CUDA: a CPU build, which is far smaller, works too.
TORCH := torch==2.13.0
# Libraries that the emulator needs. The tests that open a window also need Xvfb.
LIBRARIES := libgl1 libglib2.0-0 libx11-6 zlib1g

.PHONY: help install evolve test test-slow test-oldest check docs format rom native bench clean system-libraries system-test peers

help:
	@echo "make install    install everything into .venv"
	@echo "make evolve     set everything up and evolve drivers until one finishes a race"
	@echo "make test       set everything up and run the tests (under five minutes on two cores)"
	@echo "make test-slow  run the long tests"
	@echo "make test-oldest  run some with the oldest packages that pyproject.toml allows"
	@echo "make check      style and types"
	@echo "make docs       build the documentation site into docs/_build"
	@echo "make rom        rebuild the Kartlab cartridge and compare it (needs gcc-arm-none-eabi)"
	@echo "make native     rebuild the machine code for the emulator (needs gcc for x86-64)"
	@echo "make bench      measure speed on this machine (ten minutes)"
	@echo "make peers      install other projects for make bench to measure as well"

install: $(VENV)/.installed

evolve: $(VENV)/.installed
	$(PY) -m mkds_neat.run $(CONFIG) $(ARGS)

test: $(VENV)/.installed system-test
	$(PY) -m pytest $(PARALLEL) -m "not slow" --durations=10

test-slow: $(VENV)/.installed system-test
	$(PY) -m pip install --quiet --editable '.[peers]'
	$(PY) -m pytest --numprocesses=2 --dist=load -m slow --durations=0

# In its own environment, except torch, whose old versions are gigabytes.
test-oldest: system-test
	"$(PYTHON)" -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet $(TORCH) \
	  $$(grep -oE '"[a-z0-9-]+(\[[a-z0-9]+\])?>=[0-9.]+' pyproject.toml | \
	    grep -vE '"(setuptools|torch)>' | sed 's/"//; s/>=/==/')
	PYTHONWARNINGS=ignore $(OLDEST)/bin/python -m pip install --quiet --no-deps --editable .
	$(OLDEST)/bin/python -m pytest $(PARALLEL) -m "not slow" \
	  tests/test_env.py tests/test_offline.py tests/test_neat_evaluation.py

check: $(VENV)/.installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.installed
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(VENV)/.installed
	$(PY) -m sphinx -n -W --keep-going -q -b html docs docs/_build

rom: $(VENV)/.installed
	$(PY) -m mkds_gym.kartlab build --check

native:
	$(MAKE) -C mkds_gym/emulator/desmume/native

bench: $(VENV)/.installed
	MKDS_PEERS="$(wildcard $(PEERS)/bin/python)" $(PY) -m benchmarks $(ARGS)

# gym-mkds installs its own py-desmume under the same name, so it gets its own environment.
peers: $(VENV)/.installed
	$(PY) -m pip install --quiet --editable '.[peers]'
	"$(PYTHON)" -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet $(TORCH) gym-mkds==0.2.3

# All targets share one environment: `make test` after `make evolve` installs nothing.
$(VENV)/.installed: pyproject.toml | system-libraries
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.10 to 3.13 is needed, found '$(PYTHON)'; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	"$(PYTHON)" -m venv $(VENV) || { echo "on Debian: apt-get install python3-venv"; exit 1; }
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet $(TORCH)
	@# setuptools warns about every editable install; this one is intended.
	PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --editable '.[dev]'
	touch $@

define need
	@missing=""; for package in $(1); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ] && command -v dpkg-query >/dev/null; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    echo "installing$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; \
	  else \
	    echo "please install first: sudo apt-get install$$missing"; exit 1; \
	  fi; \
	fi
endef

system-libraries:
	$(call need,$(LIBRARIES))

system-test:
	$(call need,$(LIBRARIES) xvfb)

clean:
	rm -rf $(VENV) $(OLDEST) build dist docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache
