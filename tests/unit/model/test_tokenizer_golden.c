/* SPDX-License-Identifier: Apache-2.0 */
/* Every string of goldens.jsonl through every tokenizer: encode, decode and streaming decode must be
 * what the "tokenizers" library gave (tools/make_tokenizers.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/evp.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "model/tokenizer.h"

enum { MAX_TOKENIZERS = 16, MAX_TEXT = 1 << 20, MAX_SHOWN = 12 };

typedef struct golden {
    size_t n;
    const char *names[MAX_TOKENIZERS];
    tw_tokenizer *t[MAX_TOKENIZERS];
    json_t *header;
    const json_t *templates;
    unsigned n_strings[MAX_TOKENIZERS], n_lists[MAX_TOKENIZERS], n_bad[MAX_TOKENIZERS];
} golden;

static golden g;
static char line_bytes[MAX_TEXT];
static unsigned char text_bytes[MAX_TEXT];

static FILE *open_data(const char *name)
{
    const char *root = getenv("TW_TEST_DATA");
    char path[512];
    assert_non_null(root);
    snprintf(path, sizeof(path), "%s/tokenizers/%s", root, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("%s: cannot be opened", path);
    return f;
}

static tw_tokenizer *load(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/tokenizer.json", name);
    FILE *f = open_data(path);
    size_t n = fread(line_bytes, 1, sizeof(line_bytes), f);
    fclose(f);
    tw_tokenizer *t = NULL;
    tw_err err = {0};
    if (tw_tokenizer_new(path, line_bytes, n, &t, &err) < 0)
        fail_msg("%s", err.msg);
    return t;
}

static void complain(size_t k, const char *what, const char *text, size_t n)
{
    if (g.n_bad[k]++ < MAX_SHOWN)
        print_message("# %s: %s differs for %.*s\n", g.names[k], what, (int)(n < 100 ? n : 100),
                      text);
}

/* FNV-1a folded to 32 bits, as in the script. */
static uint64_t hash_more(uint64_t h, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * UINT64_C(0x100000001B3);
    return h;
}

static bool same_hash(uint64_t h, const char *want)
{
    char hex[9];
    snprintf(hex, sizeof(hex), "%08x", (unsigned)((h >> 32) ^ (h & UINT32_MAX)));
    return memcmp(hex, want, 8) == 0;
}

static const uint64_t hash_begin = UINT64_C(0xCBF29CE484222325);

static bool same_ids(const tw_ids *ids, const char *want)
{
    uint64_t h = hash_begin;
    for (size_t i = 0; i < ids->n; i++) {
        char text[16];
        int n = snprintf(text, sizeof(text), "%u ", ids->ids[i]);
        h = hash_more(h, text, (size_t)n);
    }
    return same_hash(h, want);
}

static void print_ids(const tw_ids *ids)
{
    for (size_t i = 0; i < ids->n && i < 40; i++)
        print_message("%s%u", i == 0 ? "#   got " : " ", ids->ids[i]);
    print_message("\n");
}

/* Both ways, which must agree; appends to *all. */
static void decode(size_t k, const tw_ids *ids, bool skip, tw_buf *all, const char *text, size_t n)
{
    tw_buf stream TW_CLEANUP(tw_buf_done) = TW_BUF(MAX_TEXT);
    tw_detok d TW_CLEANUP(tw_detok_done);
    size_t before = all->len;
    tw_detok_init(&d, g.t[k], skip);
    assert_int_equal(tw_tokenizer_decode(g.t[k], ids->ids, ids->n, skip, all, NULL), 0);
    for (size_t i = 0; i < ids->n; i++) {
        size_t old = stream.len;
        assert_int_equal(tw_detok_push(&d, ids->ids[i], &stream, NULL), 0);
        assert_true(stream.len == old || tw_utf8_valid(stream.data + old, stream.len - old));
    }
    assert_int_equal(tw_detok_end(&d, &stream, NULL), 0);
    size_t len = all->len - before;
    if (len != stream.len || (len > 0 && memcmp(all->data + before, stream.data, len) != 0))
        complain(k, "streaming", text, n);
}

/* The template's ids stand around; templates[k] is the encoding of nothing. */
static bool is_wrapped(const tw_ids *special, const tw_ids *plain, const json_t *around)
{
    size_t n_around = json_array_size(around);
    if (special->n != plain->n + n_around)
        return false;
    for (size_t k = 0; k <= n_around; k++) {
        bool same = plain->n == 0 || memcmp(special->ids + k, plain->ids, plain->n * 4) == 0;
        for (size_t i = 0; i < n_around && same; i++) {
            uint32_t id = special->ids[i < k ? i : i + plain->n];
            same = (json_int_t)id == json_integer_value(json_array_get(around, i));
        }
        if (same)
            return true;
    }
    return false;
}

static void check_one(size_t k, const char *text, size_t n, const char *want)
{
    tw_ids plain TW_CLEANUP(tw_ids_done) = {0}, special TW_CLEANUP(tw_ids_done) = {0};
    tw_err err = {0};
    tw_buf all TW_CLEANUP(tw_buf_done) = TW_BUF(MAX_TEXT);
    assert_int_equal(tw_tokenizer_encode(g.t[k], text, n, false, &plain, &err), 0);
    assert_int_equal(tw_tokenizer_encode(g.t[k], text, n, true, &special, &err), 0);
    g.n_strings[k]++;
    if (!same_ids(&plain, want)) {
        complain(k, "encode", text, n);
        print_ids(&plain);
        return;
    }
    if (!is_wrapped(&special, &plain, json_array_get(g.templates, k)))
        complain(k, "the template", text, n);
    decode(k, &special, false, &all, text, n);
    assert_int_equal(tw_buf_append(&all, "", 1), 0);
    decode(k, &plain, true, &all, text, n);
    if (!same_hash(hash_more(hash_begin, all.data, all.len), want + 8))
        complain(k, "decode", text, n);
}

/* Ids in an order that no text has: r modulo the tokenizer's size. */
static void check_ids(size_t k, const json_t *r, const char *want)
{
    tw_ids ids TW_CLEANUP(tw_ids_done) = {0};
    tw_buf all TW_CLEANUP(tw_buf_done) = TW_BUF(MAX_TEXT);
    for (size_t i = 0; i < json_array_size(r); i++) {
        json_int_t n = json_integer_value(json_array_get(r, i));
        assert_int_equal(tw_ids_push(&ids, (uint32_t)n % tw_tokenizer_n(g.t[k])), 0);
    }
    decode(k, &ids, false, &all, "ids", 3);
    assert_int_equal(tw_buf_append(&all, "", 1), 0);
    decode(k, &ids, true, &all, "ids", 3);
    if (!same_hash(hash_more(hash_begin, all.data, all.len), want)) {
        complain(k, "decode", "ids", 3);
        print_ids(&ids);
    }
    g.n_lists[k]++;
}

static size_t raw_of(const json_t *line)
{
    const json_t *b = json_object_get(line, "b"), *t = json_object_get(line, "t");
    if (t != NULL) {
        memcpy(text_bytes, json_string_value(t), json_string_length(t));
        return json_string_length(t);
    }
    assert_non_null(b);
    int n_coded = (int)json_string_length(b);
    int n = EVP_DecodeBlock(text_bytes, (const unsigned char *)json_string_value(b), n_coded);
    const char *z = json_string_value(b);
    for (int i = n_coded; i > 0 && z[i - 1] == '='; i--)
        n--;
    assert_true(n >= 0);
    return (size_t)n;
}

static void check_line(const json_t *line)
{
    const json_t *h = json_object_get(line, "h"), *r = json_object_get(line, "r");
    size_t n_digits = r != NULL ? 8 : 16, n = r != NULL ? 0 : raw_of(line);
    assert_int_equal(json_string_length(h), n_digits * g.n);
    for (size_t k = 0; k < g.n; k++) {
        const char *want = json_string_value(h) + n_digits * k;
        if (r != NULL)
            check_ids(k, r, want);
        else
            check_one(k, (const char *)text_bytes, n, want);
    }
}

static void test_goldens(void **state)
{
    (void)state;
    FILE *f = open_data("goldens.jsonl");
    assert_non_null(fgets(line_bytes, sizeof(line_bytes), f));
    g.header = json_loads(line_bytes, JSON_ALLOW_NUL, NULL);
    const json_t *names = json_object_get(g.header, "names");
    g.templates = json_object_get(g.header, "templates");
    g.n = json_array_size(names);
    assert_in_range(g.n, 5, MAX_TOKENIZERS);
    for (size_t k = 0; k < g.n; k++) {
        g.names[k] = json_string_value(json_array_get(names, k));
        g.t[k] = load(g.names[k]);
    }
    while (fgets(line_bytes, sizeof(line_bytes), f) != NULL) {
        json_t *line = json_loads(line_bytes, JSON_ALLOW_NUL, NULL);
        assert_non_null(line);
        check_line(line);
        json_decref(line);
    }
    fclose(f);
    unsigned n_bad = 0;
    for (size_t k = 0; k < g.n; k++) {
        print_message("# %s: %u strings, %u differ\n", g.names[k], g.n_strings[k], g.n_bad[k]);
        assert_true(g.n_strings[k] >= 2000 && g.n_lists[k] >= 400);
        n_bad += g.n_bad[k];
        tw_tokenizer_free(g.t[k]);
    }
    json_decref(g.header);
    assert_int_equal(n_bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goldens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
