/* SPDX-License-Identifier: Apache-2.0 */
/* Elementary functions as fixed sequences of IEEE operations (DESIGN 5.1). Polynomials: exp f32 is
 * a minimax fit rounded coefficient by coefficient; the f64 ones are Taylor series, long enough
 * that the cut is below 2^-56. */
#include "kern/kern.h"

#include <math.h>
#include <string.h>

#include "kern/expf.h"
#include "kern/half.h"

float tw_expf(float x)
{
    x = TW_EXP_MAX < x ? TW_EXP_MAX : x; /* NaN passes both */
    x = TW_EXP_MIN > x ? TW_EXP_MIN : x;
    float t = fmaf(x, TW_EXP_LOG2E, TW_EXP_MAGIC);
    float n = t - TW_EXP_MAGIC;
    float r = fmaf(n, -TW_EXP_LN2_HI, x);
    r = fmaf(n, -TW_EXP_LN2_LO, r);
    float p = TW_EXP_C6;
    p = fmaf(p, r, TW_EXP_C5);
    p = fmaf(p, r, TW_EXP_C4);
    p = fmaf(p, r, TW_EXP_C3);
    p = fmaf(p, r, TW_EXP_C2);
    p = fmaf(p, r * r, r) + 1.0f; /* in this shape the sum stays monotone */
    /* 2^n in two steps, so that only the last product rounds, once, when the result is subnormal.
     * n sits in the low bits of t. */
    int32_t i = (int32_t)(tw_f32_bits(t) - tw_f32_bits(TW_EXP_MAGIC));
    int32_t i1 = i >> 1, i2 = i - i1;
    p *= tw_f32_from_bits((uint32_t)(i1 + 127) << 23);
    return p * tw_f32_from_bits((uint32_t)(i2 + 127) << 23);
}

/* x - n * pi/2 in r, n mod 4 in the return value, for |x| >= 2^27: Payne and Hanek. The product of
 * the 24-bit significand and a 128-bit window of 2/pi, modulo 4; what lies left of the window
 * counts whole turns. */
static unsigned reduce_large(uint32_t bits, double *ret_r)
{
    static const uint32_t two_over_pi[9] = {0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                            0xf534ddc0u, 0xdb629599u, 0x3c439041u,
                                            0xfe5163abu, 0xdebbc561u, 0};
    unsigned skip = (bits >> 23 & 0xffu) - 150 - 2; /* 2 .. 102 */
    unsigned word = skip / 32, shift = skip % 32;
    unsigned __int128 w = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t pair = (uint64_t)two_over_pi[word + i] << 32 | two_over_pi[word + i + 1];
        w = w << 32 | (uint32_t)(pair << shift >> 32);
    }
    w *= (bits & 0x7fffffu) | 0x800000u; /* quarter turns, 2 integer bits and 126 of fraction */
    unsigned n = (unsigned)(w >> 126);
    int64_t frac = (int64_t)(uint64_t)(w >> 62); /* the fraction in [-1/2, 1/2) after rounding n */
    if (frac < 0)
        n++;
    *ret_r = (double)frac * 0x1p-64 * 0x1.921fb54442d18p+0;
    return n & 3;
}

static unsigned reduce(float x, double *ret_r)
{
    uint32_t bits = tw_f32_bits(x) & 0x7fffffffu;
    if (bits >= 0x4d000000u) { /* 2^27 */
        unsigned n = reduce_large(bits, ret_r);
        if (x < 0.0f) {
            *ret_r = -*ret_r;
            n = (4 - n) & 3;
        }
        return n;
    }
    double v = (double)x, magic = 0x1.8p52;
    double n = (v * 0x1.45f306dc9c883p-1 + magic) - magic;
    *ret_r = fma(n, -0x1.1a62633145c07p-54, fma(n, -0x1.921fb54442d18p+0, v));
    return (unsigned)(int64_t)n & 3;
}

static double poly_sin(double r)
{
    double z = r * r, p = -0x1.ae7f3e733b81fp-41; /* -1/15! */
    p = fma(p, z, 0x1.6124613a86d09p-33);
    p = fma(p, z, -0x1.ae64567f544e4p-26);
    p = fma(p, z, 0x1.71de3a556c734p-19);
    p = fma(p, z, -0x1.a01a01a01a01ap-13);
    p = fma(p, z, 0x1.1111111111111p-7);
    p = fma(p, z, -0x1.5555555555555p-3);
    return fma(p * z, r, r);
}

static double poly_cos(double r)
{
    double z = r * r, p = 0x1.ae7f3e733b81fp-45; /* 1/16! */
    p = fma(p, z, -0x1.93974a8c07c9dp-37);
    p = fma(p, z, 0x1.1eed8eff8d898p-29);
    p = fma(p, z, -0x1.27e4fb7789f5cp-22);
    p = fma(p, z, 0x1.a01a01a01a01ap-16);
    p = fma(p, z, -0x1.6c16c16c16c17p-10);
    p = fma(p, z, 0x1.5555555555555p-5);
    p = fma(p, z, -0.5);
    return fma(p, z, 1.0);
}

void tw_sincosf(float x, float *ret_sin, float *ret_cos)
{
    if ((tw_f32_bits(x) & 0x7f800000u) == 0x7f800000u) {
        *ret_sin = *ret_cos = NAN;
        return;
    }
    double r;
    unsigned n = reduce(x, &r);
    double s = poly_sin(r), c = poly_cos(r);
    double sin_x = n & 1 ? c : s, cos_x = n & 1 ? s : c;
    *ret_sin = (float)(n & 2 ? -sin_x : sin_x);
    *ret_cos = (float)((n + 1) & 2 ? -cos_x : cos_x);
}

static uint64_t f64_bits(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static double f64_from_bits(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* ln x = e ln 2 + 2 atanh(s), s = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt(2)). */
double tw_ln(double x)
{
    if (!(x > 0.0))
        return (double)NAN;
    if (x == (double)INFINITY)
        return x;
    int64_t e = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54;
    }
    uint64_t u = f64_bits(x);
    int64_t shift = ((int64_t)(u - UINT64_C(0x3fe6a09e667f3bcd))) >> 52;
    e += shift;
    double m = f64_from_bits(u - ((uint64_t)shift << 52));
    double f = m - 1.0, s = f / (m + 1.0), z = s * s;
    double p = 2.0 / 25.0;
    for (int i = 23; i >= 3; i -= 2)
        p = fma(p, z, 2.0 / (double)i);
    /* 2 atanh(s) = f - s (f - z p): f is exact, the rest is small. */
    double small = -s * (f - z * p);
    double de = (double)e;
    return fma(de, 0x1.62e42fefa0000p-1, f) + fma(de, 0x1.cf79abc9e3b3ap-40, small);
}

/* e^(v + d) for a small d. */
static double exp64(double v, double d)
{
    if (!(v < 1024.0))
        return v + (double)INFINITY; /* NaN stays */
    if (v < -1024.0)
        return 0.0;
    double magic = 0x1.8p52;
    double n = (v * 0x1.71547652b82fep+0 + magic) - magic;
    double r = fma(n, -0x1.cf79abc9e3b3ap-40, fma(n, -0x1.62e42fefa0000p-1, v)) + d;
    double p = 1.0 / 87178291200.0, fact = 87178291200.0; /* 14! */
    for (int i = 14; i >= 1; i--) {
        fact /= (double)i; /* exact: (i - 1)! */
        p = fma(p, r, 1.0 / fact);
    }
    int64_t i = (int64_t)n, i1 = i >> 1, i2 = i - i1;
    p *= f64_from_bits((uint64_t)(i1 + 1023) << 52);
    return p * f64_from_bits((uint64_t)(i2 + 1023) << 52);
}

double tw_pow(double x, double y)
{
    double l = tw_ln(x), v = y * l;
    return exp64(v, fma(y, l, -v));
}
