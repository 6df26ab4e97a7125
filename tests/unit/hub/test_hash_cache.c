/* SPDX-License-Identifier: Apache-2.0 */
/* A file's hash is kept while it is not changed, and only so long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "hub/hash_cache.h"
#include "os/file.h"

#define GIT    "ce013625030ba8dba906f756967f9e9ca394464a"
#define SHA256 "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"

static char folder[] = "/tmp/twinax-hashes-XXXXXX";
static char file[64], kept[64];

static int make(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL || setenv("XDG_CACHE_HOME", folder, 1) != 0)
        return -1;
    snprintf(file, sizeof file, "%s/file", folder);
    snprintf(kept, sizeof kept, "%s/twinax/hashes", folder);
    tw_err err;
    return tw_file_write(file, "hello\n", 6, &err);
}

static int unmake(void **state)
{
    char path[64];
    (void)state;
    (void)unlink(file);
    (void)unlink(kept);
    snprintf(path, sizeof path, "%s/twinax", folder);
    (void)rmdir(path);
    return rmdir(folder);
}

static struct stat st_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st;
}

/* A stat of long ago, of which the clock can tell. */
static struct stat settled(void)
{
    struct stat st = st_of(file);
    st.st_mtim.tv_sec -= 100;
    st.st_ctim.tv_sec -= 100;
    return st;
}

static bool finds(const struct stat *st, unsigned n_digits, const char *want)
{
    char got[TW_HUB_ETAG_BYTES] = "";
    tw_hub_hashes h;
    tw_hub_hashes_load(&h);
    const bool found = tw_hub_hashes_find(&h, st, n_digits, got);
    tw_hub_hashes_done(&h);
    return found && strcmp(got, want) == 0;
}

static void keeps(void **state)
{
    const struct stat st = settled();
    (void)state;
    (void)unlink(kept);
    assert_false(finds(&st, 64, SHA256));
    tw_hub_hash_cache_note(&st, SHA256);
    tw_hub_hash_cache_note(&st, GIT);
    assert_true(finds(&st, 64, SHA256));
    assert_true(finds(&st, 40, GIT));
    for (int i = 0; i < 5; i++) {
        struct stat other = st;
        other.st_dev += i == 0;
        other.st_ino += i == 1;
        other.st_size += i == 2;
        other.st_mtim.tv_nsec += i == 3;
        other.st_ctim.tv_nsec += i == 4;
        assert_false(finds(&other, 64, SHA256));
    }
    char other[] = SHA256;
    other[0] = '0';
    tw_hub_hash_cache_note(&st, other);
    assert_true(finds(&st, 64, other)); /* the last one counts */
}

/* Changed within the same tick of the clock, it would have the same times. */
static void not_too_soon(void **state)
{
    tw_err err;
    (void)state;
    (void)unlink(kept);
    assert_int_equal(tw_file_write(file, "hallo\n", 6, &err), 0);
    const struct stat st = st_of(file);
    assert_false(tw_hub_hash_cache_may_note(&st));
    const struct stat old = settled();
    assert_true(tw_hub_hash_cache_may_note(&old));
}

static void damage(void **state)
{
    const struct stat st = settled();
    tw_err err;
    (void)state;
    (void)unlink(kept);
    tw_hub_hash_cache_note(&st, SHA256);
    tw_buf text = TW_BUF(1000);
    assert_int_equal(tw_file_read(kept, &text, &err), 0);
    assert_int_equal(tw_file_write(kept, text.data, text.len - 1, &err), 0); /* cut off */
    assert_false(finds(&st, 64, SHA256));
    text.data[text.len - 10] = 'X'; /* not of a hash */
    assert_int_equal(tw_file_write(kept, text.data, text.len, &err), 0);
    assert_false(finds(&st, 64, SHA256));
    tw_buf_done(&text);
}

static void stays_small(void **state)
{
    struct stat st = settled();
    (void)state;
    (void)unlink(kept);
    for (int i = 0; i < 12000; i++) {
        st.st_ino++;
        tw_hub_hash_cache_note(&st, SHA256);
    }
    assert_true(st_of(kept).st_size <= TW_HUB_HASH_CACHE_BYTES);
    assert_true(finds(&st, 64, SHA256)); /* the youngest one stays */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps), cmocka_unit_test(not_too_soon),
                                       cmocka_unit_test(damage), cmocka_unit_test(stays_small)};
    return cmocka_run_group_tests_name("hub_hash_cache", tests, make, unmake);
}
