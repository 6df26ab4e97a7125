/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <float.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "os/file.h"
#include "os/sys.h"

static void test_cpus(void **state)
{
    (void)state;
    int cpus[TW_CPU_MAX];
    unsigned n = tw_sys_cpus(cpus, TW_CPU_MAX);
    assert_in_range(n, 1, 65536);
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        assert_int_equal(n, CPU_COUNT(&set));
    for (unsigned i = 1; i < n && i < TW_CPU_MAX; i++)
        assert_true(cpus[i] > cpus[i - 1]);
    int first = -1;
    assert_int_equal(tw_sys_cpus(&first, 1), n);
    assert_int_equal(first, cpus[0]);
    assert_int_equal(tw_sys_cpus(NULL, 0), n);
}

static void test_cpus_of_the_mask(void **state)
{
    (void)state;
    int cpus[TW_CPU_MAX], one = -1;
    unsigned n = tw_sys_cpus(cpus, TW_CPU_MAX);
    cpu_set_t before, set;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpus[n - 1], &set);
    assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
    unsigned n_now = tw_sys_cpus(&one, 1);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(n_now, 1);
    assert_int_equal(one, cpus[n - 1]);
}

static void test_cache(void **state)
{
    (void)state;
    uint64_t n = tw_sys_cache_bytes();
    if (n == 0) {
        print_message("# skipped: this machine does not tell its caches\n");
        return;
    }
    assert_in_range(n, 32 << 10, UINT64_C(64) << 30);
}

static void test_memory(void **state)
{
    (void)state;
    enum { N = 64 << 20 };
    uint64_t available = tw_sys_mem_available_bytes();
    assert_true(available > 1 << 20 && available < UINT64_C(1) << 50);
    uint64_t before = tw_sys_rss_bytes();
    char *p = tw_pages_new(N);
    assert_non_null(p);
    memset(p, 1, N);
    uint64_t full = tw_sys_rss_bytes();
    tw_pages_free(p, N);
    uint64_t after = tw_sys_rss_bytes(), peak = tw_sys_rss_peak_bytes();
    assert_true(full >= before + N - (4 << 20));
    assert_true(after <= full - N + (4 << 20));
    assert_true(peak >= full - (1 << 20) && peak > after);
}

static void test_cpu_name(void **state)
{
    (void)state;
    char name[200], cut[5];
    tw_sys_cpu_name(name, sizeof(name));
    print_message("# cpu: %s\n", name);
    assert_true(name[0] != '\0' && name[0] != ' ' && strchr(name, '\n') == NULL);
    tw_sys_cpu_name(cut, sizeof(cut));
    assert_int_equal(strncmp(cut, name, 4), 0);
    assert_true(strlen(cut) <= 4);
    tw_sys_cpu_name(cut, 0);
}

static void test_random(void **state)
{
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};
    assert_int_equal(tw_sys_random(a, sizeof(a)), 0);
    assert_int_equal(tw_sys_random(b, sizeof(b)), 0);
    assert_memory_not_equal(a, b, sizeof(a));

    enum { N = 1 << 20 }; /* more than the kernel gives in one call */
    uint8_t *p = calloc(1, N);
    assert_non_null(p);
    assert_int_equal(tw_sys_random(p, N), 0);
    unsigned n_of[256] = {0};
    for (size_t i = 0; i < N; i++)
        n_of[p[i]]++;
    for (unsigned i = 0; i < 256; i++) /* 10 sigma */
        assert_in_range(n_of[i], 4096 - 640, 4096 + 640);
    free(p);
}

static void test_fp_strict(void **state)
{
    (void)state;
#if defined(__x86_64__)
    volatile float small = FLT_MIN, two = 2.0f;
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040 | 0x6000); /* FTZ, DAZ, round toward zero */
    float flushed = small / two;
    tw_sys_fp_strict();
    float half = small / two, back = half * two;
    unsigned after = _mm_getcsr();
    _mm_setcsr(before);
    assert_true(flushed == 0.0f);
    assert_true(half > 0.0f && back == FLT_MIN);
    assert_int_equal(after & 0xE040, 0);
    assert_int_equal(after & 0x1F80, before & 0x1F80); /* the exception masks stay */
#else
    volatile float small = FLT_MIN, two = 2.0f;
    tw_sys_fp_strict();
    assert_true(small / two > 0.0f);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpus),      cmocka_unit_test(test_cpus_of_the_mask),
        cmocka_unit_test(test_cache),     cmocka_unit_test(test_memory),
        cmocka_unit_test(test_cpu_name),  cmocka_unit_test(test_random),
        cmocka_unit_test(test_fp_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
