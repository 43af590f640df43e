# make search: install what is missing and search the bundled benchmark.   make test: install and check everything.
# make test-quick: the same without the tests that take minutes.   make ui: MLflow's pages of what was run.
# make wheel: what pip installs where there is no clone, in dist/.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
AS_ROOT := $(shell test "$$(id -u)" = 0 || echo sudo -n)

.PHONY: install browser search ui test test-quick wheel

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch numpy
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

# The pages are tested in a real browser: Debian's, unless there is one. Without one, or the right to install one, those
# tests are skipped, and say so.
browser:
	@command -v chromium >/dev/null || ($(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) apt-get install --yes -qq --no-install-recommends chromium >/dev/null) || \
		echo "Chromium is not installed: the tests of pages are skipped."

search: install
	$(BIN)/python tune_spaces/visda_search.py $(ARGS)

ui: install
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --host 127.0.0.1 --workers 1 --backend-store-uri \
		"$$($(BIN)/python -c 'from csg.tracking import get_default_tracking_uri as uri; print(uri("runs"))')"

test: install browser
	$(BIN)/python -m tests.parts $(ARGS)

test-quick: install
	$(BIN)/python -m tests.parts --quick $(ARGS)

# What an earlier build left would be packed too.
wheel: install
	rm -rf build/lib
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
