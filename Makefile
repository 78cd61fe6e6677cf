# Everything is installed into .venv on first use; only python3 (3.11 or newer) and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: search test test-slow test-lowest test-newest coverage faults cluster fuzz bench check lint types docs clean

# The main job, on embedded data: a search around the proposed design, and its summary. In one process,
# so that it gives the same winner each time; without --local it runs on Ray, as many trials at once
# as there is room for.
search: $(INSTALLED)
	$(BIN)/tunecnn search --space digits.yaml --local

test: $(INSTALLED)
	$(BIN)/python -m pytest

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow --timeout 900 --ignore tests/faults --ignore tests/fuzz \
	    --ignore tests/cluster

# The default suite with the lowest allowed version of each dependency, and with the newest ones. Each
# has an environment of its own; delete the folder to install it again.
test-lowest: .venv-lowest/.installed
	.venv-lowest/bin/python -m pytest

test-newest: .venv-newest/.installed
	.venv-newest/bin/python -m pytest

.venv-lowest/.installed: pyproject.toml tests/lowest.py
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet packaging
	.venv-lowest/bin/python tests/lowest.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet -c .venv-lowest/lowest.txt --editable '.[dev]'
	@touch $@

.venv-newest/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager \
	    --editable '.[dev]'
	@touch $@

# Lines of the package that the default suite runs, also in its processes on Ray.
coverage: $(INSTALLED)
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

# Fault tests: kills, full disks, damaged and replaced files, a death at each operation and so on; some hours.
# DEATHS=10 tries ten operations of each job, REPLACED=10 ten files of each run.
faults: $(INSTALLED)
	$(BIN)/python -m pytest tests/faults -m slow -n 0

# Searches on several real Ray nodes, made with Linux's namespaces, as root; about a quarter of an hour.
# It ends every Ray process of this machine.
cluster: $(INSTALLED)
	$(BIN)/python -m pytest tests/cluster -m slow -n 0 --timeout 600

# Fuzz tests: ten minutes each of invalid space files and of runs with nonsense in them.
fuzz: $(INSTALLED)
	$(BIN)/python -m pytest tests/fuzz -m slow -n 0 -s

# Benchmarks: half an hour or more, without other work on the machine; BENCH="step growth" selects some.
BENCH ?= image_folders step layers short_trials cold_start growth throughput time_to_result
DATA_DIR ?= data
bench: $(INSTALLED)
	@for one in $(BENCH); do \
	    case $$one in throughput|time_to_result) data="--data-dir $(DATA_DIR)" ;; *) data= ;; esac; \
	    echo "$$one"; $(BIN)/python -m benchmarks.$$one $$data || exit 1; \
	done
	$(BIN)/python -m benchmarks.results

# The documentation as a site, in site/; every warning is an error.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

check: lint types docs test

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "tunecnn needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf site $(VENV) .venv-lowest .venv-newest .mypy_cache .pytest_cache .ruff_cache
