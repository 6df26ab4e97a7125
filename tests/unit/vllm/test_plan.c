/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded clusters (tests/data/doctor) and what vLLM's commands and environments are on them:
 * tests/data/vllm/NAME.txt. TW_REGEN=1 writes them anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "host/check_record.h"
#include "os/file.h"
#include "vllm/plan.h"

enum { TEXT_MAX = 4 << 20, CUT_NODES = 2 };

typedef void (*change_fn)(tw_facts **facts);

typedef struct plan_case {
    const char *name, *record;
    enum tw_vllm_transport transport;
    enum tw_vllm_executor executor;
    enum tw_vllm_where where;
    change_fn change;   /* of the facts; NULL: as recorded */
    const char *device; /* by config, of all nodes; NULL: found */
} plan_case;

/* The first interface that has an RDMA device; every record that is changed has one. */
static tw_net_if *rdma_if(tw_facts *f)
{
    size_t i = 0;
    while (i + 1 < f->net.n_ifs && f->net.ifs[i].rdma[0] == '\0')
        i++;
    assert_true(f->net.ifs[i].rdma[0] != '\0');
    return &f->net.ifs[i];
}

/* Node 2's card sits in another slot, and its kernel called the device otherwise. */
static void rename_card(tw_facts **facts)
{
    tw_net_if *i = rdma_if(facts[1]);
    for (size_t k = 0; k < facts[1]->n_nics; k++)
        if (strcmp(facts[1]->nics[k].name, i->name) == 0)
            strcpy(facts[1]->nics[k].name, "ens1np1");
    strcpy(i->name, "ens1np1");
    strcpy(i->rdma, "rocep1s0f1");
}

/* A second port that is up, on an interface that has no cluster address. */
static void second_port(tw_facts **facts)
{
    for (size_t n = 0; n < CUT_NODES; n++) {
        tw_net *net = &facts[n]->net;
        tw_net_if *more = &net->ifs[net->n_ifs];
        assert_true(net->n_ifs < TW_NET_IFS_MAX);
        *more = *rdma_if(facts[n]);
        net->n_ifs++;
        more->n_addrs = 0;
        strcpy(more->name, more->kind == TW_NET_INFINIBAND ? "ibp195s0" : "enp194s0np1");
        strcpy(more->rdma, more->kind == TW_NET_INFINIBAND ? "mlx4_1" : "irdma1");
    }
}

/* Sockets by Ethernet, both InfiniBand ports without an address. */
static void second_port_apart(tw_facts **facts)
{
    second_port(facts);
    for (size_t n = 0; n < CUT_NODES; n++) {
        tw_net *net = &facts[n]->net;
        for (size_t i = 0; i < net->n_ifs; i++)
            if (net->ifs[i].rdma[0] != '\0') {
                strcpy(net->ifs[i].state, "ACTIVE");
                if (net->ifs[i].n_addrs > 0) {
                    net->ifs[0].addrs[0] = net->ifs[i].addrs[0];
                    net->ifs[0].n_addrs = 1;
                    net->ifs[i].n_addrs = 0;
                }
            }
    }
}

static void all_active(tw_facts **facts)
{
    for (size_t n = 0; n < CUT_NODES; n++)
        strcpy(rdma_if(facts[n])->state, "ACTIVE");
}

static const plan_case cases[] = {
    {"roce-ray", "strix128-e810-good", TW_VLLM_ROCE, TW_VLLM_RAY, TW_VLLM_IN_CONTAINER, NULL, NULL},
    {"roce-mp", "strix128-e810-good", TW_VLLM_ROCE, TW_VLLM_MP, TW_VLLM_IN_CONTAINER, NULL, NULL},
    {"auto-ray", "strix128-e810-good", TW_VLLM_AUTO, TW_VLLM_RAY, TW_VLLM_ON_PATH, NULL, NULL},
    {"ethernet-ray", "strix128-e810-good", TW_VLLM_ETHERNET, TW_VLLM_RAY, TW_VLLM_IN_VENV, NULL,
     NULL},
    {"ethernet-mp", "strix128-e810-good", TW_VLLM_ETHERNET, TW_VLLM_MP, TW_VLLM_ON_PATH, NULL,
     NULL},
    {"thunderbolt-ray", "thunderbolt-two-cables", TW_VLLM_THUNDERBOLT, TW_VLLM_RAY, TW_VLLM_ON_PATH,
     NULL, NULL},
    {"thunderbolt-mp", "thunderbolt-two-cables", TW_VLLM_AUTO, TW_VLLM_MP, TW_VLLM_IN_CONTAINER,
     NULL, NULL},
    {"infiniband-ray", "connectx3-infiniband", TW_VLLM_INFINIBAND, TW_VLLM_RAY, TW_VLLM_ON_PATH,
     all_active, NULL},
    {"infiniband-mp", "connectx3-infiniband", TW_VLLM_AUTO, TW_VLLM_MP, TW_VLLM_ON_PATH, all_active,
     NULL},
    {"infiniband-down", "connectx3-infiniband", TW_VLLM_INFINIBAND, TW_VLLM_RAY, TW_VLLM_ON_PATH,
     NULL, NULL},
    {"mlx5-ray", "connectx4-ubuntu", TW_VLLM_AUTO, TW_VLLM_RAY, TW_VLLM_ON_PATH, NULL, NULL},
    {"other-names", "strix128-e810-good", TW_VLLM_ROCE, TW_VLLM_RAY, TW_VLLM_ON_PATH, rename_card,
     NULL},
    {"two-ports", "strix128-e810-good", TW_VLLM_ROCE, TW_VLLM_RAY, TW_VLLM_ON_PATH, second_port,
     NULL},
    {"two-ports-apart", "connectx3-infiniband", TW_VLLM_INFINIBAND, TW_VLLM_RAY, TW_VLLM_ON_PATH,
     second_port_apart, NULL},
    {"two-ports-named", "connectx3-infiniband", TW_VLLM_INFINIBAND, TW_VLLM_RAY, TW_VLLM_ON_PATH,
     second_port_apart, "mlx4_1:1"},
    {"no-gid", "wrong-gid", TW_VLLM_ROCE, TW_VLLM_RAY, TW_VLLM_ON_PATH, NULL, NULL},
    {"no-gid-auto", "wrong-gid", TW_VLLM_AUTO, TW_VLLM_RAY, TW_VLLM_ON_PATH, NULL, NULL},
    {"iwarp", "strix128-e810-fresh", TW_VLLM_ROCE, TW_VLLM_RAY, TW_VLLM_ON_PATH, NULL, NULL},
    {"not-thunderbolt", "strix128-e810-good", TW_VLLM_THUNDERBOLT, TW_VLLM_RAY, TW_VLLM_ON_PATH,
     NULL, NULL},
};

static void load(const plan_case *c, tw_check_record *ret)
{
    char path[600];
    tw_err err = {0};
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX);
    snprintf(path, sizeof path, "%s/doctor/%s.json", getenv("TW_TEST_DATA"), c->record);
    if (tw_file_read(path, &text, &err) != 0 ||
        tw_check_record_parse(c->record, text.data, text.len, ret, &err) != 0)
        fail_msg("%s", err.msg);
    if (c->change != NULL)
        c->change(ret->facts);
}

static const tw_vllm_place places[] = {
    [TW_VLLM_ON_PATH] = {.where = TW_VLLM_ON_PATH},
    [TW_VLLM_IN_VENV] = {.where = TW_VLLM_IN_VENV, .name = "/srv/vllm env"},
    [TW_VLLM_IN_CONTAINER] = {.where = TW_VLLM_IN_CONTAINER,
                              .name = "vllm-therock-gfx1151",
                              .home = "/run/twinax/twinax-node",
                              .as_user = true},
};

static void plan_into(const plan_case *c, const tw_check_record *r, tw_buf *out)
{
    static const char *const extra[] = {"--kv-cache-dtype", "fp8", NULL};
    tw_err err = {0};
    json_t *v = NULL;
    tw_vllm_ask ask = {.n_nodes = CUT_NODES,
                       .transport = c->transport,
                       .place = &places[c->where],
                       .serve = {.model = "google/gemma-2-27b-it",
                                 .served_name = "google/gemma-2-27b-it",
                                 .host = "127.0.0.1",
                                 .port = 8000,
                                 .tp = 2,
                                 .ctx = c->where == TW_VLLM_IN_VENV ? 16384 : 0,
                                 .extra = c->where == TW_VLLM_IN_VENV ? extra : NULL,
                                 .executor = c->executor}};
    for (size_t i = 0; i < CUT_NODES; i++)
        ask.nodes[i] = (tw_vllm_node){.name = r->world.nodes[i].name,
                                      .ip = r->world.nodes[i].ip,
                                      .device = c->device,
                                      .facts = r->facts[i]};
    if (tw_vllm_plan(&ask, &v, &err) != 0) {
        assert_int_equal(tw_buf_printf(out, "error: %s\n", err.msg), 0);
        return;
    }
    assert_int_equal(tw_vllm_plan_text(v, out, &err), 0);
    json_decref(v);
}

static void check_case(const plan_case *c)
{
    char path[600];
    tw_err err = {0};
    tw_check_record r;
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX), want = TW_BUF(TEXT_MAX);
    load(c, &r);
    plan_into(c, &r, &text);
    tw_check_record_done(&r);
    snprintf(path, sizeof path, "%s/vllm/%s.txt", getenv("TW_TEST_DATA"), c->name);
    if (getenv("TW_REGEN") != NULL)
        assert_int_equal(tw_file_write(path, text.data, text.len, &err), 0);
    if (tw_file_read(path, &want, &err) != 0)
        fail_msg("%s", err.msg);
    if (strcmp(text.data, want.data) != 0)
        fail_msg("%s: another plan than %s:\n%s", c->name, path, text.data);
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(cases); i++)
        check_case(&cases[i]);
}

/* A draft model's settings may be a long JSON: cut, vLLM would refuse them. */
static void test_long_words_are_whole(void **state)
{
    char text[2000];
    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    const tw_vllm_serve s = {.model = "m",
                             .served_name = text,
                             .host = "127.0.0.1",
                             .tp = 1,
                             .attention = text,
                             .speculative = text};
    json_t *words = tw_vllm_serve_words(&s), *word;
    size_t i, n_whole = 0;
    json_array_foreach(words, i, word) n_whole += strcmp(json_string_value(word), text) == 0;
    assert_int_equal(n_whole, 3);
    json_decref(words);
}

static void test_transport_names(void **state)
{
    (void)state;
    for (enum tw_vllm_transport t = TW_VLLM_AUTO; t < TW_VLLM_TRANSPORTS; t++) {
        enum tw_vllm_transport back = TW_VLLM_TRANSPORTS;
        assert_true(tw_vllm_transport_parse(tw_vllm_transport_name(t), &back));
        assert_int_equal(back, t);
    }
    enum tw_vllm_transport untouched = TW_VLLM_ROCE;
    assert_false(tw_vllm_transport_parse("smoke", &untouched));
    assert_int_equal(untouched, TW_VLLM_ROCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden),
                                       cmocka_unit_test(test_long_words_are_whole),
                                       cmocka_unit_test(test_transport_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
