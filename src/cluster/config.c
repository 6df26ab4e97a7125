/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "cluster/ssh.h"

enum { SECTIONS_MAX = 16, SECTION_NAME_MAX = 48, WORD_MAX = 24, LIST_MAX = 2048 };

/* ---- values ---- */

static int parse_ip(const char *node, const char *text, tw_node_spec *ret, tw_err *err)
{
    struct in6_addr six;
    struct in_addr four;
    if (strlen(text) >= sizeof ret->ip ||
        (inet_pton(AF_INET, text, &four) != 1 && inet_pton(AF_INET6, text, &six) != 1))
        return tw_err_set(err, -EINVAL, "node %s: '%.60s' is no IP address; wanted %.20s", node,
                          text, "say 192.168.100.2");
    if (strncasecmp(text, "fe80:", 5) == 0)
        return tw_err_set(err, -EINVAL,
                          "node %s: %s is link-local, which is not known the same on both ends: "
                          "give the interface an address of its own",
                          node, text);
    if (strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0)
        return tw_err_set(err, -EINVAL,
                          "node %s: %s is every address; wanted the one of the cable's interface",
                          node, text);
    snprintf(ret->ip, sizeof ret->ip, "%s", text);
    return 0;
}

static int copy_text(const char *what, const char *from, char *out, size_t out_bytes, tw_err *err)
{
    if (*from == '\0' || strlen(from) >= out_bytes)
        return tw_err_set(err, -EINVAL, "%s: wanted 1 to %zu characters", what, out_bytes - 1);
    snprintf(out, out_bytes, "%s", from);
    return 0;
}

static int parse_name(const char *text, tw_node_spec *ret, tw_err *err)
{
    int rc = tw_ssh_name_check(text, err);
    if (rc == 0)
        rc = copy_text("a node's name", text, ret->name, sizeof ret->name, err);
    if (rc == 0)
        snprintf(ret->ssh, sizeof ret->ssh, "%s", text);
    return rc;
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t n = strlen(text);
    while (n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL)
        text[--n] = '\0';
    return text;
}

static int parse_entry(char *text, tw_nodes *ret, tw_err *err)
{
    if (ret->n == TW_NODES_MAX)
        return tw_err_set(err, -EINVAL, "nodes: more than %d", TW_NODES_MAX);
    tw_node_spec *s = &ret->v[ret->n];
    *s = (tw_node_spec){0};
    char *ip = strchr(text, '=');
    if (ip != NULL)
        *ip++ = '\0';
    int rc = parse_name(trim(text), s, err);
    if (rc == 0 && ip != NULL)
        rc = parse_ip(s->name, trim(ip), s, err);
    for (size_t i = 0; rc == 0 && i < ret->n; i++)
        if (strcmp(ret->v[i].name, s->name) == 0 && strcmp(s->name, "local") != 0)
            rc = tw_err_set(err, -EINVAL, "nodes: %s is named twice", s->name);
    ret->n += rc == 0;
    return rc;
}

int tw_nodes_parse(const char *list, tw_nodes *ret, tw_err *err)
{
    char text[LIST_MAX], *at = text;
    TW_CLEANUP(tw_mem_freep) tw_nodes *n = tw_mem_calloc(1, sizeof *n);
    if (n == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the nodes");
    if (strlen(list) >= sizeof text)
        return tw_err_set(err, -EINVAL, "nodes: a list of more than %d characters", LIST_MAX - 1);
    snprintf(text, sizeof text, "%s", list);
    while (at != NULL) {
        int rc = parse_entry(strsep(&at, ","), n, err);
        if (rc != 0)
            return rc;
    }
    *ret = *n;
    return 0;
}

/* ---- the file ---- */

typedef struct conf_reader {
    const char *name, *p;
    size_t n, at;
    int line;
    char list[256];
    bool has_cluster_nodes;
    int n_sections;
    struct {
        tw_node_spec spec;
        bool seen[4]; /* of its keys */
    } sections[SECTIONS_MAX];
    int err_line;
    tw_err err; /* the first one; code 0: none */
} conf_reader;

static int refuse(conf_reader *r, const char *text)
{
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

static const char *const node_keys[] = {"ssh", "ip", "threads", "agent_path", NULL};
static const char *const cluster_keys[] = {"nodes", NULL};
static const char *const section_names[] = {"cluster", "node.NAME", NULL};

static int refuse_unknown(conf_reader *r, const char *what, const char *word,
                          const char *const *known)
{
    char text[200], shown[WORD_MAX + 4];
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

static int take_cluster(conf_reader *r, const char *key, const char *value)
{
    if (strcmp(key, "nodes") != 0)
        return refuse_unknown(r, "key", key, cluster_keys);
    if (r->has_cluster_nodes)
        return refuse(r, "'nodes' is given twice");
    r->has_cluster_nodes = true;
    snprintf(r->list, sizeof r->list, "%s", value);
    tw_nodes ignored; /* checked where its line is known */
    tw_err why;
    return tw_nodes_parse(value, &ignored, &why) == 0 ? 1 : refuse(r, why.msg);
}

/* The section's place, made when it is new; NULL: no more room. */
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
    if (parse_name(name, &r->sections[r->n_sections].spec, &why) != 0) {
        refuse(r, why.msg);
        return -1;
    }
    return r->n_sections++;
}

static int set_node(tw_node_spec *s, const char *key, const char *value, tw_err *err)
{
    uint64_t v = 0;
    if (strcmp(key, "ip") == 0)
        return parse_ip(s->name, value, s, err);
    if (strcmp(key, "agent_path") == 0)
        return copy_text("agent_path", value, s->agent_path, sizeof s->agent_path, err);
    if (strcmp(key, "ssh") == 0) {
        int rc = tw_ssh_name_check(value, err);
        return rc != 0 ? rc : copy_text("ssh", value, s->ssh, sizeof s->ssh, err);
    }
    if (tw_str_to_u64(value, &v) != 0 || v < 1 || v > 1024)
        return tw_err_set(err, -EINVAL, "threads '%.20s': wanted a number from 1 to 1024", value);
    s->threads = (unsigned)v;
    return 0;
}

static int take_node(conf_reader *r, const char *node, const char *key, const char *value)
{
    tw_err why;
    int i_key = 0, i = find_section(r, node);
    if (i < 0)
        return 0;
    while (node_keys[i_key] != NULL && strcmp(node_keys[i_key], key) != 0)
        i_key++;
    if (node_keys[i_key] == NULL)
        return refuse_unknown(r, "key", key, node_keys);
    if (r->sections[i].seen[i_key])
        return refuse(r, "this key is given twice for the node");
    r->sections[i].seen[i_key] = true;
    return set_node(&r->sections[i].spec, key, value, &why) == 0 ? 1 : refuse(r, why.msg);
}

static int take_pair(void *ctx, const char *section, const char *key, const char *value)
{
    conf_reader *r = ctx;
    if (r->err.code != 0)
        return 0;
    if (key == NULL || value == NULL) /* some builds of inih announce sections */
        return 1;
    if (strcmp(section, "cluster") == 0)
        return take_cluster(r, key, value);
    if (strncmp(section, "node.", 5) == 0)
        return take_node(r, section + 5, key, value);
    if (section[0] == '\0')
        return refuse(r, "a key before any section; wanted [cluster] first");
    return refuse_unknown(r, "section", section, section_names);
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
    if (memchr(begin, '\0', n) != NULL)
        refuse(r, "a zero byte: this is no text");
    else if (n + 3 > (size_t)out_bytes)
        refuse(r, "a longer line than can be read (196 characters)");
    else if (n > SECTION_NAME_MAX && *begin == '[' && memchr(begin, ']', SECTION_NAME_MAX) == NULL)
        refuse(r, "a section's name of more than 46 characters");
    if (r->err.code != 0)
        return NULL;
    memcpy(out, begin, n);
    memcpy(out + n, "\n", 2);
    return out;
}

static void merge(conf_reader *r, tw_nodes *n)
{
    for (size_t i = 0; i < n->n; i++)
        for (int k = 0; k < r->n_sections; k++) {
            tw_node_spec *s = &r->sections[k].spec;
            if (strcmp(s->name, n->v[i].name) != 0)
                continue;
            if (s->ip[0] == '\0')
                memcpy(s->ip, n->v[i].ip, sizeof s->ip);
            n->v[i] = *s;
        }
}

int tw_config_parse(const char *name, const char *p, size_t n, tw_nodes *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) conf_reader *r = tw_mem_calloc(1, sizeof *r);
    TW_CLEANUP(tw_mem_freep) tw_nodes *nodes = tw_mem_calloc(1, sizeof *nodes);
    if (r == NULL || nodes == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory for it", name);
    if (n > TW_CONFIG_MAX_BYTES)
        return tw_err_set(err, -E2BIG, "%s: more than %d bytes", name, TW_CONFIG_MAX_BYTES);
    r->name = name;
    r->p = p;
    r->n = n;
    int line = ini_parse_stream(read_line, r, take_pair, r);
    /* inih goes on after a line that it does not know; its own error may be the earlier one. */
    if (line != 0 && (r->err.code == 0 || (line > 0 && line < r->err_line)))
        tw_err_set(&r->err, line < 0 ? -ENOMEM : -EINVAL,
                   "%s:%d: neither [section] nor key = value", name, line);
    if (r->err.code != 0) {
        *err = r->err;
        return err->code;
    }
    if (r->has_cluster_nodes) {
        int rc = tw_nodes_parse(r->list, nodes, err);
        if (rc != 0)
            return rc;
        merge(r, nodes);
    }
    *ret = *nodes;
    return 0;
}
