/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "base/scope.h"
#include "base/str.h"
#include "seed.h"

static void test_str(void **state)
{
    (void)state;
    tw_str s = TW_STR("model.safetensors");
    assert_int_equal(s.len, 17);
    assert_true(tw_str_is(s, "model.safetensors"));
    assert_false(tw_str_is(s, "model.safetensor"));
    assert_false(tw_str_is(s, "Model.safetensors"));
    assert_true(tw_str_starts(s, TW_STR("model.")));
    assert_false(tw_str_starts(TW_STR("mod"), TW_STR("model")));
    assert_true(tw_str_ends(s, TW_STR(".safetensors")));
    assert_false(tw_str_ends(TW_STR("ors"), TW_STR("tensors")));
    assert_true(tw_str_starts(s, TW_STR("")) && tw_str_ends(s, TW_STR("")));
    tw_str none = {NULL, 0};
    assert_true(tw_str_eq(none, TW_STR("")) && tw_str_is(none, ""));
    assert_true(tw_str_starts(none, none) && tw_str_ends(none, none));
    assert_true(tw_str_eq(tw_str_from(NULL), none));
    assert_true(tw_str_eq((tw_str){"a\0b", 3}, (tw_str){"a\0b", 3}));
    assert_false(tw_str_eq((tw_str){"a\0b", 3}, (tw_str){"a\0c", 3}));
}

static void test_utf8_every_code_point(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x110010; cp++) {
        char out[4] = {0};
        unsigned n = tw_utf8_encode(cp, out);
        bool wanted = cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF);
        if (!wanted) {
            assert_int_equal(n, 0);
            continue;
        }
        uint32_t back = UINT32_MAX;
        if (tw_utf8_decode(out, n, &back) != n || back != cp || !tw_utf8_valid(out, n))
            fail_msg("U+%04X does not come back", cp);
        for (unsigned cut = 0; cut < n; cut++)
            if (tw_utf8_decode(out, cut, &back) != 0)
                fail_msg("U+%04X cut to %u bytes is accepted", cp, cut);
    }
    char out[4];
    assert_int_equal(tw_utf8_encode(UINT32_MAX, out), 0);
}

/* The definition the long way round: take the bits as they lie, then ask whether this is the
 * shortest form of a scalar value. */
static unsigned decode_by_bits(const uint8_t *p, size_t n, uint32_t *ret_cp)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (n == 0)
        return 0;
    unsigned n_ones = 0;
    while (n_ones < 8 && (p[0] & (0x80u >> n_ones)))
        n_ones++;
    unsigned len = n_ones == 0 ? 1 : n_ones;
    if (n_ones == 1 || n_ones > 4 || len > n)
        return 0;
    uint32_t cp = n_ones == 0 ? p[0] : p[0] & (0x7Fu >> n_ones);
    for (unsigned i = 1; i < len; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        cp = cp << 6 | (p[i] & 0x3F);
    }
    if (cp < least[len] || cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
        return 0;
    *ret_cp = cp;
    return len;
}

static void check_decode(const uint8_t *p, size_t n)
{
    char bytes[4];
    memcpy(bytes, p, n);
    uint32_t got = 0, want = 0;
    unsigned n_got = tw_utf8_decode(bytes, n, &got), n_want = decode_by_bits(p, n, &want);
    if (n_got != n_want || got != want)
        fail_msg("%02x %02x %02x %02x (%zu bytes): %u, U+%04X; wanted %u, U+%04X", p[0], p[1], p[2],
                 p[3], n, n_got, got, n_want, want);
}

/* All strings of up to 3 bytes; with 4, the last two from the borders of every range. */
static void test_utf8_every_string(void **state)
{
    (void)state;
    static const uint8_t edges[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    uint8_t p[4] = {0};
    for (uint32_t v = 0; v < 1 << 24; v++) {
        p[0] = (uint8_t)(v >> 16);
        p[1] = (uint8_t)(v >> 8);
        p[2] = (uint8_t)v;
        check_decode(p, 3);
        if (p[2] == 0)
            check_decode(p, 2);
    }
    for (uint32_t v = 0; v < 1 << 16; v++) {
        p[0] = (uint8_t)(v >> 8);
        p[1] = (uint8_t)v;
        for (unsigned i = 0; i < sizeof(edges) * sizeof(edges); i++) {
            p[2] = edges[i / sizeof(edges)];
            p[3] = edges[i % sizeof(edges)];
            check_decode(p, 4);
        }
    }
}

/* One bit for each string of 1, 2 or 3 bytes that begins a code point and does not end it. */
static uint8_t *new_prefix_set(void)
{
    uint8_t *set = calloc(1, (1 << 24) / 8 * 2);
    assert_non_null(set);
    for (uint32_t cp = 0x80; cp <= 0x10FFFF; cp++) {
        char out[4];
        unsigned n = tw_utf8_encode(cp, out);
        uint32_t key = 1; /* a leading one tells the lengths apart */
        for (unsigned i = 0; i + 1 < n; i++) {
            key = key << 8 | (uint8_t)out[i];
            set[key / 8] |= (uint8_t)(1u << key % 8);
        }
    }
    return set;
}

static size_t complete_by_set(const uint8_t *set, const uint8_t *p, size_t n)
{
    for (size_t n_tail = 1; n_tail <= 3 && n_tail <= n; n_tail++) {
        uint32_t key = 1;
        for (size_t i = n - n_tail; i < n; i++)
            key = key << 8 | p[i];
        if (set[key / 8] & 1u << key % 8)
            return n - n_tail;
    }
    return n;
}

static void test_utf8_complete_every_tail(void **state)
{
    (void)state;
    uint8_t *set = new_prefix_set();
    for (uint32_t v = 0; v < 1 << 24; v++) {
        uint8_t p[4] = {'x', (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        char bytes[4];
        memcpy(bytes, p, 4);
        size_t got = tw_utf8_complete(bytes, 4), want = complete_by_set(set, p, 4);
        if (got != want)
            fail_msg("x %02x %02x %02x: %zu, wanted %zu", p[1], p[2], p[3], got, want);
    }
    for (uint32_t v = 0; v < 1 << 16; v++) {
        uint8_t p[2] = {(uint8_t)(v >> 8), (uint8_t)v};
        char bytes[2];
        memcpy(bytes, p, 2);
        for (size_t n = 0; n <= 2; n++)
            assert_int_equal(tw_utf8_complete(bytes, n), complete_by_set(set, p, n));
    }
    free(set);
}

/* A stream that prints the complete part and keeps the rest prints all, and only whole points. */
static void test_utf8_stream(void **state)
{
    (void)state;
    tw_rng rng = new_seeded_rng("utf8 stream");
    char text[4000];
    size_t n = 0;
    while (n < sizeof(text) - 4) {
        uint32_t cp = (uint32_t)tw_rng_below(&rng, 0x110000) >> tw_rng_below(&rng, 20);
        n += tw_utf8_encode(cp, text + n);
    }
    assert_true(tw_utf8_valid(text, n));
    size_t n_in = 0, n_out = 0;
    while (n_in < n) {
        size_t n_more = tw_rng_below(&rng, 6);
        n_in += TW_MIN(n - n_in, n_more);
        size_t n_now = tw_utf8_complete(text + n_out, n_in - n_out);
        assert_true(tw_utf8_valid(text + n_out, n_now));
        n_out += n_now;
        assert_true(n_in - n_out < 4);
    }
    assert_int_equal(n_out, n);
}

static void test_utf8_valid(void **state)
{
    (void)state;
    assert_true(tw_utf8_valid("", 0));
    assert_true(tw_utf8_valid("a\0b", 3));
    assert_false(tw_utf8_valid("a\xC0\x80", 3));
    assert_false(tw_utf8_valid("\xED\xA0\x80", 3));
    assert_false(tw_utf8_valid("abc\xE2\x82", 5));
    assert_false(tw_utf8_valid("\x80", 1));
}

static void test_u64(void **state)
{
    (void)state;
    uint64_t v = 77;
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x10", "1.0", "1e3", "a", "1\n"};
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++)
        assert_int_equal(tw_str_to_u64(bad[i], &v), -EINVAL);
    assert_int_equal(tw_str_to_u64("18446744073709551616", &v), -ERANGE);
    assert_int_equal(tw_str_to_u64("99999999999999999999999", &v), -ERANGE);
    assert_int_equal(tw_str_to_u64("99999999999999999999999x", &v), -EINVAL);
    assert_int_equal(v, 77);
    assert_int_equal(tw_str_to_u64("18446744073709551615", &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(tw_str_to_u64("000", &v), 0);
    assert_int_equal(v, 0);
}

static void test_f64(void **state)
{
    (void)state;
    double v = 77;
    static const char *const bad[] = {"",    " 1",    "1 ",  ".",   "-",   "1e",
                                      "e5",  "0x1p3", "nan", "inf", "1,5", "1.5.2",
                                      "--1", "1f",    "1e+", "1_0", "+-1", "Infinity"};
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++)
        if (tw_str_to_f64(bad[i], &v) != -EINVAL)
            fail_msg("'%s' is taken as a number", bad[i]);
    assert_int_equal(tw_str_to_f64("1e999", &v), -ERANGE);
    assert_int_equal(tw_str_to_f64("-1e999", &v), -ERANGE);
    assert_int_equal(tw_str_to_f64("1e-999", &v), -ERANGE);
    assert_true(v == 77);
    static const struct {
        const char *z;
        double want;
    } good[] = {{"0", 0},
                {"-0.5", -0.5},
                {"+.25", 0.25},
                {"3.", 3},
                {"1e3", 1000},
                {"1E-2", 0.01},
                {"0e999", 0},
                {"0.1", 0.1},
                {"5e-324", 5e-324},
                {"1e-310", 1e-310},
                {"1.7976931348623157e308", 1.7976931348623157e308}};
    for (size_t i = 0; i < TW_ARRAY_LEN(good); i++) {
        assert_int_equal(tw_str_to_f64(good[i].z, &v), 0);
        assert_true(v == good[i].want);
    }
}

static void test_f64_minds_no_locale(void **state)
{
    (void)state;
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL &&
        setlocale(LC_NUMERIC, "fr_FR.UTF-8") == NULL) {
        printf("# skipped: no locale with a decimal comma (de_DE.UTF-8, fr_FR.UTF-8)\n");
        return;
    }
    double v = 0;
    int rc = tw_str_to_f64("1.5", &v);
    setlocale(LC_NUMERIC, "C");
    assert_int_equal(rc, 0);
    assert_true(v == 1.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str),
        cmocka_unit_test(test_utf8_every_code_point),
        cmocka_unit_test(test_utf8_every_string),
        cmocka_unit_test(test_utf8_complete_every_tail),
        cmocka_unit_test(test_utf8_stream),
        cmocka_unit_test(test_utf8_valid),
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_f64),
        cmocka_unit_test(test_f64_minds_no_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
