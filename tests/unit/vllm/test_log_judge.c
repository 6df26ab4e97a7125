/* SPDX-License-Identifier: Apache-2.0 */
/* Logs (tests/data/vllm/logs; the first line of each says where it is from) and what they are taken for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "os/file.h"
#include "vllm/log_judge.h"

enum { TEXT_MAX = 1 << 20 };

static const struct log_case {
    const char *name;
    enum tw_vllm_phase phase;
    uint32_t n_done, n_all;
    enum tw_vllm_wire wire;
    const char *device, *what; /* NULL: no trouble */
    bool fatal;
} cases[] = {
    {"ray-served", TW_VLLM_SERVING, 0, 0, TW_VLLM_WIRE_GLOO, "tcp://192.168.100.1:36403", NULL,
     false},
    {"rccl-ib", TW_VLLM_LOADING, 4, 12, TW_VLLM_WIRE_IB, "irdma0:1/RoCE", NULL, false},
    {"rccl-silent-socket", TW_VLLM_SERVING, 0, 0, TW_VLLM_WIRE_SOCKET, "enp194s0np0:192.168.100.1",
     "RCCL sees no RDMA device", false},
    {"rccl-gid", TW_VLLM_STARTING, 0, 0, TW_VLLM_WIRE_IB, "irdma0:1/RoCE", "one node has no GID",
     true},
    {"rccl-retry", TW_VLLM_JOINING, 0, 0, TW_VLLM_WIRE_IB, "irdma0:1/RoCE", "packets to the peer",
     true},
    {"rccl-no-gfx1151", TW_VLLM_STARTING, 0, 0, TW_VLLM_WIRE_UNKNOWN, "", "no code for the GPU",
     true},
    {"custom-librccl", TW_VLLM_STARTING, 0, 0, TW_VLLM_WIRE_UNKNOWN, "", "librccl of another",
     true},
    {"graph-deadlock", TW_VLLM_CAPTURING, 1, 35, TW_VLLM_WIRE_IB, "irdma0:1/RoCE",
     "not answered for a minute", false},
    {"watchdog", TW_VLLM_JOINING, 0, 0, TW_VLLM_WIRE_IB, "irdma0:1/RoCE", "never ended", true},
    {"gloo-unreachable", TW_VLLM_STARTING, 0, 0, TW_VLLM_WIRE_UNKNOWN, "", "Gloo cannot reach",
     true},
    {"ray-versions", TW_VLLM_STARTING, 0, 0, TW_VLLM_WIRE_UNKNOWN, "", "other versions", true},
    {"out-of-memory", TW_VLLM_JOINING, 0, 0, TW_VLLM_WIRE_IB, "irdma0:1/RoCE",
     "memory is too small", true},
    {"kv-too-small", TW_VLLM_STARTING, 0, 0, TW_VLLM_WIRE_UNKNOWN, "", "does not fit into the KV",
     true},
    {"gated-model", TW_VLLM_STARTING, 0, 0, TW_VLLM_WIRE_UNKNOWN, "", "gated", true},
    {"ray-memory", TW_VLLM_STARTING, 0, 0, TW_VLLM_WIRE_UNKNOWN, "", "memory ran low", true},
    {"port-taken", TW_VLLM_STARTING, 0, 0, TW_VLLM_WIRE_UNKNOWN, "", "another program's", true},
};

static void take_file(const char *name, tw_vllm_log *l)
{
    char path[600];
    tw_err err = {0};
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX);
    snprintf(path, sizeof path, "%s/vllm/logs/%s.log", getenv("TW_TEST_DATA"), name);
    if (tw_file_read(path, &text, &err) != 0)
        fail_msg("%s", err.msg);
    assert_true(strncmp(text.data, "# recorded: ", 12) == 0 ||
                strncmp(text.data, "# synthetic: ", 13) == 0);
    for (const char *p = strchr(text.data, '\n') + 1; *p != '\0';) {
        const size_t n = strcspn(p, "\n");
        tw_vllm_log_take(l, p, n);
        p += n + (p[n] == '\n');
    }
}

static void check_case(const struct log_case *c)
{
    tw_vllm_log l = {0};
    take_file(c->name, &l);
    if (l.phase != c->phase || l.wire != c->wire || strcmp(l.device, c->device) != 0 ||
        l.n_done != c->n_done || l.n_all != c->n_all)
        fail_msg("%s: phase %s %u/%u, wire %d, device '%s'", c->name, tw_vllm_phase_name(l.phase),
                 l.n_done, l.n_all, (int)l.wire, l.device);
    if ((l.trouble == NULL) != (c->what == NULL))
        fail_msg("%s: %s: %s", c->name, l.trouble != NULL ? l.trouble->what : "no trouble",
                 l.trouble_line);
    if (c->what != NULL &&
        (strstr(l.trouble->what, c->what) == NULL || l.trouble->fatal != c->fatal))
        fail_msg("%s: %s", c->name, l.trouble->what);
}

static void test_logs(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(cases); i++)
        check_case(&cases[i]);
}

/* Each process has its NCCL: one that has sockets alone is named, whatever the others took. */
static void test_one_of_two_fell_back(void **state)
{
    static const char *const lines[] = {
        "box1:42:43 [0] NCCL INFO NET/IB : Using [0]irdma0:1/RoCE [RO]; OOB e0:10.0.0.1<0>",
        "(RayWorkerProc pid=7, ip=10.0.0.2) box2:7:8 [0] NCCL INFO NET/IB : No device found.",
        "(RayWorkerProc pid=7, ip=10.2) box2:7:8 [0] NCCL INFO NET/Socket : Using [0]e0:10.2<0>",
    };
    tw_vllm_log l = {0};
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(lines); i++)
        tw_vllm_log_take(&l, lines[i], strlen(lines[i]));
    assert_int_equal(l.wire, TW_VLLM_WIRE_IB);
    assert_string_equal(l.device, "irdma0:1/RoCE");
    assert_string_equal(l.socket_of, "box2:7: e0:10.2");
    /* Sockets first: its bootstrap. */
    static const char *const own[] = {
        "box1:42:43 [0] NCCL INFO NET/Socket : Using [0]e0:10.0.0.1<0>",
        "box1:42:44 [1] NCCL INFO NET/IB : Using [0]irdma0:1/RoCE [RO]"};
    l = (tw_vllm_log){0};
    for (size_t i = 0; i < TW_ARRAY_LEN(own); i++)
        tw_vllm_log_take(&l, own[i], strlen(own[i]));
    assert_string_equal(l.socket_of, "");
    assert_string_equal(l.device, "irdma0:1/RoCE");
}

/* A later log may name an earlier step: "loading" while the API already answers. */
static void test_phases_go_forward(void **state)
{
    static const char serving[] = "INFO:     Application startup complete.";
    static const char loading[] = "Loading safetensors checkpoint shards: 100% Completed | 1/1";
    tw_vllm_log l = {0};
    (void)state;
    tw_vllm_log_take(&l, serving, sizeof serving - 1);
    tw_vllm_log_take(&l, loading, sizeof loading - 1);
    assert_int_equal(l.phase, TW_VLLM_SERVING);
    assert_int_equal(l.n_all, 0);
}

/* What is fatal stands above what is not, whichever came first; the first of a kind stays. */
static void test_the_worst_counts(void **state)
{
    static const char mild[] = "NET/IB : No device found.", bad[] = "HIP out of memory",
                      worse[] = "GatedRepoError";
    tw_vllm_log l = {0};
    (void)state;
    tw_vllm_log_take(&l, mild, sizeof mild - 1);
    tw_vllm_log_take(&l, bad, sizeof bad - 1);
    tw_vllm_log_take(&l, worse, sizeof worse - 1);
    assert_non_null(strstr(l.trouble->what, "memory"));
    assert_string_equal(l.trouble_line, bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_logs),
                                       cmocka_unit_test(test_one_of_two_fell_back),
                                       cmocka_unit_test(test_phases_go_forward),
                                       cmocka_unit_test(test_the_worst_counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
