/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"
#include "pack_folder.h"

enum { N_BYTES = 5 * TW_PACK_CHUNK_BYTES + 77 };

static void start(const tw_test_packs *t, tw_pack_keep **ret)
{
    tw_pack_keep_opts o = {.folder = t->folder, .data = t->data};
    tw_err err;
    tw_pack_head_fill(&o.head, t->key, "name", "id", t->n_bytes);
    assert_int_equal(tw_pack_keep_start(&o, ret, &err), 0);
}

static bool is_good(const tw_test_packs *t)
{
    char path[TW_PACK_PATH_BYTES];
    TW_CLEANUP(tw_pack_map_close) tw_pack_map m = {.data = NULL};
    tw_err err;
    tw_test_packs_path(t, 7, false, path);
    if (tw_pack_map_open(path, t->key, t->n_bytes, &m, &err) != 0)
        return false;
    for (size_t i = 0; i < m.n_chunks; i++)
        if (!tw_pack_map_check(&m, i))
            return false;
    return memcmp(m.data, t->data, t->n_bytes) == 0;
}

static void nothing_is_written_before_go(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_pack_keep *k;
    tw_err err = {0};
    tw_test_packs_init(&t, N_BYTES);
    start(&t, &k);
    const uint64_t t0 = tw_clock_now_ns();
    assert_int_equal(tw_pack_keep_end(k, 60 * TW_NS_PER_S, &err), -ECANCELED);
    assert_true(tw_clock_now_ns() - t0 < 30 * TW_NS_PER_S); /* and nobody waits for it */
    assert_false(tw_file_exists(t.folder));
    assert_int_equal(tw_pack_keep_end(NULL, 0, NULL), -ECANCELED);
    tw_test_packs_done(&t);
}

/* Whatever an earlier writer left, sound or not, what comes out is right. */
static void what_was_left_is_gone_on_with(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_err err;
    char part[TW_PACK_PATH_BYTES];
    static const size_t lefts[] = {0, 1, TW_PACK_CHUNK_BYTES, 3 * TW_PACK_CHUNK_BYTES + 5, N_BYTES};
    for (size_t i = 0; i < 2 * TW_ARRAY_LEN(lefts); i++) {
        tw_test_packs_init(&t, N_BYTES);
        assert_int_equal(tw_pack_folder_make(t.folder, &err), 0);
        tw_test_packs_path(&t, 7, true, part);
        const size_t n = lefts[i / 2];
        uint8_t *old = tw_mem_calloc(1, TW_PACK_CHUNK_BYTES + n);
        memcpy(old + TW_PACK_CHUNK_BYTES, t.data, n);
        if (i % 2 == 1 && n > 0) /* some never reached the disk */
            memset(old + TW_PACK_CHUNK_BYTES + n / 2, 0, n - n / 2);
        assert_int_equal(tw_file_write(part, old, TW_PACK_CHUNK_BYTES + n, &err), 0);
        assert_int_equal(chmod(part, 0600), 0);
        tw_mem_free(old);
        assert_int_equal(tw_test_packs_keep(&t, 7, 0, &err), 0);
        assert_false(tw_file_exists(part));
        assert_true(is_good(&t));
        tw_test_packs_done(&t);
    }
}

static void a_writer_that_is_killed_leaves_no_pack(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_err err;
    tw_test_packs_init(&t, (size_t)64 << 20);
    const pid_t pid = fork();
    if (pid == 0) {
        tw_pack_keep *k;
        start(&t, &k);
        tw_pack_keep_go(k);
        for (;;)
            pause();
    }
    char part[TW_PACK_PATH_BYTES], whole[TW_PACK_PATH_BYTES];
    tw_test_packs_path(&t, 7, true, part);
    tw_test_packs_path(&t, 7, false, whole);
    while (!tw_file_exists(part) && !tw_file_exists(whole))
        usleep(100);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(tw_file_exists(part) || is_good(&t)); /* half of it, or all of it */
    assert_int_equal(tw_test_packs_keep(&t, 7, 0, &err), 0);
    assert_true(is_good(&t));
    assert_false(tw_file_exists(part));
    tw_test_packs_done(&t);
}

static void two_at_once_make_one(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_pack_keep *a, *b;
    tw_err err;
    tw_test_packs_init(&t, (size_t)32 << 20);
    start(&t, &a);
    start(&t, &b);
    tw_pack_keep_go(a);
    tw_pack_keep_go(b);
    const int rc_a = tw_pack_keep_end(a, 60 * TW_NS_PER_S, &err);
    const int rc_b = tw_pack_keep_end(b, 60 * TW_NS_PER_S, &err);
    assert_true(rc_a == 0 || rc_b == 0);
    assert_true(rc_a == 0 || rc_a == -EBUSY);
    assert_true(rc_b == 0 || rc_b == -EBUSY);
    assert_true(is_good(&t));
    assert_int_equal(tw_test_packs_count(&t), 1);
    tw_test_packs_done(&t);
}

/* As a disk that is full: no byte more than so many is taken. */
static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_err err = {0};
    struct rlimit old, small;
    tw_test_packs_init(&t, N_BYTES);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 3 * TW_PACK_CHUNK_BYTES;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const int rc = tw_test_packs_keep(&t, 7, 0, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(rc == -EFBIG || rc == -ENOSPC);
    assert_non_null(strstr(err.msg, "cannot be written"));
    assert_int_equal(tw_test_packs_count(&t), 0);
    tw_test_packs_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_written_before_go),
        cmocka_unit_test(what_was_left_is_gone_on_with),
        cmocka_unit_test(a_writer_that_is_killed_leaves_no_pack),
        cmocka_unit_test(two_at_once_make_one),
        cmocka_unit_test(a_full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests_name("model pack_keep", tests, NULL, NULL);
}
