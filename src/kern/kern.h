/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic. One table of functions; src/kern/ref is scalar C and the specification, every other
 * table is memcmp-equal to it for every shape. No allocation, no log, no lock, no thread: callers
 * hand out ranges of outputs and scratch memory. All results are independent of the range they
 * were asked in, of M, and of the machine. Order of every sum: DESIGN 5.
 *
 * Letters: M rows of activations, K summed dimension, N outputs, H query heads, Q head dim. */
#ifndef TWINAX_KERN_KERN_H
#define TWINAX_KERN_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TW_SEGMENTS = 8,
    TW_XROWS = 8,
    TW_LANES = 16,
    TW_PANEL = 64,
    TW_KV_BLOCK = 64,
    TW_KV_SPAN = 1024
};

/* Plain types, then those of quantised weights: blocks of elements with common scales, as GGUF files
 * have them; then coded ones, of packed weights alone: numbers of a few bits with f32 scales by output
 * and group of columns, as other checkpoints have them. */
enum tw_dtype {
    TW_F32,
    TW_F16,
    TW_BF16,
    TW_Q8_0,
    TW_Q4_0,
    TW_Q4_1,
    TW_Q5_0,
    TW_Q5_1,
    TW_Q4_K,
    TW_Q5_K,
    TW_Q6_K,
    TW_MXFP4,
    TW_QUANT_END,
    TW_FP8 = TW_QUANT_END, /* e4m3 */
    TW_INT4,               /* unsigned, less a zero by output and group */
    TW_DTYPE_END
};

const char *tw_dtype_name(enum tw_dtype t); /* "BF16", "Q4_K" */
bool tw_dtype_is_quant(enum tw_dtype t);    /* blocks */
bool tw_dtype_is_coded(enum tw_dtype t);
size_t tw_dtype_bytes(enum tw_dtype t); /* of one element; 0: it lies in a block */
size_t tw_dtype_block(enum tw_dtype t); /* elements of a block in a file: 1, 32 or 256 */
size_t tw_dtype_block_bytes(enum tw_dtype t);
/* k elements of a row in a file; 0 where k is no multiple of the block, or the bytes do not fit. */
size_t tw_dtype_row_bytes(enum tw_dtype t, size_t k);

/* One row of a file's elements, exactly widened: each value is rounded once, where a minimum is
 * subtracted, else not at all. Any type; src unaligned. k: a multiple of the block. An MXFP4 scale of
 * 255 gives infinities, and NaN for codes of 0. */
void tw_dequantize_row(enum tw_dtype type, float *dst, const void *src, size_t k);
/* A row of blocks from f32, to Q8_0 or Q4_0, finite values. Q8_0: per 32 d = amax / 127,
 * q = x * (1 / d) rounded half away from zero. Q4_0: d = v / -8 for the v of the largest magnitude
 * (the first of them), q = trunc(x * (1 / d) + 8.5), at most 15. d is stored as f16, not above
 * its largest number; where it is 0 every q is 0 (Q4_0: 8). */
void tw_quantize_rows(enum tw_dtype to, void *dst_blocks, const float *src, size_t k);

/* A weight matrix W [N][K], packed for streaming: panels of 64 outputs, [N/64 rounded up][K][64],
 * outputs past N are zero. Inside a row of a BF16 panel every 16 columns are interleaved: position
 * 2j holds column j, 2j+1 column 8+j, so that a 32-byte load widens to columns 0-7 by a shift and
 * 8-15 by a mask. F16 and F32 rows are in plain order. 64-byte aligned.
 * Quantised types: [N/64][K/32][...] as kern/quant.h draws it, no larger than the file's blocks but for
 * a part of a K-quant's super-block at either end of a row; K is a multiple of 32.
 * Coded types: as kern/coded.h draws it. A weight is (f32)number * scale, INT4: (f32)(number - zero) *
 * scale, rounded once, and then goes the way of F32 weights. INT4: group and phase are even. */
typedef struct tw_packed {
    enum tw_dtype type;
    size_t n, k;
    const void *data;
    size_t group, phase; /* coded types: columns of a scale; how many of the first's are not here */
} tw_packed;

size_t tw_packed_bytes(enum tw_dtype type, size_t n, size_t k); /* 0 when it overflows; not coded */
/* Of all panels, or of one; data does not matter. 0 when it overflows. */
size_t tw_packed_size(const tw_packed *w);
size_t tw_packed_panel_bytes(const tw_packed *w);
/* Packs rows [0, n_rows) of src (row stride ld elements, columns [0, k)) as outputs
 * [i_n0, i_n0 + n_rows) of dst. Unaligned src is fine. Panel tails are zeroed by the caller (fresh
 * pages are zero). */
void tw_pack_rows(enum tw_dtype type, void *dst, size_t n, size_t k, size_t i_n0, const void *src,
                  size_t n_rows, size_t ld);
/* The same of a quantised type: each source row (stride src_row_bytes) begins at a block; of it go
 * columns [col0, col0 + k), both multiples of 32, which need not be whole blocks. Rows of one panel
 * have one col0. */
void tw_pack_quant_rows(enum tw_dtype type, void *dst, size_t k, size_t i_n0, const void *src,
                        size_t n_rows, size_t src_row_bytes, size_t col0);

/* Numbers of coded weights, unpacked, rows of one panel. */
typedef struct tw_codes {
    const uint8_t *code; /* [n_rows][k], row stride ld: e4m3, no NaN; INT4: 0 .. 15 */
    size_t ld;
    const float *scale;  /* [groups][64], by output of the panel; magnitudes below TW_FP8_SCALE_END,
                            INT4: numbers that an f16 has */
    const uint8_t *zero; /* alike, of INT4 */
} tw_codes;
#define TW_FP8_SCALE_END 128.0f /* a kernel moves the exponent of a code by way of its scale */
/* The same of a coded type: rows [0, n_rows) as outputs [i_n0, i_n0 + n_rows), of one panel, of w, which
 * lies at dst. */
void tw_pack_coded_rows(const tw_packed *w, void *dst, size_t i_n0, const tw_codes *src,
                        size_t n_rows);

/* Activations beside quantised weights: 32 columns of a row. amax = the largest magnitude (NaN above
 * all), d = amax / 127, inv = 127 / amax; where amax or inv is not finite, or amax is 0, inv = 0
 * instead; q = x * inv rounded to the nearest even integer, so |q| <= 127. amax = 0 or NaN or
 * infinite: d = amax and q = 0, so what is not finite makes the result so. */
typedef struct tw_xblock {
    int8_t q[32];
    float d;
    int32_t minus_sum;     /* - (q[0] + ... + q[31]) */
    int32_t minus_half[2]; /* of q[0..15] and q[16..31] */
} tw_xblock;
_Static_assert(sizeof(tw_xblock) == 48, "three vectors of 16 bytes");

/* Y [M][N] (row stride ldy) = X [M][K] (row stride ldx) * W^T.
 * Order: for each output and each segment s, k in [seg[s], seg[s+1]): acc = fmaf(w, x, acc) from
 * +0, ascending k; the n_seg sums are added as a balanced binary tree over n_seg = 1, 2, 4 or 8
 * leaves that skips empty segments. All empty: +0.
 * add (may be NULL): [N] added after the tree (bias): y = tree + add[n].
 * Quantised weights: seg are multiples of 32. x is taken as tw_xblock: b.d * b.q. For each 32 columns
 * of a segment, ascending, in place of the chain's 32 steps (every number here is below 2^24, so each
 * conversion and product of integers is exact; w.d * b.d and w.m * b.d round):
 *   dot = sum of (u - off) * q in integers (Q6_K: dot0 of 16 columns and dot1)
 *   acc = fmaf(w.d * b.d, f, acc), f = (float)dot; Q4_K, Q5_K: (float)sc * (float)dot;
 *         Q6_K: fmaf((float)sc1, (float)dot1, (float)sc0 * (float)dot0)
 *   acc = fmaf(w.m * b.d, (float)sum, acc)                              Q4_1, Q5_1
 *   acc = fmaf(w.dmin * b.d, (float)mn * (float)minus_sum, acc)         Q4_K, Q5_K */
typedef struct tw_matmul {
    const tw_packed *w;
    const float *x; /* [M][K] */
    size_t m, ldx;
    float *y; /* [M][N] */
    size_t ldy;
    const uint32_t *seg; /* [n_seg + 1], ascending, in [0, K]; what lies outside does not count */
    unsigned n_seg;
    const float *add; /* [N] or NULL */
    /* [M][K / 32], row stride ldxq: x, by tw_kern.quantize, for quantised weights. NULL: every call
     * makes it in its scratch memory, TW_XROWS rows at a time: for few rows. */
    const tw_xblock *xq;
    size_t ldxq;
} tw_matmul;

/* Attention of n_rows query positions x n_group query heads that share one KV head, over the keys
 * of one sequence. Keys live in pages of TW_KV_BLOCK positions: page p holds positions
 * [64p, 64p + 64), as K [64][Q] and V [64][Q] of kv_type (BF16 or F32).
 * Query row t stands at absolute position pos0 + t and sees keys max(0, pos - window + 1) .. pos
 * (window 0: all). Order, per (row, head): score = tree(lanes(q*k)) * scale, where lane i mod 16 is
 * acc = fmaf(q, k, acc) ascending and the tree halves (l += l + 8, + 4, + 2, + 1). Keys go in
 * 64-key blocks by absolute position; per block m' = max(m, scores), c = exp(m - m') (0 for the
 * first block), p = exp(s - m'); block sum of p: 16 lanes by key mod 16, same tree, added only over
 * visible keys; l = fmaf(l, c, sum); o = o * c, then o = fmaf(p, v, o) ascending. Blocks of one
 * 1,024-key span make a partial (m, l, o); partials merge in ascending order: m' = max, ca, cb =
 * exp(m - m'), l = l_a * ca + l_b * cb and o likewise, as fmaf(b, cb, a * ca). Result o / l. */
typedef struct tw_attn {
    const float *q; /* [n_rows][n_group][Q], strides ld_row, ld_head */
    size_t ld_row, ld_head;
    float *out; /* as q, strides ld_out_row, ld_head */
    size_t ld_out_row;
    const void *const *k_pages; /* [pages] -> [64][Q] of kv_type */
    const void *const *v_pages;
    enum tw_dtype kv_type;
    size_t q_dim; /* Q, any multiple of 2 up to 512 */
    unsigned n_group;
    unsigned
        n_kv; /* so many KV heads at once: their blocks lie one behind the other in each page, and
                      head h of a row reads block h / n_group; 0: one */
    uint32_t pos0, window;
    float scale;
    float
        *parts; /* attn_spans, attn_merge: [n_rows][heads][n_spans][Q + 2]: o, m, l; l = 0: none */
    uint32_t n_spans; /* up to the last row's position */
} tw_attn;

typedef struct tw_kern {
    const char *name; /* "ref", "avx2" */
    /* Panels [i_panel0, i_panel1) of the output. scratch: tw_kern_matmul_scratch_bytes(k), 64-byte
     * aligned, one per thread. */
    void (*matmul)(const tw_matmul *op, size_t i_panel0, size_t i_panel1, void *scratch);
    /* x [k] to q [k / 32]; k a multiple of 32. */
    void (*quantize)(tw_xblock *q, const float *x, size_t k);
    /* Rows [i_row0, i_row1) of the query positions, all heads of the group. scratch:
     * tw_kern_attn_scratch_bytes(Q), 64-byte aligned. */
    void (*attn)(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, void *scratch);
    /* The same in two steps, so that threads can share the keys of one row: the partials of spans
     * [i_span0, i_span1), any thread any spans, then their merging. */
    void (*attn_spans)(const tw_attn *op, uint32_t i_row0, uint32_t i_row1, uint32_t i_span0,
                       uint32_t i_span1, void *scratch);
    void (*attn_merge)(const tw_attn *op, uint32_t i_row0, uint32_t i_row1);
    /* y [n] = x * w / sqrt(mean(x^2) + eps), one row. Sum of squares: 16 lanes by fmaf, halving
     * tree; r = 1 / sqrtf(sum / (float)n + eps); y = (x * r) * w. y may be x. */
    void (*rmsnorm)(float *y, const float *x, const float *w, size_t n, float eps);
    /* Rotates n_heads rows of x [n_heads][ld] in place, halves form: with c, s [n_rot/2]:
     * x1' = x1*c - x2*s, x2' = x2*c + x1*s (each product and sum rounded); i and i + n_rot/2 pair. */
    void (*rope)(float *x, size_t n_heads, size_t ld, size_t n_rot, const float *c, const float *s);
    /* y = silu(g) * u, silu(g) = g / (1 + exp(-g)); y may be g. */
    void (*silu_mul)(float *y, const float *g, const float *u, size_t n);
    void (*add)(float *y, const float *a, const float *b, size_t n); /* y = a + b; may alias */
    void (*axpy)(float *y, float a, const float *x, size_t n);       /* y = fmaf(a, x, y) */
    /* y = exp(x - max) / sum, max the largest of x, the sum of exp(x - max) in 16 lanes by index mod
     * 16, halving tree. A NaN or +inf anywhere makes every y a NaN. y may be x; n >= 1. */
    void (*softmax)(float *y, const float *x, size_t n);
    void (*to_f32)(float *y, const void *x, enum tw_dtype type, size_t n);   /* exact widening */
    void (*from_f32)(void *y, const float *x, enum tw_dtype type, size_t n); /* nearest even */
    /* y = exp(x); the same fixed sequence that attention and silu use. y may be x. */
    void (*exp)(float *y, const float *x, size_t n);
    /* Largest value, ties to the smallest index; n >= 1, no NaN. */
    size_t (*argmax)(const float *x, size_t n);
    bool (*all_finite)(const float *x, size_t n);
} tw_kern;

size_t tw_kern_matmul_scratch_bytes(size_t k);
size_t tw_kern_attn_scratch_bytes(size_t q_dim);

const tw_kern *tw_kern_ref(void);
const tw_kern *tw_kern_avx2(void); /* NULL where the machine or the build lacks it */
const tw_kern *tw_kern_avx512(void);
const tw_kern *tw_kern_avx512vnni(void); /* the same but for quantised weights */
const tw_kern *tw_kern_neon(void);
const tw_kern *tw_kern_neondot(void);  /* the same but for quantised weights */
const tw_kern *tw_kern_neoni8mm(void); /* as neondot, but for four rows or more of them */

/* The best table for this machine, or the one TW_CPU names (ref, avx2, avx512, avx512vnni, neon,
 * neondot, neoni8mm); NULL for an unknown or unavailable name. */
const tw_kern *tw_kern_get(const char *tw_cpu);
const char *tw_kern_names(void); /* "ref avx2", those that run here */

/* Our own f32 exp (the specification of tw_kern.exp): monotone, < 1.5 ulp, exp(-inf) = 0, large ->
 * inf, exp(0) = 1, subnormal results exact in the same sense. */
float tw_expf(float x);
/* sin and cos of an f32 angle (any finite), computed in f64 by our own sequence, rounded to f32. */
void tw_sincosf(float x, float *ret_sin, float *ret_cos);
/* x^y and ln x for rope's frequencies, f64, our own sequence; x > 0. */
double tw_pow(double x, double y);
double tw_ln(double x);

/* Segment borders of DESIGN 5.2: ret_seg[i] = min(k, floor(i * G / 8) * granule), G = granules in
 * k, rounded up; ret_seg has 9 entries. */
void tw_segments(size_t k, size_t granule, uint32_t ret_seg[TW_SEGMENTS + 1]);

#endif
