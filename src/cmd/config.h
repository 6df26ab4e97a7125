/* SPDX-License-Identifier: Apache-2.0 */
/* What `twinax config` finds out, and prints. */
#ifndef TWINAX_CMD_CONFIG_H
#define TWINAX_CMD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "cluster/config_file.h"
#include "fmt/json.h"

/* A key that the command line may say too. */
enum config_flag {
    FLAG_NODES,
    FLAG_TRANSPORT,
    FLAG_RDMA_DEVICE,
    FLAG_MODEL,
    FLAG_ENGINE,
    FLAG_HOST,
    FLAG_PORT,
    FLAG_TP,
    FLAG_CTX,
    FLAG_MAX_SEQS,
    FLAG_CHUNK,
    FLAG_THREADS,
    FLAG_KV,
    FLAG_QUANT,
    FLAG_ARITH,
    FLAG_PACK_CACHE_GIB,
    FLAG_RESTART,
    FLAG_CORS,
    FLAGS
};

typedef struct config_opts {
    bool json, local, no_auth, no_pack_cache, has_key;
    const char *flags[FLAGS]; /* NULL: not given */
} config_opts;

enum config_source { FROM_DEFAULT, FROM_FILE, FROM_ENV, FROM_FLAG };

typedef struct setting {
    char section[80], key[32], value[512];
    enum config_source source;
    int line;      /* of the file */
    char name[32]; /* of the flag, or in the environment */
    bool is_words; /* a default that is told, not a value */
    bool is_number, is_bool, is_secret;
} setting;

enum { SETTINGS_MAX = 160 };

typedef struct settings {
    tw_config_found found;
    tw_config_trace trace;
    bool reads_file;
    char key_problem[240]; /* of api_key_file; "": none */
    size_t n;
    setting v[SETTINGS_MAX];
} settings;

/* -EINVAL: what the command line says is wrong. Wrong lines of a file are in trace. */
TW_MUST_CHECK int tw_settings_read(const config_opts *o, settings *s, tw_err *err);

#endif
