/* SPDX-License-Identifier: Apache-2.0 */
/* Writes small random models in Hugging Face layout, for tests of any floor from model up. The
 * values follow from the seed alone: the same options, the same bytes. */
#ifndef TWINAX_TESTS_TINY_H
#define TWINAX_TESTS_TINY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"

/* Every 0 is the default in brackets. */
struct tw_tiny {
    const char *family;  /* ["llama"] */
    uint32_t n_layers;   /* [2] */
    uint32_t d_model;    /* [64] */
    uint32_t n_heads;    /* [8] */
    uint32_t n_kv_heads; /* [4] */
    uint32_t head_dim;   /* [16] */
    uint32_t ffn;        /* [256] */
    uint32_t vocab;      /* [512] */
    uint32_t max_ctx;    /* [4096] */
    uint32_t window;     /* [none] sliding window */
    bool tied, attention_bias, mlp_bias;
    bool f32, f16;    /* [bf16] */
    bool mixed;       /* every third tensor of another dtype */
    bool joined;      /* all experts of a layer in two tensors */
    unsigned n_files; /* [1]: model.safetensors; more: an index */
    uint64_t seed;
    const char *extra; /* more keys of config.json: "\"rope_theta\": 1e6", or NULL */
};

/* A new folder under TMPDIR (or /tmp) into out; 0 or a negative errno. */
int tw_tiny_dir(char *out, size_t out_bytes);
/* dir must be there. 0 or a negative errno. */
int tw_tiny_write(const char *dir, const struct tw_tiny *opts);
/* dir/name with these bytes. */
int tw_tiny_put(const char *dir, const char *name, const void *p, size_t n);
/* Removes dir and its files. */
void tw_tiny_remove(const char *dir);

#endif
