# What the server says about itself: messages of the standard health and reflection services, and protoc's own descriptor
# bytes of all services, as a C array.
GRPC_PROTO_FOLDER := /usr/share/grpc-proto
GRPC_PROTOS := grpc/health/v1/health.proto grpc/reflection/v1/reflection.proto
REFLECTED_PROTOS := $(patsubst proto/%,%,$(PROTOS)) $(GRPC_PROTOS) grpc/reflection/v1alpha/reflection.proto

GRPC_GEN_C := $(patsubst %.proto,$(B)/gen/%.pb-c.c,$(GRPC_PROTOS))
GEN_O += $(GRPC_GEN_C:.c=.o)
EXTRA_OBJECTS_rpc += $(GRPC_GEN_C:.c=.o) $(B)/gen/rpc/descriptors.o
.SECONDARY: $(GRPC_GEN_C)

$(GRPC_GEN_C): $(B)/gen/%.pb-c.c: $(GRPC_PROTO_FOLDER)/%.proto | deps-check
	@mkdir -p $(@D)
	$(call say,PROTO,$<)
	$(Q)protoc-c --proto_path=$(GRPC_PROTO_FOLDER) --c_out=$(B)/gen $<

$(B)/gen/rpc/descriptors.bin: $(PROTOS) src/rpc/rules.mk | deps-check
	@mkdir -p $(@D)
	$(call say,PROTO,$@)
	$(Q)protoc --proto_path=proto --proto_path=$(GRPC_PROTO_FOLDER) --include_imports --descriptor_set_out=$@ $(REFLECTED_PROTOS)

$(B)/gen/rpc/descriptors.c: $(B)/gen/rpc/descriptors.bin
	$(Q){ echo '#include "rpc/descriptors.h"'; \
	echo 'const unsigned char descriptors_data[] = {'; \
	od -An -v -tx1 $< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; \
	echo '};'; \
	echo 'const size_t descriptors_size_bytes = sizeof(descriptors_data);'; } > $@

$(B)/gen/rpc/descriptors.o: $(B)/gen/rpc/descriptors.c src/rpc/descriptors.h $(B)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<
