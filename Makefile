# Tallystick. `make demo` and `make test` do everything on a fresh Debian 12, packages included; `make help` lists the rest.
#
# Everything lands in build/. MODE picks the flavour: release (default), asan (ASan and UBSan), tsan, clang, debug (-O0), planted (with the faults that the
# simulator must find, see base/planted.h), fuzz (libFuzzer). V=1 shows commands.
# Each folder of src/ is one archive; what a binary may link is the same layer table that `make lint` enforces.
# build/bin/ holds the release binaries; the other flavours stay in build/<mode>/bin/.

MODE ?= release
CC_release := gcc
CC_asan := gcc
CC_tsan := gcc
CC_clang := clang
CC_debug := gcc
CC_planted := gcc
CC_fuzz := clang
CC := $(CC_$(MODE))
ifeq ($(CC),)
$(error MODE=$(MODE) is not one of: release asan tsan clang debug planted fuzz)
endif

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
            -Wwrite-strings -Wvla -Wundef -Wformat=2 -Werror
CFLAGS_release := -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2
CFLAGS_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -fsanitize=thread
CFLAGS_clang := -O2 -Wno-gnu-zero-variadic-macro-arguments
CFLAGS_debug := -O0
CFLAGS_planted := -O1 -DTALLY_PLANTED
CFLAGS_fuzz := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -Wno-gnu-zero-variadic-macro-arguments
CFLAGS_common := -std=c17 -D_GNU_SOURCE -g -pthread -MMD -MP $(WARNINGS) -Iinclude -Isrc -isystem /usr/include/postgresql
B := build/$(MODE)
ALL_CFLAGS = $(CFLAGS_common) $(CFLAGS_$(MODE)) $(CFLAGS) -I$(B)/gen
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_fuzz := -fsanitize=address,undefined
ALL_LDFLAGS = -pthread $(LDFLAGS_$(MODE)) $(LDFLAGS)

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))

# --- Modules, lowest first: a module's archive may use the ones before it. -------------------------------------------
MODULES := base platform crypto entry domain log index replication reconcile projection region client rpc admin outside server
LIBS_base :=
LIBS_platform :=
LIBS_crypto := -lcrypto -lsodium
LIBS_index := -lrocksdb
LIBS_projection := -lsqlite3 -lpq -ljansson
LIBS_rpc := -lprotobuf-c -lgrpc -lgpr
LIBS_client := -lprotobuf-c -lgrpc -lgpr
LIBS_admin := -lmicrohttpd -ljansson
LIBS_outside := -lcurl -ljansson
LIBS_server := -lcyaml -lyaml

SOURCES = $(wildcard src/$(1)/*.c)
OBJECTS = $(patsubst src/%.c,$(B)/obj/%.o,$(call SOURCES,$(1)))
# Modules up to and including $(1).
upto = $(shell printf '%s\n' $(MODULES) | sed '/^$(1)$$/q')
reverse = $(shell printf '%s\n' $(1) | tac)
archives = $(foreach m,$(call reverse,$(1)),$(B)/lib/lib$(m).a)
libraries = $(foreach m,$(call reverse,$(1)),$(LIBS_$(m)))

# domain is pure and holds the fold that regions obey: an auditor judges by the very same rules.
VERIFY_MODULES := base platform crypto entry domain log
# index and server: an audit of a data directory reads the one, and the configuration as the other does.
CLI_MODULES := base platform crypto entry domain log index projection client server
SERVER_MODULES := $(MODULES)

.PHONY: all help deps deps-check demo test unit threads torture torture-programs fuzzers fuzz fuzz-runs fuzz-replay replays golden planted integration crash gameday gameday-short sim sim-ci lint format bench bench-peers clean FORCE
BINARIES := tallyd tally tally-verify tally-sim
all: $(BINARIES:%=$(B)/bin/%) $(if $(filter release,$(MODE)),$(BINARIES:%=build/bin/%))

define HELP
make            the binaries, in build/bin/
make demo       two regions, real bank data, a crash and a forgery, told in three minutes
make test       everything that must hold, fastest failures first
make unit       unit tests; MODULE=crypto for one folder, MODE=asan for the sanitizers
make threads    our own threads, for MODE=tsan
make torture    fails each allocation, disk call and library call in turn; SCENARIO=append for one
make fuzz       runs the fuzzers; FUZZ=note for one, SECONDS=60 each
make fuzz-replay  the fuzzers' corpora, under the sanitizers
make golden     golden vectors, against a second implementation
make planted    plants faults and sees the checks fail
make integration  real processes; TEST=name for those whose names contain it
make crash      kill -9 and power loss, again and again; KILLS=500 KILL_SECONDS=1000 for longer
make gameday    three regions in network namespaces, lost, cut off and moved under load (as root); DRILL=region-loss for one
make sim        the simulator, on all cores: SEEDS=1000, FIRST=1, or MINUTES=10
make lint       layers, banned calls, sizes, format
make format     clang-format over everything
make bench      what is promised, measured here: RUNS=3, SCALE=1 (million events), ONLY=part of a name; ONLY=soak MINUTES=60 RATE=5000
make bench-peers  the same appends on RocksDB, Redis, PostgreSQL and NATS JetStream, as far as they are installed
make deps       installs the Debian packages that are missing
make clean      removes build/
MODE=release|asan|tsan|clang|debug|planted|fuzz picks the flavour; V=1 shows the commands.
endef
help:
	$(info $(HELP))
	@:

# Sub-makes run on all cores unless the caller chose.
JOBS ?= $(shell nproc)
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))
RUN = +@$(MAKE) --no-print-directory $(PARALLEL)

# --- Objects ---------------------------------------------------------------------------------------------------------
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ || printf '%s\n' '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' > $@

$(B)/obj/%.o: src/%.c $(B)/flags | deps-check
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/obj/tools/%.o: tools/%.c $(B)/flags | deps-check
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -Itools -c -o $@ $<

define MODULE_ARCHIVE
$(B)/lib/lib$(1).a: $(call OBJECTS,$(1)) $(EXTRA_OBJECTS_$(1))
	@mkdir -p $$(@D)
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef

# --- Protocol buffers ------------------------------------------------------------------------------------------------
# Messages of the services for protobuf-c, and protoc's own descriptor bytes for server reflection. protobuf-c's output is
# not ours to warn about.
PROTOS := $(wildcard proto/tally/v1/*.proto)
GEN_C := $(patsubst proto/%.proto,$(B)/gen/%.pb-c.c,$(PROTOS))
GEN_O := $(GEN_C:.c=.o)
.SECONDARY: $(GEN_C)
EXTRA_OBJECTS_client := $(GEN_O)
include $(wildcard src/rpc/rules.mk src/admin/rules.mk)

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: proto/%.proto | deps-check
	@mkdir -p $(@D)
	$(call say,PROTO,$<)
	$(Q)protoc-c --proto_path=proto --c_out=$(B)/gen $<

$(B)/gen/%.pb-c.o: $(B)/gen/%.pb-c.c $(B)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(filter-out -Werror -Wpedantic -Wcast-qual,$(ALL_CFLAGS)) -c -o $@ $<

$(call OBJECTS,rpc) $(call OBJECTS,client) $(call OBJECTS,server): | $(GEN_O)

$(foreach m,$(MODULES),$(eval $(call MODULE_ARCHIVE,$(m))))

# --- Binaries --------------------------------------------------------------------------------------------------------
build/bin/%: build/release/bin/%
	@mkdir -p $(@D)
	$(Q)cp -f $< $@

$(B)/bin/tallyd: $(B)/obj/tools/tallyd.o $(call archives,$(SERVER_MODULES))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(call libraries,$(SERVER_MODULES))

TALLY_OBJECTS := $(patsubst tools/%.c,$(B)/obj/tools/%.o,$(wildcard tools/tally/*.c))
$(B)/bin/tally: $(TALLY_OBJECTS) $(call archives,$(CLI_MODULES))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(call libraries,$(CLI_MODULES)) -ljansson

VERIFY_OBJECTS := $(patsubst tools/%.c,$(B)/obj/tools/%.o,$(wildcard tools/verify/*.c))
$(B)/bin/tally-verify: $(VERIFY_OBJECTS) $(call archives,$(VERIFY_MODULES))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(call libraries,$(VERIFY_MODULES)) -ljansson -lcurl

# The commit that a failure names; the object is made again when it changes.
SIM_COMMIT := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
$(B)/commit: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(SIM_COMMIT)' | cmp -s - $@ || printf '%s\n' '$(SIM_COMMIT)' > $@
$(B)/obj/tools/sim/report.o: $(B)/commit
$(B)/obj/tools/sim/report.o: ALL_CFLAGS += -DSIM_COMMIT='"$(SIM_COMMIT)"'
SIM_OBJECTS := $(patsubst tools/%.c,$(B)/obj/tools/%.o,$(wildcard tools/sim/*.c))
$(B)/bin/tally-sim: $(SIM_OBJECTS) $(call archives,$(call upto,region))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(call libraries,$(call upto,region)) -ljansson

# --- Tests -----------------------------------------------------------------------------------------------------------
# tests/unit/<module>/*.c is one Criterion program: `make unit MODE=asan MODULE=crypto`.
# Criterion swallows sanitizer findings unless they abort; leaks are found at exit of each test's own process.
SAN_ENV := ASAN_OPTIONS=abort_on_error=1:detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1 \
           TSAN_OPTIONS=halt_on_error=1:abort_on_error=1
UNIT_MODULES := $(sort $(foreach f,$(wildcard tests/unit/*/*.c),$(notdir $(patsubst %/,%,$(dir $f)))))
MODULE ?= $(UNIT_MODULES)

TEST_SUPPORT := $(wildcard tests/support/*.c)
support = $(filter-out $(if $(filter base,$(1)),%/fault_disk.c) $(if $(filter base platform,$(1)),%/certificates.c),$(TEST_SUPPORT))
# What a module's tests need to run beside them. A test that is to end by an assert cannot remove its folder, so all are made in one that is removed here.
UNIT_BESIDE_projection := bash tests/support/postgres.sh
UNIT_BESIDE_outside := bash tests/support/etcd.sh
define UNIT_PROGRAM
$(B)/tests/unit-$(1): $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/unit/$(1)/*.c) $(call support,$(1))) $(call archives,$(call upto,$(1)))
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) -o $$@ $$(filter %.o %.a,$$^) $$(ALL_LDFLAGS) $$(call libraries,$(call upto,$(1))) -lcriterion -ljansson -lcurl
.PHONY: unit-$(1)
unit-$(1): $(B)/tests/unit-$(1)
	$$(call say,TEST,$$<)
	$$(Q)folder=$$$$(mktemp -d) && $(SAN_ENV) $$(UNIT_BESIDE_$(1)) env TMPDIR=$$$$folder $$< -j2 2>&1; code=$$$$?; rm -rf "$$$$folder"; \
	[ $$$$code = 0 ] || { echo "FAILED: rerun with $(SAN_ENV) $$(UNIT_BESIDE_$(1)) $$< --verbose"; exit 1; }
endef
$(foreach m,$(UNIT_MODULES),$(eval $(call UNIT_PROGRAM,$(m))))

$(B)/obj/tests/%.o: tests/%.c $(B)/flags | deps-check $(if $(wildcard proto/tally/v1/*.proto),$(GEN_O))
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests -Itools -c -o $@ $<

unit: $(foreach m,$(MODULE),unit-$(m))

# tests/threads/<module>.c: threads that are ours alone, for MODE=tsan. gRPC and RocksDB are not built for ThreadSanitizer, and Criterion does not
# start under it, so these are plain programs.
threads_module = $(if $(filter tiles,$(1)),log,$(if $(filter $(1),$(MODULES)),$(1),platform))
THREAD_TESTS := $(notdir $(basename $(wildcard tests/threads/*.c)))
define THREADS_PROGRAM
$(B)/tests/threads-$(1): $(B)/obj/tests/threads/$(1).o $(patsubst %.c,$(B)/obj/%.o,$(call support,$(call threads_module,$(1)))) \
                         $(call archives,$(call upto,$(call threads_module,$(1))))
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) -o $$@ $$(filter %.o %.a,$$^) $$(ALL_LDFLAGS) $$(call libraries,$(call upto,$(call threads_module,$(1))))
endef
$(foreach t,$(THREAD_TESTS),$(eval $(call THREADS_PROGRAM,$(t))))

threads: $(THREAD_TESTS:%=$(B)/tests/threads-%)
	@set -e; for program in $^; do $(SAN_ENV) $$program; done

# tests/torture/<scenario>.c: fails each allocation, disk call and library call in turn. The linker sends the calls of base/mem.h, of disk_posix and of
# RocksDB to tests/torture/; server_say only to keep thousands of runs quiet.
TORTURE_SUPPORT := $(addprefix tests/torture/,torture.c faults.c libraries.c node.c blocks.c)
TORTURES := $(filter-out $(notdir $(TORTURE_SUPPORT:.c=)),$(notdir $(basename $(wildcard tests/torture/*.c))))
$(B)/lib/libverify.a: $(filter-out %/main.o,$(VERIFY_OBJECTS))
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^
TORTURE_WRAPPED := mem_alloc mem_alloc_zero mem_alloc_aligned mem_resize mem_copy_string mem_free disk_posix server_say \
                   rocksdb_open rocksdb_get_pinned rocksdb_sstfilewriter_open rocksdb_sstfilewriter_put rocksdb_sstfilewriter_merge \
                   rocksdb_sstfilewriter_delete rocksdb_sstfilewriter_finish rocksdb_ingest_external_file
SCENARIO ?= $(TORTURES)
TORTURE_OBJECTS := $(patsubst %.c,$(B)/obj/%.o,$(TORTURE_SUPPORT) tests/support/files.c tests/support/fault_disk.c)
# $(1): objects that are to stand in the place of an archive's; tests/planted/torture.sh plants faults with it.
torture_link = $(CC) -o $@ $(1) $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(TORTURE_WRAPPED:%=-Wl,--wrap=%) $(call libraries,$(MODULES)) -lcurl
$(B)/torture/%: $(B)/obj/tests/torture/%.o $(TORTURE_OBJECTS) $(B)/lib/libverify.a $(call archives,$(MODULES))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(torture_link)
$(B)/torture-planted/%: $(B)/obj/tests/torture/%.o $(TORTURE_OBJECTS) $(B)/lib/libverify.a $(call archives,$(MODULES)) FORCE
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itools -c -o $@.o $(PLANTED)
	$(Q)$(call torture_link,$@.o)
.SECONDARY: $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/torture/*.c))

run-torture-%: $(B)/torture/%
	$(Q)$(SAN_ENV) $<

torture-programs: $(SCENARIO:%=run-torture-%)

torture:
	$(RUN) MODE=asan torture-programs

PYTHON := /usr/bin/python3 -B

# The integration tests speak to the server with grpcio and messages made by protoc, so that our own client is not its only witness.
PYTHON_PROTOS := $(PROTOS:proto/%.proto=build/python/%_pb2.py) build/python/grpc/health/v1/health_pb2.py \
                 build/python/grpc/reflection/v1/reflection_pb2.py build/python/grpc/reflection/v1alpha/reflection_pb2.py

# tests/fuzz/fuzz_<name>.c: one parser each. MODE=fuzz makes libFuzzer programs; every other mode makes programs that replay the files given (a corpus, a
# finding).
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SUPPORT := $(if $(filter fuzz,$(MODE)),,tests/fuzz/replay.c) tests/support/files.c tests/support/fault_disk.c
$(B)/lib/libtally.a: $(filter-out %/main.o,$(TALLY_OBJECTS))
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^
# $(1): as in torture_link, for tests/planted/fuzz.sh.
fuzz_link = $(CC) -o $@ $(1) $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer) $(call libraries,$(MODULES)) -ljansson
$(B)/fuzz/%: $(B)/obj/tests/fuzz/fuzz_%.o $(FUZZ_SUPPORT:%.c=$(B)/obj/%.o) $(B)/lib/libtally.a $(call archives,$(MODULES))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(fuzz_link)
$(B)/fuzz-planted/%: $(B)/obj/tests/fuzz/fuzz_%.o $(FUZZ_SUPPORT:%.c=$(B)/obj/%.o) $(B)/lib/libtally.a $(call archives,$(MODULES)) FORCE
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itools -c -o $@.o $(PLANTED)
	$(Q)$(call fuzz_link,$@.o)
.SECONDARY: $(FUZZERS:%=$(B)/obj/tests/fuzz/fuzz_%.o) $(FUZZ_SUPPORT:%.c=$(B)/obj/%.o)
FUZZ ?= $(FUZZERS)
SECONDS ?= 60
fuzzers: $(FUZZ:%=$(B)/fuzz/%)

# The seeds: tests/fuzz/corpus/ as committed (texts, and what fuzzing found), and binary ones that corpus.py makes from the golden vectors.
build/corpus/made: tests/fuzz/corpus.py tests/golden/vectors.json $(PYTHON_PROTOS)
	@$(PYTHON) $< build/corpus
	@touch $@
replay-%: $(B)/fuzz/% build/corpus/made
	$(Q)$(SAN_ENV) $< $$(ls -d tests/fuzz/corpus/$* build/corpus/$* 2> /dev/null) > $(B)/fuzz/$*.log 2>&1 || \
		{ tail -20 $(B)/fuzz/$*.log; echo "FAILED: the last file named above; rerun with $(SAN_ENV) $< FILE"; exit 1; }
	$(Q)tail -1 $(B)/fuzz/$*.log
replays: $(FUZZ:%=replay-%)
fuzz-replay:
	$(RUN) MODE=asan replays

# New inputs gather in build/corpus/; two fuzzers run at a time.
fuzz-run-%: $(B)/fuzz/% build/corpus/made
	@mkdir -p build/corpus/$* build/findings
	$(SAN_ENV) $< -max_total_time=$(SECONDS) -artifact_prefix=build/findings/$*- -verbosity=0 -print_final_stats=1 \
		build/corpus/$* $$(ls -d tests/fuzz/corpus/$* 2> /dev/null)
fuzz-runs: $(FUZZ:%=fuzz-run-%)
fuzz:
	+@$(MAKE) --no-print-directory -j2 MODE=fuzz fuzz-runs

# What must hold, in the order in which failures are cheapest to learn.
test: deps-check
	$(RUN) lint golden
	$(RUN) MODE=asan unit
	$(RUN) torture
	$(RUN) fuzz-replay
	$(RUN) MODE=tsan threads
	$(RUN) planted
	$(RUN) MODE=clang all
	$(RUN) integration
	$(RUN) gameday-short
	$(RUN) sim-ci
	$(RUN) crash
	@echo 'make test: all of it holds'

golden: $(wildcard tests/golden/*.py) | deps-check
	@set -e; for script in $(wildcard tests/golden/*.py); do $(PYTHON) $$script; done

planted: $(wildcard tests/planted/*.sh) | deps-check
	@set -e; for script in $(wildcard tests/planted/*.sh); do bash $$script; done

build/python/tally/v1/%_pb2.py: proto/tally/v1/%.proto | deps-check
	@mkdir -p build/python
	$(Q)protoc --proto_path=proto --python_out=build/python $<

build/python/grpc/%_pb2.py: | deps-check
	@mkdir -p build/python
	$(Q)protoc --proto_path=/usr/share/grpc-proto --python_out=build/python /usr/share/grpc-proto/grpc/$*.proto

# A reader of our logs made from the libraries of Go's checksum database, by Debian's Go and nothing from the network.
GO := GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$(CURDIR)/build/interop/cache go
build/interop/tlogcheck: tests/interop/tlogcheck.go | deps-check
	@mkdir -p $(@D)
	$(call say,GO,$@)
	$(Q)$(GO) build -o $@ ./tests/interop

integration: all $(PYTHON_PROTOS) build/interop/tlogcheck
	@$(PYTHON) tests/integration/run.py $(if $(TEST),'$(TEST)')

# tests/crash: power.c cuts the power between any two operations of a log on a disk in memory; kill.py kills real processes. KILLS and KILL_SECONDS say how often.
KILLS ?= 60
KILL_SECONDS ?= 35
$(B)/tests/crash-power: $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/crash/*.c)) $(call archives,$(call upto,log))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(call libraries,$(call upto,log))

crash: all $(B)/tests/crash-power $(PYTHON_PROTOS)
	@$(B)/tests/crash-power
	@$(PYTHON) tests/crash/kill.py $(KILLS) $(KILL_SECONDS)

# tests/gameday: drills with real regions in network namespaces (tools/README.md has the runbooks that they follow).
build/gameday/slow_disk.so: tests/gameday/slow_disk.c | deps-check
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC_release) -std=c17 -D_GNU_SOURCE -O2 $(filter-out -Wpedantic,$(WARNINGS)) -shared -fPIC -o $@ $<

gameday: all $(PYTHON_PROTOS) build/gameday/slow_disk.so
	@$(PYTHON) tests/gameday/run.py $(DRILL)

gameday-short: all $(PYTHON_PROTOS)
	@$(PYTHON) tests/gameday/run.py --short

# Regions under a simulated clock, disk and network (tools/sim/README.md).
SEEDS ?=
FIRST ?= 1
MINUTES ?=
sim: deps-check
	$(RUN) MODE=release build/bin/tally-sim
	@build/bin/tally-sim --jobs $(JOBS) --first $(FIRST) $(if $(SEEDS),--seeds $(SEEDS),$(if $(MINUTES),--minutes $(MINUTES),--seeds 1000))

sim-ci: deps-check
	$(RUN) MODE=release build/bin/tally-sim
	$(RUN) MODE=debug build/debug/bin/tally-sim
	@bash tests/sim/run.sh

demo: deps-check
	$(RUN) all
	@bash tools/demo/demo.sh

# bench/README.md says what is measured and how; results go to build/bench/. Nothing here runs in `make test`.
BENCH_PROGRAMS := build/release/bench/fold
$(B)/obj/bench/%.o: bench/%.c $(B)/flags | deps-check
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/bench/fold: $(B)/obj/bench/fold.o $(call archives,$(call upto,log))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(call libraries,$(call upto,log))

RUNS ?= 3
SCALE ?= 1
ONLY ?=
RATE ?= 5000
bench: $(PYTHON_PROTOS) | deps-check
	$(RUN) MODE=release all $(BENCH_PROGRAMS)
	@$(PYTHON) bench/run.py --runs $(RUNS) --scale $(SCALE) --only '$(ONLY)' --minutes $(or $(MINUTES),60) --rate $(RATE)

bench-peers: deps-check
	$(RUN) all
	@$(PYTHON) bench/peers.py --runs $(RUNS) --only '$(ONLY)'

# --- Source ----------------------------------------------------------------------------------------------------------
C_FILES = $(shell find src include tools tests bench -name '*.[ch]')
lint: | deps-check
	@$(PYTHON) tools/lint/lint.py
	@clang-format --dry-run -Werror $(C_FILES)
	@unformatted=$$(gofmt -l tests/interop); [ -z "$$unformatted" ] || { echo "gofmt -w $$unformatted"; exit 1; }
	@echo '  LINT   ok'

format: | deps-check
	clang-format -i $(C_FILES)
	gofmt -w tests/interop

clean:
	rm -rf build

# --- Packages --------------------------------------------------------------------------------------------------------
# libc6-dev is named because nothing here may depend on what apt only recommends.
PACKAGES := gcc libc6-dev make clang libclang-rt-14-dev clang-format librocksdb-dev libsodium-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler \
            libcriterion-dev libgrpc-dev libssl-dev libcurl4-openssl-dev libcyaml-dev libsqlite3-dev libpq-dev postgresql libjansson-dev libmicrohttpd-dev grpc-proto \
            golang-go golang-golang-x-mod-dev python3 python3-grpcio python3-protobuf sqlite3 jq etcd-server iproute2 util-linux libfaketime openssl

# One look at dpkg's list when nothing is missing. A system without dpkg is taken to have everything.
deps-check:
	@command -v dpkg-query >/dev/null || exit 0; \
	installed=$$(dpkg-query -W -f='$${db:Status-Status}:$${Package} ' $(PACKAGES) 2>/dev/null); missing=; \
	for package in $(PACKAGES); do case " $$installed" in *" installed:$$package "*) ;; *) missing="$$missing $$package" ;; esac; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" != 0 ]; then echo "Packages are missing. As root: apt-get install$$missing" >&2; exit 1; fi; \
	echo "installing:$$missing"; export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -q && apt-get install -q -y --no-install-recommends $$missing

deps: deps-check
	@echo 'all packages are installed'

-include $(shell find build -name '*.d' 2>/dev/null)
