# The only interface: `make` prints what there is. CI runs `make ci`, nothing else.

PYTHON ?= python3#	the interpreter to build for
VENV   ?= .venv#	where its environment goes
BENCH_VENV ?= .venv-bench#	where the one of the benchmarks goes, with the peers
TOOLS  ?= tools#	which lock of requirements/ it is filled from
FREE_THREADED ?= 3.13#	which CPython `make free-threaded` builds

BIN := $(VENV)/bin
# Every interpreter, and every way to compile the core, builds in a directory of its own, so that none undoes another's.
py_target = target/$$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
venv_path = "$$(cd $(1) && pwd)"
maturin = VIRTUAL_ENV=$(call venv_path,$(1)) CARGO_TARGET_DIR=$(call py_target,$(1))$(2) $(1)/bin/maturin
MATURIN = $(call maturin,$(VENV))
BENCH_MATURIN = $(call maturin,$(BENCH_VENV),-bench)
CLIPPY = cargo clippy --locked --quiet --all-targets
LOOM = RUSTFLAGS="$$RUSTFLAGS --cfg loom" CARGO_TARGET_DIR=target-loom
LOOM_TESTS := $(wildcard tests/loom*.rs)
UV_VERSION := 0.13.9

# maturin refuses to choose between two environments; and a search path from outside would shadow ours.
unexport CONDA_PREFIX PYTHONPATH PYTHONHOME
.NOTPARALLEL:
.DEFAULT_GOAL := help

say = @printf '\n===== %s\n' "$(1)"

.PHONY: help
help: ## print this
	@echo 'make TARGET, where TARGET is one of:'
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'PYTHON=/path/to/python chooses the interpreter (CPython 3.9 or newer; python3 if not said).'

.PHONY: venv
venv:
	@$(PYTHON) scripts/make_venv.py $(VENV) --lock requirements/$(TOOLS).lock

.PHONY: develop
develop: venv
	@$(MATURIN) develop --release --locked

.PHONY: dev
dev: develop ## set everything up: environment, tools, extension
	@echo 'Ready. Try: $(BIN)/python -c "import opool; help(opool)"'

.PHONY: demo
demo: develop ## set everything up and run the demonstration
	$(call say,python -m design.opool_demo)
	@$(BIN)/python -m design.opool_demo

.PHONY: test
test: test-rs test-loom postgres test-py ## run every test

.PHONY: postgres
postgres:
	$(call say,PostgreSQL for the tests)
	@$(PYTHON) scripts/find_postgres.py

.PHONY: test-rs
test-rs: ## test the core alone, without Python
	$(call say,cargo test: the core)
	@cargo test --locked --quiet --no-default-features

CASES ?= 5000000#	how many `make fuzz` makes
.PHONY: fuzz
fuzz: ## change dumps of the integer manager at random, and load them: no panic, no absurd memory
	$(call say,fuzz: $(CASES) changed dumps of an ObjectMgr)
	@ulimit -v 4000000; PROPTEST_CASES=$(CASES) CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
		CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_TARGET_DIR=target-fuzz \
		cargo test --locked --release --no-default-features --test ids_format whatever -- --nocapture

.PHONY: test-loom
test-loom: ## check the core against every interleaving of small models
	$(call say,loom: the model checks)
ifeq ($(LOOM_TESTS),)
	@echo 'no model is there yet: tests/loom*.rs matches nothing'
else
	@$(LOOM) CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
		cargo test --locked --quiet --release --no-default-features --test 'loom*'
endif

.PHONY: test-py
test-py: develop ## rebuild the extension and run pytest (ARGS='-k fork' goes to pytest)
	$(call say,pytest: $(VENV))
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: test-all
test-all: postgres ## run pytest on every interpreter from 3.9 to 3.13 that is here
	@$(PYTHON) scripts/interpreters.py | { \
		tried= failed=; \
		while read -r version python; do \
			tried="$$tried $$version"; \
			$(MAKE) --no-print-directory test-py PYTHON="$$python" VENV=".venv-$$version" </dev/null \
				|| failed="$$failed $$version"; \
		done; \
		echo; echo "pytest ran on:$$tried; failed on:$${failed:- none}"; \
		test -n "$$tried" && test -z "$$failed"; \
	}

FT := .venv-$(FREE_THREADED)t
FT_MAKE = UNSAFE_PYO3_SKIP_VERSION_CHECK=1 $(MAKE) --no-print-directory VENV=$(FT) TOOLS=free-threaded \
	PYTHON=.tools/python-$(FREE_THREADED)t/bin/python$(FREE_THREADED)t

.PHONY: free-threaded
free-threaded: ## build a free-threaded CPython; run pytest and the scaling benchmark on it
	$(call say,free-threaded CPython $(FREE_THREADED))
	@$(PYTHON) scripts/free_threaded.py $(FREE_THREADED)
	@$(FT_MAKE) test-py
	@$(FT_MAKE) scaling

.PHONY: scaling
scaling: develop
	$(call say,scaling from one thread to two)
	@$(call maturin,$(VENV)) develop --release --locked --quiet --manifest-path benches/floor/Cargo.toml
	@$(BIN)/python benches/scaling.py $(ARGS)

.PHONY: lint
lint: develop ## check format, lints, types and the stub
	$(call say,rustfmt)
	@cargo fmt --version >/dev/null && cargo clippy --version >/dev/null || rustup component add rustfmt clippy
	@cargo fmt --check
	$(call say,clippy: the core; the extension)
	@$(CLIPPY) --no-default-features -- -D warnings
	@PYO3_PYTHON=$(call venv_path,$(VENV))/bin/python CARGO_TARGET_DIR=$(call py_target,$(VENV)) $(CLIPPY) -- -D warnings
ifneq ($(LOOM_TESTS),)
	@$(LOOM) cargo clippy --locked --quiet --no-default-features --test 'loom*' -- -D warnings
endif
	$(call say,rustdoc)
	@RUSTDOCFLAGS='-D warnings' cargo doc --locked --quiet --no-deps --no-default-features
	$(call say,ruff)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	$(call say,mypy --strict)
	@$(BIN)/mypy
	$(call say,pyright: the samples)
	@$(PYTHON) scripts/make_venv.py .venv-types --lock requirements/types.lock
	@.venv-types/bin/basedpyright --pythonpath $(BIN)/python
	$(call say,stubtest: is the stub true?)
	@test -f python/opool/_opool.pyi || { echo 'python/opool/_opool.pyi is missing' && false; } # stubtest would pass
	@$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml opool._opool

.PHONY: fix
fix: develop ## format, copy the docstrings into the stub, and repair what can be repaired by itself
	@cargo fmt
	@$(BIN)/python scripts/stub_docstrings.py
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: wheel
wheel: venv ## build the wheel for PYTHON, and the source distribution, into dist/
	@$(MATURIN) build --release --locked --interpreter $(BIN)/python --out dist
	@$(MATURIN) sdist --out dist
	@ls -l dist

.PHONY: smoke
smoke: venv ## install wheels for every interpreter that is here, without Rust, and run what they hold
	$(call say,smoke: wheels and source distribution)
	@$(BIN)/python tests/smoke/check_wheels.py

.PHONY: gate
gate: develop ## hold a lease and an id to their number of instructions, counted by callgrind
	$(call say,gate: the instructions of a lease)
	@$(BIN)/python benches/gate.py

# The peers are no business of the tests: the benchmarks have an environment of their own.
.PHONY: bench-env
bench-env:
	@$(PYTHON) scripts/make_venv.py $(BENCH_VENV) --lock requirements/bench.lock --what-can-be-had
	@$(BENCH_MATURIN) develop --release --locked --quiet
	@$(BENCH_MATURIN) develop --release --locked --quiet --manifest-path benches/floor/Cargo.toml

.PHONY: bench
bench: bench-env ## measure against the peers (ARGS=--publish keeps the figures for the README)
	@$(BENCH_VENV)/bin/python benches/run.py $(ARGS)

.PHONY: bench-quick
bench-quick: bench-env ## the same in two minutes, less exact
	@$(BENCH_VENV)/bin/python benches/run.py --quick $(ARGS)

.PHONY: figures
figures: ## copy the published figures into the README
	@$(PYTHON) scripts/figures.py

.PHONY: lock
lock: ## renew requirements/*.lock from pyproject.toml (LOCK_ARGS=--upgrade for newer versions)
	@test -x .tools/uv-$(UV_VERSION)/bin/uv || \
		$(PYTHON) -m pip install --quiet --target .tools/uv-$(UV_VERSION) uv==$(UV_VERSION)
	@for group in tools free-threaded venv bench types; do \
		case $$group in bench) fork=requires-python;; *) fork=fewest;; esac; \
		.tools/uv-$(UV_VERSION)/bin/uv pip compile --quiet --universal --python-version 3.9 --fork-strategy $$fork \
			--generate-hashes --no-config --custom-compile-command 'make lock' $(LOCK_ARGS) \
			--group $$group --output-file requirements/$$group.lock || exit 1; \
	done

.PHONY: clean
clean: ## remove everything that was made
	@rm -rf target target-* dist benches/results .venv .venv-* .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@find python tests scripts benches -name __pycache__ -prune -exec rm -rf {} +
	@find python -name '*.so' -delete

.PHONY: ci
ci: lint test gate smoke ## everything that a change must pass
	@echo; echo 'ci: all passed'
