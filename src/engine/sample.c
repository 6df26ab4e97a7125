/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/sample.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/scope.h"

enum { IN_PROMPT = 0x8000, COUNT_MASK = 0x7fff };
/* Of a whole row so many are sorted at first; where the cut lies beyond them, so many times more. */
enum { SORTED_FIRST = 256, SORTED_MORE = 8 };
/* Logits looked at together: they stay in the innermost cache while they are looked at again. */
enum { SCAN = 4096 };

static bool is_greedy(const tw_seq *s)
{
    return s->params.temperature <= 0.0f;
}

static bool is_cut(const tw_seq *s)
{
    const tw_seq_params *p = &s->params;
    return p->top_k != 0 || p->top_p < 1.0f || p->min_p > 0.0f;
}

static bool wants_norm(const tw_seq *s)
{
    return s->params.top_k == 0 && s->params.top_p < 1.0f;
}

size_t tw_row_wire_bytes(const tw_seq *s)
{
    return is_greedy(s) || !is_cut(s) ? offsetof(tw_row_best, best[1]) : sizeof(tw_row_best);
}

static int compare_candidates(const void *pa, const void *pb)
{
    const tw_candidate *a = pa, *b = pb;
    return tw_candidate_before(*a, *b) ? -1 : tw_candidate_before(*b, *a);
}

static float penalise(const tw_seq_params *p, uint16_t count, float x)
{
    if (p->repetition_penalty != 1.0f)
        x = x > 0.0f ? x / p->repetition_penalty : x * p->repetition_penalty;
    uint16_t n = count & COUNT_MASK;
    if (n != 0) {
        x -= (float)n * p->frequency_penalty;
        x -= p->presence_penalty;
    }
    return x;
}

void tw_sample_shape(const tw_seq *s, float *logits, uint32_t vocab0, uint32_t n_vocab)
{
    if (s->has_counts)
        for (uint32_t i = 0; i < n_vocab; i++)
            if (s->counts[vocab0 + i] != 0)
                logits[i] = penalise(&s->params, s->counts[vocab0 + i], logits[i]);
    if (!is_greedy(s) && s->params.temperature != 1.0f)
        for (uint32_t i = 0; i < n_vocab; i++)
            logits[i] /= s->params.temperature;
}

static float gumbel(const tw_seq *s, uint32_t id)
{
    const tw_seq_params *p = &s->params;
    const uint32_t key[2] = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32)};
    const uint32_t ctr[4] = {id, s->len + 1, p->choice, 0x53414d50u};
    uint32_t out[4];
    tw_rng_philox(key, ctr, out);
    double u = (double)tw_rng_unit(out[0]);
    return (float)-tw_ln(-tw_ln(u));
}

/* Largest noise there is: u = 1 - 2^-24. Lets a scan skip ids that cannot win. */
static const float gumbel_max = 17.0f;

/* Winner of z + noise without a cut, over this rank's ids. */
static tw_candidate best_noisy(const tw_seq *s, const float *z, uint32_t vocab0, uint32_t n)
{
    float best = -INFINITY, best_z = -INFINITY;
    uint32_t best_id = vocab0;
    for (uint32_t i = 0; i < n; i++) {
        if (z[i] + gumbel_max < best)
            continue;
        float v = z[i] + gumbel(s, vocab0 + i);
        if (v > best || (v == best && z[i] > best_z)) {
            best = v;
            best_z = z[i];
            best_id = vocab0 + i;
        }
    }
    return (tw_candidate){.z = best_z, .id = best_id};
}

/* Keeps the worst of the kept at heap[0]; what lies below i is in order already. */
static void sift_down(tw_candidate *heap, uint32_t n, uint32_t i)
{
    for (;;) {
        uint32_t c = 2 * i + 1;
        if (c >= n)
            return;
        if (c + 1 < n && tw_candidate_before(heap[c], heap[c + 1]))
            c++;
        if (!tw_candidate_before(heap[i], heap[c]))
            return;
        tw_candidate t = heap[i];
        heap[i] = heap[c];
        heap[c] = t;
        i = c;
    }
}

static uint32_t select_best(const float *z, uint32_t vocab0, uint32_t n, tw_candidate *out)
{
    uint32_t n_out = TW_MIN(n, (uint32_t)TW_CANDIDATES);
    for (uint32_t i = 0; i < n_out; i++)
        out[i] = (tw_candidate){.z = z[i], .id = vocab0 + i};
    qsort(out, n_out, sizeof(*out), compare_candidates);
    for (uint32_t i = 0; i < n_out / 2; i++) { /* worst first: a sorted array is a heap */
        tw_candidate t = out[i];
        out[i] = out[n_out - 1 - i];
        out[n_out - 1 - i] = t;
    }
    for (uint32_t i = n_out; i < n; i++) {
        if (z[i] <= out[0].z) /* equal z: the later id loses */
            continue;
        out[0] = (tw_candidate){.z = z[i], .id = vocab0 + i};
        sift_down(out, n_out, 0);
    }
    qsort(out, n_out, sizeof(*out), compare_candidates);
    return n_out;
}

static float tree16(float *lane)
{
    for (unsigned h = 8; h > 0; h /= 2)
        for (unsigned i = 0; i < h; i++)
            lane[i] += lane[i + h];
    return lane[0];
}

/* Sum of exp(z - m) over z [n], 64-id blocks ascending. */
static float sum_exp(const tw_kern *k, const float *z, uint32_t n, float m)
{
    float sum = 0.0f;
    for (uint32_t i0 = 0; i0 < n; i0 += 64) {
        uint32_t n_blk = TW_MIN(64u, n - i0);
        float e[64], lane[TW_LANES] = {0};
        for (uint32_t i = 0; i < n_blk; i++)
            e[i] = z[i0 + i] - m;
        k->exp(e, e, n_blk);
        for (uint32_t i = 0; i < n_blk; i++)
            lane[i % TW_LANES] += e[i];
        sum += tree16(lane);
    }
    return sum;
}

static void segment_sums(const tw_kern *k, const float *z, uint32_t vocab0, uint32_t n_vocab,
                         const uint32_t *seg_v, tw_row_best *ret)
{
    for (unsigned s = 0; s < TW_SEGMENTS; s++) {
        ret->seg[s].m = -INFINITY;
        ret->seg[s].l = 0.0f;
        if (seg_v[s] < vocab0 || seg_v[s + 1] > vocab0 + n_vocab || seg_v[s] == seg_v[s + 1])
            continue;
        const float *zs = z + (seg_v[s] - vocab0);
        uint32_t n = seg_v[s + 1] - seg_v[s];
        ret->seg[s].m = zs[k->argmax(zs, n)];
        ret->seg[s].l = sum_exp(k, zs, n, ret->seg[s].m);
    }
}

/* The first of the largest of z [n], which comes from memory once; false: some are not finite. */
static bool find_best(const tw_kern *k, const float *z, uint32_t n, uint32_t *ret)
{
    uint32_t best = 0;
    for (uint32_t i0 = 0; i0 < n; i0 += SCAN) {
        const uint32_t n_scan = TW_MIN((uint32_t)SCAN, n - i0);
        if (!k->all_finite(z + i0, n_scan))
            return false;
        const uint32_t i = i0 + (uint32_t)k->argmax(z + i0, n_scan);
        if (z[i] > z[best])
            best = i;
    }
    *ret = best;
    return true;
}

void tw_sample_best(const tw_kern *k, const tw_seq *s, const float *z, uint32_t vocab0,
                    uint32_t n_vocab, const uint32_t *seg_v, tw_row_best *ret)
{
    memset(ret, 0, tw_row_wire_bytes(s));
    if (is_greedy(s)) {
        uint32_t i = 0;
        ret->not_finite = !find_best(k, z, n_vocab, &i);
        ret->n = !ret->not_finite;
        if (ret->n == 1)
            ret->best[0] = (tw_candidate){.z = z[i], .id = vocab0 + i};
        return;
    }
    ret->not_finite = !k->all_finite(z, n_vocab);
    if (ret->not_finite)
        return;
    if (!is_cut(s)) {
        ret->n = 1;
        ret->best[0] = best_noisy(s, z, vocab0, n_vocab);
        return;
    }
    ret->n = select_best(z, vocab0, n_vocab, ret->best);
    ret->more = n_vocab > ret->n;
    if (wants_norm(s))
        segment_sums(k, z, vocab0, n_vocab, seg_v, ret);
}

/* Z from all segments, each owned by exactly one rank. */
static float norm_of(const tw_row_best *const *rows, unsigned n_ranks, float max_z)
{
    float v[TW_SEGMENTS];
    bool has[TW_SEGMENTS];
    for (unsigned s = 0; s < TW_SEGMENTS; s++) {
        v[s] = 0.0f;
        has[s] = false;
        for (unsigned r = 0; r < n_ranks; r++)
            if (rows[r]->seg[s].l > 0.0f) {
                v[s] = rows[r]->seg[s].l * tw_expf(rows[r]->seg[s].m - max_z);
                has[s] = true;
            }
    }
    for (unsigned step = 1; step < TW_SEGMENTS; step *= 2)
        for (unsigned s = 0; s < TW_SEGMENTS; s += 2 * step) {
            if (has[s] && has[s + step])
                v[s] += v[s + step];
            else if (has[s + step])
                v[s] = v[s + step];
            has[s] = has[s] || has[s + step];
        }
    return v[0];
}

/* How many of the sorted candidates stay after top-k, top-p and min-p; 0: not certain yet. whole:
 * order holds the whole vocabulary. norm: Z. */
static uint32_t count_kept(const tw_seq_params *p, const tw_candidate *order, uint32_t n,
                           bool whole, float norm)
{
    uint32_t n_k = p->top_k != 0 && (p->top_k < n || !whole) ? p->top_k : n;
    if (n_k > n)
        return 0;
    const float max_z = order[0].z;
    float total = norm;
    if (p->top_k != 0 && p->top_p < 1.0f) {
        total = 0.0f;
        for (uint32_t i = 0; i < n_k; i++)
            total += tw_expf(order[i].z - max_z);
    }
    float cum = 0.0f;
    for (uint32_t i = 0; i < n_k; i++) {
        float e = tw_expf(order[i].z - max_z);
        if (i > 0 && p->min_p > 0.0f && e < p->min_p)
            return i;
        cum += e;
        if (p->top_p < 1.0f && cum >= p->top_p * total)
            return i + 1;
    }
    return whole || p->top_k != 0 ? n_k : 0;
}

static uint32_t pick_noisy(const tw_seq *s, const tw_candidate *order, uint32_t n)
{
    float best = -INFINITY;
    uint32_t id = order[0].id;
    for (uint32_t i = 0; i < n && order[i].z + gumbel_max >= best; i++) {
        float v = order[i].z + gumbel(s, order[i].id);
        if (v > best) {
            best = v;
            id = order[i].id;
        }
    }
    return id;
}

/* Merges the ranks' lists into order as far as it is certain: up to the end of the first list whose
 * rank has more ids than it sent. */
static uint32_t merge_best(const tw_row_best *const *rows, unsigned n_ranks, tw_candidate *order,
                           bool *ret_whole)
{
    uint32_t at[TW_RANKS_MAX] = {0}, n = 0;
    *ret_whole = true;
    for (;;) {
        int best = -1;
        for (unsigned r = 0; r < n_ranks; r++) {
            if (at[r] == rows[r]->n) {
                if (!rows[r]->more)
                    continue;
                *ret_whole = false;
                return n;
            }
            if (best < 0 || tw_candidate_before(rows[r]->best[at[r]], rows[best]->best[at[best]]))
                best = (int)r;
        }
        if (best < 0)
            return n;
        order[n++] = rows[best]->best[at[best]++];
    }
}

int tw_sample_pick(const tw_seq *s, const tw_row_best *const *rows, unsigned n_ranks,
                   uint32_t *ret_id)
{
    tw_candidate order[TW_CANDIDATES * TW_RANKS_MAX];
    bool whole;
    uint32_t n = merge_best(rows, n_ranks, order, &whole);
    if (n == 0)
        return -EAGAIN;
    if (is_greedy(s)) {
        *ret_id = order[0].id;
        return 0;
    }
    if (!is_cut(s)) {
        *ret_id = pick_noisy(s, order, n);
        return 0;
    }
    float norm = wants_norm(s) ? norm_of(rows, n_ranks, order[0].z) : 0.0f;
    uint32_t n_kept = count_kept(&s->params, order, n, whole, norm);
    if (n_kept == 0)
        return -EAGAIN;
    *ret_id = pick_noisy(s, order, n_kept);
    return 0;
}

uint32_t tw_sample_pick_full(const tw_kern *k, const tw_seq *s, const float *z, uint32_t vocab,
                             const uint32_t *seg_v, tw_candidate *order)
{
    if (is_greedy(s))
        return (uint32_t)k->argmax(z, vocab);
    if (!is_cut(s))
        return best_noisy(s, z, 0, vocab).id;
    tw_row_best row = {.n = 0};

    float norm = 0.0f;
    if (wants_norm(s)) {
        segment_sums(k, z, 0, vocab, seg_v, &row);
        const tw_row_best *rows[1] = {&row};
        norm = norm_of(rows, 1, z[k->argmax(z, vocab)]);
    }
    tw_order o;
    tw_order_init(&o, z, vocab);
    uint32_t n_kept = 0;
    for (uint32_t n = TW_MAX(s->params.top_k, (uint32_t)SORTED_FIRST); n_kept == 0;) {
        n = tw_order_take(&o, TW_MIN(n, vocab), order);
        n_kept = count_kept(&s->params, order, n, n == vocab, norm);
        n = TW_MIN(n, vocab / SORTED_MORE) * SORTED_MORE + SORTED_MORE;
    }
    return pick_noisy(s, order, n_kept);
}
