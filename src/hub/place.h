/* SPDX-License-Identifier: Apache-2.0 */
/* Where the hub and its cache are, and who asks, by the names in the environment that every tool of
 * Hugging Face knows, the first that is set: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME,
 * XDG_CACHE_HOME; HF_ENDPOINT; HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, $HF_HOME/token;
 * HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE; HF_HUB_DOWNLOAD_TIMEOUT; REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE,
 * SSL_CERT_FILE, SSL_CERT_DIR. An empty one is as if it were not set. */
#ifndef TWINAX_HUB_PLACE_H
#define TWINAX_HUB_PLACE_H

#include <stdbool.h>

#include "twinax/err.h"

enum { TW_HUB_PATH_BYTES = 4096, TW_HUB_TOKEN_BYTES = 512 };

typedef struct tw_hub_place {
    char cache[TW_HUB_PATH_BYTES];   /* ".../hub" */
    char endpoint[256];              /* "https://huggingface.co", no slash at its end */
    char token[TW_HUB_TOKEN_BYTES];  /* "": none */
    char token_from[64];             /* "HF_TOKEN", "the file token" */
    char ca_file[TW_HUB_PATH_BYTES]; /* "": the library's own */
    bool ca_is_folder;               /* of certificates named by their hashes */
    bool offline;
    unsigned stall_s; /* without a byte: the connection is given up */
} tw_hub_place;

/* Errors: -EINVAL, -ENOENT (no HOME, and nothing that names a place). */
TW_MUST_CHECK int tw_hub_place_get(tw_hub_place *ret, tw_err *err);
/* The cache alone: what has to do with the net is not looked at, and so cannot be wrong. */
TW_MUST_CHECK int tw_hub_place_cache(char ret[TW_HUB_PATH_BYTES], tw_err *err);
void tw_hub_place_done(tw_hub_place *p); /* the token leaves memory; for TW_CLEANUP */

#endif
