/* SPDX-License-Identifier: Apache-2.0 */
/* What vectors for quantised weights are made of: what the compilers' vector types cannot say comes from a machine's
 * header, and no file of this folder knows an intrinsic.
 * Such a header gives TW_QW lanes (TW_QREGS
 * registers) and
 *   q_fma, q_set1, q_load_f16        as v_fma, v_set1, v_load_f16
 *   q_load_u8(p)                     TW_QW bytes at p, aligned, a lane each
 *   q_bytes16(table, i)              table[i] for each byte i < 16
 *   q_quad(p)                        4 bytes at p in every lane
 *   q_max(a, b), q_top(v)            of unsigned lanes < 2^31; q_add_all(v): sum of all lanes
 *   q_store_bytes(p, v)              lanes of 32 / TW_QW vectors, each in [-128, 127], as int8
 * and the exact dot of quads, total = start + sum of u * x over each lane's four bytes, u unsigned in
 * [0, range], x in [-127, 127]. Where products meet in 16 bits, only q_steps of them are added:
 *   total = q_start(type, minus_sum)   what (u - off) needs beside u
 *   part = q_part(type, total), q_steps(type) times part = q_mac(type, part, u, x),
 *   total = q_join(type, total, part)
 *   u = q_ready(type, u) first, once.
 * It may give products of pairs of rows too: qpairs.h. */
#ifndef TWINAX_KERN_WIDE_QBASE_H
#define TWINAX_KERN_WIDE_QBASE_H

#include "kern/quant.h"
#include "kern/wide/vec.h"

#if defined(__AVX512VNNI__)
#define TW_QFN(name) tw_avx512vnni_##name
#elif defined(__ARM_FEATURE_MATMUL_INT8)
#define TW_QFN(name) tw_neoni8mm_##name
#elif defined(__ARM_FEATURE_DOTPROD)
#define TW_QFN(name) tw_neondot_##name
#else
#define TW_QFN(name) TW_FN(name)
#endif

#if defined(__AVX512BW__)
enum { TW_QW = 16, TW_QREGS = 32 };
#elif defined(__aarch64__)
enum { TW_QW = 4, TW_QREGS = 32 };
#else
enum { TW_QW = 8, TW_QREGS = 16 };
#endif

/* Casts between vector types keep the bits. */
typedef uint32_t qu __attribute__((vector_size(4 * TW_QW)));
typedef int32_t qi __attribute__((vector_size(4 * TW_QW)));
typedef float qf __attribute__((vector_size(4 * TW_QW)));
typedef uint32_t qu_mem __attribute__((vector_size(4 * TW_QW), may_alias));
typedef float qf_mem __attribute__((vector_size(4 * TW_QW), may_alias));

TW_INLINE qu q_load(const void *p) /* aligned */
{
    return (qu) * (const qu_mem *)p;
}
TW_INLINE qf q_load_f(const void *p)
{
    return (qf) * (const qf_mem *)p;
}
TW_INLINE void q_store(void *p, qu v)
{
    *(qu_mem *)p = (qu_mem)v;
}
TW_INLINE void q_store_f(void *p, qf v)
{
    *(qf_mem *)p = (qf_mem)v;
}
TW_INLINE qf q_to_float(qu v) /* of int32 lanes */
{
    return __builtin_convertvector((qi)v, qf);
}

#endif
