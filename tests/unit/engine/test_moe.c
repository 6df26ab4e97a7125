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
#include "model/experts.h"

enum { E_MAX = 20, A_MAX = 20, N_MAX = 420, M_MAX = 230 };

/* One layer, as a file would have it, and what goes in. */
static struct {
    tw_model_config c;
    enum tw_dtype types[TW_EXPERT_PARTS];
    float w[TW_EXPERT_PARTS][E_MAX][N_MAX][N_MAX]; /* [F][D] x 2, [D][F] */
    tw_packed whole[TW_EXPERT_PARTS][E_MAX];       /* where quantised: all of it */
    float h[M_MAX][N_MAX], logits[M_MAX][E_MAX];
    float want[M_MAX][N_MAX];
    float parts[TW_SEGMENTS][M_MAX][N_MAX]; /* of the ranks */
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

static size_t n_rows_of(enum tw_expert_part p)
{
    return p == TW_EXPERT_DOWN ? layer.c.d_model : layer.c.expert_ffn;
}

static size_t n_cols_of(enum tw_expert_part p)
{
    return p == TW_EXPERT_DOWN ? layer.c.expert_ffn : layer.c.d_model;
}

/* Rows [at[0], + at[1]), columns [at[2], + at[3]) of a part. */
static tw_packed pack(enum tw_expert_part p, uint32_t e, const size_t at[4])
{
    const enum tw_dtype type = layer.types[p];
    const bool quant = tw_dtype_is_quant(type);
    const size_t n = at[1], k = at[3], n_cols = n_cols_of(p);
    const size_t row_bytes = tw_dtype_row_bytes(type, n_cols), bytes = tw_packed_bytes(type, n, k);
    uint8_t *raw = malloc(n * row_bytes), *data = NULL;
    assert_int_equal(posix_memalign((void **)&data, 64, bytes), 0);
    assert_non_null(raw);
    memset(data, 0, bytes);
    for (size_t r = 0; r < n; r++) {
        if (quant)
            tw_quantize_rows(type, raw + r * row_bytes, layer.w[p][e][at[0] + r], n_cols);
        else
            tw_kern_ref()->from_f32(raw + r * row_bytes, layer.w[p][e][at[0] + r], type, n_cols);
    }
    if (quant)
        tw_pack_quant_rows(type, data, k, 0, raw, n, row_bytes, at[2]);
    else
        tw_pack_rows(type, data, n, k, 0, raw + at[2] * tw_dtype_bytes(type), n, n_cols);
    free(raw);
    return (tw_packed){.type = type, .n = n, .k = k, .data = data};
}

static void drop(const tw_packed *w)
{
    free((void *)(uintptr_t)w->data);
}

/* types: of gate, up, down */
static void make_layer(const tw_model_config *c, const enum tw_dtype types[TW_EXPERT_PARTS])
{
    layer.c = *c;
    memcpy(layer.types, types, sizeof(layer.types));
    for (enum tw_expert_part p = 0; p < TW_EXPERT_PARTS; p++)
        for (uint32_t e = 0; e < c->n_experts; e++) {
            const size_t all[4] = {0, n_rows_of(p), 0, n_cols_of(p)};
            for (size_t r = 0; r < n_rows_of(p); r++)
                for (size_t k = 0; k < n_cols_of(p); k++)
                    layer.w[p][e][r][k] =
                        tw_dtype_is_quant(types[p]) ? number(0.5f) : weight(types[p], 0.5f);
            layer.whole[p][e] = pack(p, e, all);
        }
}

static void drop_layer(void)
{
    for (enum tw_expert_part p = 0; p < TW_EXPERT_PARTS; p++)
        for (uint32_t e = 0; e < layer.c.n_experts; e++)
            drop(&layer.whole[p][e]);
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

/* One segment's sum of each row; of quantised weights kern's own test has shown the order. */
static void chains(enum tw_expert_part p, uint32_t e, const float *x, const uint32_t seg[2],
                   float *ret)
{
    const size_t n = n_rows_of(p);
    uint8_t *scratch = NULL;
    for (size_t r = 0; r < n && !tw_dtype_is_quant(layer.types[p]); r++) {
        ret[r] = 0;
        for (uint32_t k = seg[0]; k < seg[1]; k++)
            ret[r] = fmaf(layer.w[p][e][r][k], x[k], ret[r]);
    }
    if (!tw_dtype_is_quant(layer.types[p]))
        return;
    const tw_matmul op = {.w = &layer.whole[p][e],
                          .x = x,
                          .m = 1,
                          .ldx = n_cols_of(p),
                          .y = ret,
                          .ldy = n,
                          .seg = seg,
                          .n_seg = 1};
    const size_t bytes = (tw_kern_matmul_scratch_bytes(N_MAX) + 63) / 64 * 64;
    assert_int_equal(posix_memalign((void **)&scratch, 64, bytes), 0);
    tw_kern_ref()->matmul(&op, 0, TW_DIV_UP(n, (size_t)TW_PANEL), scratch);
    free(scratch);
}

static void product(enum tw_expert_part p, uint32_t e, const float *x, float *ret)
{
    static float sums[TW_SEGMENTS][N_MAX];
    uint32_t seg[TW_SEGMENTS + 1];
    tw_segments(n_cols_of(p), 32, seg);
    for (unsigned s = 0; s < TW_SEGMENTS; s++)
        chains(p, e, x, seg + s, sums[s]);
    for (size_t r = 0; r < n_rows_of(p); r++) {
        float of_row[TW_SEGMENTS];
        for (unsigned s = 0; s < TW_SEGMENTS; s++)
            of_row[s] = sums[s][r];
        (void)tree(seg, of_row, 0, TW_SEGMENTS, &ret[r]);
    }
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
    static float act[A_MAX][N_MAX], up[N_MAX], acc[N_MAX][TW_SEGMENTS], sum[N_MAX];
    const tw_model_config *c = &layer.c;
    uint32_t ids[A_MAX], seg[TW_SEGMENTS + 1];
    float weights[A_MAX];
    choose(layer.logits[row], ids, weights);
    tw_segments(c->expert_ffn, 32, seg);
    memset(acc, 0, sizeof(acc));
    for (uint32_t a = 0; a < c->experts_per_tok; a++) {
        product(TW_EXPERT_GATE, ids[a], layer.h[row], act[a]);
        product(TW_EXPERT_UP, ids[a], layer.h[row], up);
        for (uint32_t f = 0; f < c->expert_ffn; f++)
            act[a][f] = act[a][f] / (1.0f + tw_expf(-act[a][f])) * up[f];
        for (unsigned s = 0; s < TW_SEGMENTS; s++) {
            chains(TW_EXPERT_DOWN, ids[a], act[a], seg + s, sum);
            for (uint32_t d = 0; d < c->d_model && seg[s] < seg[s + 1]; d++)
                acc[d][s] = fmaf(weights[a], sum[d], acc[d][s]);
        }
    }
    for (uint32_t d = 0; d < c->d_model; d++)
        (void)tree(seg, acc[d], 0, TW_SEGMENTS, &layer.want[row][d]);
}

/* ---- the engine ---- */

typedef struct rank {
    tw_forward f;
    tw_layer l;
    tw_expert experts[E_MAX];
} rank;

static void open_rank(rank *r, unsigned n_ranks, unsigned i)
{
    tw_err err;
    const size_t d = layer.c.d_model;
    *r = (rank){.f = {.cfg = &layer.c, .max_rows = M_MAX}, .l = {.experts = r->experts}};
    assert_int_equal(tw_shard_init(&layer.c, n_ranks, i, &r->f.shard, &err), 0);
    const size_t f0 = r->f.shard.expert_ffn0, f = r->f.shard.n_expert_ffn;
    const size_t rows[4] = {f0, f, 0, d}, columns[4] = {0, d, f0, f};
    for (uint32_t e = 0; e < layer.c.n_experts; e++)
        r->experts[e] = (tw_expert){.gate = pack(TW_EXPERT_GATE, e, rows),
                                    .up = pack(TW_EXPERT_UP, e, rows),
                                    .down = pack(TW_EXPERT_DOWN, e, columns)};
}

static void close_rank(rank *r)
{
    for (uint32_t e = 0; e < layer.c.n_experts; e++) {
        drop(&r->experts[e].gate);
        drop(&r->experts[e].up);
        drop(&r->experts[e].down);
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
    f->moe.room_at = (tw_kern_matmul_scratch_bytes(N_MAX) + 63) / 64 * 64;
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
static void check_split(unsigned n_ranks, const tw_kern *kern, uint32_t n_rows)
{
    static rank r;
    char what[120];
    snprintf(what, sizeof(what), "%s %u ranks %s %s %s E %u A %u D %u F %u", kern->name, n_ranks,
             tw_dtype_name(layer.types[0]), tw_dtype_name(layer.types[1]),
             tw_dtype_name(layer.types[2]), layer.c.n_experts, layer.c.experts_per_tok,
             layer.c.d_model, layer.c.expert_ffn);
    const bool high = n_ranks == 1 && tw_rng_below(&rng, 2) == 0;
    const uint32_t row0 = (uint32_t)tw_rng_below(&rng, n_rows);
    const uint32_t n_part = 1 + (uint32_t)tw_rng_below(&rng, TW_MIN(n_rows - row0, 9u));
    for (unsigned all = 0; all < 2; all++) {
        memset(layer.parts, 0xff, sizeof(layer.parts));
        for (unsigned i = 0; i < n_ranks; i++) {
            open_rank(&r, n_ranks, i);
            r.f.kern = kern;
            r.f.team = teams[tw_rng_below(&rng, TW_ARRAY_LEN(teams))];
            run_rank(&r, i, all ? 0 : row0, all ? n_rows : n_part, high);
            close_rank(&r);
        }
        check_rows(all ? 0 : row0, all ? n_rows : n_part, n_ranks, what);
    }
}

static void check_layer(uint32_t n_rows)
{
    char names[64], *save = NULL;
    for (uint32_t t = 0; t < n_rows; t++)
        compute_row(t);
    snprintf(names, sizeof(names), "%s", tw_kern_names());
    const unsigned allowed = tw_shard_allowed(&layer.c);
    for (char *t = strtok_r(names, " ", &save); t; t = strtok_r(NULL, " ", &save))
        for (unsigned n = 1; n <= TW_SEGMENTS; n *= 2)
            if (allowed & n)
                check_split(n, tw_kern_get(t), n_rows);
    drop_layer();
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
        enum tw_dtype types[TW_EXPERT_PARTS]; /* none: any plain one */
    } shapes[] = {
        {8, 2, 64, 256, 40, {0}},
        {20, 5, 130, 64, 19, {0}},
        {5, 5, 33, 300, 7, {0}},
        {3, 1, 200, 31, 230, {0}},
        {1, 1, 64, 96, 3, {0}},
        {2, 1, 20, 420, 210, {0}},
        {16, 4, 128, 128, 1, {0}},
        {8, 3, 96, 288, 50, {TW_Q8_0, TW_Q8_0, TW_Q8_0}},
        {3, 2, 160, 64, 150, {TW_Q4_0, TW_Q8_0, TW_Q4_0}},
        {4, 2, 64, 320, 30, {TW_BF16, TW_Q4_0, TW_F16}},
        {4, 2, 64, 256, 1, {TW_F32, TW_BF16, TW_Q8_0}},
    };
    for (unsigned i = 0; i < TW_ARRAY_LEN(shapes); i++) {
        const tw_model_config c =
            config_of(shapes[i].n_experts, shapes[i].per_tok, shapes[i].d, shapes[i].f);
        enum tw_dtype types[TW_EXPERT_PARTS];
        memcpy(types, shapes[i].types, sizeof(types));
        for (unsigned p = 0; p < TW_EXPERT_PARTS && shapes[i].types[2] == TW_F32; p++)
            types[p] = (enum tw_dtype)tw_rng_below(&rng, TW_BF16 + 1);
        make_layer(&c, types);
        fill_rows(shapes[i].n_rows);
        check_layer(shapes[i].n_rows);
    }
}

/* Equal probabilities go to the lower ids, also where some are 0, and where softmax rounds logits
 * that differ to the same; all rows to one expert, so that the others have none. */
static void test_ties(void **state)
{
    (void)state;
    const tw_model_config c = config_of(9, 3, 40, 70);
    enum { ROWS = 140 };
    make_layer(&c, (enum tw_dtype[]){TW_BF16, TW_BF16, TW_BF16});
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
    check_layer(ROWS);
}

/* A row that is no number stays its own trouble. */
static void test_no_numbers(void **state)
{
    (void)state;
    const tw_model_config c = config_of(6, 2, 48, 40);
    enum { ROWS = 12 };
    make_layer(&c, (enum tw_dtype[]){TW_F32, TW_F32, TW_F32});
    fill_rows(ROWS);
    layer.logits[3][5] = (float)NAN;
    layer.logits[7][0] = INFINITY;
    for (uint32_t e = 0; e < 6; e++)
        layer.logits[9][e] = -INFINITY;
    layer.h[5][2] = (float)NAN;
    check_layer(ROWS);
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
