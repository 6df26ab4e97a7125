/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/safetensors.h"

/* The header's bytes in a block of just that size, so that a sanitizer sees an overrun. */
static int parse(const char *json, uint64_t data_bytes, tw_st *st, tw_err *err)
{
    size_t n = strlen(json);
    uint8_t *p = malloc(8 + n);
    assert_non_null(p);
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(p + 8, json, n);
    int rc = tw_st_parse("f.safetensors", p, 8 + n, 8 + n + data_bytes, st, err);
    free(p);
    return rc;
}

#define T(dtype, shape, from, to)                                                                  \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"

static void reads_what_the_format_allows(void **state)
{
    (void)state;
    tw_st st;
    tw_err err = {.code = 0};
    /* out of order in the text, a scalar, an empty tensor, metadata, padding at the end */
    const char *json = "{\"__metadata__\":{\"format\":\"pt\"},\"z\":" T(
        "BF16", "[2,3]", 8,
        20) "," //
            "\"a\":" T("F32", "[]", 4, 8) ",\"m\":" T("F16", "[2]", 0,
                                                      4) "," //
                                                         "\"e\":" T("F16", "[0,7]", 20,
                                                                    20) ",\"i\":" T("I64", "[1]",
                                                                                    20, 28) "}   ";
    if (parse(json, 28, &st, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(st.n, 5);
    assert_string_equal(st.tensors[0].name, "a");
    assert_string_equal(st.tensors[4].name, "z");
    const tw_st_tensor *z = tw_st_find(&st, "z");
    assert_non_null(z);
    assert_int_equal(z->type, TW_ST_BF16);
    assert_int_equal(z->n_dims, 2);
    assert_true(z->shape[0] == 2 && z->shape[1] == 3 && z->n_bytes == 12);
    assert_int_equal(z->off_bytes, 8 + strlen(json) + 8);
    assert_int_equal(tw_st_find(&st, "i")->type, TW_ST_OTHER);
    assert_null(tw_st_find(&st, "nobody"));
    char text[32];
    tw_st_show_shape(z, text, sizeof(text));
    assert_string_equal(text, "[2, 3]");
    tw_st_show_shape(tw_st_find(&st, "a"), text, sizeof(text));
    assert_string_equal(text, "[]");
    char tiny[4];
    tw_st_show_shape(z, tiny, sizeof(tiny));
    assert_int_equal(tiny[3], 0);
    tw_st_done(&st);
}

static void names_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        uint64_t data_bytes;
        const char *parts[3]; /* all in the message */
    } bad[] = {
        {"{\"a\":" T("F32", "[2]", 0, 8) "}", 4, {"\"a\"", "byte 8", "holds 4 data bytes"}},
        {"{\"a\":" T("F32", "[2]", 0, 8) "}", 9, {"1 bytes after the last tensor"}},
        {"{\"a\":" T("F32", "[2]", 0, 8) ",\"b\":" T("F32", "[2]", 4, 12) "}",
         12,
         {"\"b\" overlaps \"a\"", "byte 4", "want 8"}},
        {"{\"a\":" T("F32", "[2]", 0, 8) ",\"b\":" T("F32", "[2]", 0, 8) "}", 8, {"overlaps"}},
        {"{\"a\":" T("F32", "[2]", 0, 8) ",\"b\":" T("F32", "[1]", 12, 16) "}",
         16,
         {"\"b\"", "4 bytes before it belong to no tensor"}},
        {"{\"a\":" T("F32", "[2]", 4, 12) "}", 12, {"\"a\"", "4 bytes before"}},
        {"{\"a\":" T("BF16", "[2,4]", 0, 8) "}", 8, {"\"a\"", "[2, 4] wants 16", "of 8"}},
        {"{\"a\":" T("Q4", "[2]", 0, 8) "}", 8, {"\"a\"", "dtype", "\"Q4\""}},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, {"\"a\"", "dtype", "missing"}},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, {"shape", "missing"}},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, {"data_offsets", "missing"}},
        {"{\"a\":" T("F32", "[-2]", 0, 8) "}", 8, {"\"a\"", "shape", "[-2]"}},
        {"{\"a\":" T("F32", "[2.5]", 0, 8) "}", 8, {"shape", "[2.5]"}},
        {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, {"at most 8"}},
        {"{\"a\":" T("F32", "[4294967296,4294967296]", 0, 8) "}", 8, {"too large"}},
        {"{\"a\":" T("F32", "[9223372036854775807]", 0, 8) "}", 8, {"too large"}},
        {"{\"a\":" T("F32", "[99999999999999999999]", 0, 8) "}", 8, {"too big integer"}},
        {"{\"a\":" T("F32", "[2]", 8, 0) "}", 8, {"begin <= end", "[8,0]"}},
        {"{\"a\":" T("F32", "[2]", -8, 0) "}", 8, {"begin <= end"}},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,1e999]}}",
         8,
         {"real number"}},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, {"data_offsets"}},
        {"{\"a\":" T("F32", "[2]", 0, 8) ",\"a\":" T("F32", "[2]", 0, 8) "}", 8, {"duplicate"}},
        {"{\"a\\nb\":" T("F32", "[2]", 0, 8) "}", 8, {"control byte 0x0a"}},
        {"{\"a\":" T("F4", "[3]", 0, 1) "}", 1, {"[3] wants 1"}},
        {"{\"a\":7}", 0, {"\"a\"", "object", "found 7"}},
        {"[]", 0, {"JSON object"}},
        {"{\"a\":", 0, {"line 1", "no valid JSON"}},
        {"{\"a\":nan}", 0, {"no valid JSON"}},
        {"", 0, {"no valid JSON"}},
        {"{} x", 0, {"no valid JSON"}},
        {"{}", 5, {"5 bytes after"}},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        tw_st st;
        tw_err err = {.code = 0};
        if (parse(bad[i].json, bad[i].data_bytes, &st, &err) != -EINVAL)
            fail_msg("%s: taken or another code", bad[i].json);
        assert_int_equal(err.code, -EINVAL);
        for (size_t j = 0; j < 3 && bad[i].parts[j] != NULL; j++)
            if (strstr(err.msg, bad[i].parts[j]) == NULL)
                fail_msg("%s: \"%s\" lacks \"%s\"", bad[i].json, err.msg, bad[i].parts[j]);
        assert_non_null(strstr(err.msg, "f.safetensors"));
        assert_null(strchr(err.msg, '\n'));
    }
}

static void names_a_wrong_length(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[10];
        size_t n;
        uint64_t file_bytes;
        const char *part;
    } bad[] = {
        {{0}, 0, 0, "0 bytes, want at least 8"},
        {{2}, 7, 7, "7 bytes, want at least 8"},
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, 10, "header of 3 bytes, but the file has 10"},
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, 4096, "header of 3 bytes"},
        {{1, 0, 64, 6}, 10, UINT64_C(1) << 40, "header of 104857601 bytes, want at most 104857600"},
        {"GGUF\3\0\0\0", 10, 4096, "no safetensors file?"},
        {{255, 255, 255, 255, 255, 255, 255, 255}, 10, 10, "want at most"},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        tw_st st;
        tw_err err = {.code = 0};
        uint8_t *p = malloc(bad[i].n + 1);
        memcpy(p, bad[i].bytes, bad[i].n);
        int rc = tw_st_parse("f.safetensors", p, bad[i].n, bad[i].file_bytes, &st, &err);
        free(p);
        assert_int_equal(rc, -EINVAL);
        if (strstr(err.msg, bad[i].part) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", err.msg, bad[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_format_allows),
        cmocka_unit_test(names_what_is_wrong),
        cmocka_unit_test(names_a_wrong_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
