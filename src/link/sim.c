/* SPDX-License-Identifier: Apache-2.0 */
#include "link/sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"

enum { RANKS = TW_FRAME_RANKS_MAX, PIECES = 64 };

typedef struct sim_piece {
    uint64_t at_ns;
    size_t bytes;
} sim_piece;

/* One direction of a pair. */
typedef struct sim_lane {
    uint8_t *data; /* ring [cap] */
    size_t head, used;
    sim_piece pieces[PIECES]; /* ring, order of arrival */
    unsigned i_piece, n_pieces;
    uint64_t left; /* bytes until the cut */
    bool silent, closed;
} sim_lane;

struct tw_sim {
    tw_sim_opts o;
    tw_rng rng;
    uint64_t now_ns, moved_bytes;
    sim_lane lanes[RANKS][RANKS]; /* [from][to] */
};

typedef struct sim_link {
    tw_link l;
    tw_sim *sim;
} sim_link;

static sim_lane *lane_of(tw_link *l, bool out)
{
    tw_sim *s = ((sim_link *)l)->sim; /* first member */
    return out ? &s->lanes[l->rank][l->peer] : &s->lanes[l->peer][l->rank];
}

static void close_pair(tw_sim *s, unsigned a, unsigned b)
{
    s->lanes[a][b].closed = true;
    s->lanes[b][a].closed = true;
}

static bool does_nothing(tw_sim *s)
{
    return tw_rng_below(&s->rng, 100) < s->o.percent_nothing;
}

/* 1 .. n, often all. */
static size_t choose_bytes(tw_sim *s, size_t n)
{
    return tw_rng_below(&s->rng, 2) != 0 ? n : (size_t)tw_rng_below(&s->rng, n) + 1;
}

static size_t total_bytes(const struct iovec *iov, int n_iov)
{
    size_t n = 0;
    for (int i = 0; i < n_iov; i++)
        n += iov[i].iov_len;
    return n;
}

/* Copies n bytes between a ring, from at on, and the front of a list. */
static void copy_ring(uint8_t *ring, size_t cap, size_t at, const struct iovec *iov, size_t n,
                      bool into_ring)
{
    size_t used = 0; /* of iov[0] */
    while (n > 0) {
        size_t k = TW_MIN(TW_MIN(n, iov->iov_len - used), cap - at);
        uint8_t *p = (uint8_t *)iov->iov_base + used;
        if (k > 0 && into_ring)
            memcpy(ring + at, p, k);
        else if (k > 0)
            memcpy(p, ring + at, k);
        n -= k;
        used += k;
        at = at + k < cap ? at + k : 0;
        if (used == iov->iov_len) {
            iov++;
            used = 0;
        }
    }
}

static void add_piece(tw_sim *s, sim_lane *lane, size_t n)
{
    uint64_t at = s->now_ns + tw_rng_below(&s->rng, s->o.delay_max_ns + 1);
    if (lane->n_pieces > 0) {
        const sim_piece *last = &lane->pieces[(lane->i_piece + lane->n_pieces - 1) % PIECES];
        at = TW_MAX(at, last->at_ns);
    }
    lane->pieces[(lane->i_piece + lane->n_pieces) % PIECES] = (sim_piece){at, n};
    lane->n_pieces++;
}

static ssize_t sim_write(tw_link *l, const struct iovec *iov, int n_iov)
{
    tw_sim *s = ((sim_link *)l)->sim;
    sim_lane *lane = lane_of(l, true);
    size_t cap = s->o.buffer_bytes, all = total_bytes(iov, n_iov);
    if (lane->closed)
        return -ECONNRESET;
    if (lane->left == 0) {
        if (lane->silent)
            return (ssize_t)all; /* into the void */
        close_pair(s, l->rank, l->peer);
        return -ECONNRESET;
    }
    size_t n = TW_MIN(all, cap - lane->used);
    if (n == 0 || lane->n_pieces == PIECES || does_nothing(s))
        return 0;
    n = TW_MIN(choose_bytes(s, n), lane->left);
    copy_ring(lane->data, cap, (lane->head + lane->used) % cap, iov, n, true);
    lane->used += n;
    lane->left -= lane->left == UINT64_MAX ? 0 : n;
    add_piece(s, lane, n);
    s->moved_bytes += n;
    return (ssize_t)n;
}

/* What has arrived, whatever the pieces it came in: a reader that comes seldom finds them together. */
static size_t arrived_bytes(const tw_sim *s, const sim_lane *lane)
{
    size_t n = 0;
    for (unsigned i = 0; i < lane->n_pieces; i++) {
        const sim_piece *piece = &lane->pieces[(lane->i_piece + i) % PIECES];
        if (piece->at_ns > s->now_ns)
            break;
        n += piece->bytes;
    }
    return n;
}

static void drop_front(sim_lane *lane, size_t n)
{
    lane->used -= n;
    while (n > 0) {
        sim_piece *piece = &lane->pieces[lane->i_piece];
        const size_t k = TW_MIN(n, piece->bytes);
        piece->bytes -= k;
        n -= k;
        if (piece->bytes > 0)
            return;
        lane->i_piece = (lane->i_piece + 1) % PIECES;
        lane->n_pieces--;
    }
}

static ssize_t sim_read(tw_link *l, const struct iovec *iov, int n_iov)
{
    tw_sim *s = ((sim_link *)l)->sim;
    sim_lane *lane = lane_of(l, false);
    if (lane->n_pieces == 0)
        return lane->closed ? -ECONNRESET : 0;
    size_t n = TW_MIN(total_bytes(iov, n_iov), arrived_bytes(s, lane));
    if (n == 0 || does_nothing(s))
        return 0;
    n = choose_bytes(s, n);
    copy_ring(lane->data, s->o.buffer_bytes, lane->head, iov, n, false);
    lane->head = (lane->head + n) % s->o.buffer_bytes;
    drop_front(lane, n);
    s->moved_bytes += n;
    return (ssize_t)n;
}

static bool sim_arm(tw_link *l, struct pollfd *ret)
{
    (void)l;
    (void)ret;
    return false; /* virtual time: nobody sleeps */
}

static void sim_disarm(tw_link *l, short revents)
{
    (void)l;
    (void)revents;
}

static void sim_close(tw_link *l)
{
    close_pair(((sim_link *)l)->sim, l->rank, l->peer);
    tw_mem_free(l);
}

static const tw_link_ops sim_ops = {.name = "sim",
                                    .write = sim_write,
                                    .read = sim_read,
                                    .arm = sim_arm,
                                    .disarm = sim_disarm,
                                    .close = sim_close};

int tw_sim_new(const tw_sim_opts *opts, tw_sim **ret, tw_err *err)
{
    tw_sim *s = tw_mem_calloc(1, sizeof *s);
    if (s == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a simulation");
    s->o = *opts;
    s->rng = tw_rng_seed(opts->seed);
    for (unsigned i = 0; i < RANKS; i++) {
        for (unsigned k = 0; k < RANKS; k++) {
            s->lanes[i][k].left = UINT64_MAX;
            if (i == k || i >= opts->n_ranks || k >= opts->n_ranks)
                continue;
            s->lanes[i][k].data = tw_mem_alloc(opts->buffer_bytes);
            if (s->lanes[i][k].data == NULL) {
                tw_sim_free(s);
                return tw_err_set(err, -ENOMEM, "no memory for a simulation");
            }
        }
    }
    *ret = s;
    return 0;
}

void tw_sim_free(tw_sim *s)
{
    if (s == NULL)
        return;
    for (unsigned i = 0; i < RANKS; i++)
        for (unsigned k = 0; k < RANKS; k++)
            tw_mem_free(s->lanes[i][k].data);
    tw_mem_free(s);
}

int tw_sim_link(tw_sim *s, unsigned rank, unsigned peer, bool verify, tw_link **ret, tw_err *err)
{
    sim_link *l = tw_mem_calloc(1, sizeof *l);
    if (l == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a simulated link");
    l->sim = s;
    snprintf(l->l.proof.peer, sizeof l->l.proof.peer, "lane %u", peer);
    tw_link_init(&l->l, &sim_ops, (uint8_t)rank, (uint8_t)peer, verify);
    *ret = &l->l;
    return 0;
}

uint64_t tw_sim_now_ns(const tw_sim *s)
{
    return s->now_ns;
}

void tw_sim_advance(tw_sim *s, uint64_t ns)
{
    s->now_ns += ns;
}

uint64_t tw_sim_next_ns(const tw_sim *s)
{
    uint64_t at = TW_NEVER_NS;
    for (unsigned i = 0; i < s->o.n_ranks; i++) {
        for (unsigned k = 0; k < s->o.n_ranks; k++) {
            const sim_lane *lane = &s->lanes[i][k];
            if (lane->n_pieces > 0 && lane->pieces[lane->i_piece].at_ns > s->now_ns)
                at = TW_MIN(at, lane->pieces[lane->i_piece].at_ns);
        }
    }
    return at;
}

uint64_t tw_sim_moved_bytes(const tw_sim *s)
{
    return s->moved_bytes;
}

void tw_sim_cut(tw_sim *s, unsigned rank, unsigned peer, uint64_t after_bytes, bool silent)
{
    s->lanes[rank][peer].left = after_bytes;
    s->lanes[rank][peer].silent = silent;
}

void tw_sim_kill(tw_sim *s, unsigned rank)
{
    for (unsigned i = 0; i < s->o.n_ranks; i++)
        if (i != rank)
            close_pair(s, rank, i);
}
