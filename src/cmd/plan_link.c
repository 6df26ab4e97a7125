/* SPDX-License-Identifier: Apache-2.0 */
/* The way between two ranks, by its class. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/far.h"
#include "cmd/plan.h"
#include "host/net.h"

/* An all-reduce of a few KiB, user space to user space; what is usual on such hardware. */
static const double shm_us = 4, rdma_us = 10, thunderbolt_us = 60, fast_us = 35, gigabit_us = 60,
                    wifi_us = 2500;

static tw_plan_link typical(const char *name, double latency_us, double gbit_s)
{
    tw_plan_link l = {.latency_us = latency_us, .gbit_s = gbit_s};
    snprintf(l.name, sizeof l.name, "%s", name);
    return l;
}

static tw_plan_link of_interface(const tw_net_if *i, bool no_rdma)
{
    char name[64];
    const double gbit = i->speed_mbit > 0 ? i->speed_mbit / 1e3 : 1;
    snprintf(name, sizeof name, "%s over %s", no_rdma || i->rdma[0] == '\0' ? "tcp" : "rdma",
             i->name);
    if (i->rdma[0] != '\0' && !no_rdma)
        return typical(name, rdma_us, gbit * 0.92);
    if (i->kind == TW_NET_THUNDERBOLT)
        return typical(name, thunderbolt_us, 9);
    if (i->kind == TW_NET_WIFI)
        return typical(name, wifi_us, 0.3);
    return typical(name, gbit >= 5 ? fast_us : gigabit_us, gbit * 0.94);
}

static bool by_own_address(const tw_args *a, tw_plan_link *ret)
{
    char ip[64];
    tw_err ignored;
    TW_CLEANUP(tw_mem_freep) tw_net *net = tw_mem_calloc(1, sizeof *net);
    if (net == NULL || tw_far_own_address(a, ip, sizeof ip, &ignored) != 0 ||
        tw_net_read(NULL, net, &ignored) != 0)
        return false;
    const tw_net_if *i = tw_net_find_ip(net, ip, NULL);
    if (i == NULL)
        return false;
    *ret = of_interface(i, a->transport == TW_TRANSPORT_TCP);
    return true;
}

void tw_plan_link_find(const tw_args *a, unsigned n_ranks, tw_plan_link *ret)
{
    const bool far = a->nodes.n > 1 && strcmp(a->nodes.v[1].ssh, "local") != 0;
    if (a->local || (a->nodes.n > 1 && !far)) {
        *ret = typical("shared memory", shm_us, 80);
        return;
    }
    if (far && a->transport != TW_TRANSPORT_TCP && tw_plan_link_known(a->nodes.v[1].ssh, ret))
        return;
    if (far && n_ranks > 1 && by_own_address(a, ret))
        return;
    *ret = typical("a 25 Gbit/s RoCE cable", rdma_us, 23);
}
