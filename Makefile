# SPDX-License-Identifier: Apache-2.0
# Forwards to Meson, Ninja and tools/. Everything builds outside the source folders.
#   make, make demo, make test; the rest: make help
BUILD      ?= build
MESON_ARGS ?=
TIME       ?= 20
PREFIX     ?= /usr/local
DESTDIR    ?=
DIST       ?= dist
BENCH_ARGS ?=
LINT_ARGS  ?=
# A Python with torch and transformers, for goldens made afresh.
PARITY_PYTHON ?= python3

# A build of its own for each way of checking.
setup = test -e $(1)/build.ninja || meson setup $(1) $(2) $(MESON_ARGS)

.PHONY: all help deps demo test test-vllm lab lab-guide parity build-release bench bench-bars bench-peers fuzz asan asan-build tsan lint format install dist deb rpm container packages-test clean
.DEFAULT_GOAL := all

all:
	@test -e $(BUILD)/build.ninja || tools/deps.sh --check
	@$(call setup,$(BUILD))
	@ninja -C $(BUILD)

help:
	@echo 'make               build in $(BUILD)/'
	@echo 'make demo          install what is missing, build, show two ranks at work'
	@echo 'make test          install what is missing, build, run every test'
	@echo 'make lab            two emulated machines with Soft-RoCE: links, TP=2 over RDMA, faults'
	@echo 'make lab-guide      the guide walked on two whole emulated machines, with grub and reboots'
	@echo 'make test-vllm     real vLLM on a real Ray cluster of two namespaces (6.5 GB, made once)'
	@echo 'make parity        against transformers: committed goldens, and fresh ones (PARITY_PYTHON=)'
	@echo 'make bench         speed of kernels and of a 1B model, TP=1 against TP=2 (BENCH_ARGS=)'
	@echo 'make bench-bars    each promise of docs/PERFORMANCE.md, measured (BENCH_ARGS=)'
	@echo 'make bench-peers   the same weights in llama.cpp and vLLM, in turns (BENCH_ARGS=)'
	@echo 'make fuzz          libFuzzer on every parser, TIME=$(TIME) seconds each'
	@echo 'make asan tsan     unit tests under the sanitizers'
	@echo 'make lint          style, layers, symbols, headers, builds with -Werror'
	@echo 'make format        clang-format on every C file'
	@echo 'make install       PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make dist          source archive of the last commit, in $(DIST)/'
	@echo 'make deb rpm       packages of the last commit, in $(DIST)/'
	@echo 'make container     image of twinax itself, by podman'
	@echo 'make packages-test builds the packages, installs and removes them in roots of their own (minutes)'

deps:
	@tools/deps.sh

# The program alone: who wants to see it does not wait for the tests to build.
demo: deps
	@$(call setup,$(BUILD))
	@ninja -C $(BUILD) twinax
	@python3 tools/demo.py --build $(BUILD)

test:
	@tools/deps.sh --test
	@$(MAKE) --no-print-directory all
	@python3 tools/run_tests.py --build $(BUILD) --python

# vLLM for CPUs, Ray, torch: in the user's cache, shared by all checkouts.
test-vllm:
	@tools/deps.sh --test
	@$(MAKE) --no-print-directory all
	@python=$$(tests/vllm/env.sh) && TWINAX_VLLM_PYTHON=$$python \
		python3 tools/run_tests.py --build $(BUILD) --no-meson --python tests/vllm

# What the machines boot from is fetched and built once, outside the tests' deadlines.
lab:
	@tools/deps.sh --test
	@$(MAKE) --no-print-directory all
	@tests/lab/lab.py setup || true
	@python3 tools/run_tests.py --build $(BUILD) --no-meson --python tests/lab

# Exit 77: this machine cannot have it; it says why.
lab-guide:
	@$(MAKE) --no-print-directory all
	@tests/lab_guide/guide.py walk --build $(BUILD) || test $$? = 77

parity:
	@tools/deps.sh --test
	@$(MAKE) --no-print-directory all
	@python3 tools/run_tests.py --build $(BUILD) --no-meson --python tests/parity
	@TWINAX=$(abspath $(BUILD))/twinax $(PARITY_PYTHON) tests/parity/regen_parity.py || test $$? = 77

# An optimised build without the tests.
build-release: deps
	@test -e build-release/build.ninja || meson setup build-release --buildtype=release $(MESON_ARGS)
	@ninja -C build-release twinax

bench: build-release
	@tools/deps.sh --test
	@build-release/twinax bench kern
	@$$(tools/venv.sh) bench/run.py --build build-release $(BENCH_ARGS)

# llama.cpp and the models are made in the user's cache at the first call.
bench-bars: build-release
	@tools/deps.sh --test
	@bench/bars.py --build build-release $(BENCH_ARGS)

bench-peers: build-release
	@tools/deps.sh --test
	@bench/peers.py --build build-release $(BENCH_ARGS)

fuzz:
	@tools/deps.sh --dev
	@CC=clang; export CC; \
	$(call setup,build-fuzz,-Dfuzz=true -Db_sanitize=address$(comma)undefined -Db_lundef=false)
	@python3 tools/run_fuzz.py --build build-fuzz --seconds $(TIME)

asan: asan-build
	@python3 tools/run_tests.py --build build-asan

# Alone: .ci/run has it ready before it is needed.
asan-build:
	@tools/deps.sh --dev
	@$(call setup,build-asan,-Db_sanitize=address$(comma)undefined)
	@ninja -C build-asan

tsan:
	@tools/deps.sh --dev
	@$(call setup,build-tsan,-Db_sanitize=thread)
	@ninja -C build-tsan
	@python3 tools/run_tests.py --build build-tsan

lint:
	@tools/deps.sh --dev
	@python3 tools/lint/lint.py $(LINT_ARGS)

format:
	@tools/deps.sh --dev
	@git ls-files -co --exclude-standard '*.c' '*.h' | \
		xargs -r "$$(command -v clang-format-14 || command -v clang-format)" -i

install: build-release
	@meson configure build-release --prefix=$(PREFIX) -Dtests=false
	@ninja -C build-release
	@DESTDIR=$(DESTDIR) meson install -C build-release --no-rebuild --quiet
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" -ne 0 ] || ldconfig # libtwinax is found at once
	@echo "installed $(DESTDIR)$(PREFIX)/bin/twinax"

dist:
	@packaging/dist.sh $(DIST)

deb:
	@tools/deps.sh --package
	@packaging/deb.sh $(DIST)

rpm:
	@tools/deps.sh --package
	@packaging/rpm.sh $(DIST)

container:
	@packaging/container.sh

# Not in `make test`: it takes minutes and the distribution's package archive.
packages-test:
	@tools/deps.sh --package
	@python3 packaging/test_packages.py

clean:
	rm -rf dist build build-release build-fuzz build-asan build-tsan build-lint-gcc build-lint-clang build-ci

comma := ,
