/* SPDX-License-Identifier: Apache-2.0 */
/* Cleanup by scope, branch hints and checked sizes: the few macros that every floor shares. */
#ifndef TWINAX_BASE_SCOPE_H
#define TWINAX_BASE_SCOPE_H

#include <stdbool.h>
#include <stddef.h>

#define TW_CLEANUP(fn)  __attribute__((cleanup(fn)))
#define TW_LIKELY(x)    __builtin_expect(!!(x), 1)
#define TW_UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define TW_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* These look at their arguments twice: no calls with effects in them. */
#define TW_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define TW_MAX(a, b)    ((a) > (b) ? (a) : (b))
#define TW_DIV_UP(a, b) (((a) + (b)-1) / (b))

/* *ret = a * b (a + b); false, and *ret untouched, when it does not fit. */
static inline bool tw_size_mul(size_t a, size_t b, size_t *ret)
{
    size_t v;
    if (__builtin_mul_overflow(a, b, &v))
        return false;
    *ret = v;
    return true;
}

static inline bool tw_size_add(size_t a, size_t b, size_t *ret)
{
    size_t v;
    if (__builtin_add_overflow(a, b, &v))
        return false;
    *ret = v;
    return true;
}

#endif
