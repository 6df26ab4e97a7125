/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax down`: ends the service in the background, and proves it. */
#include "cmd/down.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/remote.h"
#include "cmd/commands.h"
#include "cmd/keep.h"
#include "cmd/option.h"
#include "cmd/out.h"
#include "cmd/up_unit.h"

enum { FOUND_MAX = 64 };
#define KEEPER_LIMIT_NS (TW_KEEP_GRACE_NS + 5 * TW_NS_PER_S)
#define SETTLE_NS       (3 * TW_NS_PER_S) /* a rank whose head is gone ends within 2 s */
#define NODE_LIMIT_NS   (8 * TW_NS_PER_S)

static void note_left(tw_down_report *d, const char *text)
{
    const size_t n = strlen(d->left);
    d->n_left++;
    snprintf(d->left + n, sizeof d->left - n, "%s%s", n > 0 ? "; " : "", text);
}

/* ---- here ---- */

static void end_keeper(const tw_life_record *r)
{
    char boot[40];
    tw_life_boot_id(boot);
    if (strcmp(boot, r->boot) != 0) /* a restart since: these numbers are others' now */
        return;
    if (tw_life_proc_kill(&r->keeper, SIGTERM) != 0)
        return;
    if (!tw_life_proc_await_gone(&r->keeper, 1, KEEPER_LIMIT_NS))
        (void)!tw_life_proc_kill(&r->keeper, SIGKILL); /* serve and the ranks die with it */
}

static bool none_of_run(const char *run, uint64_t limit_ns, tw_life_proc *found, unsigned *ret_n)
{
    const uint64_t until = tw_clock_now_ns() + limit_ns;
    do {
        *ret_n = TW_MIN(tw_life_proc_find(run, found, FOUND_MAX), (unsigned)FOUND_MAX);
        if (*ret_n == 0)
            return true;
        usleep(20 * 1000);
    } while (tw_clock_now_ns() < until);
    return false;
}

static void clear_here(const tw_life_record *r, tw_down_report *d)
{
    tw_life_proc found[FOUND_MAX];
    unsigned n = 0;
    char text[64];
    if (strlen(r->run) != TW_LIFE_RUN_BYTES - 1 || none_of_run(r->run, SETTLE_NS, found, &n))
        return;
    for (unsigned i = 0; i < n; i++)
        d->n_killed += tw_life_proc_kill(&found[i], SIGKILL) == 0;
    if (none_of_run(r->run, SETTLE_NS, found, &n))
        return;
    for (unsigned i = 0; i < n; i++) {
        snprintf(text, sizeof text, "pid %d on this machine", (int)found[i].pid);
        note_left(d, text);
    }
}

/* ---- on a node ---- */

typedef struct node_job {
    const tw_life_rank *rank;
    tw_remote *remote;
    unsigned n_killed, n_left;
    tw_err err;
    int rc;
} node_job;

static int ask_node(node_job *j)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    json_t *args = json_pack("{s:i, s:I, s:i}", "pid", (int)j->rank->proc.pid, "start",
                             (json_int_t)j->rank->proc.start, "grace_ms", 3000);
    int rc = tw_remote_call(j->remote, "life-end", args, NODE_LIMIT_NS, &got, &j->err);
    if (rc != 0)
        return rc;
    j->n_killed = json_is_true(json_object_get(got, "killed"));
    j->n_left = json_is_true(json_object_get(got, "left"));
    return 0;
}

static void *greet_and_ask(void *arg)
{
    node_job *j = arg;
    j->rc = tw_remote_greet(j->remote, &j->err);
    if (j->rc == 0)
        j->rc = ask_node(j);
    return NULL;
}

static void take_job(const node_job *j, tw_down_report *d)
{
    char text[360];
    d->n_killed += j->n_killed;
    if (j->rc != 0) {
        d->n_unasked++;
        fprintf(stderr,
                "twinax down: %s: its rank ended by its lifeline as far as can be told from "
                "here, the node itself cannot be asked: %s\n",
                j->rank->node, j->err.msg);
    } else if (j->n_left > 0) {
        snprintf(text, sizeof text, "rank %u, pid %d on %s", j->rank->rank, (int)j->rank->proc.pid,
                 j->rank->node);
        note_left(d, text);
    }
}

static void clear_nodes(const tw_life_record *r, tw_down_report *d)
{
    node_job jobs[TW_NODES_MAX];
    pthread_t threads[TW_NODES_MAX];
    bool runs[TW_NODES_MAX] = {false};
    size_t n = 0;
    for (size_t i = 0; i < r->n_ranks; i++) {
        const tw_life_rank *k = &r->ranks[i];
        if (k->ssh[0] == '\0' || k->proc.pid <= 0)
            continue;
        node_job *j = &jobs[n++];
        *j = (node_job){.rank = k};
        j->rc = tw_remote_start(k->ssh, k->agent_path[0] != '\0' ? k->agent_path : NULL, &j->remote,
                                &j->err);
    }
    for (size_t i = 0; i < n;
         i++) { /* all at a time: one that hangs costs its own time-out alone */
        node_job *j = &jobs[i];
        const int rc = j->rc == 0 ? pthread_create(&threads[i], NULL, greet_and_ask, j) : -1;
        runs[i] = rc == 0;
        if (rc > 0)
            j->rc = tw_err_set(&j->err, -rc, "no thread to ask it: %s", strerror(rc));
    }
    for (size_t i = 0; i < n; i++) {
        if (runs[i])
            pthread_join(threads[i], NULL);
        tw_remote_close(jobs[i].remote);
        take_job(&jobs[i], d);
    }
}

void tw_down_end(const tw_life_record *r, tw_down_report *ret)
{
    *ret = (tw_down_report){.n_killed = 0};
    end_keeper(r);
    clear_here(r, ret);
    clear_nodes(r, ret);
}

/* ---- the command ---- */

typedef struct down_opts {
    bool json, keep_unit, keep_ray;
} down_opts;

static const tw_option options[] = {
    {.name = "keep-unit",
     .help = "leave the user unit of `up --install` enabled: it starts again at the next boot",
     .type = TW_OPT_FLAG,
     .offset = offsetof(down_opts, keep_unit)},
    {.name = "keep-ray",
     .help = "end the model alone: a Ray that was started without one stays",
     .type = TW_OPT_FLAG,
     .offset = offsetof(down_opts, keep_ray)},
    {.name = "json",
     .help = "one JSON object",
     .type = TW_OPT_FLAG,
     .offset = offsetof(down_opts, json)},
    {.name = NULL},
};
static const tw_option_table tables[] = {{NULL, options}, {NULL, NULL}};

/* One of the two that may be in the background. */
typedef struct background {
    tw_life_paths paths;
    tw_life_record record;
    enum tw_life_state state;
    tw_down_report report;
} background;

static json_t *report_json(const background *b)
{
    const tw_down_report *d = &b->report;
    return json_pack("{s:b, s:s, s:i, s:i, s:i, s:s}", "ran", b->state == TW_LIFE_RUNS, "model",
                     b->record.model, "killed", (int)d->n_killed, "left", (int)d->n_left,
                     "nodes_not_asked", (int)d->n_unasked, "left_text", d->left);
}

static void print_report(const background *b)
{
    const tw_down_report *d = &b->report;
    printf("%s %s", b->state == TW_LIFE_RUNS ? "stopped" : "was not running any more:",
           tw_keep_name(&b->record));
    if (d->n_killed > 0)
        printf(", %u left-over process%s killed", d->n_killed, d->n_killed == 1 ? "" : "es");
    if (d->n_left > 0)
        printf("; STILL THERE: %s\n", d->left);
    else if (d->n_unasked > 0)
        printf("; nothing is left here, %u node%s could not be asked\n", d->n_unasked,
               d->n_unasked == 1 ? "" : "s");
    else
        printf("; nothing is left%s\n", b->record.n_ranks > 1 ? " on any node" : "");
}

static int look(enum tw_life_which which, background *b, tw_err *err)
{
    *b = (background){.state = TW_LIFE_NONE};
    int rc = tw_life_paths_make(which, &b->paths, err);
    if (rc == 0)
        rc = tw_life_look(&b->paths, &b->state, &b->record, err);
    if (rc == 0 && b->state == TW_LIFE_ELSEWHERE)
        rc = tw_err_set(err, -EREMOTE,
                        "%s serves on %s, which has the same home folder: there, "
                        "`twinax down`",
                        tw_keep_name(&b->record), b->record.host);
    return rc;
}

static int forget(const background *b)
{
    const tw_life_record *r = &b->record;
    if (b->state == TW_LIFE_CRASHED || b->state == TW_LIFE_OVER)
        (void)unlink(r->socket[0] != '\0' ? r->socket : b->paths.socket);
    (void)unlink(b->paths.token);
    if (unlink(b->paths.record) != 0 && errno != ENOENT)
        return -errno;
    return 0;
}

static int end(background *b, bool json, tw_err *err)
{
    if (b->state == TW_LIFE_NONE)
        return 0;
    tw_down_end(&b->record, &b->report);
    if (!json)
        print_report(b);
    if (b->report.n_left > 0)
        return tw_err_set(err, -EBUSY, "still there: %s", b->report.left);
    const int rc = forget(b);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: %s", b->paths.record, strerror(-rc));
}

static int print_json(const background *service, const background *ray, tw_err *err)
{
    const bool none = service->state == TW_LIFE_NONE;
    TW_CLEANUP(tw_json_freep)
    json_t *v = none ? json_pack("{s:b, s:i, s:i}", "ran", 0, "killed", 0, "left", 0)
                     : report_json(service);
    if (v != NULL && ray->state != TW_LIFE_NONE)
        (void)json_object_set_new(v, "ray", report_json(ray));
    if (v == NULL || json_dumpf(v, stdout, JSON_COMPACT) != 0)
        return tw_err_set(err, -EIO, "cannot print");
    putchar('\n');
    return 0;
}

static int down(const down_opts *o, tw_err *err)
{
    background service, ray = {.state = TW_LIFE_NONE};
    tw_err later = {0};
    int rc = look(TW_LIFE_SERVICE, &service, err);
    if (rc == 0 && !o->keep_ray)
        rc = look(TW_LIFE_RAY, &ray, err);
    if (rc != 0)
        return rc;
    rc = tw_up_unit_stop(o->keep_unit, err); /* first: systemd would start it again */
    if (rc != 0)
        return rc;
    rc = end(&service, o->json, err); /* what a model has in Ray goes with the model */
    const int rc_ray = end(&ray, o->json, rc == 0 ? err : &later);
    if (o->json && print_json(&service, &ray, &later) != 0)
        return rc != 0 ? rc : tw_err_set(err, -EIO, "%s", later.msg);
    if (!o->json && service.state == TW_LIFE_NONE && ray.state == TW_LIFE_NONE)
        puts("nothing runs");
    return rc != 0 ? rc : rc_ray;
}

static int cmd_down(int argc, char **argv)
{
    down_opts o = {.json = false};
    tw_err err = {0};
    int first = 0;
    if (tw_options_parse(tables, argc, argv, &o, &first, &err) == 0 && first < argc)
        (void)tw_err_set(&err, -EINVAL,
                         "%s: down takes no words: it ends the one service of this user, and Ray",
                         argv[first]);
    if (err.code != 0)
        return tw_command_misused(&tw_command_down, &err);
    int rc = down(&o, &err);
    if (rc == 0)
        rc = tw_out_flush(&err);
    return tw_command_end(&tw_command_down, rc, &err);
}

static const tw_note down_examples[] = {
    {"twinax down", "ends it, and says that nothing is left"},
    {"twinax down --keep-unit", "until the next boot only, where a unit starts it"},
    {"twinax down --keep-ray", "another model comes; Ray stays for it"},
    {NULL, NULL},
};

const tw_command tw_command_down = {
    .name = "down",
    .args = "[--keep-unit] [--keep-ray] [--json]",
    .summary = "end the service that `up` started",
    .about =
        "Asks it to end, insists after a while, then looks on this machine and on every node "
        "whether anything of it is left. So for Ray, where `up --engine vllm` started it without a "
        "model.",
    .tables = tables,
    .group = TW_GROUP_CLUSTER,
    .run = cmd_down,
    .examples = down_examples,
};
