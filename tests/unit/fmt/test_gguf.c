/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "fmt/gguf_keys.h"

enum { DATA_BYTES = 256 };

static void put(tw_buf *b, uint64_t v, unsigned n_bytes)
{
    for (unsigned i = 0; i < n_bytes; i++) {
        uint8_t byte = (uint8_t)(v >> (8 * i));
        assert_int_equal(tw_buf_append(b, &byte, 1), 0);
    }
}

static void put_text(tw_buf *b, const char *text)
{
    put(b, strlen(text), 8);
    assert_int_equal(tw_buf_puts(b, text), 0);
}

static void put_head(tw_buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    assert_int_equal(tw_buf_puts(b, "GGUF"), 0);
    put(b, version, 4);
    put(b, n_tensors, 8);
    put(b, n_keys, 8);
}

static void put_key(tw_buf *b, const char *key, enum tw_gguf_kind kind, uint64_t v,
                    unsigned n_bytes)
{
    put_text(b, key);
    put(b, kind, 4);
    put(b, v, n_bytes);
}

static void put_tensor(tw_buf *b, const char *name, uint64_t cols, uint64_t rows, uint32_t type,
                       uint64_t off)
{
    put_text(b, name);
    put(b, rows == 0 ? 1 : 2, 4);
    put(b, cols, 8);
    if (rows != 0)
        put(b, rows, 8);
    put(b, type, 4);
    put(b, off, 8);
}

/* In a block of just its size, so that a sanitizer sees an overrun; values live in *ret_p. */
static int parse(const tw_buf *b, uint64_t data_bytes, tw_gguf *g, uint8_t **ret_p, tw_err *err)
{
    *ret_p = malloc(b->len);
    assert_non_null(*ret_p);
    memcpy(*ret_p, b->data, b->len);
    return tw_gguf_parse("f.gguf", *ret_p, b->len, b->len + data_bytes, g, err);
}

static void put_one_of_each(tw_buf *b)
{
    put_key(b, "k.u8", TW_GGUF_U8, 200, 1);
    put_key(b, "k.i8", TW_GGUF_I8, 0xff, 1);
    put_key(b, "k.u16", TW_GGUF_U16, 60000, 2);
    put_key(b, "k.i16", TW_GGUF_I16, 0xfffe, 2);
    put_key(b, "k.u32", TW_GGUF_U32, UINT32_MAX, 4);
    put_key(b, "k.i32", TW_GGUF_I32, 7, 4);
    put_key(b, "k.f32", TW_GGUF_F32, 0x3fc00000, 4); /* 1.5 */
    put_key(b, "k.bool", TW_GGUF_BOOL, 1, 1);
    put_key(b, "k.u64", TW_GGUF_U64, UINT64_MAX, 8);
    put_key(b, "k.i64", TW_GGUF_I64, UINT64_MAX, 8);
    put_key(b, "k.f64", TW_GGUF_F64, 0xc004000000000000, 8); /* -2.5 */
    put_text(b, "k.text");
    put(b, TW_GGUF_TEXT, 4);
    put_text(b, "hello");
    put_text(b, "k.texts");
    put(b, TW_GGUF_ARRAY, 4);
    put(b, TW_GGUF_TEXT, 4);
    put(b, 3, 8);
    put_text(b, "a");
    put_text(b, "");
    put_text(b, "ccc");
    put_text(b, "k.numbers");
    put(b, TW_GGUF_ARRAY, 4);
    put(b, TW_GGUF_I32, 4);
    put(b, 2, 8);
    put(b, 8, 4);
    put(b, 8, 4);
    put_text(b, "k.nested");
    put(b, TW_GGUF_ARRAY, 4);
    put(b, TW_GGUF_ARRAY, 4);
    put(b, 1, 8);
    put(b, TW_GGUF_U8, 4);
    put(b, 2, 8);
    put(b, 0x0102, 2);
}

static void check_texts(const tw_gguf *g)
{
    tw_gguf_texts t;
    tw_str s;
    tw_gguf_texts_init(&t, tw_gguf_get(g, "k.texts"));
    assert_true(tw_gguf_texts_next(&t, &s) && tw_str_is(s, "a"));
    assert_true(tw_gguf_texts_next(&t, &s) && s.len == 0);
    assert_true(tw_gguf_texts_next(&t, &s) && tw_str_is(s, "ccc"));
    assert_false(tw_gguf_texts_next(&t, &s));
    assert_true(tw_gguf_text(tw_gguf_get(g, "k.text"), &s) && tw_str_is(s, "hello"));
    assert_false(tw_gguf_text(tw_gguf_get(g, "k.texts"), &s));
}

static void check_numbers(const tw_gguf *g)
{
    uint64_t u = 0;
    double d = 0;
    bool yes = false;
    assert_true(tw_gguf_u64(tw_gguf_get(g, "k.u8"), 0, &u) && u == 200);
    assert_false(tw_gguf_u64(tw_gguf_get(g, "k.i8"), 0, &u));
    assert_true(tw_gguf_f64(tw_gguf_get(g, "k.i8"), 0, &d) && d < -0.5 && d > -1.5);
    assert_true(tw_gguf_u64(tw_gguf_get(g, "k.u16"), 0, &u) && u == 60000);
    assert_true(tw_gguf_f64(tw_gguf_get(g, "k.i16"), 0, &d) && d < -1.5 && d > -2.5);
    assert_true(tw_gguf_u64(tw_gguf_get(g, "k.u32"), 0, &u) && u == UINT32_MAX);
    assert_true(tw_gguf_u64(tw_gguf_get(g, "k.i32"), 0, &u) && u == 7);
    assert_true(tw_gguf_u64(tw_gguf_get(g, "k.u64"), 0, &u) && u == UINT64_MAX);
    assert_false(tw_gguf_u64(tw_gguf_get(g, "k.i64"), 0, &u));
    assert_true(tw_gguf_f64(tw_gguf_get(g, "k.f32"), 0, &d) && fabs(d - 1.5) < 1e-9);
    assert_true(tw_gguf_f64(tw_gguf_get(g, "k.f64"), 0, &d) && fabs(d + 2.5) < 1e-9);
    assert_true(tw_gguf_bool(tw_gguf_get(g, "k.bool"), &yes) && yes);
    assert_false(tw_gguf_bool(tw_gguf_get(g, "k.u8"), &yes));
    assert_false(tw_gguf_f64(tw_gguf_get(g, "k.text"), 0, &d));
}

static void reads_what_the_format_allows(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(1 << 16);
        tw_gguf g;
        tw_err err = {.code = 0};
        uint8_t *p = NULL;
        put_head(&b, version, 3, 15);
        put_one_of_each(&b);
        put_tensor(&b, "z.weight", 32, 2, TW_GGUF_TYPE_Q8_0, 64); /* 68 bytes */
        put_tensor(&b, "a.weight", 5, 0, TW_GGUF_TYPE_F32, 0);
        put_tensor(&b, "m.weight", 4, 2, TW_GGUF_TYPE_BF16, 32);
        if (parse(&b, DATA_BYTES, &g, &p, &err) != 0)
            fail_msg("%s", err.msg);
        assert_int_equal(g.version, version);
        assert_int_equal(g.n, 3);
        assert_int_equal(g.data_off, TW_DIV_UP(b.len, 32) * 32);
        assert_string_equal(g.tensors[0].name, "a.weight");
        const tw_gguf_tensor *z = tw_gguf_find(&g, "z.weight");
        assert_true(z->dims[0] == 32 && z->dims[1] == 2 && z->n_bytes == 68);
        assert_true(z->off_bytes == g.data_off + 64);
        assert_string_equal(tw_gguf_type_name(z->type), "Q8_0");
        char shape[32];
        tw_gguf_show_shape(z, shape, sizeof(shape));
        assert_string_equal(shape, "[2, 32]");
        assert_null(tw_gguf_find(&g, "nobody"));
        assert_null(tw_gguf_get(&g, "nobody"));
        check_numbers(&g);
        check_texts(&g);
        tw_gguf_done(&g);
        free(p);
    }
}

/* What every prefix of a good file gives: an error that says so. */
static void a_cut_file_is_refused(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(1 << 16);
    put_head(&b, 3, 1, 15);
    put_one_of_each(&b);
    put_tensor(&b, "a.weight", 4, 0, TW_GGUF_TYPE_F32, 0);
    size_t whole = b.len;
    for (b.len = 0; b.len < whole; b.len++) {
        tw_gguf g;
        tw_err err = {.code = 0};
        uint8_t *p = NULL;
        assert_int_equal(parse(&b, 0, &g, &p, &err), -EINVAL);
        assert_non_null(strstr(err.msg, b.len < 8 ? "no GGUF file" : "cut short"));
        free(p);
    }
}

static void refused(tw_buf *b, uint64_t data_bytes, int code, const char *part)
{
    tw_gguf g;
    tw_err err = {.code = 0};
    uint8_t *p = NULL;
    int rc = parse(b, data_bytes, &g, &p, &err);
    if (rc != code || strstr(err.msg, part) == NULL)
        fail_msg("got %d \"%s\", want %d \"%s\"", rc, err.msg, code, part);
    free(p);
    tw_buf_done(b);
}

static void other_versions_are_refused_by_name(void **state)
{
    (void)state;
    tw_buf b = TW_BUF(1 << 16);
    put_head(&b, 1, 0, 0);
    refused(&b, 0, -ENOTSUP, "version 1, want 2 or 3; convert");
    put_head(&b, 4, 0, 0);
    refused(&b, 0, -ENOTSUP, "version 4, want 2 or 3");
    put_head(&b, 0x03000000, 0, 0);
    refused(&b, 0, -ENOTSUP, "big-endian");
    put(&b, 0x1234567890, 8);
    refused(&b, 0, -EINVAL, "no GGUF file");
}

static void wrong_tensors_are_refused(void **state)
{
    (void)state;
    tw_buf b = TW_BUF(1 << 16);
    put_head(&b, 3, 1, 0);
    put_tensor(&b, "w", 64, 4, TW_GGUF_TYPE_F32, 0);
    refused(&b, 1023, -EINVAL, "cut short");
    put_head(&b, 3, 1, 0);
    put_tensor(&b, "w", 64, 4, TW_GGUF_TYPE_F32, 8);
    refused(&b, 4096, -EINVAL, "a multiple of 32");
    put_head(&b, 3, 1, 0);
    put_tensor(&b, "w", 48, 4, TW_GGUF_TYPE_Q4_0, 0);
    refused(&b, 4096, -EINVAL, "multiple of 32 numbers for Q4_0");
    put_head(&b, 3, 1, 0);
    put_tensor(&b, "w", 32, UINT64_C(1) << 62, TW_GGUF_TYPE_F32, 0);
    refused(&b, 4096, -EINVAL, "and fewer");
    put_head(&b, 3, 1, 0);
    put_tensor(&b, "w", 32, 1, 77, 0);
    refused(&b, 4096, -ENOTSUP, "type 77");
    put_head(&b, 3, 2, 0);
    put_tensor(&b, "v", 32, 1, TW_GGUF_TYPE_F32, 0);
    put_tensor(&b, "w", 32, 1, TW_GGUF_TYPE_F32, 64);
    refused(&b, 4096, -EINVAL, "\"w\" overlaps \"v\"");
    put_head(&b, 3, 2, 0);
    put_tensor(&b, "w", 32, 1, TW_GGUF_TYPE_F32, 0);
    put_tensor(&b, "w", 32, 1, TW_GGUF_TYPE_F32, 128);
    refused(&b, 4096, -EINVAL, "\"w\" is there twice");
    put_head(&b, 3, 1, 0);
    put_tensor(&b, "a\nb", 32, 1, TW_GGUF_TYPE_F32, 0);
    refused(&b, 4096, -EINVAL, "control byte 0x0a");
}

static void wrong_keys_are_refused(void **state)
{
    (void)state;
    tw_buf b = TW_BUF(1 << 16);
    put_head(&b, 3, 0, 2);
    put_key(&b, "k", TW_GGUF_U8, 1, 1);
    put_key(&b, "k", TW_GGUF_U8, 1, 1);
    refused(&b, 0, -EINVAL, "\"k\" is there twice");
    put_head(&b, 3, 0, 1);
    put_key(&b, "k", 13, 1, 8);
    refused(&b, 0, -EINVAL, "kind 13");
    put_head(&b, 3, 0, 1);
    put_key(&b, "k", TW_GGUF_BOOL, 2, 1);
    refused(&b, 0, -EINVAL, "bool 2");
    put_head(&b, 3, 0, 1);
    put_key(&b, "general.alignment", TW_GGUF_U32, 24, 4);
    refused(&b, 0, -EINVAL, "power of two");
    put_head(&b, 3, UINT64_C(1) << 40, 0);
    refused(&b, 0, -EINVAL, "tensors and 0 keys");
    put_head(&b, 3, 0, 1);
    put_text(&b, "deep");
    for (unsigned i = 0; i < 7; i++) {
        put(&b, TW_GGUF_ARRAY, 4);
        put(&b, i == 0 ? TW_GGUF_ARRAY : 1, i == 0 ? 4 : 8);
    }
    refused(&b, 0, -EINVAL, "");
}

static void typed_keys_say_what_they_want(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(1 << 16);
    tw_gguf g;
    tw_err err = {.code = 0};
    uint8_t *p = NULL;
    put_head(&b, 3, 0, 15);
    put_one_of_each(&b);
    assert_int_equal(parse(&b, 0, &g, &p, &err), 0);
    static const struct {
        const char *key, *part;
    } bad[] = {{"k.u8", "f.gguf: k.u8 is 200, want a whole number 1..9"},
               {".i8", "k.i8 is -1, want a whole"},
               {".text", "k.text is \"hello\", want"},
               {"k.texts", "k.texts is an array of 3 text, want"},
               {".bool", "k.bool is true, want"},
               {".none", "k.none is missing, want"}};
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        tw_gguf_keys k = {.file = "f.gguf", .arch = "k", .g = &g, .err = &err};
        assert_int_equal(tw_gguf_keys_u64_needed(&k, bad[i].key, 1, 9), 1);
        assert_int_equal(k.rc, -EINVAL);
        if (strstr(err.msg, bad[i].part) == NULL)
            fail_msg("\"%s\" has no \"%s\"", err.msg, bad[i].part);
    }
    tw_gguf_keys k = {.file = "f.gguf", .arch = "k", .g = &g, .err = &err};
    assert_int_equal(tw_gguf_keys_u64_needed(&k, ".numbers", 1, 9), 8); /* the same twice */
    assert_true(tw_gguf_keys_bool(&k, ".bool", false));
    assert_true(fabs(tw_gguf_keys_f64_needed(&k, ".f32", 0, 2) - 1.5) < 1e-9);
    assert_true(tw_str_is(tw_gguf_keys_text(&k, ".text", TW_STR("")), "hello"));
    assert_int_equal(tw_gguf_keys_u64(&k, ".none", 5, 1, 9), 5);
    assert_int_equal(k.rc, 0);
    tw_gguf_done(&g);
    free(p);
}

static void split_names(void **state)
{
    (void)state;
    size_t stem = 0;
    unsigned no = 0, count = 0;
    assert_true(tw_gguf_split_name("a-b-00002-of-00013.gguf", &stem, &no, &count));
    assert_true(stem == 3 && no == 2 && count == 13);
    assert_false(tw_gguf_split_name("a.gguf", &stem, &no, &count));
    assert_false(tw_gguf_split_name("-00001-of-00002.gguf", &stem, &no, &count));
    assert_false(tw_gguf_split_name("a-00003-of-00002.gguf", &stem, &no, &count));
    assert_false(tw_gguf_split_name("a-00000-of-00002.gguf", &stem, &no, &count));
    assert_false(tw_gguf_split_name("a-0000x-of-00002.gguf", &stem, &no, &count));
    assert_false(tw_gguf_split_name("a-00001-of-00002.ggux", &stem, &no, &count));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_format_allows),
        cmocka_unit_test(a_cut_file_is_refused),
        cmocka_unit_test(other_versions_are_refused_by_name),
        cmocka_unit_test(wrong_tensors_are_refused),
        cmocka_unit_test(wrong_keys_are_refused),
        cmocka_unit_test(typed_keys_say_what_they_want),
        cmocka_unit_test(split_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
