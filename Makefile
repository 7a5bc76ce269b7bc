# One entry for every habit; CI calls the same.
#
#   make build      build/kiln and build/kiln-node
#   make test       everything; T=name: only the tests whose name contains it
#   make demo       a cluster on this machine, two jobs on it, and gone
#   make bench      speed and memory, as ratios against a baseline that runs in the same go
#   make agent-arm64   build/kiln-node-arm64: the agent for images of that architecture (or agent-amd64)
#   make install    to PREFIX (default /usr/local)
#   make fmt lint docs clean

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
T ?=
# The slack that precompiled headers need.
CCACHE = env;CCACHE_SLOPPINESS=pch_defines,time_macros;ccache

.PHONY: build test demo bench install fmt lint docs deps clean

build: deps
	@cmake -S . -B $(BUILD) -G Ninja "-DCMAKE_CXX_COMPILER_LAUNCHER=$(CCACHE)" > $(BUILD).cmake.log 2>&1 || { cat $(BUILD).cmake.log; exit 1; }
	@rm -f $(BUILD).cmake.log
	@cmake --build $(BUILD) --target kiln kiln-node

agent-%: deps
	@tools/cross-agent $* $(BUILD)

deps:
	@tools/install-dependencies build run

test: build
	@tools/install-dependencies test
	@tests/run --build $(BUILD) $(if $(T),--only $(T))

demo: build
	@tools/demo $(BUILD)/kiln

bench: build
	@bench/run --build $(BUILD) $(if $(T),--only $(T))

install:
	@tools/install --build $(BUILD) --prefix "$(DESTDIR)$(PREFIX)"

fmt:
	@tools/install-dependencies test
	@git ls-files 'src/*.cc' 'src/*.h' 'tests/*.cc' | xargs clang-format -i

lint:
	@tools/install-dependencies test
	@tools/lint

docs: build
	@$(BUILD)/kiln __docs docs
	@rm -rf docs/completions docs/kiln.1

clean:
	@rm -rf $(BUILD) build-*
