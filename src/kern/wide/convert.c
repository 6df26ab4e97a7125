/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/half.h"
#include "kern/wide/wide.h"

void TW_FN(to_f32)(float *y, const void *x, enum tw_dtype type, size_t n)
{
    const uint16_t *h = x;
    size_t i = 0;
    if (type == TW_F32) {
        memmove(y, x, n * sizeof *y);
    } else if (type == TW_BF16) {
        for (; i + TW_W <= n; i += TW_W)
            v_store(y + i, v_load_bf16(h + i));
        for (; i < n; i++)
            y[i] = tw_bf16_to_f32(h[i]);
    } else {
        for (; i + TW_W <= n; i += TW_W)
            v_store(y + i, v_load_f16(h + i));
        for (; i < n; i++)
            y[i] = tw_f16_to_f32(h[i]);
    }
}

void TW_FN(from_f32)(void *y, const float *x, enum tw_dtype type, size_t n)
{
    uint16_t *h = y;
    size_t i = 0;
    if (type == TW_F32) {
        memmove(y, x, n * sizeof *x);
    } else if (type == TW_BF16) {
        for (; i + TW_W <= n; i += TW_W)
            v_store_bf16(h + i, v_load(x + i));
        for (; i < n; i++)
            h[i] = tw_bf16_from_f32(x[i]);
    } else {
        for (; i + TW_W <= n; i += TW_W)
            v_store_f16(h + i, v_load(x + i));
        for (; i < n; i++)
            h[i] = tw_f16_from_f32(x[i]);
    }
}
