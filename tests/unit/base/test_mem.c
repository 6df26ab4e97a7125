/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/scope.h"
#include "seed.h"

static void test_zero_bytes_are_unique(void **state)
{
    (void)state;
    void *a = tw_mem_alloc(0), *b = tw_mem_calloc(0, 8), *c = tw_mem_align(64, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_ptr_not_equal(a, b);
    a = tw_mem_realloc(a, 0);
    assert_non_null(a);
    tw_mem_free(a);
    tw_mem_free(b);
    tw_mem_free(c);
    tw_mem_free(NULL);
}

static void test_too_much(void **state)
{
    (void)state;
    volatile size_t half = SIZE_MAX / 2; /* hidden from the compiler, which would warn */
    char *p = tw_mem_alloc(1);
    assert_null(tw_mem_calloc(half, 4));
    assert_null(tw_mem_calloc(half / 2 + 1, 4));
    assert_null(tw_mem_calloc(half, 2));
    assert_null(tw_mem_alloc(half + 1));
    assert_null(tw_mem_align(64, half + 1));
    assert_null(tw_mem_realloc(p, half + 1));
    tw_mem_free(p);
}

static void test_strings(void **state)
{
    (void)state;
    char *a = tw_mem_strdup("cable"), *b = tw_mem_strndup("cable", 3), *c = tw_mem_strndup("ab", 9);
    assert_string_equal(a, "cable");
    assert_string_equal(b, "cab");
    assert_string_equal(c, "ab");
    tw_mem_free(a);
    tw_mem_free(b);
    tw_mem_free(c);
}

static void test_align(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 1 << 16; align *= 2) {
        char *p = tw_mem_align(align, 100);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % align, 0);
        memset(p, 1, 100);
        tw_mem_free(p);
    }
    assert_null(tw_mem_align(48, 100));
}

static void test_freep(void **state)
{
    (void)state;
    TW_CLEANUP(tw_mem_freep) int *p = tw_mem_alloc(sizeof(*p));
    tw_mem_freep(&p);
    assert_null(p); /* and the cleanup frees nothing twice */
}

static void test_count(void **state)
{
    (void)state;
    uint64_t before = tw_mem_count();
    char *p = tw_mem_alloc(1);
    p = tw_mem_realloc(p, 1000);
    assert_true(tw_mem_take());
    assert_int_equal(tw_mem_count() - before, 3);
    tw_mem_free(p);
    assert_int_equal(tw_mem_count() - before, 3);
}

static void test_fail_at(void **state)
{
    (void)state;
    tw_mem_fail_at(2);
    void *a = tw_mem_alloc(1);
    void *b = tw_mem_alloc(1), *c = tw_mem_calloc(1, 1), *d = tw_mem_align(64, 1);
    void *e = tw_mem_realloc(a, 10);
    char *f = tw_mem_strdup("x");
    bool taken = tw_mem_take();
    tw_mem_fail_at(0);
    assert_non_null(a);
    assert_null(b);
    assert_null(c);
    assert_null(d);
    assert_null(e);
    assert_null(f);
    assert_false(taken);
    b = tw_mem_alloc(1);
    assert_non_null(b);
    tw_mem_free(a); /* a failed realloc leaves it */
    tw_mem_free(b);
}

/* How the guard ends a process that allocates depth levels inside it. */
static int run_guarded(int n_begin, int n_end)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        for (int i = 0; i < n_begin; i++)
            tw_mem_guard_begin();
        for (int i = 0; i < n_end; i++)
            tw_mem_guard_end();
        void *p = tw_mem_alloc(1);
        _exit(p == NULL);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_guard_aborts(void **state)
{
    (void)state;
#ifdef NDEBUG
    printf("# skipped: the guard lives in debug builds, this one has NDEBUG\n");
    (void)run_guarded;
#else
    for (int n_end = 0; n_end < 2; n_end++) {
        int status = run_guarded(2, n_end);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
    }
    int status = run_guarded(2, 2);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
#endif
}

static void test_guard_lets_free(void **state)
{
    (void)state;
    void *p = tw_mem_alloc(1);
    tw_mem_guard_begin();
    tw_mem_free(p);
    tw_mem_guard_end();
}

static void fill_arena(tw_arena *a, tw_rng *rng)
{
    enum { N = 3000 };
    static struct {
        unsigned char *p;
        size_t n;
    } got[N];
    for (unsigned i = 0; i < N; i++) {
        size_t max = tw_rng_below(rng, 50) == 0 ? 100000 : 200;
        got[i].n = tw_rng_below(rng, max);
        got[i].p = tw_arena_alloc(a, got[i].n);
        assert_non_null(got[i].p);
        assert_int_equal((uintptr_t)got[i].p % 16, 0);
        for (size_t k = 0; k < got[i].n; k++)
            assert_int_equal(got[i].p[k], 0);
        memset(got[i].p, (int)(i % 255 + 1), got[i].n);
    }
    for (unsigned i = 0; i < N; i++) /* nobody overlaps */
        for (size_t k = 0; k < got[i].n; k++)
            if (got[i].p[k] != i % 255 + 1)
                fail_msg("allocation %u byte %zu was overwritten", i, k);
}

static void test_arena(void **state)
{
    (void)state;
    tw_rng rng = new_seeded_rng("arena");
    tw_arena a;
    tw_arena_init(&a, 0);
    for (int round = 0; round < 2; round++) { /* done leaves it usable */
        fill_arena(&a, &rng);
        tw_arena_done(&a);
        assert_int_equal(a.used_bytes, 0);
    }
    tw_arena_done(NULL);
}

static void test_arena_ceiling(void **state)
{
    (void)state;
    tw_arena a;
    tw_arena_init(&a, 1000);
    size_t n = 0;
    while (tw_arena_alloc(&a, 10) != NULL)
        n++;
    assert_int_equal(n, 1000 / 16);
    assert_true(a.used_bytes <= a.max_bytes);
    assert_null(tw_arena_alloc(&a, 500));
    tw_arena_done(&a);
    assert_non_null(tw_arena_alloc(&a, 1000 / 16 * 16));
    assert_null(tw_arena_alloc(&a, 1));
    tw_arena_done(&a);
    assert_null(tw_arena_alloc(&a, SIZE_MAX));
    assert_null(tw_arena_alloc(&a, SIZE_MAX - 15));
    tw_arena_done(&a);
}

static void test_arena_overflow_and_oom(void **state)
{
    (void)state;
    tw_arena a;
    tw_arena_init(&a, 0);
    assert_null(tw_arena_array(&a, SIZE_MAX / 2, 3));
    assert_null(tw_arena_alloc(&a, SIZE_MAX - 20));
    tw_mem_fail_at(1);
    void *p = tw_arena_alloc(&a, 8);
    tw_mem_fail_at(0);
    assert_null(p);
    assert_int_equal(a.used_bytes, 0);
    char *s = tw_arena_strndup(&a, "twinaxial", 5);
    assert_string_equal(s, "twina");
    assert_non_null(tw_arena_array(&a, 10, 8));
    tw_arena_done(&a);
}

/* A large request does not waste the rest of the block in use. */
static void test_arena_keeps_the_head(void **state)
{
    (void)state;
    tw_arena a;
    tw_arena_init(&a, 0);
    char *p = tw_arena_alloc(&a, 16);
    assert_non_null(tw_arena_alloc(&a, 1 << 22));
    uint64_t before = tw_mem_count();
    char *q = tw_arena_alloc(&a, 16);
    assert_ptr_equal(q, p + 16);
    assert_int_equal(tw_mem_count(), before);
    tw_arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_bytes_are_unique),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_align),
        cmocka_unit_test(test_freep),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_fail_at),
        cmocka_unit_test(test_guard_aborts),
        cmocka_unit_test(test_guard_lets_free),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_ceiling),
        cmocka_unit_test(test_arena_overflow_and_oom),
        cmocka_unit_test(test_arena_keeps_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
