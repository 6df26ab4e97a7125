/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/config_keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "cluster/ssh.h"

#define FIELD(type, field) offsetof(type, field), sizeof(((type *)0)->field)
#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

static const char *const transports[] = {"auto", "rdma", "tcp", "shm", NULL};
static const char *const engines[] = {"auto", "native", "vllm", NULL};
static const char *const quants[] = {"none", "q8", "q4", NULL};
static const char *const kv_types[] = {"auto", "bf16", "f32", NULL};
static const char *const ariths[] = {"exact", "wire16", NULL};

const tw_config_key tw_config_cluster_keys[] = {
    {"nodes", TW_CONFIG_LIST, 0, 0, 0, 0, NULL, "the machines, this one first",
     "this machine alone"},
    {"transport", TW_CONFIG_CHOICE, FIELD(tw_config, transport), 0, 0, transports,
     "what carries the bytes: auto, rdma, tcp or shm", "auto"},
    {"interface", TW_CONFIG_NAME, FIELD(tw_config, interface), 0, 0, NULL,
     "the cable's interface, where all nodes call it the same", "the one that has the address"},
    {"rdma_device", TW_CONFIG_NAME, FIELD(tw_config, rdma_device), 0, 0, NULL, "NAME or NAME:PORT",
     "the port that has the cluster address"},
    END,
};

const tw_config_key tw_config_node_keys[] = {
    {"ssh", TW_CONFIG_SSH, FIELD(tw_node_spec, ssh), 0, 0, NULL, "what ssh calls it", "its name"},
    {"ip", TW_CONFIG_IP, FIELD(tw_node_spec, ip), 0, 0, NULL, "its address on the cable", NULL},
    {"interface", TW_CONFIG_NAME, FIELD(tw_node_spec, interface), 0, 0, NULL,
     "the cable's interface there", "as in [cluster]"},
    {"rdma_device", TW_CONFIG_NAME, FIELD(tw_node_spec, rdma_device), 0, 0, NULL,
     "NAME or NAME:PORT there", "as in [cluster]"},
    {"threads", TW_CONFIG_U32, FIELD(tw_node_spec, threads), 1, 1024, NULL, "of its rank",
     "its cores"},
    {"agent_path", TW_CONFIG_PATH, FIELD(tw_node_spec, agent_path), 0, 0, NULL,
     "twinax or twinax-node there", "looked for"},
    {"model_path", TW_CONFIG_PATH, FIELD(tw_node_spec, model_path), 0, 0, NULL,
     "the model's folder there", "as here, else by its id"},
    END,
};

const tw_config_key tw_config_serve_keys[] = {
    {"model", TW_CONFIG_TEXT, FIELD(tw_serve_spec, model), 0, 0, NULL,
     "a folder, a .gguf file, or org/name", NULL},
    {"engine", TW_CONFIG_CHOICE, FIELD(tw_serve_spec, engine), 0, 0, engines,
     "auto, native or vllm", "auto"},
    {"host", TW_CONFIG_TEXT, FIELD(tw_serve_spec, host), 0, 0, NULL, "where the API listens",
     "127.0.0.1"},
    {"port", TW_CONFIG_U32, FIELD(tw_serve_spec, port), 1, 65535, NULL, "of the API", "8000"},
    {"tp", TW_CONFIG_TP, FIELD(tw_serve_spec, tp), 0, 0, NULL,
     "ranks, 1, 2, 4 or 8: the first nodes", "all nodes"},
    {"ctx", TW_CONFIG_U32, FIELD(tw_serve_spec, ctx), 16, 1u << 20, NULL,
     "longest context in tokens", "the model's own, 8192 at most"},
    {"max_seqs", TW_CONFIG_U32, FIELD(tw_serve_spec, max_seqs), 1, 256, NULL, "answers at a time",
     "4"},
    {"chunk", TW_CONFIG_U32, FIELD(tw_serve_spec, chunk), 1, 8192, NULL, "prompt tokens a step",
     "256"},
    {"threads", TW_CONFIG_U32, FIELD(tw_serve_spec, threads), 1, 1024, NULL, "of a rank",
     "its cores"},
    {"kv", TW_CONFIG_CHOICE, FIELD(tw_serve_spec, kv), 0, 0, kv_types, "auto, bf16 or f32", "auto"},
    {"quant", TW_CONFIG_CHOICE, FIELD(tw_serve_spec, quant), 0, 0, quants,
     "none, q8 or q4: bits of weights, quantised as they are loaded", "none"},
    {"arith", TW_CONFIG_CHOICE, FIELD(tw_serve_spec, arith), 0, 0, ariths, "exact or wire16",
     "exact"},
    {"no_pack_cache", TW_CONFIG_BOOL, FIELD(tw_serve_spec, no_pack_cache), 0, 0, NULL,
     "yes: packed weights are not kept for the next start", "no"},
    {"pack_cache_gib", TW_CONFIG_U32, FIELD(tw_serve_spec, pack_cache_gib), 1, 1u << 20, NULL,
     "GiB for all packed weights that are kept", "a quarter of the free disk"},
    {"api_key_file", TW_CONFIG_PATH, FIELD(tw_serve_spec, api_key_file), 0, 0, NULL,
     "its first line is the key; nobody else may read it (chmod 600)", NULL},
    {"no_auth", TW_CONFIG_BOOL, FIELD(tw_serve_spec, no_auth), 0, 0, NULL,
     "yes: no key is wanted, from anybody who reaches the port", "no"},
    {"restart", TW_CONFIG_U32, FIELD(tw_serve_spec, restart), 1, 100, NULL,
     "starts after a crash, of engine vllm", "none"},
    {"cors", TW_CONFIG_TEXT, FIELD(tw_serve_spec, cors), 0, 0, NULL,
     "web pages that may ask from a browser: https://host[:port], with commas, or *", NULL},
    END,
};

static int set_text(const tw_config_key *k, const char *value, char *out, tw_err *err)
{
    const size_t n = strlen(value);
    if (n == 0 || n >= k->bytes)
        return tw_err_set(err, -EINVAL, "%s: wanted 1 to %zu characters", k->name, k->bytes - 1);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return tw_err_set(err, -EINVAL, "%s: a control character in it", k->name);
    if (k->type == TW_CONFIG_NAME && strpbrk(value, " /%") != NULL)
        return tw_err_set(err, -EINVAL, "%s '%.60s': wanted a name without spaces, '/' and '%%'",
                          k->name, value);
    if (k->type == TW_CONFIG_PATH && value[0] != '/' && strncmp(value, "~/", 2) != 0)
        return tw_err_set(err, -EINVAL, "%s '%.60s': wanted a path that begins with / or ~/",
                          k->name, value);
    memset(out, 0, k->bytes);
    memcpy(out, value, n);
    return 0;
}

static int set_choice(const tw_config_key *k, const char *value, char *out, tw_err *err)
{
    char wanted[80] = "";
    size_t n = 0;
    for (size_t i = 0; k->choices[i] != NULL; i++) {
        if (strcmp(k->choices[i], value) == 0)
            return set_text(k, value, out, err);
        const char *join = i == 0 ? "" : k->choices[i + 1] == NULL ? " or " : ", ";
        if (n < sizeof wanted)
            n += (size_t)snprintf(wanted + n, sizeof wanted - n, "%s%s", join, k->choices[i]);
    }
    return tw_err_set(err, -EINVAL, "%s '%.20s': wanted %s", k->name, value, wanted);
}

static int set_number(const tw_config_key *k, const char *value, void *out, tw_err *err)
{
    uint64_t v = 0;
    const bool good = tw_str_to_u64(value, &v) == 0;
    if (k->type == TW_CONFIG_TP && (!good || v < 1 || v > 8 || (v & (v - 1)) != 0))
        return tw_err_set(err, -EINVAL, "%s '%.20s': wanted 1, 2, 4 or 8", k->name, value);
    if (k->type == TW_CONFIG_U32 && (!good || v < k->min || v > k->max))
        return tw_err_set(err, -EINVAL, "%s '%.20s': wanted a number from %u to %u", k->name, value,
                          k->min, k->max);
    const uint32_t narrow = (uint32_t)v;
    memcpy(out, &narrow, sizeof narrow);
    return 0;
}

static int set_bool(const tw_config_key *k, const char *value, void *out, tw_err *err)
{
    const bool yes = strcmp(value, "yes") == 0 || strcmp(value, "true") == 0;
    if (!yes && strcmp(value, "no") != 0 && strcmp(value, "false") != 0)
        return tw_err_set(err, -EINVAL, "%s '%.20s': wanted yes or no", k->name, value);
    memcpy(out, &yes, sizeof yes);
    return 0;
}

int tw_config_key_set(const tw_config_key *k, const char *owner, const char *value, void *base,
                      tw_err *err)
{
    char *field = (char *)base + k->offset;
    int rc = 0;
    switch (k->type) {
    case TW_CONFIG_IP:
        return tw_node_ip_set(owner, value, base, err);
    case TW_CONFIG_SSH:
        rc = tw_ssh_name_check(value, err);
        return rc != 0 ? rc : set_text(k, value, field, err);
    case TW_CONFIG_U32:
    case TW_CONFIG_TP:
        return set_number(k, value, field, err);
    case TW_CONFIG_CHOICE:
        return set_choice(k, value, field, err);
    case TW_CONFIG_BOOL:
        return set_bool(k, value, field, err);
    case TW_CONFIG_TEXT:
    case TW_CONFIG_NAME:
    case TW_CONFIG_PATH:
        return set_text(k, value, field, err);
    case TW_CONFIG_LIST:
        break;
    }
    return tw_err_set(err, -EINVAL, "%s: not a key of one value", k->name);
}

bool tw_config_key_print(const tw_config_key *k, const void *base, char *out, size_t out_bytes)
{
    const char *field = (const char *)base + k->offset;
    uint32_t v = 0;
    bool yes = false;
    out[0] = '\0';
    if (k->type == TW_CONFIG_LIST)
        return false;
    if (k->type == TW_CONFIG_U32 || k->type == TW_CONFIG_TP) {
        memcpy(&v, field, sizeof v);
        snprintf(out, out_bytes, "%u", v);
        return v != 0;
    }
    if (k->type == TW_CONFIG_BOOL) {
        memcpy(&yes, field, sizeof yes);
        snprintf(out, out_bytes, "%s", yes ? "yes" : "no");
        return yes;
    }
    snprintf(out, out_bytes, "%s", field);
    return field[0] != '\0';
}
