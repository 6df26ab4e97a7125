/* SPDX-License-Identifier: Apache-2.0 */
#include "host/facts_field.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "host/facts_kinds.h"
#include "host/net.h"

#define REAL_LIMIT 1e15

/* Controls of both kinds, and what turns the direction of writing: a terminal would obey. */
bool tw_field_is_printable(uint32_t cp)
{
    return cp >= 0x20 && (cp < 0x7f || cp > 0x9f) && !(cp >= 0x202a && cp <= 0x202e) &&
           !(cp >= 0x2066 && cp <= 0x2069);
}

void tw_field_text(const char *from, char *out, size_t out_bytes)
{
    size_t len = strlen(from), n = 0;
    for (size_t i = 0; i < len;) {
        uint32_t cp = 0;
        unsigned bytes = tw_utf8_decode(from + i, len - i, &cp);
        bool good = bytes > 0 && tw_field_is_printable(cp);
        size_t add = good ? bytes : 1;
        if (n + add >= out_bytes)
            break;
        if (good)
            memcpy(out + n, from + i, add);
        else
            out[n] = '?';
        n += add;
        i += bytes > 0 ? bytes : 1;
    }
    out[n] = '\0';
}

static void clean_text(char *p, size_t bytes)
{
    char clean[4096];
    tw_field_text(p, clean, TW_MIN(sizeof clean, bytes));
    memset(p, 0, bytes); /* no rests behind the end: facts can be compared as bytes */
    memcpy(p, clean, strlen(clean));
}

static uint64_t load_uint(const char *p, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes); /* little-endian hosts only, as everywhere here */
    return v;
}

/* JSON's numbers are signed. */
_Static_assert(offsetof(tw_count, v) == 0, "clean_number");

static void clean_number(char *p)
{
    uint64_t v = load_uint(p, sizeof v);
    v = TW_MIN(v, (uint64_t)INT64_MAX);
    memcpy(p, &v, sizeof v);
}

void tw_table_clean(const tw_table *t, void *v)
{
    for (size_t i = 0; i < t->n_fields; i++) {
        const tw_field *f = &t->fields[i];
        char *p = (char *)v + f->at;
        size_t n = f->max > 0 ? load_uint((char *)v + f->n_at, sizeof(size_t)) : 1;
        for (size_t k = 0; k < n; k++, p += f->size_bytes) {
            if (f->type == TW_FIELD_TEXT || f->type == TW_FIELD_TEXT_LIST)
                clean_text(p, f->size_bytes);
            else if (f->type == TW_FIELD_COUNT || (f->type == TW_FIELD_UINT && f->size_bytes == 8))
                clean_number(p); /* of a count: its v is first */
            else if (f->table != NULL)
                tw_table_clean(f->table, p);
        }
    }
}

/* ---- print ---- */

static json_t *print_uint(uint64_t v)
{
    return json_integer((json_int_t)TW_MIN(v, (uint64_t)INT64_MAX));
}

/* The caller's sizes are those of the struct, so the text ends inside. */
static json_t *print_text(const char *p)
{
    char clean[4096];
    tw_field_text(p, clean, sizeof clean);
    return json_string(clean);
}

static json_t *print_count(const tw_count *c, bool may_be_unlimited)
{
    if (may_be_unlimited && c->v == TW_BYTES_UNLIMITED)
        return json_string("unlimited");
    return print_uint(c->v);
}

static json_t *print_element(const tw_field *f, const char *p)
{
    char text[TW_NET_IP_BYTES + 8];
    const tw_net_addr *a;
    switch ((int)f->type) {
    case TW_FIELD_LIST:
        return tw_table_print(f->table, p);
    case TW_FIELD_TEXT_LIST:
        return print_text(p);
    case TW_FIELD_REAL_LIST:
        return json_real(*(const double *)(const void *)p);
    default:
        a = (const void *)p;
        snprintf(text, sizeof text, "%s/%u", a->ip, a->prefix);
        return json_string(text);
    }
}

static json_t *print_list(const tw_field *f, const char *from)
{
    size_t n = TW_MIN(load_uint(from + f->n_at, sizeof(size_t)), f->max);
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < n; i++)
        if (json_array_append_new(list, print_element(f, from + f->at + i * f->size_bytes)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static bool is_list(const tw_field *f)
{
    return f->type == TW_FIELD_LIST || f->type == TW_FIELD_TEXT_LIST ||
           f->type == TW_FIELD_REAL_LIST || f->type == TW_FIELD_ADDRESSES;
}

static bool is_unknown(const tw_field *f, const char *from)
{
    const char *p = from + f->at;
    if (is_list(f))
        return load_uint(from + f->n_at, sizeof(size_t)) == 0;
    if (f->type == TW_FIELD_TEXT)
        return p[0] == '\0';
    if (f->type == TW_FIELD_REAL)
        return !(*(const double *)(const void *)p < 0) && !(*(const double *)(const void *)p > 0);
    if (f->type == TW_FIELD_COUNT || f->type == TW_FIELD_LIMIT)
        return !((const tw_count *)(const void *)p)->known;
    return f->type != TW_FIELD_OBJECT && load_uint(p, f->size_bytes) == 0;
}

static json_t *print_field(const tw_field *f, const char *from)
{
    const char *p = from + f->at;
    uint64_t v;
    switch (f->type) {
    case TW_FIELD_TEXT:
        return print_text(p);
    case TW_FIELD_UINT:
        return print_uint(load_uint(p, f->size_bytes));
    case TW_FIELD_REAL:
        return json_real(*(const double *)(const void *)p);
    case TW_FIELD_BOOL:
        return json_true();
    case TW_FIELD_TRI:
        return json_boolean(load_uint(p, f->size_bytes) == TW_YES);
    case TW_FIELD_COUNT:
    case TW_FIELD_LIMIT:
        return print_count((const void *)p, f->type == TW_FIELD_LIMIT);
    case TW_FIELD_ENUM:
        v = load_uint(p, f->size_bytes);
        return json_string(v < f->n_names ? f->names[v] : f->names[0]);
    case TW_FIELD_OBJECT:
        return tw_table_print(f->table, p);
    case TW_FIELD_LIST:
    case TW_FIELD_TEXT_LIST:
    case TW_FIELD_REAL_LIST:
    case TW_FIELD_ADDRESSES:
        return print_list(f, from);
    }
    return NULL;
}

json_t *tw_table_print(const tw_table *t, const void *from)
{
    json_t *o = json_object();
    for (size_t i = 0; o != NULL && i < t->n_fields; i++) {
        const tw_field *f = &t->fields[i];
        if (is_unknown(f, from))
            continue;
        json_t *v = print_field(f, from);
        bool empty = f->type == TW_FIELD_OBJECT && v != NULL && json_object_size(v) == 0;
        if (empty)
            json_decref(v);
        else if (json_object_set_new(o, f->name, v) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

/* ---- parse ---- */

static void store_uint(char *p, size_t bytes, uint64_t v)
{
    memcpy(p, &v, bytes);
}

static uint64_t uint_limit(size_t bytes)
{
    return bytes >= 8 ? (uint64_t)INT64_MAX : (UINT64_C(1) << (8 * bytes)) - 1;
}

static void parse_count(tw_json_obj *o, const tw_field *f, char *p)
{
    tw_count c = {.known = true};
    const json_t *v = tw_json_get(o, f->name);
    const char *word = json_string_value(v);
    if (f->type == TW_FIELD_LIMIT && word != NULL && strcmp(word, "unlimited") == 0)
        c.v = TW_BYTES_UNLIMITED;
    else
        c.v = tw_json_u64(o, f->name, 0, 0, INT64_MAX);
    memcpy(p, &c, sizeof c);
}

static void parse_enum(tw_json_obj *o, const tw_field *f, char *p)
{
    const char *word = tw_json_text(o, f->name, "");
    for (size_t i = 0; i < f->n_names; i++)
        if (strcmp(word, f->names[i]) == 0)
            store_uint(p, f->size_bytes, i);
}

static void parse_element(tw_json_obj *o, const tw_field *f, size_t i, char *p)
{
    const json_t *v = json_array_get(tw_json_get(o, f->name), i);
    char name[160];
    snprintf(name, sizeof name, "%s%s[%zu].", o->prefix, f->name, i);
    bool wrong = false;
    tw_net_addr a;
    if (f->type == TW_FIELD_LIST)
        o->rc = tw_table_parse(f->table, name, v, p, o->err);
    else if (f->type == TW_FIELD_REAL_LIST) {
        double d = json_number_value(v);
        wrong = !json_is_number(v) || d < -REAL_LIMIT || d > REAL_LIMIT;
        memcpy(p, &d, sizeof d);
    } else if (f->type == TW_FIELD_TEXT_LIST) {
        wrong = !json_is_string(v);
        tw_field_text(wrong ? "" : json_string_value(v), p, f->size_bytes);
    } else {
        wrong = !json_is_string(v) || !tw_net_addr_parse(json_string_value(v), &a);
        if (!wrong)
            memcpy(p, &a, sizeof a);
    }
    if (wrong)
        tw_json_refuse(o, f->name, "a list of the right kind");
}

static void parse_list(tw_json_obj *o, const tw_field *f, char *to)
{
    const json_t *v = tw_json_get(o, f->name);
    if (!json_is_array(v)) {
        tw_json_refuse(o, f->name, "a list");
        return;
    }
    size_t n = TW_MIN(json_array_size(v), f->max);
    for (size_t i = 0; i < n && o->rc == 0; i++)
        parse_element(o, f, i, to + f->at + i * f->size_bytes);
    memcpy(to + f->n_at, &n, sizeof n);
}

static void parse_object(tw_json_obj *o, const tw_field *f, char *p)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s.", o->prefix, f->name);
    o->rc = tw_table_parse(f->table, name, tw_json_get(o, f->name), p, o->err);
}

static void parse_real(tw_json_obj *o, const tw_field *f, char *p)
{
    double d = tw_json_f64(o, f->name, 0, -REAL_LIMIT, REAL_LIMIT);
    memcpy(p, &d, sizeof d);
}

static void parse_field(tw_json_obj *o, const tw_field *f, char *to)
{
    char *p = to + f->at;
    switch (f->type) {
    case TW_FIELD_TEXT:
        tw_field_text(tw_json_text(o, f->name, ""), p, f->size_bytes);
        break;
    case TW_FIELD_UINT:
        store_uint(p, f->size_bytes, tw_json_u64(o, f->name, 0, 0, uint_limit(f->size_bytes)));
        break;
    case TW_FIELD_REAL:
        parse_real(o, f, p);
        break;
    case TW_FIELD_BOOL:
        store_uint(p, f->size_bytes, tw_json_bool(o, f->name, false));
        break;
    case TW_FIELD_TRI:
        store_uint(p, f->size_bytes, tw_tri_of(tw_json_bool(o, f->name, false)));
        break;
    case TW_FIELD_COUNT:
    case TW_FIELD_LIMIT:
        parse_count(o, f, p);
        break;
    case TW_FIELD_ENUM:
        parse_enum(o, f, p);
        break;
    case TW_FIELD_OBJECT:
        parse_object(o, f, p);
        break;
    case TW_FIELD_LIST:
    case TW_FIELD_TEXT_LIST:
    case TW_FIELD_REAL_LIST:
    case TW_FIELD_ADDRESSES:
        parse_list(o, f, to);
        break;
    }
}

int tw_table_parse(const tw_table *t, const char *prefix, const json_t *v, void *to, tw_err *err)
{
    if (!json_is_object(v))
        return tw_err_set(err, -EPROTO, "facts: %.100s no object", prefix);
    tw_json_obj o = {.file = "facts", .prefix = prefix, .v = v, .err = err};
    for (size_t i = 0; i < t->n_fields && o.rc == 0; i++)
        if (tw_json_get(&o, t->fields[i].name) != NULL)
            parse_field(&o, &t->fields[i], to);
    return o.rc;
}
