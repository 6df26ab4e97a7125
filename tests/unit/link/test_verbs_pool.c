/* SPDX-License-Identifier: Apache-2.0 */
/* What the links of one rank share: one device, one registration, parts that do not overlap. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/scope.h"
#include "link/verbs_inside.h"
#include "verbs_pair.h"

enum { LINKS = 7 };

static int setup(void **state)
{
    (void)state;
    fake_reset();
    return 0;
}

static void test_carved_once(void **state)
{
    (void)state;
    tw_err err = {0};
    tw_verbs_part t[LINKS], more;
    tw_verbs_pool *p = tw_verbs_pool_new(LINKS);
    assert_int_equal(fake_n_handles(), 0);
    for (unsigned i = 0; i < LINKS; i++) {
        assert_int_equal(tw_verbs_pool_take(p, &fake_verbs_api, "fake0", &t[i], &err), 0);
        for (unsigned k = 0; k < i; k++)
            assert_true(t[k].arena + TW_LINK_VERBS_ARENA_BYTES <= t[i].arena);
    }
    assert_int_equal(fake.n_regs, 1);
    assert_int_equal(fake.n_reg_bytes, tw_link_verbs_pin_bytes(LINKS));
    assert_int_equal(fake_n_handles(), 2); /* the device, its memory */
    assert_int_equal(tw_verbs_pool_take(p, &fake_verbs_api, "fake0", &more, &err), -ENOSPC);
    assert_non_null(strstr(err.msg, "fake0: no part"));
    /* A part comes back, without what was in it. */
    memset(t[3].arena, 0xee, TW_LINK_VERBS_ARENA_BYTES);
    uint8_t *was = t[3].arena;
    tw_verbs_pool_give(&t[3]);
    assert_int_equal(tw_verbs_pool_take(p, &fake_verbs_api, "fake0", &t[3], &err), 0);
    assert_ptr_equal(t[3].arena, was);
    assert_int_equal(was[0] | was[TW_LINK_VERBS_ARENA_BYTES - 1], 0);
    tw_verbs_pool_release(p); /* the links still use it */
    for (unsigned i = 0; i < LINKS; i++) {
        assert_int_equal(fake_n_handles(), 2);
        tw_verbs_pool_give(&t[i]);
    }
    assert_int_equal(fake_n_handles(), 0);
    tw_verbs_pool_give(&t[0]); /* once is enough */
}

static void test_two_devices(void **state)
{
    (void)state;
    tw_err err = {0};
    tw_verbs_part a, b, c;
    fake.n_devices = 2;
    fake.dev[1] = fake.dev[0];
    snprintf(fake.dev[1].name, sizeof fake.dev[1].name, "fake1");
    tw_verbs_pool *p = tw_verbs_pool_new(2);
    assert_int_equal(tw_verbs_pool_take(p, &fake_verbs_api, "fake0", &a, &err), 0);
    assert_int_equal(tw_verbs_pool_take(p, &fake_verbs_api, "fake1", &b, &err), 0);
    assert_int_equal(fake.n_regs, 2);
    tw_verbs_pool_give(&a);
    assert_int_equal(fake_n_handles(), 2);
    assert_int_equal(tw_verbs_pool_take(p, &fake_verbs_api, "fake1", &c, &err), 0);
    assert_int_equal(fake.n_regs, 2);
    assert_ptr_not_equal(b.arena, c.arena);
    tw_verbs_pool_give(&b);
    tw_verbs_pool_give(&c);
    tw_verbs_pool_release(p);
    assert_int_equal(fake_n_handles(), 0);
}

/* One place names the memory that the whole rank needs. */
static void test_too_little_memlock(void **state)
{
    (void)state;
    tw_err err = {0};
    tw_verbs_part t;
    char wanted[32];
    tw_verbs_pool *p = tw_verbs_pool_new(LINKS);
    fake.reg_rc = -ENOMEM;
    assert_int_equal(tw_verbs_pool_take(p, &fake_verbs_api, "fake0", &t, &err), -ENOMEM);
    snprintf(wanted, sizeof wanted, "register %zu KiB", tw_link_verbs_pin_bytes(LINKS) / 1024);
    if (strstr(err.msg, wanted) == NULL || strstr(err.msg, "memlock") == NULL)
        fail_msg("%s", err.msg);
    assert_int_equal(fake_n_handles(), 0);
    fake.reg_rc = 0;
    assert_int_equal(tw_verbs_pool_take(p, &fake_verbs_api, "fake0", &t, &err), 0);
    tw_verbs_pool_give(&t);
    tw_verbs_pool_release(p);
}

/* Two links of the same two ranks' pools: the second pair adds no registration. */
static void test_links_share(void **state)
{
    (void)state;
    pair_end e[2][2];
    tw_verbs_pool *p[2] = {tw_verbs_pool_new(2), tw_verbs_pool_new(2)};
    for (unsigned k = 0; k < 2; k++) {
        pair_init(e[k], false);
        for (unsigned i = 0; i < 2; i++)
            e[k][i].opts.pool = p[i];
        pair_meet(e[k]);
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(e[k][i].rc, 0);
    }
    assert_int_equal(fake.n_regs, 2);
    for (unsigned k = 0; k < 2; k++) {
        tw_err err = {0};
        uint8_t out[1000], in[1000];
        tw_link *l[2] = {e[k][0].l, e[k][1].l};
        memset(out, 'a' + (int)k, sizeof out);
        tw_link_send(l[0], 1, out, sizeof out);
        tw_link_recv(l[1], 1, in, sizeof in, true);
        while (!tw_link_rx_idle(l[1]) || !tw_link_tx_idle(l[0]))
            for (unsigned i = 0; i < 2; i++)
                assert_true(tw_link_poll(l[i], &err) >= 0);
        assert_memory_equal(out, in, sizeof in);
    }
    for (unsigned i = 0; i < 2; i++)
        tw_verbs_pool_release(p[i]);
    for (unsigned k = 0; k < 2; k++)
        for (unsigned i = 0; i < 2; i++)
            tw_link_close(e[k][i].l);
    assert_int_equal(fake_n_handles(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_carved_once, setup),
        cmocka_unit_test_setup(test_two_devices, setup),
        cmocka_unit_test_setup(test_too_little_memlock, setup),
        cmocka_unit_test_setup(test_links_share, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
