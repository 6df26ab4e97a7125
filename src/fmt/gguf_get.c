/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a parsed header, and names of split files. */
#include <string.h>

#include "base/le.h"
#include "fmt/gguf.h"

enum { TAIL_BYTES = 20 }; /* "-00002-of-00003.gguf" */

static const struct kind_row {
    const char *name;
    unsigned n_bytes; /* 0: of no fixed size */
} kind_rows[TW_GGUF_KIND_END] = {
    [TW_GGUF_U8] = {"u8", 1},       [TW_GGUF_I8] = {"i8", 1},     [TW_GGUF_U16] = {"u16", 2},
    [TW_GGUF_I16] = {"i16", 2},     [TW_GGUF_U32] = {"u32", 4},   [TW_GGUF_I32] = {"i32", 4},
    [TW_GGUF_F32] = {"f32", 4},     [TW_GGUF_BOOL] = {"bool", 1}, [TW_GGUF_TEXT] = {"text", 0},
    [TW_GGUF_ARRAY] = {"array", 0}, [TW_GGUF_U64] = {"u64", 8},   [TW_GGUF_I64] = {"i64", 8},
    [TW_GGUF_F64] = {"f64", 8},
};

const char *tw_gguf_kind_name(enum tw_gguf_kind kind)
{
    return kind_rows[kind].name;
}

unsigned tw_gguf_kind_bytes(enum tw_gguf_kind kind)
{
    return kind_rows[kind].n_bytes;
}

/* Sign-extends what the kind says. */
static int64_t load_signed(const tw_gguf_value *v, const uint8_t *p)
{
    uint64_t raw = tw_le_load(p, tw_gguf_kind_bytes(v->kind));
    switch ((int)v->kind) {
    case TW_GGUF_I8:
        return (int8_t)raw;
    case TW_GGUF_I16:
        return (int16_t)raw;
    case TW_GGUF_I32:
        return (int32_t)raw;
    default:
        return (int64_t)raw;
    }
}

static bool is_signed(enum tw_gguf_kind kind)
{
    return kind == TW_GGUF_I8 || kind == TW_GGUF_I16 || kind == TW_GGUF_I32 || kind == TW_GGUF_I64;
}

static bool is_unsigned(enum tw_gguf_kind kind)
{
    return kind == TW_GGUF_U8 || kind == TW_GGUF_U16 || kind == TW_GGUF_U32 || kind == TW_GGUF_U64;
}

bool tw_gguf_u64(const tw_gguf_value *v, uint64_t i, uint64_t *ret)
{
    unsigned n_bytes = tw_gguf_kind_bytes(v->kind);
    const uint8_t *p = v->p + i * n_bytes;
    if (is_unsigned(v->kind)) {
        *ret = tw_le_load(p, n_bytes);
        return true;
    }
    if (!is_signed(v->kind) || load_signed(v, p) < 0)
        return false;
    *ret = (uint64_t)load_signed(v, p);
    return true;
}

bool tw_gguf_f64(const tw_gguf_value *v, uint64_t i, double *ret)
{
    unsigned n_bytes = tw_gguf_kind_bytes(v->kind);
    const uint8_t *p = v->p + i * n_bytes;
    if (v->kind == TW_GGUF_F32) {
        uint32_t bits = tw_le_u32(p);
        float f;
        memcpy(&f, &bits, sizeof(f));
        *ret = (double)f;
    } else if (v->kind == TW_GGUF_F64) {
        uint64_t bits = tw_le_load(p, 8);
        memcpy(ret, &bits, sizeof(*ret));
    } else if (is_signed(v->kind)) {
        *ret = (double)load_signed(v, p);
    } else if (is_unsigned(v->kind)) {
        *ret = (double)tw_le_load(p, n_bytes);
    } else {
        return false;
    }
    return true;
}

bool tw_gguf_bool(const tw_gguf_value *v, bool *ret)
{
    if (v->is_array || v->kind != TW_GGUF_BOOL)
        return false;
    *ret = v->p[0] != 0;
    return true;
}

bool tw_gguf_text(const tw_gguf_value *v, tw_str *ret)
{
    if (v->is_array || v->kind != TW_GGUF_TEXT)
        return false;
    *ret = (tw_str){(const char *)v->p + 8, v->n_bytes - 8};
    return true;
}

void tw_gguf_texts_init(tw_gguf_texts *t, const tw_gguf_value *v)
{
    bool is_text = v != NULL && v->kind == TW_GGUF_TEXT;
    *t = (tw_gguf_texts){.p = is_text ? v->p : NULL, .n_left = is_text ? v->n : 0};
}

bool tw_gguf_texts_next(tw_gguf_texts *t, tw_str *ret)
{
    if (t->n_left == 0)
        return false;
    size_t len = (size_t)tw_le_load(t->p, 8);
    *ret = (tw_str){(const char *)t->p + 8, len};
    t->p += 8 + len;
    t->n_left--;
    return true;
}

static bool read_five(const char *p, unsigned *ret)
{
    unsigned v = 0;
    for (unsigned i = 0; i < 5; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        v = v * 10 + (unsigned)(p[i] - '0');
    }
    *ret = v;
    return true;
}

bool tw_gguf_split_name(const char *name, size_t *ret_stem, unsigned *ret_no, unsigned *ret_count)
{
    static const char ends[] = ".gguf";
    size_t n = strlen(name), tail = TAIL_BYTES;
    unsigned no = 0, count = 0;
    if (n <= tail || strcmp(name + n - (sizeof(ends) - 1), ends) != 0)
        return false;
    const char *p = name + n - tail;
    if (p[0] != '-' || !read_five(p + 1, &no) || memcmp(p + 6, "-of-", 4) != 0 ||
        !read_five(p + 10, &count) || no == 0 || no > count)
        return false;
    *ret_stem = n - tail;
    *ret_no = no;
    *ret_count = count;
    return true;
}
