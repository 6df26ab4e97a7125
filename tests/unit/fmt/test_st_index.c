/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/st_index.h"

static void sorts_files_and_tensors(void **state)
{
    (void)state;
    static const char json[] = "{\"metadata\":{\"total_size\":1e3},\"weight_map\":{"
                               "\"z\":\"b.safetensors\",\"a\":\"b.safetensors\","
                               "\"m\":\"a.safetensors\"}}";
    tw_st_index x;
    tw_err err = {.code = 0};
    assert_int_equal(tw_st_index_parse("i.json", json, sizeof(json) - 1, &x, &err), 0);
    assert_int_equal(x.n_files, 2);
    assert_string_equal(x.files[0], "a.safetensors");
    assert_string_equal(x.files[1], "b.safetensors");
    assert_int_equal(x.n, 3);
    assert_string_equal(x.entries[0].tensor, "a");
    assert_int_equal(tw_st_index_find(&x, "m")->i_file, 0);
    assert_int_equal(tw_st_index_find(&x, "z")->i_file, 1);
    assert_null(tw_st_index_find(&x, "nobody"));
    tw_st_index_done(&x);
}

static void names_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *parts[2];
    } bad[] = {
        {"{}", {"weight_map is missing"}},
        {"[]", {"weight_map is missing"}},
        {"{\"weight_map\":{}}", {"empty"}},
        {"{\"weight_map\":[\"a\"]}", {"weight_map"}},
        {"{\"weight_map\":{\"a\":7}}", {"\"a\" is in 7", "file's name"}},
        {"{\"weight_map\":{\"a\":\"\"}}", {"file's name"}},
        {"{\"weight_map\":{\"a\":\"../x.safetensors\"}}", {"\"../x.safetensors\"", "plain name"}},
        {"{\"weight_map\":{\"a\":\"/etc/x.safetensors\"}}", {"plain name"}},
        {"{\"weight_map\":{\"a\":\"d/x.safetensors\"}}", {"plain name"}},
        {"{\"weight_map\":{\"a\":\"..\"}}", {"plain name"}},
        {"{\"weight_map\":{\"a\":\"model.safetensors.index.json\"}}",
         {"\"a\" is in \"model.safetensors.index.json\"", "may not name an index"}},
        {"{\"weight_map\":{\"a\":\"x.bin\"}}", {"\"x.bin\"", ".safetensors file"}},
        {"{\"weight_map\":{\"a\":\"noext\"}}", {".safetensors file"}},
        {"{\"weight_map\":{\"a\\tb\":\"x.safetensors\"}}", {"control bytes"}},
        {"{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"y.safetensors\"}}", {"duplicate"}},
        {"{\"weight_map\":{\"a\":\"x.safetensors\"}", {"no valid JSON"}},
        {"", {"no valid JSON"}},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        tw_st_index x;
        tw_err err = {.code = 0};
        int rc = tw_st_index_parse("i.json", bad[i].json, strlen(bad[i].json), &x, &err);
        if (rc != -EINVAL)
            fail_msg("%s: taken or another code", bad[i].json);
        assert_non_null(strstr(err.msg, "i.json"));
        for (size_t j = 0; j < 2 && bad[i].parts[j] != NULL; j++)
            if (strstr(err.msg, bad[i].parts[j]) == NULL)
                fail_msg("%s: \"%s\" lacks \"%s\"", bad[i].json, err.msg, bad[i].parts[j]);
        assert_null(strchr(err.msg, '\n'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_files_and_tensors),
        cmocka_unit_test(names_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
