/* SPDX-License-Identifier: Apache-2.0 */
/* Proof of transport (P3), three witnesses: the plan, the log of NCCL or Gloo, and what the wire of each
 * node has counted around a first, tiny answer. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "cmd/ask_answer.h"
#include "cmd/out.h"
#include "cmd/vllm_run.h"
#include "os/file.h"
#include "os/signal.h"

enum { ANSWER_TOK = 8, CONFIG_MAX = 1 << 20, LOOK_MS = 100 };
#define ANSWER_LIMIT_NS (300 * TW_NS_PER_S)
/* Some cards bring their counters up to date every few seconds only. */
#define COUNT_LIMIT_NS (8 * TW_NS_PER_S)

static const json_t *node_of(const tw_vllm_run *r, size_t i)
{
    return json_array_get(json_object_get(r->plan, "nodes"), i);
}

static enum tw_vllm_transport planned(const tw_vllm_run *r)
{
    enum tw_vllm_transport t = TW_VLLM_ETHERNET;
    (void)tw_vllm_transport_parse(tw_json_text_at(node_of(r, 0), "transport"), &t);
    return t;
}

/* What the counters are of: "irdma0:1", "roce0". */
static const char *wire_of(const tw_vllm_run *r, size_t i)
{
    const char *hca = tw_json_text_at(node_of(r, i), "hca");
    return hca[0] != '\0' ? hca : tw_json_text_at(node_of(r, i), "interface");
}

/* False: node i has said nothing since. */
static bool count_since(tw_vllm_run *r, size_t i, uint64_t since_ns, tw_vllm_count *ret)
{
    char text[1024];
    uint64_t age_ns = 0;
    json_error_t je;
    const json_t *node = node_of(r, i);
    *ret = (tw_vllm_count){.known = false};
    if (i == 0) {
        tw_vllm_count_read(NULL, tw_json_text_at(node, "interface"), tw_json_text_at(node, "hca"),
                           ret);
        return true;
    }
    if (r->far == NULL) /* a Ray that was up: its nodes report to another one */
        return true;
    if (!tw_far_report(r->far, (unsigned)i, text, sizeof text, &age_ns) ||
        tw_clock_now_ns() - age_ns < since_ns)
        return false;
    TW_CLEANUP(tw_json_freep) json_t *v = json_loads(text, 0, &je);
    tw_vllm_count_parse(json_object_get(v, "wire"), ret);
    return true;
}

void tw_vllm_run_wires(tw_vllm_run *r, tw_vllm_count *ret)
{
    for (size_t i = 0; i < r->n_nodes; i++)
        (void)count_since(r, i, 0, &ret[i]);
}

void tw_vllm_run_wires_first(tw_vllm_run *r)
{
    for (size_t i = 0; i < r->n_nodes; i++)
        if (!r->count_before[i].known)
            (void)count_since(r, i, 0, &r->count_before[i]);
}

static bool goes_on(void *ctx)
{
    tw_vllm_run *r = ctx;
    tw_err ignored;
    return tw_vllm_run_check(r, &ignored) == 0;
}

/* All nodes, of a moment after since_ns; what does not come in time stays unknown. */
static int count_all(tw_vllm_run *r, uint64_t since_ns, tw_vllm_count *ret, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + COUNT_LIMIT_NS;
    for (size_t i = 0; i < r->n_nodes; i++)
        while (!count_since(r, i, since_ns, &ret[i]) && tw_clock_now_ns() < until) {
            const int rc = tw_vllm_run_check(r, err);
            if (rc != 0)
                return rc;
            (void)tw_vllm_news_wait(&r->news, LOOK_MS * TW_NS_PER_MS);
        }
    return 0;
}

/* ---- the log ---- */

static int check_log(tw_vllm_run *r, size_t i, tw_err *err)
{
    const tw_vllm_log l = tw_vllm_news_log(&r->news, i);
    if (l.wire == TW_VLLM_WIRE_UNKNOWN)
        return 0;
    tw_log(TW_LOG_INFO, "vllm", "transport by the log of %s: %s %s", tw_vllm_run_node(r, i),
           tw_vllm_wire_name(l.wire), l.device);
    if (!tw_vllm_transport_is_rdma(planned(r)) || l.socket_of[0] == '\0')
        return 0;
    return tw_err_set(err, -ENODEV,
                      "%s was wanted, NCCL took sockets (%s): slow without a word; twinax doctor "
                      "and twinax toolbox refresh name the cause, --wire ethernet accepts it",
                      tw_vllm_transport_name(planned(r)), l.socket_of);
}

static bool log_says_rdma(tw_vllm_run *r)
{
    bool said = false;
    for (size_t i = 0; i < r->n_nodes; i++)
        said = said || tw_vllm_news_log(&r->news, i).wire == TW_VLLM_WIRE_IB;
    return said;
}

/* ---- the first answer ---- */

/* What the ranks must have sent each other for it; other ways to split a model send less. */
static uint64_t least_bytes(const tw_vllm_run *r, uint32_t n_tok)
{
    char path[TW_VLLM_PATH_BYTES + 16];
    tw_err ignored;
    TW_CLEANUP(tw_buf_done) tw_buf config = TW_BUF(CONFIG_MAX);
    const char *extra = r->args->vllm.extra;
    snprintf(path, sizeof path, "%s/config.json", r->models[0]);
    if ((extra != NULL && strstr(extra, "parallel") != NULL) ||
        tw_file_read(path, &config, &ignored) != 0)
        return 1;
    return tw_vllm_count_least(config.data, config.len, n_tok);
}

static int answer(tw_vllm_run *r, uint32_t *ret_n_tok, tw_err *err)
{
    const uint64_t began_ns = tw_clock_now_ns();
    const tw_ask_answer_opts o = {.host = r->args->host,
                                  .port = r->args->port,
                                  .key = r->args->api_key,
                                  .model = r->served_name,
                                  .n_tok = ANSWER_TOK,
                                  .until_ns = began_ns + ANSWER_LIMIT_NS,
                                  .goes_on = goes_on,
                                  .ctx = r};
    tw_err why = {0};
    *ret_n_tok = 0;
    int rc = tw_ask_answer(&o, ret_n_tok, &why);
    if (rc == 0) {
        r->answer_ns = tw_clock_now_ns() - began_ns;
        tw_log(TW_LOG_INFO, "vllm", "first answer: %u tokens in %.2f s", *ret_n_tok,
               (double)r->answer_ns / 1e9);
        return 0;
    }
    if (rc == -EOPNOTSUPP) { /* it embeds, or ranks */
        tw_log(TW_LOG_INFO, "vllm", "no first answer: %s", why.msg);
        return 0;
    }
    if (rc == -ECANCELED && tw_vllm_run_check(r, err) != 0)
        return err->code;
    return tw_err_set(err, rc, "%s", why.msg);
}

/* ---- the judgement ---- */

static void print_passed(const tw_vllm_count *c, char out[64])
{
    char tx[24], rx[24];
    if (!c->known) {
        snprintf(out, 64, "not counted");
    } else if (c->packets) {
        snprintf(out, 64, "%" PRIu64 " packets out, %" PRIu64 " in", c->tx, c->rx);
    } else {
        tw_out_bytes((double)c->tx, tx);
        tw_out_bytes((double)c->rx, rx);
        snprintf(out, 64, "%s out, %s in", tx, rx);
    }
}

static void tell(const tw_vllm_run *r, uint32_t n_tok, uint64_t least)
{
    char wanted[24], by_answer[64], by_start[64];
    tw_out_bytes((double)least, wanted);
    for (size_t i = 0; i < r->n_nodes; i++) {
        const tw_vllm_count a = tw_vllm_count_less(&r->count_after[i], &r->count_ready[i]),
                            s = tw_vllm_count_less(&r->count_ready[i], &r->count_before[i]);
        print_passed(&a, by_answer);
        print_passed(&s, by_start);
        tw_log(TW_LOG_INFO, "vllm",
               "transport by the counters of %s %s (%s): start %s; first answer %s%s%s",
               tw_vllm_run_node(r, i), wire_of(r, i), tw_vllm_transport_name(planned(r)), by_start,
               n_tok > 0 ? by_answer : "none", n_tok > 0 && least > 1 ? ", at least " : "",
               n_tok > 0 && least > 1 ? wanted : "");
    }
}

static bool are_known(const tw_vllm_run *r)
{
    bool all = true;
    for (size_t i = 0; i < r->n_nodes; i++)
        all = all && ((i > 0 && r->far == NULL) ||
                      tw_vllm_count_less(&r->count_after[i], &r->count_before[i]).known);
    return all;
}

/* The node that lacks it; n_nodes: none does. Unknown is no lie. */
static size_t find_still(const tw_vllm_run *r, uint32_t n_tok, uint64_t least)
{
    for (size_t i = 0; i < r->n_nodes; i++) {
        const tw_vllm_count *from = n_tok > 0 ? &r->count_ready[i] : &r->count_before[i];
        const tw_vllm_count passed = tw_vllm_count_less(&r->count_after[i], from);
        if (passed.known && !tw_vllm_count_has(&passed, n_tok > 0 ? least : 1))
            return i;
    }
    return r->n_nodes;
}

static int judge(tw_vllm_run *r, uint32_t n_tok, uint64_t least, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + COUNT_LIMIT_NS;
    size_t still;
    int rc = count_all(r, tw_clock_now_ns(), r->count_after, err);
    while (rc == 0 && (still = find_still(r, n_tok, least)) < r->n_nodes &&
           tw_clock_now_ns() < until) {
        (void)tw_vllm_news_wait(&r->news, LOOK_MS * TW_NS_PER_MS); /* our own wire never waits */
        rc = tw_vllm_run_check(r, err);
        if (rc == 0)
            rc = count_all(r, tw_clock_now_ns(), r->count_after, err);
    }
    if (rc != 0)
        return rc;
    tell(r, n_tok, least);
    if (still == r->n_nodes)
        return 0;
    char passed[64];
    const tw_vllm_count c =
        tw_vllm_count_less(&r->count_after[still],
                           n_tok > 0 ? &r->count_ready[still] : &r->count_before[still]);
    print_passed(&c, passed);
    if (tw_vllm_transport_is_rdma(planned(r)) && log_says_rdma(r)) {
        tw_log(TW_LOG_WARN, "vllm",
               "%s: the counters of %s moved by %s only; NCCL says NET/IB: "
               "this driver may not count RDMA",
               tw_vllm_run_node(r, still), wire_of(r, still), passed);
        return 0;
    }
    return tw_err_set(err, -ENODEV,
                      "%s: %s was wanted, and the counters of %s moved by %s only: the ranks' "
                      "bytes go elsewhere; twinax doctor, or --wire as it really is",
                      tw_vllm_run_node(r, still), tw_vllm_transport_name(planned(r)),
                      wire_of(r, still), passed);
}

int tw_vllm_run_prove(tw_vllm_run *r, tw_err *err)
{
    uint32_t n_tok = 0;
    int rc = 0;
    if (r->n_nodes < 2)
        return answer(r, &n_tok, err);
    for (size_t i = 0; i < r->n_nodes && rc == 0; i++)
        rc = check_log(r, i, err);
    if (rc == 0)
        rc = count_all(r, tw_clock_now_ns(), r->count_ready, err);
    if (rc == 0)
        rc = answer(r, &n_tok, err);
    if (rc == 0)
        rc = judge(r, n_tok, least_bytes(r, n_tok), err);
    atomic_store(&r->is_counted, rc == 0);
    atomic_store(&r->is_proven, rc == 0 && are_known(r));
    return rc;
}
