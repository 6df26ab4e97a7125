/* SPDX-License-Identifier: Apache-2.0 */
/* The models that the menu offers: data/catalogue.txt, a user's lines over it, and what the cache of
 * this machine holds.
 *
 *    # comment
 *    NAME | PARAMETERS | DTYPE=BYTES ... | open or gated | ENGINE ... | note
 *    meta-llama/Meta-Llama-3.1-8B-Instruct | 8.03B | bf16=16060522496 | gated | native vllm |
 *
 * NAME is org/name or a folder (/..., ~/..., ./...); BYTES may end with K, M, G or T (thousands). A
 * later line of the same NAME takes the place of an earlier one; "-NAME" alone takes it out.
 * Pure: text in, list out. Must not know files, children or a screen. */
#ifndef TWINAX_UI_CATALOGUE_H
#define TWINAX_UI_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_UI_MODELS_MAX = 400, TW_UI_NAME_BYTES = 256, TW_UI_DTYPES_MAX = 4 };
enum tw_ui_engine { TW_UI_NATIVE = 1, TW_UI_VLLM = 2 };

typedef struct tw_ui_model {
    char name[TW_UI_NAME_BYTES];
    char params[12]; /* "8.03B"; empty: not said */
    struct {
        char dtype[12];
        uint64_t bytes;
    } sizes[TW_UI_DTYPES_MAX]; /* the first one is that of the files that pull takes */
    size_t n_sizes;
    bool gated;
    unsigned engines; /* of tw_ui_engine; 0: not said */
    char note[100];
    /* Of the caches of the nodes: */
    bool is_known; /* a line of a catalogue; else the cache alone has it */
    bool is_here;  /* something of it */
    bool is_whole; /* all of its files, on all nodes */
    uint64_t here_bytes;
} tw_ui_model;

typedef struct tw_ui_catalogue {
    tw_ui_model *v;
    size_t n;
} tw_ui_catalogue;

void tw_ui_catalogue_done(tw_ui_catalogue *c);
/* Adds the lines of p [n]. file: for messages. -EINVAL names file, line, what was found and what is
 * wanted: the lines before it are in c then. -E2BIG: more than TW_UI_MODELS_MAX. */
TW_MUST_CHECK int tw_ui_catalogue_parse(const char *file, const char *p, size_t n,
                                        tw_ui_catalogue *c, tw_err *err);
/* The model of that name, made when it is not there; NULL: no memory, too many, or too long. */
tw_ui_model *tw_ui_catalogue_get(tw_ui_catalogue *c, const char *name);
const tw_ui_model *tw_ui_catalogue_find(const tw_ui_catalogue *c, const char *name);
/* What `twinax models --json` says: an object a line, of one revision on one node; those of one
 * revision stand together. Lines that are none are passed over. */
void tw_ui_catalogue_note_cache(tw_ui_catalogue *c, const char *p, size_t n);
/* A folder's name, not one of the hub. */
bool tw_ui_model_is_folder(const char *name);
/* Bytes of its weights: what is here, else what the catalogue says; 0: unknown. */
uint64_t tw_ui_model_bytes(const tw_ui_model *m);

#endif
