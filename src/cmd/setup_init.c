/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax setup --init`: which machines there are, from flags or by asking; their interfaces and the
 * link between them are found; twinax.conf is shown, then written. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/args.h"
#include "cmd/push.h"
#include "cmd/setup.h"
#include "os/file.h"

/* "NAME" or "NAME/IP" or an address alone, which then names the node too. */
static int add_node(tw_config *c, const char *text, tw_err *err)
{
    char list[256];
    tw_nodes one;
    const char *slash = strchr(text, '/');
    if (c->nodes.n == TW_NODES_MAX)
        return tw_err_set(err, -EINVAL, "more than %d nodes", TW_NODES_MAX);
    if (slash != NULL)
        snprintf(list, sizeof list, "%.*s=%s", (int)TW_MIN(slash - text, 100), text, slash + 1);
    else
        snprintf(list, sizeof list, "%s", text);
    int rc =
        strchr(text, ',') != NULL
            ? tw_err_set(err, -EINVAL, "node '%.60s': one name each; wanted NAME or NAME/IP", text)
            : tw_nodes_parse(list, &one, err);
    for (size_t i = 0; i < c->nodes.n && rc == 0; i++)
        if (strcmp(c->nodes.v[i].name, one.v[0].name) == 0)
            rc = tw_err_set(err, -EINVAL, "node %s is named twice", one.v[0].name);
    if (rc == 0)
        c->nodes.v[c->nodes.n++] = one.v[0];
    return rc;
}

static void own_name(char *out, size_t out_bytes)
{
    if (gethostname(out, out_bytes - 1) != 0 || out[0] == '\0')
        snprintf(out, out_bytes, "head");
    out[out_bytes - 1] = '\0';
    out[strcspn(out, ".")] = '\0';
}

static int ask_nodes(tw_config *c, tw_err *err)
{
    char name[64], text[160], question[160];
    own_name(name, sizeof name);
    snprintf(question, sizeof question, "this machine's name in the cluster [%s]: ", name);
    if (!tw_setup_can_ask())
        return tw_err_set(err, -EINVAL,
                          "which machines? --worker NAME for each other one (its ssh name)");
    int rc = add_node(c, tw_setup_ask(question, text, sizeof text) && text[0] != '\0' ? text : name,
                      err);
    while (rc == 0 && c->nodes.n < TW_NODES_MAX) {
        if (!tw_setup_ask(c->nodes.n == 1 ? "the other machine, by its ssh name: "
                                          : "one more (empty: no more): ",
                          text, sizeof text) ||
            text[0] == '\0')
            break;
        rc = add_node(c, text, err);
    }
    return rc == 0 && c->nodes.n < 2 ? tw_err_set(err, -EINVAL, "no other machine was named") : rc;
}

static int take_nodes(const setup_opts *o, tw_config *c, tw_err *err)
{
    char name[64];
    own_name(name, sizeof name);
    if (o->n_workers == 0)
        return o->head != NULL ? tw_err_set(err, -EINVAL, "--head alone: wanted --worker NAME too")
                               : ask_nodes(c, err);
    int rc = add_node(c, o->head != NULL ? o->head : name, err);
    for (unsigned i = 0; i < o->n_workers && rc == 0; i++)
        rc = add_node(c, o->workers[i], err);
    return rc;
}

/* The interfaces of all nodes, over ssh. */
static int read_nets(const setup_opts *o, const tw_config *c, tw_net *nets, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < c->nodes.n && rc == 0; i++) {
        TW_CLEANUP(tw_remote_closep) tw_remote *n = NULL;
        fprintf(stderr, "%s: asks what it has ...\n", c->nodes.v[i].name);
        const char *ssh = i == 0 ? "local" : c->nodes.v[i].ssh;
        const tw_push_face *push = i == 0 ? NULL : tw_push_face_of(o->push);
        rc = tw_remote_start(ssh, i == 0 ? NULL : o->agent_path, &n, err);
        if (rc == 0)
            rc = tw_remote_push_greet(push, n, err);
        rc = tw_remote_push_mend(push, c->nodes.v[i].name, ssh, rc, &n, err);
        if (rc == 0)
            rc = tw_remote_facts(n, &nets[i], err);
    }
    return rc;
}

static bool same_interface(const tw_setup_want *w)
{
    for (size_t i = 1; i < w->n; i++)
        if (strcmp(w->nodes[i].interface, w->nodes[0].interface) != 0)
            return false;
    return w->nodes[0].interface[0] != '\0';
}

/* What was found goes into the configuration; what is the same everywhere stands once. */
static void fill(const setup_opts *o, const tw_setup_want *w, tw_config *c)
{
    const bool same = same_interface(w);
    for (size_t i = 0; i < c->nodes.n; i++) {
        tw_node_spec *s = &c->nodes.v[i];
        snprintf(s->ip, sizeof s->ip, "%s", w->nodes[i].ip);
        if (!same)
            snprintf(s->interface, sizeof s->interface, "%s", w->nodes[i].interface);
        if (o->agent_path != NULL && i > 0)
            snprintf(s->agent_path, sizeof s->agent_path, "%s", o->agent_path);
    }
    if (same)
        snprintf(c->interface, sizeof c->interface, "%s", w->nodes[0].interface);
    snprintf(c->transport, sizeof c->transport, "%s", o->transport != NULL ? o->transport : "auto");
}

static int find_link(const setup_opts *o, tw_config *c, tw_setup_want *w, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_net *nets = tw_mem_calloc(TW_NODES_MAX, sizeof *nets);
    const tw_net *all[TW_NODES_MAX];
    if (nets == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts");
    int rc = read_nets(o, c, nets, err);
    *w = (tw_setup_want){.n = c->nodes.n};
    for (size_t i = 0; i < w->n; i++) {
        all[i] = &nets[i];
        snprintf(w->nodes[i].name, sizeof w->nodes[i].name, "%s", c->nodes.v[i].name);
        snprintf(w->nodes[i].ip, sizeof w->nodes[i].ip, "%s", c->nodes.v[i].ip);
        if (o->interface != NULL)
            snprintf(w->nodes[i].interface, sizeof w->nodes[i].interface, "%s", o->interface);
    }
    return rc != 0
               ? rc
               : tw_setup_want_complete(w, o->transport != NULL ? o->transport : "auto", all, err);
}

static void show(const tw_setup_want *w, const char *path, const tw_buf *text)
{
    printf("the nodes are joined by: %s\n", tw_setup_link_name(w->link));
    for (size_t i = 0; i < w->n; i++)
        printf("  %-16s %-16s %s%s\n", w->nodes[i].name, w->nodes[i].interface, w->nodes[i].ip,
               i == 0 ? "   (this machine, the head)" : "");
    if ((w->n & (w->n - 1)) != 0)
        printf("note: a model is split over 1, 2, 4 or 8 nodes: with %zu, a TP=2 model uses %s and "
               "%s; the others are spare\n",
               w->n, w->nodes[0].name, w->nodes[1].name);
    printf("%s:\n\n%s\n", path, text->data);
    fflush(stdout);
}

/* Those of path's folders that are not there: ~/.config/twinax on a fresh machine. */
static int make_folders(const char *path, tw_err *err)
{
    char part[512];
    if (strlen(path) >= sizeof part)
        return tw_err_set(err, -ENAMETOOLONG, "%.100s...: too long a path", path);
    for (size_t i = 1; path[i] != '\0'; i++) {
        if (path[i] != '/')
            continue;
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (mkdir(part, 0755) != 0 && errno != EEXIST && errno != EISDIR)
            return tw_err_set(err, -errno, "%s: cannot be made: %s", part, strerror(errno));
    }
    return 0;
}

static int write_new(const setup_opts *o, const char *path, const tw_buf *text, tw_err *err)
{
    if (tw_file_exists(path) && !o->force)
        return tw_err_set(err, -EEXIST, "%s is there already: --force writes it anew", path);
    if (!o->yes && !tw_setup_can_ask())
        return tw_err_set(err, -EINVAL, "no terminal to ask whether to write it: --yes");
    if (!o->yes && !tw_setup_consents("write it? (yes): "))
        return tw_err_set(err, -ECANCELED, "nothing was written");
    (void)umask(022); /* one that others may write is ignored later */
    int rc = make_folders(path, err);
    if (rc == 0)
        rc = tw_file_write(path, text->data, text->len, err);
    if (rc == 0)
        printf("written: %s. Next: twinax setup --dry-run\n", path);
    return rc;
}

int tw_setup_init(const setup_opts *o, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_config *c = tw_mem_calloc(1, sizeof *c);
    TW_CLEANUP(tw_mem_freep) tw_setup_want *w = tw_mem_calloc(1, sizeof *w);
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TW_CONFIG_MAX_BYTES);
    const char *path = o->output != NULL ? o->output : "twinax.conf";
    if (c == NULL || w == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a configuration");
    if (tw_file_exists(path) && !o->force && !o->dry_run)
        return tw_err_set(err, -EEXIST, "%s is there already: --force writes it anew", path);
    int rc = take_nodes(o, c, err);
    if (rc == 0)
        rc = find_link(o, c, w, err);
    if (rc == 0) {
        fill(o, w, c);
        rc = tw_config_write(c, &text, err);
    }
    if (rc != 0)
        return rc;
    show(w, path, &text);
    return o->dry_run ? 0 : write_new(o, path, &text, err);
}
