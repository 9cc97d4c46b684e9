# Tallystick. `make demo` and `make test` do everything on a fresh Debian 12, packages included; `make help` lists the rest.
#
# Everything lands in build/. MODE picks the flavour: release (default), asan (ASan and UBSan), tsan, clang. V=1 shows commands.
# Each folder of src/ is one archive; what a binary may link is the same layer table that `make lint` enforces.

MODE ?= release
CC_release := gcc
CC_asan := gcc
CC_tsan := gcc
CC_clang := clang
CC := $(CC_$(MODE))
ifeq ($(CC),)
$(error MODE=$(MODE) is not one of: release asan tsan clang)
endif

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
            -Wwrite-strings -Wvla -Wundef -Wformat=2 -Werror
CFLAGS_release := -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2
CFLAGS_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -fsanitize=thread
CFLAGS_clang := -O2 -Wno-gnu-zero-variadic-macro-arguments
CFLAGS_common := -std=c17 -D_GNU_SOURCE -g -pthread -MMD -MP $(WARNINGS) -Iinclude -Isrc
B := build/$(MODE)
ALL_CFLAGS = $(CFLAGS_common) $(CFLAGS_$(MODE)) $(CFLAGS) -I$(B)/gen
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
ALL_LDFLAGS = -pthread $(LDFLAGS_$(MODE)) $(LDFLAGS)

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))

# --- Modules, lowest first: a module's archive may use the ones before it. -------------------------------------------
MODULES := base platform crypto entry domain log index replication projection region rpc client server
LIBS_base :=
LIBS_platform :=
LIBS_crypto := -lcrypto -lsodium
LIBS_index := -lrocksdb
LIBS_projection := -lsqlite3 -ljansson
LIBS_rpc := -lprotobuf-c -lgrpc -lgpr
LIBS_client := -lprotobuf-c -lgrpc -lgpr
LIBS_server := -lcyaml -lyaml

SOURCES = $(wildcard src/$(1)/*.c)
OBJECTS = $(patsubst src/%.c,$(B)/obj/%.o,$(call SOURCES,$(1)))
# Modules up to and including $(1).
upto = $(shell printf '%s\n' $(MODULES) | sed '/^$(1)$$/q')
reverse = $(shell printf '%s\n' $(1) | tac)
archives = $(foreach m,$(call reverse,$(1)),$(B)/lib/lib$(m).a)
libraries = $(foreach m,$(call reverse,$(1)),$(LIBS_$(m)))

BASE_MODULES := base platform crypto entry log
VERIFY_MODULES := base platform crypto entry log
CLI_MODULES := base platform crypto entry domain log projection rpc client
SERVER_MODULES := $(MODULES)

.PHONY: all help deps demo test unit integration lint format bench clean FORCE
all: build/bin/tallyd build/bin/tally build/bin/tally-verify

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
EXTRA_OBJECTS_rpc := $(GEN_O)
include $(wildcard src/rpc/rules.mk)

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: proto/%.proto | deps-check
	@mkdir -p $(@D)
	$(call say,PROTO,$<)
	$(Q)protoc-c --proto_path=proto --c_out=$(B)/gen $<

$(B)/gen/%.pb-c.o: $(B)/gen/%.pb-c.c $(B)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(filter-out -Werror -Wpedantic -Wcast-qual,$(ALL_CFLAGS)) -c -o $@ $<

$(call OBJECTS,rpc) $(call OBJECTS,client): | $(GEN_O)

$(foreach m,$(MODULES),$(eval $(call MODULE_ARCHIVE,$(m))))

# --- Binaries --------------------------------------------------------------------------------------------------------
build/bin/%: $(B)/bin/%
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
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(call libraries,$(VERIFY_MODULES)) -ljansson

# --- Tests -----------------------------------------------------------------------------------------------------------
# tests/unit/<module>/*.c is one Criterion program: `make unit MODE=asan MODULE=crypto`.
# Criterion swallows sanitizer findings unless they abort; leaks are found at exit of each test's own process.
SAN_ENV := ASAN_OPTIONS=abort_on_error=1:detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1 \
           TSAN_OPTIONS=halt_on_error=1:abort_on_error=1
MODULE ?= $(notdir $(wildcard tests/unit/*))

TEST_SUPPORT := $(wildcard tests/support/*.c)
define UNIT_PROGRAM
$(B)/tests/unit-$(1): $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/unit/$(1)/*.c) $(TEST_SUPPORT)) $(call archives,$(call upto,$(1)))
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) -o $$@ $$(filter %.o %.a,$$^) $$(ALL_LDFLAGS) $$(call libraries,$(call upto,$(1))) -lcriterion -ljansson
.PHONY: unit-$(1)
unit-$(1): $(B)/tests/unit-$(1)
	$$(call say,TEST,$$<)
	$$(Q)$(SAN_ENV) $$< -j2 --quiet 2>&1 || { echo "FAILED: rerun with $(SAN_ENV) $$< --verbose"; exit 1; }
endef
$(foreach m,$(notdir $(wildcard tests/unit/*)),$(eval $(call UNIT_PROGRAM,$(m))))

$(B)/obj/tests/%.o: tests/%.c $(B)/flags | deps-check $(if $(wildcard proto/tally/v1/*.proto),$(GEN_O))
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests -Itools -c -o $@ $<

unit: $(foreach m,$(MODULE),unit-$(m))

# --- Packages --------------------------------------------------------------------------------------------------------
PACKAGES := gcc make clang pkg-config librocksdb-dev libsodium-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler \
            libcriterion-dev libgrpc-dev libssl-dev libcyaml-dev libsqlite3-dev libjansson-dev grpc-proto

.PHONY: deps-check
deps-check:

-include $(shell find build -name '*.d' 2>/dev/null)
