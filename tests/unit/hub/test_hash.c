/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1 against FIPS 180-4's own examples; a file against what git calls it. */
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

#include "hub/hash.h"
#include "os/file.h"

static void sha1_is(const char *text, size_t n, const char *want)
{
    tw_sha1 s;
    uint8_t h[TW_SHA1_BYTES];
    char hex[41];
    for (size_t step = 1; step < 100; step += 33) {
        tw_sha1_init(&s);
        for (size_t i = 0; i < n; i += step)
            tw_sha1_add(&s, text + i, n - i < step ? n - i : step);
        tw_sha1_end(&s, h);
        for (unsigned i = 0; i < TW_SHA1_BYTES; i++)
            snprintf(hex + 2 * (size_t)i, 3, "%02x", h[i]);
        assert_string_equal(hex, want);
    }
}

static void examples(void **state)
{
    static char as[1000];
    const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    (void)state;
    sha1_is("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    sha1_is("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    sha1_is(two, sizeof two - 1, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    memset(as, 'a', sizeof as);
    sha1_is(as, sizeof as, "291e9a6c66994949b57ba5e650361e98fc36b1ba");
}

static void files(void **state)
{
    char path[] = "/tmp/twinax-hash-XXXXXX";
    const int fd = mkstemp(path);
    tw_err err = {0};
    (void)state;
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(tw_file_write(path, "hello\n", 6, &err), 0);
    assert_int_equal(tw_hub_hash_check(path, "ce013625030ba8dba906f756967f9e9ca394464a", NULL, NULL,
                                       &err),
                     0);
    assert_int_equal(
        tw_hub_hash_check(path, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
                          NULL, NULL, &err),
        0);
    assert_int_equal(tw_file_write(path, "hellp\n", 6, &err), 0);
    assert_int_equal(tw_hub_hash_check(path, "ce013625030ba8dba906f756967f9e9ca394464a", NULL, NULL,
                                       &err),
                     -EBADMSG);
    unlink(path);
    assert_int_equal(tw_hub_hash_check(path, "ce013625030ba8dba906f756967f9e9ca394464a", NULL, NULL,
                                       &err),
                     -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(examples), cmocka_unit_test(files)};
    return cmocka_run_group_tests_name("hub_hash", tests, NULL, NULL);
}
