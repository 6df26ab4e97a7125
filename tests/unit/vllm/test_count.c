/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of wires, of folders made here: a card that counts bytes, one that counts packets, none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/scope.h"
#include "vllm/count.h"

static char root[] = "/tmp/twinax-test-count-XXXXXX";

static void put(const char *path, const char *text)
{
    char all[512], folder[600];
    snprintf(all, sizeof all, "%s/%s", root, path);
    snprintf(folder, sizeof folder, "mkdir -p $(dirname %s)", all);
    assert_int_equal(system(folder), 0);
    FILE *f = fopen(all, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(root));
    put("sys/class/net/roce0/statistics/tx_bytes", "1000\n");
    put("sys/class/net/roce0/statistics/rx_bytes", "2000\n");
    /* In words of four bytes, as InfiniBand counts. */
    put("sys/class/infiniband/mlx5_0/ports/1/counters/port_xmit_data", "10\n");
    put("sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data", "20\n");
    put("sys/class/infiniband/rxe0/ports/1/hw_counters/sent_pkts", "7\n");
    put("sys/class/infiniband/rxe0/ports/1/hw_counters/rcvd_pkts", "9\n");
    return 0;
}

static int removed(void **state)
{
    char words[128];
    (void)state;
    snprintf(words, sizeof words, "rm -r %s", root);
    return system(words);
}

static void test_the_interface_counts_sockets(void **state)
{
    tw_vllm_count c;
    (void)state;
    tw_vllm_count_read(root, "roce0", "", &c);
    assert_true(c.known && !c.packets);
    assert_int_equal(c.tx, 1000);
    assert_int_equal(c.rx, 2000);
    tw_vllm_count_read(root, "eth9", "", &c);
    assert_false(c.known);
    tw_vllm_count_read(root, "../net/roce0", "", &c);
    assert_false(c.known);
}

/* RDMA passes the interface by: its port counts. */
static void test_the_port_counts_rdma(void **state)
{
    tw_vllm_count c;
    (void)state;
    tw_vllm_count_read(root, "roce0", "mlx5_0:1", &c);
    assert_true(c.known && !c.packets);
    assert_int_equal(c.tx, 40);
    assert_int_equal(c.rx, 80);
    tw_vllm_count_read(root, "roce0", "rxe0:1", &c);
    assert_true(c.known && c.packets);
    assert_int_equal(c.tx, 7);
    assert_int_equal(c.rx, 9);
    tw_vllm_count_read(root, "roce0", "irdma0:1", &c); /* not the interface's instead */
    assert_false(c.known);
}

static void test_what_has_passed(void **state)
{
    const tw_vllm_count a = {.known = true, .tx = 100, .rx = 50},
                        b = {.known = true, .tx = 164, .rx = 200}, none = {.known = false},
                        p = {.known = true, .packets = true, .tx = 5, .rx = 5};
    (void)state;
    tw_vllm_count d = tw_vllm_count_less(&b, &a);
    assert_true(d.known);
    assert_int_equal(d.tx, 64);
    assert_int_equal(d.rx, 150);
    assert_true(tw_vllm_count_has(&d, 64));
    assert_false(tw_vllm_count_has(&d, 65));        /* each direction must have it */
    assert_false(tw_vllm_count_less(&a, &b).known); /* a driver was loaded anew */
    assert_false(tw_vllm_count_less(&b, &none).known);
    assert_false(tw_vllm_count_less(&p, &a).known);
    assert_true(tw_vllm_count_has(&p, 1 << 20));
    assert_false(tw_vllm_count_has(&none, 1));
}

static void test_as_json(void **state)
{
    const tw_vllm_count p = {.known = true, .packets = true, .tx = 5, .rx = 6};
    tw_vllm_count c;
    (void)state;
    TW_CLEANUP(tw_json_freep) json_t *v = tw_vllm_count_print(&p);
    tw_vllm_count_parse(v, &c);
    assert_true(c.known && c.packets && c.tx == 5 && c.rx == 6);
    TW_CLEANUP(tw_json_freep) json_t *bad = json_pack("{s:i, s:s}", "tx", -1, "rx", "2");
    tw_vllm_count_parse(bad, &c);
    assert_false(c.known);
    tw_vllm_count_parse(NULL, &c);
    assert_false(c.known);
}

static void test_the_least_that_must_pass(void **state)
{
    static const char plain[] = "{\"num_hidden_layers\": 16, \"hidden_size\": 2048}",
                      seeing[] =
                          "{\"text_config\": {\"num_hidden_layers\": 2, \"hidden_size\": 8}}",
                      other[] = "{\"n_layer\": 16}", broken[] = "{\"num_hidden_layers\": 1e99";
    (void)state;
    assert_int_equal(tw_vllm_count_least(plain, sizeof plain - 1, 8), 8 * 16 * 2048 * 2);
    assert_int_equal(tw_vllm_count_least(seeing, sizeof seeing - 1, 1), 2 * 8 * 2);
    assert_int_equal(tw_vllm_count_least(other, sizeof other - 1, 8), 1);
    assert_int_equal(tw_vllm_count_least(broken, sizeof broken - 1, 8), 1);
    assert_int_equal(tw_vllm_count_least(plain, sizeof plain - 1, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_interface_counts_sockets),
                                       cmocka_unit_test(test_the_port_counts_rdma),
                                       cmocka_unit_test(test_what_has_passed),
                                       cmocka_unit_test(test_as_json),
                                       cmocka_unit_test(test_the_least_that_must_pass)};
    return cmocka_run_group_tests(tests, make, removed);
}
