/* SPDX-License-Identifier: Apache-2.0 */
/* Where the hub and its cache are, and who asks, by the names in the environment that every tool of
 * Hugging Face knows: HF_HOME, HF_HUB_CACHE, XDG_CACHE_HOME; HF_ENDPOINT; HF_TOKEN, HF_TOKEN_PATH and
 * $HF_HOME/token; HF_HUB_OFFLINE; HF_HUB_DOWNLOAD_TIMEOUT; CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE and
 * SSL_CERT_FILE. */
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
    bool offline;
    unsigned stall_s; /* without a byte: the connection is given up */
} tw_hub_place;

/* Errors: -EINVAL, -ENOENT (no HOME, and nothing that names a place). */
TW_MUST_CHECK int tw_hub_place_get(tw_hub_place *ret, tw_err *err);
void tw_hub_place_done(tw_hub_place *p); /* the token leaves memory; for TW_CLEANUP */

#endif
