/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/app.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"

enum { TURN_MS = 100, KEYS_A_TURN = 64, ASK_S = 3, ASK_OFTEN_S = 1, FOREGROUND_MS = 30 };
#define ANSWER_LIMIT_NS (8 * TW_NS_PER_S)
#define LEAVE_LIMIT_NS  (12 * TW_NS_PER_S) /* `up` takes back what it began */
#define QUERY_LIMIT_NS  (1 * TW_NS_PER_S)

static volatile sig_atomic_t g_must_end;

static void note_end(int sig)
{
    (void)sig;
    g_must_end = 1;
}

/* Before curses: it leaves alone what is not default. Signals end poll, so none is missed. */
static void take_signals(void)
{
    const struct sigaction end = {.sa_handler = note_end}, ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGHUP, &end, NULL);
    (void)sigaction(SIGINT, &end, NULL); /* sent by another: on this terminal it is a key */
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGTSTP, &ignore, NULL);
}

/* ---- pages ---- */

const tw_ui_view *tw_ui_top(const tw_ui_app *a)
{
    return a->views[a->depth - 1];
}

static void enter(tw_ui_app *a)
{
    if (tw_ui_top(a)->enter != NULL)
        tw_ui_top(a)->enter(a);
}

static void leave(tw_ui_app *a)
{
    if (tw_ui_top(a)->leave != NULL)
        tw_ui_top(a)->leave(a);
}

void tw_ui_push(tw_ui_app *a, const tw_ui_view *v)
{
    if (a->depth > 0)
        leave(a);
    if (a->depth == TW_UI_DEPTH) /* pages do not nest that deep */
        a->depth--;
    a->views[a->depth++] = v;
    enter(a);
}

void tw_ui_pop(tw_ui_app *a)
{
    leave(a);
    if (a->depth == 1) {
        a->must_quit = true;
        return;
    }
    a->depth--;
    enter(a);
}

void tw_ui_go(tw_ui_app *a, const tw_ui_view *v)
{
    leave(a);
    a->depth = 1;
    if (v != a->views[0])
        a->views[a->depth++] = v;
    enter(a);
}

void tw_ui_read_config(tw_ui_app *a)
{
    tw_err err = {0};
    a->config = (tw_ui_config){.n_nodes = 0};
    a->config_why[0] = '\0';
    if (a->opts->read_config(&a->config, &err) != 0)
        snprintf(a->config_why, sizeof a->config_why, "%s", err.msg);
}

/* ---- the foreground ---- */

/* Its own ctrl-C is the child's: we wait. */
static void await_child(tw_child *c)
{
    while (!tw_child_poll(c, NULL)) {
        (void)poll(NULL, 0, FOREGROUND_MS);
        if (g_must_end)
            tw_child_stop(c, 5 * TW_NS_PER_S);
    }
}

static void await_enter(void)
{
    char c = 0;
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!g_must_end && c != '\n') {
        if (poll(&p, 1, 1000) > 0 && read(STDIN_FILENO, &c, 1) != 1)
            return;
    }
}

void tw_ui_foreground(tw_ui_app *a, const tw_ui_command *c)
{
    char text[TW_UI_WORDS_BYTES];
    const char *argv[TW_UI_WORDS_MAX + 2];
    const struct sigaction ignore = {.sa_handler = SIG_IGN}, plain = {.sa_handler = SIG_DFL};
    struct sigaction was;
    tw_child child = {.pid = 0};
    tw_err err = {0};
    tw_ui_command_argv(c, a->opts->program, argv);
    tw_ui_screen_suspend(&a->screen);
    printf("\n$ %s\n", tw_ui_command_print(c, text, sizeof text));
    (void)fflush(stdout);
    (void)sigaction(SIGINT, &ignore, &was);
    (void)sigaction(SIGTSTP, &plain, NULL); /* ctrl-Z stops both, fg goes on with both */
    const int rc = tw_child_spawn(argv, 0, -1, &child, &err);
    if (rc == 0)
        await_child(&child);
    (void)sigaction(SIGINT, &was, NULL);
    (void)sigaction(SIGTSTP, &ignore, NULL);
    if (rc != 0)
        printf("%s\n", err.msg);
    else if (WIFSIGNALED(child.status))
        printf("ended by signal %d. ", WTERMSIG(child.status));
    else if (WEXITSTATUS(child.status) != 0)
        printf("exit status %d. ", WEXITSTATUS(child.status));
    printf("Enter goes back to the menu ");
    (void)fflush(stdout);
    await_enter();
    tw_ui_screen_resume(&a->screen);
    a->q_status.next_ns = tw_clock_now_ns();
}

/* ctrl-Z: as any other program. */
static void stop_self(tw_ui_app *a)
{
    tw_ui_screen_suspend(&a->screen);
    (void)raise(SIGSTOP);
    tw_ui_screen_resume(&a->screen);
}

/* ---- what is asked on every page ---- */

static void note_speed(tw_ui_app *a)
{
    if (!a->status.has_serve)
        return;
    if (a->n_history == TW_UI_HISTORY)
        memmove(a->history, a->history + 1, (--a->n_history) * sizeof a->history[0]);
    a->history[a->n_history++] = a->status.tok_s;
}

static void tick_status(tw_ui_app *a)
{
    tw_err err = {0};
    const tw_ui_view *v = tw_ui_top(a);
    const bool often = v == &tw_ui_view_status || v == &tw_ui_view_run;
    a->q_status.every_ns = (often ? ASK_OFTEN_S : ASK_S) * TW_NS_PER_S;
    if (!tw_ui_query_tick(&a->q_status, a->opts->program, a->now_ns))
        return;
    if (a->q_status.why[0] == '\0' &&
        tw_ui_status_parse(a->q_status.job.out.data, a->q_status.job.out.len, &a->status, &err) !=
            0)
        snprintf(a->q_status.why, sizeof a->q_status.why, "%s", err.msg);
    a->has_status = a->q_status.why[0] == '\0';
    if (a->has_status)
        note_speed(a);
}

static void tick(tw_ui_app *a)
{
    a->now_ns = tw_clock_now_ns();
    a->frame = (unsigned)(a->now_ns / (120 * TW_NS_PER_MS));
    tick_status(a);
    if (tw_ui_top(a)->tick != NULL)
        tw_ui_top(a)->tick(a);
}

/* ---- the loop ---- */

static bool is_too_small(const tw_ui_app *a)
{
    return a->screen.rows < TW_UI_ROWS || a->screen.cols < TW_UI_COLS;
}

static void draw_too_small(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    char text[120];
    snprintf(text, sizeof text, "This terminal is %d x %d. The menu wants %d x %d: make it larger.",
             s->cols, s->rows, TW_UI_COLS, TW_UI_ROWS);
    int n = tw_ui_put_wrapped(s, 0, 0, s->cols, s->rows, TW_UI_BOLD, text);
    tw_ui_put(s, n, 0, TW_UI_DIM, "q leaves it");
}

static void draw(tw_ui_app *a)
{
    tw_ui_screen_begin(&a->screen);
    if (is_too_small(a))
        draw_too_small(a);
    else
        tw_ui_top(a)->draw(a);
    tw_ui_screen_end(&a->screen);
}

static void take_key(tw_ui_app *a, int key)
{
    if (key == TW_UI_KEY_RESIZE)
        return;
    if (key == TW_UI_KEY_CTRL_Z)
        stop_self(a);
    else if (!is_too_small(a))
        tw_ui_top(a)->key(a, key);
    else if (key == 'q' || key == TW_UI_KEY_CTRL_C)
        a->must_quit = true;
}

static size_t job_fds(tw_ui_app *a, struct pollfd *out)
{
    const tw_ui_job *jobs[] = {&a->run.job,    &a->q_status.job, &a->q_models.job,
                               &a->q_plan.job, &a->q_checks.job, &a->q_here.job};
    size_t n = 0;
    for (size_t i = 0; i < TW_ARRAY_LEN(jobs); i++)
        n += tw_ui_job_fds(jobs[i], out + n);
    return n;
}

/* -EIO: the terminal is gone. */
static int turn(tw_ui_app *a)
{
    struct pollfd fds[1 + 6 * TW_UI_FDS_MAX] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    tick(a);
    draw(a);
    const nfds_t n = 1 + (nfds_t)job_fds(a, fds + 1);
    (void)poll(fds, n, TURN_MS);
    int key = TW_UI_KEY_NONE, n_keys = 0;
    while (n_keys < KEYS_A_TURN && !a->must_quit &&
           (key = tw_ui_screen_key(&a->screen)) != TW_UI_KEY_NONE) {
        take_key(a, key);
        n_keys++;
    }
    const bool hung = (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
    return hung && n_keys == 0 ? -EIO : 0;
}

static void stop_children(tw_ui_app *a)
{
    tw_ui_query *queries[] = {&a->q_status, &a->q_models, &a->q_plan, &a->q_checks, &a->q_here};
    if (a->run.job.is_running && isatty(STDERR_FILENO))
        fprintf(stderr, "twinax ui: waits until what it ran has ended ...\n");
    tw_ui_job_done(&a->run.job, LEAVE_LIMIT_NS);
    for (size_t i = 0; i < TW_ARRAY_LEN(queries); i++)
        tw_ui_query_drop(queries[i]);
    for (size_t i = 0; i < TW_ARRAY_LEN(queries); i++)
        tw_ui_job_done(&queries[i]->job, QUERY_LIMIT_NS);
}

static void appp_done(tw_ui_app **a)
{
    if (*a == NULL)
        return;
    tw_ui_screen_close(&(*a)->screen); /* first: nobody waits before a dead screen */
    stop_children(*a);
    tw_ui_lines_done(&(*a)->run.lines);
    tw_ui_catalogue_done(&(*a)->catalogue);
    tw_ui_checks_done(&(*a)->checks);
    tw_mem_free(*a);
    *a = NULL;
}

const char *tw_ui_why_not(void)
{
    return tw_ui_screen_why_not();
}

int tw_ui_menu_run(const tw_ui_opts *opts, tw_err *err)
{
    TW_CLEANUP(appp_done) tw_ui_app *a = tw_mem_calloc(1, sizeof *a);
    if (a == NULL || !tw_ui_lines_init(&a->run.lines))
        return tw_err_set(err, -ENOMEM, "no memory for the menu");
    a->opts = opts;
    a->vllm = opts->vllm;
    a->now_ns = tw_clock_now_ns();
    tw_ui_machine_host(a->host, sizeof a->host);
    tw_ui_read_config(a);
    const tw_ui_command status = tw_ui_command_of("status", "--json", NULL);
    a->q_status.limit_ns = ANSWER_LIMIT_NS;
    tw_ui_query_ask(&a->q_status, &status, a->now_ns);
    take_signals();
    int rc = tw_ui_screen_open(&a->screen, opts->ascii, err);
    if (rc != 0)
        return rc;
    tw_ui_push(a, &tw_ui_view_menu);
    while (rc == 0 && !a->must_quit && !g_must_end)
        rc = turn(a);
    return 0; /* a terminal that has gone is an end as any other */
}
