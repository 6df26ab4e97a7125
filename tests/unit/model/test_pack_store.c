/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "os/fd.h"
#include "os/file.h"
#include "pack_folder.h"

enum { N_BYTES = 3 * TW_PACK_CHUNK_BYTES };

static void set_age_of(const char *path, int64_t seconds)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000 - seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void set_age(const tw_test_packs *t, uint8_t i, int64_t seconds)
{
    char path[TW_PACK_PATH_BYTES];
    tw_test_packs_path(t, i, false, path);
    set_age_of(path, seconds);
}

static bool is_there(const tw_test_packs *t, uint8_t i)
{
    char path[TW_PACK_PATH_BYTES];
    tw_test_packs_path(t, i, false, path);
    return tw_file_exists(path);
}

static void the_list_tells_them_apart(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_pack_entry *v;
    size_t n;
    tw_err err;
    char path[TW_PACK_PATH_BYTES + 20];
    tw_test_packs_init(&t, N_BYTES);
    assert_int_equal(tw_pack_list(t.folder, &v, &n, &err), 0); /* no folder yet */
    assert_int_equal(n, 0);
    for (uint8_t i = 1; i <= 3; i++) {
        assert_int_equal(tw_test_packs_keep(&t, i, 0, &err), 0);
        set_age(&t, i, i);
    }
    tw_test_packs_path(&t, 2, false, path);
    assert_int_equal(truncate(path, 100), 0);
    set_age(&t, 2, 2);
    snprintf(path, sizeof(path), "%s/notes.txt", t.folder);
    assert_int_equal(tw_file_write(path, "x", 1, &err), 0);
    assert_int_equal(tw_pack_list(t.folder, &v, &n, &err), 0);
    assert_int_equal(n, 3); /* and not the notes */
    assert_string_equal(v[0].head.name, "a model, rank 0 of 1");
    assert_int_equal(v[0].head.key[0], 1);
    assert_false(v[0].is_damaged);
    assert_true(v[0].bytes >= N_BYTES);
    assert_true(v[1].is_damaged);
    assert_int_equal(v[2].head.key[0], 3);
    tw_mem_free(v);
    assert_int_equal(unlink(path), 0);
    tw_test_packs_done(&t);
}

static void the_oldest_go_when_there_are_too_many(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_err err;
    tw_test_packs_init(&t, N_BYTES);
    const uint64_t one = tw_pack_file_bytes(N_BYTES);
    for (uint8_t i = 1; i <= 3; i++)
        assert_int_equal(tw_test_packs_keep(&t, i, 0, &err), 0);
    set_age(&t, 1, 10);
    set_age(&t, 2, 30); /* the oldest */
    set_age(&t, 3, 20);
    assert_int_equal(tw_test_packs_keep(&t, 4, 3 * one + one / 2, &err), 0);
    assert_true(is_there(&t, 1) && !is_there(&t, 2) && is_there(&t, 3) && is_there(&t, 4));
    char path[TW_PACK_PATH_BYTES];
    tw_test_packs_path(&t, 3, false, path);
    tw_pack_touch(path); /* used: now the youngest but one */
    set_age(&t, 4, 5);
    assert_int_equal(tw_test_packs_keep(&t, 5, 2 * one + one / 2, &err), 0);
    assert_true(!is_there(&t, 1) && is_there(&t, 3) && !is_there(&t, 4) && is_there(&t, 5));
    assert_int_equal(tw_test_packs_keep(&t, 6, one - 1, &err), -EFBIG);
    assert_non_null(strstr(err.msg, "more than the limit"));
    assert_int_equal(tw_test_packs_count(&t), 2); /* nothing went for what does not fit */
    tw_test_packs_done(&t);
}

static void one_that_is_being_written_stays(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_pack_entry *v;
    size_t n;
    tw_err err;
    char path[TW_PACK_PATH_BYTES];
    tw_test_packs_init(&t, N_BYTES);
    assert_int_equal(tw_pack_folder_make(t.folder, &err), 0);
    tw_test_packs_path(&t, 1, true, path);
    assert_int_equal(tw_file_write(path, t.data, N_BYTES, &err), 0);
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    set_age_of(path, 0);
    assert_int_equal(tw_test_packs_keep(&t, 2, tw_pack_file_bytes(N_BYTES) + 1000, &err), -ENOSPC);
    assert_int_equal(tw_test_packs_keep(&t, 1, 0, &err), -EBUSY);
    assert_int_equal(tw_pack_list(t.folder, &v, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_true(v[0].is_part);
    assert_false(tw_pack_remove(t.folder, &v[0]));
    assert_int_equal(flock(fd, LOCK_UN), 0); /* its writer has died */
    assert_int_equal(tw_test_packs_keep(&t, 2, tw_pack_file_bytes(N_BYTES) + 1000, &err), 0);
    assert_false(tw_file_exists(path));
    assert_true(tw_pack_remove(t.folder, &v[0])); /* gone is as good as removed */
    tw_mem_free(v);
    tw_test_packs_done(&t);
}

/* Two ranks of one machine, room for one's pack: whoever has one keeps it. */
static void one_that_is_in_use_stays(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_pack_map m;
    tw_err err;
    char path[TW_PACK_PATH_BYTES];
    tw_test_packs_init(&t, N_BYTES);
    const uint64_t limit = tw_pack_file_bytes(N_BYTES) + 1000;
    assert_int_equal(tw_test_packs_keep(&t, 7, limit, &err), 0);
    assert_int_equal(tw_test_packs_keep(&t, 8, limit, &err), -ENOSPC); /* used a moment ago */
    set_age(&t, 7, 0);
    tw_test_packs_path(&t, 7, false, path);
    assert_int_equal(tw_pack_map_open(path, t.key, N_BYTES, &m, &err), 0);
    assert_int_equal(tw_test_packs_keep(&t, 8, limit, &err), -ENOSPC);
    assert_non_null(strstr(err.msg, "in use"));
    assert_true(is_there(&t, 7) && !is_there(&t, 8));
    tw_pack_map_close(&m);
    assert_int_equal(tw_test_packs_keep(&t, 8, limit, &err), 0);
    assert_true(!is_there(&t, 7) && is_there(&t, 8));
    tw_test_packs_done(&t);
}

static void one_whose_writer_lives_stays(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_err err;
    tw_test_packs_init(&t, N_BYTES);
    const uint64_t limit = tw_pack_file_bytes(N_BYTES) + 1000;
    tw_pack_keep_opts o = {.folder = t.folder, .limit_bytes = limit, .data = t.data};
    tw_pack_keep *k = NULL;
    tw_pack_head_fill(&o.head, t.key, "a model, rank 0 of 2", "0123", t.n_bytes);
    assert_int_equal(tw_pack_keep_start(&o, &k, &err), 0);
    tw_pack_keep_go(k);
    while (tw_pack_keep_is_busy(k))
        sched_yield();
    set_age(&t, 7, 0);
    assert_int_equal(tw_test_packs_keep(&t, 8, limit, &err), -ENOSPC);
    assert_int_equal(tw_pack_keep_end(k, 0, &err), 0);
    assert_int_equal(tw_test_packs_keep(&t, 8, limit, &err), 0);
    assert_false(is_there(&t, 7));
    tw_test_packs_done(&t);
}

static void a_folder_of_others_is_not_used(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_err err;
    tw_test_packs_init(&t, N_BYTES);
    assert_int_equal(tw_pack_folder_make(t.folder, &err), 0);
    assert_int_equal(chmod(t.folder, 0777), 0);
    assert_int_equal(tw_test_packs_keep(&t, 1, 0, &err), -EPERM);
    assert_int_equal(tw_test_packs_count(&t), 0);
    tw_test_packs_done(&t);
}

static void the_environment_says_where(void **state)
{
    (void)state;
    char out[TW_PACK_PATH_BYTES];
    tw_err err;
    setenv("XDG_CACHE_HOME", "/x/cache", 1);
    assert_int_equal(tw_pack_folder_find(out, &err), 0);
    assert_string_equal(out, "/x/cache/twinax/packs");
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", "/x/home", 1);
    assert_int_equal(tw_pack_folder_find(out, &err), 0);
    assert_string_equal(out, "/x/home/.cache/twinax/packs");
    unsetenv("HOME");
    assert_int_equal(tw_pack_folder_find(out, &err), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_tells_them_apart),
        cmocka_unit_test(the_oldest_go_when_there_are_too_many),
        cmocka_unit_test(one_that_is_being_written_stays),
        cmocka_unit_test(one_that_is_in_use_stays),
        cmocka_unit_test(one_whose_writer_lives_stays),
        cmocka_unit_test(a_folder_of_others_is_not_used),
        cmocka_unit_test(the_environment_says_where),
    };
    return cmocka_run_group_tests_name("model pack_store", tests, NULL, NULL);
}
