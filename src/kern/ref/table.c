/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/ref/ref.h"

const tw_kern *tw_kern_ref(void)
{
    static const tw_kern table = {
        .name = "ref",
        .matmul = tw_ref_matmul,
        .quantize = tw_ref_quantize,
        .attn = tw_ref_attn,
        .attn_spans = tw_ref_attn_spans,
        .attn_merge = tw_ref_attn_merge,
        .rmsnorm = tw_ref_rmsnorm,
        .rope = tw_ref_rope,
        .silu_mul = tw_ref_silu_mul,
        .add = tw_ref_add,
        .axpy = tw_ref_axpy,
        .softmax = tw_ref_softmax,
        .to_f32 = tw_ref_to_f32,
        .from_f32 = tw_ref_from_f32,
        .exp = tw_ref_exp,
        .argmax = tw_ref_argmax,
        .all_finite = tw_ref_all_finite,
    };
    return &table;
}
