/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "model/pack_sum.h"
#include "os/fd.h"
#include "pack_folder.h"

enum { N_BYTES = 2 * TW_PACK_CHUNK_BYTES + 12345 };

static void a_sum_sees_every_bit(void **state)
{
    (void)state;
    uint8_t x[200];
    for (size_t i = 0; i < sizeof(x); i++)
        x[i] = (uint8_t)(i * 37);
    for (size_t n = 0; n <= sizeof(x); n += 9) {
        const uint64_t sum = tw_pack_sum(x, n);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            x[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_true(tw_pack_sum(x, n) != sum);
            x[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_true(n == sizeof(x) || tw_pack_sum(x, n + 1) != sum);
        assert_true(tw_pack_sum(x, n) == sum);
    }
}

static int open_map(const tw_test_packs *t, tw_pack_map *m, tw_err *err)
{
    char path[TW_PACK_PATH_BYTES];
    tw_test_packs_path(t, 7, false, path);
    return tw_pack_map_open(path, t->key, t->n_bytes, m, err);
}

static bool all_good(const tw_pack_map *m)
{
    bool good = true;
    for (size_t i = 0; i < m->n_chunks; i++)
        good = tw_pack_map_check(m, i) && good;
    return good;
}

static void what_was_kept_is_mapped(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_pack_map m;
    tw_err err = {0};
    tw_test_packs_init(&t, N_BYTES);
    assert_int_equal(open_map(&t, &m, &err), -ENOENT);
    assert_int_equal(tw_test_packs_keep(&t, 7, 0, &err), 0);
    assert_int_equal(open_map(&t, &m, &err), 0);
    assert_int_equal(m.n_chunks, 3);
    assert_memory_equal(m.data, t.data, N_BYTES);
    assert_true(all_good(&m));
    assert_int_equal((uintptr_t)m.data % TW_PACK_CHUNK_BYTES, 0);
    tw_pack_map_close(&m);
    t.n_bytes--;
    assert_int_equal(open_map(&t, &m, &err), -EBADMSG);
    t.n_bytes++;
    t.key[9] ^= 1; /* the name of one, the inside of another */
    char from[TW_PACK_PATH_BYTES], to[TW_PACK_PATH_BYTES];
    tw_test_packs_path(&t, 7, false, to);
    t.key[9] ^= 1;
    tw_test_packs_path(&t, 7, false, from);
    assert_int_equal(rename(from, to), 0);
    t.key[9] ^= 1;
    assert_int_equal(open_map(&t, &m, &err), -EBADMSG);
    assert_non_null(strstr(err.msg, "another model's"));
    tw_test_packs_done(&t);
}

static void flip(const char *path, off_t at)
{
    uint8_t byte;
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void damage_is_seen_wherever_it_is(void **state)
{
    (void)state;
    static const off_t data = TW_PACK_CHUNK_BYTES, end = 4 * (off_t)TW_PACK_CHUNK_BYTES;
    const off_t in_data[] = {data, data + 4097, data + N_BYTES - 1};
    const off_t elsewhere[] = {0, 8, 16, 24, 60, 200, 263, end, end + 23, end + 24, end + 39};
    tw_test_packs t;
    tw_pack_map m;
    tw_err err;
    char path[TW_PACK_PATH_BYTES];
    tw_test_packs_init(&t, N_BYTES);
    assert_int_equal(tw_test_packs_keep(&t, 7, 0, &err), 0);
    tw_test_packs_path(&t, 7, false, path);
    for (size_t i = 0; i < TW_ARRAY_LEN(in_data); i++) {
        flip(path, in_data[i]);
        assert_int_equal(open_map(&t, &m, &err), 0);
        assert_false(all_good(&m));
        tw_pack_map_close(&m);
        flip(path, in_data[i]);
    }
    for (size_t i = 0; i < TW_ARRAY_LEN(elsewhere); i++) {
        flip(path, elsewhere[i]);
        assert_int_equal(open_map(&t, &m, &err), -EBADMSG);
        flip(path, elsewhere[i]);
    }
    assert_int_equal(open_map(&t, &m, &err), 0);
    assert_true(all_good(&m));
    tw_pack_map_close(&m);
    tw_test_packs_done(&t);
}

static void a_torn_one_is_refused(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_pack_map m;
    tw_err err;
    char path[TW_PACK_PATH_BYTES];
    tw_test_packs_init(&t, N_BYTES);
    assert_int_equal(tw_test_packs_keep(&t, 7, 0, &err), 0);
    tw_test_packs_path(&t, 7, false, path);
    const off_t whole = (off_t)tw_pack_file_bytes(N_BYTES);
    const off_t cuts[] = {0, 100, TW_PACK_CHUNK_BYTES, whole - 8, whole - 1};
    for (size_t i = TW_ARRAY_LEN(cuts); i > 0; i--) {
        assert_int_equal(truncate(path, cuts[i - 1]), 0);
        assert_int_equal(open_map(&t, &m, &err), -EBADMSG);
    }
    assert_int_equal(truncate(path, whole), 0);
    assert_int_equal(open_map(&t, &m, &err), -EBADMSG);
    tw_test_packs_done(&t);
}

static void one_that_others_may_write_is_refused(void **state)
{
    (void)state;
    tw_test_packs t;
    tw_pack_map m;
    tw_err err;
    char path[TW_PACK_PATH_BYTES];
    tw_test_packs_init(&t, 1000);
    assert_int_equal(tw_test_packs_keep(&t, 7, 0, &err), 0);
    tw_test_packs_path(&t, 7, false, path);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(open_map(&t, &m, &err), -EPERM);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(open_map(&t, &m, &err), 0);
    tw_pack_map_close(&m);
    tw_test_packs_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_sees_every_bit),
        cmocka_unit_test(what_was_kept_is_mapped),
        cmocka_unit_test(damage_is_seen_wherever_it_is),
        cmocka_unit_test(a_torn_one_is_refused),
        cmocka_unit_test(one_that_others_may_write_is_refused),
    };
    return cmocka_run_group_tests_name("model pack_file", tests, NULL, NULL);
}
