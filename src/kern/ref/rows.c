/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/ref/ref.h"

#include <math.h>
#include <string.h>

#include "kern/half.h"

float tw_ref_tree16(float l[TW_LANES])
{
    for (size_t half = TW_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            l[i] = l[i] + l[i + half];
    return l[0];
}

void tw_ref_rmsnorm(float *y, const float *x, const float *w, size_t n, float eps)
{
    float l[TW_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        l[i % TW_LANES] = fmaf(x[i], x[i], l[i % TW_LANES]);
    float r = 1.0f / sqrtf(tw_ref_tree16(l) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] * r) * w[i];
}

void tw_ref_rope(float *x, size_t n_heads, size_t ld, size_t n_rot, const float *c, const float *s)
{
    size_t half = n_rot / 2;
    for (size_t h = 0; h < n_heads; h++) {
        float *p = x + h * ld; /* [n_rot] */
        for (size_t i = 0; i < half; i++) {
            float x1 = p[i], x2 = p[i + half];
            p[i] = x1 * c[i] - x2 * s[i];
            p[i + half] = x2 * c[i] + x1 * s[i];
        }
    }
}

void tw_ref_silu_mul(float *y, const float *g, const float *u, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = g[i] / (1.0f + tw_expf(-g[i])) * u[i];
}

void tw_ref_add(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

void tw_ref_axpy(float *y, float a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = fmaf(a, x[i], y[i]);
}

void tw_ref_softmax(float *y, const float *x, size_t n)
{
    float m = x[tw_ref_argmax(x, n)], l[TW_LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        y[i] = tw_expf(x[i] - m);
        l[i % TW_LANES] += y[i];
    }
    float sum = tw_ref_tree16(l);
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] / sum;
}

void tw_ref_exp(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = tw_expf(x[i]);
}

size_t tw_ref_argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

bool tw_ref_all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((tw_f32_bits(x[i]) & 0x7f800000u) == 0x7f800000u)
            return false;
    return true;
}
