/* SPDX-License-Identifier: Apache-2.0 */
/* Values that are known: the words of a choice, the nodes of twinax.conf, models of the cache,
 * interfaces and RDMA devices of this machine. */
#include <dirent.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/config_file.h"
#include "cluster/config_keys.h"
#include "cmd/complete.h"
#include "host/setup_plan.h"
#include "hub/scan.h"

enum value_kind {
    KIND_NONE,
    KIND_FILE,
    KIND_DIR,
    KIND_MODEL,  /* org/name of the cache, or a folder */
    KIND_CACHED, /* org/name of the cache */
    KIND_LIST,   /* --nodes: of nodes with addresses */
    KIND_NODE,
    KIND_NODE_IS, /* NODE=... */
    KIND_NETDEV,
    KIND_RDMA,
    KIND_TP,
    KIND_STEPS /* of setup */
};

/* By the option's name, wherever it is; then by what stands for its value. */
static const struct known {
    const char *word;
    enum value_kind kind;
} names[] =
    {
        {"nodes", KIND_LIST},         {"node", KIND_NODE},
        {"worker", KIND_NODE},        {"head", KIND_NODE},
        {"model-path", KIND_NODE_IS}, {"interface", KIND_NETDEV},
        {"rdma-device", KIND_RDMA},   {"tp", KIND_TP},
        {"model", KIND_MODEL},        {"only", KIND_STEPS},
        {"agent-path", KIND_FILE},
},
  args[] = {{"FILE", KIND_FILE}, {"DIR", KIND_DIR}};

/* No line ends nor tabs in a word: they part the words. */
void tw_completion_add(tw_completion *c, const char *word, const char *what)
{
    if (strncmp(word, c->typed, strlen(c->typed)) != 0 || strpbrk(word, "\t\r\n") != NULL)
        return;
    (void)!tw_buf_printf(&c->words, "%s%s\t%.*s\n", c->prefix, word, (int)strcspn(what, "\r\n\t"),
                         what);
}

static void add_choices(tw_completion *c, const char *const *choices, const char *what)
{
    for (; *choices != NULL; choices++)
        tw_completion_add(c, *choices, what);
}

/* ---- what is in files ---- */

static void add_models(tw_completion *c)
{
    TW_CLEANUP(tw_hub_place_done) tw_hub_place p = {.offline = true};
    TW_CLEANUP(tw_hub_models_done) tw_hub_models l = {.n = 0};
    tw_err ignored;
    if (tw_hub_place_get(&p, &ignored) != 0 || tw_hub_scan(&p, NULL, &l, &ignored) != 0)
        return;
    for (size_t i = 0; i < l.n; i++)
        if (i == 0 || strcmp(l.v[i].repo, l.v[i - 1].repo) != 0)
            tw_completion_add(c, l.v[i].repo, "in the cache");
}

static tw_config_found *read_config(void)
{
    tw_config_found *f = tw_mem_calloc(1, sizeof *f);
    tw_err ignored;
    if (f != NULL && tw_config_find(f, &ignored) == 0)
        return f;
    tw_mem_free(f);
    return NULL;
}

/* The whole list at once; behind a comma one more of it. */
static void add_list(tw_completion *c, const tw_nodes *n)
{
    char all[TW_NODES_MAX * 140] = "", before[512];
    const char *comma = strrchr(c->typed, ',');
    size_t len = 0;
    snprintf(before, sizeof before, "%.*s", comma != NULL ? (int)(comma + 1 - c->typed) : 0,
             c->typed);
    for (size_t i = 0; i < n->n && len < sizeof all; i++) {
        char one[140 + sizeof before];
        const tw_node_spec *s = &n->v[i];
        const char *is = s->ip[0] != '\0' ? "=" : "";
        snprintf(one, sizeof one, "%s%s%s%s", before, s->name, is, s->ip);
        if (comma != NULL)
            tw_completion_add(c, one, "of twinax.conf");
        len += (size_t)snprintf(all + len, sizeof all - len, "%s%s%s%s", len > 0 ? "," : "",
                                s->name, is, s->ip);
    }
    if (comma == NULL && n->n > 0)
        tw_completion_add(c, all, "of twinax.conf");
    c->nospace = comma != NULL;
}

static void add_nodes(tw_completion *c, enum value_kind kind)
{
    TW_CLEANUP(tw_mem_freep) tw_config_found *f = read_config();
    if (f == NULL)
        return;
    const tw_nodes *n = &f->config.nodes;
    if (kind == KIND_LIST) {
        add_list(c, n);
        return;
    }
    for (size_t i = kind == KIND_NODE ? 0 : 1; i < n->n; i++) {
        char word[80];
        snprintf(word, sizeof word, "%s%s", n->v[i].name, kind == KIND_NODE_IS ? "=" : "");
        tw_completion_add(c, word, n->v[i].ip);
    }
    c->nospace = kind == KIND_NODE_IS;
}

static void add_folder(tw_completion *c, const char *path, const char *what)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' && strcmp(e->d_name, "lo") != 0)
            tw_completion_add(c, e->d_name, what);
    if (dir != NULL)
        closedir(dir);
}

static void add_steps(tw_completion *c)
{
    const char *comma = strrchr(c->typed, ',');
    for (size_t i = 0; tw_setup_step_ids[i] != NULL; i++) {
        char word[256];
        snprintf(word, sizeof word, "%.*s%s", comma != NULL ? (int)(comma + 1 - c->typed) : 0,
                 c->typed, tw_setup_step_ids[i]);
        tw_completion_add(c, word, "a step of setup");
    }
}

static void add_kind(tw_completion *c, enum value_kind kind, const char *what)
{
    static const char *const tps[] = {"1", "2", "4", "8", NULL};
    switch (kind) {
    case KIND_NONE:
        break;
    case KIND_FILE:
        c->files = true;
        break;
    case KIND_MODEL:
        add_models(c);
        c->dirs = true;
        break;
    case KIND_DIR:
        c->dirs = true;
        break;
    case KIND_CACHED:
        add_models(c);
        break;
    case KIND_LIST:
    case KIND_NODE:
    case KIND_NODE_IS:
        add_nodes(c, kind);
        break;
    case KIND_NETDEV:
        add_folder(c, "/sys/class/net", "an interface of this machine");
        break;
    case KIND_RDMA:
        add_folder(c, "/sys/class/infiniband", "a device of this machine");
        break;
    case KIND_TP:
        add_choices(c, tps, what);
        break;
    case KIND_STEPS:
        add_steps(c);
        break;
    }
}

/* --transport here and there is checked as the key of that name. */
static const char *const *choices_of(const tw_option *o)
{
    if (o->choices != NULL)
        return o->choices;
    const tw_config_key *const tables[] = {tw_config_cluster_keys, tw_config_serve_keys};
    for (size_t i = 0; i < TW_ARRAY_LEN(tables) && o->name != NULL; i++)
        for (const tw_config_key *k = tables[i]; k->name != NULL; k++)
            if (k->choices != NULL && strcmp(k->name, o->name) == 0)
                return k->choices;
    return NULL;
}

void tw_complete_option(tw_completion *c, const tw_option *o)
{
    const char *const *choices = choices_of(o);
    const char *what = o->help != NULL ? o->help : "";
    if (choices != NULL) {
        add_choices(c, choices, what);
        return;
    }
    for (size_t i = 0; i < TW_ARRAY_LEN(names) && o->name != NULL; i++)
        if (strcmp(names[i].word, o->name) == 0) {
            add_kind(c, names[i].kind, what);
            return;
        }
    for (size_t i = 0; i < TW_ARRAY_LEN(args); i++)
        if (strcmp(args[i].word, o->arg) == 0)
            add_kind(c, args[i].kind, what);
}

void tw_complete_word(tw_completion *c, const char *line)
{
    if (strncmp(line, "MODEL", 5) == 0 || strncmp(line, "[MODEL]", 7) == 0)
        add_kind(c, KIND_MODEL, "");
    else if (strstr(line, "ORG/NAME") != NULL)
        add_kind(c, KIND_CACHED, "");
    else if (strncmp(line, "FILE", 4) == 0 || strncmp(line, "[FILE", 5) == 0)
        add_kind(c, KIND_FILE, "");
}
