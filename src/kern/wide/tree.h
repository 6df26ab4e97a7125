/* SPDX-License-Identifier: Apache-2.0 */
/* The balanced tree over segments that skips empty ones, as a binary counter: slot l holds the sum
 * of 2^l segments. cur and the slots change places, nothing is copied. */
#ifndef TWINAX_KERN_WIDE_TREE_H
#define TWINAX_KERN_WIDE_TREE_H

#include "kern/wide/vec.h"

typedef struct tree {
    float *slot[3], *cur; /* [n] each; the next segment's sums go into cur */
    size_t n;             /* a multiple of the width */
    bool full[3], has;    /* has: the last that went in was not empty */
} tree;

/* floats [4][n], aligned */
TW_INLINE tree tree_begin(float *floats, size_t n)
{
    return (tree){{floats + n, floats + 2 * n, floats + 3 * n}, floats, n, {false}, false};
}

TW_INLINE void tree_swap(float **a, float **b)
{
    float *other = *a;
    *a = *b;
    *b = other;
}

/* What is to be added to segment s, in this order, if it is not empty: returns how many. */
static inline unsigned tree_adds(const tree *t, unsigned s, const float *ret[3])
{
    unsigned n = 0;
    for (unsigned l = 0; s >> l & 1; l++)
        if (t->full[l])
            ret[n++] = t->slot[l];
    return n;
}

/* Segment s of n_seg lies in cur, with what tree_adds gave added, or it is empty. */
static inline void tree_put(tree *t, unsigned s, unsigned n_seg, bool empty)
{
    t->has = !empty;
    unsigned l = 0;
    for (; s >> l & 1; l++) {
        if (t->full[l] && empty && t->has)
            for (size_t j = 0; j < t->n; j += TW_W)
                v_store(t->cur + j, v_add(v_load(t->slot[l] + j), v_load(t->cur + j)));
        if (t->full[l] && !t->has)
            tree_swap(&t->slot[l], &t->cur);
        t->has = t->has || t->full[l];
    }
    if (s + 1 < n_seg) {
        tree_swap(&t->slot[l], &t->cur);
        t->full[l] = t->has;
    }
}

/* The root [n], after the last segment. */
static inline const float *tree_end(const tree *t)
{
    if (!t->has)
        memset(t->cur, 0, t->n * sizeof *t->cur);
    return t->cur;
}

#endif
