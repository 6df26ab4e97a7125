/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/wide/wide.h"

void TW_FN(rmsnorm)(float *y, const float *x, const float *w, size_t n, float eps)
{
    vf l[16 / TW_W];
    TW_UNROLL
    for (size_t j = 0; j < 16 / TW_W; j++)
        l[j] = v_zero();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        TW_UNROLL
        for (size_t j = 0; j < 16 / TW_W; j++) {
            vf v = v_load(x + i + j * TW_W);
            l[j] = v_fma(v, v, l[j]);
        }
    }
    /* A masked lane adds +0 to a sum of squares, which is never -0: no change. */
    for (size_t j = 0; i + j * TW_W < n; j++) {
        vf v = v_load_n(x + i + j * TW_W, n - i - j * TW_W);
        l[j] = v_fma(v, v, l[j]);
    }
    vf mean = v_div(v_set1(v_tree16(l)), v_set1((float)n));
    vf r = v_div(v_set1(1.0f), v_sqrt(v_add(mean, v_set1(eps))));
    for (i = 0; i < n; i += TW_W) {
        vf v = v_mul(v_mul(v_load_n(x + i, n - i), r), v_load_n(w + i, n - i));
        v_store_n(y + i, v, n - i);
    }
}

void TW_FN(rope)(float *x, size_t n_heads, size_t ld, size_t n_rot, const float *c, const float *s)
{
    size_t half = n_rot / 2;
    for (size_t h = 0; h < n_heads; h++) {
        float *a = x + h * ld, *b = a + half; /* [n_rot / 2] each */
        for (size_t i = 0; i < half; i += TW_W) {
            size_t n = half - i;
            vf x1 = v_load_n(a + i, n), x2 = v_load_n(b + i, n);
            vf vc = v_load_n(c + i, n), vs = v_load_n(s + i, n);
            v_store_n(a + i, v_sub(v_mul(x1, vc), v_mul(x2, vs)), n);
            v_store_n(b + i, v_add(v_mul(x2, vc), v_mul(x1, vs)), n);
        }
    }
}

void TW_FN(silu_mul)(float *y, const float *g, const float *u, size_t n)
{
    vf one = v_set1(1.0f);
    for (size_t i = 0; i < n; i += TW_W) {
        vf v = v_load_n(g + i, n - i);
        v = v_div(v, v_add(one, v_exp(v_neg(v))));
        v_store_n(y + i, v_mul(v, v_load_n(u + i, n - i)), n - i);
    }
}

void TW_FN(add)(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i += TW_W)
        v_store_n(y + i, v_add(v_load_n(a + i, n - i), v_load_n(b + i, n - i)), n - i);
}

void TW_FN(axpy)(float *y, float a, const float *x, size_t n)
{
    const vf va = v_set1(a);
    for (size_t i = 0; i < n; i += TW_W)
        v_store_n(y + i, v_fma(va, v_load_n(x + i, n - i), v_load_n(y + i, n - i)), n - i);
}

/* What lies past n is loaded as +0, which changes no sum of exponentials. argmax of a NaN may be
 * any place, n too: then all is NaN, whatever is subtracted. */
void TW_FN(softmax)(float *y, const float *x, size_t n)
{
    const size_t i_max = TW_FN(argmax)(x, n);
    const vf m = v_set1(x[i_max < n ? i_max : 0]);
    for (size_t i = 0; i < n; i += TW_W)
        v_store_n(y + i, v_exp(v_sub(v_load_n(x + i, n - i), m)), n - i);
    vf l[16 / TW_W];
    TW_UNROLL
    for (size_t j = 0; j < 16 / TW_W; j++)
        l[j] = v_zero();
    for (size_t i = 0; i < n; i += 16) {
        for (size_t j = 0; j < 16 / TW_W && i + j * TW_W < n; j++)
            l[j] = v_add(l[j], v_load_n(y + i + j * TW_W, n - i - j * TW_W));
    }
    const vf sum = v_set1(v_tree16(l));
    for (size_t i = 0; i < n; i += TW_W)
        v_store_n(y + i, v_div(v_load_n(y + i, n - i), sum), n - i);
}

void TW_FN(exp)(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += TW_W)
        v_store_n(y + i, v_exp(v_load_n(x + i, n - i)), n - i);
}

/* The largest value, then the first place that equals it. */
size_t TW_FN(argmax)(const float *x, size_t n)
{
    vf m[4];
    TW_UNROLL
    for (size_t j = 0; j < 4; j++)
        m[j] = v_set1(x[0]);
    size_t i = 0;
    for (; i + 4 * TW_W <= n; i += 4 * TW_W) {
        TW_UNROLL
        for (size_t j = 0; j < 4; j++)
            m[j] = v_max(v_load(x + i + j * TW_W), m[j]);
    }
    float best = v_max_all(v_max(v_max(m[0], m[1]), v_max(m[2], m[3])));
    for (; i < n; i++)
        best = x[i] > best ? x[i] : best;
    for (i = 0; i + TW_W <= n; i += TW_W) {
        unsigned bits = v_equal_bits(v_load(x + i), v_set1(best));
        if (bits)
            return i + (size_t)__builtin_ctz(bits);
    }
    while (i < n - 1 && x[i] != best)
        i++;
    return i;
}

bool TW_FN(all_finite)(const float *x, size_t n)
{
    vi bad = v_special(v_zero());
    size_t i = 0;
    for (; i + 4 * TW_W <= n; i += 4 * TW_W) {
        TW_UNROLL
        for (size_t j = 0; j < 4; j++)
            bad = v_or(bad, v_special(v_load(x + i + j * TW_W)));
    }
    for (; i < n; i += TW_W)
        bad = v_or(bad, v_special(v_load_n(x + i, n - i)));
    return !v_any(bad);
}
