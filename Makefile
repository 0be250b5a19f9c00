# The only interface: `make` prints what there is. CI runs `make ci`, nothing else.

PYTHON ?= python3#	the interpreter to build for
VENV   ?= .venv#	where its environment goes
BENCH_VENV ?= .venv-bench#	where the one of the benchmarks goes, with the peers
TOOLS  ?= tools#	which lock of requirements/ it is filled from
DOCS_VENV ?= .venv-docs#	where the one of the documentation goes
FREE_THREADED ?= 3.13#	which CPython `make free-threaded` builds

BIN := $(VENV)/bin
# Every interpreter, and every way to compile the core, builds in a directory of its own, so that none undoes another's.
py_target = target/$$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
venv_path = "$$(cd $(1) && pwd)"
maturin = VIRTUAL_ENV=$(call venv_path,$(1)) CARGO_TARGET_DIR=$(call py_target,$(1))$(2) $(1)/bin/maturin
MATURIN = $(call maturin,$(VENV))
BENCH_MATURIN = $(call maturin,$(BENCH_VENV),-bench)
# What does not depend on an interpreter is compiled in target/, for all packages.
CARGO = CARGO_TARGET_DIR="$(CURDIR)/target" cargo
CLIPPY = clippy --locked --quiet --all-targets
LOOM = RUSTFLAGS="$$RUSTFLAGS --cfg loom" CARGO_TARGET_DIR=target-loom
LOOM_TESTS := $(wildcard tests/loom*.rs)
UV_VERSION := 0.13.9
# `make lint` compiles for these too; no such interpreter needs to be here.
CHECKED := 3.14 3.15 3.14t 3.15t
# The oldest glibc that `make wheel-release` links for. Rust itself needs 2.17, and zig brings it at no cost.
MANYLINUX ?= 2_17

# maturin refuses to choose between two environments; and a search path from outside would shadow ours.
unexport CONDA_PREFIX PYTHONPATH PYTHONHOME
.NOTPARALLEL:
.DEFAULT_GOAL := help

say = @printf '\n===== %s\n' "$(1)"

# Runs a command for each package, or for the one that PACKAGE names. In it $$name, $$folder, $$kind, $$module and $$core
# are what the list says.
PACKAGES := scripts/packages.txt
PACKAGE ?=#	all of them
each = @grep -E '^$(or $(PACKAGE),[a-z-]+) ' $(PACKAGES) | while read -r name folder kind module python core; do \
	{ $(1); } </dev/null || exit 1; done
MANIFEST = --manifest-path "$$folder/Cargo.toml"

# Runs targets on each interpreter that scripts/interpreters.py lists: $(call on_each,its options,targets)
on_each = @$(PYTHON) scripts/interpreters.py $(1) | { \
	tried= failed=; \
	while read -r version python; do \
		tried="$$tried $$version"; \
		$(MAKE) --no-print-directory $(2) PYTHON="$$python" VENV=".venv-$$version" </dev/null || failed="$$failed $$version"; \
	done; \
	echo; echo "$(2) ran on:$${tried:- none}; failed on:$${failed:- none}"; \
	test -n "$$tried$(1)" && test -z "$$failed"; \
}

.PHONY: help
help: ## print this
	@echo 'make TARGET, where TARGET is one of:'
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'PYTHON=/path/to/python chooses the interpreter (CPython 3.9 or newer; python3 if not said).'

.PHONY: venv
venv:
	@$(PYTHON) scripts/make_venv.py $(VENV) --lock requirements/$(TOOLS).lock

.PHONY: develop
develop: venv
	@$(MATURIN) develop --release --locked

# The other packages: one wheel serves all interpreters, and is built once.
.PHONY: others
others: develop
	@$(BIN)/python scripts/wheels.py install

.PHONY: dev
dev: develop ## set everything up: environment, tools, extension
	@echo 'Ready. Try: $(BIN)/python -c "import opool; help(opool)"'

.PHONY: demo
demo: develop ## set everything up and run the demonstration
	$(call say,python -m design.opool_demo)
	@$(BIN)/python -m design.opool_demo
	@echo 'The same between processes, through kills and power cuts: make demo-bank'

.PHONY: demo-bank
demo-bank: develop others ## the same for the bank: processes on one file, some of them killed
	$(call say,python -m opool_bank.demo)
	@$(BIN)/python -m opool_bank.demo

.PHONY: test
test: test-rs test-loom postgres test-py ## run every test

.PHONY: postgres
postgres:
	$(call say,PostgreSQL for the tests)
	@$(PYTHON) scripts/find_postgres.py

.PHONY: test-rs
test-rs: ## test the cores alone, without Python
	$(call say,cargo test: the cores)
	$(call each,$(CARGO) test --locked --quiet $(MANIFEST) --no-default-features --features "$$core")

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
test-py: develop others ## rebuild the extensions and run pytest (ARGS='-k fork' goes to pytest, for the first package)
	$(call say,pytest: $(VENV))
ifeq ($(ARGS),)
	$(call each,test ! -d "$$folder/tests/python" || $(BIN)/python -m pytest "$$folder/tests/python")
else
	@$(BIN)/python -m pytest $(ARGS)
endif

SECONDS_OF_TORTURE ?= 3600#	how long `make torture` kills
.PHONY: torture
torture: develop others ## kill clients of a bank at random for an hour, and check that nothing was lost or given twice
	$(call say,torture: $(SECONDS_OF_TORTURE) seconds or 10000 kills)
	@$(BIN)/python bank/tests/python/killing.py $(SECONDS_OF_TORTURE) 10000

.PHONY: bench-bank
bench-bank: bench-venv ## measure the bank against its peers (ARGS=--quick for less)
	@$(BENCH_VENV)/bin/python scripts/wheels.py install --release
	@$(BENCH_VENV)/bin/python bank/benches/run.py $(ARGS)

.PHONY: interpreters
interpreters: ## bring CPython 3.14 and 3.15 from Debian, into .tools, if they are not here
	$(call say,interpreters)
	@$(PYTHON) scripts/fetch_interpreters.py

.PHONY: test-all
test-all: postgres ## run pytest on every interpreter from 3.9 to 3.15 that is here
	$(call on_each,,test-py)

.PHONY: gate-all
gate-all: ## run the gate on every interpreter that is here
	$(call on_each,,gate)

# Both at once: most of the tests' time is waiting. What they print follows when both have ended.
.PHONY: test-ends
test-ends: postgres ## run pytest and the gate on the oldest and the newest interpreter (PYTHON is the one between)
	@ends="$$($(PYTHON) scripts/interpreters.py --ends)" && logs="$$(mktemp -d)" || exit 1; \
	echo "$$ends" | { \
		while read -r version python; do \
			test -n "$$version" || continue; \
			touch "$$logs/$$version.failed"; \
			{ $(MAKE) --no-print-directory test-py gate PYTHON="$$python" VENV=".venv-$$version" </dev/null && \
				rm "$$logs/$$version.failed"; } >"$$logs/$$version" 2>&1 & \
		done; \
		wait; \
	}; \
	for log in $$(ls "$$logs" | grep -v failed); do echo; echo "===== on $$log"; cat "$$logs/$$log"; done; \
	failed="$$(cd "$$logs" && echo *.failed)"; \
	echo; echo "test-py gate ran on: $$(ls "$$logs" | grep -v failed | xargs); failed on: $$failed"; \
	test "$$failed" = '*.failed'

.PHONY: test-newest
test-newest: postgres
	$(call on_each,--newest,test-py gate)

# PYTHON may be such an interpreter itself. PyO3 refuses 3.13t unless told not to.
.PHONY: free-threaded
free-threaded: ## run pytest and the scaling benchmark without a GIL: on PYTHON, or on a CPython built for this
	$(call say,free-threaded CPython)
	@python="$$($(PYTHON) scripts/free_threaded.py $(FREE_THREADED))" && \
	version="$$("$$python" -c 'import sys; print("{}.{}t".format(*sys.version_info))')" && \
	case $$version in 3.13t) export UNSAFE_PYO3_SKIP_VERSION_CHECK=1;; esac && \
	for target in test-py "scaling ARGS="; do \
		$(MAKE) --no-print-directory $$target PYTHON="$$python" VENV=".venv-$$version" TOOLS=free-threaded || exit 1; \
	done

.PHONY: scaling
scaling: develop
	$(call say,scaling from one thread to two)
	@$(call maturin,$(VENV)) develop --release --locked --quiet --manifest-path benches/floor/Cargo.toml
	@$(BIN)/python benches/scaling.py $(ARGS)

.PHONY: lint
lint: develop others check-versions ## check format, lints, types and the stubs; compile for the newest interpreters
	$(call say,rustfmt)
	@cargo fmt --version >/dev/null && cargo clippy --version >/dev/null || rustup component add rustfmt clippy
	$(call each,cargo fmt --check $(MANIFEST))
	$(call say,clippy: the cores; the extensions)
	$(call each,$(CARGO) $(CLIPPY) $(MANIFEST) --no-default-features --features "$$core" -- -D warnings)
	$(call each,target=target; test $$kind != per-interpreter || target=$(call py_target,$(VENV)); \
		PYO3_PYTHON=$(call venv_path,$(VENV))/bin/python CARGO_TARGET_DIR="$$target" \
		cargo $(CLIPPY) $(MANIFEST) -- -D warnings)
ifneq ($(LOOM_TESTS),)
	@$(LOOM) cargo clippy --locked --quiet --no-default-features --test 'loom*' -- -D warnings
endif
	$(call say,rustdoc)
	$(call each,RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --quiet $(MANIFEST) --no-deps \
		--no-default-features --features "$$core")
	$(call say,ruff)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	$(call say,mypy --strict)
	@$(BIN)/mypy
	$(call each,test $$folder = . || MYPYPATH="$$folder/python" $(BIN)/mypy "$$folder/python")
	$(call say,pyright: the samples)
	@$(PYTHON) scripts/make_venv.py .venv-types --lock requirements/types.lock
	@.venv-types/bin/basedpyright --project pyproject.toml --pythonpath $(BIN)/python
	$(call say,stubtest: are the stubs true?)
	$(call each,test $$kind = program || { ls "$$folder/python/$$(echo $$module | tr . /).pyi" >/dev/null && \
		$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml $$module; }) # without a stub it would pass

# Clippy compiles as `cargo check` does, and looks further. A target for each version: the second time costs nothing.
.PHONY: check-versions
check-versions: $(CHECKED:%=target/check-%/pyo3.cfg) # compile for interpreters that need not be here
	$(call say,clippy: the extension for CPython $(CHECKED))
	$(call each,test $$kind != per-interpreter || for version in $(CHECKED); do \
		PYO3_CONFIG_FILE="$(CURDIR)/target/check-$$version/pyo3.cfg" CARGO_TARGET_DIR="target/check-$$version" \
		cargo $(CLIPPY) $(MANIFEST) -- -D warnings || { echo "this was for CPython $$version"; exit 1; }; done)

target/check-%/pyo3.cfg:
	@mkdir -p $(@D)
	@printf '%s\n' implementation=CPython version=$(*:t=) shared=true pointer_width=64 \
		$(if $(filter %t,$*),build_flags=Py_GIL_DISABLED) >$@

.PHONY: fix
fix: develop others ## format, copy the docstrings into the stubs, and repair what can be repaired by itself
	$(call each,cargo fmt $(MANIFEST))
	@$(BIN)/python scripts/stub_docstrings.py
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: wheel
wheel: venv ## build the wheels for PYTHON, and the source distributions, into dist/
	@$(BIN)/python scripts/wheels.py build dist

.PHONY: wheel-release
wheel-release: ## build what is released, for every interpreter here and an old glibc, into dist/; install and run it
	$(call say,wheels for glibc $(MANYLINUX) and newer)
	@$(PYTHON) scripts/make_venv.py .venv-release --lock requirements/release.lock
	@rm -rf dist
	@.venv-release/bin/python scripts/wheels.py build dist --manylinux $(MANYLINUX)
	@$(MAKE) --no-print-directory smoke ARGS='--release dist'

.PHONY: wheel-aarch64
wheel-aarch64: ## build the wheels for 64-bit ARM too, into dist/, and run them in qemu (ARGS='3.11' for some versions)
	$(call say,wheels for aarch64)
	@$(PYTHON) scripts/make_venv.py .venv-release --lock requirements/release.lock
	@.venv-release/bin/python scripts/aarch64.py dist $(ARGS) --manylinux $(MANYLINUX)
	@.venv-release/bin/python tests/smoke/check_aarch64.py dist $(ARGS)

.PHONY: smoke
smoke: venv ## install wheels for every interpreter that is here, without Rust, and run what they hold
	$(call say,smoke: wheels and source distributions)
	@$(BIN)/python tests/smoke/check_wheels.py $(ARGS)

.PHONY: gate
gate: develop ## hold a lease and an id to their number of instructions, counted by callgrind
	$(call say,gate: the instructions of a lease)
	@$(BIN)/python benches/gate.py

# The peers are no business of the tests: the benchmarks have an environment of their own.
.PHONY: bench-venv
bench-venv:
	@$(PYTHON) scripts/make_venv.py $(BENCH_VENV) --lock requirements/bench.lock --what-can-be-had

.PHONY: bench-env
bench-env: bench-venv
	@$(BENCH_MATURIN) develop --release --locked --quiet
	@$(BENCH_MATURIN) develop --release --locked --quiet --manifest-path benches/floor/Cargo.toml

.PHONY: bench
bench: bench-env ## measure against the peers, the bank too (ARGS=--publish keeps the figures for the README)
	@$(BENCH_VENV)/bin/python benches/run.py $(ARGS)
ifeq ($(filter --only,$(ARGS)),)
	@$(MAKE) --no-print-directory bench-bank
endif

.PHONY: bench-quick
bench-quick: bench-env ## the same in two minutes, less exact
	@$(BENCH_VENV)/bin/python benches/run.py --quick $(ARGS)

.PHONY: figures
figures: ## copy the published figures into the README
	@$(PYTHON) scripts/figures.py

.PHONY: docs
docs: ## build the documentation into site/, and check its links (its blocks are run by the tests)
	@$(PYTHON) scripts/make_venv.py $(DOCS_VENV) --lock requirements/docs.lock
	$(call say,mkdocs: the documentation)
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --quiet
	@! grep -rln '```' site --include='*.html' || { echo 'a fence was not read as one there' && false; }
	@echo 'site/index.html'

.PHONY: lock
lock: ## renew requirements/*.lock from pyproject.toml (LOCK_ARGS=--upgrade for newer versions, of crates too)
ifneq ($(filter --upgrade,$(LOCK_ARGS)),)
	$(call each,cargo update --quiet $(MANIFEST))
	@cargo update --quiet --manifest-path benches/floor/Cargo.toml
endif
	@test -x .tools/uv-$(UV_VERSION)/bin/uv || \
		$(PYTHON) -m pip install --quiet --target .tools/uv-$(UV_VERSION) uv==$(UV_VERSION)
	@for group in tools free-threaded venv bench docs interpreters release types; do \
		.tools/uv-$(UV_VERSION)/bin/uv pip compile --quiet --universal --python-version 3.9 \
			--fork-strategy requires-python --generate-hashes --no-config --custom-compile-command 'make lock' $(LOCK_ARGS) \
			--group $$group --output-file requirements/$$group.lock || exit 1; \
	done

.PHONY: clean
clean: ## remove everything that was made
	@rm -rf target target-* dist site benches/results .venv .venv-* .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	$(call each,rm -rf "$$folder/target"; find "$$folder/python" -name '*.so' -delete)
	@find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: ci
ci: lint docs test gate interpreters smoke ## everything that a change must pass
	@echo; echo 'ci: all passed'
