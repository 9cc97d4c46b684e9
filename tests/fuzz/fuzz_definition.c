/* Definitions of contexts: what is read, built and written again is the payload that was read. */
#include "base/mem.h"
#include "domain/definition.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct definition definition;
    if (definition_parse(bytes_of(data, size), &definition, NULL) != 0)
        return 0;
    struct context *context = definition_build(BYTES_LITERAL("bank"), &definition);
    if (context == NULL)
        abort();
    const struct definition_source source = {.version = definition.version,
                                             .context = context,
                                             .basis = &definition.basis,
                                             .actor = definition.actor,
                                             .reason = definition.reason};
    struct buf again;
    buf_init(&again, 2 * DEFINITION_PAYLOAD_MAX_BYTES);
    FUZZ_CHECK(definition_encode(&source, &again, NULL) == 0);
    FUZZ_CHECK(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
    buf_free(&again);
    mem_free(context);
    return 0;
}
