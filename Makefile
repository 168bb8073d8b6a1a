# mailraft. `make help` lists the targets; everything is built under build/<variant>/.

VARIANT ?= release
B       := build/$(VARIANT)
PREFIX  ?= /usr/local
DESTDIR ?=
# libFuzzer comes with clang.
CC_fuzz := clang
CC      := $(or $(CC_$(VARIANT)),gcc)
JOBS    ?= $(shell nproc)

# ---- flags, a variable a concern ----
STANDARD := -std=c11 -D_GNU_SOURCE -pthread
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wformat=2 -Wundef -Wcast-qual -Wwrite-strings -Wvla -Wswitch-enum \
	-Wnull-dereference -Wduplicated-cond -Wlogical-op -Werror
INCLUDES := -I. -I$(B)/proto
DEBUG    := -g
OPTIMISE_release := -O2
OPTIMISE_asan    := -O1 -fno-omit-frame-pointer
OPTIMISE_tsan    := -O1
OPTIMISE_coverage := -O0
OPTIMISE_fuzz := -O1 -fno-omit-frame-pointer
SANITIZE_release :=
SANITIZE_asan    := -fsanitize=address,undefined -fno-sanitize-recover=all
SANITIZE_tsan    := -fsanitize=thread
SANITIZE_coverage := --coverage
SANITIZE_fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
# The sanitizers' instrumentation hides from gcc what it needs to prove pointers non-null.
QUIET_asan := -Wno-null-dereference
QUIET_tsan := -Wno-null-dereference
QUIET_coverage := -Wno-null-dereference -Wno-format-nonliteral
# clang does not know all of these warnings, and some it means otherwise; `make lint` has its say.
QUIET_fuzz := -Wno-unknown-warning-option -Wno-conversion -Wno-sign-conversion -Wno-format-nonliteral
# In this variant rules tell that they act: server/rules/rule.h.
DEFINES_table := -DRULE_WITNESS
OPTIMISE_table := -O0

CFLAGS  := $(STANDARD) $(DEBUG) $(OPTIMISE_$(VARIANT)) $(SANITIZE_$(VARIANT)) $(WARNINGS) \
	$(QUIET_$(VARIANT)) $(DEFINES_$(VARIANT)) $(INCLUDES)
# Generated code and nanopb's headers are not ours to warn about.
CFLAGS_GENERATED := $(STANDARD) $(DEBUG) $(OPTIMISE_$(VARIANT)) $(SANITIZE_$(VARIANT)) $(INCLUDES)
LDFLAGS := $(SANITIZE_$(VARIANT)) -pthread
LIBS    := -lprotobuf-nanopb
# Rooms and world need each other: the linker goes around until nothing is missing.
GROUP    = -Wl,--start-group $(1) -Wl,--end-group

# ---- sources: found, not listed ----
# The world: the seams that the simulator replaces with its own.
WORLD_SOURCES := common/memory.c common/sync.c common/clock.c
COMMON_SOURCES := $(filter-out $(WORLD_SOURCES),$(wildcard common/*.c))
SERVER_SOURCES := $(filter-out server/main.c,$(wildcard server/*.c server/*/*.c server/*/*/*.c))
SIM_SOURCES   := $(wildcard test/sim/*.c)
HISTORY_SOURCES := $(wildcard test/history/*.c)
# Of raftpipe only what reads: the rest of it is a storage room of its own.
FUZZ_SOURCES  := $(filter-out test/fuzz/libfuzzer.c,$(wildcard test/fuzz/*.c)) tools/raftpipe/input.c tools/raftpipe/state.c
FUZZ_TARGETS  := $(shell sed -n 's/^    X(\([a-z_]*\)).*/fuzz_\1/p' test/fuzz/fuzz.h)
# A simulated server has no thread of its own: there is nothing in it for the thread sanitizer. The
# suites without threads that use the real world are found by their symbols, below.
NO_THREADS_tsan := check_sim_%
UNIT_TESTS    := $(filter-out $(NO_THREADS_$(VARIANT)),$(patsubst test/unit/%.c,%,$(wildcard test/unit/check_*.c)))
TOOLS_C       := $(patsubst tools/%.c,%,$(wildcard tools/*.c))
INSTALLED_SCRIPTS := raftcluster

PROTO_SOURCES := $(B)/proto/raft.pb.c
object = $(patsubst %.c,$(B)/%.o,$(1))
ROOMS    := $(call object,$(COMMON_SOURCES) $(SERVER_SOURCES)) $(PROTO_SOURCES:.c=.o)
WORLD    := $(call object,$(WORLD_SOURCES))
SIM      := $(call object,$(SIM_SOURCES))
HISTORY  := $(call object,$(HISTORY_SOURCES))

# Tools that drive the simulator link its world instead of the real one.
SIM_TOOLS := raftsim
# This one has a storage room of its own, which must come before the rooms' archive.
PIPE_TOOLS := raftpipe
PLAIN_TOOLS := $(filter-out $(SIM_TOOLS) $(PIPE_TOOLS),$(TOOLS_C))
# `make V=1` shows the commands.
Q := $(if $(V),,@)
BINARIES := $(B)/raftd $(addprefix $(B)/,$(TOOLS_C))

.PHONY: all help
.DEFAULT_GOAL := all
all: $(BINARIES) ## build raftd and the tools (VARIANT=release|asan|tsan|coverage)

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- building ----
$(B)/proto/raft.pb.c $(B)/proto/raft.pb.h &: proto/raft.proto proto/raft.options
	@mkdir -p $(B)/proto
	@echo "  PROTO $@"
	$(Q)PATH=/usr/bin:$$PATH protoc --proto_path=proto --nanopb_opt=-Iproto --nanopb_out=$(B)/proto proto/raft.proto

$(B)/proto/%.o: $(B)/proto/%.c
	@echo "  CC    $@"
	$(Q)$(CC) $(CFLAGS_GENERATED) -MMD -MP -c $< -o $@

$(B)/%.o: %.c | $(B)/proto/raft.pb.h
	@mkdir -p $(@D)
	@echo "  CC    $@"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

# Archives, so that a program links only the rooms it uses.
$(B)/librooms.a: $(ROOMS)
	@mkdir -p $(@D) && rm -f $@
	$(Q)ar rcs $@ $^
$(B)/libworld.a: $(WORLD)
	@mkdir -p $(@D) && rm -f $@
	$(Q)ar rcs $@ $^
$(B)/libsim.a: $(SIM)
	@mkdir -p $(@D) && rm -f $@
	$(Q)ar rcs $@ $^
$(B)/libhistory.a: $(HISTORY)
	@mkdir -p $(@D) && rm -f $@
	$(Q)ar rcs $@ $^
$(B)/libfuzz.a: $(call object,$(FUZZ_SOURCES))
	@mkdir -p $(@D) && rm -f $@
	$(Q)ar rcs $@ $^

$(B)/raftd: $(B)/server/main.o $(B)/librooms.a $(B)/libworld.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $(call GROUP,$^) $(LIBS) -o $@

LIBS_raftctl := -lhiredis
LIBS_raftcheck := -ljansson
$(addprefix $(B)/,$(PLAIN_TOOLS)): $(B)/%: $(B)/tools/%.o $(B)/librooms.a $(B)/libhistory.a $(B)/libworld.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $(call GROUP,$^) $(LIBS) $(LIBS_$*) -o $@
# A tool may have more files in a folder of its name.
$(B)/raftctl: $(call object,$(wildcard tools/raftctl/*.c))
$(B)/raftpipe: $(call object,tools/raftpipe.c $(wildcard tools/raftpipe/*.c)) $(B)/librooms.a $(B)/libworld.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $(call GROUP,$^) $(LIBS) -o $@

$(addprefix $(B)/,$(filter $(SIM_TOOLS),$(TOOLS_C))): $(B)/%: $(B)/tools/%.o $(B)/libsim.a $(B)/librooms.a $(B)/libhistory.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $(call GROUP,$^) $(LIBS) -o $@

# ---- tests ----
CHECK_LIBS := $(shell pkg-config --libs check 2>/dev/null)
$(B)/test/unit/%: $(B)/test/unit/%.o $(B)/librooms.a $(B)/libhistory.a $(B)/libworld.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $(call GROUP,$^) $(LIBS) $(LIBS_$*) $(CHECK_LIBS) -o $@
LIBS_check_history_json := -ljansson
# Their names are resolved by the suites themselves.
LIBS_check_resolver := -Wl,--wrap=getaddrinfo
LIBS_check_socket := -Wl,--wrap=getaddrinfo
# Tests of the simulator itself live in its world.
$(B)/test/unit/check_sim%: $(B)/test/unit/check_sim%.o $(B)/libsim.a $(B)/librooms.a $(B)/libhistory.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $(call GROUP,$^) $(LIBS) $(CHECK_LIBS) -o $@

# The fuzzers have a memory of their own, which counts.
FUZZ_PARTS := $(B)/libfuzz.a $(B)/librooms.a $(filter-out $(B)/common/memory.o,$(WORLD))
$(B)/test/unit/check_fuzz_corpus: $(B)/test/unit/check_fuzz_corpus.o $(FUZZ_PARTS)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $(call GROUP,$^) $(LIBS) $(CHECK_LIBS) -o $@
# One program a target: the same file, with another name in it.
$(addprefix $(B)/test/,$(FUZZ_TARGETS:=.o)): $(B)/test/fuzz_%.o: test/fuzz/libfuzzer.c | $(B)/proto/raft.pb.h
	@mkdir -p $(@D)
	@echo "  CC    $@"
	$(Q)$(CC) $(CFLAGS) -DFUZZ_TARGET=fuzz_$* -MMD -MP -c $< -o $@
$(addprefix $(B)/,$(FUZZ_TARGETS)): $(B)/%: $(B)/test/%.o $(FUZZ_PARTS)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer $(call GROUP,$^) $(LIBS) -o $@

# The table of the step machine is written by the machine, linked with nothing but its own rooms.
MACHINE_SOURCES := $(COMMON_SOURCES) $(WORLD_SOURCES) $(wildcard server/rules/*.c) \
	server/mail/mail.c server/mail/command.c server/mail/outbox.c server/requests/forward.c server/requests/pending.c \
	$(filter-out server/step/node/node.c server/step/node/carry_out.c server/step/node/tokens.c,$(wildcard server/step/*.c))
$(B)/libmachine.a: $(call object,$(MACHINE_SOURCES))
	@mkdir -p $(@D) && rm -f $@
	$(Q)ar rcs $@ $^
$(B)/step_table: $(B)/test/unit/step_table.o $(B)/libmachine.a
	$(Q)$(CC) $(LDFLAGS) $^ $(CHECK_LIBS) -o $@

.PHONY: table check-table
table: ## write server/step/TABLE.md from the running code
	@$(MAKE) --no-print-directory VARIANT=table build/table/step_table
	build/table/step_table >server/step/TABLE.md
check-table: ## fail when server/step/TABLE.md is not what the code does
	@$(MAKE) --no-print-directory VARIANT=table build/table/step_table
	@build/table/step_table | diff -u server/step/TABLE.md - && echo "server/step/TABLE.md is true"

.PHONY: coverage planted unit process scenarios sim test lint analyze
.PHONY: unit-programs unit-suites
unit: unit-suites ## unit tests of this variant (tsan: the suites that can start a thread)
# The thread sanitizer makes all slow, and sees nothing in a program that starts no thread. Which do is
# told by the symbols of the release build's programs, which are there already or quickly made.
ifeq ($(VARIANT),tsan)
unit-suites:
	@$(MAKE) --no-print-directory VARIANT=release unit-programs UNIT_TESTS="$(UNIT_TESTS)"
	@suites=$$(test/suites-with-threads build/release $(UNIT_TESTS)) && \
	    $(MAKE) --no-print-directory unit-programs UNIT_TESTS="$$suites" && \
	    test/run-unit $(B) $$suites
else
unit-suites: unit-programs
	@test/run-unit $(B) $(UNIT_TESTS)
endif
unit-programs: $(addprefix $(B)/test/unit/,$(UNIT_TESTS))

.PHONY: bound
bound: $(B)/bound ## what the machine could do, for raftbench --only bound
# liburing's inline functions take what its io_uring_get_sqe gives: never NULL with two in eight.
$(B)/tools/bench/bound.o: CFLAGS += -Wno-null-dereference
$(B)/bound: $(B)/tools/bench/bound.o $(B)/librooms.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $^ -luring -o $@

.PHONY: bench
BENCH ?= 4000000 256
bench: $(B)/test/unit/bench_kv ## pauses and speed of a large machine (BENCH="4000000 256": 5 GB)
	@$< $(BENCH)

PROCESS_JOBS ?= $(JOBS)
PROCESS ?=
process: all ## whole-process tests: real servers, real clients (PROCESS=names: only these)
	@test/run-process -j $(PROCESS_JOBS) $(B) $(PROCESS)

scenarios: all ## play every scenario file
	@test/run-scenarios $(B)

SEEDS ?= 1..2000
# One event at a time, and in piles; a second each.
DIFFER_SEEDS ?= 1..300
sim: scenarios ## all scenarios in all designs, the designs compared, and a sweep of seeds (SEEDS=1..2000)
	@test/run-scenarios $(B) dispatch step mixed
	$(B)/raftsim differ --seeds $(DIFFER_SEEDS)
	$(B)/raftsim differ --seeds $(DIFFER_SEEDS) --servers 5
	$(B)/raftsim differ --seeds $(DIFFER_SEEDS) --pile 8
	$(B)/raftsim chaos --servers 5 --seconds 20 --seeds $(SEEDS) -j $(JOBS)
	$(B)/raftsim chaos --servers 3 --seconds 20 --seeds $(SEEDS) -j $(JOBS)
	$(B)/raftsim chaos --servers 5 --seconds 20 --seeds $(SEEDS) -j $(JOBS) --design mixed

coverage: ## what the simulator alone reaches of the rules, the designs and the storage
	@test/run-coverage

PLANTED ?=
PLANTED_JOBS ?= 1
planted: all ## plant mistakes one by one; each one's judge must catch it (PLANTED=names, PLANTED_JOBS=1)
	@test/planted/run -j $(PLANTED_JOBS) $(B) $(PLANTED)

FUZZ_SECONDS ?= 60
FUZZ ?= $(FUZZ_TARGETS)
.PHONY: fuzz fuzzers
fuzz: ## each reader of bytes fed with made-up ones (FUZZ_SECONDS=60 each, FUZZ=fuzz_segment: only that)
	@$(MAKE) -s --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS)) VARIANT=fuzz fuzzers
	@test/run-fuzz build/fuzz $(FUZZ_SECONDS) $(JOBS) $(FUZZ)
fuzzers: $(addprefix $(B)/,$(FUZZ))

test: ## unit, scenario and whole-process tests
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory check-table
	@$(MAKE) --no-print-directory scenarios
	@$(MAKE) --no-print-directory process

.PHONY: compare
compare: all ## the designs side by side: build/compare/report.md and report.html
	tools/raftcompare --build $(B)

# ---- lint ----
C_FILES := $(shell find common server test tools -name '*.[ch]' 2>/dev/null)
C_SOURCES := $(filter %.c,$(C_FILES))
SHELL_FILES := $(shell grep -lE '^.!(/bin/sh|/usr/bin/env bash|/bin/bash)' .ci/* test/* test/fuzz/* tools/* 2>/dev/null)
PYTHON_FILES := $(shell grep -lE '^.!/usr/bin/python3' test/* test/fuzz/* test/planted/* tools/* 2>/dev/null) \
	$(wildcard test/process/*.py test/planted/*.py tools/*/*.py)
lint: $(B)/proto/raft.pb.h ## format, static analysis, rule tags, rules in every design, sizes
	clang-format --dry-run -Werror $(C_FILES)
	@printf '%s\n' $(C_SOURCES) | xargs -P $(JOBS) -n 8 clang -fsyntax-only -Wthread-safety \
	    -Wno-unknown-warning-option $(STANDARD) $(INCLUDES) -Wall -Wextra -Werror
	@echo "clang -Wthread-safety: clean"
	cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 -I. -I$(B)/proto \
	    --enable=warning,portability --suppress=missingIncludeSystem -j $(JOBS) common server test tools
	shellcheck $(SHELL_FILES)
	pyflakes3 $(PYTHON_FILES)
	test/lint-tags
	tools/raftcompare --check
	test/lint-rooms
	test/lint-states
	test/lint-names
	test/lint-sizes
	test/planted/run --check $(B)

# Only what is shipped: gcc 12 does not see that the tests' and the simulator's allocations end the
# program when they fail.
analyze: $(B)/proto/raft.pb.h ## gcc's analysis of paths through what is shipped
	@printf '%s\n' $(filter-out test/% tools/bench/%,$(C_SOURCES)) | xargs -P $(JOBS) -I FILE \
	    $(CC) $(STANDARD) -O2 -fanalyzer -Werror $(INCLUDES) -c FILE -o /dev/null
	@echo "gcc -fanalyzer: clean"

# ---- installing ----
.PHONY: install
install: all ## install raftd, the tools and cluster.conf (PREFIX, DESTDIR)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/mailraft
	install -m 755 $(BINARIES) $(addprefix tools/,$(INSTALLED_SCRIPTS)) $(DESTDIR)$(PREFIX)/bin
	install -m 644 cluster.conf $(DESTDIR)$(PREFIX)/share/mailraft/cluster.conf

.PHONY: clean
clean: ## remove everything built
	rm -rf build

.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
