/* SPDX-License-Identifier: Apache-2.0 */
/* A door on loopback, knocks at it, and what counts as growth. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cluster/proof.h"
#include "cluster/proof_door.h"

static const uint8_t token[TW_PROBE_TOKEN_BYTES] = {7, 1, 2, 3};
static const uint8_t other[TW_PROBE_TOKEN_BYTES] = {7, 1, 2, 4};

static tw_proof_way knock(const uint8_t *with, uint16_t port, uint32_t mtu)
{
    tw_proof_way w;
    tw_proof_knock k = {.ip = "127.0.0.1",
                        .from_ip = "127.0.0.1",
                        .port = port,
                        .token = with,
                        .mtu = mtu,
                        .limit_ns = TW_NS_PER_S};
    tw_proof_door_knock(&k, &w);
    return w;
}

static void a_door_lets_packets_pass(void **state)
{
    (void)state;
    tw_proof_door *d = NULL;
    uint16_t port = 0;
    tw_err err = {0};
    assert_int_equal(tw_proof_door_open("127.0.0.1", token, 60 * TW_NS_PER_S, &d, &port, &err), 0);
    tw_proof_way w = knock(token, port, 9000);
    assert_int_equal(w.port, TW_PORT_PASSES);
    assert_int_equal(w.mtu, 9000);
    assert_int_equal(w.mtu_tried, 9000);
    w = knock(token, port, 0); /* the port alone */
    assert_int_equal(w.port, TW_PORT_PASSES);
    assert_int_equal(w.mtu_tried, 0);
    w = knock(other, port, 9000);
    assert_int_equal(w.port, TW_PORT_REFUSED);
    assert_int_equal(w.mtu_tried, 0);
    assert_true(w.why[0] != '\0');
    tw_proof_door_close(d);
    w = knock(token, port, 9000);
    assert_int_equal(w.port, TW_PORT_REFUSED);
}

static void a_door_closes_by_itself(void **state)
{
    (void)state;
    tw_proof_door *d = NULL;
    uint16_t port = 0;
    tw_err err = {0};
    assert_int_equal(tw_proof_door_open("127.0.0.1", token, 0, &d, &port, &err), 0);
    tw_proof_way w = knock(token, port, 0);
    assert_int_equal(w.port, TW_PORT_REFUSED);
    tw_proof_door_close(d);
}

static void a_wildcard_is_refused(void **state)
{
    (void)state;
    tw_proof_door *d = NULL;
    uint16_t port = 0;
    tw_err err = {0};
    assert_int_equal(tw_proof_door_open("0.0.0.0", token, TW_NS_PER_S, &d, &port, &err), -EINVAL);
    assert_null(d);
}

static void growth_is_what_grew(void **state)
{
    (void)state;
    tw_facts_counters a = {.rx_crc = tw_count_of(5), .rx_bytes = tw_count_of(1)};
    tw_facts_counters b = {.rx_crc = tw_count_of(7),
                           .rx_bytes = tw_count_of(1000),
                           .rx_symbol = tw_count_of(9), /* was unknown */
                           .tcp_retransmits = tw_count_of(0)};
    tw_proof_end e;
    a.tcp_retransmits = tw_count_of(4); /* began anew */
    tw_proof_growth(&a, &b, &e);
    assert_int_equal(e.n_grown, 1);
    assert_string_equal(e.grown[0].name, "rx_crc");
    assert_int_equal(e.grown[0].by, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_door_lets_packets_pass),
        cmocka_unit_test(a_door_closes_by_itself),
        cmocka_unit_test(a_wildcard_is_refused),
        cmocka_unit_test(growth_is_what_grew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
