/* SPDX-License-Identifier: Apache-2.0 */
/* Before a loop with a small constant count whose arrays must live in registers. Builds for a sanitizer
 * say TW_KEEP_LOOPS: it checks each access, and a tile's, written out, took a compiler minutes. */
#ifndef TWINAX_KERN_UNROLL_H
#define TWINAX_KERN_UNROLL_H

#ifdef TW_KEEP_LOOPS
#define TW_UNROLL
#elif defined(__clang__)
#define TW_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TW_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
