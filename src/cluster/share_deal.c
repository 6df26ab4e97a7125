/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/share_deal.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"

enum state { LACKS, BY_NET, BY_PEER, HAS };
enum {
    SLOW_TAKES = 4, /* units at a time that are taken over */
    SLOW_LOOKS = 6, /* before somebody may be called slow: a first connection takes its time */
    SHARE_LOOKS = 3,
    /* Orders in a row that one gave nothing for: a file may be known to be bad there before it is here,
     * some turns long; what goes on for longer does not end. */
    REFUSALS_MAX = 2000
};

/* Its units go to another node when it would take so many times as long, and so much longer. */
#define SLOW_TIMES   4.0
#define SLOW_SPARE_S 3.0
/* Who has had its share takes more when others would need so long for the rest of theirs. */
#define SHARE_SPARE_S 1.0
#define RATE_WEIGHT   0.3

typedef struct deal_node {
    bool is_gone, has_no_net;
    uint8_t *state;    /* [n_units] enum state */
    uint8_t *from;     /* [n_units]: whom, while BY_PEER */
    uint32_t *begun;   /* [n_units]: bytes that it has of it */
    uint8_t *is_held;  /* [n_files] */
    uint8_t *is_whole; /* [n_files] */
    bool is_cut[TW_DEAL_NODES_MAX];
    unsigned n_refused[TW_DEAL_NODES_MAX]; /* in a row, by whom */
    size_t n_has, n_net, n_peer;           /* units in these states */
    size_t n_serves;                       /* orders of others that it is to give */
    size_t i_lacks;                        /* no unit before it is LACKS */
    double rate;
    bool has_rate;        /* it has been looked at */
    unsigned n_looks;     /* so often since it began to fetch */
    uint64_t dealt_bytes; /* that it was to fetch, or has fetched */
    size_t *forget;       /* [n_forget] */
    size_t n_forget, forget_cap;
    unsigned n_taken;
} deal_node;

struct tw_deal {
    tw_deal_opts o;
    deal_node v[TW_DEAL_NODES_MAX];
    uint8_t *is_suspect; /* [n_files]: its bytes came wrong somewhere; only a whole one is given */
    size_t i_new;        /* every unit before it is on its way to, or at, some node */
};

int tw_deal_new(const tw_deal_opts *o, tw_deal **ret, tw_err *err)
{
    tw_deal *d = tw_mem_calloc(1, sizeof *d);
    if (d == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    d->o = *o;
    bool good = (d->is_suspect = tw_mem_calloc(TW_MAX(o->n_files, 1u), 1)) != NULL;
    for (unsigned i = 0; i < o->n_nodes && good; i++) {
        deal_node *n = &d->v[i];
        n->state = tw_mem_calloc(TW_MAX(o->n_units, 1u), sizeof *n->state);
        n->from = tw_mem_calloc(TW_MAX(o->n_units, 1u), sizeof *n->from);
        n->begun = tw_mem_calloc(TW_MAX(o->n_units, 1u), sizeof *n->begun);
        n->is_held = tw_mem_calloc(TW_MAX(o->n_files, 1u), 1);
        n->is_whole = tw_mem_calloc(TW_MAX(o->n_files, 1u), 1);
        good = n->state != NULL && n->from != NULL && n->begun != NULL && n->is_held != NULL &&
               n->is_whole != NULL;
    }
    if (!good) {
        tw_deal_free(d);
        return tw_err_set(err, -ENOMEM, "no memory");
    }
    *ret = d;
    return 0;
}

void tw_deal_free(tw_deal *d)
{
    if (d == NULL)
        return;
    for (unsigned i = 0; i < TW_DEAL_NODES_MAX; i++) {
        tw_mem_free(d->v[i].state);
        tw_mem_free(d->v[i].from);
        tw_mem_free(d->v[i].begun);
        tw_mem_free(d->v[i].is_held);
        tw_mem_free(d->v[i].is_whole);
        tw_mem_free(d->v[i].forget);
    }
    tw_mem_free(d->is_suspect);
    tw_mem_free(d);
}

/* All changes of a unit's state go through here: the counts follow. */
static void set(tw_deal *d, unsigned node, size_t unit, enum state to, unsigned from)
{
    deal_node *n = &d->v[node];
    const enum state was = n->state[unit];
    n->n_has -= was == HAS;
    n->n_net -= was == BY_NET;
    n->n_peer -= was == BY_PEER;
    if (was == BY_PEER)
        d->v[n->from[unit]].n_serves--;
    n->state[unit] = (uint8_t)to;
    n->from[unit] = (uint8_t)from;
    n->n_has += to == HAS;
    n->n_net += to == BY_NET;
    n->dealt_bytes += to == BY_NET ? d->o.bytes[unit] : 0;
    n->dealt_bytes -= was == BY_NET && to != HAS ? d->o.bytes[unit] : 0;
    n->n_peer += to == BY_PEER;
    if (to == BY_PEER)
        d->v[from].n_serves++;
    if (to == LACKS) {
        n->i_lacks = TW_MIN(n->i_lacks, unit);
        d->i_new = TW_MIN(d->i_new, unit);
    }
}

/* ---- what happened ---- */

void tw_deal_has(tw_deal *d, unsigned node, size_t unit)
{
    deal_node *n = &d->v[node];
    n->begun[unit] = 0;
    if (n->state[unit] == BY_PEER)
        n->n_refused[n->from[unit]] = 0;
    set(d, node, unit, HAS, 0);
}

void tw_deal_begun(tw_deal *d, unsigned node, size_t unit, uint32_t bytes)
{
    d->v[node].begun[unit] = bytes;
}

void tw_deal_failed(tw_deal *d, unsigned node, size_t unit, int from)
{
    deal_node *n = &d->v[node];
    const bool was_ours =
        n->state[unit] == BY_NET ? from < 0 : n->state[unit] == BY_PEER && n->from[unit] == from;
    if (!was_ours)
        return;
    set(d, node, unit, LACKS, 0);
    if (from >= 0 && ++n->n_refused[from] >= REFUSALS_MAX)
        tw_deal_cut(d, node, (unsigned)from);
}

void tw_deal_cut(tw_deal *d, unsigned a, unsigned b)
{
    deal_node *n = &d->v[a];
    n->is_cut[b] = true;
    for (size_t u = 0; u < d->o.n_units; u++)
        if (n->state[u] == BY_PEER && n->from[u] == b)
            set(d, a, u, LACKS, 0);
}

/* Its first unit; *ret_end: the one behind its last. */
static size_t units_of(const tw_deal *d, size_t file, size_t *ret_end)
{
    size_t lo = 0, hi = d->o.n_units;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (d->o.file[mid] < file)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (hi = lo; hi < d->o.n_units && d->o.file[hi] == file; hi++)
        ;
    *ret_end = hi;
    return lo;
}

void tw_deal_whole(tw_deal *d, unsigned node, size_t file)
{
    size_t end = 0;
    d->v[node].is_whole[file] = true;
    d->v[node].is_held[file] = false;
    for (size_t u = units_of(d, file, &end); u < end; u++)
        tw_deal_has(d, node, u);
}

void tw_deal_bad(tw_deal *d, unsigned node, size_t file)
{
    size_t end = 0;
    d->is_suspect[file] = true;
    for (size_t u = units_of(d, file, &end); u < end; u++) {
        d->v[node].begun[u] = 0;
        set(d, node, u, LACKS, 0);
    }
}

void tw_deal_hold(tw_deal *d, unsigned node, size_t file)
{
    d->v[node].is_held[file] = true;
}

void tw_deal_unhold(tw_deal *d, unsigned node, size_t file)
{
    d->v[node].is_held[file] = false;
    d->v[node].i_lacks = d->i_new = 0;
}

void tw_deal_no_net(tw_deal *d, unsigned node)
{
    deal_node *n = &d->v[node];
    n->has_no_net = true;
    for (size_t u = 0; u < d->o.n_units; u++) {
        n->begun[u] = 0;
        if (n->state[u] == BY_NET)
            set(d, node, u, LACKS, 0);
    }
    d->i_new = 0;
}

void tw_deal_gone(tw_deal *d, unsigned node)
{
    tw_deal_no_net(d, node);
    for (size_t u = 0; u < d->o.n_units; u++)
        set(d, node, u, LACKS, 0);
    for (unsigned i = 0; i < d->o.n_nodes; i++)
        if (i != node)
            tw_deal_cut(d, i, node);
    d->v[node].is_gone = true;
    d->i_new = 0;
}

void tw_deal_rate(tw_deal *d, unsigned node, double bytes_s)
{
    deal_node *n = &d->v[node];
    n->has_rate = true;
    if (n->n_net == 0) { /* its last rate stays, or it was quicker than we looked */
        n->n_looks = 0;
        n->rate = TW_MAX(n->rate, bytes_s);
        return;
    }
    n->rate = n->n_looks++ == 0 ? bytes_s : n->rate + RATE_WEIGHT * (bytes_s - n->rate);
}

/* ---- what to do ---- */

static bool can_fetch(const tw_deal *d, unsigned node, size_t unit)
{
    const deal_node *n = &d->v[node];
    return !n->is_gone && !n->has_no_net && !n->is_held[d->o.file[unit]];
}

/* Whether b can give unit to a. */
static bool can_give(const tw_deal *d, unsigned a, unsigned b, size_t unit)
{
    const deal_node *n = &d->v[b];
    const size_t file = d->o.file[unit];
    return a != b && !d->o.from_net && !n->is_gone && !d->v[a].is_cut[b] && n->state[unit] == HAS &&
           (!d->is_suspect[file] || n->is_whole[file]);
}

/* The one with the least to give already. */
static bool find_giver(const tw_deal *d, unsigned node, size_t unit, unsigned *ret)
{
    bool found = false;
    for (unsigned i = 0; i < d->o.n_nodes; i++)
        if (can_give(d, node, i, unit) && (!found || d->v[i].n_serves < d->v[*ret].n_serves)) {
            *ret = i;
            found = true;
        }
    return found;
}

/* Whether unit is for nobody else: nobody who could give it has it, or is fetching it, or has begun
 * it. */
static bool is_free(const tw_deal *d, unsigned node, size_t unit)
{
    if (d->o.from_net || d->is_suspect[d->o.file[unit]])
        return true;
    for (unsigned i = 0; i < d->o.n_nodes; i++) {
        const deal_node *n = &d->v[i];
        if (i == node || n->is_gone || d->v[node].is_cut[i])
            continue;
        if (n->state[unit] == HAS || n->state[unit] == BY_NET)
            return false;
        if (n->begun[unit] > d->v[node].begun[unit] && can_fetch(d, i, unit))
            return false;
    }
    return true;
}

static size_t first_lacking(tw_deal *d, unsigned node)
{
    deal_node *n = &d->v[node];
    while (n->i_lacks < d->o.n_units && n->state[n->i_lacks] != LACKS)
        n->i_lacks++;
    return n->i_lacks;
}

static bool is_new(const tw_deal *d, size_t unit)
{
    for (unsigned i = 0; i < d->o.n_nodes; i++)
        if (!d->v[i].is_gone && d->v[i].state[unit] != LACKS)
            return false;
    return true;
}

/* Units that no node has or fetches, and their bytes. */
static size_t count_new(tw_deal *d, uint64_t *ret_bytes)
{
    size_t n = 0;
    *ret_bytes = 0;
    while (d->i_new < d->o.n_units && !is_new(d, d->i_new))
        d->i_new++;
    for (size_t u = d->i_new; u < d->o.n_units; u++)
        if (is_new(d, u)) {
            n++;
            *ret_bytes += d->o.bytes[u];
        }
    return n;
}

static bool can_fetch_any(const deal_node *n)
{
    return !n->is_gone && !n->has_no_net;
}

/* Whether node has had its share, and the others are getting on well with theirs: what all fetch, by
 * those who can. */
static bool had_its_share(tw_deal *d, unsigned node, uint64_t new_bytes)
{
    uint64_t all = new_bytes, n = 0;
    for (unsigned i = 0; i < d->o.n_nodes; i++)
        if (can_fetch_any(&d->v[i])) {
            all += d->v[i].dealt_bytes;
            n++;
        }
    const uint64_t share = all / TW_MAX(n, (uint64_t)1);
    if (d->v[node].dealt_bytes < share || n < 2 || new_bytes == 0)
        return false;
    for (unsigned i = 0; i < d->o.n_nodes; i++) {
        const deal_node *x = &d->v[i];
        if (i == node || !can_fetch_any(x) || !x->has_rate || x->dealt_bytes >= share)
            continue;
        const double rest = (double)(share - x->dealt_bytes);
        if (x->n_net == 0 || (x->n_looks >= SHARE_LOOKS && rest > SHARE_SPARE_S * x->rate))
            return false;
    }
    return true;
}

/* Fewer and fewer towards the end, so that all end at the same time. */
static size_t net_window(const tw_deal *d, size_t n_new)
{
    unsigned n = 0;
    for (unsigned i = 0; i < d->o.n_nodes; i++)
        n += can_fetch_any(&d->v[i]);
    const size_t part = d->o.from_net ? d->o.net_window : TW_DIV_UP(n_new, 2 * TW_MAX(n, 1u));
    return TW_MIN(TW_MAX(part, (size_t)1), (size_t)d->o.net_window);
}

static bool order_peer(tw_deal *d, unsigned node, tw_deal_order *ret)
{
    const deal_node *n = &d->v[node];
    if (n->n_peer >= d->o.peer_window)
        return false;
    for (size_t u = first_lacking(d, node); u < d->o.n_units; u++) {
        unsigned from = 0;
        if (n->state[u] != LACKS || n->is_held[d->o.file[u]] || !find_giver(d, node, u, &from))
            continue;
        set(d, node, u, BY_PEER, from);
        *ret = (tw_deal_order){.what = TW_DEAL_PEER, .unit = u, .from = from};
        return true;
    }
    return false;
}

static bool order_net(tw_deal *d, unsigned node, tw_deal_order *ret)
{
    const deal_node *n = &d->v[node];
    uint64_t new_bytes = 0;
    if (n->has_no_net || n->n_net >= d->o.net_window)
        return false;
    const size_t n_new = count_new(d, &new_bytes);
    if (n->n_net >= net_window(d, n_new) || (!d->o.from_net && had_its_share(d, node, new_bytes)))
        return false;
    for (size_t u = first_lacking(d, node); u < d->o.n_units; u++) {
        if (n->state[u] != LACKS || !can_fetch(d, node, u) || !is_free(d, node, u))
            continue;
        set(d, node, u, BY_NET, 0);
        *ret = (tw_deal_order){.what = TW_DEAL_NET, .unit = u};
        return true;
    }
    return false;
}

static double seconds_left(const tw_deal *d, unsigned node)
{
    const deal_node *n = &d->v[node];
    double bytes = 0;
    for (size_t u = 0; u < d->o.n_units; u++)
        if (n->state[u] == BY_NET)
            bytes += d->o.bytes[u];
    return bytes / TW_MAX(n->rate, 1.0);
}

static bool push_forget(deal_node *n, size_t unit)
{
    if (n->n_forget == n->forget_cap) {
        const size_t cap = TW_MAX(2 * n->forget_cap, (size_t)16);
        size_t *v = tw_mem_realloc(n->forget, cap * sizeof *v);
        if (v == NULL)
            return false;
        n->forget = v;
        n->forget_cap = cap;
    }
    n->forget[n->n_forget++] = unit;
    return true;
}

/* Nothing is left but what a node that is far slower is at, or has begun: its last unit. */
static bool order_of_slow(tw_deal *d, unsigned node, tw_deal_order *ret)
{
    const deal_node *n = &d->v[node];
    if (d->o.from_net || n->has_no_net || n->n_net >= SLOW_TAKES || n->rate <= 0)
        return false;
    for (unsigned i = 0; i < d->o.n_nodes; i++) {
        deal_node *slow = &d->v[i];
        const double its_s = slow->n_net > 0 && i != node ? seconds_left(d, i) : 0;
        if (slow->is_gone || slow->n_looks < SLOW_LOOKS || its_s < SLOW_SPARE_S)
            continue;
        for (size_t u = d->o.n_units; u-- > 0;) {
            const double our_s = (double)d->o.bytes[u] / n->rate;
            const bool waits = slow->state[u] == LACKS && slow->begun[u] > 0 && is_new(d, u);
            if ((slow->state[u] != BY_NET && !waits) || n->state[u] != LACKS ||
                !can_fetch(d, node, u) || its_s < SLOW_TIMES * our_s + SLOW_SPARE_S ||
                (!waits && !push_forget(slow, u)))
                continue;
            set(d, i, u, LACKS, 0);
            slow->begun[u] = 0;
            slow->n_taken++;
            set(d, node, u, BY_NET, 0);
            *ret = (tw_deal_order){.what = TW_DEAL_NET, .unit = u};
            return true;
        }
    }
    return false;
}

tw_deal_order tw_deal_next(tw_deal *d, unsigned node)
{
    tw_deal_order o = {.what = TW_DEAL_NOTHING};
    deal_node *n = &d->v[node];
    if (n->is_gone)
        return o;
    if (n->n_forget > 0)
        return (tw_deal_order){.what = TW_DEAL_FORGET, .unit = n->forget[--n->n_forget]};
    if (!order_peer(d, node, &o) && !order_net(d, node, &o))
        (void)order_of_slow(d, node, &o);
    return o;
}

bool tw_deal_is_full(const tw_deal *d, unsigned node)
{
    return d->v[node].n_has == d->o.n_units;
}

bool tw_deal_is_idle(const tw_deal *d, unsigned node)
{
    return d->v[node].n_net == 0 && d->v[node].n_peer == 0;
}

bool tw_deal_is_stuck(const tw_deal *d, unsigned node, size_t *ret_unit)
{
    const deal_node *n = &d->v[node];
    if (n->is_gone || tw_deal_is_full(d, node) || !tw_deal_is_idle(d, node))
        return false;
    for (size_t u = 0; u < d->o.n_units; u++) {
        bool may_come = n->state[u] != LACKS || n->is_held[d->o.file[u]] || !n->has_no_net;
        for (unsigned i = 0; i < d->o.n_nodes && !may_come && !d->o.from_net; i++) {
            const deal_node *x = &d->v[i];
            may_come = i != node && !x->is_gone && !n->is_cut[i] &&
                       (!x->has_no_net || x->state[u] != LACKS || x->is_held[d->o.file[u]]);
        }
        if (may_come)
            continue;
        *ret_unit = u;
        return true;
    }
    return false;
}

bool tw_deal_is_cut(const tw_deal *d, unsigned a, unsigned b)
{
    return d->v[a].is_cut[b];
}

unsigned tw_deal_n_taken(const tw_deal *d, unsigned node)
{
    return d->v[node].n_taken;
}

uint32_t tw_deal_bytes_of(const tw_deal *d, unsigned node, size_t unit)
{
    return d->v[node].state[unit] == HAS ? d->o.bytes[unit] : d->v[node].begun[unit];
}
