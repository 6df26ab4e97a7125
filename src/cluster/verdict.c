/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/verdict.h"

#include <stdio.h>
#include <string.h>

#include "base/scope.h"

/* What each class of link gives when nothing is wrong. Half round trips of 2 bytes with spinning
 * ends: ping, and so the guide's "~70 us" for TCP, is a whole round trip with sleeping ends. The
 * first row that fits is taken. Rates are payload: 1 Gbit/s Ethernet carries 0.94. */
static const struct expectation {
    enum tw_path_kind path;
    uint32_t up_to_mbit; /* of the interface; 0: any, or unknown */
    double good_us;      /* up to here all is well */
    double bad_us;       /* from here something is wrong */
    double gbit;         /* expected; 0: share of the interface's speed */
    const char *what;
} expected[] = {
    {TW_PATH_RDMA, 0, 8, 30, 0, "RDMA (RoCE gives ~5 us)"},
    {TW_PATH_THUNDERBOLT, 0, 80, 300, 9, "Thunderbolt networking (10 to 20 Gbit/s)"},
    {TW_PATH_ROCE, 0, 45, 150, 0, "TCP over this card (~70 us a round trip)"},
    {TW_PATH_LAN, 100, 150, 1000, 0.09, "100 Mbit/s Ethernet"},
    {TW_PATH_LAN, 1000, 60, 400, 0.94, "1G Ethernet"},
    {TW_PATH_LAN, 2500, 60, 400, 2.35, "2.5G Ethernet"},
    {TW_PATH_LAN, 5000, 60, 400, 4.7, "5G Ethernet"},
    {TW_PATH_LAN, 10000, 50, 300, 9.4, "10G Ethernet"},
    {TW_PATH_LAN, UINT32_MAX, 45, 200, 0, "fast Ethernet"},
};

#define GOOD_SHARE 0.85 /* of what is expected */
#define BAD_SHARE  0.5
#define WIRE_SHARE 0.94 /* payload of an Ethernet link's rate */
#define PCI_SHARE  0.85 /* payload of a PCIe slot's rate: an x4 slot of 16 GT/s gives ~50 Gbit/s */

const char *tw_verdict_name(enum tw_verdict_level l)
{
    static const char *const names[] = {"good", "slow", "bad", "unknown"};
    return names[l];
}

static const struct expectation *find_expectation(const tw_path *p)
{
    uint32_t speed = p->here->speed_mbit;
    for (size_t i = 0; i < TW_ARRAY_LEN(expected); i++) {
        const struct expectation *e = &expected[i];
        if (e->path == p->kind && (e->up_to_mbit == 0 || (speed > 0 && speed <= e->up_to_mbit)))
            return e;
    }
    return NULL;
}

/* The slower of both ends' slots, in payload; 0: unknown. */
static double slot_gbit(const tw_path *p)
{
    double a = tw_net_pci_gbit(p->here) * PCI_SHARE, b = tw_net_pci_gbit(p->there) * PCI_SHARE;
    return a > 0 && b > 0 ? TW_MIN(a, b) : TW_MAX(a, b);
}

static double want_gbit(const tw_path *p, const struct expectation *e, bool *ret_slot)
{
    uint32_t a = p->here->speed_mbit, b = p->there->speed_mbit;
    uint32_t speed = a > 0 && b > 0 ? TW_MIN(a, b) : TW_MAX(a, b);
    double wire = e->gbit > 0 ? e->gbit : (double)speed / 1000.0 * WIRE_SHARE;
    double slot = slot_gbit(p);
    *ret_slot = slot > 0 && wire > slot;
    return *ret_slot ? slot : wire;
}

static bool is_virtual(const tw_net_if *f)
{
    return strcmp(f->driver, "veth") == 0 || f->kind == TW_NET_VETH || f->kind == TW_NET_OTHER ||
           f->kind == TW_NET_LOOPBACK;
}

/* RDMA in software: proves the way, not the speed. */
static bool is_soft(const tw_path *p)
{
    return p->kind == TW_PATH_RDMA &&
           (strncmp(p->here->rdma, "rxe", 3) == 0 || strncmp(p->here->rdma, "siw", 3) == 0);
}

static void say(tw_verdict *v, enum tw_verdict_level level, const char *text)
{
    size_t n = strlen(v->text);
    v->level = TW_MAX(v->level, level);
    snprintf(v->text + n, sizeof v->text - n, "%s%s", n > 0 ? "; " : "", text);
}

static void judge_latency(const tw_measured *m, const struct expectation *e, tw_verdict *v)
{
    char text[120];
    if (m->lat_us <= e->good_us)
        return;
    bool bad = m->lat_us >= e->bad_us;
    snprintf(text, sizeof text, "%.1f us is %s for %s: expected up to %.0f us", m->lat_us,
             bad ? "far too slow" : "slow", e->what, e->good_us);
    say(v, bad ? TW_VERDICT_BAD : TW_VERDICT_SLOW, text);
}

static void judge_rate(const tw_measured *m, const struct expectation *e, tw_verdict *v)
{
    bool by_slot = false;
    double want = want_gbit(m->path, e, &by_slot);
    char text[160], why[64] = "";
    if (want <= 0) {
        say(v, TW_VERDICT_GOOD, "the interface does not tell its speed");
        return;
    }
    if (by_slot)
        snprintf(why, sizeof why, " (PCIe x%u at %g GT/s is the ceiling)", m->path->here->pci_width,
                 m->path->here->pci_gts);
    double share = m->min_gbit / want;
    enum tw_verdict_level level = share >= GOOD_SHARE  ? TW_VERDICT_GOOD
                                  : share >= BAD_SHARE ? TW_VERDICT_SLOW
                                                       : TW_VERDICT_BAD;
    snprintf(text, sizeof text, "%.2f of %.2f Gbit/s%s%s", m->min_gbit, want, why,
             level == TW_VERDICT_GOOD ? "" : ": look at cable, MTU, port speed, other traffic");
    say(v, level, text);
}

void tw_verdict_judge(const tw_measured *m, tw_verdict *ret)
{
    const tw_path *p = m->path;
    tw_verdict v = {.level = TW_VERDICT_GOOD, .text = ""};
    if (p->here->kind == TW_NET_WIFI || p->there->kind == TW_NET_WIFI) {
        say(&v, TW_VERDICT_SLOW,
            "this is Wi-Fi: it works, but its latency jumps; use a cable for tensor parallelism");
        *ret = v;
        return;
    }
    const struct expectation *e = find_expectation(p);
    if (is_soft(p)) {
        char text[120];
        snprintf(text, sizeof text, "%s is RDMA in software: nothing to judge it by",
                 p->here->rdma);
        say(&v, TW_VERDICT_UNKNOWN, text);
        *ret = v;
        return;
    }
    if (is_virtual(p->here) || e == NULL) {
        char text[120];
        snprintf(text, sizeof text, "%s is %s: nothing to judge it by", p->here->name,
                 is_virtual(p->here) ? "a virtual interface" : "silent about its speed");
        say(&v, TW_VERDICT_UNKNOWN, text);
        *ret = v;
        return;
    }
    judge_latency(m, e, &v);
    judge_rate(m, e, &v);
    if (v.level == TW_VERDICT_GOOD) {
        char text[80];
        snprintf(text, sizeof text, "as it should be for %s", e->what);
        say(&v, TW_VERDICT_GOOD, text);
    }
    *ret = v;
}
