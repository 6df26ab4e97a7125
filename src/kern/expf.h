/* SPDX-License-Identifier: Apache-2.0 */
/* The constants of our f32 exp, shared by all its shapes.
 *
 * x is clamped to [MIN, MAX], where the result is 0 and infinity already; n = rint(x / ln 2) by the
 * magic sum; r = x - n ln 2 in two steps, the first exact; 1 + (r + r^2 q(r)), q by Horner, relative
 * error of q 2^-28.2; then 2^n in two exact halves. */
#ifndef TWINAX_KERN_EXPF_H
#define TWINAX_KERN_EXPF_H

#define TW_EXP_MAX    89.0f
#define TW_EXP_MIN    -104.0f
#define TW_EXP_LOG2E  0x1.715476p+0f
#define TW_EXP_MAGIC  0x1.8p23f
#define TW_EXP_LN2_HI 0x1.62e4p-1f
#define TW_EXP_LN2_LO 0x1.7f7d1cp-20f
#define TW_EXP_C2     0x1.fffffcp-2f
#define TW_EXP_C3     0x1.555492p-3f
#define TW_EXP_C4     0x1.5558bcp-5f
#define TW_EXP_C5     0x1.1239c6p-7f
#define TW_EXP_C6     0x1.6a4154p-10f

#endif
