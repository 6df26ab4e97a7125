/* SPDX-License-Identifier: Apache-2.0 */
/* Which tables run here. */
#include "kern/kern.h"

#include <string.h>

#include "base/scope.h"
#include "kern/scratch.h"

#ifdef __aarch64__
#include <sys/auxv.h>

#include "kern/arm/tables.h"
#endif
#ifdef __x86_64__
#include <cpuid.h>
#include <stdatomic.h>

#include "kern/x86/tables.h"

/* Not every compiler's __builtin_cpu_supports knows f16c. Asked once: under a hypervisor the
 * instruction takes microseconds. */
static bool has_f16c(void)
{
    static _Atomic int known; /* 0: not yet, 1: no, 2: yes */
    int is = atomic_load_explicit(&known, memory_order_relaxed);
    if (is == 0) {
        unsigned a, b, c, d;
        is = __get_cpuid(1, &a, &b, &c, &d) && (c & (unsigned)bit_F16C) ? 2 : 1;
        atomic_store_explicit(&known, is, memory_order_relaxed);
    }
    return is == 2;
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

const tw_kern *tw_kern_avx512(void)
{
#ifdef __x86_64__
    /* These look at what the system saves of the registers, too. */
    if (tw_kern_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return &tw_avx512_table;
#endif
    return NULL;
}

const tw_kern *tw_kern_avx512vnni(void)
{
#ifdef __x86_64__
    if (tw_kern_avx512() && __builtin_cpu_supports("avx512vnni"))
        return &tw_avx512vnni_table;
#endif
    return NULL;
}

const tw_kern *tw_kern_neon(void)
{
#ifdef __aarch64__
    return &tw_neon_table; /* part of every such machine */
#else
    return NULL;
#endif
}

const tw_kern *tw_kern_neondot(void)
{
#ifdef __aarch64__
    enum { HAS_DOT = 1 << 20 }; /* HWCAP_ASIMDDP of the kernel's interface */
    if (getauxval(AT_HWCAP) & HAS_DOT)
        return &tw_neondot_table;
#endif
    return NULL;
}

const tw_kern *tw_kern_neoni8mm(void)
{
#ifdef __aarch64__
    enum { HAS_I8MM = 1 << 13 }; /* HWCAP2_I8MM */
    if (tw_kern_neondot() && getauxval(AT_HWCAP2) & HAS_I8MM)
        return &tw_neoni8mm_table;
#endif
    return NULL;
}

const tw_kern *tw_kern_get(const char *tw_cpu)
{
    const tw_kern *const tables[] = {tw_kern_avx512vnni(), tw_kern_avx512(),  tw_kern_avx2(),
                                     tw_kern_neoni8mm(),   tw_kern_neondot(), tw_kern_neon(),
                                     tw_kern_ref()};
    for (size_t i = 0; i < TW_ARRAY_LEN(tables); i++)
        if (tables[i] && (!tw_cpu || !*tw_cpu || !strcmp(tw_cpu, tables[i]->name)))
            return tables[i];
    return NULL;
}

const char *tw_kern_names(void)
{
    if (tw_kern_neoni8mm())
        return "ref neon neondot neoni8mm";
    if (tw_kern_neon())
        return tw_kern_neondot() ? "ref neon neondot" : "ref neon";
    if (tw_kern_avx512vnni())
        return "ref avx2 avx512 avx512vnni";
    return tw_kern_avx512() ? "ref avx2 avx512" : tw_kern_avx2() ? "ref avx2" : "ref";
}

size_t tw_kern_matmul_scratch_bytes(size_t k)
{
    return TW_MATMUL_SCRATCH_BYTES + TW_XROWS_SCRATCH_BYTES(k);
}

size_t tw_kern_attn_scratch_bytes(size_t q_dim)
{
    return TW_ATTN_SCRATCH_BYTES(q_dim);
}
