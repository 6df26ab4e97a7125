/* SPDX-License-Identifier: Apache-2.0 */
/* What a listing gives, what it refuses, and which of its files are needed. */
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

#include "base/scope.h"
#include "hub/choose.h"

#define SHA  "\"sha\":\"0123456789012345678901234567890123456789\""
#define BLOB "\"blobId\":\"ce013625030ba8dba906f756967f9e9ca394464a\",\"size\":5"

static int parse(const char *text, tw_hub_list *l)
{
    tw_err err = {0};
    return tw_hub_list_parse("org/name", text, strlen(text), l, &err);
}

static void large_and_small(void **state)
{
    tw_hub_list l = {.n = 0};
    (void)state;
    assert_int_equal(parse("{" SHA ",\"siblings\":[{\"rfilename\":\"b\"," BLOB
                           "},{\"rfilename\":\"a/c\"," BLOB ",\"lfs\":{\"sha256\":"
                           "\"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\","
                           "\"size\":7}}]}",
                           &l),
                     0);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.v[0].path, "a/c");
    assert_int_equal(l.v[0].size, 7);
    assert_int_equal(strlen(l.v[0].etag), 64);
    assert_int_equal(strlen(l.v[1].etag), 40);
    assert_int_equal(tw_hub_list_bytes(&l), 12);
    tw_hub_list_done(&l);
}

static void refused(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{" SHA "}",
        "{\"sha\":\"main\",\"siblings\":[]}",
        "{" SHA ",\"siblings\":[{\"rfilename\":\"../x\"," BLOB "}]}",
        "{" SHA ",\"siblings\":[{\"rfilename\":\"/etc/x\"," BLOB "}]}",
        "{" SHA ",\"siblings\":[{\"rfilename\":\"x\",\"blobId\":\"../../x\",\"size\":1}]}",
        "{" SHA ",\"siblings\":[{\"rfilename\":\"x\"}]}",
        "{" SHA ",\"siblings\":[{\"rfilename\":\"x\"," BLOB "},{\"rfilename\":\"x\"," BLOB "}]}",
        "{" SHA ",\"siblings\":[7]}",
    };
    tw_hub_list l = {.n = 0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse(bad[i], &l), -EINVAL);
    tw_hub_list_done(&l);
}

/* Names of files, each ended by a blank; what is chosen of them the same way. */
static void chooses(const char *files, const tw_hub_choice *c, int rc, const char *want)
{
    static const tw_hub_choice needed = {.n_include = 0};
    char json[4096], got[1024] = "";
    size_t at = (size_t)snprintf(json, sizeof json, "{" SHA ",\"siblings\":[");
    tw_hub_list l = {.n = 0};
    tw_err err = {0};
    for (const char *p = files; *p != '\0'; p += strcspn(p, " ") + 1) {
        char name[200] = "";
        memcpy(name, p, TW_MIN(strcspn(p, " "), sizeof name - 1));
        at += (size_t)snprintf(json + at, sizeof json - at, "%s{\"rfilename\":\"%s\"," BLOB "}",
                               p == files ? "" : ",", name);
    }
    snprintf(json + at, sizeof json - at, "]}");
    assert_int_equal(parse(json, &l), 0);
    assert_int_equal(tw_hub_choose("org/name", c != NULL ? c : &needed, &l, &err), rc);
    for (size_t i = 0; rc == 0 && i < l.n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s ", l.v[i].path);
    assert_string_equal(got, rc == 0 ? want : "");
    tw_hub_list_done(&l);
}

static void choices(void **state)
{
    (void)state;
    chooses("README.md config.json merges.txt model.safetensors pytorch_model.bin tf_model.h5 ",
            NULL, 0, "config.json merges.txt model.safetensors ");
    chooses("config.json consolidated.safetensors model-1.safetensors original/params.json x.png ",
            NULL, 0, "config.json model-1.safetensors ");
    chooses("config.json consolidated.safetensors ", NULL, 0,
            "config.json consolidated.safetensors ");
    chooses("config.json pytorch_model.bin training_args.bin ", NULL, 0,
            "config.json pytorch_model.bin ");
    chooses("m-Q4.gguf m-Q8.gguf ", NULL, -ENOENT, "");
    chooses("m-Q4.gguf readme ", NULL, 0, "m-Q4.gguf ");
    chooses("m-00001-of-00002.gguf m-00002-of-00002.gguf ", NULL, 0,
            "m-00001-of-00002.gguf m-00002-of-00002.gguf ");
    chooses("a.png ", NULL, -ENOENT, "");
    chooses("a/b/x.json a/y.png z.json ",
            &(tw_hub_choice){
                .include = {"a/", "z*"}, .n_include = 2, .exclude = {"*.png"}, .n_exclude = 1},
            0, "a/b/x.json z.json ");
    chooses("m[1].gguf m1.gguf m2.gguf x*.gguf xy.gguf ",
            &(tw_hub_choice){.include = {"m[1].gguf", "x*.gguf"}, .n_include = 2}, 0,
            "m[1].gguf x*.gguf ");
    chooses("m1.gguf m2.gguf ", &(tw_hub_choice){.include = {"m[1].gguf"}, .n_include = 1}, 0,
            "m1.gguf ");
    chooses("m[1].gguf m1.gguf ",
            &(tw_hub_choice){
                .include = {"m*"}, .n_include = 1, .exclude = {"m[1].gguf"}, .n_exclude = 1},
            0, "m1.gguf ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_and_small),
        cmocka_unit_test(refused),
        cmocka_unit_test(choices),
    };
    return cmocka_run_group_tests_name("hub_list", tests, NULL, NULL);
}
