#include <criterion/criterion.h>

#include "rpc/descriptors.h"
#include "rpc/reflection.h"

static struct reflection table;

static void load(void)
{
    struct err err = {0};
    cr_assert_eq(reflection_init(&table, bytes_of(descriptors_data, descriptors_size_bytes), &err), 0, "%s",
                 err.message);
}

static void expect_symbol(const char *symbol, const char *file_name)
{
    const struct reflection_file *file = reflection_find_symbol(&table, bytes_of_string(symbol));
    if (file_name == NULL) {
        cr_expect_null(file, "%s", symbol);
        return;
    }
    cr_assert_not_null(file, "%s", symbol);
    cr_expect(bytes_equal(file->name, bytes_of_string(file_name)), "%s", symbol);
}

TestSuite(reflection, .init = load);

Test(reflection, lists_every_service)
{
    static const char *const services[] = {"tally.v1.Ledger",
                                           "tally.v1.Operations",
                                           "tally.v1.Replication",
                                           "grpc.health.v1.Health",
                                           "grpc.reflection.v1.ServerReflection",
                                           "grpc.reflection.v1alpha.ServerReflection"};
    cr_expect_eq(table.service_count, sizeof(services) / sizeof(services[0]));
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        bool found = false;
        for (size_t j = 0; j < table.service_count; j++)
            found = found || strcmp(table.services[j], services[i]) == 0;
        cr_expect(found, "%s", services[i]);
    }
}

Test(reflection, finds_files_by_name)
{
    cr_expect_not_null(reflection_find_file(&table, BYTES_LITERAL("tally/v1/ledger.proto")));
    cr_expect_null(reflection_find_file(&table, BYTES_LITERAL("tally/v1/ledger")));
    cr_expect_null(reflection_find_file(&table, (struct bytes){0}));
}

Test(reflection, finds_symbols_of_every_kind)
{
    expect_symbol("tally.v1.Ledger", "tally/v1/ledger.proto");
    expect_symbol("tally.v1.Ledger.Append", "tally/v1/ledger.proto");
    expect_symbol("tally.v1.Entry", "tally/v1/event.proto");
    expect_symbol("tally.v1.Entry.event_id", "tally/v1/event.proto");
    expect_symbol("tally.v1.ContextStatus.HomesEntry.key", "tally/v1/ledger.proto");
    expect_symbol("grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto");
    expect_symbol("grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto");
    expect_symbol("grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto");
}

Test(reflection, does_not_find_what_is_not_declared)
{
    expect_symbol("", NULL);
    expect_symbol("tally.v1", NULL);
    expect_symbol("tally.v1.", NULL);
    expect_symbol("tally.v1.Ledge", NULL);
    expect_symbol("tally.v1.Ledger.", NULL);
    expect_symbol("tally.v1.Ledger.Append.more", NULL);
    expect_symbol("tally.v2.Ledger", NULL);
    expect_symbol("Ledger", NULL);
}

Test(reflection, a_file_comes_with_its_imports_each_once)
{
    const struct reflection_file *files[REFLECTION_FILES_MAX];
    const struct reflection_file *ledger = reflection_find_file(&table, BYTES_LITERAL("tally/v1/ledger.proto"));
    cr_assert_eq(reflection_closure(&table, ledger, files), 2);
    cr_expect_eq(files[0], ledger);
    cr_expect(bytes_equal(files[1]->name, BYTES_LITERAL("tally/v1/event.proto")));
}

Test(reflection, refuses_a_set_that_is_cut_off)
{
    static struct reflection broken;
    cr_expect_eq(reflection_init(&broken, bytes_of(descriptors_data, descriptors_size_bytes - 1), NULL), ERR_CORRUPT);
}
