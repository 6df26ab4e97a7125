/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/kern.h"

#include "base/scope.h"
#include "kern/quant.h"

const char *tw_dtype_name(enum tw_dtype t)
{
    static const char *const names[] = {
        [TW_F32] = "F32",   [TW_F16] = "F16",   [TW_BF16] = "BF16", [TW_Q8_0] = "Q8_0",
        [TW_Q4_0] = "Q4_0", [TW_Q4_1] = "Q4_1", [TW_Q5_0] = "Q5_0", [TW_Q5_1] = "Q5_1",
        [TW_Q4_K] = "Q4_K", [TW_Q5_K] = "Q5_K", [TW_Q6_K] = "Q6_K", [TW_MXFP4] = "MXFP4",
        [TW_FP8] = "FP8",   [TW_INT4] = "INT4",
    };
    return t < TW_ARRAY_LEN(names) ? names[t] : "unknown";
}

bool tw_dtype_is_quant(enum tw_dtype t)
{
    return tw_qforms[t].block != 0;
}

bool tw_dtype_is_coded(enum tw_dtype t)
{
    return t == TW_FP8 || t == TW_INT4;
}

size_t tw_dtype_bytes(enum tw_dtype t)
{
    return tw_dtype_is_quant(t) || t == TW_INT4 ? 0 : t == TW_FP8 ? 1 : t == TW_F32 ? 4 : 2;
}

size_t tw_dtype_block(enum tw_dtype t)
{
    return tw_dtype_is_quant(t) ? tw_qforms[t].block : t == TW_INT4 ? 2 : 1;
}

size_t tw_dtype_block_bytes(enum tw_dtype t)
{
    return tw_dtype_is_quant(t) ? tw_qforms[t].block_bytes : t == TW_INT4 ? 1 : tw_dtype_bytes(t);
}

size_t tw_dtype_row_bytes(enum tw_dtype t, size_t k)
{
    size_t bytes;
    if (k % tw_dtype_block(t) != 0 ||
        !tw_size_mul(k / tw_dtype_block(t), tw_dtype_block_bytes(t), &bytes))
        return 0;
    return bytes;
}
