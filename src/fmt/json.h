/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as configuration: typed getters over jansson whose errors name file, key, what was found and
 * what is wanted. All of jansson's memory comes from base/mem.h (routed before main).
 * Must not know what any key means. */
#ifndef TWINAX_FMT_JSON_H
#define TWINAX_FMT_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "twinax/err.h"

/* json_loadb that knows when memory ran out: jansson may go on with cut text then, or call it bad
 * syntax. NULL with *ret_no_memory, or with *e. */
TW_MUST_CHECK json_t *tw_json_load(const char *p, size_t n, size_t flags, json_error_t *e,
                                   bool *ret_no_memory);
/* Whole text; duplicate keys and non-finite numbers are refused. -EINVAL names line and column of
 * name; -ENOMEM. Owns: the caller, json_decref. */
TW_MUST_CHECK int tw_json_parse(const char *name, const char *p, size_t n, json_t **ret,
                                tw_err *err);
void tw_json_freep(json_t **v); /* for TW_CLEANUP */

/* The text under key of v; "" when v is no object, or has no text there. Borrowed from v. */
const char *tw_json_text_at(const json_t *v, const char *key);

/* Appends v's text to out; flags: jansson's, JSON_COMPACT. -E2BIG: beyond out's ceiling, out of memory,
 * or text that is no UTF-8. */
TW_MUST_CHECK int tw_json_dump(const json_t *v, size_t flags, tw_buf *out);

/* Prints v on one line of ASCII into out, cut with "..." when longer. */
void tw_json_show(const json_t *v, char *out, size_t out_bytes);

/* An object being read. The first error stays in rc and err; later getters then give the default,
 * so that a reader checks rc once for a group of keys. A null is the same as an absent key. */
typedef struct tw_json_obj {
    const char *file;
    const char *prefix; /* "" or "rope_scaling.", printed before the key */
    const json_t *v;    /* an object */
    int rc;
    tw_err *err;
} tw_json_obj;

const json_t *tw_json_get(const tw_json_obj *o, const char *key); /* NULL: absent or null */
/* Notes that key is wrong: "FILE: KEY is FOUND, want WANT". */
void tw_json_refuse(tw_json_obj *o, const char *key, const char *want);
uint64_t tw_json_u64(tw_json_obj *o, const char *key, uint64_t def, uint64_t lo, uint64_t hi);
uint64_t tw_json_u64_needed(tw_json_obj *o, const char *key, uint64_t lo, uint64_t hi);
double tw_json_f64(tw_json_obj *o, const char *key, double def, double lo, double hi);
double tw_json_f64_needed(tw_json_obj *o, const char *key, double lo, double hi);
bool tw_json_bool(tw_json_obj *o, const char *key, bool def);
const char *tw_json_text(tw_json_obj *o, const char *key, const char *def); /* borrowed from v */

#endif
