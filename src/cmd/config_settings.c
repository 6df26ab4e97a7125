/* SPDX-License-Identifier: Apache-2.0 */
/* Which setting has which value, and from whom: the one table of keys (cluster/config_keys.h), and
 * the names in the environment that twinax heeds. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "cmd/config.h"
#include "hub/place.h"

/* The option that says a key's value. */
static const struct flag_key {
    const char *section, *key, *option;
} flag_keys[FLAGS] = {
    [FLAG_NODES] = {"cluster", "nodes", "--nodes"},
    [FLAG_TRANSPORT] = {"cluster", "transport", "--transport"},
    [FLAG_RDMA_DEVICE] = {"cluster", "rdma_device", "--rdma-device"},
    [FLAG_MODEL] = {"serve", "model", "MODEL"},
    [FLAG_ENGINE] = {"serve", "engine", "--engine"},
    [FLAG_HOST] = {"serve", "host", "--host"},
    [FLAG_PORT] = {"serve", "port", "--port"},
    [FLAG_TP] = {"serve", "tp", "--tp"},
    [FLAG_CTX] = {"serve", "ctx", "--ctx"},
    [FLAG_MAX_SEQS] = {"serve", "max_seqs", "--max-seqs"},
    [FLAG_CHUNK] = {"serve", "chunk", "--chunk"},
    [FLAG_THREADS] = {"serve", "threads", "--threads"},
    [FLAG_KV] = {"serve", "kv", "--kv"},
    [FLAG_PACK_CACHE_GIB] = {"serve", "pack_cache_gib", "--pack-cache-gib"},
    [FLAG_QUANT] = {"serve", "quant", "--quant"},
    [FLAG_ARITH] = {"serve", "arith", "--arith"},
    [FLAG_RESTART] = {"serve", "restart", "--restart"},
    [FLAG_CORS] = {"serve", "cors", "--cors"},
};

static setting *add(settings *s, const char *section, const char *key)
{
    setting *v = &s->v[s->n < SETTINGS_MAX - 1 ? s->n++ : s->n];
    *v = (setting){.source = FROM_DEFAULT};
    snprintf(v->section, sizeof v->section, "%s", section);
    snprintf(v->key, sizeof v->key, "%s", key);
    return v;
}

static void set_source(setting *v, enum config_source source, const char *name)
{
    v->source = source;
    v->is_words = false;
    snprintf(v->name, sizeof v->name, "%s", name);
}

/* "8000" is a value of port, "its cores" none of threads. */
static void set_default(setting *v, const tw_config_key *k)
{
    tw_err ignored;
    union {
        tw_config cluster;
        tw_node_spec node;
        tw_serve_spec serve;
    } scratch;
    memset(&scratch, 0, sizeof scratch);
    if (k->def == NULL)
        return;
    snprintf(v->value, sizeof v->value, "%s", k->def);
    v->is_words = k->type == TW_CONFIG_LIST || strchr(k->def, ' ') != NULL ||
                  tw_config_key_set(k, "default", k->def, &scratch, &ignored) != 0;
}

static void add_key(settings *s, const char *section, const tw_config_key *k, const void *base,
                    int line)
{
    setting *v = add(s, section, k->name);
    v->is_number = k->type == TW_CONFIG_U32 || k->type == TW_CONFIG_TP;
    v->is_bool = k->type == TW_CONFIG_BOOL;
    if (line == 0) {
        set_default(v, k);
        return;
    }
    v->source = FROM_FILE;
    v->line = line;
    (void)tw_config_key_print(k, base, v->value, sizeof v->value);
}

static void print_nodes(const tw_nodes *n, char *out, size_t out_bytes)
{
    size_t len = 0;
    for (size_t i = 0; i < n->n && len < out_bytes; i++)
        len +=
            (size_t)snprintf(out + len, out_bytes - len, "%s%s", i > 0 ? ", " : "", n->v[i].name);
}

/* ---- the file ---- */

/* Its ssh name is its own name, and its address may stand in the list. */
static void add_node(settings *s, const tw_config *c, size_t i, int line, const char *flag)
{
    char section[80];
    const tw_node_spec *n = &c->nodes.v[i];
    snprintf(section, sizeof section, "node.%.70s", n->name);
    for (size_t k = 0; tw_config_node_keys[k].name != NULL; k++) {
        const tw_config_key *key = &tw_config_node_keys[k];
        add_key(s, section, key, n, s->trace.nodes[i][k]);
        setting *v = &s->v[s->n - 1];
        if (v->source != FROM_DEFAULT || !tw_config_key_print(key, n, v->value, sizeof v->value)) {
            if (v->source == FROM_DEFAULT)
                set_default(v, key);
            continue;
        }
        v->is_words = false;
        if (key->type != TW_CONFIG_IP)
            continue;
        v->line = line;
        set_source(v, flag != NULL ? FROM_FLAG : FROM_FILE, flag != NULL ? flag : "");
    }
}

static void add_nodes(settings *s, const tw_config *c, const char *flag)
{
    for (size_t i = 0; i < c->nodes.n; i++)
        add_node(s, c, i, s->trace.cluster[0], flag);
}

static void add_cluster(settings *s, const tw_config *c)
{
    for (size_t k = 0; tw_config_cluster_keys[k].name != NULL; k++) {
        const tw_config_key *key = &tw_config_cluster_keys[k];
        add_key(s, "cluster", key, c, s->trace.cluster[k]);
        setting *v = &s->v[s->n - 1];
        if (key->type == TW_CONFIG_LIST && v->source == FROM_FILE)
            print_nodes(&c->nodes, v->value, sizeof v->value);
    }
}

/* ---- the command line ---- */

static const tw_config_key *find_key(const tw_config_key *keys, const char *name)
{
    while (strcmp(keys->name, name) != 0)
        keys++;
    return keys;
}

static setting *find_setting(settings *s, const char *section, const char *key)
{
    size_t i = 0;
    while (strcmp(s->v[i].section, section) != 0 || strcmp(s->v[i].key, key) != 0)
        i++;
    return &s->v[i];
}

static int check_flag(const struct flag_key *f, const char *value, tw_err *err)
{
    union {
        tw_config cluster;
        tw_serve_spec serve;
    } scratch;
    tw_err why;
    const bool serve = strcmp(f->section, "serve") == 0;
    memset(&scratch, 0, sizeof scratch);
    const tw_config_key *k =
        find_key(serve ? tw_config_serve_keys : tw_config_cluster_keys, f->key);
    if (k->type == TW_CONFIG_LIST || tw_config_key_set(k, f->key, value, &scratch, &why) == 0)
        return 0;
    return tw_err_set(err, -EINVAL, "%s: %s", f->option, why.msg);
}

static void say_yes(settings *s, const char *key, const char *flag)
{
    setting *v = find_setting(s, "serve", key);
    snprintf(v->value, sizeof v->value, "yes");
    set_source(v, FROM_FLAG, flag);
}

static int take_flags(const config_opts *o, settings *s, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < FLAGS && rc == 0; i++) {
        if (o->flags[i] == NULL)
            continue;
        rc = check_flag(&flag_keys[i], o->flags[i], err);
        setting *v = find_setting(s, flag_keys[i].section, flag_keys[i].key);
        snprintf(v->value, sizeof v->value, "%s", o->flags[i]);
        set_source(v, FROM_FLAG, flag_keys[i].option);
    }
    if (o->no_auth)
        say_yes(s, "no_auth", "--no-auth");
    if (o->no_pack_cache)
        say_yes(s, "no_pack_cache", "--no-pack-cache");
    return rc;
}

/* As serve takes it: the command line, the file's, the environment's. */
static void add_api_key(const config_opts *o, settings *s, const char *file)
{
    char key[512];
    tw_err why = {0};
    setting *v = add(s, "serve", "api_key");
    const setting *of = find_setting(s, "serve", "api_key_file");
    const char *env = getenv("TWINAX_API_KEY");
    v->is_secret = true;
    if (file[0] != '\0' && tw_config_key_read(file, key, sizeof key, &why) != 0)
        snprintf(s->key_problem, sizeof s->key_problem, "%s", why.msg);
    explicit_bzero(key, sizeof key);
    if (o->has_key) {
        set_source(v, FROM_FLAG, "--api-key");
    } else if (file[0] != '\0') {
        v->source = FROM_FILE;
        v->line = of->line;
    } else if (env != NULL) {
        set_source(v, FROM_ENV, "TWINAX_API_KEY");
    } else {
        return;
    }
    snprintf(v->value, sizeof v->value, "(set, not shown)");
}

/* ---- the environment ---- */

/* https://user:password@host: the middle is nobody's business. */
static void hide_login(char *value)
{
    char *from = strstr(value, "://");
    char *at = from != NULL ? memrchr(from + 3, '@', strcspn(from + 3, "/")) : NULL;
    if (at != NULL) /* the last one: a password may have one too, curl takes it so */
        memset(from + 3, '*', (size_t)(at - from - 3));
}

static void add_env(settings *s, const char *name, const char *def, bool is_secret)
{
    const char *value = getenv(name);
    setting *v = add(s, "environment", name);
    v->is_secret = is_secret;
    if (value != NULL && value[0] != '\0') {
        snprintf(v->value, sizeof v->value, "%s", is_secret ? "(set, not shown)" : value);
        hide_login(v->value);
        set_source(v, FROM_ENV, name);
    } else if (def != NULL) {
        snprintf(v->value, sizeof v->value, "%s", def);
    }
}

static void add_environment(settings *s)
{
    static const char *const others[] = {"HF_HOME",        "HF_HUB_OFFLINE",  "XDG_CONFIG_HOME",
                                         "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME",
                                         "NO_COLOR"};
    TW_CLEANUP(tw_hub_place_done) tw_hub_place p = {.offline = false};
    tw_err ignored;
    const bool known = tw_hub_place_get(&p, &ignored) == 0;
    add_env(s, "HF_HUB_CACHE", known ? p.cache : NULL, false);
    add_env(s, "HF_ENDPOINT", known ? p.endpoint : NULL, false);
    add_env(s, "HF_TOKEN", known && p.token[0] != '\0' ? "(set, not shown)" : NULL, true);
    for (size_t i = 0; i < TW_ARRAY_LEN(others); i++)
        add_env(s, others[i], NULL, false);
}

/* ---- all ---- */

int tw_settings_read(const config_opts *o, settings *s, tw_err *err)
{
    const char *list = o->flags[FLAG_NODES], *tp = o->flags[FLAG_TP];
    tw_config *c = &s->found.config;
    int rc = 0;
    s->reads_file = !o->local && list == NULL && (tp == NULL || strcmp(tp, "1") != 0);
    if (o->local && list != NULL)
        return tw_err_set(err, -EINVAL, "--local and --nodes: one of them");
    if (s->reads_file)
        rc = tw_config_find_traced(&s->found, &s->trace, err);
    if (rc == 0 && list != NULL)
        rc = tw_nodes_parse(list, &c->nodes, err);
    if (rc != 0)
        return rc;
    add_cluster(s, c);
    add_nodes(s, c, list != NULL ? "--nodes" : NULL);
    for (size_t k = 0; tw_config_serve_keys[k].name != NULL; k++)
        add_key(s, "serve", &tw_config_serve_keys[k], &c->serve, s->trace.serve[k]);
    add_api_key(o, s, c->serve.api_key_file);
    add_environment(s);
    return take_flags(o, s, err);
}
