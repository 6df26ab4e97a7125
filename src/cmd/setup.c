/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax setup`: shows what is to be changed on every node and why, does it with consent, and takes
 * it back. */
#include "cmd/setup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/args.h"
#include "cmd/commands.h"
#include "cmd/find_config.h"
#include "cmd/out.h"
#include "cmd/push.h"
#include "host/facts_field.h"
#include "host/setup_plan.h"
#include "os/signal.h"

enum { TEXT_MAX = 8 << 20 };

#define AT(field) .offset = offsetof(setup_opts, field)

static int add_worker(void *opts, char *value, tw_err *err)
{
    setup_opts *o = opts;
    if (o->n_workers == SETUP_WORKERS_MAX)
        return tw_err_set(err, -EINVAL, "--worker %s: more than %d", value, SETUP_WORKERS_MAX);
    o->workers[o->n_workers++] = value;
    return 0;
}

static const tw_option do_options[] = {
    {"dry-run", 'n', NULL, "show what would be done, change nothing", TW_OPT_FLAG, AT(dry_run)},
    {"yes", 'y', NULL, "do it without asking", TW_OPT_FLAG, AT(yes)},
    {"undo", .help = "take back all that setup did, the last step first", .type = TW_OPT_FLAG,
     AT(undo)},
    {"only", .arg = "STEP,..", .help = "these steps alone (docs/setup.md names them)",
     .type = TW_OPT_TEXT, AT(only)},
    {"reboot", .help = "with --yes: reboot too where it is needed, workers first",
     .type = TW_OPT_FLAG, AT(reboot)},
    {"json", .help = "one object: plans and what became of them", .type = TW_OPT_FLAG, AT(json)},
    {.name = NULL},
};

static const tw_option node_options[] = {
    {"nodes", .arg = "A=IP,B=IP", .help = "this machine first; default: twinax.conf",
     .type = TW_OPT_TEXT, AT(nodes_list)},
    TW_AGENT_OPTIONS(setup_opts),
    {"transport", .arg = "T", .help = "auto, rdma, tcp or shm; default: twinax.conf, or auto",
     .type = TW_OPT_TEXT, AT(transport)},
    {"interface", .arg = "IF", .help = "the cable's, the same on all nodes", .type = TW_OPT_TEXT,
     AT(interface)},
    {.name = NULL},
};

static const tw_option init_options[] = {
    {"init", .help = "write twinax.conf, by asking or from these", .type = TW_OPT_FLAG, AT(init)},
    {"head", .arg = "NAME[/IP]", .help = "this machine; default: its host name",
     .type = TW_OPT_TEXT, AT(head)},
    {"worker", .arg = "NAME[/IP]", .help = "another one by its ssh name; once for each",
     .type = TW_OPT_CALL, .call = add_worker},
    {"output", 'o', "FILE", "default: twinax.conf in this folder", TW_OPT_TEXT, AT(output)},
    {"force", .help = "even if the file is there already", .type = TW_OPT_FLAG, AT(force)},
    {.name = NULL},
};

static const tw_option_table setup_tables[] = {
    {"what is done", do_options},
    {"the nodes", node_options},
    {"a configuration", init_options},
    {NULL, NULL},
};

/* ---- which nodes ---- */

static int check_transport(const char *t, tw_err *err)
{
    if (t == NULL || strcmp(t, "auto") == 0 || strcmp(t, "rdma") == 0 || strcmp(t, "tcp") == 0 ||
        strcmp(t, "shm") == 0)
        return 0;
    return tw_err_set(err, -EINVAL, "--transport %s: wanted auto, rdma, tcp or shm", t);
}

static int check_only(const char *only, tw_err *err)
{
    for (const char *p = only; p != NULL && *p != '\0';) {
        size_t n = strcspn(p, ","), i = 0;
        while (tw_setup_step_ids[i] != NULL &&
               (strlen(tw_setup_step_ids[i]) != n || memcmp(tw_setup_step_ids[i], p, n) != 0))
            i++;
        if (tw_setup_step_ids[i] == NULL) {
            char known[160] = "";
            size_t len = 0;
            for (i = 0; tw_setup_step_ids[i] != NULL && len < sizeof known; i++)
                len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", i > 0 ? ", " : "",
                                        tw_setup_step_ids[i]);
            return tw_err_set(err, -EINVAL, "--only %.*s: no such step; there are %s",
                              (int)TW_MIN(n, 40u), p, known);
        }
        p += n + (p[n] == ',');
    }
    return 0;
}

static int find_config(const setup_opts *o, tw_config *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_config_found *f = tw_mem_calloc(1, sizeof *f);
    int rc = f != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for the configuration");
    if (rc == 0 && o->nodes_list == NULL)
        rc = tw_find_config(f, err);
    if (rc == 0)
        *ret = f->config;
    if (rc == 0 && o->nodes_list != NULL)
        rc = tw_nodes_parse(o->nodes_list, &ret->nodes, err);
    if (rc != 0)
        return rc;
    if (o->transport != NULL)
        snprintf(ret->transport, sizeof ret->transport, "%s", o->transport);
    if (o->interface != NULL)
        snprintf(ret->interface, sizeof ret->interface, "%s", o->interface);
    for (size_t i = 0; i < ret->nodes.n && o->agent_path != NULL; i++)
        snprintf(ret->nodes.v[i].agent_path, sizeof ret->nodes.v[i].agent_path, "%s",
                 o->agent_path);
    if (ret->nodes.n == 0) { /* this machine alone */
        ret->nodes.n = 1;
        snprintf(ret->nodes.v[0].name, sizeof ret->nodes.v[0].name, "local");
        snprintf(ret->nodes.v[0].ssh, sizeof ret->nodes.v[0].ssh, "local");
        if (!o->json)
            fprintf(stderr, "no nodes are configured: this machine alone (twinax setup --init "
                            "makes a configuration)\n");
    }
    return 0;
}

/* ---- showing ---- */

static size_t count_steps(const tw_setup_run *r)
{
    size_t n = 0;
    for (size_t i = 0; i < tw_setup_run_n(r); i++)
        n += json_array_size(json_object_get(tw_setup_run_plan_of(r, i), "steps"));
    return n;
}

static bool any_plan(const tw_setup_run *r, const char *flag)
{
    for (size_t i = 0; i < tw_setup_run_n(r); i++)
        if (json_is_true(json_object_get(tw_setup_run_plan_of(r, i), flag)))
            return true;
    return false;
}

static int show_plans(const tw_setup_run *r, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX);
    const size_t n = tw_setup_run_n(r);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = tw_setup_plan_text(tw_setup_run_plan_of(r, i), &text, err);
    if (rc != 0)
        return rc;
    fputs(text.data, stdout);
    if ((n & (n - 1)) != 0)
        printf("note: a model is split over 1, 2, 4 or 8 nodes: a TP=2 model uses %s and %s\n",
               tw_setup_run_name(r, 0), tw_setup_run_name(r, 1));
    return 0;
}

/* The plans as they were before anything was done. */
static json_t *all_plans(const tw_setup_run *r)
{
    json_t *v = json_array();
    for (size_t i = 0; i < tw_setup_run_n(r); i++)
        json_array_append_new(v, json_deep_copy(tw_setup_run_plan_of(r, i)));
    return v;
}

static int print_json(json_t *nodes, const char *state, const tw_err *why, tw_err *err)
{
    TW_CLEANUP(tw_json_freep)
    json_t *v = json_pack("{s:i, s:o, s:s, s:s*}", "schema", 1, "nodes", nodes, "state", state,
                          "error", why != NULL && why->code != 0 ? why->msg : NULL);
    return tw_out_json(v, err);
}

/* ---- doing ---- */

static bool may_reboot(const setup_opts *o)
{
    if (o->yes || o->json)
        return o->reboot;
    return tw_setup_consents("a reboot is needed. Workers first, then this machine. Reboot now? "
                             "(yes): ");
}

/* need[i]: false from then on where it was done. */
static int reboot_all(tw_setup_run *r, const setup_opts *o, bool *need, bool *ret_head, tw_err *err)
{
    *ret_head = false;
    if (!may_reboot(o)) {
        if (!o->json)
            puts("not rebooted: what needs it counts from the next boot on");
        return 0;
    }
    int rc = 0;
    for (size_t i = tw_setup_run_n(r); i > 1 && rc == 0; i--)
        if (need[i - 1]) {
            rc = tw_setup_run_reboot(r, i - 1, err);
            need[i - 1] = rc != 0;
        }
    if (rc == 0 && need[0]) {
        if (!o->json)
            puts("the workers are back; this machine goes down now. Afterwards: twinax doctor");
        fflush(stdout);
        *ret_head = true;
        rc = tw_setup_run_reboot(r, 0, err);
    }
    return rc;
}

static int do_all(tw_setup_run *r, const setup_opts *o, tw_err *err)
{
    bool need[TW_NODES_MAX] = {false}, any = false, head = false;
    const bool login = any_plan(r, "login");
    for (size_t i = 0; i < tw_setup_run_n(r); i++) {
        need[i] = json_is_true(json_object_get(tw_setup_run_plan_of(r, i), "reboot"));
        any = any || need[i];
    }
    int rc = count_steps(r) > 0 ? tw_setup_run_do(r, err) : 0;
    if (rc == 0)
        rc = tw_setup_verify_plans(r, o, err);
    if (rc == 0 && login && !o->json)
        puts("groups and limits count from the next login on: log in anew (shared ssh connections "
             "to the nodes were closed)");
    if (rc == 0 && any)
        rc = reboot_all(r, o, need, &head, err);
    return rc == 0 && !head ? tw_setup_verify_doctor(o, need, err) : rc;
}

static int consent(const setup_opts *o, size_t n, const char *what, tw_err *err)
{
    char question[120];
    if (o->yes)
        return 0;
    if (o->json || !tw_setup_can_ask())
        return tw_err_set(err, -EINVAL,
                          "no terminal to ask for consent: --yes does it, --dry-run "
                          "shows it");
    snprintf(question, sizeof question, "\n%s %zu step%s? (yes): ", what, n, n == 1 ? "" : "s");
    return tw_setup_consents(question) ? 0 : tw_err_set(err, -ECANCELED, "nothing was changed");
}

static int mend(tw_setup_run *r, const setup_opts *o, tw_err *err)
{
    unsigned n = 0;
    int rc = o->dry_run ? 0 : tw_setup_run_mend(r, &n, err);
    if (rc == 0 && n > 0 && !o->json)
        printf("an earlier run was cut off: %u step%s undone, and planned again\n", n,
               n == 1 ? "" : "s");
    return rc;
}

static int forward(tw_setup_run *r, const setup_opts *o, tw_err *err)
{
    int rc = mend(r, o, err);
    if (rc == 0)
        rc = tw_setup_run_plan(r, err);
    if (rc != 0)
        return rc;
    const size_t n = count_steps(r);
    TW_CLEANUP(tw_json_freep) json_t *plans = all_plans(r);
    if (!o->json)
        rc = show_plans(r, err);
    if (rc == 0 && !o->dry_run && n > 0)
        rc = consent(o, n, "do these", err);
    if (rc == 0 && n == 0 && !o->json)
        puts("nothing is to be changed");
    if (rc == 0 && !o->dry_run && (n > 0 || any_plan(r, "reboot")))
        rc = do_all(r, o, err);
    if (o->json && (rc == 0 || rc != -EINVAL)) {
        tw_err why;
        (void)!print_json(json_incref(plans),
                          rc != 0      ? "failed"
                          : o->dry_run ? "planned"
                                       : "done",
                          rc != 0 ? err : NULL, &why);
    }
    return rc;
}

/* ---- taking back ---- */

static void show_words(const json_t *words)
{
    for (size_t c = 0; c < json_array_size(words); c++) {
        TW_CLEANUP(tw_buf_done) tw_buf line = TW_BUF(TEXT_MAX);
        char text[1000];
        if (tw_setup_quote(json_array_get(words, c), &line) != 0 || line.data == NULL)
            continue;
        tw_field_text(line.data, text, sizeof text);
        printf("      %s\n", text);
    }
}

/* A text of another node's, without what would steer the terminal. */
static const char *plain(const json_t *v, const char *key, char out[400])
{
    const char *text = json_string_value(json_object_get(v, key));
    tw_field_text(text != NULL ? text : "?", out, 400);
    return out;
}

static void show_done(const char *node, const json_t *step)
{
    const json_t *saved = json_object_get(step, "saved");
    char id[400], text[400];
    printf("%s: undo %s (%s)\n", node, plain(step, "id", id), plain(step, "title", text));
    show_words(json_object_get(step, "undo"));
    for (size_t c = 0; c < json_array_size(saved); c++)
        printf("      as it was: %s\n", plain(json_array_get(saved, c), "path", text));
    show_words(json_object_get(step, "settle"));
}

/* Last step first, as it is undone. */
static size_t show_journal(const tw_setup_run *r, bool quiet)
{
    size_t n = 0;
    for (size_t i = 0; i < tw_setup_run_n(r); i++) {
        const json_t *steps = json_object_get(tw_setup_run_status_of(r, i), "steps");
        n += json_array_size(steps);
        for (size_t k = json_array_size(steps); k > 0 && !quiet; k--)
            show_done(tw_setup_run_name(r, i), json_array_get(steps, k - 1));
    }
    return n;
}

/* A dry run is not root. */
static bool show_unseen(const tw_setup_run *r, bool quiet)
{
    bool any = false;
    char path[400];
    for (size_t i = 0; i < tw_setup_run_n(r); i++) {
        const json_t *v = tw_setup_run_status_of(r, i);
        if (json_object_get(v, "unseen") == NULL)
            continue;
        any = true;
        if (!quiet)
            printf("%s: what setup did as root cannot be seen without root (%s): leave --dry-run "
                   "away, it asks before it undoes anything\n",
                   tw_setup_run_name(r, i), plain(v, "unseen", path));
    }
    return any;
}

static int backward(tw_setup_run *r, const setup_opts *o, tw_err *err)
{
    unsigned kept = 0;
    int rc = tw_setup_run_status(r, err);
    if (rc != 0)
        return rc;
    const size_t n = show_journal(r, o->json);
    if (n == 0 && !show_unseen(r, o->json) && !o->json)
        puts("nothing is to be undone: setup has changed nothing here");
    if (n > 0 && !o->dry_run) {
        rc = consent(o, n, "undo these", err);
        if (rc == 0)
            rc = tw_setup_run_undo(r, &kept, err);
        if (rc == 0 && !o->json)
            printf("undone: %zu step%s%s\n", n, n == 1 ? "" : "s",
                   kept > 0 ? "; some files were changed by others since and are kept (see above)"
                            : "; the files are as before");
    }
    if (o->json && rc == 0)
        rc = print_json(json_pack("[]"), o->dry_run ? "planned" : "undone", NULL, err);
    return rc;
}

static int work(const setup_opts *o, tw_err *err)
{
    setup_face face = {.quiet = o->json};
    const tw_setup_face f = tw_setup_face_of(&face);
    TW_CLEANUP(tw_setup_run_closep) tw_setup_run *r = NULL;
    TW_CLEANUP(tw_mem_freep) tw_config *c = tw_mem_calloc(1, sizeof *c);
    if (c == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the configuration");
    int rc = find_config(o, c, err);
    const tw_setup_run_opts opts = {.config = c,
                                    .as_root = !o->dry_run,
                                    .only = o->only,
                                    .push = tw_push_face_of(o->push)};
    if (rc == 0)
        rc = tw_setup_run_open(&opts, &f, &r, err);
    if (rc != 0)
        return rc;
    return o->undo ? backward(r, o, err) : forward(r, o, err);
}

static int check_opts(const setup_opts *o, tw_err *err)
{
    if (o->undo && (o->init || o->only != NULL))
        return tw_err_set(err, -EINVAL, "--undo takes all back: neither --init nor --only with it");
    if (!o->init && (o->head != NULL || o->n_workers > 0 || o->output != NULL || o->force))
        return tw_err_set(err, -EINVAL, "--head, --worker, --output and --force belong to --init");
    int rc = check_transport(o->transport, err);
    return rc != 0 ? rc : check_only(o->only, err);
}

static int run_setup(int argc, char **argv)
{
    setup_opts o = {0};
    tw_err err = {0}, out = {0};
    int first = argc, rc = tw_options_parse(setup_tables, argc, argv, &o, &first, &err);
    if (rc == 0 && first < argc)
        rc = tw_err_set(&err, -EINVAL, "%s: what is that? see `twinax setup --help`", argv[first]);
    if (rc == 0)
        rc = check_opts(&o, &err);
    if (rc != 0) {
        fprintf(stderr, "twinax setup: %s\n", err.msg);
        return TW_EXIT_USAGE;
    }
    rc = o.init ? tw_setup_init(&o, &err) : work(&o, &err);
    if (rc == 0)
        rc = tw_out_flush(&out);
    if (rc == 0)
        return TW_EXIT_OK;
    fflush(stdout);
    fprintf(stderr, "twinax setup: %s\n", err.code != 0 ? err.msg : out.msg);
    if (tw_signal_asked_to_stop())
        return TW_EXIT_INTERRUPTED;
    return rc == -EINVAL ? TW_EXIT_USAGE : TW_EXIT_FAILED;
}

static const tw_note setup_examples[] = {
    {"twinax setup --init --worker box2", "finds card or cable, writes twinax.conf"},
    {"twinax setup", "shows each change, asks, does it"},
    {"twinax setup --undo", "takes all of it back"},
    {NULL, NULL},
};

const tw_command tw_command_setup = {
    .name = "setup",
    .args = "[--dry-run] [--yes] [--undo] [--only STEP,..] | --init [--worker NAME]...",
    .summary = "change the hosts so that they form a cluster; --undo takes it back",
    .about =
        "Shows first, for every node, each step with its reason, the exact commands and how it "
        "is undone; does it with your consent (type yes), records it and reads it again."
        "\n\n"
        "A step that may cut the network reverts by itself after 60 s unless the head comes in "
        "again. Root is needed on the nodes: as root, or by sudo, whose password is asked once "
        "a node and stored nowhere.",
    .tables = setup_tables,
    .group = TW_GROUP_HOSTS,
    .run = run_setup,
    .examples = setup_examples,
};
