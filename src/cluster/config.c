/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "cluster/config_keys.h"

enum { SECTIONS_MAX = 16, SECTION_NAME_MAX = 48, WORD_MAX = 24 };

typedef struct conf_reader {
    const char *name, *p;
    size_t n, at;
    int line;
    char list[256];
    tw_config config;
    int seen_cluster[TW_CONFIG_KEYS_MAX], seen_serve[TW_CONFIG_KEYS_MAX]; /* lines; 0: not yet */
    int n_sections;
    struct {
        tw_node_spec spec;
        int seen[TW_CONFIG_KEYS_MAX];
    } sections[SECTIONS_MAX];
    int err_line;
    tw_err err;             /* the first one; code 0: none */
    tw_config_trace *trace; /* not NULL: what is wrong is noted there, and the rest is read */
} conf_reader;

static int note_bad(conf_reader *r, int line, const char *text)
{
    tw_config_trace *t = r->trace;
    if (t->n_bad < TW_CONFIG_BAD_MAX) {
        t->bad[t->n_bad].line = line;
        snprintf(t->bad[t->n_bad].text, sizeof t->bad[0].text, "%s", text);
    }
    t->n_bad++;
    return 1;
}

static int refuse(conf_reader *r, const char *text)
{
    if (r->trace != NULL)
        return note_bad(r, r->line, text);
    if (r->err.code == 0) {
        tw_err_set(&r->err, -EINVAL, "%s:%d: %s", r->name, r->line, text);
        r->err_line = r->line;
    }
    return 0; /* inih's way to say no */
}

/* Printable ASCII, short: names go into messages. */
static void show(const char *from, char out[WORD_MAX + 4])
{
    size_t n = 0;
    for (; from[n] != '\0' && n < WORD_MAX; n++)
        out[n] = isprint((unsigned char)from[n]) ? from[n] : '?';
    snprintf(out + n, 4, "%s", from[n] != '\0' ? "..." : "");
}

static int refuse_unknown(conf_reader *r, const char *what, const char *word,
                          const char *const *known)
{
    char text[220], shown[WORD_MAX + 4];
    const char *best = known[0];
    show(word, shown);
    size_t n = (size_t)snprintf(text, sizeof text, "unknown %s '%s'; ", what, shown);
    for (size_t i = 0; known[i] != NULL; i++)
        if (tw_str_distance(word, known[i]) < tw_str_distance(word, best))
            best = known[i];
    if (tw_str_distance(word, best) <= 2) {
        snprintf(text + n, sizeof text - n, "did you mean '%s'?", best);
        return refuse(r, text);
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "there are:");
    for (size_t i = 0; known[i] != NULL && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, " %s", known[i]);
    return refuse(r, text);
}

static int refuse_key(conf_reader *r, const tw_config_key *keys, const char *word)
{
    const char *known[TW_CONFIG_KEYS_MAX + 1];
    size_t n = 0;
    for (; keys[n].name != NULL && n < TW_CONFIG_KEYS_MAX; n++)
        known[n] = keys[n].name;
    known[n] = NULL;
    return refuse_unknown(r, "key", word, known);
}

static int take_list(conf_reader *r, const char *value)
{
    tw_err why;
    snprintf(r->list, sizeof r->list, "%s", value);
    return tw_nodes_parse_list(value, &r->config.nodes, &why) == 0 ? 1 : refuse(r, why.msg);
}

/* One key of a section. A value that begins with ';' would be written as a comment. */
static int take_key(conf_reader *r, const tw_config_key *keys, int *seen, const char *owner,
                    void *base, const char *const pair[2])
{
    size_t i = 0;
    char text[80];
    tw_err why;
    while (keys[i].name != NULL && strcmp(keys[i].name, pair[0]) != 0)
        i++;
    if (keys[i].name == NULL)
        return refuse_key(r, keys, pair[0]);
    snprintf(text, sizeof text, "'%s' is given twice", keys[i].name);
    if (seen[i] != 0)
        return refuse(r, text);
    seen[i] = r->line;
    if (pair[1][0] == ';')
        return refuse(r, "a value that begins with ';'");
    if (keys[i].type == TW_CONFIG_LIST)
        return take_list(r, pair[1]);
    return tw_config_key_set(&keys[i], owner, pair[1], base, &why) == 0 ? 1 : refuse(r, why.msg);
}

/* The section's place, made when it is new; -1: refused. */
static int find_section(conf_reader *r, const char *name)
{
    for (int i = 0; i < r->n_sections; i++)
        if (strcmp(r->sections[i].spec.name, name) == 0)
            return i;
    tw_err why;
    if (r->n_sections == SECTIONS_MAX) {
        refuse(r, "too many sections");
        return -1;
    }
    if (tw_node_name_set(name, &r->sections[r->n_sections].spec, &why) != 0) {
        refuse(r, why.msg);
        return -1;
    }
    return r->n_sections++;
}

static int take_node(conf_reader *r, const char *node, const char *const pair[2])
{
    char owner[80];
    const int i = find_section(r, node);
    snprintf(owner, sizeof owner, "node %s", node);
    return i < 0 ? r->trace != NULL
                 : take_key(r, tw_config_node_keys, r->sections[i].seen, owner,
                            &r->sections[i].spec, pair);
}

static int take_pair(void *ctx, const char *section, const char *key, const char *value)
{
    static const char *const sections[] = {"cluster", "node.NAME", "serve", NULL};
    conf_reader *r = ctx;
    if (r->err.code != 0)
        return 0;
    if (key == NULL || value == NULL) /* some builds of inih announce sections */
        return 1;
    const char *const pair[2] = {key, value};
    if (strcmp(section, "cluster") == 0)
        return take_key(r, tw_config_cluster_keys, r->seen_cluster, "cluster", &r->config, pair);
    if (strcmp(section, "serve") == 0)
        return take_key(r, tw_config_serve_keys, r->seen_serve, "serve", &r->config.serve, pair);
    if (strncmp(section, "node.", 5) == 0)
        return take_node(r, section + 5, pair);
    if (section[0] == '\0')
        return refuse(r, "a key before any section; wanted [cluster] first");
    return refuse_unknown(r, "section", section, sections);
}

/* inih cuts long lines and long section names silently, and reads indented ones as continued
 * values: neither gets so far. */
static char *read_line(char *out, int out_bytes, void *ctx)
{
    conf_reader *r = ctx;
    if (r->at >= r->n || r->err.code != 0)
        return NULL;
    const char *begin = r->p + r->at, *end = memchr(begin, '\n', r->n - r->at);
    size_t n = end != NULL ? (size_t)(end - begin) : r->n - r->at;
    r->at += n + (end != NULL);
    r->line++;
    for (; n > 0 && (*begin == ' ' || *begin == '\t'); n--)
        begin++;
    const bool fits = n + 3 <= (size_t)out_bytes;
    if (memchr(begin, '\0', n) != NULL)
        refuse(r, "a zero byte: this is no text");
    else if (!fits)
        refuse(r, "a longer line than can be read (196 characters)");
    else if (n > SECTION_NAME_MAX && *begin == '[' && memchr(begin, ']', SECTION_NAME_MAX) == NULL)
        refuse(r, "a section's name of more than 46 characters");
    if (r->err.code != 0)
        return NULL;
    n = fits ? n : 0; /* noted already */
    memcpy(out, begin, n);
    memcpy(out + n, "\n", 2);
    return out;
}

/* A section's own address wins over the list's. */
static void merge(const conf_reader *r, tw_nodes *n)
{
    char ip[sizeof n->v[0].ip];
    for (size_t i = 0; i < n->n; i++)
        for (int k = 0; k < r->n_sections; k++) {
            const tw_node_spec *s = &r->sections[k].spec;
            if (strcmp(s->name, n->v[i].name) != 0)
                continue;
            memcpy(ip, n->v[i].ip, sizeof ip);
            n->v[i] = *s;
            if (s->ip[0] == '\0')
                memcpy(n->v[i].ip, ip, sizeof ip);
            if (r->trace != NULL)
                memcpy(r->trace->nodes[i], r->sections[k].seen, sizeof r->trace->nodes[i]);
        }
}

/* What the file as a whole does not allow. */
static void refuse_all(conf_reader *r, const char *name, const tw_err *why)
{
    if (r->trace != NULL)
        note_bad(r, 0, why->msg);
    else
        tw_err_set(&r->err, why->code, "%s: %s", name, why->msg);
}

static void refuse_line(conf_reader *r, const char *name, int line)
{
    static const char text[] = "neither [section] nor key = value";
    if (r->trace != NULL && line > 0)
        note_bad(r, line, text);
    /* inih goes on after a line that it does not know; its own error may be the earlier one. */
    else if (r->err.code == 0 || (line > 0 && line < r->err_line))
        tw_err_set(&r->err, line < 0 ? -ENOMEM : -EINVAL, "%s:%d: %s", name, line, text);
}

static void tell_lines(const conf_reader *r)
{
    memcpy(r->trace->cluster, r->seen_cluster, sizeof r->seen_cluster);
    memcpy(r->trace->serve, r->seen_serve, sizeof r->seen_serve);
}

int tw_config_parse_traced(const char *name, const char *p, size_t n, tw_config *ret,
                           tw_config_trace *trace, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) conf_reader *r = tw_mem_calloc(1, sizeof *r);
    if (r == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory for it", name);
    if (n > TW_CONFIG_MAX_BYTES)
        return tw_err_set(err, -E2BIG, "%s: more than %d bytes", name, TW_CONFIG_MAX_BYTES);
    r->name = name;
    r->p = p;
    r->n = n;
    r->trace = trace;
    if (trace != NULL)
        *trace = (tw_config_trace){.n_bad = 0};
    int line = ini_parse_stream(read_line, r, take_pair, r);
    if (line != 0)
        refuse_line(r, name, line);
    tw_err why = {0};
    if (r->err.code == 0) {
        merge(r, &r->config.nodes);
        if (tw_nodes_set_zones(&r->config.nodes, r->config.interface, &why) != 0)
            refuse_all(r, name, &why);
    }
    if (trace != NULL)
        tell_lines(r);
    if (r->err.code != 0) {
        *err = r->err;
        return err->code;
    }
    *ret = r->config;
    return 0;
}

int tw_config_parse(const char *name, const char *p, size_t n, tw_config *ret, tw_err *err)
{
    return tw_config_parse_traced(name, p, n, ret, NULL, err);
}
