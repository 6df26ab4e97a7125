/* SPDX-License-Identifier: Apache-2.0 */
/* Headers as they come, and what is made of them. */
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

#include "hub/refusal.h"

static void note(tw_hub_answer *a, const char *line)
{
    tw_hub_answer_note(a, line, strlen(line));
}

static void headers(void **state)
{
    tw_hub_answer a = {.status = 0};
    (void)state;
    note(&a, "HTTP/1.1 302 Found\r\n");
    note(&a, "X-Error-Code: Old\r\n");
    note(&a, "HTTP/2 429\r\n"); /* behind the redirect */
    assert_string_equal(a.code, "");
    note(&a, "x-error-code:GatedRepo \r\n");
    note(&a, "X-ERROR-MESSAGE: a \x1b[31m red\x07 text\r\n");
    note(&a, "Retry-After: 17\r\n");
    assert_string_equal(a.code, "GatedRepo");
    assert_string_equal(a.message, "a [31m red text");
    assert_int_equal(a.retry_after_s, 17);
    note(&a, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n");
    assert_int_equal(a.retry_after_s, 0);
    note(&a, "Retry-After: 99999999999999999999\r\n");
    assert_true(a.retry_after_s <= 86400);
}

static void what_the_hub_adds(void **state)
{
    static const char etag[] = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    tw_hub_answer a = {.status = 0};
    (void)state;
    note(&a, "HTTP/2 302\r\n");
    note(&a, "x-linked-etag: \"not-a-hash\"\r\n");
    assert_string_equal(a.linked_etag, "");
    note(&a, "X-Linked-Etag: "
             "\"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\"\r\n");
    assert_string_equal(a.linked_etag, etag);
    note(&a, "HTTP/2 200\r\n"); /* of the store: it says nothing of it */
    assert_string_equal(a.linked_etag, "");
    note(&a, "RateLimit: \"api\";r=3;t=55\r\n");
    assert_int_equal(a.retry_after_s, 0);
    note(&a, "RateLimit: \"api\";r=0;t=55\r\n");
    assert_int_equal(a.retry_after_s, 55);
    note(&a, "Retry-After: 7\r\n");
    note(&a, "RateLimit: \"api\";r=0;t=99\r\n");
    assert_int_equal(a.retry_after_s, 7);
}

static void is(int status, const char *code, const char *token, int rc, const char *word)
{
    tw_hub_place p = {.endpoint = "https://hub"};
    const tw_hub_name n = {.repo = "org/name", .revision = "v1"};
    tw_hub_answer a = {.status = status};
    tw_err err = {0};
    snprintf(a.code, sizeof a.code, "%s", code);
    snprintf(p.token, sizeof p.token, "%s", token);
    snprintf(p.token_from, sizeof p.token_from, "HF_TOKEN");
    assert_int_equal(tw_hub_refused(&p, &n, NULL, &a, &err), rc);
    assert_non_null(strstr(err.msg, word));
    assert_null(strstr(err.msg, "hf_secret"));
}

static void causes(void **state)
{
    (void)state;
    is(401, "GatedRepo", "", -EACCES, "no token");
    is(403, "GatedRepo", "hf_secret", -EACCES, "https://hub/org/name");
    is(401, "", "hf_secret", -EACCES, "not valid");
    is(401, "RepoNotFound", "", -EACCES, "unknown, or private");
    is(403, "", "hf_secret", -EACCES, "forbidden");
    is(404, "RepoNotFound", "", -ENOENT, "no such model");
    is(404, "RevisionNotFound", "", -ENOENT, "no revision v1");
    is(429, "", "", -EAGAIN, "with HF_TOKEN more");
    is(502, "", "", -EIO, "502");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(headers),
                                       cmocka_unit_test(what_the_hub_adds),
                                       cmocka_unit_test(causes)};
    return cmocka_run_group_tests_name("hub_refusal", tests, NULL, NULL);
}
