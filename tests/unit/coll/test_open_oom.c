/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a group when memory ends: from the n-th allocation on all fail, for every n until both
 * ranks get through. Each rank ends with an error, in time; nothing stays open. */
#include "group_fixture.h"
#include "../os/count_fds.h"

#include <errno.h>

#include "base/mem.h"

enum { TRIES_MAX = 2000 };

/* True when both ranks came through. */
static bool open_with(uint64_t n, enum tw_transport transport, unsigned *n_without_memory)
{
    fixture_rank r[2];
    fixture_init(r, 2, transport, NULL);
    for (int i = 0; i < 2; i++)
        r[i].opts.rendezvous_ns = 300 * TW_NS_PER_MS;
    tw_mem_fail_at(n);
    fixture_start(r, 2);
    fixture_join(r, 2);
    tw_mem_fail_at(0);
    for (int i = 0; i < 2; i++) {
        *n_without_memory += r[i].rc == -ENOMEM;
        if (r[i].rc != 0 && (r[i].rc > 0 || r[i].err.msg[0] == '\0'))
            fail_msg("allocation %llu: rank %d: %d without a word", (unsigned long long)n, i,
                     r[i].rc);
    }
    return r[0].rc == 0 && r[1].rc == 0;
}

static void run_out_of_memory(enum tw_transport transport)
{
    unsigned n_fds = count_fds(), n_without_memory = 0;
    uint64_t n = 1;
    while (n < TRIES_MAX && !open_with(n, transport, &n_without_memory))
        n++;
    printf("# through with %llu allocations\n", (unsigned long long)n);
    assert_in_range(n, 5, TRIES_MAX - 1);
    assert_true(n_without_memory > 2);
    assert_int_equal(count_fds(), n_fds);
}

static void test_tcp(void **state)
{
    (void)state;
    run_out_of_memory(TW_TRANSPORT_TCP);
}

static void test_shm(void **state)
{
    (void)state;
    run_out_of_memory(TW_TRANSPORT_SHM);
}

static void test_auto(void **state)
{
    (void)state;
    run_out_of_memory(TW_TRANSPORT_AUTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_shm),
        cmocka_unit_test(test_auto),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
