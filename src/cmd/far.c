/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/far.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/facts.h"
#include "cluster/remote.h"
#include "cmd/push.h"
#include "cmd/rank_report.h"
#include "os/fd.h"

#define RUN_LIMIT_NS (10 * TW_NS_PER_S)
#define END_WAIT_NS  (300 * TW_NS_PER_MS)

typedef struct far_node {
    const char *name;
    unsigned rank;
    tw_far *far;
    pthread_mutex_t *lock; /* the group's */
    tw_remote *remote;
    bool started;
    /* Under the lock: */
    bool ended; /* the rank, or the connection to it */
    bool has_status;
    int status; /* as by waitpid */
    tw_err why; /* the connection's end */
    char report[1024];
    uint64_t report_ns; /* 0: none yet */
} far_node;

struct tw_far {
    tw_args args;
    unsigned n_ranks;
    far_node nodes[TW_RANKS_MAX]; /* [1 .. n_ranks) */
    pthread_mutex_t lock;
    void (*on_lost)(void *ctx, unsigned rank, const char *why); /* under the lock */
    void *lost_ctx;
    void (*on_line)(void *ctx, unsigned rank, const char *line);
    void *line_ctx;
    bool has_pump;
    pthread_t pump;
    int wake[2]; /* its write end closed: the pump ends */
};

/* ---- hearing ---- */

static void take_event(void *ctx, const tw_remote_event *e)
{
    static const size_t n_mark = sizeof TW_RANK_REPORT_MARK - 1;
    far_node *n = ctx;
    const bool reports = !e->has_exit && strncmp(e->line, TW_RANK_REPORT_MARK, n_mark) == 0;
    if (!e->has_exit && !reports) { /* without the lock: who reads our stderr may be slow */
        fprintf(stderr, "%s: %s\n", n->name, e->line);
        if (n->far->on_line != NULL)
            n->far->on_line(n->far->line_ctx, n->rank, e->line);
        return;
    }
    pthread_mutex_lock(n->lock);
    if (reports) {
        snprintf(n->report, sizeof n->report, "%s", e->line + n_mark);
        n->report_ns = tw_clock_now_ns();
    } else {
        n->ended = n->has_status = true;
        n->status = e->status;
    }
    pthread_mutex_unlock(n->lock);
}

/* True while there is more to come from it. */
static bool hear(tw_far *f, far_node *n)
{
    tw_err why = {0};
    /* Not under the lock: to hear why a connection ended takes a moment. */
    int rc = tw_remote_hear(n->remote, take_event, n, &why);
    pthread_mutex_lock(&f->lock);
    const bool news = rc != 0 && !n->ended;
    if (news) {
        n->ended = true;
        n->why = why;
        if (f->on_lost != NULL)
            f->on_lost(f->lost_ctx, n->rank, why.msg);
    }
    pthread_mutex_unlock(&f->lock);
    if (news)
        tw_log(TW_LOG_ERROR, "nodes", "%s", why.msg);
    return rc == 0;
}

static uint64_t next_silence(const tw_far *f, const bool *open)
{
    uint64_t at = TW_NEVER_NS;
    for (unsigned r = 1; r < f->n_ranks; r++)
        if (open[r])
            at = TW_MIN(at, tw_remote_silent_at(f->nodes[r].remote));
    return at;
}

static int wait_until(struct pollfd *p, nfds_t n, uint64_t at)
{
    const uint64_t now = tw_clock_now_ns(), ns = at > now ? at - now + 1 : 0;
    const struct timespec ts = {(time_t)(ns / TW_NS_PER_S), (int)(ns % TW_NS_PER_S)};
    return ppoll(p, n, at == TW_NEVER_NS ? NULL : &ts, NULL);
}

static void *pump(void *arg)
{
    tw_far *f = arg;
    bool open[TW_RANKS_MAX] = {false};
    for (unsigned r = 1; r < f->n_ranks; r++)
        open[r] = hear(f, &f->nodes[r]); /* what came with the reply to run-rank */
    for (;;) {
        struct pollfd p[1 + 2 * TW_RANKS_MAX] = {{.fd = f->wake[0], .events = POLLIN}};
        for (unsigned r = 1; r < f->n_ranks; r++) {
            int fds[2] = {-1, -1};
            if (open[r])
                tw_remote_fds(f->nodes[r].remote, fds);
            p[2 * r] = (struct pollfd){.fd = fds[0], .events = POLLIN};
            p[2 * r + 1] = (struct pollfd){.fd = fds[1], .events = POLLIN};
        }
        p[1].fd = -1;
        const uint64_t at = next_silence(f, open);
        if (wait_until(p, 2 * f->n_ranks, at) < 0 && errno != EINTR)
            return NULL;
        if (p[0].revents != 0)
            return NULL;
        const uint64_t now = tw_clock_now_ns();
        for (unsigned r = 1; r < f->n_ranks; r++) {
            if (open[r])
                tw_remote_looked(f->nodes[r].remote, at);
            if (open[r] && ((p[2 * r].revents | p[2 * r + 1].revents) != 0 || now >= at))
                open[r] = hear(f, &f->nodes[r]);
        }
    }
}

/* ---- starting ---- */

static tw_far *new_far(const tw_args *a)
{
    tw_far *f = tw_mem_calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->args = *a;
    f->n_ranks = a->tp;
    f->wake[0] = f->wake[1] = -1;
    pthread_mutex_init(&f->lock, NULL);
    for (unsigned r = 1; r < f->n_ranks; r++)
        f->nodes[r] =
            (far_node){.name = f->args.nodes.v[r].name, .rank = r, .far = f, .lock = &f->lock};
    return f;
}

static void closep(tw_far **f)
{
    tw_far_close(*f);
}

int tw_far_open(const tw_args *a, tw_far **ret, tw_err *err)
{
    TW_CLEANUP(closep) tw_far *f = new_far(a);
    if (f == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the nodes");
    int rc = 0;
    for (unsigned r = 1; r < f->n_ranks && rc == 0; r++) {
        const tw_node_spec *s = &a->nodes.v[r];
        const char *path = s->agent_path[0] != '\0' ? s->agent_path : NULL;
        rc = tw_remote_start(s->ssh, path, &f->nodes[r].remote, err);
    }
    for (unsigned r = 1; r < f->n_ranks && rc == 0; r++) {
        tw_remote **n = &f->nodes[r].remote;
        rc = tw_remote_greet(*n, err);
        if (rc == 0)
            rc = tw_remote_check_arith(*n, err);
        rc = tw_remote_push_mend(tw_push_face_of(a->push), f->nodes[r].name, a->nodes.v[r].ssh, rc,
                                 n, err);
    }
    if (rc != 0)
        return rc;
    *ret = f;
    f = NULL;
    return 0;
}

tw_remote *tw_far_remote(tw_far *f, unsigned r)
{
    return f->nodes[r].remote;
}

static int start_rank(far_node *n, json_t *part, tw_err *err)
{
    json_t *request = json_pack("{s:O}", "part", part);
    int rc = request == NULL
                 ? tw_err_set(err, -ENOMEM, "no memory for a part")
                 : tw_remote_call(n->remote, "run-rank", request, RUN_LIMIT_NS, NULL, err);
    n->started = rc == 0;
    return rc;
}

int tw_far_run(tw_far *f, json_t *const *parts, tw_err *err)
{
    int rc = 0;
    for (unsigned r = 1; r < f->n_ranks; r++) {
        if (rc == 0)
            rc = start_rank(&f->nodes[r], parts[r], err);
        json_decref(parts[r]);
    }
    if (rc != 0)
        return rc;
    if (pipe2(f->wake, O_CLOEXEC) != 0)
        return tw_err_set(err, -errno, "pipe: %s", strerror(errno));
    rc = -pthread_create(&f->pump, NULL, pump, f);
    f->has_pump = rc == 0;
    return rc == 0 ? 0 : tw_err_set(err, rc, "no thread to hear the nodes: %s", strerror(-rc));
}

int tw_far_facts(tw_far *f, unsigned r, const tw_facts_opts *o, tw_facts *ret, tw_err *err)
{
    return tw_remote_host_facts(f->nodes[r].remote, o, ret, err);
}

void tw_far_on_line(tw_far *f, void (*fn)(void *ctx, unsigned rank, const char *line), void *ctx)
{
    f->on_line = fn;
    f->line_ctx = ctx;
}

void tw_far_on_lost(tw_far *f, void (*fn)(void *ctx, unsigned rank, const char *why), void *ctx)
{
    if (f == NULL)
        return;
    pthread_mutex_lock(&f->lock);
    f->on_lost = fn;
    f->lost_ctx = ctx;
    for (unsigned r = 1; r < f->n_ranks && fn != NULL; r++)
        if (f->nodes[r].ended && !f->nodes[r].has_status)
            fn(ctx, r, f->nodes[r].why.msg);
    pthread_mutex_unlock(&f->lock);
}

/* ---- ending ---- */

static void tell_end(const far_node *n, char *why, size_t why_bytes)
{
    if (!n->has_status)
        snprintf(why, why_bytes, "rank %u: %s", n->rank, n->why.msg);
    else if (WIFSIGNALED(n->status))
        snprintf(why, why_bytes, "%s: rank %u was killed by signal %d before it joined", n->name,
                 n->rank, WTERMSIG(n->status));
    else
        snprintf(why, why_bytes, "%s: rank %u ended with status %d before it joined", n->name,
                 n->rank, WEXITSTATUS(n->status));
}

unsigned tw_far_lost(tw_far *f, char *why, size_t why_bytes, bool *ret_by_itself)
{
    unsigned lost = 0;
    pthread_mutex_lock(&f->lock);
    for (unsigned r = 1; r < f->n_ranks && lost == 0; r++)
        if (f->nodes[r].ended) {
            tell_end(&f->nodes[r], why, why_bytes);
            *ret_by_itself = f->nodes[r].has_status && WIFEXITED(f->nodes[r].status);
            lost = r;
        }
    pthread_mutex_unlock(&f->lock);
    return lost;
}

bool tw_far_report(tw_far *f, unsigned r, char *out, size_t out_bytes, uint64_t *ret_age_ns)
{
    pthread_mutex_lock(&f->lock);
    const far_node *n = &f->nodes[r];
    const bool has = n->report_ns != 0;
    if (has) {
        snprintf(out, out_bytes, "%s", n->report);
        *ret_age_ns = tw_clock_now_ns() - n->report_ns;
    }
    pthread_mutex_unlock(&f->lock);
    return has;
}

static bool all_ended(tw_far *f)
{
    bool all = true;
    pthread_mutex_lock(&f->lock);
    for (unsigned r = 1; r < f->n_ranks; r++)
        all = all && (f->nodes[r].ended || !f->nodes[r].started);
    pthread_mutex_unlock(&f->lock);
    return all;
}

void tw_far_close(tw_far *f)
{
    if (f == NULL)
        return;
    uint64_t until = tw_clock_now_ns() + END_WAIT_NS;
    while (f->has_pump && !all_ended(f) && tw_clock_now_ns() < until)
        usleep(2000);
    tw_fd_closep(&f->wake[1]);
    if (f->has_pump)
        pthread_join(f->pump, NULL);
    tw_fd_closep(&f->wake[0]);
    for (unsigned r = 1; r < f->n_ranks; r++)
        tw_remote_part(f->nodes[r].remote);
    for (unsigned r = 1; r < f->n_ranks; r++)
        tw_remote_close(f->nodes[r].remote);
    pthread_mutex_destroy(&f->lock);
    tw_mem_free(f);
}
