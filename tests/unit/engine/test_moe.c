/* SPDX-License-Identifier: Apache-2.0 */
/* The bits of a layer's experts against moe.h's order, written down once more from plain weights, for
 * every table, dtype, split, team and number of rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/scope.h"
#include "engine/forward.h"

enum { E_MAX = 20, A_MAX = 20, D_MAX = 200, F_MAX = 420, M_MAX = 230 };

/* One layer, as a file would have it, and what goes in. */
static struct {
    tw_model_config c;
    float gate[E_MAX][F_MAX][D_MAX]; /* [E][F][D] */
    float up[E_MAX][F_MAX][D_MAX];
    float down[E_MAX][D_MAX][F_MAX];
    float h[M_MAX][D_MAX], logits[M_MAX][E_MAX];
    float want[M_MAX][D_MAX];
    float parts[TW_SEGMENTS][M_MAX][D_MAX]; /* of the ranks */
} layer;

static tw_rng rng;

static float number(float scale)
{
    return (tw_rng_f32(&rng) - 0.5f) * scale;
}

/* A weight that dtype holds exactly. */
static float weight(enum tw_dtype type, float scale)
{
    const float v = number(scale);
    uint32_t raw = 0;
    float exact;
    tw_kern_ref()->from_f32(&raw, &v, type, 1);
    tw_kern_ref()->to_f32(&exact, &raw, type, 1);
    return exact;
}

static void make_layer(const tw_model_config *c, enum tw_dtype type)
{
    layer.c = *c;
    for (uint32_t e = 0; e < c->n_experts; e++)
        for (uint32_t f = 0; f < c->expert_ffn; f++)
            for (uint32_t d = 0; d < c->d_model; d++) {
                layer.gate[e][f][d] = weight(type, 0.5f);
                layer.up[e][f][d] = weight(type, 0.5f);
                layer.down[e][d][f] = weight(type, 0.5f);
            }
}

/* ---- the order, once more ---- */

static bool tree(const uint32_t *seg, const float *sums, unsigned s, unsigned n, float *ret)
{
    float a = 0, b = 0;
    if (n == 1) {
        *ret = sums[s];
        return seg[s] < seg[s + 1];
    }
    const bool has_a = tree(seg, sums, s, n / 2, &a), has_b = tree(seg, sums, s + n / 2, n / 2, &b);
    *ret = has_a && has_b ? a + b : has_a ? a : b;
    return has_a || has_b;
}

static float chain(const float *w, const float *x, uint32_t from, uint32_t to)
{
    float acc = 0;
    for (uint32_t k = from; k < to; k++)
        acc = fmaf(w[k], x[k], acc);
    return acc;
}

static float product(const float *w, const float *x, uint32_t k)
{
    uint32_t seg[TW_SEGMENTS + 1];
    float sums[TW_SEGMENTS], y = 0;
    tw_segments(k, 32, seg);
    for (unsigned s = 0; s < TW_SEGMENTS; s++)
        sums[s] = chain(w, x, seg[s], seg[s + 1]);
    (void)tree(seg, sums, 0, TW_SEGMENTS, &y);
    return y;
}

/* The ids that are chosen by repeated search, then ascending; their weights. */
static void choose(const float *logits, uint32_t *ids, float *weights)
{
    const tw_model_config *c = &layer.c;
    float p[E_MAX];
    bool taken[E_MAX] = {false};
    uint32_t n = 0;
    tw_kern_ref()->softmax(p, logits, c->n_experts);
    for (uint32_t a = 0; a < c->experts_per_tok; a++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t e = 0; e < c->n_experts; e++)
            if (!taken[e] && (best == UINT32_MAX || p[e] > p[best]))
                best = e;
        taken[best] = true;
    }
    float sum = 0;
    for (uint32_t e = 0; e < c->n_experts; e++)
        if (taken[e]) {
            ids[n] = e;
            weights[n++] = p[e];
            sum += p[e];
        }
    for (uint32_t a = 0; a < n && c->norm_topk; a++)
        weights[a] = weights[a] / sum;
}

static void compute_row(uint32_t row)
{
    const tw_model_config *c = &layer.c;
    uint32_t ids[A_MAX], seg[TW_SEGMENTS + 1];
    float weights[A_MAX], act[A_MAX][F_MAX];
    choose(layer.logits[row], ids, weights);
    tw_segments(c->expert_ffn, 32, seg);
    for (uint32_t a = 0; a < c->experts_per_tok; a++)
        for (uint32_t f = 0; f < c->expert_ffn; f++) {
            const float g = product(layer.gate[ids[a]][f], layer.h[row], c->d_model);
            const float u = product(layer.up[ids[a]][f], layer.h[row], c->d_model);
            act[a][f] = g / (1.0f + tw_expf(-g)) * u;
        }
    for (uint32_t d = 0; d < c->d_model; d++) {
        float acc[TW_SEGMENTS] = {0};
        for (uint32_t a = 0; a < c->experts_per_tok; a++)
            for (unsigned s = 0; s < TW_SEGMENTS; s++)
                if (seg[s] < seg[s + 1])
                    acc[s] = fmaf(weights[a],
                                  chain(layer.down[ids[a]][d], act[a], seg[s], seg[s + 1]), acc[s]);
        (void)tree(seg, acc, 0, TW_SEGMENTS, &layer.want[row][d]);
    }
}

/* ---- the engine ---- */

/* Rows [row0, row0 + n_rows), columns [col0, col0 + n_cols) of w [][ld]. */
static tw_packed pack(enum tw_dtype type, const float *w, size_t ld, const size_t at[4])
{
    const size_t row0 = at[0], n_rows = at[1], col0 = at[2], n_cols = at[3];
    uint8_t *raw = malloc(n_rows * n_cols * 4), *data = NULL;
    const size_t bytes = tw_packed_bytes(type, n_rows, n_cols);
    assert_int_equal(posix_memalign((void **)&data, 64, bytes), 0);
    assert_non_null(raw);
    memset(data, 0, bytes);
    for (size_t r = 0; r < n_rows; r++)
        tw_kern_ref()->from_f32(raw + r * n_cols * tw_dtype_bytes(type), w + (row0 + r) * ld + col0,
                                type, n_cols);
    tw_pack_rows(type, data, n_rows, n_cols, 0, raw, n_rows, n_cols);
    free(raw);
    return (tw_packed){.type = type, .n = n_rows, .k = n_cols, .data = data};
}

typedef struct rank {
    tw_forward f;
    tw_layer l;
    tw_expert experts[E_MAX];
} rank;

static void open_rank(rank *r, unsigned n_ranks, unsigned i, enum tw_dtype type)
{
    tw_err err;
    const size_t d = layer.c.d_model;
    *r = (rank){.f = {.cfg = &layer.c, .max_rows = M_MAX}, .l = {.experts = r->experts}};
    assert_int_equal(tw_shard_init(&layer.c, n_ranks, i, &r->f.shard, &err), 0);
    const size_t f0 = r->f.shard.expert_ffn0, f = r->f.shard.n_expert_ffn;
    for (uint32_t e = 0; e < layer.c.n_experts; e++) {
        const size_t rows[4] = {f0, f, 0, d}, columns[4] = {0, d, f0, f};
        r->experts[e].gate = pack(type, layer.gate[e][0], D_MAX, rows);
        r->experts[e].up = pack(type, layer.up[e][0], D_MAX, rows);
        r->experts[e].down = pack(type, layer.down[e][0], F_MAX, columns);
    }
}

static void close_rank(rank *r)
{
    for (uint32_t e = 0; e < layer.c.n_experts; e++) {
        free((void *)(uintptr_t)r->experts[e].gate.data);
        free((void *)(uintptr_t)r->experts[e].up.data);
        free((void *)(uintptr_t)r->experts[e].down.data);
    }
}

/* Rows [row0, row0 + n_rows) of this rank's part, into layer.parts[i]; high: the upper half apart. */
static void run_rank(rank *r, unsigned i, uint32_t row0, uint32_t n_rows, bool high)
{
    tw_forward *f = &r->f;
    const size_t d = layer.c.d_model, n_e = layer.c.n_experts;
    void *work = NULL, *scratch = NULL;
    float *h = malloc(n_rows * d * sizeof(float)), *y = malloc(2 * n_rows * d * sizeof(float));
    f->n_threads = tw_team_size(f->team);
    f->moe.room_at = (tw_kern_matmul_scratch_bytes(F_MAX) + 63) / 64 * 64;
    f->scratch_bytes = (f->moe.room_at + tw_moe_room_bytes(f) + 63) / 64 * 64;
    assert_int_equal(posix_memalign(&work, 64, tw_moe_bytes(f)), 0);
    assert_int_equal(posix_memalign(&scratch, 64, f->n_threads * f->scratch_bytes), 0);
    memset(work, 0xff, tw_moe_bytes(f)); /* all NaN: nothing is read before it is written */
    memset(scratch, 0xff, f->n_threads * f->scratch_bytes);
    assert_true(h != NULL && y != NULL);
    memset(y, 0xff, 2 * n_rows * d * sizeof(float));
    f->scratch = scratch;
    tw_moe_place(f, work);
    f->h = h;
    f->partial = y;
    f->high = high ? y + n_rows * d : NULL;
    for (uint32_t t = 0; t < n_rows; t++) {
        memcpy(h + t * d, layer.h[row0 + t], d * sizeof(float));
        memcpy(f->moe.probs + t * n_e, layer.logits[row0 + t], n_e * sizeof(float));
    }
    const uint64_t n_alloc = tw_mem_count();
    tw_moe_run(f, &r->l, n_rows);
    assert_int_equal(tw_mem_count(), n_alloc);
    for (uint32_t t = 0; t < n_rows; t++)
        for (size_t k = 0; k < d; k++)
            layer.parts[i][row0 + t][k] =
                high ? y[t * d + k] + y[(n_rows + t) * d + k] : y[t * d + k];
    free(work);
    free(scratch);
    free(h);
    free(y);
}

static void check_rows(uint32_t row0, uint32_t n_rows, unsigned n_ranks, const char *what)
{
    for (uint32_t t = row0; t < row0 + n_rows; t++)
        for (uint32_t k = 0; k < layer.c.d_model; k++) {
            float p[TW_SEGMENTS];
            for (unsigned i = 0; i < n_ranks; i++)
                p[i] = layer.parts[i][t][k];
            for (unsigned n = n_ranks; n > 1; n /= 2)
                for (unsigned i = 0; i < n / 2; i++)
                    p[i] = p[2 * i] + p[2 * i + 1];
            if (memcmp(&p[0], &layer.want[t][k], sizeof(float)) != 0 &&
                !(isnan(p[0]) && isnan(layer.want[t][k])))
                fail_msg("%s: row %u of [%u, %u) column %u: %a, wanted %a", what, t, row0,
                         row0 + n_rows, k, (double)p[0], (double)layer.want[t][k]);
        }
}

static tw_team *teams[3];

/* All rows at once, then some of them in steps of random sizes. */
static void check_split(unsigned n_ranks, const tw_kern *kern, enum tw_dtype type, uint32_t n_rows)
{
    static rank r;
    char what[120];
    snprintf(what, sizeof(what), "%s %u ranks type %d E %u A %u D %u F %u", kern->name, n_ranks,
             (int)type, layer.c.n_experts, layer.c.experts_per_tok, layer.c.d_model,
             layer.c.expert_ffn);
    const bool high = n_ranks == 1 && tw_rng_below(&rng, 2) == 0;
    const uint32_t row0 = (uint32_t)tw_rng_below(&rng, n_rows);
    const uint32_t n_part = 1 + (uint32_t)tw_rng_below(&rng, TW_MIN(n_rows - row0, 9u));
    for (unsigned all = 0; all < 2; all++) {
        memset(layer.parts, 0xff, sizeof(layer.parts));
        for (unsigned i = 0; i < n_ranks; i++) {
            open_rank(&r, n_ranks, i, type);
            r.f.kern = kern;
            r.f.team = teams[tw_rng_below(&rng, TW_ARRAY_LEN(teams))];
            run_rank(&r, i, all ? 0 : row0, all ? n_rows : n_part, high);
            close_rank(&r);
        }
        check_rows(all ? 0 : row0, all ? n_rows : n_part, n_ranks, what);
    }
}

static void check_layer(enum tw_dtype type, uint32_t n_rows)
{
    char names[64], *save = NULL;
    for (uint32_t t = 0; t < n_rows; t++)
        compute_row(t);
    snprintf(names, sizeof(names), "%s", tw_kern_names());
    const unsigned allowed = tw_shard_allowed(&layer.c);
    for (char *t = strtok_r(names, " ", &save); t; t = strtok_r(NULL, " ", &save))
        for (unsigned n = 1; n <= TW_SEGMENTS; n *= 2)
            if (allowed & n)
                check_split(n, tw_kern_get(t), type, n_rows);
}

static void fill_rows(uint32_t n_rows)
{
    for (uint32_t t = 0; t < n_rows; t++) {
        for (uint32_t k = 0; k < layer.c.d_model; k++)
            layer.h[t][k] = number(3);
        for (uint32_t e = 0; e < layer.c.n_experts; e++)
            layer.logits[t][e] = number(8);
    }
}

static tw_model_config config_of(uint32_t n_experts, uint32_t per_tok, uint32_t d, uint32_t f)
{
    return (tw_model_config){.n_layers = 1,
                             .d_model = d,
                             .n_heads = 8,
                             .n_kv_heads = 8,
                             .head_dim = 8,
                             .vocab = 1024,
                             .n_experts = n_experts,
                             .experts_per_tok = per_tok,
                             .expert_ffn = f,
                             .norm_topk = tw_rng_below(&rng, 2) == 0,
                             .experts = {true},
                             .n_expert_layers = 1};
}

static void test_any_shape(void **state)
{
    (void)state;
    static const struct {
        uint32_t n_experts, per_tok, d, f, n_rows;
    } shapes[] = {{8, 2, 64, 256, 40},  {20, 5, 130, 64, 19}, {5, 5, 33, 300, 7},
                  {3, 1, 200, 31, 230}, {1, 1, 64, 96, 3},    {2, 1, 20, 420, 210},
                  {16, 4, 128, 128, 1}};
    for (unsigned i = 0; i < TW_ARRAY_LEN(shapes); i++) {
        const tw_model_config c =
            config_of(shapes[i].n_experts, shapes[i].per_tok, shapes[i].d, shapes[i].f);
        const enum tw_dtype type = (enum tw_dtype)tw_rng_below(&rng, TW_BF16 + 1);
        make_layer(&c, type);
        fill_rows(shapes[i].n_rows);
        check_layer(type, shapes[i].n_rows);
    }
}

/* Equal probabilities go to the lower ids, also where some are 0, and where softmax rounds logits
 * that differ to the same; all rows to one expert, so that the others have none. */
static void test_ties(void **state)
{
    (void)state;
    const tw_model_config c = config_of(9, 3, 40, 70);
    enum { ROWS = 140 };
    make_layer(&c, TW_BF16);
    fill_rows(ROWS);
    for (uint32_t t = 0; t < ROWS; t++)
        for (uint32_t e = 0; e < 9; e++) {
            float *x = &layer.logits[t][e];
            if (t < 20)
                *x = 1.5f; /* all the same: 0, 1, 2 */
            else if (t < 40)
                *x = e == 7 ? 200.0f : number(3); /* one, and two of those with 0 */
            else if (t < 60)
                *x = e % 3 == 1 ? 2.0f : e == 8 ? 0x1.000002p+1f : -1.0f;
            else if (t < 80)
                *x = (float)(int)tw_rng_below(&rng, 3);
            else if (t < 120)
                *x = e >= 4 && e < 7 ? 9.0f : -9.0f; /* the others have no row */
        }
    uint32_t ids[A_MAX];
    float weights[A_MAX];
    choose(layer.logits[0], ids, weights);
    assert_true(ids[0] == 0 && ids[1] == 1 && ids[2] == 2);
    choose(layer.logits[20], ids, weights);
    assert_true(ids[0] == 0 && ids[1] == 1 && ids[2] == 7 && weights[2] >= 1.0f);
    check_layer(TW_BF16, ROWS);
}

/* A row that is no number stays its own trouble. */
static void test_no_numbers(void **state)
{
    (void)state;
    const tw_model_config c = config_of(6, 2, 48, 40);
    enum { ROWS = 12 };
    make_layer(&c, TW_F32);
    fill_rows(ROWS);
    layer.logits[3][5] = (float)NAN;
    layer.logits[7][0] = INFINITY;
    for (uint32_t e = 0; e < 6; e++)
        layer.logits[9][e] = -INFINITY;
    layer.h[5][2] = (float)NAN;
    check_layer(TW_F32, ROWS);
    assert_true(isnan(layer.want[3][0]) && isnan(layer.want[9][47]) && isfinite(layer.want[4][0]));
}

static int start(void **state)
{
    (void)state;
    const char *text = getenv("TW_SEED");
    const uint64_t seed = text ? strtoull(text, NULL, 0) : tw_clock_now_ns() % 1000000007;
    printf("# TW_SEED=%llu\n", (unsigned long long)seed);
    rng = tw_rng_seed(seed);
    tw_err err;
    for (unsigned i = 0; i < TW_ARRAY_LEN(teams); i++)
        if (tw_team_new(1 + 2 * i, NULL, &teams[i], &err) != 0)
            return -1;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TW_ARRAY_LEN(teams); i++)
        tw_team_free(teams[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_shape),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_no_numbers),
    };
    return cmocka_run_group_tests_name("engine_moe", tests, start, stop);
}
