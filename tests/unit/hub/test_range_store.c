/* SPDX-License-Identifier: Apache-2.0 */
/* A model that comes in units, in any order, from several threads' hands: it is whole when its hash
 * is right, goes on where it was left, begins anew when it is wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/scope.h"
#include "hub/range_store.h"
#include "os/fd.h"
#include "os/sha256.h"

enum { SIZE = 100 * 1000, RANGE = 4096, WAIT_MS = 20000 };
#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static char folder[] = "/tmp/twinax-store-XXXXXX";
static uint8_t bytes[SIZE];
static char etag[TW_SHA256_HEX + 1];
static tw_hub_place place;
static tw_hub_name name;

static void rm(const char *what)
{
    char line[160];
    snprintf(line, sizeof line, "rm -rf '%s'%s", folder, what);
    assert_int_equal(system(line), 0);
}

static int make(void **state)
{
    uint8_t hash[TW_SHA256_BYTES];
    tw_rng r = tw_rng_seed(7);
    tw_sha256 s;
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)tw_rng_u64(&r);
    tw_sha256_init(&s);
    tw_sha256_add(&s, bytes, SIZE);
    tw_sha256_end(&s, hash);
    tw_sha256_print(hash, etag);
    if (mkdtemp(folder) == NULL || tw_hub_name_parse("org/name", &name, NULL) != 0)
        return -1;
    setenv("XDG_CACHE_HOME", folder, 1); /* hashes are kept there */
    snprintf(place.cache, sizeof place.cache, "%s/hub", folder);
    return 0;
}

static int unmake(void **state)
{
    (void)state;
    rm("");
    return 0;
}

/* One large file, the same by another name, an empty one. */
static tw_hub_list list(void)
{
    tw_hub_list l = {.n = 0};
    char text[1000];
    snprintf(text, sizeof text,
             "{\"sha\":\"" COMMIT "\",\"siblings\":["
             "{\"rfilename\":\"a.bin\",\"blobId\":\"%s\",\"size\":%d},"
             "{\"rfilename\":\"b.bin\",\"blobId\":\"%s\",\"size\":%d},"
             "{\"rfilename\":\"c.json\",\"blobId\":"
             "\"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\",\"size\":0}]}",
             etag, SIZE, etag, SIZE);
    assert_int_equal(tw_hub_list_parse("x", text, strlen(text), &l, NULL), 0);
    return l;
}

static tw_hub_store *open_store(const tw_hub_list *l, uint64_t range, const char *source)
{
    tw_hub_store *s = NULL;
    tw_err err = {0};
    const tw_hub_store_opts o = {
        .place = &place, .name = &name, .list = l, .range_bytes = range, .source = source};
    if (tw_hub_store_open(&o, &s, &err) != 0)
        fail_msg("%s", err.msg);
    return s;
}

/* Unit u from where it is, up to n bytes; flip: one of them is wrong. */
static void bring(tw_hub_store *s, size_t u, size_t n, bool flip)
{
    const tw_hub_map *m = tw_hub_store_map(s);
    uint8_t copy[SIZE];
    uint64_t done = 0, ignored;
    const uint64_t at = tw_hub_map_at(m, u);
    assert_true(tw_hub_store_claim(s, u, &done));
    assert_false(tw_hub_store_claim(s, u, &ignored)); /* one giver at a time */
    n = TW_MIN(n, (size_t)(tw_hub_map_bytes(m, u) - done));
    memcpy(copy, bytes + at + done, n);
    copy[0] = (uint8_t)(copy[0] ^ (flip ? 1 : 0));
    assert_int_equal(tw_hub_store_put(s, u, copy, n, NULL), 0);
    tw_hub_store_release(s, u);
}

static void wait_whole(tw_hub_store *s)
{
    for (unsigned ms = 0; tw_hub_store_state(s, 0) != TW_HUB_STORE_WHOLE; ms++) {
        assert_true(ms < WAIT_MS);
        usleep(1000);
    }
}

static void check_file(const char *file)
{
    char path[200];
    static uint8_t got[SIZE + 1];
    snprintf(path, sizeof path, "%s/hub/models--org--name/snapshots/" COMMIT "/%s", folder, file);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(got, 1, sizeof got, f), SIZE);
    fclose(f);
    assert_memory_equal(got, bytes, SIZE);
}

static void the_map_names_the_same_bytes(void **state)
{
    (void)state;
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = list();
    TW_CLEANUP(tw_hub_map_done) tw_hub_map m;
    assert_int_equal(tw_hub_map_make(&l, RANGE, &m, NULL), 0);
    assert_int_equal(m.n_units,
                     (SIZE + RANGE - 1) / RANGE); /* once, and nothing for the empty one */
    assert_true(m.twice[1] && !m.twice[0] && !m.twice[2]);
    uint64_t all = 0;
    for (size_t u = 0; u < m.n_units; u++) {
        assert_int_equal(tw_hub_map_at(&m, u), all);
        all += tw_hub_map_bytes(&m, u);
    }
    assert_int_equal(all, SIZE);
    assert_true(tw_hub_map_range_bytes(&l, 2) >= 4096);
    tw_err err;
    tw_hub_map none;
    l.v[0].size = UINT64_C(1) << 49;
    assert_int_equal(tw_hub_map_make(&l, RANGE, &none, &err), -E2BIG);
}

static void units_in_any_order_make_it_whole(void **state)
{
    (void)state;
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = list();
    tw_hub_store *s = open_store(&l, RANGE, NULL);
    const size_t n = tw_hub_store_map(s)->n_units;
    tw_err err;
    uint64_t need = 0, room = 0, ignored;
    tw_hub_store_room(s, &need, &room);
    assert_true(need > 0 && room > 0);
    assert_int_equal(tw_hub_store_finish(s, &err), -EAGAIN);
    for (size_t k = 0; k < n; k++)
        bring(s, (k * 7 + 3) % n, SIZE, false);
    wait_whole(s);
    assert_int_equal(tw_hub_store_done_bytes(s), SIZE);
    assert_false(tw_hub_store_claim(s, 0, &ignored));
    for (unsigned ms = 0; tw_hub_store_state(s, 2) != TW_HUB_STORE_WHOLE && ms < WAIT_MS; ms++)
        usleep(1000);
    assert_int_equal(tw_hub_store_finish(s, &err), 0);
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    uint8_t got[16];
    assert_int_equal(tw_hub_store_reader(s, 0, &fd, NULL), 0);
    assert_int_equal(pread(fd, got, sizeof got, 5000), sizeof got);
    assert_memory_equal(got, bytes + 5000, sizeof got);
    tw_hub_store_close(s);
    check_file("a.bin");
    check_file("b.bin");
    s = open_store(&l, RANGE, NULL); /* there it is */
    assert_int_equal(tw_hub_store_state(s, 0), TW_HUB_STORE_WHOLE);
    tw_hub_store_close(s);
    rm("/hub");
}

static void it_goes_on_with_ranges_of_another_size_too(void **state)
{
    (void)state;
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = list();
    tw_hub_store *s = open_store(&l, RANGE, NULL);
    bring(s, 0, SIZE, false);
    bring(s, 1, 100, false);
    bring(s, 9, SIZE, false);
    tw_hub_store_close(s);
    s = open_store(&l, RANGE, NULL);
    assert_int_equal(tw_hub_store_done(s, 0), RANGE);
    assert_int_equal(tw_hub_store_done(s, 1), 100);
    assert_int_equal(tw_hub_store_done_bytes(s), 2 * RANGE + 100);
    tw_hub_store_close(s);
    s = open_store(&l, 3 * 1024, NULL); /* 9 * 4096 = 12 * 3072 */
    assert_int_equal(tw_hub_store_done(s, 0), 3072);
    assert_int_equal(tw_hub_store_done(s, 1), 4096 + 100 - 3072);
    assert_int_equal(tw_hub_store_done(s, 12), 3072);
    assert_int_equal(tw_hub_store_done(s, 13), 4096 - 3072);
    for (size_t u = 0; u < tw_hub_store_map(s)->n_units; u++)
        if (tw_hub_store_done(s, u) < tw_hub_map_bytes(tw_hub_store_map(s), u))
            bring(s, u, SIZE, false);
    wait_whole(s);
    tw_hub_store_close(s);
    check_file("a.bin");
    rm("/hub");
}

static void a_wrong_one_begins_anew_once(void **state)
{
    (void)state;
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = list();
    tw_hub_store *s = open_store(&l, RANGE, NULL);
    const size_t n = tw_hub_store_map(s)->n_units;
    tw_err err = {0};
    for (unsigned round = 0; round < 2; round++) {
        for (size_t u = 0; u < n; u++)
            bring(s, u, SIZE, u == 3);
        for (unsigned ms = 0; tw_hub_store_n_bad(s, 0) == round && ms < WAIT_MS; ms++)
            usleep(1000);
        assert_int_equal(tw_hub_store_n_bad(s, 0), round + 1);
        assert_int_equal(tw_hub_store_done(s, 5), 0);
    }
    assert_int_equal(tw_hub_store_state(s, 0), TW_HUB_STORE_STUCK);
    assert_int_equal(tw_hub_store_failure(s, &err), -EBADMSG);
    assert_non_null(strstr(err.msg, "a.bin"));
    tw_hub_store_close(s);
    rm("/hub");
}

static void another_program_that_has_it_is_waited_for(void **state)
{
    (void)state;
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = list();
    tw_hub_store *first = open_store(&l, RANGE, NULL), *second = open_store(&l, RANGE, NULL);
    uint64_t ignored;
    assert_int_equal(tw_hub_store_state(second, 0), TW_HUB_STORE_BUSY);
    assert_false(tw_hub_store_claim(second, 0, &ignored));
    bring(first, 0, SIZE, false);
    tw_hub_store_close(first);
    for (unsigned ms = 0; tw_hub_store_state(second, 0) == TW_HUB_STORE_BUSY && ms < WAIT_MS;
         ms++) {
        usleep(1000);
        tw_hub_store_look(second);
    }
    assert_int_equal(tw_hub_store_state(second, 0), TW_HUB_STORE_OPEN);
    assert_int_equal(tw_hub_store_done(second, 0), RANGE);
    tw_hub_store_close(second);
    rm("/hub");
}

static void a_folder_is_given_as_it_lies(void **state)
{
    (void)state;
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = list();
    char path[100];
    snprintf(path, sizeof path, "%s/a.bin", folder);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, SIZE, f), SIZE);
    fclose(f);
    tw_hub_store *s = open_store(&l, RANGE, folder);
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    uint8_t got[16];
    assert_int_equal(tw_hub_store_done(s, 3), RANGE);
    assert_int_equal(tw_hub_store_reader(s, 0, &fd, NULL), 0);
    assert_int_equal(pread(fd, got, sizeof got, 77), sizeof got);
    assert_memory_equal(got, bytes + 77, sizeof got);
    assert_int_equal(tw_hub_store_finish(s, NULL), 0);
    tw_hub_store_close(s);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_names_the_same_bytes),
        cmocka_unit_test(units_in_any_order_make_it_whole),
        cmocka_unit_test(it_goes_on_with_ranges_of_another_size_too),
        cmocka_unit_test(a_wrong_one_begins_anew_once),
        cmocka_unit_test(another_program_that_has_it_is_waited_for),
        cmocka_unit_test(a_folder_is_given_as_it_lies),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
