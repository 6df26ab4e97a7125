/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax toolbox enter`: becomes toolbox's or distrobox's own `enter`, here or by ssh on a node. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/ssh.h"
#include "cmd/commands.h"
#include "cmd/toolbox.h"
#include "host/setup_plan.h"

enum { WORDS_MAX = 120, TEXT_MAX = 64 * 1024 };

/* The words of toolbox or distrobox; NULL: err says why. */
static json_t *inner_words(const tw_toolbox_box *b, const tw_toolbox_look *l, int argc, char **argv,
                           tw_err *err)
{
    const bool distrobox =
        strcmp(b->made_by, "distrobox") == 0 || (b->made_by[0] == '\0' && l->toolbox[0] == '\0');
    json_t *v = distrobox  ? json_pack("[s, s, s, s]", "distrobox", "enter", "--name", b->name)
                : argc > 0 ? json_pack("[s, s, s, s]", "toolbox", "run", "--container", b->name)
                           : json_pack("[s, s, s]", "toolbox", "enter", b->name);
    if (distrobox && argc > 0 && isatty(STDIN_FILENO) == 0)
        json_array_append_new(v, json_string("--no-tty"));
    if (distrobox && argc > 0)
        json_array_append_new(v, json_string("--"));
    for (int i = 0; i < argc; i++)
        if (json_array_append_new(v, json_string(argv[i])) != 0) {
            (void)tw_err_set(err, -EILSEQ,
                             "word %d of the command is no UTF-8, and does not pass: nothing was "
                             "run",
                             i + 1);
            json_decref(v);
            return NULL;
        }
    return v;
}

/* Through ssh the words are one text for the far shell; a terminal there where one is here. */
static json_t *far_words(const char *ssh, const json_t *inner, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX);
    if (tw_ssh_name_check(ssh, err) != 0)
        return NULL;
    if (tw_setup_quote(inner, &text) != 0) {
        (void)tw_err_set(err, -E2BIG, "too long a command");
        return NULL;
    }
    json_t *v = json_pack("[s, s, s, s, s]", "ssh", isatty(STDIN_FILENO) ? "-t" : "-T", "--", ssh,
                          text.data);
    if (v == NULL)
        (void)tw_err_set(err, -ENOMEM, "no memory for a command");
    return v;
}

static int become(const json_t *words, bool dry_run, tw_err *err)
{
    const char *argv[WORDS_MAX + 1];
    char *const *as_exec_wants;
    const size_t n = json_array_size(words);
    if (n > WORDS_MAX)
        return tw_err_set(err, -E2BIG, "a command of more than %d words", WORDS_MAX);
    for (size_t i = 0; i < n; i++)
        argv[i] = json_string_value(json_array_get(words, i));
    argv[n] = NULL;
    if (dry_run) {
        TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX);
        if (tw_setup_quote(words, &text) == 0)
            puts(text.data);
        return 0;
    }
    fflush(stdout);
    (void)signal(SIGPIPE, SIG_DFL); /* what is ignored would stay so in there */
    memcpy(&as_exec_wants, &(const char *const *){argv}, sizeof as_exec_wants);
    (void)execvp(argv[0], as_exec_wants);
    return tw_err_set(err, -errno, "%s: %s", argv[0], strerror(errno));
}

/* 0 alone, or the node by its name. */
static int pick_node(const toolbox_opts *o, const tw_nodes *nodes, tw_nodes *ret, tw_err *err)
{
    *ret = (tw_nodes){.n = 1};
    for (size_t i = 0; i < nodes->n; i++) {
        if (o->node != NULL ? strcmp(nodes->v[i].name, o->node) != 0 : i > 0)
            continue;
        ret->v[0] = nodes->v[0];
        if (i > 0)
            ret->v[ret->n++] = nodes->v[i];
        return 0;
    }
    return tw_err_set(err, -EINVAL, "--node %.60s: no such node in twinax.conf or --nodes",
                      o->node);
}

static int enter(const toolbox_opts *o, int argc, char **argv, tw_err *err)
{
    TW_CLEANUP(tw_toolbox_run_closep) tw_toolbox_run *r = NULL;
    TW_CLEANUP(tw_mem_freep) tw_nodes *nodes = tw_mem_calloc(2, sizeof *nodes);
    int rc = nodes != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for the nodes");
    if (rc == 0)
        rc = tw_toolbox_find_nodes(o, &nodes[0], err);
    if (rc == 0)
        rc = pick_node(o, &nodes[0], &nodes[1], err);
    if (rc == 0)
        rc = tw_toolbox_run_open(&nodes[1], NULL, NULL, &r, err);
    if (rc == 0)
        rc = tw_toolbox_run_look(r, o->name, false, NULL, err);
    if (rc != 0)
        return rc;
    const size_t i = tw_toolbox_run_n(r) - 1;
    const tw_toolbox_look *l = tw_toolbox_run_look_of(r, i);
    const char *box = tw_toolbox_pick_box(o, r);
    const tw_toolbox_box *b = tw_toolbox_find_box(l, box);
    if (b == NULL)
        return tw_err_set(err, -ENOENT, "%s: no container %s there%s%.80s: twinax toolbox refresh",
                          tw_toolbox_run_name(r, i), box, l->says[0] != '\0' ? ", podman: " : "",
                          l->podman[0] == '\0' ? " (podman is not installed)" : l->says);
    TW_CLEANUP(tw_json_freep) json_t *inner = inner_words(b, l, argc, argv, err);
    if (inner == NULL)
        return err->code;
    TW_CLEANUP(tw_json_freep)
    json_t *far = i > 0 ? far_words(nodes[1].v[1].ssh, inner, err) : NULL;
    if (i > 0 && far == NULL)
        return err->code;
    tw_toolbox_run_closep(&r);
    return become(i > 0 ? far : inner, o->dry_run, err);
}

static int cmd_enter(int argc, char **argv)
{
    toolbox_opts o = {.keep = 1};
    tw_err err = {0};
    int first = argc;
    int rc = tw_options_parse(tw_command_toolbox_enter.tables, argc, argv, &o, &first, &err);
    if (rc == 0 && o.name != NULL)
        rc = tw_toolbox_name_check(o.name, &err);
    if (rc == 0)
        rc = enter(&o, argc - first, argv + first, &err);
    if (rc == -EINVAL)
        return tw_command_misused(&tw_command_toolbox_enter, &err);
    return tw_command_end(&tw_command_toolbox_enter, rc, &err);
}

static const tw_note examples[] = {
    {"twinax toolbox enter", "a shell in the container here"},
    {"twinax toolbox enter --node box2 -- rocminfo", "a command in box2's"},
    {NULL, NULL},
};

const tw_command tw_command_toolbox_enter = {
    .name = "toolbox enter",
    .args = "[--node NODE] [-- COMMAND...]",
    .summary = "a shell, or a command, in the container",
    .about = "Becomes `toolbox enter`, `toolbox run` or `distrobox enter`, whatever made the "
             "container; on another node through ssh. Inside, `twinax` runs on the host again.",
    .tables = tw_toolbox_enter_tables,
    .run = cmd_enter,
    .group = TW_GROUP_HOSTS,
    .examples = examples,
};
