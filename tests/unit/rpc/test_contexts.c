/* Contexts through the service: what is shown, and what a request may say. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "support.h"
#include "tally/v1/operations.pb-c.h"

static struct stage stage;
static struct buf answer;
static struct outside outside;
static Tally__V1__ContextPolicy policy;
static Tally__V1__DefineContextRequest request;

/* protobuf-c's strings are never const. */
static char *text(const char *from)
{
    return (char *)(uintptr_t)from;
}

static void start(void)
{
    stage_init(&stage);
    buf_init(&answer, 8 * 1024 * 1024);
    tally__v1__context_policy__init(&policy);
    policy.name = text("shop");
    policy.default_home = text("eu");
    tally__v1__define_context_request__init(&request);
    request.policy = &policy;
}

static void end(void)
{
    buf_free(&answer);
    stage_free(&stage);
}

TestSuite(rpc_contexts, .init = start, .fini = end);

static grpc_status_code ask(const char *method, const ProtobufCMessage *message)
{
    char path[64];
    snprintf(path, sizeof(path), "/tally.v1.Operations/%s", method);
    buf_clear(&answer);
    return outside_unary(&outside, stage.port, path, message, &answer);
}

static void *answered(const char *method, const ProtobufCMessage *message, const ProtobufCMessageDescriptor *type)
{
    cr_assert_eq(ask(method, message), GRPC_STATUS_OK, "%s", outside.message);
    outside_close(&outside);
    void *found = protobuf_c_message_unpack(type, NULL, answer.size_bytes, answer.data);
    cr_assert_not_null(found);
    return found;
}

static void expect_refused(grpc_status_code status, const char *word)
{
    size_t submitted = stage.submitted;
    cr_expect_eq(ask("DefineContext", &request.base), status, "%s", outside.message);
    cr_expect_not_null(strstr(outside.message, word), "\"%s\" is not in \"%s\"", word, outside.message);
    cr_expect_eq(stage.submitted, submitted, "the region is not asked");
    outside_close(&outside);
}

Test(rpc_contexts, those_of_the_configuration_are_listed_and_shown)
{
    Tally__V1__ListContextsRequest list;
    tally__v1__list_contexts_request__init(&list);
    Tally__V1__ListContextsResponse *all =
        answered("ListContexts", &list.base, &tally__v1__list_contexts_response__descriptor);
    cr_assert_eq(all->n_contexts, 1);
    cr_assert_str_eq(all->contexts[0]->policy->name, "bank");
    cr_assert_str_eq(all->contexts[0]->policy->topology, "home-affinity");
    cr_assert_eq(all->contexts[0]->version, 1);
    cr_assert_null(all->contexts[0]->defined);
    cr_assert_eq(all->contexts[0]->policy->n_homes, 0, "a list leaves them out");
    tally__v1__list_contexts_response__free_unpacked(all, NULL);
    Tally__V1__ShowContextRequest show;
    tally__v1__show_context_request__init(&show);
    show.name = text("bank");
    Tally__V1__ContextVersion *one = answered("ShowContext", &show.base, &tally__v1__context_version__descriptor);
    cr_assert_eq(one->policy->n_homes, 1);
    cr_assert_str_eq(one->policy->homes[0]->partition, "us");
    cr_assert_str_eq(one->policy->recovery_then, "warn");
    tally__v1__context_version__free_unpacked(one, NULL);
}

Test(rpc_contexts, one_that_is_not_there_is_not_found)
{
    Tally__V1__ShowContextRequest show;
    tally__v1__show_context_request__init(&show);
    show.name = text("shop");
    cr_expect_eq(ask("ShowContext", &show.base), GRPC_STATUS_NOT_FOUND);
    cr_expect_not_null(strstr(outside.message, "tally context list"));
    outside_close(&outside);
}

Test(rpc_contexts, a_definition_is_handed_to_the_region)
{
    request.expected_version = 4;
    Tally__V1__DefineContextResponse *made =
        answered("DefineContext", &request.base, &tally__v1__define_context_response__descriptor);
    cr_assert_eq(made->version, 5);
    cr_assert_eq(stage.submitted, 1);
    tally__v1__define_context_response__free_unpacked(made, NULL);
}

Test(rpc_contexts, a_refusal_comes_with_its_detail)
{
    stage.refuse_with = ERR_VERSION_CONFLICT;
    cr_expect_eq(ask("DefineContext", &request.base), GRPC_STATUS_ABORTED);
    cr_assert_not_null(outside.detail);
    cr_expect_str_eq(outside.detail->actual, "4");
    outside_close(&outside);
}

Test(rpc_contexts, what_makes_no_sense_is_refused_before_the_region_is_asked)
{
    Tally__V1__EventTypeRule rule;
    Tally__V1__EventTypeRule *rules[] = {&rule};
    request.policy = NULL;
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "say what the context shall be");
    request.policy = &policy;
    policy.topology = text("round");
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "none of home-affinity");
    policy.topology = text("");
    policy.isolation = text("hide");
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "neither accept nor fence");
    policy.isolation = text("");
    policy.failover = text("magic");
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "none of manual");
    policy.failover = text("");
    policy.when_away = text("hope");
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "neither refuse nor degrade");
    policy.when_away = text("");
    policy.recovery_then = text("panic");
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "none of warn");
    policy.recovery_then = text("");
    tally__v1__event_type_rule__init(&rule);
    rule.type = text("Paid");
    rule.settle = text("ignore");
    policy.event_types = rules;
    policy.n_event_types = 1;
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "none of accept");
    rule.settle = text("accept");
    rule.commutative = true;
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "not multi-home");
    policy.n_event_types = 0;
    policy.lease_ms = 9;
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "only with isolation: fence");
    policy.lease_ms = 0;
    policy.default_home = text("");
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "must name a region");
    policy.default_home = text("eu");
    request.actor = text("a\nb");
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "actor");
}

Test(rpc_contexts, too_many_homes_are_refused)
{
    static Tally__V1__PartitionHome homes[CONTEXT_HOMES_MAX + 1];
    static Tally__V1__PartitionHome *pointers[CONTEXT_HOMES_MAX + 1];
    static char names[CONTEXT_HOMES_MAX + 1][16];
    for (size_t i = 0; i <= CONTEXT_HOMES_MAX; i++) {
        tally__v1__partition_home__init(&homes[i]);
        snprintf(names[i], sizeof(names[i]), "p%zu", i);
        homes[i].partition = names[i];
        homes[i].region = text("us");
        pointers[i] = &homes[i];
    }
    policy.homes = pointers;
    policy.n_homes = CONTEXT_HOMES_MAX + 1;
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "limit is 4096");
    names[1][1] = '0';
    policy.n_homes = 2;
    expect_refused(GRPC_STATUS_INVALID_ARGUMENT, "two homes");
}
