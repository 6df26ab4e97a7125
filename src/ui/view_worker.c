/* SPDX-License-Identifier: Apache-2.0 */
/* A worker starts nothing: the head does, over ssh. This page looks whether the head can, and shows
 * what it has started. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "ui/app.h"
#include "ui/text.h"

#define CHECKS_EVERY_NS (15 * TW_NS_PER_S)
#define CHECKS_LIMIT_NS (60 * TW_NS_PER_S)
#define HERE_EVERY_NS   (1 * TW_NS_PER_S)
#define HERE_LIMIT_NS   (5 * TW_NS_PER_S)

enum { TITLE_COLS = 20 };

/* What a head needs of this machine, in the order of its way in. */
static const char *const ids[] = {"net.address", "nic.link",    "nic.mtu",        "net.firewall",
                                  "rdma.port",   "memory.free", "memory.memlock", NULL};

/* Its address: as typed, else the one of twinax.conf that is ours. */
static const char *own_ip(const tw_ui_app *a)
{
    if (a->worker_ip[0] != '\0')
        return a->worker_ip;
    for (size_t i = 0; i < a->config.n_nodes; i++)
        if (tw_ui_machine_has_ip(a->config.nodes[i].ip))
            return a->config.nodes[i].ip;
    return "";
}

static tw_ui_command question(const tw_ui_app *a)
{
    const char *ip = own_ip(a);
    tw_ui_command c = tw_ui_command_of("doctor", "--json", "--no-load", "--nodes", NULL);
    if (ip[0] != '\0')
        tw_ui_command_addf(&c, "%s=%s", a->host, ip);
    else
        tw_ui_command_add(&c, a->host);
    return c;
}

static void enter(tw_ui_app *a)
{
    tw_ui_read_config(a);
    const tw_ui_command checks = question(a);
    const tw_ui_command here = tw_ui_command_of("status", "--here", "--json", NULL);
    a->has_checks = false;
    a->here = (tw_ui_here){.n = 0};
    a->q_checks.every_ns = CHECKS_EVERY_NS;
    a->q_checks.limit_ns = CHECKS_LIMIT_NS;
    a->q_here.every_ns = HERE_EVERY_NS;
    a->q_here.limit_ns = HERE_LIMIT_NS;
    tw_ui_query_ask(&a->q_checks, &checks, a->now_ns);
    tw_ui_query_ask(&a->q_here, &here, a->now_ns);
}

static void leave(tw_ui_app *a)
{
    tw_ui_query_drop(&a->q_checks);
    tw_ui_query_drop(&a->q_here);
}

static void tick(tw_ui_app *a)
{
    tw_err err = {0};
    tw_ui_query *q = &a->q_checks, *h = &a->q_here;
    if (tw_ui_query_tick(q, a->opts->program, a->now_ns)) {
        if (q->why[0] == '\0' &&
            tw_ui_checks_parse(q->job.out.data, q->job.out.len, &a->checks, &err) != 0)
            snprintf(q->why, sizeof q->why, "%s", err.msg);
        a->has_checks = a->has_checks || q->why[0] == '\0';
    }
    if (tw_ui_query_tick(h, a->opts->program, a->now_ns) && h->why[0] == '\0' &&
        tw_ui_here_parse(h->job.out.data, h->job.out.len, &a->here, &err) != 0)
        snprintf(h->why, sizeof h->why, "%s", err.msg);
}

static const tw_ui_check *find(const tw_ui_checks *c, const char *id)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->v[i].id, id) == 0 && c->v[i].grade != TW_UI_NOT_ASKED)
            return &c->v[i];
    return NULL;
}

static int draw_line(tw_ui_app *a, int row, enum tw_ui_grade g, const char *title,
                     const char *found)
{
    tw_ui_screen *s = &a->screen;
    tw_ui_put(s, row, 2, tw_ui_grade_style(g), "%-4s", tw_ui_grade_word(g));
    tw_ui_put_width(s, row, 8, TITLE_COLS, TW_UI_PLAIN, title);
    tw_ui_put(s, row, 8 + TITLE_COLS, TW_UI_DIM, "%s", found);
    return row + 1;
}

/* What doctor cannot see of one machine alone; *ret_mend: what to do, the first thing first. */
static int draw_way_in(tw_ui_app *a, int row, const char **ret_mend)
{
    char path[1200];
    const bool has_sshd = tw_ui_machine_has_sshd();
    tw_ui_machine_twinax(path, sizeof path);
    row = draw_line(a, row, has_sshd ? TW_UI_OK : TW_UI_FAILS, "ssh server",
                    has_sshd ? "listens on port 22" : "nobody listens on port 22");
    row = draw_line(a, row, path[0] != '\0' ? TW_UI_OK : TW_UI_WARNS, "twinax for ssh",
                    path[0] != '\0' ? path : "not on PATH, nor in ~/.local/bin");
    if (!has_sshd)
        *ret_mend = "sudo systemctl enable --now ssh (Fedora: sshd)";
    else if (path[0] == '\0')
        *ret_mend = "install twinax here; or on the head: --agent-path, or --push";
    return row;
}

static int draw_checks(tw_ui_app *a, int row, int end)
{
    const char *mend = NULL;
    enum tw_ui_grade worst = TW_UI_OK;
    tw_ui_screen *s = &a->screen;
    row = draw_way_in(a, row, &mend);
    for (size_t i = 0; ids[i] != NULL && row < end - 3; i++) {
        const tw_ui_check *k = a->has_checks ? find(&a->checks, ids[i]) : NULL;
        if (k == NULL)
            continue;
        row = draw_line(a, row, k->grade, k->title, k->found);
        if (k->grade > worst && (mend == NULL || k->grade == TW_UI_FAILS)) {
            worst = k->grade;
            mend = k->mend;
        }
    }
    if (!a->has_checks)
        tw_ui_put(s, row++, 2, TW_UI_BAR, "%s %s", tw_ui_spinner(a),
                  a->q_checks.why[0] != '\0' ? a->q_checks.why : "looks at this machine");
    if (mend != NULL) {
        tw_ui_put(s, row, 8, TW_UI_WARNING, "mend:");
        row += tw_ui_put_wrapped(s, row, 14, s->cols - 16, 2, TW_UI_PLAIN, mend);
    }
    return row;
}

static void draw_ranks(tw_ui_app *a, int row)
{
    tw_ui_screen *s = &a->screen;
    const tw_ui_here *h = &a->here;
    if (a->q_here.why[0] != '\0') {
        tw_ui_put(s, row, 2, TW_UI_BAD, "%s", a->q_here.why);
        return;
    }
    if (h->n == 0)
        tw_ui_put(s, row, 2, TW_UI_BAR, "%s waits for the head: it has started no rank here yet",
                  tw_ui_spinner(a));
    for (size_t i = 0; i < h->n; i++) {
        char bytes[16], span[24];
        tw_ui_bytes(h->v[i].rss_bytes, bytes);
        tw_ui_span((uint64_t)(h->v[i].up_s > 0 ? h->v[i].up_s : 0), span);
        int at = tw_ui_put(s, row, 2, TW_UI_GOOD, "%s rank runs here", s->ascii ? "*" : "\u25cf");
        tw_ui_put(s, row++, at, TW_UI_PLAIN, ", pid %d, %s, for %s%s%s", h->v[i].pid, bytes, span,
                  h->v[i].from[0] != '\0' ? ", started from " : "", h->v[i].from);
    }
}

static void draw(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    const int end = tw_ui_body_end(a);
    const tw_ui_command c = question(a);
    int row = TW_UI_BODY_ROW;
    tw_ui_frame(a, "r", "look again", "Esc", "back", NULL);
    row +=
        tw_ui_put_wrapped(s, row, 1, s->cols - 2, 2, TW_UI_BOLD,
                          "This machine is started by the head over ssh: nothing to start here.");
    row += tw_ui_put_command(a, row, 1, &c);
    row = draw_checks(a, row + 1, end - 4);
    const tw_ui_command here = tw_ui_command_of("status", "--here", "--json", NULL);
    tw_ui_rule(s, end - 5);
    tw_ui_put_command(a, end - 4, 1, &here);
    draw_ranks(a, end - 3);
}

static void key(tw_ui_app *a, int key)
{
    if (key == 'r')
        enter(a);
    else if (key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C || key == 'q')
        tw_ui_pop(a);
}

const tw_ui_view tw_ui_view_worker = {
    .title = "Worker", .enter = enter, .draw = draw, .key = key, .tick = tick, .leave = leave};
