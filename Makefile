# `make` shows what can be done. Every target that needs something sets it up first.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.setup-stamp

.DEFAULT_GOAL := help
.PHONY: bench-artifacts help setup demo test check bench bench-bulk clean

help: ## show this list
	@echo "s3mount: a read-through artifact filesystem for S3"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make test ARGS='-k cache -x'         some tests only"
	@echo "  make demo ARGS=--once                the demo without waiting for Ctrl-C"
	@echo "  make bench ARGS='--quick --only find' a short benchmark"
	@echo "  make bench-bulk ARGS='--quick --fetch' the same for bulk commands, with their peers"

setup: $(STAMP) ## install what is missing: Debian packages, a virtual environment in .venv

$(STAMP): pyproject.toml scripts/setup.sh
	@scripts/setup.sh $(VENV)
	@touch $@

demo: $(STAMP) ## mount a small bucket of artifacts from a built-in S3 server and look at it
	@$(PY) scripts/demo.py $(ARGS)

test: $(STAMP) ## run every test, those that mount included
	@$(PY) -m pytest $(ARGS)

check: $(STAMP) ## format, lint, types, import ranks and the fast tests
	$(VENV)/bin/ruff format --check s3mount tests scripts
	$(VENV)/bin/ruff check s3mount tests scripts
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m pytest -q -n auto --dist loadfile tests/unit

bench: $(STAMP) ## measure against the other mounts that are installed (hours; --quick: minutes)
	@$(PY) -m tests.benchmarks.run $(ARGS)

bench-bulk: $(STAMP) ## measure the bulk commands against other tools (half an hour; --quick: minutes)
	@$(PY) -m tests.benchmarks.bulk.run $(ARGS)

bench-artifacts: $(STAMP) ## measure pushing and pulling artifacts against rclone (minutes)
	@$(PY) -m tests.benchmarks.artifacts $(ARGS)

clean: ## remove the virtual environment, caches and build results
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
