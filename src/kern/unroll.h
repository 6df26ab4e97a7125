/* SPDX-License-Identifier: Apache-2.0 */
/* Before a loop with a small constant count whose arrays must live in registers. */
#ifndef TWINAX_KERN_UNROLL_H
#define TWINAX_KERN_UNROLL_H

#ifdef __clang__
#define TW_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TW_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
