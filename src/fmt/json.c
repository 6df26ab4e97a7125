/* SPDX-License-Identifier: Apache-2.0 */
#include "fmt/json.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

/* jansson ignores some failed allocations and goes on with cut text: so the parse asks this. */
static _Thread_local bool alloc_failed;

static void *json_alloc(size_t n_bytes)
{
    void *p = tw_mem_alloc(n_bytes);
    if (p == NULL)
        alloc_failed = true;
    return p;
}

/* Before main, so that nothing that the C library allocated is ever freed by us. */
__attribute__((constructor)) static void route_alloc(void)
{
    json_set_alloc_funcs(json_alloc, tw_mem_free);
}

json_t *tw_json_load(const char *p, size_t n, size_t flags, json_error_t *e, bool *ret_no_memory)
{
    alloc_failed = false;
    json_t *v = json_loadb(p, n, flags, e);
    *ret_no_memory = alloc_failed;
    if (!alloc_failed)
        return v;
    json_decref(v);
    return NULL;
}

int tw_json_parse(const char *name, const char *p, size_t n, json_t **ret, tw_err *err)
{
    json_error_t e = {.line = 0};
    bool no_memory;
    json_t *v = tw_json_load(p, n, JSON_REJECT_DUPLICATES, &e, &no_memory);
    if (no_memory)
        return tw_err_set(err, -ENOMEM, "%s: no memory for its JSON of %zu bytes", name, n);
    if (v == NULL) {
        for (char *c = e.text; *c != '\0'; c++)
            if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
                *c = '?';
        return tw_err_set(err, -EINVAL, "%s: no valid JSON: line %d column %d: %s", name, e.line,
                          e.column, e.text);
    }
    *ret = v;
    return 0;
}

void tw_json_freep(json_t **v)
{
    json_decref(*v);
    *v = NULL;
}

const char *tw_json_text_at(const json_t *v, const char *key)
{
    const char *text = json_string_value(json_object_get(v, key));
    return text != NULL ? text : "";
}

struct shown {
    char *out;
    size_t n, cap;
    bool cut;
};

static int show_more(const char *p, size_t n, void *ctx)
{
    struct shown *s = ctx;
    size_t room = s->cap - 1 - s->n;
    s->cut = s->cut || n > room;
    size_t take = n < room ? n : room;
    memcpy(s->out + s->n, p, take);
    s->n += take;
    return s->cut ? -1 : 0;
}

void tw_json_show(const json_t *v, char *out, size_t out_bytes)
{
    struct shown s = {.out = out, .n = 0, .cap = out_bytes, .cut = false};
    if (json_dump_callback(v, show_more, &s,
                           JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII |
                               JSON_REAL_PRECISION(9)) != 0 &&
        s.n >= 3)
        memcpy(out + s.n - 3, "...", 3);
    out[s.n] = '\0';
}

const json_t *tw_json_get(const tw_json_obj *o, const char *key)
{
    const json_t *v = json_object_get(o->v, key);
    return json_is_null(v) ? NULL : v;
}

void tw_json_refuse(tw_json_obj *o, const char *key, const char *want)
{
    if (o->rc != 0)
        return;
    const json_t *v = json_object_get(o->v, key);
    if (v == NULL) {
        o->rc = tw_err_set(o->err, -EINVAL, "%s: key %s%s is missing, want %s", o->file, o->prefix,
                           key, want);
        return;
    }
    char found[64];
    tw_json_show(v, found, sizeof(found));
    o->rc = tw_err_set(o->err, -EINVAL, "%s: key %s%s is %s, want %s", o->file, o->prefix, key,
                       found, want);
}

static uint64_t read_u64(tw_json_obj *o, const char *key, uint64_t def, uint64_t lo, uint64_t hi)
{
    const json_t *v = tw_json_get(o, key);
    json_int_t i = json_integer_value(v);
    if (json_is_integer(v) && i >= 0 && (uint64_t)i >= lo && (uint64_t)i <= hi)
        return (uint64_t)i;
    char want[80];
    snprintf(want, sizeof(want), "a whole number %llu..%llu", (unsigned long long)lo,
             (unsigned long long)hi);
    tw_json_refuse(o, key, want);
    return def;
}

uint64_t tw_json_u64(tw_json_obj *o, const char *key, uint64_t def, uint64_t lo, uint64_t hi)
{
    return tw_json_get(o, key) == NULL ? def : read_u64(o, key, def, lo, hi);
}

uint64_t tw_json_u64_needed(tw_json_obj *o, const char *key, uint64_t lo, uint64_t hi)
{
    return read_u64(o, key, lo, lo, hi);
}

static double read_f64(tw_json_obj *o, const char *key, double def, double lo, double hi)
{
    const json_t *v = tw_json_get(o, key);
    double d = json_number_value(v);
    if (json_is_number(v) && d >= lo && d <= hi)
        return d;
    char want[80];
    snprintf(want, sizeof(want), "a number %g..%g", lo, hi);
    tw_json_refuse(o, key, want);
    return def;
}

static int append_piece(const char *p, size_t n, void *out)
{
    return tw_buf_append(out, p, n) == 0 ? 0 : -1;
}

int tw_json_dump(const json_t *v, size_t flags, tw_buf *out)
{
    return json_dump_callback(v, append_piece, out, flags) == 0 ? 0 : -E2BIG;
}

double tw_json_f64(tw_json_obj *o, const char *key, double def, double lo, double hi)
{
    return tw_json_get(o, key) == NULL ? def : read_f64(o, key, def, lo, hi);
}

double tw_json_f64_needed(tw_json_obj *o, const char *key, double lo, double hi)
{
    return read_f64(o, key, lo, lo, hi);
}

bool tw_json_bool(tw_json_obj *o, const char *key, bool def)
{
    const json_t *v = tw_json_get(o, key);
    if (v == NULL)
        return def;
    if (!json_is_boolean(v))
        tw_json_refuse(o, key, "true or false");
    return json_is_true(v);
}

const char *tw_json_text(tw_json_obj *o, const char *key, const char *def)
{
    const json_t *v = tw_json_get(o, key);
    if (v == NULL)
        return def;
    if (!json_is_string(v)) {
        tw_json_refuse(o, key, "a text");
        return def;
    }
    return json_string_value(v);
}
