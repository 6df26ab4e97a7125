/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax upgrade`: another version of twinax on all nodes, or on none. The nodes come first, then a
 * program of the new version connects to all of them, then this machine's own is replaced: what
 * fails before that is rolled back everywhere. The version before stays beside the new one. */
#include "cmd/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/life_state.h"
#include "cluster/traces.h"
#include "cluster/upgrade_file.h"
#include "cmd/commands.h"
#include "cmd/out.h"
#include "cmd/setup.h"
#include "os/child.h"
#include "os/file.h"
#include "os/signal.h"
#include "twinax/version.h"

#define PACKAGE_LIMIT_NS (1800 * TW_NS_PER_S)
#define VERIFY_LIMIT_NS  (120 * TW_NS_PER_S)

typedef struct upgrade_opts {
    bool rollback, restart, dry_run, yes, json, verify;
    const char *nodes_list, *agent_path, *file;
} upgrade_opts;

typedef struct upgrade {
    upgrade_opts o;
    char self[UPGRADE_PATH_BYTES], node[UPGRADE_PATH_BYTES]; /* this machine's programs */
    const char *manager;                                     /* of self; NULL: no package's */
    upgrade_source source;
    upgrade_nodes nodes;
    upgrade_pause pause;
    bool is_done;
} upgrade;

#define AT(field) .offset = offsetof(upgrade_opts, field)

static const tw_option options[] = {
    {"rollback", .help = "the version before, on all nodes; twice: forward again",
     .type = TW_OPT_FLAG, AT(rollback)},
    {"restart", .help = "end the service that runs, and start it again after", .type = TW_OPT_FLAG,
     AT(restart)},
    {"dry-run", 'n', NULL, "show what would be done, change nothing", TW_OPT_FLAG, AT(dry_run)},
    {"yes", 'y', NULL, "do it without asking", TW_OPT_FLAG, AT(yes)},
    {"nodes", .arg = "A=IP,B=IP", .help = "this machine first; default: twinax.conf",
     .type = TW_OPT_TEXT, AT(nodes_list)},
    {"agent-path", .arg = "FILE", .help = "twinax on the nodes, when it is not on their PATH",
     .type = TW_OPT_TEXT, AT(agent_path)},
    {"json", .help = "one object", .type = TW_OPT_FLAG, AT(json)},
    /* What the new program is asked before it takes its place: does it understand the nodes? */
    {"verify", .help = NULL, .type = TW_OPT_FLAG, AT(verify)},
    {.name = NULL},
};
static const tw_option_table tables[] = {{NULL, options}, {NULL, NULL}};

static void done(upgrade *u)
{
    tw_upgrade_source_close(&u->source);
    tw_others_close(&u->nodes.others);
}

static int find_self(upgrade *u, tw_err *err)
{
    const ssize_t n = readlink("/proc/self/exe", u->self, sizeof u->self - 1);
    if (n <= 0)
        return tw_err_set(err, -errno, "/proc/self/exe: %s", strerror(errno));
    u->self[n] = '\0';
    const int folder = (int)(strrchr(u->self, '/') - u->self);
    if (snprintf(u->node, sizeof u->node, "%.*s/twinax-node", folder, u->self) >=
        (int)sizeof u->node)
        return tw_err_set(err, -ENAMETOOLONG, "%.150s...: the path is too long", u->self);
    u->manager = tw_traces_manager(u->self);
    return 0;
}

/* ---- this machine ---- */

/* By the package manager: shown, as root. version: NULL: the file. */
static int by_manager(const upgrade *u, const char *file, const char *version, tw_err *err)
{
    const bool root = geteuid() == 0, apt = strcmp(u->manager, "apt") == 0;
    char what[UPGRADE_PATH_BYTES + 16];
    if (version != NULL)
        snprintf(what, sizeof what, apt ? "twinax=%s" : "twinax-%s", version);
    else
        snprintf(what, sizeof what, "%s", file);
    const char *const by_apt[] = {"sudo", "apt-get", "install", "-y", "--allow-downgrades",
                                  what,   NULL};
    const char *const by_dnf[] = {"sudo", "dnf", version != NULL ? "downgrade" : "install",
                                  "-y",   what,  NULL};
    const char *const *argv = apt ? by_apt : by_dnf;
    if (!u->o.json) {
        fputs(" ", stdout);
        for (const char *const *a = argv + root; *a != NULL; a++)
            printf(" %s", *a);
        putchar('\n');
        fflush(stdout);
    }
    return tw_child_run_for(argv + root, PACKAGE_LIMIT_NS, err);
}

/* The package that was installed is kept: the next one's rollback finds it here. */
static void package_place(const char *version, const char *like, char out[UPGRADE_PATH_BYTES])
{
    tw_life_paths p;
    tw_err ignored;
    const char *end = strrchr(like, '.');
    out[0] = '\0';
    if (tw_life_paths_make(TW_LIFE_SERVICE, &p, &ignored) == 0)
        snprintf(out, UPGRADE_PATH_BYTES, "%.500s/twinax-%s%s", p.state, version,
                 end != NULL ? end : "");
}

static int replace_package(upgrade *u, tw_err *err)
{
    char kept[UPGRADE_PATH_BYTES];
    tw_err ignored;
    if (u->source.package[0] == '\0')
        return tw_err_set(err, -EINVAL, "%s belongs to a package: wanted a %s, or no FILE at all",
                          u->self, strcmp(u->manager, "apt") == 0 ? ".deb" : ".rpm");
    int rc = by_manager(u, u->source.package, NULL, err);
    package_place(u->source.version, u->source.package, kept);
    if (rc == 0)
        (void)!tw_upgrade_put(kept, u->source.package, &ignored);
    return rc;
}

/* Both programs, or none. */
static int replace_files(upgrade *u, tw_err *err)
{
    bool had = false, had_node = false;
    int rc = tw_upgrade_keep(u->self, &had, err);
    if (rc == 0)
        rc = tw_upgrade_keep(u->node, &had_node, err);
    if (rc == 0)
        rc = tw_upgrade_put(u->node, u->source.node, err);
    if (rc != 0)
        return rc;
    rc = tw_upgrade_put(u->self, u->source.twinax, err);
    tw_err why;
    if (rc != 0 && had_node && tw_upgrade_back(u->node, false, &why) != 0)
        fprintf(stderr, "not rolled back: %s\n", why.msg);
    return rc;
}

static int back_package(upgrade *u, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(256);
    char record[UPGRADE_PATH_BYTES], file[UPGRADE_PATH_BYTES], version[64];
    tw_err ignored;
    package_place("before", ".txt", record);
    if (!tw_file_exists(record) || tw_file_read(record, &b, &ignored) != 0 || b.len == 0)
        return tw_err_set(err, -ENOENT, "no version before this one is known (%s)", record);
    snprintf(version, sizeof version, "%.*s", (int)strcspn(b.data, "\n"), b.data);
    package_place(version, strcmp(u->manager, "apt") == 0 ? ".deb" : ".rpm", file);
    return tw_file_exists(file) ? by_manager(u, file, NULL, err)
                                : by_manager(u, NULL, version, err);
}

static void note_version(const char *version)
{
    char record[UPGRADE_PATH_BYTES];
    tw_err ignored;
    package_place("before", ".txt", record);
    (void)!tw_file_write(record, version, strlen(version), &ignored);
}

/* ---- forward ---- */

/* The new program itself connects to every node. */
static int verify_new(const upgrade *u, tw_err *err)
{
    const char *argv[10] = {u->source.twinax, "upgrade", "--verify"};
    size_t n = 3;
    if (u->nodes.others.nodes.n < 2)
        return 0;
    if (u->o.nodes_list != NULL) {
        argv[n++] = "--nodes";
        argv[n++] = u->o.nodes_list;
    }
    if (u->o.agent_path != NULL) {
        argv[n++] = "--agent-path";
        argv[n++] = u->o.agent_path;
    }
    argv[n] = NULL;
    return tw_child_run_for(argv, VERIFY_LIMIT_NS, err);
}

static int verify(upgrade *u, tw_err *err)
{
    tw_others *o = &u->nodes.others;
    int rc = 0;
    tw_others_open(o);
    rc = tw_others_check(o, err);
    for (size_t i = 1; i < o->nodes.n && rc == 0; i++)
        rc = tw_remote_check_arith(o->v[i], err);
    return rc;
}

static void show_plan(const upgrade *u, const char *to)
{
    const tw_others *o = &u->nodes.others;
    printf("%s: %s: %s -> %s%s%s\n", tw_others_name(o, 0), u->self, tw_version(), to,
           u->manager != NULL ? ", by " : "", u->manager != NULL ? u->manager : "");
    for (size_t i = 1; i < o->nodes.n; i++) {
        const upgrade_node *v = &u->nodes.v[i];
        if (v->skip)
            printf("%s: this machine again\n", tw_others_name(o, i));
        else
            printf("%s: %s: %s -> %s\n", tw_others_name(o, i), v->program,
                   v->version[0] != '\0' ? v->version : "none", to);
    }
}

static int consent(const upgrade *u, tw_err *err)
{
    if (u->o.yes)
        return 0;
    if (u->o.json || !tw_setup_can_ask())
        return tw_err_set(err, -EINVAL,
                          "no terminal to ask for consent: --yes does it, --dry-run shows it");
    return tw_setup_consents("\ndo it? (yes): ")
               ? 0
               : tw_err_set(err, -ECANCELED, "nothing was changed");
}

/* Forward or back: shown, consented to, with the service at rest. */
static int do_asked(upgrade *u, const char *to, int (*roll)(upgrade *u, tw_err *err), tw_err *err)
{
    if (!u->o.json)
        show_plan(u, to);
    if (u->o.dry_run)
        return tw_upgrade_pause(u->o.restart, true, &u->pause, err);
    int rc = consent(u, err);
    if (rc == 0)
        rc = tw_upgrade_pause(u->o.restart, false, &u->pause, err);
    if (rc == 0)
        rc = roll(u, err);
    u->is_done = rc == 0;
    return rc;
}

static int roll_forward(upgrade *u, tw_err *err)
{
    int rc = tw_upgrade_nodes_push(&u->nodes, u->source.node, err);
    if (rc == 0)
        rc = verify_new(u, err);
    if (rc == 0)
        rc = u->manager != NULL ? replace_package(u, err) : replace_files(u, err);
    if (rc == 0) {
        note_version(tw_version());
        return 0;
    }
    if (!tw_upgrade_nodes_restore(&u->nodes))
        return rc;
    tw_err why = *err;
    return tw_err_set(err, rc, "%.180s; all nodes are as they were", why.msg);
}

static int forward(upgrade *u, tw_err *err)
{
    if (u->o.file == NULL && u->manager == NULL)
        return tw_err_set(err, -EINVAL,
                          "%.120s is no package's: name a FILE (a program, a folder, an archive, a "
                          "package)",
                          u->self);
    int rc = tw_upgrade_source_open(u->o.file, u->manager, &u->source, err);
    if (rc == 0 && u->manager != NULL && u->source.package[0] == '\0')
        rc = tw_err_set(err, -EINVAL, "%.120s belongs to a package: wanted a %s, or no FILE",
                        u->self, strcmp(u->manager, "apt") == 0 ? ".deb" : ".rpm");
    if (rc == 0)
        rc = tw_upgrade_nodes_look(&u->nodes, err);
    if (rc != 0)
        return rc;
    return do_asked(u, u->source.version, roll_forward, err);
}

/* ---- back ---- */

static int check_old(const upgrade *u, tw_err *err)
{
    for (size_t i = 1; i < u->nodes.others.nodes.n; i++)
        if (!u->nodes.v[i].skip && !u->nodes.v[i].has_old)
            return tw_err_set(err, -ENOENT, "%s: no version before this one is there",
                              tw_others_name(&u->nodes.others, i));
    if (u->manager == NULL && (!tw_upgrade_has_old(u->self) || !tw_upgrade_has_old(u->node)))
        return tw_err_set(err, -ENOENT,
                          "%.150s" TW_UPGRADE_OLD ": no version before this one is "
                          "here",
                          u->self);
    return 0;
}

static int back_files(upgrade *u, tw_err *err)
{
    tw_err why;
    int rc = tw_upgrade_back(u->node, true, err);
    if (rc != 0)
        return rc;
    rc = tw_upgrade_back(u->self, true, err);
    if (rc != 0 && tw_upgrade_back(u->node, true, &why) != 0)
        fprintf(stderr, "%s: stays rolled back: %s\n", u->node, why.msg);
    return rc;
}

static int roll_back(upgrade *u, tw_err *err)
{
    tw_err why;
    int rc = tw_upgrade_nodes_back(&u->nodes, err);
    if (rc != 0)
        return rc;
    rc = u->manager != NULL ? back_package(u, err) : back_files(u, err);
    if (rc != 0)
        (void)tw_signal_take();
    if (rc != 0 && tw_upgrade_nodes_back(&u->nodes, &why) != 0)
        fprintf(stderr, "the nodes stay rolled back: %s\n", why.msg);
    if (rc == 0)
        note_version(tw_version());
    return rc;
}

static int backward(upgrade *u, tw_err *err)
{
    int rc = tw_upgrade_nodes_look(&u->nodes, err);
    if (rc == 0)
        rc = check_old(u, err);
    if (rc != 0)
        return rc;
    return do_asked(u, "the version before", roll_back, err);
}

/* ---- the command ---- */

static int print_json(const upgrade *u, const char *state, const tw_err *why, tw_err *err)
{
    json_t *nodes = json_array();
    for (size_t i = 1; i < u->nodes.others.nodes.n; i++)
        (void)json_array_append_new(nodes, json_pack("{s:s, s:s, s:s}", "node",
                                                     tw_others_name(&u->nodes.others, i), "program",
                                                     u->nodes.v[i].program, "from",
                                                     u->nodes.v[i].version));
    TW_CLEANUP(tw_json_freep)
    json_t *v =
        json_pack("{s:i, s:s, s:s, s:s?, s:s, s:s?, s:o, s:s*}", "schema", 1, "state", state,
                  "from", tw_version(), "to",
                  u->source.version[0] != '\0' ? u->source.version : NULL, "program", u->self,
                  "manager", u->manager, "nodes", nodes, "error", why != NULL ? why->msg : NULL);
    return tw_out_json(v, err);
}

static int parse(upgrade_opts *o, int argc, char **argv, tw_err *err)
{
    int first;
    int rc = tw_options_parse(tables, argc, argv, o, &first, err);
    if (rc == 0 && first + 1 < argc)
        rc = tw_err_set(err, -EINVAL, "%s: only one FILE is wanted", argv[first + 1]);
    if (rc == 0 && first < argc)
        o->file = argv[first];
    if (rc == 0 && o->rollback && o->file != NULL)
        rc = tw_err_set(err, -EINVAL, "--rollback takes no FILE: the version before is kept");
    return rc;
}

static int work(upgrade *u, tw_err *err)
{
    int rc = find_self(u, err);
    if (rc == 0 && u->o.verify)
        return verify(u, err);
    if (rc == 0)
        rc = u->o.rollback ? backward(u, err) : forward(u, err);
    tw_err why = {0};
    if (tw_upgrade_resume(&u->pause, u->self, &why) == 0)
        return rc;
    if (rc != 0) {
        fprintf(stderr, "the service does not start again: %s: `twinax up`\n", why.msg);
        return rc;
    }
    return tw_err_set(err, why.code,
                      "done, but the service does not start: %.150s; `twinax upgrade "
                      "--rollback` takes it back",
                      why.msg);
}

static int cmd_upgrade(int argc, char **argv)
{
    static upgrade u;
    tw_err err = {0}, out = {0};
    int rc = parse(&u.o, argc, argv, &err);
    if (rc == 0)
        rc = tw_others_find(u.o.nodes_list, u.o.agent_path, &u.nodes.others, &err);
    if (rc != 0)
        return tw_command_misused(&tw_command_upgrade, &err);
    rc = work(&u, &err);
    const char *state = rc != 0        ? "failed"
                        : u.o.dry_run  ? "planned"
                        : u.o.rollback ? "rolled back"
                                       : "upgraded";
    if (u.o.json && !u.o.verify && rc != -EINVAL)
        (void)!print_json(&u, state, rc != 0 ? &err : NULL, &out);
    else if (u.is_done && rc == 0)
        printf("%s; `twinax upgrade --rollback` takes it back\n", state);
    if (rc == 0)
        rc = tw_out_flush(&err);
    done(&u);
    return rc == -EINVAL ? tw_command_misused(&tw_command_upgrade, &err)
                         : tw_command_end(&tw_command_upgrade, rc, &err);
}

static const tw_note examples[] = {
    {"twinax upgrade twinax-0.2.0.tar.gz", "programs from an archive, on all nodes"},
    {"twinax upgrade", "what the distribution has, where twinax is its package"},
    {"twinax upgrade --rollback", "the version before, on all nodes"},
    {NULL, NULL},
};

const tw_command tw_command_upgrade = {
    .name = "upgrade",
    .args = "[FILE] | --rollback",
    .summary = "another version of twinax on all nodes, or on none; with rollback",
    .about =
        "FILE is a twinax program with twinax-node beside it, a folder or archive with both, a "
        ".deb or an .rpm. Where twinax is a package, its manager installs it here. The nodes "
        "get twinax-node, as by --push."
        "\n\n"
        "The nodes come first; then the new program connects to all of them; then this "
        "machine's is replaced. What fails is rolled back everywhere. The version before is "
        "kept beside, as NAME.old.",
    .tables = tables,
    .run = cmd_upgrade,
    .group = TW_GROUP_PROGRAM,
    .examples = examples,
};
