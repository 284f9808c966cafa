# Everything begins here; `make help` lists the targets.

PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
# A name that tools/fetch_model.py --list knows.
MODEL = smollm2-135m
# Those that `make test` fetches; tests that want another one skip, unless it is in the cache already.
TEST_MODELS = smollm2-135m
STUDY = kvpareto-study.db
REPORT = kvpareto-report.html
CONTEXT = 4096

.PHONY: build demo test install clean format asan fuzz setup model help

build: build/build.ninja  ## build the program: build/kvpareto
	@cmake --build build -j $(JOBS)

build/build.ninja: CMakePresets.json
	@command -v cmake >/dev/null || { echo "make: cmake is missing; 'make setup' installs what the build needs" >&2; exit 1; }
	cmake --preset release
	@touch $@

demo: setup  ## search the demo model's frontier: a table here, and kvpareto-report.html
	@$(MAKE) --no-print-directory build
	@model=$$(tools/fetch_model.py $(MODEL)) && \
	  build/kvpareto search -m "$$model" -c $(CONTEXT) --preset demo --study $(STUDY) --report $(REPORT)

test: setup  ## build and run every test
	@$(MAKE) --no-print-directory build
	@for model in $(TEST_MODELS); do \
	  tools/fetch_model.py $$model >/dev/null || echo "tests that need $$model will be skipped" >&2; done
	@tools/run_tests.sh

asan:  ## build with address and undefined-behaviour sanitizers and run the fast tests
	@tools/setup.sh
	cmake --preset asan
	@cmake --build build/asan -j $(JOBS)
	@tools/run_tests.sh -B build/asan fast

fuzz:  ## run each fuzz target for FUZZ_SECONDS (60)
	@tools/setup.sh --dev
	cmake --preset fuzz
	@tools/run_fuzzers.sh build/fuzz $(FUZZ_SECONDS)

setup:  ## install the distribution packages that are missing (root or sudo)
	@tools/setup.sh

model:  ## fetch MODEL (smollm2-135m) into the cache and print its path
	@tools/fetch_model.py $(MODEL)

install: build  ## install the program under PREFIX (/usr/local)
	@cmake --install build --prefix "$(PREFIX)"

format:  ## clang-format every C++ file
	@command -v clang-format >/dev/null || { echo "make: clang-format is missing; 'tools/setup.sh --dev' installs it" >&2; exit 1; }
	@git ls-files -z '*.cc' '*.h' '*.cu' '*.cuh' | xargs -0r clang-format -i

clean:  ## remove the build folder; models, studies and reports stay
	@rm -rf build

help:  ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | sort | awk -F '\t' '{ printf "  make %-9s%s\n", $$1, $$2 }'
