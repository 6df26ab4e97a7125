/* SPDX-License-Identifier: Apache-2.0 */
#include "fmt/gguf_keys.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

enum { KEY_BYTES = 160, SHOWN_BYTES = 40 };

static void full_key(const tw_gguf_keys *k, const char *key, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "%s%s", key[0] == '.' ? k->arch : "", key);
}

const tw_gguf_value *tw_gguf_keys_get(const tw_gguf_keys *k, const char *key)
{
    char full[KEY_BYTES];
    full_key(k, key, full);
    return tw_gguf_get(k->g, full);
}

void tw_gguf_show_value(const tw_gguf_value *v, char *out, size_t out_bytes)
{
    uint64_t u = 0;
    double d = 0;
    tw_str text = {.len = 0};
    if (v->is_array) {
        snprintf(out, out_bytes, "an array of %" PRIu64 " %s", v->n, tw_gguf_kind_name(v->kind));
    } else if (tw_gguf_text(v, &text)) {
        char shown[SHOWN_BYTES + 1];
        size_t n = TW_MIN(text.len, (size_t)SHOWN_BYTES);
        for (size_t i = 0; i < n; i++)
            shown[i] = text.p[i] >= 0x20 && text.p[i] < 0x7f ? text.p[i] : '?';
        shown[n] = '\0';
        snprintf(out, out_bytes, "\"%s%s\"", shown, n < text.len ? "..." : "");
    } else if (v->kind == TW_GGUF_BOOL) {
        snprintf(out, out_bytes, "%s", v->p[0] != 0 ? "true" : "false");
    } else if (tw_gguf_u64(v, 0, &u)) {
        snprintf(out, out_bytes, "%" PRIu64, u);
    } else if (tw_gguf_f64(v, 0, &d)) {
        snprintf(out, out_bytes, "%g", d);
    }
}

void tw_gguf_keys_refuse(tw_gguf_keys *k, const char *key, const char *want)
{
    if (k->rc != 0)
        return;
    char full[KEY_BYTES], found[96] = "missing";
    const tw_gguf_value *v = tw_gguf_keys_get(k, key);
    full_key(k, key, full);
    if (v != NULL)
        tw_gguf_show_value(v, found, sizeof(found));
    k->rc = tw_err_set(k->err, -EINVAL, "%s: %s is %s, want %s", k->file, full, found, want);
}

/* The number of a value, or of an array whose numbers are all the same. */
static bool same_u64(const tw_gguf_value *v, uint64_t *ret)
{
    uint64_t first = 0;
    for (uint64_t i = 0; i < v->n; i++) {
        uint64_t u = 0;
        if (!tw_gguf_u64(v, i, &u) || (i > 0 && u != first))
            return false;
        first = u;
    }
    *ret = first;
    return v->n > 0;
}

static uint64_t get_u64(tw_gguf_keys *k, const char *key, uint64_t def, uint64_t lo, uint64_t hi,
                        bool needed)
{
    const tw_gguf_value *v = tw_gguf_keys_get(k, key);
    uint64_t u = def;
    if (k->rc != 0 || (v == NULL && !needed))
        return def;
    if (v != NULL && same_u64(v, &u) && u >= lo && u <= hi)
        return u;
    char want[96];
    snprintf(want, sizeof(want), "a whole number %" PRIu64 "..%" PRIu64 "%s", lo, hi,
             v != NULL && v->is_array ? ", the same for every layer" : "");
    tw_gguf_keys_refuse(k, key, want);
    return def;
}

uint64_t tw_gguf_keys_u64(tw_gguf_keys *k, const char *key, uint64_t def, uint64_t lo, uint64_t hi)
{
    return get_u64(k, key, def, lo, hi, false);
}

uint64_t tw_gguf_keys_u64_needed(tw_gguf_keys *k, const char *key, uint64_t lo, uint64_t hi)
{
    return get_u64(k, key, lo, lo, hi, true);
}

static double get_f64(tw_gguf_keys *k, const char *key, double def, double lo, double hi,
                      bool needed)
{
    const tw_gguf_value *v = tw_gguf_keys_get(k, key);
    double d = def;
    if (k->rc != 0 || (v == NULL && !needed))
        return def;
    if (v != NULL && !v->is_array && tw_gguf_f64(v, 0, &d) && isfinite(d) && d >= lo && d <= hi)
        return d;
    char want[64];
    snprintf(want, sizeof(want), "a number %g..%g", lo, hi);
    tw_gguf_keys_refuse(k, key, want);
    return def;
}

double tw_gguf_keys_f64(tw_gguf_keys *k, const char *key, double def, double lo, double hi)
{
    return get_f64(k, key, def, lo, hi, false);
}

double tw_gguf_keys_f64_needed(tw_gguf_keys *k, const char *key, double lo, double hi)
{
    return get_f64(k, key, lo, lo, hi, true);
}

bool tw_gguf_keys_bool(tw_gguf_keys *k, const char *key, bool def)
{
    const tw_gguf_value *v = tw_gguf_keys_get(k, key);
    bool b = def;
    if (k->rc == 0 && v != NULL && !tw_gguf_bool(v, &b))
        tw_gguf_keys_refuse(k, key, "true or false");
    return b;
}

tw_str tw_gguf_keys_text(tw_gguf_keys *k, const char *key, tw_str def)
{
    const tw_gguf_value *v = tw_gguf_keys_get(k, key);
    tw_str s = def;
    if (k->rc != 0 || v == NULL)
        return def;
    if (tw_gguf_text(v, &s) && memchr(s.p, '\0', s.len) == NULL)
        return s;
    tw_gguf_keys_refuse(k, key, "a text");
    return def;
}
