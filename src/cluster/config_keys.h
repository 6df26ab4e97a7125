/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of twinax.conf as tables: one line of a table is parsed, written and explained.
 * Must not know: files, INI. */
#ifndef TWINAX_CLUSTER_CONFIG_KEYS_H
#define TWINAX_CLUSTER_CONFIG_KEYS_H

#include "cluster/config.h"

enum tw_config_type {
    TW_CONFIG_LIST,   /* of nodes; not a field */
    TW_CONFIG_TEXT,   /* any words */
    TW_CONFIG_SSH,    /* a name that ssh may be given */
    TW_CONFIG_IP,     /* an address, link-local with its zone */
    TW_CONFIG_NAME,   /* of an interface or device: no spaces, no '/' */
    TW_CONFIG_PATH,   /* begins with / or ~/ */
    TW_CONFIG_U32,    /* in [min, max] */
    TW_CONFIG_TP,     /* 1, 2, 4 or 8 */
    TW_CONFIG_CHOICE, /* one of the words */
    TW_CONFIG_BOOL,   /* yes or no */
};

typedef struct tw_config_key {
    const char *name;
    enum tw_config_type type;
    size_t offset, bytes; /* of its field in the section's struct */
    uint32_t min, max;
    const char *const *choices; /* NULL at the end */
    const char *help;           /* one line */
    const char *def;            /* what counts without it, in words; NULL: nothing */
} tw_config_key;

enum { TW_CONFIG_KEYS_MAX = 24, TW_CONFIG_BAD_MAX = 32 };

/* Where a file says what: the line of each key, in the order of its table; 0: it does not. */
typedef struct tw_config_trace {
    int cluster[TW_CONFIG_KEYS_MAX], serve[TW_CONFIG_KEYS_MAX];
    int nodes[TW_NODES_MAX][TW_CONFIG_KEYS_MAX];
    size_t n_bad; /* of all that is wrong; the first ones are in bad */
    struct {
        int line; /* 0: not of one line */
        char text[200];
    } bad[TW_CONFIG_BAD_MAX];
} tw_config_trace;

/* Each ends with an entry without a name. Offsets are in tw_config, tw_node_spec, tw_serve_spec. */
extern const tw_config_key tw_config_cluster_keys[], tw_config_node_keys[], tw_config_serve_keys[];

/* tw_config_parse that goes on behind what is wrong: that is in *trace, and left out of *ret. */
TW_MUST_CHECK int tw_config_parse_traced(const char *name, const char *p, size_t n, tw_config *ret,
                                         tw_config_trace *trace, tw_err *err);

/* base: the section's struct. owner: "node box2", for messages about addresses. */
TW_MUST_CHECK int tw_config_key_set(const tw_config_key *k, const char *owner, const char *value,
                                    void *base, tw_err *err);
/* False: not set. */
bool tw_config_key_print(const tw_config_key *k, const void *base, char *out, size_t out_bytes);

/* What tw_nodes_parse does, but addresses may yet lack their zone. */
TW_MUST_CHECK int tw_nodes_parse_list(const char *list, tw_nodes *ret, tw_err *err);
/* Gives link-local addresses their zone (interface: "" or what the cluster says); refuses those
 * that stay without. */
TW_MUST_CHECK int tw_nodes_set_zones(tw_nodes *n, const char *interface, tw_err *err);
TW_MUST_CHECK int tw_node_name_set(const char *text, tw_node_spec *ret, tw_err *err);
TW_MUST_CHECK int tw_node_ip_set(const char *owner, const char *text, tw_node_spec *ret,
                                 tw_err *err);

#endif
