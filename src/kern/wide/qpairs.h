/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of rows where a machine multiplies two rows of activations by weights at once: a second way to
 * the same dots, and so to the same bits. Its header says TW_QPAIRS and gives, beside what qbase.h
 * wants,
 *   qpair_x                       8 activations of two rows
 *   q_pair_x(ret[2], p, q)        the 16 at p and the 16 at q, of two rows
 *   q_pair_order(u[2])            two quads of TW_QW outputs, ready, into the order that follows
 *   q_pair_mac(part[2], u[2], x)  part += their products: TW_QW outputs of two rows, in some order
 *   q_pair_rows(part[2])          into that of outputs: a vector of each row
 * Weights are brought into that order once, where they are unpacked: so all types are. */
#ifndef TWINAX_KERN_WIDE_QPAIRS_H
#define TWINAX_KERN_WIDE_QPAIRS_H

#include "base/scope.h"
#include "kern/wide/qvec.h"

#if defined(TW_QPAIRS)
enum { HAS_PAIRS = 1, PAIR_QUADS = 4 /* of a step: half a granule */ };

TW_INLINE void pair_order(qu u[TW_MAX_QUADS])
{
    TW_UNROLL
    for (size_t t = 0; t < TW_MAX_QUADS; t += 2)
        q_pair_order(u + t);
}

/* total [n_rows][n_vec] += dots of quads t0 .. t1; w: quads at the first output; an odd row is its own
 * partner. */
TW_INLINE void pair_dots(const uint8_t *w, const tw_xblock *x, size_t ldx, size_t t0, size_t t1,
                         qu *total, const size_t n_rows, const size_t n_vec)
{
    enum { ROWS = 4, PAIRS = ROWS / 2, VECS = 2 };
    const size_t row = 4 * (size_t)TW_PANEL, n_pairs = (n_rows + 1) / 2;
    qu part[PAIRS * VECS][2] = {0};
    TW_UNROLL
    for (size_t t = t0; t < t1; t += PAIR_QUADS) {
        qpair_x xs[PAIRS][2];
        TW_UNROLL
        for (size_t i = 0; i < n_pairs; i++)
            q_pair_x(xs[i], x[2 * i * ldx].q + 4 * t,
                     x[TW_MIN(2 * i + 1, n_rows - 1) * ldx].q + 4 * t);
        TW_UNROLL
        for (size_t s = 0; s < PAIR_QUADS / 2; s++) {
            TW_UNROLL
            for (size_t v = 0; v < n_vec; v++) {
                const uint8_t *at = w + (t + 2 * s) * row + v * 4 * TW_QW;
                const qu u[2] = {q_load(at), q_load(at + row)};
                TW_UNROLL
                for (size_t i = 0; i < n_pairs; i++)
                    q_pair_mac(part[i * n_vec + v], u, xs[i][s]);
            }
        }
    }
    TW_UNROLL
    for (size_t i = 0; i < n_rows; i++) {
        TW_UNROLL
        for (size_t v = 0; v < n_vec; v++) {
            qu *p = part[i / 2 * n_vec + v];
            if (i % 2 == 0)
                q_pair_rows(p);
            total[i * n_vec + v] += p[i % 2];
        }
    }
}
#else
enum { HAS_PAIRS = 0 };

TW_INLINE void pair_order(const qu *u)
{
    (void)u;
}

TW_INLINE void pair_dots(const uint8_t *w, const tw_xblock *x, size_t ldx, size_t t0, size_t t1,
                         const qu *total, size_t n_rows, size_t n_vec)
{
    (void)w, (void)x, (void)ldx, (void)t0, (void)t1, (void)total, (void)n_rows, (void)n_vec;
}
#endif

#endif
