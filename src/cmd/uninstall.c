/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax uninstall`: lists what twinax made on all nodes, then removes it. What setup changed is
 * undone first, on consent of its own; models are kept. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/life_state.h"
#include "cluster/traces.h"
#include "cmd/commands.h"
#include "cmd/others.h"
#include "cmd/out.h"
#include "cmd/setup.h"
#include "cmd/up_unit.h"
#include "host/facts_field.h"
#include "hub/place.h"
#include "os/child.h"
#include "os/fd.h"

#define CALL_LIMIT_NS (60 * TW_NS_PER_S)

typedef struct uninstall_opts {
    bool dry_run, yes, json;
    const char *nodes_list, *agent_path;
} uninstall_opts;

typedef struct uninstall {
    uninstall_opts o;
    tw_others others;
    json_t *traces[TW_NODES_MAX]; /* of each node; NULL: it was not asked */
} uninstall;

#define AT(field) .offset = offsetof(uninstall_opts, field)

static const tw_option options[] = {
    {"dry-run", 'n', NULL, "list what is there, remove nothing", TW_OPT_FLAG, AT(dry_run)},
    {"yes", 'y', NULL, "do it without asking; what setup changed is undone too", TW_OPT_FLAG,
     AT(yes)},
    {"nodes", .arg = "A=IP,B=IP", .help = "this machine first; default: twinax.conf",
     .type = TW_OPT_TEXT, AT(nodes_list)},
    {"agent-path", .arg = "FILE", .help = "twinax on the nodes, when it is not on their PATH",
     .type = TW_OPT_TEXT, AT(agent_path)},
    {"json", .help = "one object: what is there, and what became of it", .type = TW_OPT_FLAG,
     AT(json)},
    {.name = NULL},
};
static const tw_option_table tables[] = {{NULL, options}, {NULL, NULL}};

static void done(uninstall *u)
{
    for (size_t i = 0; i < TW_NODES_MAX; i++)
        json_decref(u->traces[i]);
    tw_others_close(&u->others);
}

static const char *text_of(const json_t *v, const char *key)
{
    const char *text = json_string_value(json_object_get(v, key));
    return text != NULL ? text : "";
}

static bool is_a(const json_t *v, const char *what)
{
    return strcmp(text_of(v, "what"), what) == 0;
}

/* ---- finding ---- */

static int find_on_node(uninstall *u, size_t i, tw_err *err)
{
    json_t *reply = NULL;
    int rc = tw_remote_call(u->others.v[i], "traces", NULL, CALL_LIMIT_NS, &reply, err);
    if (rc == 0 && !json_is_array(json_object_get(reply, "traces")))
        rc = tw_err_set(err, -EPROTO, "%s: its answer has no list", tw_others_name(&u->others, i));
    if (rc == 0)
        u->traces[i] = json_incref(json_object_get(reply, "traces"));
    json_decref(reply);
    return rc;
}

/* A node without twinax has nothing but what nobody can ask for: that is said, and no error. */
static int find_all(uninstall *u, tw_err *err)
{
    int rc = tw_traces_find(&u->traces[0], err);
    tw_others_open(&u->others);
    for (size_t i = 1; i < u->others.nodes.n && rc == 0; i++) {
        if (u->others.v[i] != NULL)
            rc = find_on_node(u, i, err);
        else if (u->others.why[i].code != -ENOENT)
            rc = (*err = u->others.why[i], err->code);
        else if (!u->o.json)
            printf("%s: no twinax there\n", tw_others_name(&u->others, i));
    }
    return rc;
}

/* Nothing is taken away under a service. Without a state folder there is none, and none is made. */
static int check_idle(const uninstall *u, tw_err *err)
{
    tw_life_paths p;
    tw_life_record r;
    enum tw_life_state state;
    bool has_state = false;
    for (size_t k = 0; k < json_array_size(u->traces[0]); k++)
        has_state = has_state || is_a(json_array_get(u->traces[0], k), "state");
    if (!has_state && !tw_up_unit_is_there())
        return 0;
    int rc = tw_life_paths_make(TW_LIFE_SERVICE, &p, err);
    if (rc == 0)
        rc = tw_life_look(&p, &state, &r, err);
    const bool serves = rc == 0 && state == TW_LIFE_RUNS;
    if (rc == 0)
        rc = tw_life_paths_make(TW_LIFE_RAY, &p, err);
    if (rc == 0)
        rc = tw_life_look(&p, &state, &r, err);
    if (rc == 0 && (serves || state == TW_LIFE_RUNS || tw_up_unit_is_there()))
        rc = tw_err_set(err, -EBUSY, "a service runs or is installed: `twinax down` first");
    return rc;
}

/* ---- showing ---- */

static void show_trace(const char *node, const json_t *v)
{
    char path[600], what[9]; /* another machine's words */
    tw_field_text(text_of(v, "path"), path, sizeof path);
    tw_field_text(text_of(v, "what"), what, sizeof what);
    const json_int_t steps = json_integer_value(json_object_get(v, "steps"));
    if (is_a(v, "package"))
        printf("%s: package  twinax (%s), removed by %s\n", node, path,
               strcmp(text_of(v, "manager"), "apt") == 0 ? "apt-get purge twinax"
                                                         : "dnf remove twinax");
    else if (is_a(v, "journal") && steps > 0)
        printf("%s: journal  %s: %lld step%s of setup, undone by `twinax setup --undo`\n", node,
               path, (long long)steps, steps == 1 ? "" : "s");
    else if (is_a(v, "journal"))
        printf("%s: journal  %s: of setup, undone by `twinax setup --undo`\n", node, path);
    else
        printf("%s: %-8s %s (%lld KiB)\n", node, what, path,
               (long long)(json_integer_value(json_object_get(v, "bytes")) + 1023) / 1024);
}

static void show(const uninstall *u)
{
    TW_CLEANUP(tw_hub_place_done) tw_hub_place p = {.offline = true};
    tw_err ignored;
    for (size_t i = 0; i < u->others.nodes.n; i++)
        for (size_t k = 0; k < json_array_size(u->traces[i]); k++)
            show_trace(tw_others_name(&u->others, i), json_array_get(u->traces[i], k));
    if (tw_hub_place_get(&p, &ignored) == 0)
        printf("kept: the models in %s, on every node\n", p.cache);
}

static size_t count(const uninstall *u, const char *what)
{
    size_t n = 0;
    for (size_t i = 0; i < u->others.nodes.n; i++)
        for (size_t k = 0; k < json_array_size(u->traces[i]); k++)
            n += what == NULL || is_a(json_array_get(u->traces[i], k), what);
    return n;
}

/* ---- doing ---- */

static int consent(const uninstall *u, const char *question, tw_err *err)
{
    if (u->o.yes)
        return 0;
    if (u->o.json || !tw_setup_can_ask())
        return tw_err_set(err, -EINVAL,
                          "no terminal to ask for consent: --yes does it, --dry-run lists it");
    return tw_setup_consents(question) ? 0 : tw_err_set(err, -ECANCELED, "nothing was removed");
}

/* Its words are not part of our one object: they go to stderr. */
static int run_setup(const uninstall *u, int argc, char **argv)
{
    TW_CLEANUP(tw_fd_closep) int out = -1;
    fflush(stdout);
    if (u->o.json)
        out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (out >= 0)
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    int rc = tw_command_setup.run(argc, argv);
    fflush(stdout);
    if (out >= 0)
        (void)dup2(out, STDOUT_FILENO);
    return rc;
}

static int undo_setup(const uninstall *u, tw_err *err)
{
    static char name[] = "setup", undo[] = "--undo", yes[] = "--yes";
    static char nodes[] = "--nodes", agent[] = "--agent-path";
    char *argv[8] = {name, undo, yes}, list[2048], path[512];
    int n = 3;
    if (u->o.nodes_list != NULL) {
        snprintf(list, sizeof list, "%s", u->o.nodes_list);
        argv[n++] = nodes;
        argv[n++] = list;
    }
    if (u->o.agent_path != NULL) {
        snprintf(path, sizeof path, "%s", u->o.agent_path);
        argv[n++] = agent;
        argv[n++] = path;
    }
    return run_setup(u, n, argv) == TW_EXIT_OK
               ? 0
               : tw_err_set(err, -EIO, "setup was not undone: nothing was removed");
}

static json_t *paths_of(const json_t *traces)
{
    json_t *list = json_array();
    for (size_t k = 0; k < json_array_size(traces); k++) {
        const json_t *v = json_array_get(traces, k);
        if (!is_a(v, "package") && !is_a(v, "journal"))
            (void)json_array_append(list, json_object_get(v, "path"));
    }
    return list;
}

/* What could not be removed is said; the rest goes on. *n_left: how much that was. */
static int remove_on(uninstall *u, size_t i, size_t *n_left, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *paths = paths_of(u->traces[i]);
    TW_CLEANUP(tw_json_freep) json_t *reply = NULL;
    json_t *left = NULL;
    int rc = 0;
    if (i == 0) {
        rc = tw_traces_remove(paths, &reply, err);
        left = reply;
    } else {
        rc = tw_remote_call(u->others.v[i], "traces-remove", json_pack("{s:O}", "paths", paths),
                            CALL_LIMIT_NS, &reply, err);
        left = json_object_get(reply, "left");
    }
    for (size_t k = 0; k < json_array_size(left); k++) {
        char text[700];
        const char *said = json_string_value(json_array_get(left, k));
        tw_field_text(said != NULL ? said : "?", text, sizeof text);
        fprintf(stderr, "%s: not removed: %s\n", tw_others_name(&u->others, i), text);
    }
    *n_left += json_array_size(left);
    return rc;
}

/* Packages of other machines are their owner's: only this one's is removed here. */
static int remove_package(const json_t *traces, const uninstall *u, tw_err *err)
{
    const bool root = geteuid() == 0;
    for (size_t k = 0; k < json_array_size(traces); k++) {
        const json_t *v = json_array_get(traces, k);
        if (!is_a(v, "package"))
            continue;
        const bool apt = strcmp(text_of(v, "manager"), "apt") == 0;
        const char *const argv[] = {
            "sudo", apt ? "apt-get" : "dnf", apt ? "purge" : "remove", "-y", "twinax", NULL};
        if (!u->o.json)
            printf("  %s%s %s -y twinax\n", root ? "" : "sudo ", argv[1], argv[2]);
        fflush(stdout);
        return tw_child_run_for(argv + root, 600 * TW_NS_PER_S, err);
    }
    return 0;
}

/* The nodes first: what fails there can be tried again from here. */
static int remove_all(uninstall *u, tw_err *err)
{
    size_t n_left = 0;
    int rc = 0;
    for (size_t i = u->others.nodes.n; i > 1 && rc == 0; i--)
        if (u->others.v[i - 1] != NULL)
            rc = remove_on(u, i - 1, &n_left, err);
    if (rc == 0)
        rc = remove_on(u, 0, &n_left, err);
    if (rc == 0)
        rc = remove_package(u->traces[0], u, err);
    if (rc == 0 && n_left > 0)
        rc = tw_err_set(err, -EIO, "%zu things could not be removed (see above)", n_left);
    return rc;
}

static int print_json(const uninstall *u, const char *state, const tw_err *why, tw_err *err)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < u->others.nodes.n; i++)
        (void)json_array_append_new(nodes,
                                    json_pack("{s:s, s:O?}", "node", tw_others_name(&u->others, i),
                                              "traces", u->traces[i]));
    TW_CLEANUP(tw_json_freep)
    json_t *v = json_pack("{s:i, s:s, s:o, s:s*}", "schema", 1, "state", state, "nodes", nodes,
                          "error", why != NULL ? why->msg : NULL);
    return tw_out_json(v, err);
}

static int work(uninstall *u, tw_err *err)
{
    int rc = find_all(u, err);
    if (rc == 0)
        rc = check_idle(u, err);
    if (rc != 0)
        return rc;
    if (!u->o.json)
        show(u);
    if (u->o.dry_run || count(u, NULL) == 0)
        return 0;
    char question[160];
    const size_t n_journals = count(u, "journal");
    if (n_journals > 0) {
        rc = consent(u, "\nfirst undo what setup changed, on all nodes? (yes): ", err);
        if (rc == 0)
            rc = undo_setup(u, err);
    }
    snprintf(question, sizeof question,
             "\nremove these %zu (models are kept)? (yes): ", count(u, NULL) - n_journals);
    if (rc == 0)
        rc = consent(u, question, err);
    return rc == 0 ? remove_all(u, err) : rc;
}

static int cmd_uninstall(int argc, char **argv)
{
    TW_CLEANUP(done) uninstall u = {.o = {.yes = false}};
    tw_err err = {0}, out = {0};
    int first, rc = tw_options_parse(tables, argc, argv, &u.o, &first, &err);
    if (rc == 0 && first < argc)
        rc = tw_err_set(&err, -EINVAL, "%s: wanted options only", argv[first]);
    if (rc == 0)
        rc = tw_others_find(u.o.nodes_list, u.o.agent_path, &u.others, &err);
    if (rc != 0)
        return tw_command_misused(&tw_command_uninstall, &err);
    rc = work(&u, &err);
    if (rc == 0 && !u.o.json && !u.o.dry_run)
        puts(count(&u, NULL) > 0 ? "removed" : "nothing of twinax is here");
    if (u.o.json && rc != -EINVAL)
        (void)!print_json(&u,
                          rc != 0       ? "failed"
                          : u.o.dry_run ? "listed"
                                        : "removed",
                          rc != 0 ? &err : NULL, &out);
    if (rc == 0)
        rc = tw_out_flush(&err);
    return rc == -EINVAL ? tw_command_misused(&tw_command_uninstall, &err)
                         : tw_command_end(&tw_command_uninstall, rc, &err);
}

static const tw_note examples[] = {
    {"twinax uninstall --dry-run", "what twinax has made, on all nodes"},
    {"twinax uninstall", "the same, then asks and removes it"},
    {NULL, NULL},
};

const tw_command tw_command_uninstall = {
    .name = "uninstall",
    .args = "[--dry-run] [--yes]",
    .summary = "list, then remove what twinax made on all nodes; models are kept",
    .about = "Programs (those that were pushed and those of `make install`), configuration, state, "
             "logs, units, caches of its own. What `twinax setup` changed is undone first, after a "
             "question of its own. A package is removed by its manager, on this machine only. "
             "Models stay in the cache that other tools share.",
    .tables = tables,
    .run = cmd_uninstall,
    .group = TW_GROUP_PROGRAM,
    .examples = examples,
};
