/* SPDX-License-Identifier: Apache-2.0 */
#include "host/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_inside.h"

static const char *const status_names[TW_CHECK_STATUSES] = {"na", "ok", "warn", "fail"};
static const char *const need_names[TW_NEEDS] = {
    [TW_NEED_ALWAYS] = "always",           [TW_NEED_CLUSTER] = "several nodes",
    [TW_NEED_NIC] = "a cluster interface", [TW_NEED_RDMA] = "RDMA",
    [TW_NEED_THUNDERBOLT] = "Thunderbolt", [TW_NEED_VLLM] = "vllm on a GPU",
};

const char *tw_check_status_name(enum tw_check_status s)
{
    return status_names[s];
}

const char *tw_check_need_name(enum tw_check_need n)
{
    return need_names[n];
}

size_t tw_check_count(void)
{
    size_t n = 0;
    while (tw_check_table[n].id != NULL)
        n++;
    return n;
}

/* ---- saying ---- */

static void say(char *out, size_t out_bytes, const char *fmt, va_list ap) TW_PRINTF(3, 0);

static void say(char *out, size_t out_bytes, const char *fmt, va_list ap)
{
    vsnprintf(out, out_bytes, fmt, ap);
    for (char *c = out; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
}

void tw_check_found(tw_check_ctx *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(c->r->found, sizeof c->r->found, fmt, ap);
    va_end(ap);
}

void tw_check_wanted(tw_check_ctx *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(c->r->wanted, sizeof c->r->wanted, fmt, ap);
    va_end(ap);
}

void tw_check_mend(tw_check_ctx *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(c->r->mend, sizeof c->r->mend, fmt, ap);
    va_end(ap);
}

enum tw_check_status tw_check_na(tw_check_ctx *c, const char *why)
{
    tw_check_found(c, "%s", why);
    return TW_CHECK_NA;
}

/* ---- what a node is used for ---- */

static bool is_unified(const char *gfx)
{
    static const char *const known[] = {"gfx1151", "gfx1150", "gfx1152", "gfx1153", "gfx1103"};
    for (size_t i = 0; i < TW_ARRAY_LEN(known); i++)
        if (strcmp(gfx, known[i]) == 0)
            return true;
    return false;
}

static void find_gpu(const tw_facts *f, tw_check_use *u)
{
    uint64_t vram = 0;
    u->strix_halo =
        strstr(f->cpu.name, "RYZEN AI MAX") != NULL || strstr(f->cpu.name, "Ryzen AI Max") != NULL;
    for (size_t i = 0; i < f->n_gpus; i++) {
        u->strix_halo = u->strix_halo || strcmp(f->gpus[i].gfx, "gfx1151") == 0;
        u->unified_gpu = u->unified_gpu || is_unified(f->gpus[i].gfx);
        if (is_unified(f->gpus[i].gfx) || (u->strix_halo && f->n_gpus == 1))
            vram = f->gpus[i].vram_bytes.known ? f->gpus[i].vram_bytes.v : 0;
    }
    u->unified_gpu = u->unified_gpu || u->strix_halo;
    u->installed_bytes = tw_kernel_installed(f->mem.installed_bytes, f->mem.total_bytes, vram);
}

static bool is_card(const tw_net_if *n)
{
    return n->rdma[0] != '\0' && n->pci[0] != '\0' && strncmp(n->rdma, "rxe", 3) != 0 &&
           strncmp(n->rdma, "siw", 3) != 0;
}

static bool can_rdma(const tw_net_if *n)
{
    static const char *const drivers[] = {"ice",     "mlx5_core", "mlx4_core", "mlx4_en",
                                          "bnxt_en", "irdma",     "cxgb4",     "qede"};
    if (n->rdma[0] != '\0')
        return true;
    for (size_t i = 0; i < TW_ARRAY_LEN(drivers); i++)
        if (strcmp(n->driver, drivers[i]) == 0)
            return true;
    return false;
}

/* By itself: an RDMA card, a Thunderbolt cable; and, between several nodes, the LAN. */
static const tw_net_if *find_by_kind(const tw_check_world *w, const tw_facts *f)
{
    for (size_t i = 0; i < f->net.n_ifs && w->config.transport != TW_CHECK_BY_TCP; i++)
        if (is_card(&f->net.ifs[i]) ||
            (f->net.ifs[i].carrier && f->net.ifs[i].pci[0] != '\0' && can_rdma(&f->net.ifs[i])))
            return &f->net.ifs[i];
    for (size_t i = 0; i < f->net.n_ifs; i++)
        if (f->net.ifs[i].kind == TW_NET_THUNDERBOLT)
            return &f->net.ifs[i];
    for (size_t i = 0; i < f->net.n_ifs && w->n_nodes > 1; i++)
        if (f->net.ifs[i].default_route)
            return &f->net.ifs[i];
    return NULL;
}

static bool is_up(enum tw_check_want w)
{
    return w != TW_WANT_NO;
}

void tw_check_use_find(const tw_check_world *w, size_t i, tw_check_use *ret)
{
    const tw_check_node *n = &w->nodes[i];
    const tw_facts *f = n->facts;
    const bool given = n->interface[0] != '\0' || n->ip[0] != '\0';
    *ret = (tw_check_use){.want[TW_NEED_ALWAYS] = TW_WANT_YES};
    ret->want[TW_NEED_CLUSTER] = w->n_nodes > 1 ? TW_WANT_YES : TW_WANT_NO;
    if (f == NULL)
        return;
    find_gpu(f, ret);
    if (n->interface[0] != '\0')
        ret->net = tw_net_find(&f->net, n->interface);
    else if (n->ip[0] != '\0')
        ret->net = tw_net_find_ip(&f->net, n->ip, &ret->addr);
    if (ret->net == NULL && n->interface[0] == '\0')
        ret->net = find_by_kind(w, f);
    if (ret->net != NULL) {
        ret->nic = tw_facts_find_nic(f, ret->net->name);
        for (size_t k = 0; k < ret->net->n_addrs && ret->addr == NULL; k++)
            if (n->ip[0] == '\0' && !ret->net->addrs[k].link_local)
                ret->addr = &ret->net->addrs[k];
        if (n->ip[0] != '\0' && tw_net_find_ip(&f->net, n->ip, &ret->addr) != ret->net)
            ret->addr = NULL;
    }
    enum tw_check_want nic = w->n_nodes > 1 || given ? TW_WANT_YES
                             : ret->net != NULL      ? TW_WANT_MAYBE
                                                     : TW_WANT_NO;
    const bool thunderbolt = ret->net != NULL ? ret->net->kind == TW_NET_THUNDERBOLT
                                              : strncmp(n->interface, "thunderbolt", 11) == 0;
    bool maybe_rdma = w->config.transport == TW_CHECK_BY_AUTO && is_up(nic) && !thunderbolt &&
                      ret->net != NULL && can_rdma(ret->net);
    ret->want[TW_NEED_NIC] = nic;
    ret->want[TW_NEED_THUNDERBOLT] = thunderbolt ? nic : TW_WANT_NO;
    ret->want[TW_NEED_RDMA] = w->config.transport == TW_CHECK_BY_RDMA ? TW_WANT_YES
                              : maybe_rdma                            ? TW_WANT_MAYBE
                                                                      : TW_WANT_NO;
    bool maybe_vllm = ret->unified_gpu;
    for (size_t k = 0; k < f->n_gpus; k++)
        maybe_vllm = maybe_vllm || f->gpus[k].gfx[0] != '\0';
    ret->want[TW_NEED_VLLM] = w->config.engine == TW_CHECK_ENGINE_VLLM     ? TW_WANT_YES
                              : w->config.engine == TW_CHECK_ENGINE_NATIVE ? TW_WANT_NO
                              : maybe_vllm                                 ? TW_WANT_MAYBE
                                                                           : TW_WANT_NO;
}

/* ---- running ---- */

static void end_result(tw_check_result *r, enum tw_check_want want)
{
    if (want == TW_WANT_MAYBE && r->status == TW_CHECK_FAIL)
        r->status = TW_CHECK_WARN; /* nobody has asked for it */
    if (r->status == TW_CHECK_NA || r->status == TW_CHECK_OK) {
        r->mend[0] = '\0';
        r->step = NULL;
    } else if (r->mend[0] == '\0') {
        snprintf(r->mend, sizeof r->mend, "see docs/doctor.md, %s", r->check->id);
    }
    if (r->status == TW_CHECK_NA)
        r->wanted[0] = '\0';
}

static void run_one(const tw_check *k, tw_check_ctx *c, tw_check_result *r)
{
    *r = (tw_check_result){.check = k, .node = c->i, .peer = c->j, .status = TW_CHECK_NA};
    c->r = r;
    enum tw_check_want want = c->use->want[k->need];
    if (k->scope == TW_CHECK_PAIR)
        want = TW_MIN(want, c->peer_use->want[k->need]);
    if (want == TW_WANT_NO)
        snprintf(r->found, sizeof r->found, "not asked for: %s", need_names[k->need]);
    else
        r->status = k->run(c);
    end_result(r, want);
}

static tw_check_ctx begin(const tw_check_world *w, const tw_check_use *uses, size_t i, size_t j)
{
    return (tw_check_ctx){.w = w,
                          .i = i,
                          .j = j,
                          .uses = uses,
                          .use = &uses[i],
                          .peer_use = &uses[j],
                          .f = w->nodes[i].facts,
                          .g = w->nodes[j].facts};
}

static size_t run_scope(const tw_check_world *w, const tw_check_use *uses, size_t i, size_t j,
                        enum tw_check_scope scope, tw_check_result *ret, size_t max)
{
    size_t n = 0;
    for (const tw_check *k = tw_check_table; k->id != NULL && n < max; k++) {
        tw_check_ctx c = begin(w, uses, i, j);
        /* Of a node that is not there only one thing can be said. */
        const bool dead = c.f == NULL || c.g == NULL;
        if (k->scope != scope || (dead && scope == TW_CHECK_PAIR) ||
            (dead && scope == TW_CHECK_NODE && strcmp(k->id, "node.reached") != 0))
            continue;
        run_one(k, &c, &ret[n++]);
    }
    return n;
}

size_t tw_checks_run(const tw_check_world *w, tw_check_result *ret, size_t max)
{
    tw_check_use uses[TW_CHECK_NODES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < w->n_nodes; i++)
        tw_check_use_find(w, i, &uses[i]);
    for (size_t i = 0; i < w->n_nodes; i++)
        n += run_scope(w, uses, i, i, TW_CHECK_NODE, ret + n, max - n);
    for (size_t i = 0; i < w->n_nodes; i++)
        for (size_t j = i + 1; j < w->n_nodes; j++)
            n += run_scope(w, uses, i, j, TW_CHECK_PAIR, ret + n, max - n);
    if (w->n_nodes > 1)
        n += run_scope(w, uses, 0, 0, TW_CHECK_CLUSTER, ret + n, max - n);
    return n;
}

enum tw_check_status tw_checks_worst(const tw_check_result *v, size_t n)
{
    enum tw_check_status worst = TW_CHECK_NA;
    for (size_t i = 0; i < n; i++)
        worst = TW_MAX(worst, v[i].status);
    return worst;
}
