/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/wide/qtable.h"
#include "kern/wide/wide.h"

const tw_kern TW_QFN(table) = {
    .name = TW_WIDE_NAME,
    .matmul = TW_QFN(matmul_any),
    .quantize = TW_FN(quantize),
    .attn = TW_FN(attn),
    .attn_spans = TW_FN(attn_spans),
    .attn_merge = TW_FN(attn_merge),
    .rmsnorm = TW_FN(rmsnorm),
    .rope = TW_FN(rope),
    .silu_mul = TW_FN(silu_mul),
    .add = TW_FN(add),
    .axpy = TW_FN(axpy),
    .softmax = TW_FN(softmax),
    .to_f32 = TW_FN(to_f32),
    .from_f32 = TW_FN(from_f32),
    .exp = TW_FN(exp),
    .argmax = TW_FN(argmax),
    .all_finite = TW_FN(all_finite),
};
