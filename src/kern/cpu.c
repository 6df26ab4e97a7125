/* SPDX-License-Identifier: Apache-2.0 */
/* Which tables run here. */
#include "kern/kern.h"

#include <string.h>

#include "kern/scratch.h"

#ifdef __x86_64__
#include <cpuid.h>

#include "kern/x86/tables.h"

/* Not every compiler's __builtin_cpu_supports knows f16c. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & (unsigned)bit_F16C);
}
#endif

const tw_kern *tw_kern_avx2(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
        return &tw_avx2_table;
#endif
    return NULL;
}

const tw_kern *tw_kern_get(const char *tw_cpu)
{
    const tw_kern *avx2 = tw_kern_avx2();
    if (!tw_cpu || !*tw_cpu)
        return avx2 ? avx2 : tw_kern_ref();
    if (!strcmp(tw_cpu, "ref"))
        return tw_kern_ref();
    return !strcmp(tw_cpu, "avx2") ? avx2 : NULL;
}

const char *tw_kern_names(void)
{
    return tw_kern_avx2() ? "ref avx2" : "ref";
}

size_t tw_kern_matmul_scratch_bytes(size_t k)
{
    (void)k;
    return TW_MATMUL_SCRATCH_BYTES;
}

size_t tw_kern_attn_scratch_bytes(size_t q_dim)
{
    return TW_ATTN_SCRATCH_BYTES(q_dim);
}
