/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/scope.h"
#include "fmt/frame.h"

static const uint8_t proof[TW_FRAME_PROOF_BYTES] = "0123456789abcdef0123456789abcde";
static const uint8_t seal[TW_FRAME_PROOF_BYTES] = "the last words of what is sealed";

/* The layout is a promise between machines of different builds: byte for byte. */
static void test_data_layout(void **state)
{
    (void)state;
    static const uint8_t want[TW_FRAME_DATA_BYTES] = {
        'T',  'W',  'X',  'D',  3,    5,    1,    0,    /* magic op from flags */
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* seq */
        0x00, 0x10, 0,    0,    0,    0,    0,    0,    /* bytes */
        0xef, 0xbe, 0xad, 0xde, 0,    0,    0,    0};   /* crc, zero */
    uint8_t got[TW_FRAME_DATA_BYTES];
    tw_frame_data f = {3, 5, TW_FRAME_CRC, UINT64_C(0x1122334455667788), 4096, 0xdeadbeef}, back;
    tw_frame_data_encode(&f, got);
    assert_memory_equal(got, want, sizeof want);
    assert_int_equal(tw_frame_data_decode(got, &back), 0);
    uint8_t again[TW_FRAME_DATA_BYTES];
    tw_frame_data_encode(&back, again);
    assert_memory_equal(again, want, sizeof want);
    got[0] = 'X';
    assert_int_equal(tw_frame_data_decode(got, &back), -EPROTO);
    got[0] = 'T';
    got[30] = 1;
    assert_int_equal(tw_frame_data_decode(got, &back), -EPROTO);
}

static void test_hello_round_trip(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    tw_frame_hello back,
        h = {.proof = proof, .seal = seal, .rank = 3, .n_ranks = 4, .transport = 2, .verify = 1};
    h.me = (tw_frame_peer){TW_STR("10.0.0.3"), 4711, TW_STR("boot/net"), TW_STR("twinax-1"), 7};
    h.n_facts = 2;
    h.facts[0] = (tw_frame_fact){TW_STR("model id"), TW_STR("3f"), false};
    h.facts[1] = (tw_frame_fact){TW_STR("build"), TW_STR(""), true};
    assert_int_equal(tw_frame_hello_encode(&b, &h), 0);
    const uint8_t *body = (const uint8_t *)b.data + TW_FRAME_CTL_BYTES;
    size_t n = b.len - TW_FRAME_CTL_BYTES;
    tw_frame_ctl c;
    assert_int_equal(tw_frame_ctl_decode((const uint8_t *)b.data, &c), 0);
    assert_int_equal(c.version, TW_FRAME_VERSION);
    assert_int_equal(c.type, TW_FRAME_HELLO);
    assert_int_equal(c.bytes, n);
    assert_memory_equal(body, proof, sizeof proof);                 /* first, in every version */
    assert_memory_equal(body + n - sizeof seal, seal, sizeof seal); /* and last */
    assert_int_equal(tw_frame_hello_decode(body, n, &back), 0);
    assert_memory_equal(back.proof, proof, sizeof proof);
    assert_memory_equal(back.seal, seal, sizeof seal);
    assert_int_equal(back.rank, 3);
    assert_int_equal(back.me.port, 4711);
    assert_int_equal(back.me.n_threads, 7);
    assert_true(tw_str_is(back.me.host_id, "boot/net") && tw_str_is(back.me.address, "10.0.0.3"));
    assert_int_equal(back.n_facts, 2);
    assert_true(tw_str_is(back.facts[0].name, "model id") && !back.facts[0].only_report);
    assert_true(tw_str_is(back.facts[1].value, "") && back.facts[1].only_report);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(tw_frame_hello_decode(body, cut, &back), -EPROTO);
}

static void test_link_and_table_end_with_a_seal(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    const tw_frame_link l = {.proof = proof, .seal = seal, .from = 2, .to = 1};
    tw_frame_link l_back;
    assert_int_equal(tw_frame_link_encode(&b, &l), 0);
    const uint8_t *body = (const uint8_t *)b.data + TW_FRAME_CTL_BYTES;
    size_t n = b.len - TW_FRAME_CTL_BYTES;
    assert_int_equal(n, 2 * TW_FRAME_PROOF_BYTES + 2);
    assert_int_equal(tw_frame_link_decode(body, n, &l_back), 0);
    assert_true(l_back.from == 2 && l_back.to == 1);
    assert_memory_equal(l_back.seal, seal, sizeof seal);
    assert_int_equal(tw_frame_link_decode(body, n - 1, &l_back), -EPROTO);

    tw_frame_table t = {.n_ranks = 1, .seal = seal}, t_back;
    t.peers[0] = (tw_frame_peer){TW_STR("a"), 1, TW_STR(""), TW_STR(""), 1};
    tw_buf_reset(&b);
    assert_int_equal(tw_frame_table_encode(&b, &t), 0);
    body = (const uint8_t *)b.data + TW_FRAME_CTL_BYTES;
    n = b.len - TW_FRAME_CTL_BYTES;
    assert_int_equal(tw_frame_table_decode(body, n, &t_back), 0);
    assert_memory_equal(t_back.seal, seal, sizeof seal);
    assert_int_equal(tw_frame_table_decode(body, n - TW_FRAME_PROOF_BYTES, &t_back), -EPROTO);
}

static void test_limits(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(2 * TW_FRAME_BODY_MAX);
    static char big[TW_FRAME_BODY_MAX + 1];
    memset(big, 'a', sizeof big - 1);
    assert_int_equal(tw_frame_text_encode(&b, TW_FRAME_BYE, 1, big), -E2BIG);
    tw_buf_reset(&b);
    tw_frame_hello h = {.n_facts = TW_FRAME_FACTS_MAX + 1};
    assert_int_equal(tw_frame_hello_encode(&b, &h), -E2BIG);
    uint8_t head[TW_FRAME_CTL_BYTES] = {'T', 'W', 'X', 'C', 1, 0, 1, 0, 0x01, 0x80, 0, 0};
    tw_frame_ctl c;
    assert_int_equal(tw_frame_ctl_decode(head, &c), -EPROTO);
    head[8] = 0;
    assert_int_equal(tw_frame_ctl_decode(head, &c), 0);
}

static void test_text_is_printable(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    char text[12];
    uint8_t rank;
    assert_int_equal(tw_frame_text_encode(&b, TW_FRAME_DEAD, 7, "a\033[2Jb\n\x7f, and more"), 0);
    assert_int_equal(tw_frame_text_decode((const uint8_t *)b.data + TW_FRAME_CTL_BYTES,
                                          b.len - TW_FRAME_CTL_BYTES, &rank, text, sizeof text),
                     0);
    assert_int_equal(rank, 7);
    assert_string_equal(text, "a?[2Jb??, a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_layout),
        cmocka_unit_test(test_hello_round_trip),
        cmocka_unit_test(test_link_and_table_end_with_a_seal),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_text_is_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
