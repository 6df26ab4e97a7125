/* SPDX-License-Identifier: Apache-2.0 */
#include "coll/ops.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "kern/half.h"

void tw_ops_init(tw_ops *o, unsigned rank, unsigned n_ranks, tw_link *const *links, float *scratch)
{
    *o = (tw_ops){.rank = rank, .n_ranks = n_ranks, .scratch = scratch, .kern = tw_kern_get(NULL)};
    while (1U << o->n_levels < n_ranks)
        o->n_levels++;
    for (unsigned i = 0; i < n_ranks; i++) {
        o->links[i] = links[i];
        if (links[i] != NULL)
            links[i]->op_name = tw_ops_name;
    }
}

const char *tw_ops_name(uint8_t kind)
{
    static const char *const names[] = {
        [TW_OP_REDUCE] = "all-reduce",   [TW_OP_GATHER] = "all-gather",
        [TW_OP_BROADCAST] = "broadcast", [TW_OP_PLAN] = "step plan",
        [TW_OP_BARRIER] = "barrier",     [TW_OP_REDUCE16] = "all-reduce (wire16)"};
    return kind < TW_ARRAY_LEN(names) ? names[kind] : NULL;
}

/* x [n] = low + high, where x is one of them: the caller's side of the tree decides the order. */
static void add_in_order(const tw_ops *o, float *x, const float *y, size_t n, bool x_is_low)
{
    o->kern->add(x, x_is_low ? x : y, x_is_low ? y : x, n);
}

static void send_to(tw_ops *o, unsigned peer, const void *p, size_t bytes)
{
    tw_link_send(o->links[peer], (uint8_t)o->kind, p, bytes);
}

/* To one who sends us as much at the same time. */
static void send_paced(tw_ops *o, unsigned peer, const void *p, size_t bytes)
{
    tw_link_send_paced(o->links[peer], (uint8_t)o->kind, p, bytes);
}

static void recv_from(tw_ops *o, unsigned peer, void *p, size_t bytes)
{
    tw_link_recv(o->links[peer], (uint8_t)o->kind, p, bytes, true);
}

/* Adds the front of what has come to x, as far as our own values there are sent. */
static size_t sink_sum(void *ctx, const void *p, size_t bytes)
{
    enum { BLOCK = 1024 };
    tw_ops *o = ctx;
    float aligned[BLOCK], *x = o->x + o->sum_at + o->summed;
    size_t n = bytes / sizeof *x;
    if (o->sum_is_sent)
        n = TW_MIN(n, tw_link_tx_done(o->sum_link) / sizeof *x - o->summed);
    if ((uintptr_t)p % sizeof *x == 0) {
        add_in_order(o, x, p, n, o->sum_is_low);
    } else {
        n = TW_MIN(n, (size_t)BLOCK);
        memcpy(aligned, p, n * sizeof *x);
        add_in_order(o, x, aligned, n, o->sum_is_low);
    }
    o->summed += n;
    return n * sizeof *x;
}

static void recv_sum(tw_ops *o, unsigned peer, size_t at, size_t n, bool is_low, bool is_sent)
{
    tw_link *l = o->links[peer];
    o->sum_at = at;
    o->sum_is_low = is_low;
    o->sum_is_sent = is_sent;
    o->sum_link = l;
    tw_link_recv_sink(l, (uint8_t)o->kind, n * sizeof *o->x, o->scratch,
                      TW_OPS_SCRATCH_FLOATS * sizeof *o->x, sink_sum, o);
}

static bool is_reduce(const tw_ops *o)
{
    return o->kind == TW_OP_REDUCE || o->kind == TW_OP_REDUCE16;
}

static bool is_halving(const tw_ops *o)
{
    if (o->n_ranks == 2)
        return o->kind == TW_OP_REDUCE16;
    return o->n_ranks > 2 && o->chunk > TW_OPS_SHOT_FLOATS;
}

/* Scratch of a one-shot: the peers' vectors, rank order, our own left out. */
static float *shot_slot(const tw_ops *o, unsigned peer)
{
    return o->scratch + (size_t)(peer - (peer > o->rank)) * TW_OPS_SHOT_FLOATS;
}

/* Whether what comes is added on arrival. */
static bool is_sinking(const tw_ops *o)
{
    if (o->kind != TW_OP_REDUCE || o->links[o->rank ^ 1] == NULL || o->links[o->rank ^ 1]->verify)
        return false;
    return o->n_ranks == 2 || o->n - o->at > TW_OPS_SHOT_FLOATS;
}

static void begin_exchange(tw_ops *o)
{
    if (is_sinking(o)) {
        send_paced(o, o->rank ^ 1, o->x + o->at, o->chunk * sizeof *o->x);
        recv_sum(o, o->rank ^ 1, o->at, o->chunk, o->rank == 0, true);
        return;
    }
    for (unsigned i = 0; i < o->n_ranks; i++) {
        if (o->links[i] == NULL)
            continue;
        send_paced(o, i, o->x + o->at, o->chunk * sizeof *o->x);
        recv_from(o, i, shot_slot(o, i), o->chunk * sizeof *o->x);
    }
}

/* Steps of halving: levels 0 .. n-1 down, then the same levels back; with wire16 the last level is
 * one exchange of the whole part, between the two. */
static unsigned n_halving_steps(const tw_ops *o)
{
    return o->kind == TW_OP_REDUCE16 ? 2 * o->n_levels - 1 : 2 * o->n_levels;
}

static unsigned halving_level(const tw_ops *o)
{
    return o->step < o->n_levels ? o->step : n_halving_steps(o) - 1 - o->step;
}

static bool is_exchange16(const tw_ops *o)
{
    return o->kind == TW_OP_REDUCE16 && o->step + 1 == o->n_levels;
}

/* The two halves of a 16-bit exchange in scratch: ours rounded, the peer's as it comes. */
static uint16_t *half_of_scratch(const tw_ops *o, bool theirs)
{
    return (uint16_t *)(void *)o->scratch + (theirs ? TW_OPS_SCRATCH_FLOATS : 0);
}

/* x takes our own rounded value at once: what is left is to add the peer's. */
static void begin_exchange16(tw_ops *o)
{
    unsigned k = o->n_levels - 1, peer = o->rank ^ 1U << k;
    size_t lo = o->lo[k], n = o->hi[k] - lo;
    uint16_t *mine = half_of_scratch(o, false);
    o->kern->from_f32(mine, o->x + lo, TW_BF16, n);
    o->kern->to_f32(o->x + lo, mine, TW_BF16, n);
    send_paced(o, peer, mine, n * sizeof *mine);
    recv_from(o, peer, half_of_scratch(o, true), n * sizeof *mine);
}

static void begin_halving(tw_ops *o)
{
    unsigned k = halving_level(o), peer = o->rank ^ 1U << k;
    bool down = o->step < o->n_levels, keep_low = (o->rank >> k & 1) == 0;
    size_t lo = o->lo[k], hi = o->hi[k], mid = lo + (hi - lo) / 2;
    size_t mine = keep_low ? lo : mid, n_mine = keep_low ? mid - lo : hi - mid;
    size_t other = keep_low ? mid : lo, n_other = hi - lo - n_mine;
    if (is_exchange16(o)) {
        begin_exchange16(o);
    } else if (down) {
        o->lo[k + 1] = mine;
        o->hi[k + 1] = mine + n_mine;
        send_paced(o, peer, o->x + other, n_other * sizeof *o->x);
        if (is_sinking(o))
            recv_sum(o, peer, mine, n_mine, keep_low, false);
        else
            recv_from(o, peer, o->scratch, n_mine * sizeof *o->x);
    } else {
        send_paced(o, peer, o->x + mine, n_mine * sizeof *o->x);
        recv_from(o, peer, o->x + other, n_other * sizeof *o->x);
    }
}

/* Adds what has come of the receive under way. */
static void sum_pair(tw_ops *o)
{
    const tw_link *l = o->links[o->rank ^ 1];
    /* What is not sent yet must not change. */
    size_t n = TW_MIN(tw_link_rx_done(l), tw_link_tx_done(l)) / sizeof *o->x;
    add_in_order(o, o->x + o->at + o->summed, o->scratch + o->summed, n - o->summed, o->rank == 0);
    o->summed = n;
}

static void sum_exchange16(tw_ops *o)
{
    enum { BLOCK = 512 };
    float wide[BLOCK];
    unsigned k = o->n_levels - 1;
    size_t n = tw_link_rx_done(o->links[o->rank ^ 1U << k]) / sizeof(uint16_t);
    const uint16_t *theirs = half_of_scratch(o, true);
    while (o->summed < n) {
        size_t part = TW_MIN(n - o->summed, (size_t)BLOCK);
        o->kern->to_f32(wide, theirs + o->summed, TW_BF16, part);
        add_in_order(o, o->x + o->lo[k] + o->summed, wide, part, (o->rank >> k & 1) == 0);
        o->summed += part;
    }
}

static void sum_halving(tw_ops *o)
{
    unsigned k = halving_level(o);
    if (o->step >= o->n_levels)
        return;
    if (is_exchange16(o)) {
        sum_exchange16(o);
        return;
    }
    const tw_link *l = o->links[o->rank ^ 1U << k];
    size_t n = tw_link_rx_done(l) / sizeof *o->x;
    add_in_order(o, o->x + o->lo[k + 1] + o->summed, o->scratch + o->summed, n - o->summed,
                 (o->rank >> k & 1) == 0);
    o->summed = n;
}

static float round16(float x)
{
    return tw_bf16_to_f32(tw_bf16_from_f32(x));
}

static void sum_shot(tw_ops *o)
{
    const float *v[TW_RANKS_MAX];
    float *x = o->x + o->at;
    for (unsigned i = 0; i < o->n_ranks; i++)
        v[i] = i == o->rank ? x : shot_slot(o, i);
    if (o->swap_order) {
        const float *v1 = v[1];
        v[1] = v[2];
        v[2] = v1;
    }
    const bool cut = o->kind == TW_OP_REDUCE16;
    for (size_t i = 0; i < o->chunk; i++) {
        float low = v[0][i] + v[1][i], high = v[2][i] + v[3][i];
        if (o->n_ranks == 8) {
            low = low + high;
            high = (v[4][i] + v[5][i]) + (v[6][i] + v[7][i]);
        }
        x[i] = cut ? round16(low) + round16(high) : low + high;
    }
}

static void begin_step(tw_ops *o)
{
    o->summed = 0;
    if (is_halving(o))
        begin_halving(o);
    else
        begin_exchange(o);
}

static void begin_chunk(tw_ops *o)
{
    /* With halving, half of the chunk is received at once. */
    size_t max = o->n_ranks == 1   ? o->n /* nothing is exchanged: nothing to cut */
                 : o->n_ranks == 2 ? TW_OPS_CHUNK_FLOATS
                                   : 2 * TW_OPS_CHUNK_FLOATS - 2;
    o->chunk = is_sinking(o) ? o->n - o->at : TW_MIN(o->n - o->at, max);
    o->step = 0;
    o->lo[0] = o->at;
    o->hi[0] = o->at + o->chunk;
    begin_step(o);
}

static void begin_reduce(tw_ops *o, enum tw_ops_kind kind, float *x, size_t n)
{
    assert(o->kind == TW_OP_NONE);
    o->kind = kind;
    o->x = x;
    o->n = n;
    o->at = 0;
    begin_chunk(o);
}

void tw_ops_reduce(tw_ops *o, float *x, size_t n)
{
    begin_reduce(o, TW_OP_REDUCE, x, n);
}

void tw_ops_reduce16(tw_ops *o, float *x, size_t n)
{
    begin_reduce(o, TW_OP_REDUCE16, x, n);
}

/* Nobody is through before everybody has come: one empty message from each to each. */
void tw_ops_barrier(tw_ops *o)
{
    assert(o->kind == TW_OP_NONE);
    o->kind = TW_OP_BARRIER;
    for (unsigned i = 0; i < o->n_ranks; i++) {
        if (o->links[i] == NULL)
            continue;
        send_to(o, i, NULL, 0);
        recv_from(o, i, NULL, 0);
    }
}

void tw_ops_gather(tw_ops *o, const void *in, size_t bytes, void *out)
{
    assert(o->kind == TW_OP_NONE);
    o->kind = TW_OP_GATHER;
    char *place = out;
    char *mine = place + o->rank * bytes;
    if (in != mine && bytes > 0)
        memmove(mine, in, bytes);
    for (unsigned i = 0; i < o->n_ranks; i++) {
        if (o->links[i] == NULL)
            continue;
        send_paced(o, i, mine, bytes);
        recv_from(o, i, place + i * bytes, bytes);
    }
}

static void send_all(tw_ops *o, const void *p, size_t bytes)
{
    for (unsigned i = 0; i < o->n_ranks; i++)
        if (o->links[i] != NULL)
            send_to(o, i, p, bytes);
}

void tw_ops_broadcast(tw_ops *o, unsigned root, void *p, size_t bytes)
{
    assert(o->kind == TW_OP_NONE);
    o->kind = TW_OP_BROADCAST;
    if (root == o->rank)
        send_all(o, p, bytes);
    else
        recv_from(o, root, p, bytes);
}

void tw_ops_plan_send(tw_ops *o, const void *p, size_t bytes)
{
    assert(o->kind == TW_OP_NONE);
    o->kind = TW_OP_PLAN;
    send_all(o, p, bytes);
}

void tw_ops_plan_recv(tw_ops *o, void *p, size_t max_bytes)
{
    assert(o->kind == TW_OP_NONE && o->rank != 0);
    o->kind = TW_OP_PLAN;
    tw_link_recv(o->links[0], TW_OP_PLAN, p, max_bytes, false);
}

/* 1: something moved, 0: nothing; *ret_busy: a link still has work. */
static int poll_links(tw_ops *o, bool *ret_busy, tw_err *err)
{
    int moved = 0;
    *ret_busy = false;
    for (unsigned i = 0; i < o->n_ranks; i++) {
        tw_link *l = o->links[i];
        if (l == NULL || (tw_link_tx_idle(l) && tw_link_rx_idle(l)))
            continue;
        int rc = tw_link_poll(l, err);
        if (rc < 0)
            return rc;
        moved |= rc;
        *ret_busy |= !tw_link_tx_idle(l) || !tw_link_rx_idle(l);
    }
    return moved;
}

static void sum_progress(tw_ops *o, bool busy)
{
    if (is_sinking(o))
        return;
    if (is_halving(o))
        sum_halving(o);
    else if (o->n_ranks == 2)
        sum_pair(o);
    else if (!busy)
        sum_shot(o);
}

/* The step is over: true when another one was begun. */
static bool begin_next(tw_ops *o)
{
    if (!is_reduce(o))
        return false;
    unsigned n_steps = is_halving(o) ? n_halving_steps(o) : 1;
    if (++o->step < n_steps) {
        begin_step(o);
        return true;
    }
    o->at += o->chunk;
    if (o->at >= o->n)
        return false;
    begin_chunk(o);
    return true;
}

int tw_ops_poll(tw_ops *o, tw_err *err)
{
    /* Bounded: the caller looks at deadlines and deaths while a long message flows. */
    for (unsigned i = 0; o->kind != TW_OP_NONE && i < TW_OPS_LOOKS; i++) {
        bool busy;
        int moved = poll_links(o, &busy, err);
        if (moved < 0)
            return moved;
        o->n_moves += (unsigned)moved;
        if (is_reduce(o) && o->n_ranks > 1)
            sum_progress(o, busy);
        if (busy && moved == 0)
            return -EAGAIN;
        if (!busy && !begin_next(o))
            o->kind = TW_OP_NONE;
    }
    return o->kind == TW_OP_NONE ? 0 : -EAGAIN;
}
