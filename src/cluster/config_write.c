/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration as a file that reads back as the same. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "cluster/config_keys.h"

enum { LINE_BYTES_MAX = 196, SECTION_BYTES_MAX = 48, VALUE_BYTES = 256 };

/* What the reader would cut off, continue or take for a comment. */
static int check_value(const char *key, const char *value, tw_err *err)
{
    const size_t n = strlen(value);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f ||
            (value[i] == ';' && (i == 0 || value[i - 1] == ' ')))
            return tw_err_set(err, -EINVAL, "%s '%.60s': no file can say this ('%c')", key, value,
                              value[i] == ';' ? ';' : '?');
    if (n > 0 && (value[0] == ' ' || value[n - 1] == ' '))
        return tw_err_set(err, -EINVAL, "%s '%.60s': spaces around it", key, value);
    return 0;
}

static int put_pair(const char *key, const char *value, tw_buf *out, tw_err *err)
{
    int rc = check_value(key, value, err);
    if (rc != 0)
        return rc;
    if (strlen(key) + strlen(value) + 3 > LINE_BYTES_MAX)
        return tw_err_set(err, -E2BIG, "%s: a line of more than %d characters is not read", key,
                          LINE_BYTES_MAX);
    rc = tw_buf_printf(out, "%s = %s\n", key, value);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: the file grows too long", key);
}

static int put_key(const tw_config_key *k, const void *base, bool with_help, tw_buf *out,
                   tw_err *err)
{
    char value[VALUE_BYTES];
    if (!tw_config_key_print(k, base, value, sizeof value))
        return 0;
    if (with_help && tw_buf_printf(out, "; %s%s%s\n", k->help, k->def != NULL ? "; default: " : "",
                                   k->def != NULL ? k->def : "") != 0)
        return tw_err_set(err, -E2BIG, "the file grows too long");
    return put_pair(k->name, value, out, err);
}

/* `local` may be there twice, with one section for both. */
static bool is_first(const tw_nodes *n, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(n->v[k].name, n->v[i].name) == 0)
            return false;
    return true;
}

static bool has_other_ip(const tw_nodes *n, size_t i)
{
    for (size_t k = 0; k < n->n; k++)
        if (strcmp(n->v[k].name, n->v[i].name) == 0 && strcmp(n->v[k].ip, n->v[i].ip) != 0)
            return true;
    return false;
}

static int put_list(const tw_nodes *n, tw_buf *out, tw_err *err)
{
    char value[2 * TW_NODES_MAX * sizeof n->v[0].name] = "";
    size_t len = 0;
    for (size_t i = 0; i < n->n; i++) {
        const tw_node_spec *s = &n->v[i];
        const bool ip = s->ip[0] != '\0' && has_other_ip(n, i);
        len += (size_t)snprintf(value + len, sizeof value - len, "%s%s%s%s", i > 0 ? "," : "",
                                s->name, ip ? "=" : "", ip ? s->ip : "");
    }
    if (n->n == 0)
        return 0;
    if (tw_buf_printf(out, "; %s\n", tw_config_cluster_keys[0].help) != 0)
        return tw_err_set(err, -E2BIG, "the file grows too long");
    return put_pair("nodes", value, out, err);
}

/* said: which keys were explained already. */
static int put_node(const tw_nodes *n, size_t i, bool *said, tw_buf *out, tw_err *err)
{
    tw_node_spec s = n->v[i], checked;
    tw_err why;
    char section[96];
    if (tw_node_name_set(s.name, &checked, &why) != 0)
        return tw_err_set(err, -EINVAL, "%s", why.msg);
    if (strcmp(s.ssh, s.name) == 0)
        s.ssh[0] = '\0';
    if (has_other_ip(n, i))
        s.ip[0] = '\0'; /* in the list */
    snprintf(section, sizeof section, "\n[node.%s]\n", s.name);
    size_t before = out->len;
    int rc = tw_buf_puts(out, section) == 0 ? 0 : tw_err_set(err, -E2BIG, "the file is too long");
    const size_t empty = out->len;
    const tw_config_key *keys = tw_config_node_keys;
    for (size_t k = 0; keys[k].name != NULL && rc == 0; k++) {
        const size_t had = out->len;
        rc = put_key(&keys[k], &s, !said[k], out, err);
        said[k] = said[k] || out->len > had;
    }
    if (rc != 0)
        return rc;
    if (out->len == empty) { /* nothing to say about it */
        out->len = before;
        out->data[before] = '\0';
    } else if (strlen(section) - 2 > SECTION_BYTES_MAX) {
        return tw_err_set(err, -E2BIG, "node %.60s: a longer name than a section may have", s.name);
    }
    return 0;
}

static int put_serve(const tw_serve_spec *s, tw_buf *out, tw_err *err)
{
    char value[VALUE_BYTES];
    bool any = false;
    for (const tw_config_key *k = tw_config_serve_keys; k->name != NULL; k++)
        any = any || tw_config_key_print(k, s, value, sizeof value);
    int rc = any ? tw_buf_puts(out, "\n[serve]\n") : 0;
    if (rc != 0)
        return tw_err_set(err, rc, "the file is too long");
    for (const tw_config_key *k = tw_config_serve_keys; k->name != NULL && rc == 0; k++)
        rc = put_key(k, s, true, out, err);
    return rc;
}

int tw_config_write(const tw_config *c, tw_buf *out, tw_err *err)
{
    bool said[TW_CONFIG_KEYS_MAX] = {false};
    int rc = tw_buf_puts(out, "; twinax.conf: which machines, what they serve.\n[cluster]\n");
    if (rc != 0)
        return tw_err_set(err, rc, "no memory for the file");
    rc = put_list(&c->nodes, out, err);
    for (const tw_config_key *k = tw_config_cluster_keys; k->name != NULL && rc == 0; k++)
        rc = put_key(k, c, true, out, err);
    for (size_t i = 0; i < c->nodes.n && rc == 0; i++)
        rc = is_first(&c->nodes, i) ? put_node(&c->nodes, i, said, out, err) : 0;
    if (rc == 0)
        rc = put_serve(&c->serve, out, err);
    return rc;
}
