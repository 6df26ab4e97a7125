/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax toolbox refresh|rollback|list`: the container with vLLM, Ray and ROCm, on all nodes. */
#include "cmd/toolbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/config_file.h"
#include "cmd/commands.h"
#include "cmd/out.h"
#include "cmd/pull_model.h"
#include "cmd/setup.h"
#include "os/signal.h"

enum { OLD_MAX = TW_TOOLBOX_IMAGES_MAX, GUIDE_STEPS = 2 };
#define GUIDE_BOX "vllm"

#define AT(field) .offset = offsetof(toolbox_opts, field)

/* ---- options ---- */

static int set_rccl(void *opts, char *value, tw_err *err)
{
    /* distrobox has a shell read what its containers are made of. */
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "/._-+@%=";
    if (value[0] != '/' || strspn(value, plain) != strlen(value))
        return tw_err_set(err, -EINVAL,
                          "--rccl '%.80s': wanted a path from / on, of letters, digits and "
                          "/._-+@%%= alone",
                          value);
    ((toolbox_opts *)opts)->rccl = value;
    return 0;
}

static int set_with(void *opts, char *value, tw_err *err)
{
    if (strcmp(value, "toolbox") != 0 && strcmp(value, "distrobox") != 0)
        return tw_err_set(err, -EINVAL, "--with '%.40s': wanted toolbox or distrobox", value);
    ((toolbox_opts *)opts)->with = value;
    return 0;
}

static const tw_option node_options[] = {
    {"nodes", .arg = "A=IP,B=IP", .help = "this machine first; default: twinax.conf",
     .type = TW_OPT_TEXT, AT(nodes_list)},
    {"agent-path", .arg = "FILE", .help = "twinax on the nodes, when it is not on their PATH",
     .type = TW_OPT_TEXT, AT(agent_path)},
    {.name = NULL},
};

#define OPT_NAME                                                                                   \
    {                                                                                              \
        "name", .arg = "NAME",                                                                     \
                .help = "of the container; default: vllm-therock-gfx1151, -dev for dev, or vllm "  \
                        "where only "                                                              \
                        "that one is there",                                                       \
                .type = TW_OPT_TEXT, AT(name)                                                      \
    }
#define OPT_DRY                                                                                    \
    {                                                                                              \
        "dry-run", 'n', NULL, "print the commands of every node, run none", TW_OPT_FLAG,           \
            AT(dry_run)                                                                            \
    }
#define OPT_YES                                                                                    \
    {                                                                                              \
        "yes", 'y', NULL, "do it without asking", TW_OPT_FLAG, AT(yes)                             \
    }
#define OPT_DISCARD                                                                                \
    {                                                                                              \
        "discard", .help = "with --yes: also where the container runs, or was changed",            \
                   .type = TW_OPT_FLAG, AT(discard)                                                \
    }
#define OPT_JSON                                                                                   \
    {                                                                                              \
        "json", .help = "one JSON object instead of text", .type = TW_OPT_FLAG, AT(json)           \
    }
#define OPT_WITH                                                                                   \
    {                                                                                              \
        "with",                                                                                    \
            .arg = "TOOL",                                                                         \
            .help = "toolbox or distrobox; default: what made the container, else what is there",  \
            .type = TW_OPT_CALL, .call = set_with                                                  \
    }

static const tw_option refresh_options[] = {
    OPT_NAME,
    {"image", .arg = "IMAGE", .help = "another image than " TW_TOOLBOX_REPO, .type = TW_OPT_TEXT,
     AT(image)},
    OPT_WITH,
    {"rccl", .arg = "FILE",
     .help = "a librccl.so to put in place of the image's own; the same path on every node",
     .type = TW_OPT_CALL, .call = set_rccl},
    {"rccl-anyway", .help = "even where the image's own runs on gfx1151", .type = TW_OPT_FLAG,
     AT(rccl_anyway)},
    {"keep", .arg = "N", .help = "earlier images that are kept for rollback; default 1",
     .type = TW_OPT_U32, .max = 100, AT(keep)},
    {"remove-old", .help = "remove older ones without asking", .type = TW_OPT_FLAG, AT(remove_old)},
    OPT_DRY,
    OPT_YES,
    OPT_DISCARD,
    OPT_JSON,
    {.name = NULL},
};

static const tw_option rollback_options[] = {
    OPT_NAME,
    {"to", .arg = "DATE", .help = "YYYYMMDD-HHMMSS, as list prints it; default: the one before",
     .type = TW_OPT_TEXT, AT(to)},
    OPT_WITH,
    OPT_DRY,
    OPT_YES,
    OPT_DISCARD,
    OPT_JSON,
    {.name = NULL},
};

static const tw_option list_options[] = {OPT_NAME, OPT_JSON, {.name = NULL}};

static const tw_option enter_options[] = {
    OPT_NAME,
    {"node", .arg = "NODE", .help = "on that node, by ssh; default: here", .type = TW_OPT_TEXT,
     AT(node)},
    OPT_DRY,
    {.name = NULL},
};

const tw_option_table tw_toolbox_refresh_tables[] = {{NULL, refresh_options},
                                                     {"the nodes", node_options},
                                                     {NULL, NULL}};
const tw_option_table tw_toolbox_rollback_tables[] = {{NULL, rollback_options},
                                                      {"the nodes", node_options},
                                                      {NULL, NULL}};
const tw_option_table tw_toolbox_list_tables[] = {{NULL, list_options},
                                                  {"the nodes", node_options},
                                                  {NULL, NULL}};
const tw_option_table tw_toolbox_enter_tables[] = {{NULL, enter_options},
                                                   {"the nodes", node_options},
                                                   {NULL, NULL}};

/* ---- which nodes, which container ---- */

int tw_toolbox_find_nodes(const toolbox_opts *o, tw_nodes *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_config_found *f = tw_mem_calloc(1, sizeof *f);
    int rc = f != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for the configuration");
    if (rc == 0)
        rc = o->nodes_list != NULL ? tw_nodes_parse(o->nodes_list, ret, err)
                                   : tw_config_find(f, err);
    if (rc != 0)
        return rc;
    if (o->nodes_list == NULL) {
        *ret = f->config.nodes;
        if (f->warning[0] != '\0')
            tw_log(TW_LOG_WARN, "config", "%s", f->warning);
    }
    for (size_t i = 0; i < ret->n && o->agent_path != NULL; i++)
        snprintf(ret->v[i].agent_path, sizeof ret->v[i].agent_path, "%s", o->agent_path);
    if (ret->n == 0) {
        ret->n = 1;
        ret->v[0] = (tw_node_spec){.name = "local", .ssh = "local"};
    }
    return 0;
}

static bool any_has(const tw_toolbox_run *r, const char *box)
{
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++)
        if (tw_toolbox_find_box(tw_toolbox_run_look_of(r, i), box) != NULL)
            return true;
    return false;
}

const char *tw_toolbox_pick_box(const toolbox_opts *o, const tw_toolbox_run *r)
{
    const tw_toolbox_channel *c =
        tw_toolbox_channel_find(o->channel != NULL ? o->channel : "stable");
    const char *usual = c != NULL ? c->box : tw_toolbox_channels[0].box;
    if (o->name != NULL)
        return o->name;
    return o->channel == NULL && !any_has(r, usual) && any_has(r, GUIDE_BOX) ? GUIDE_BOX : usual;
}

/* ---- consent ---- */

static size_t count_steps(const tw_toolbox_run *r, const char *list)
{
    size_t n = 0;
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++)
        n += json_array_size(json_object_get(tw_toolbox_run_plan_of(r, i), list));
    return n;
}

static int consent(const toolbox_opts *o, const tw_toolbox_run *r, tw_err *err)
{
    const size_t n = count_steps(r, "fetch") + count_steps(r, "swap");
    const size_t n_lost = count_steps(r, "asks");
    char question[120];
    if (o->yes && (n_lost == 0 || o->discard))
        return 0;
    if (o->json || !tw_setup_can_ask())
        return o->yes ? tw_err_set(err, -EPERM,
                                   "something would be lost (see above, or --dry-run): --yes "
                                   "--discard does it all the same")
                      : tw_err_set(err, -EINVAL,
                                   "no terminal to ask for consent: --yes does it, "
                                   "--dry-run shows it");
    snprintf(question, sizeof question, "\n%srun these %zu commands? (yes): ",
             n_lost > 0 ? "what is named as lost goes; " : "", n);
    return tw_setup_consents(question) ? 0 : tw_err_set(err, -ECANCELED, "nothing was changed");
}

/* ---- old images ---- */

/* Steps that remove what is older than the newest o->keep that are not in use. */
static json_t *old_of(const toolbox_opts *o, const tw_toolbox_look *l, const char *box,
                      const char *repo, const char *node)
{
    TW_CLEANUP(tw_mem_freep) tw_toolbox_old *old = tw_mem_calloc(OLD_MAX, sizeof *old);
    json_t *steps = json_array();
    size_t n = old != NULL ? tw_toolbox_list_old(l, box, repo, old, OLD_MAX) : 0, spared = 0;
    for (size_t i = 0; i < n; i++) {
        char size[16];
        if (old[i].used || spared++ < o->keep)
            continue;
        json_array_append_new(steps, tw_toolbox_plan_remove(old[i].image, box, repo));
        tw_pull_size(old[i].image->bytes, size);
        if (!o->json)
            printf("%s: old image of %s, %.12s, %s\n", node, old[i].stamp, old[i].image->id, size);
    }
    return steps;
}

static int remove_old(const toolbox_opts *o, tw_toolbox_run *r, const tw_toolbox_want *w,
                      tw_err *err)
{
    json_t *lists[TW_NODES_MAX] = {NULL};
    size_t n = 0;
    int rc = 0;
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++) {
        lists[i] =
            old_of(o, tw_toolbox_run_look_of(r, i), w->box, w->ref.repo, tw_toolbox_run_name(r, i));
        n += json_array_size(lists[i]);
    }
    const bool ask = n > 0 && !o->remove_old && !o->yes && !o->json && tw_setup_can_ask();
    if (n > 0 && (o->remove_old || (ask && tw_setup_consents("remove these images? (yes): "))))
        rc = tw_toolbox_run_remove(r, lists, err);
    else if (n > 0 && !o->json)
        puts("they stay: refresh --remove-old removes them");
    for (size_t i = 0; i < TW_NODES_MAX; i++)
        json_decref(lists[i]);
    return rc;
}

/* ---- refresh and rollback ---- */

/* Facts of the run that are printed after it. */
static void print_ready(const tw_toolbox_run *r)
{
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++) {
        char line[200];
        const tw_toolbox_probed *p = tw_toolbox_run_probed(r, i);
        if (!p->answered)
            continue;
        tw_toolbox_probe_print(p, line, sizeof line);
        printf("%s: %s\n", tw_toolbox_run_name(r, i), line);
    }
}

static void print_errors(const tw_toolbox_run *r, const tw_err *first)
{
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++) {
        const char *why = tw_toolbox_run_error(r, i);
        if (why != NULL && strcmp(why, first->msg) != 0)
            fprintf(stderr, "twinax toolbox: %s\n", why);
    }
}

/* fetch, then what only the image can tell, then swap. */
static int work(const toolbox_opts *o, tw_toolbox_run *r, tw_toolbox_want *w, tw_err *err)
{
    int rc = tw_toolbox_run_fetch(r, err);
    if (rc == 0 && w->rccl_path != NULL)
        rc = tw_toolbox_run_find_rccl(r, w, o->rccl_anyway, err);
    if (rc == 0)
        rc = tw_toolbox_run_swap(r, w, err);
    return rc;
}

static int finish(const toolbox_opts *o, tw_toolbox_run *r, tw_toolbox_want *w, const char *what,
                  tw_err *err)
{
    const size_t n = count_steps(r, "fetch") + count_steps(r, "swap");
    const char *state = o->dry_run ? "planned" : n == 0 ? "current" : "done";
    int rc = 0;
    if (!o->json)
        tw_toolbox_show_plans(r);
    if (!o->dry_run && n > 0) {
        rc = consent(o, r, err);
        if (rc == 0)
            rc = work(o, r, w, err);
        if (rc == 0 && !o->json)
            print_ready(r);
    } else if (!o->dry_run && !o->json) {
        puts("nothing is to be done: the container is as wanted on every node");
    }
    if (rc == 0 && !o->dry_run && !w->rollback)
        rc = remove_old(o, r, w, err);
    if (o->json && rc != -EINVAL) {
        TW_CLEANUP(tw_json_freep)
        json_t *v = tw_toolbox_run_json(r, what, rc != 0 ? "failed" : state, rc != 0 ? err : NULL);
        (void)!json_dumpf(v, stdout, JSON_INDENT(1));
        putchar('\n');
    }
    if (rc != 0)
        print_errors(r, err);
    return rc;
}

static int want_image(const toolbox_opts *o, tw_toolbox_want *w, tw_err *err)
{
    const tw_toolbox_channel *c =
        tw_toolbox_channel_find(o->channel != NULL ? o->channel : "stable");
    char text[400];
    if (c == NULL)
        return tw_err_set(err, -EINVAL, "%.40s: no such channel; there are stable and dev",
                          o->channel);
    if (o->image == NULL)
        snprintf(text, sizeof text, "%s:%s", TW_TOOLBOX_REPO, c->tag);
    else if (o->channel != NULL && strchr(o->image, '@') == NULL &&
             strchr(strrchr(o->image, '/') != NULL ? strrchr(o->image, '/') : o->image, ':') ==
                 NULL)
        snprintf(text, sizeof text, "%.300s:%s", o->image, c->tag);
    else
        snprintf(text, sizeof text, "%.399s", o->image);
    return tw_toolbox_ref_parse(text, &w->ref, err);
}

/* The container of the first node that has it tells whose image it is. */
static void want_repo_of_box(const tw_toolbox_run *r, tw_toolbox_want *w)
{
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++) {
        const tw_toolbox_box *b = tw_toolbox_find_box(tw_toolbox_run_look_of(r, i), w->box);
        tw_err ignored;
        tw_toolbox_ref ref;
        if (b != NULL && tw_toolbox_ref_parse(b->image, &ref, &ignored) == 0 &&
            !tw_toolbox_ref_is_local(&ref)) {
            w->ref = ref;
            return;
        }
    }
}

/* The same date, and the same image under it, on every node. */
static int want_back(const toolbox_opts *o, const tw_toolbox_run *r, tw_toolbox_want *w,
                     tw_err *err)
{
    const tw_toolbox_image *first = NULL;
    const char *stamp = o->to;
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++) {
        const tw_toolbox_look *l = tw_toolbox_run_look_of(r, i);
        const char *found = NULL;
        const tw_toolbox_image *m = tw_toolbox_find_back(l, w->box, w->ref.repo, stamp, &found);
        if (m == NULL && l->podman[0] != '\0' && l->trouble[0] == '\0')
            return tw_err_set(err, -ENOENT,
                              "%s: no earlier image of container %s%s%s is kept: twinax toolbox "
                              "list shows what there is",
                              tw_toolbox_run_name(r, i), w->box, stamp != NULL ? " of " : "",
                              stamp != NULL ? stamp : "");
        if (m != NULL && first != NULL && strcmp(m->id, first->id) != 0)
            return tw_err_set(err, -EBADMSG,
                              "%s: its image of %s is another than %s's: refresh, or --to a date "
                              "that is the same on all",
                              tw_toolbox_run_name(r, i), stamp, tw_toolbox_run_name(r, 0));
        first = first != NULL ? first : m;
        stamp = found != NULL ? found : stamp;
    }
    w->stamp = stamp != NULL ? stamp : "";
    return 0;
}

static int run_both(const toolbox_opts *o, bool rollback, tw_err *err)
{
    toolbox_show show = {.quiet = o->json, .tty = isatty(STDERR_FILENO) != 0};
    char now[TW_TOOLBOX_STAMP_BYTES];
    TW_CLEANUP(tw_toolbox_run_closep) tw_toolbox_run *r = NULL;
    TW_CLEANUP(tw_mem_freep) tw_nodes *nodes = tw_mem_calloc(1, sizeof *nodes);
    tw_toolbox_want w = {.rollback = rollback, .with = o->with, .rccl_path = o->rccl, .stamp = now};
    int rc = nodes != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for the nodes");
    tw_toolbox_stamp_print(time(NULL), now);
    if (rc == 0)
        rc = want_image(o, &w, err);
    if (rc == 0)
        rc = tw_toolbox_find_nodes(o, nodes, err);
    if (rc == 0)
        rc = tw_toolbox_run_open(nodes, tw_toolbox_show_tell, &show, &r, err);
    if (rc != 0)
        return rc;
    show.run = r;
    const char *guess = o->name != NULL ? o->name : GUIDE_BOX;
    rc = tw_toolbox_run_look(r, guess, true, o->rccl, err);
    if (rc == 0) {
        w.box = tw_toolbox_pick_box(o, r);
        if (strcmp(w.box, guess) != 0) /* its changes are to be counted */
            rc = tw_toolbox_run_look(r, w.box, true, o->rccl, err);
    }
    if (rc == 0 && rollback) {
        want_repo_of_box(r, &w);
        rc = want_back(o, r, &w, err);
    } else if (rc == 0) {
        rc = tw_toolbox_run_resolve(r, &w, err);
        show.image_bytes = w.image_bytes;
    }
    if (rc == 0)
        rc = tw_toolbox_run_plan(r, &w, err);
    if (rc != 0) {
        print_errors(r, err);
        return rc;
    }
    return finish(o, r, &w, rollback ? "rollback" : "refresh", err);
}

/* ---- the commands ---- */

static int check_opts(const toolbox_opts *o, tw_err *err)
{
    if (o->rccl_anyway && o->rccl == NULL)
        return tw_err_set(err, -EINVAL, "--rccl-anyway belongs to --rccl");
    if (o->discard && !o->yes)
        return tw_err_set(err, -EINVAL, "--discard belongs to --yes");
    if (o->to != NULL && !tw_toolbox_stamp_is_good(o->to))
        return tw_err_set(err, -EINVAL, "--to '%.40s': wanted YYYYMMDD-HHMMSS, as list prints it",
                          o->to);
    if (o->channel != NULL && tw_toolbox_channel_find(o->channel) == NULL)
        return tw_err_set(err, -EINVAL, "%.40s: no such channel; there are stable and dev",
                          o->channel);
    return o->name != NULL ? tw_toolbox_name_check(o->name, err) : 0;
}

static int parse(const tw_command *c, int argc, char **argv, bool channel, toolbox_opts *o,
                 tw_err *err)
{
    int first = argc;
    int rc = tw_options_parse(c->tables, argc, argv, o, &first, err);
    if (rc == 0 && channel && first < argc)
        o->channel = argv[first++];
    if (rc == 0 && first < argc)
        rc = tw_err_set(err, -EINVAL, "%.60s: what is that? see `twinax %s --help`", argv[first],
                        c->name);
    return rc != 0 ? rc : check_opts(o, err);
}

static int end(const tw_command *c, int rc, tw_err *err)
{
    if (rc == 0)
        rc = tw_out_flush(err);
    fflush(stdout);
    if (rc == -EINVAL)
        return tw_command_misused(c, err);
    return tw_command_end(c, rc, err);
}

static int cmd_refresh(int argc, char **argv)
{
    toolbox_opts o = {.keep = 1};
    tw_err err = {0};
    int rc = parse(&tw_command_toolbox_refresh, argc, argv, true, &o, &err);
    return end(&tw_command_toolbox_refresh, rc != 0 ? rc : run_both(&o, false, &err), &err);
}

static int cmd_rollback(int argc, char **argv)
{
    toolbox_opts o = {.keep = 1};
    tw_err err = {0};
    int rc = parse(&tw_command_toolbox_rollback, argc, argv, false, &o, &err);
    return end(&tw_command_toolbox_rollback, rc != 0 ? rc : run_both(&o, true, &err), &err);
}

static int list(const toolbox_opts *o, tw_err *err)
{
    TW_CLEANUP(tw_toolbox_run_closep) tw_toolbox_run *r = NULL;
    TW_CLEANUP(tw_mem_freep) tw_nodes *nodes = tw_mem_calloc(1, sizeof *nodes);
    tw_toolbox_want w = {.rollback = true};
    int rc = nodes != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for the nodes");
    if (rc == 0)
        rc = want_image(o, &w, err);
    if (rc == 0)
        rc = tw_toolbox_find_nodes(o, nodes, err);
    if (rc == 0)
        rc = tw_toolbox_run_open(nodes, NULL, NULL, &r, err);
    if (rc == 0)
        rc = tw_toolbox_run_look(r, o->name, false, NULL, err);
    if (rc != 0)
        return rc;
    w.box = tw_toolbox_pick_box(o, r);
    want_repo_of_box(r, &w);
    if (o->json) {
        TW_CLEANUP(tw_json_freep) json_t *v = tw_toolbox_list_json(r, w.box, w.ref.repo);
        (void)!json_dumpf(v, stdout, JSON_INDENT(1));
        putchar('\n');
    } else {
        tw_toolbox_show_list(r, w.box, w.ref.repo);
    }
    return 0;
}

static int cmd_list(int argc, char **argv)
{
    toolbox_opts o = {.keep = 1};
    tw_err err = {0};
    int rc = parse(&tw_command_toolbox_list, argc, argv, false, &o, &err);
    return end(&tw_command_toolbox_list, rc != 0 ? rc : list(&o, &err), &err);
}

static int cmd_toolbox(int argc, char **argv)
{
    tw_err err = {0};
    (void)tw_err_set(&err, -EINVAL, "%.40s%swanted refresh, enter, rollback or list",
                     argc > 1 ? argv[1] : "", argc > 1 ? ": " : "");
    return tw_command_misused(&tw_command_toolbox, &err);
}

static const tw_note refresh_examples[] = {
    {"twinax toolbox refresh", "the last verified build, on every node of twinax.conf"},
    {"twinax toolbox refresh dev --dry-run", "what the newest build would take"},
    {"twinax toolbox refresh --name vllm", "the guide's container"},
    {NULL, NULL},
};

static const tw_note toolbox_page_examples[] = {
    {"twinax toolbox refresh", "the newest image, and a container of it, on all nodes"},
    {"twinax toolbox list", "what there is"},
    {NULL, NULL},
};

const tw_command tw_command_toolbox = {
    .name = "toolbox",
    .args = "refresh|enter|rollback|list",
    .summary = "the container with vLLM, Ray and ROCm",
    .about = "See `twinax toolbox refresh --help` and its sisters.",
    .run = cmd_toolbox,
    .group = TW_GROUP_HOSTS,
    .examples = toolbox_page_examples,
};

const tw_command tw_command_toolbox_refresh = {
    .name = "toolbox refresh",
    .args = "[stable|dev]",
    .summary = "get the newest image, and make the container anew, on all nodes",
    .about =
        "Asks the registry once which image the channel means now, has every node get that very "
        "one, makes the container anew from it with the GPU's and RDMA's devices, starts it and "
        "looks (torch, RCCL, devices, locked memory). What fails is undone. The image that was in "
        "use is kept under its date, for rollback.\n\n"
        "The commands are shown first, and what they would destroy: what runs in the container, "
        "and files that were changed in it.",
    .tables = tw_toolbox_refresh_tables,
    .run = cmd_refresh,
    .group = TW_GROUP_HOSTS,
    .examples = refresh_examples,
};

const tw_command tw_command_toolbox_rollback = {
    .name = "toolbox rollback",
    .args = "[--to DATE]",
    .summary = "make the container anew from an earlier image, on all nodes",
    .about = "To the image before the one in use, or to any other that list shows. Nothing is "
             "fetched. A refresh goes forward again.",
    .tables = tw_toolbox_rollback_tables,
    .run = cmd_rollback,
    .group = TW_GROUP_HOSTS,
};

static const tw_note list_page_examples[] = {
    {"twinax toolbox list", "on all nodes"},
    {"twinax toolbox list --json", "the same for a program"},
    {NULL, NULL},
};

const tw_command tw_command_toolbox_list = {
    .name = "toolbox list",
    .args = "",
    .summary = "containers and their images on all nodes, with sizes and dates",
    .tables = tw_toolbox_list_tables,
    .run = cmd_list,
    .group = TW_GROUP_HOSTS,
    .examples = list_page_examples,
};
