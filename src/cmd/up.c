/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax up`: `twinax serve` in the background. Starts a keeper (keep.c) in a session of its own, or
 * as a systemd user unit, and waits until the API answers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/str.h"
#include "cluster/life_log.h"
#include "cluster/life_unit.h"
#include "cmd/args.h"
#include "cmd/ask_health.h"
#include "cmd/commands.h"
#include "cmd/down.h"
#include "cmd/far.h"
#include "cmd/keep.h"
#include "cmd/out.h"
#include "cmd/serve_config.h"
#include "cmd/up_unit.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/signal.h"
#include "os/sys.h"

extern char **environ;

enum { ARGS_MAX = 120, LOOK_MS = 50, ASK_EVERY = 8, WAIT_S = 3600, TAIL_LINES = 12 };
#define ASK_LIMIT_NS    (300 * TW_NS_PER_MS)
#define HEALTH_LIMIT_NS (5 * TW_NS_PER_S)

typedef struct up {
    tw_args args; /* first: the tables of serve are up's too */
    bool install, json;
    uint64_t wait_s;
    const char *name;           /* MODEL, or Ray */
    char *serve_argv[ARGS_MAX]; /* of keep and of serve: argv[0], options, MODEL; no key */
    int n_serve;
    char model_path[TW_LIFE_PATH_BYTES * 2];
    tw_life_paths paths;
    tw_life_record record;
    char run[TW_LIFE_RUN_BYTES];
    char how[16];
    pid_t keeper; /* our child, until it is a unit's */
    bool keeper_ended;
    int keeper_status;
    uint64_t began_ns, began_s;
    bool drew;
} up;

/* ---- the command line ---- */

/* Of a line that was understood: a name may be shortened as far as it is clear. */
static bool is_option(const char *word, const char *name)
{
    const size_t n = strcspn(word, "=");
    return n > 2 && strncmp(word, "--", 2) == 0 && strncmp(word + 2, name, n - 2) == 0;
}

/* up's own options leave the line; the rest is serve's. The key leaves it too: every user of this
 * machine can read command lines. */
static void split_args(up *u, int argc, char **argv)
{
    static char ray_only[] = "--ray-only"; /* said, or meant */
    bool rest = false;                     /* after "--" come words */
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        const bool own =
            is_option(a, "install") || is_option(a, "json") || is_option(a, "ray-only");
        const bool has_value = is_option(a, "wait") || is_option(a, "api-key");
        if (!rest && i > 0 && has_value && strchr(a, '=') == NULL)
            i++;
        if (rest || i == 0 || !(own || has_value))
            u->serve_argv[u->n_serve++] = argv[i];
        if (i == 0 && u->args.vllm.ray_only)
            u->serve_argv[u->n_serve++] = ray_only;
        rest = rest || strcmp(a, "--") == 0;
    }
    u->serve_argv[u->n_serve] = NULL;
}

/* Wherever the keeper starts, it is this folder. */
static int name_model(up *u, tw_err *err)
{
    char cwd[TW_LIFE_PATH_BYTES];
    const char *m = u->args.model;
    if (m == NULL || m[0] == '/' || !tw_file_exists(m))
        return 0;
    if (getcwd(cwd, sizeof cwd) == NULL)
        return tw_err_set(err, -errno, "the working folder has no name: %s", strerror(errno));
    int n = snprintf(u->model_path, sizeof u->model_path, "%s/%s", cwd, m);
    if (n < 0 || (size_t)n >= sizeof u->model_path)
        return tw_err_set(err, -ENAMETOOLONG, "%.100s: the path is too long", m);
    for (int i = 1; i < u->n_serve; i++)
        if (u->serve_argv[i] == m)
            u->serve_argv[i] = u->model_path;
    return 0;
}

/* What serve would refuse at once is refused here, before anything is started. */
static int parse(up *u, int argc, char **argv, tw_err *err)
{
    char *copy[ARGS_MAX + 1];
    tw_args nodes;
    if (argc >= ARGS_MAX)
        return tw_err_set(err, -E2BIG, "more than %d arguments", ARGS_MAX);
    memcpy(copy, argv, sizeof(char *) * (size_t)(argc + 1));
    tw_args_init(&u->args);
    int rc = tw_serve_args_parse(&tw_command_up, argc, copy, &u->args, err);
    nodes = u->args;
    if (rc == 0)
        rc = tw_far_find_nodes(&nodes, err);
    if (rc == 0 && u->args.vllm.ray_only && u->install)
        rc = tw_err_set(err, -EINVAL, "--install: a unit serves a model, Ray alone has none");
    if (rc != 0)
        return rc;
    u->name = u->args.vllm.ray_only ? "Ray" : u->args.model;
    if (u->args.api_key != NULL && setenv("TWINAX_API_KEY", u->args.api_key, 1) != 0)
        return tw_err_set(err, -ENOMEM, "no memory");
    split_args(u, argc, argv);
    return name_model(u, err);
}

/* ---- is one there already? ---- */

static int refuse_running(const tw_life_record *r, tw_err *err)
{
    char moment[32];
    tw_keep_moment(r->since_s, moment);
    return tw_err_set(err, -EEXIST,
                      "%s runs already: pid %d, %s, since %s; `twinax status` shows it, `twinax "
                      "down` ends it",
                      tw_keep_name(r), (int)r->serve.pid,
                      r->url[0] != '\0' ? r->url : "still starting", moment);
}

static int clear_crashed(up *u, tw_err *err)
{
    tw_down_report d;
    char moment[32];
    tw_keep_moment(u->record.since_s, moment);
    fprintf(stderr, "twinax up: an earlier one (%s, since %s) went without a word: cleaning up\n",
            tw_keep_name(&u->record), moment);
    tw_down_end(&u->record, &d);
    if (d.n_killed > 0)
        fprintf(stderr, "twinax up: %u left-over processes killed\n", d.n_killed);
    return d.n_left == 0 ? 0
                         : tw_err_set(err, -EBUSY, "still there from the earlier one: %s", d.left);
}

static int check_other(up *u, tw_err *err)
{
    enum tw_life_state state;
    int rc =
        tw_life_paths_make(u->args.vllm.ray_only ? TW_LIFE_RAY : TW_LIFE_SERVICE, &u->paths, err);
    if (rc == 0)
        rc = tw_life_look(&u->paths, &state, &u->record, err);
    if (rc != 0)
        return rc;
    if (state == TW_LIFE_RUNS)
        return refuse_running(&u->record, err);
    if (state == TW_LIFE_ELSEWHERE)
        return tw_err_set(
            err, -EREMOTE,
            "%s serves on %s, which has the same home folder: `twinax down` there, or "
            "set XDG_STATE_HOME here",
            tw_keep_name(&u->record), u->record.host);
    if (!u->install && !u->args.vllm.ray_only &&
        tw_up_unit_is_there()) /* systemd would start it beside ours, again and again */
        return tw_err_set(err, -EEXIST,
                          "the user unit of an `up --install` is there: `systemctl --user start "
                          "twinax` starts that, `twinax up --install` puts another in its place, "
                          "`twinax down` takes it away");
    return state == TW_LIFE_CRASHED ? clear_crashed(u, err) : 0;
}

/* ---- starting the keeper ---- */

static int new_run(up *u, tw_err *err)
{
    uint8_t bytes[(TW_LIFE_RUN_BYTES - 1) / 2];
    if (tw_sys_random(bytes, sizeof bytes) != 0)
        return tw_err_set(err, -EIO, "the kernel gives no random bytes");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(u->run + 2 * i, 3, "%02x", bytes[i]);
    if (setenv(TW_RUN_ENV, u->run, 1) != 0 || setenv(TW_HOW_ENV, u->how, 1) != 0)
        return tw_err_set(err, -ENOMEM, "no memory");
    return 0;
}

/* stdin nothing, stdout and stderr the log, no other file of ours, a session of its own, signals as
 * they come with a fresh process. */
static int spawn_detached(up *u, const char *const *argv, tw_err *err)
{
    union { /* posix_spawn's prototype is older than const */
        const char *const *c;
        char *const *m;
    } args = {.c = argv};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setsigmask(&attr, &none);
    int rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&files, 1, u->paths.log,
                                              O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0600);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&files, 1, 2);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&files, 3);
    if (rc == 0)
        rc = posix_spawnp(&u->keeper, argv[0], &files, &attr, args.m, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return rc == 0 ? 0 : tw_err_set(err, -rc, "cannot start %s: %s", argv[0], strerror(rc));
}

static int start_keeper(up *u, const tw_life_session *s, tw_err *err)
{
    static char program[1024], unit[64];
    const char *const scope[] = {"systemd-run", "--user", "--scope", "--quiet", "--collect", unit};
    const char *argv[ARGS_MAX + 16];
    int n = 0;
    const bool in_scope = s->has_manager && s->has_linger;
    ssize_t got = readlink("/proc/self/exe", program, sizeof program - 1);
    if (got <= 0)
        return tw_err_set(err, -errno, "where this program lies is not known: %s", strerror(errno));
    program[got] = '\0';
    snprintf(unit, sizeof unit, "--unit=twinax-serve-%d", (int)getpid());
    snprintf(u->how, sizeof u->how, "%s", in_scope ? "scope" : "session");
    for (size_t i = 0; in_scope && i < TW_ARRAY_LEN(scope); i++)
        argv[n++] = scope[i];
    argv[n++] = program;
    argv[n++] = "keep";
    for (int i = 1; i < u->n_serve; i++)
        argv[n++] = u->serve_argv[i];
    argv[n] = NULL;
    int rc = new_run(u, err);
    return rc == 0 ? spawn_detached(u, argv, err) : rc;
}

static int start(up *u, tw_err *err)
{
    tw_life_session s;
    tw_life_session_read(NULL, &s);
    u->began_ns = tw_clock_now_ns();
    u->began_s = tw_clock_unix_s();
    if (!u->install)
        return start_keeper(u, &s, err);
    snprintf(u->how, sizeof u->how, "unit");
    return tw_up_unit_start(u->args.model, u->serve_argv + 1, err);
}

/* ---- waiting ---- */

static void draw(up *u, const json_t *status)
{
    char span[48];
    tw_keep_span((tw_clock_now_ns() - u->began_ns) / TW_NS_PER_S, span, sizeof span);
    const json_t *l = json_object_get(status, "loading");
    const double done = (double)json_integer_value(json_object_get(l, "done_bytes"));
    const double total = (double)json_integer_value(json_object_get(l, "total_bytes"));
    if (!isatty(STDERR_FILENO))
        return;
    if (total > 0)
        fprintf(stderr, "\r\033[Kstarting %s: %.0f %% loaded, %s", u->name, 100 * done / total,
                span);
    else
        fprintf(stderr, "\r\033[Kstarting %s: %s", u->name, span);
    u->drew = true;
}

static void end_line(up *u)
{
    if (u->drew)
        fputs("\r\033[K", stderr);
    u->drew = false;
}

/* Its record: of this start, not of an earlier one. */
static bool read_record(up *u)
{
    tw_life_record r;
    tw_err ignored;
    if (tw_life_record_read(&u->paths, &r, &ignored) != 0)
        return false;
    if (u->install ? r.since_s < u->began_s : strcmp(r.run, u->run) != 0)
        return false;
    u->record = r;
    return true;
}

static void reap(up *u)
{
    if (u->keeper > 0 && !u->keeper_ended)
        u->keeper_ended = waitpid(u->keeper, &u->keeper_status, WNOHANG) == u->keeper;
}

/* Another `up` was faster, or its own last words are in the log. */
static int explain_keeper(up *u, tw_err *err)
{
    enum tw_life_state state;
    tw_life_record other;
    tw_err ignored;
    if (tw_life_look(&u->paths, &state, &other, &ignored) == 0 && state == TW_LIFE_RUNS &&
        strcmp(other.run, u->run) != 0)
        return refuse_running(&other, err);
    return tw_err_set(err, -EIO, "its keeper ended before serve began");
}

static int await_ready(up *u, tw_err *err)
{
    const uint64_t until = u->began_ns + u->wait_s * TW_NS_PER_S;
    for (unsigned i = 0; tw_clock_now_ns() < until; i++) {
        TW_CLEANUP(tw_json_freep) json_t *status = NULL;
        tw_err ignored;
        struct pollfd p = {.fd = tw_signal_fd(), .events = POLLIN};
        reap(u);
        const bool known = read_record(u);
        if (known && u->record.phase == TW_LIFE_READY)
            return u->args.vllm.ray_only
                       ? 0 /* it has counted its nodes */
                       : tw_ask_health_url(u->record.url, tw_clock_now_ns() + HEALTH_LIMIT_NS, err);
        if (known && u->record.phase == TW_LIFE_ENDED)
            return tw_err_set(err, -EIO, "it ended: %s", u->record.end);
        if (u->keeper_ended)
            return explain_keeper(u, err);
        (void)poll(&p, 1, LOOK_MS);
        if (tw_signal_asked_to_stop())
            return tw_err_set(err, -ECANCELED, "interrupted while starting: it is ended");
        if (i % ASK_EVERY != 0)
            continue;
        if (known && tw_keep_ask(u->paths.socket, ASK_LIMIT_NS, &status, &ignored) != 0)
            status = NULL;
        draw(u, status);
    }
    return tw_err_set(err, -ETIMEDOUT, "not ready after %llu s: it is ended (--wait S)",
                      (unsigned long long)u->wait_s);
}

/* ---- the end ---- */

static bool keeper_ends(up *u, uint64_t limit_ns)
{
    const uint64_t until = tw_clock_now_ns() + limit_ns;
    for (reap(u); !u->keeper_ended && tw_clock_now_ns() < until; reap(u))
        (void)poll(NULL, 0, LOOK_MS);
    return u->keeper_ended;
}

/* One that wrote no record yet: our child. What it started dies with it. */
static void end_keeper(up *u)
{
    if (u->keeper <= 0 || u->keeper_ended)
        return;
    (void)kill(u->keeper, SIGTERM);
    if (keeper_ends(u, TW_KEEP_GRACE_NS))
        return;
    (void)kill(u->keeper, SIGKILL);
    (void)keeper_ends(u, TW_KEEP_GRACE_NS);
}

/* What did not become ready does not stay. */
static void take_back(up *u)
{
    tw_down_report d;
    tw_err ignored;
    if (u->install && tw_up_unit_stop(false, &ignored) != 0)
        fprintf(stderr, "twinax up: %s\n", ignored.msg);
    if (read_record(u))
        tw_down_end(&u->record, &d);
    else
        end_keeper(u);
    reap(u);
}

static void print_log(const up *u)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(64 * 1024);
    uint64_t at;
    tw_err ignored;
    if (tw_life_log_tail(u->paths.log, TAIL_LINES, &b, &at, &ignored) != 0 || b.len == 0)
        return;
    fprintf(stderr, "the last lines of %s:\n%s", u->paths.log, b.data);
}

static void print_ready(const up *u)
{
    tw_life_session s;
    const tw_life_record *r = &u->record;
    tw_life_session_read(NULL, &s);
    const char *survives = tw_life_survives(&s, r->how);
    if (u->json) {
        TW_CLEANUP(tw_json_freep)
        json_t *v =
            json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:i}", "model", r->model, "url", r->url,
                      "pid", (int)r->serve.pid, "keeper", (int)r->keeper.pid, "how", r->how,
                      "survives", survives, "log", u->paths.log, "ranks", (int)r->n_ranks);
        (void)!json_dumpf(v, stdout, JSON_COMPACT);
        putchar('\n');
        return;
    }
    printf("%s is up at %s (pid %d", tw_keep_name(r), r->url, (int)r->serve.pid);
    if (r->n_ranks > 1)
        printf(", %zu %s", r->n_ranks, u->args.vllm.ray_only ? "nodes" : "ranks");
    if (u->args.vllm.ray_only)
        printf(")\n%s\n`twinax status` shows it, `twinax up MODEL --engine vllm` uses it, `twinax "
               "down` ends it\n",
               survives);
    else
        printf(")\n%s\n`twinax status` shows it, `twinax logs -f` what it says, `twinax down` ends "
               "it\n",
               survives);
}

static int bring_up(up *u, tw_err *err)
{
    int rc = check_other(u, err);
    if (rc == 0)
        rc = start(u, err);
    if (rc != 0)
        return rc;
    rc = await_ready(u, err);
    end_line(u);
    if (rc == 0) {
        print_ready(u);
        return tw_out_flush(err);
    }
    if (rc != -ECANCELED)
        print_log(u);
    take_back(u);
    return rc;
}

static int cmd_up(int argc, char **argv)
{
    static up u = {.wait_s = WAIT_S};
    tw_err err = {0};
    if (parse(&u, argc, argv, &err) != 0)
        return tw_command_misused(&tw_command_up, &err);
    int rc = bring_up(&u, &err);
    return tw_command_end(&tw_command_up, rc, &err);
}

static const tw_option options[] = {
    {"install",
     .help = "as a systemd user unit: it survives logout and reboots; `twinax down` removes it",
     .type = TW_OPT_FLAG, .offset = offsetof(up, install)},
    {"wait", .arg = "S", .help = "give up when it is not ready after so many seconds (3600)",
     .type = TW_OPT_U64, .offset = offsetof(up, wait_s)},
    {"json", .help = "one JSON object", .type = TW_OPT_FLAG, .offset = offsetof(up, json)},
    {.name = NULL},
};

static const tw_option_table tables[] = {
    {NULL, options},
    {"server", tw_options_serve},
    {"ranks", tw_options_ranks},
    {"other machines (docs/nodes.md)", tw_options_nodes},
    {"model", tw_options_model},
    {"--engine vllm (docs/vllm.md)", tw_options_vllm},
    {NULL, NULL},
};

static const tw_note env[] = {
    {"TWINAX_API_KEY", "as --api-key, but no other user sees it"},
    {NULL, NULL},
};

static const tw_note examples[] = {
    {"twinax up MODEL --nodes box1=192.168.100.1,box2=192.168.100.2", "on two machines"},
    {"twinax up", "what [serve] of twinax.conf says"},
    {"twinax up --engine vllm --ray-only", "Ray on all nodes; a model later"},
    {NULL, NULL},
};

const tw_command tw_command_up = {
    .name = "up",
    .args = "[MODEL]",
    .summary = "`serve` in the background, until `down`",
    .about =
        "Waits until the API answers, or says why it does not. MODEL is a folder in Hugging Face "
        "layout, or org/name; without it, what [serve] model in twinax.conf says. So for all "
        "options that the command line does not have: [serve] and [cluster] say them. With "
        "--engine "
        "vllm and no model anywhere: Ray alone, which a later `serve` or `up MODEL` uses.",
    .tables = tables,
    .run = cmd_up,
    .group = TW_GROUP_CLUSTER,
    .examples = examples,
    .env = env,
};
