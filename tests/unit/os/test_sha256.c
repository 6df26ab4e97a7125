/* SPDX-License-Identifier: Apache-2.0 */
/* The standard's own examples, and ours against libcrypto's over random pieces. */
#include "os/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void hash(const void *p, size_t n, size_t piece, uint8_t ret[TW_SHA256_BYTES])
{
    tw_sha256 s;
    tw_sha256_init(&s);
    for (size_t at = 0; at < n; at += piece)
        tw_sha256_add(&s, (const char *)p + at, n - at < piece ? n - at : piece);
    tw_sha256_end(&s, ret);
}

static void check(const char *text, const char *want)
{
    uint8_t got[TW_SHA256_BYTES];
    char hex[TW_SHA256_HEX + 1];
    hash(text, strlen(text), 1000, got);
    tw_sha256_print(got, hex);
    assert_string_equal(hex, want);
}

static void check_known(void)
{
    check("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

enum { N = 300, BYTES = 5000 };

/* Both: the first run is libcrypto's where it is, the second ours. */
static void test_both(void **state)
{
    static uint8_t data[BYTES], want[N][TW_SHA256_BYTES];
    const char *env = getenv("TW_SEED");
    const unsigned seed = env != NULL ? (unsigned)strtoul(env, NULL, 10) : 1;
    (void)state;
    fprintf(stderr, "# seed %u\n", seed);
    check_known();
    for (int own = 0; own < 2; own++) {
        unsigned x = seed;
        for (size_t i = 0; i < BYTES; i++)
            data[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
        for (size_t i = 0; i < N; i++) {
            uint8_t got[TW_SHA256_BYTES];
            x = x * 1664525u + 1013904223u;
            hash(data, i < 200 ? i : (x >> 8) % BYTES, 1 + (x >> 20) % 150, got);
            if (own == 0)
                memcpy(want[i], got, sizeof got);
            else
                assert_memory_equal(got, want[i], sizeof got);
        }
        tw_sha256_use_own();
        check_known();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_both)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
