/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of an exchange on loopback: what is ordered comes, once damaged or not; without the token
 * nothing does. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/scope.h"
#include "cluster/share.h"
#include "cluster/share_wire.h"
#include "os/fd.h"
#include "os/sha256.h"
#include "os/sock.h"

enum { SIZE = 3 * 1000 * 1000, RANGE = 1 << 20, WAIT_MS = 20000 };
#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static char folder[] = "/tmp/twinax-share-XXXXXX";
static uint8_t bytes[SIZE];
static tw_hub_list list;
static tw_hub_name name;

static int make(void **state)
{
    uint8_t hash[TW_SHA256_BYTES];
    char text[400], path[100], etag[TW_SHA256_HEX + 1];
    tw_rng r = tw_rng_seed(9);
    tw_sha256 s;
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)tw_rng_u64(&r);
    tw_sha256_init(&s);
    tw_sha256_add(&s, bytes, SIZE);
    tw_sha256_end(&s, hash);
    tw_sha256_print(hash, etag);
    snprintf(text, sizeof text,
             "{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"a.bin\",\"blobId\":\"%s\","
             "\"size\":%d}]}",
             etag, SIZE);
    if (mkdtemp(folder) == NULL || tw_hub_name_parse("org/name", &name, NULL) != 0 ||
        tw_hub_list_parse("x", text, strlen(text), &list, NULL) != 0)
        return -1;
    setenv("XDG_CACHE_HOME", folder, 1); /* hashes are kept there */
    snprintf(path, sizeof path, "%s/a.bin", folder);
    FILE *f = fopen(path, "wb");
    const bool good = f != NULL && fwrite(bytes, 1, SIZE, f) == SIZE;
    return f != NULL && fclose(f) == 0 && good ? 0 : -1;
}

static int unmake(void **state)
{
    char line[160];
    (void)state;
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    tw_hub_list_done(&list);
    return system(line);
}

typedef struct end {
    tw_hub_place place;
    tw_hub_store *store;
    tw_share *share;
    uint16_t port;
    atomic_uint n_came, n_lost;
    char why[160];
} end;

static void on_unit(void *arg, size_t unit, unsigned from, int rc, const char *why)
{
    end *e = arg;
    (void)unit;
    (void)from;
    if (rc == 0)
        atomic_fetch_add(&e->n_came, 1);
    else if (atomic_fetch_add(&e->n_lost, 1) == 0)
        snprintf(e->why, sizeof e->why, "%s", why);
}

/* self 0 has the folder, 1 has nothing. */
static void open_end_for(end *e, unsigned self, uint8_t token, uint64_t door_ns)
{
    tw_err err = {0};
    memset(e, 0, sizeof *e);
    snprintf(e->place.cache, sizeof e->place.cache, "%s/hub", folder);
    const tw_hub_store_opts so = {.place = &e->place,
                                  .name = &name,
                                  .list = &list,
                                  .range_bytes = RANGE,
                                  .source = self == 0 ? folder : NULL};
    tw_share_opts o = {.self = self, .n_nodes = 2, .ip = "127.0.0.1", .on_unit = on_unit, .arg = e};
    o.door_ns = door_ns;
    memset(o.token, token, sizeof o.token);
    if (tw_hub_store_open(&so, &e->store, &err) != 0)
        fail_msg("%s", err.msg);
    o.store = e->store;
    if (tw_share_open(&o, &e->share, &e->port, &err) != 0)
        fail_msg("%s", err.msg);
}

static void open_end(end *e, unsigned self, uint8_t token)
{
    open_end_for(e, self, token, 0);
}

static void close_end(end *e)
{
    char line[160];
    tw_share_close(e->share);
    tw_hub_store_close(e->store);
    snprintf(line, sizeof line, "rm -rf '%s/hub'", folder);
    assert_int_equal(system(line), 0);
}

static void wait_for(const atomic_uint *n, unsigned wanted)
{
    for (unsigned ms = 0; atomic_load(n) < wanted; ms++) {
        assert_true(ms < WAIT_MS);
        usleep(1000);
    }
}

static void take_all(end *a, end *b)
{
    const size_t n = tw_hub_store_map(b->store)->n_units;
    assert_int_equal(tw_share_meet(b->share, 0, "127.0.0.1", a->port, NULL), 0);
    for (size_t u = 0; u < n; u++)
        assert_int_equal(tw_share_order(b->share, u, 0, NULL), 0);
}

static void what_is_ordered_comes(void **state)
{
    end a, b;
    tw_share_news news;
    (void)state;
    open_end(&a, 0, 1);
    open_end(&b, 1, 1);
    take_all(&a, &b);
    wait_for(&b.n_came, (unsigned)tw_hub_store_map(b.store)->n_units);
    for (unsigned ms = 0; tw_hub_store_state(b.store, 0) != TW_HUB_STORE_WHOLE && ms < WAIT_MS;
         ms++)
        usleep(1000);
    assert_int_equal(tw_hub_store_state(b.store, 0), TW_HUB_STORE_WHOLE);
    tw_share_look(b.share, &news);
    assert_int_equal(news.taken_bytes, SIZE);
    assert_int_equal(news.n_refused, 0);
    close_end(&b);
    close_end(&a);
}

static void a_damaged_block_comes_again(void **state)
{
    end a, b;
    tw_share_news news;
    (void)state;
    setenv("TW_PULL_FAULT", "flip", 1);
    open_end(&a, 0, 1);
    unsetenv("TW_PULL_FAULT");
    open_end(&b, 1, 1);
    take_all(&a, &b);
    wait_for(&b.n_came, (unsigned)tw_hub_store_map(b.store)->n_units);
    for (unsigned ms = 0; tw_hub_store_state(b.store, 0) != TW_HUB_STORE_WHOLE && ms < WAIT_MS;
         ms++)
        usleep(1000);
    assert_int_equal(tw_hub_store_state(b.store, 0), TW_HUB_STORE_WHOLE);
    tw_share_look(b.share, &news);
    assert_int_equal(news.n_refused, 1);
    assert_int_equal(tw_hub_store_n_bad(b.store, 0), 0);
    close_end(&b);
    close_end(&a);
}

static void without_the_token_nothing_comes(void **state)
{
    end a, b;
    (void)state;
    open_end(&a, 0, 1);
    open_end(&b, 1, 2);
    take_all(&a, &b);
    wait_for(&b.n_lost, (unsigned)tw_hub_store_map(b.store)->n_units);
    assert_int_equal(atomic_load(&b.n_came), 0);
    assert_true(b.why[0] != '\0');
    close_end(&b);
    close_end(&a);
}

static bool lets_in(uint16_t port)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    return tw_sock_connect("127.0.0.1", port, NULL, tw_clock_now_ns(), &fd, NULL) == 0;
}

/* A peer may hash for an hour what it has, before it comes; the door's time begins after. */
static void the_door_waits_for_who_opens_late(void **state)
{
    end a;
    (void)state;
    open_end_for(&a, 0, 1, 1);
    for (unsigned ms = 0; ms < 300; ms++) {
        assert_true(lets_in(a.port));
        usleep(1000);
    }
    tw_share_begin(a.share);
    for (unsigned ms = 0; lets_in(a.port); ms++) {
        assert_true(ms < WAIT_MS);
        usleep(1000);
    }
    close_end(&a);
}

/* Words that no taker says: the giver must neither serve nor fall. */
static void odd_guests_are_shown_out(void **state)
{
    end a, b;
    uint8_t junk[200], answer[200];
    (void)state;
    memset(junk, 'x', sizeof junk);
    open_end(&a, 0, 1);
    for (unsigned i = 0; i < 5; i++) {
        TW_CLEANUP(tw_fd_closep) int fd = -1;
        const uint64_t until = tw_clock_now_ns() + 5 * TW_NS_PER_S;
        assert_int_equal(tw_sock_connect("127.0.0.1", a.port, NULL, until, &fd, NULL), 0);
        if (i == 0)
            continue; /* came and went */
        (void)!tw_sock_send_all(fd, i == 1 ? (const void *)"TWSHARE1" : junk, i == 1 ? 8 : 100,
                                until);
        if (i == 2)
            assert_int_not_equal(tw_sock_recv_all(fd, answer, sizeof answer, until), 0);
    }
    open_end(&b, 1, 1);
    take_all(&a, &b);
    wait_for(&b.n_came, (unsigned)tw_hub_store_map(b.store)->n_units);
    close_end(&b);
    close_end(&a);
}

static void words_are_checked(void **state)
{
    uint8_t raw[TW_SHARE_ASK_BYTES];
    tw_share_ask a = {.unit = 77, .offset = UINT64_C(1) << 40}, back;
    tw_share_head h = {.bytes = TW_SHARE_BLOCK_BYTES, .crc = 0xdeadbeef}, got;
    (void)state;
    tw_share_ask_print(&a, raw);
    assert_int_equal(tw_share_ask_parse(raw, &back), 0);
    assert_true(back.unit == a.unit && back.offset == a.offset);
    raw[0] ^= 1;
    assert_int_equal(tw_share_ask_parse(raw, &back), -EPROTO);
    tw_share_head_print(&h, raw);
    assert_int_equal(tw_share_head_parse(raw, &got), 0);
    assert_true(got.bytes == h.bytes && got.crc == h.crc);
    h.bytes++;
    tw_share_head_print(&h, raw);
    assert_int_equal(tw_share_head_parse(raw, &got), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_ordered_comes),
        cmocka_unit_test(a_damaged_block_comes_again),
        cmocka_unit_test(without_the_token_nothing_comes),
        cmocka_unit_test(the_door_waits_for_who_opens_late),
        cmocka_unit_test(odd_guests_are_shown_out),
        cmocka_unit_test(words_are_checked),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
