/* SPDX-License-Identifier: Apache-2.0 */
/* The names in the environment mean what they mean to huggingface_hub. */
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

#include "hub/place.h"

static const char *const names[] = {
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
    "HF_ENDPOINT",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
};

static tw_hub_place place;

static int with(const char *name, const char *value, const char *name2, const char *value2)
{
    tw_err err = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    setenv("HOME", "/nowhere/me", 1);
    if (name != NULL)
        setenv(name, value, 1);
    if (name2 != NULL)
        setenv(name2, value2, 1);
    return tw_hub_place_get(&place, &err);
}

static void caches(void **state)
{
    (void)state;
    assert_int_equal(with(NULL, NULL, NULL, NULL), 0);
    assert_string_equal(place.cache, "/nowhere/me/.cache/huggingface/hub");
    assert_string_equal(place.endpoint, "https://huggingface.co");
    assert_false(place.offline);
    assert_string_equal(place.token, "");
    assert_int_equal(with("XDG_CACHE_HOME", "/x", NULL, NULL), 0);
    assert_string_equal(place.cache, "/x/huggingface/hub");
    assert_int_equal(with("XDG_CACHE_HOME", "/x", "HF_HOME", "~/hf/"), 0);
    assert_string_equal(place.cache, "/nowhere/me/hf/hub");
    assert_int_equal(with("HF_HOME", "/a", "HF_HUB_CACHE", "$HF_HOME/b${HOME}/$NONE"), 0);
    assert_string_equal(place.cache, "/a/b/nowhere/me/$NONE");
    assert_int_equal(with("HUGGINGFACE_HUB_CACHE", "/old", "HF_HOME", "/a"), 0);
    assert_string_equal(place.cache, "/old");
    assert_int_equal(with("HUGGINGFACE_HUB_CACHE", "/old", "HF_HUB_CACHE", "/new"), 0);
    assert_string_equal(place.cache, "/new");
    assert_int_equal(with("HUGGINGFACE_HUB_CACHE", "/old", "HF_HUB_CACHE", ""), 0);
    assert_string_equal(place.cache, "/old"); /* empty: as if it were not set */
}

/* A rank looks for a model: a wrong name of the hub's host is nothing to it. */
static void cache_alone(void **state)
{
    char cache[TW_HUB_PATH_BYTES];
    tw_err err = {0};
    (void)state;
    assert_int_equal(with("HF_ENDPOINT", "nonsense", "HF_HUB_CACHE", "/c"), -EINVAL);
    assert_int_equal(tw_hub_place_cache(cache, &err), 0);
    assert_string_equal(cache, "/c");
    unsetenv("HF_HUB_CACHE");
    unsetenv("HOME");
    assert_int_equal(tw_hub_place_cache(cache, &err), -ENOENT);
    setenv("HF_HUB_CACHE", "/c", 1);
    assert_int_equal(tw_hub_place_cache(cache, &err), 0);
}

static void certificates(void **state)
{
    (void)state;
    assert_int_equal(with("CURL_CA_BUNDLE", "/etc/passwd", "REQUESTS_CA_BUNDLE", "/etc/group"), 0);
    assert_string_equal(place.ca_file, "/etc/group");
    assert_false(place.ca_is_folder);
    assert_int_equal(with("CURL_CA_BUNDLE", "/etc/passwd", "SSL_CERT_FILE", "/etc/group"), 0);
    assert_string_equal(place.ca_file, "/etc/passwd");
    assert_int_equal(with("REQUESTS_CA_BUNDLE", "/etc", NULL, NULL), 0);
    assert_true(place.ca_is_folder);
    assert_int_equal(with("SSL_CERT_DIR", "/etc:/usr", NULL, NULL), 0);
    assert_true(place.ca_is_folder);
    assert_int_equal(with("SSL_CERT_DIR", "/nowhere", NULL, NULL), -ENOENT);
}

static void others(void **state)
{
    (void)state;
    assert_int_equal(with("HF_ENDPOINT", "https://hub.example:8443/", "HF_TOKEN", " hf_x\n"), 0);
    assert_string_equal(place.endpoint, "https://hub.example:8443");
    assert_string_equal(place.token, "hf_x");
    assert_int_equal(with("HF_TOKEN", "hf_x", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"), 0);
    assert_string_equal(place.token, "");
    assert_int_equal(with("HF_TOKEN", "a b", NULL, NULL), -EINVAL);
    assert_int_equal(with("HF_ENDPOINT", "hub.example", NULL, NULL), -EINVAL);
    assert_int_equal(with("HF_ENDPOINT", "https://me:pw@hub", NULL, NULL), -EINVAL);
    assert_int_equal(with("HF_HUB_OFFLINE", "yes", NULL, NULL), 0);
    assert_true(place.offline);
    assert_int_equal(with("HF_HUB_OFFLINE", "0", "TRANSFORMERS_OFFLINE", "1"), 0);
    assert_false(place.offline);
    assert_int_equal(with("CURL_CA_BUNDLE", "/nowhere/ca", NULL, NULL), -ENOENT);
    assert_int_equal(with("HF_HUB_DOWNLOAD_TIMEOUT", "x", NULL, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(caches), cmocka_unit_test(cache_alone),
                                       cmocka_unit_test(certificates), cmocka_unit_test(others)};
    return cmocka_run_group_tests_name("hub_place", tests, NULL, NULL);
}
