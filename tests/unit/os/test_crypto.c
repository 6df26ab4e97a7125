/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/scope.h"
#include "os/crypto.h"

/* RFC 4231, test cases 1, 2, 6 and 7. */
static void test_known_answers(void **state)
{
    (void)state;
    uint8_t high[131];
    memset(high, 0xaa, sizeof high);
    static const char long_text[] =
        "This is a test using a larger than block-size key and a larger than block-size data. The "
        "key needs to be hashed before being used by the HMAC algorithm.";
    static const uint8_t low[20] = {11, 11, 11, 11, 11, 11, 11, 11, 11, 11,
                                    11, 11, 11, 11, 11, 11, 11, 11, 11, 11};
    const struct {
        const void *key;
        size_t key_bytes;
        const char *text, *want;
    } cases[] = {
        {low, sizeof low, "Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"Jefe", 4, "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {high, sizeof high, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {high, sizeof high, long_text,
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(cases); i++) {
        uint8_t got[TW_HMAC_BYTES];
        char hex[2 * TW_HMAC_BYTES + 1];
        tw_crypto_hmac(cases[i].key, cases[i].key_bytes, cases[i].text, strlen(cases[i].text), got);
        for (size_t k = 0; k < sizeof got; k++)
            snprintf(hex + 2 * k, 3, "%02x", got[k]);
        assert_string_equal(hex, cases[i].want);
    }
}

static void test_same(void **state)
{
    (void)state;
    uint8_t a[33], b[33];
    memset(a, 7, sizeof a);
    memset(b, 7, sizeof b);
    assert_true(tw_crypto_same(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] ^= 0x80;
        assert_false(tw_crypto_same(a, b, sizeof a));
        assert_true(tw_crypto_same(a, b, i));
        b[i] ^= 0x80;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
