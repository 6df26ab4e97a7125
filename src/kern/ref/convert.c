/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/ref/ref.h"

#include <string.h>

#include "kern/half.h"

static uint16_t load_u16(const void *p, size_t i)
{
    uint16_t h;
    memcpy(&h, (const char *)p + 2 * i, sizeof h);
    return h;
}

void tw_ref_to_f32(float *y, const void *x, enum tw_dtype type, size_t n)
{
    if (type == TW_F32) {
        memmove(y, x, n * sizeof *y);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h = load_u16(x, i);
        y[i] = type == TW_BF16 ? tw_bf16_to_f32(h) : tw_f16_to_f32(h);
    }
}

void tw_ref_from_f32(void *y, const float *x, enum tw_dtype type, size_t n)
{
    if (type == TW_F32) {
        memmove(y, x, n * sizeof *x);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h = type == TW_BF16 ? tw_bf16_from_f32(x[i]) : tw_f16_from_f32(x[i]);
        memcpy((char *)y + 2 * i, &h, sizeof h);
    }
}
