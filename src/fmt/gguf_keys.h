/* SPDX-License-Identifier: Apache-2.0 */
/* A GGUF header's metadata as configuration: typed getters whose errors name file, key, what was
 * found and what is wanted. Must not know what any key means. */
#ifndef TWINAX_FMT_GGUF_KEYS_H
#define TWINAX_FMT_GGUF_KEYS_H

#include "fmt/gguf.h"

/* A header being read. The first error stays in rc and err; later getters then give the default, so
 * that a reader checks rc once for a group of keys. A key that begins with a dot stands for the
 * architecture's own: ".block_count" is "llama.block_count". */
typedef struct tw_gguf_keys {
    const char *file;
    const char *arch; /* "llama" */
    const tw_gguf *g;
    int rc;
    tw_err *err;
} tw_gguf_keys;

const tw_gguf_value *tw_gguf_keys_get(const tw_gguf_keys *k, const char *key); /* NULL: absent */
/* Notes that key is wrong: "FILE: KEY is FOUND, want WANT". */
void tw_gguf_keys_refuse(tw_gguf_keys *k, const char *key, const char *want);
/* An array (one number a layer) counts as its number where all are the same. */
uint64_t tw_gguf_keys_u64(tw_gguf_keys *k, const char *key, uint64_t def, uint64_t lo, uint64_t hi);
uint64_t tw_gguf_keys_u64_needed(tw_gguf_keys *k, const char *key, uint64_t lo, uint64_t hi);
double tw_gguf_keys_f64(tw_gguf_keys *k, const char *key, double def, double lo, double hi);
double tw_gguf_keys_f64_needed(tw_gguf_keys *k, const char *key, double lo, double hi);
bool tw_gguf_keys_bool(tw_gguf_keys *k, const char *key, bool def);
/* Borrowed from the header's bytes; no NUL in it. */
tw_str tw_gguf_keys_text(tw_gguf_keys *k, const char *key, tw_str def);

/* Prints v on one line of ASCII into out, cut where it is longer. */
void tw_gguf_show_value(const tw_gguf_value *v, char *out, size_t out_bytes);

#endif
