/* SPDX-License-Identifier: Apache-2.0 */
/* ssh between the nodes, both ways and without a password: a key where there is none, the others'
 * keys in authorized_keys, their hosts in known_hosts. A key that is yet to be made stands in the
 * text as @key:NAME@; the head puts it in before the step is done. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "host/setup_plan.h"

enum { TEXT_MAX = 256 * 1024 };

static void home_path(const tw_setup_maker *m, const char *name, char out[384])
{
    snprintf(out, 384, "%s/.ssh/%s", m->s->home, name);
}

/* The line, or at least its key (the second word, where the comment may differ), is there. */
static bool has_key(const char *text, const char *line)
{
    char key[TW_SETUP_KEY_BYTES];
    const char *begin = strchr(line, ' ');
    if (text == NULL || begin == NULL)
        return false;
    snprintf(key, sizeof key, "%.*s", (int)strcspn(begin + 1, " \n"), begin + 1);
    return strstr(text, key) != NULL;
}

static bool has_line(const char *text, const char *line)
{
    size_t n = strlen(line);
    for (const char *at = text; at != NULL && *at != '\0';) {
        size_t len = strcspn(at, "\n");
        if (len == n && memcmp(at, line, n) == 0)
            return true;
        at += len + (at[len] == '\n');
    }
    return false;
}

static void plan_key(tw_setup_maker *m)
{
    char path[384], public[384], comment[160];
    const tw_setup_node *self = &m->w->nodes[m->w->self];
    if (self->key[0] != '\0')
        return;
    home_path(m, "id_ed25519", path);
    home_path(m, "id_ed25519.pub", public);
    snprintf(comment, sizeof comment, "%s@%s", m->s->user, self->name);
    tw_setup_begin(m, "ssh-key", m->s->as_root ? TW_SETUP_ROOT : 0, "an ssh key",
                   "%s has no ssh key on this node, so it cannot reach the others without a "
                   "password.",
                   m->s->user);
    if (m->s->as_root && m->s->uid != 0)
        tw_setup_cmd(m, "runuser", "-u", m->s->user, "--", "ssh-keygen", "-q", "-t", "ed25519",
                     "-N", "", "-C", comment, "-f", path, NULL);
    else
        tw_setup_cmd(m, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path,
                     NULL);
    tw_setup_touch(m, path);
    tw_setup_touch(m, public);
}

/* Appends line, on a line of its own. */
static int add_line(tw_buf *out, const char *line)
{
    const bool open = out->len > 0 && out->data[out->len - 1] != '\n';
    return tw_buf_printf(out, "%s%s\n", open ? "\n" : "", line);
}

static int keys_of_others(const tw_setup_maker *m, const char *text, tw_buf *out, unsigned *ret_n)
{
    int rc = tw_buf_puts(out, text != NULL ? text : "");
    for (size_t i = 0; i < m->w->n && rc == 0; i++) {
        const tw_setup_node *n = &m->w->nodes[i];
        char later[96];
        snprintf(later, sizeof later, "@key:%s@", n->name);
        if (i == m->w->self || (n->key[0] != '\0' ? has_key(text, n->key) : has_line(text, later)))
            continue;
        rc = add_line(out, n->key[0] != '\0' ? n->key : later);
        ++*ret_n;
    }
    return rc;
}

static int hosts_of_others(const tw_setup_maker *m, const char *text, tw_buf *out, unsigned *ret_n)
{
    int rc = tw_buf_puts(out, text != NULL ? text : "");
    for (size_t i = 0; i < m->w->n && rc == 0; i++) {
        const tw_setup_node *n = &m->w->nodes[i];
        char line[TW_SETUP_KEY_BYTES + 160];
        if (i == m->w->self || n->host_key[0] == '\0')
            continue;
        /* Type and key only: sshd's file has a comment behind them. */
        const char *space = strchr(n->host_key, ' ');
        size_t len = (size_t)(space - n->host_key) + 1 + strcspn(space + 1, " \n");
        snprintf(line, sizeof line, "%s%s%s %.*s", n->name, n->ip[0] != '\0' ? "," : "", n->ip,
                 (int)len, n->host_key);
        if (has_line(text, line))
            continue;
        rc = add_line(out, line);
        ++*ret_n;
    }
    return rc;
}

void tw_setup_plan_ssh(tw_setup_maker *m)
{
    char keys[384], hosts[384];
    unsigned n_keys = 0, n_hosts = 0;
    TW_CLEANUP(tw_buf_done) tw_buf key_text = TW_BUF(TEXT_MAX), host_text = TW_BUF(TEXT_MAX);
    if (m->w->n < 2)
        return;
    home_path(m, "authorized_keys", keys);
    if (tw_setup_is_unseen(m, "ssh-trust", keys))
        return;
    home_path(m, "known_hosts", hosts);
    const char *old_keys = tw_setup_seen_file(m->s, keys, NULL);
    const char *old_hosts = tw_setup_seen_file(m->s, hosts, NULL);
    if (keys_of_others(m, old_keys, &key_text, &n_keys) != 0 ||
        hosts_of_others(m, old_hosts, &host_text, &n_hosts) != 0) {
        m->failed = true;
        return;
    }
    plan_key(m);
    if (n_keys + n_hosts == 0)
        return;
    tw_setup_begin(m, "ssh-trust", m->s->as_root ? TW_SETUP_ROOT : 0, "ssh both ways",
                   "the other nodes' keys are let in (authorized_keys) and their hosts are known "
                   "(known_hosts): Ray, the mirror of models and `up` use ssh in both directions.");
    if (n_keys > 0)
        tw_setup_file(m, keys, 0600, key_text.data, m->s->user);
    if (n_hosts > 0)
        tw_setup_file(m, hosts, 0600, host_text.data, m->s->user);
}
