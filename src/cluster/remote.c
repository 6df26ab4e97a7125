/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/remote.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/silence.h"
#include "cluster/agent_life.h"
#include "cluster/facts.h"
#include "cluster/remote_beat.h"
#include "cluster/ssh.h"
#include "fmt/agent_frame.h"
#include "os/child.h"
#include "os/fd.h"
#include "os/signal.h"
#include "twinax/version.h"

enum { READ_BYTES = 16 * 1024, SAYS_MAX = 4096, SLICE_MS = 100 };
#define HELLO_LIMIT_NS ((TW_SSH_CONNECT_S + 10) * TW_NS_PER_S)
#define FACTS_LIMIT_NS (10 * TW_NS_PER_S)
#define END_LIMIT_NS   (2 * TW_NS_PER_S)    /* to hear why it ended */
#define LOST_LIMIT_NS  (300 * TW_NS_PER_MS) /* the same with a rank there: others wait to be told */
#define STOP_GRACE_NS  (300 * TW_NS_PER_MS) /* ssh ends at once when asked, but a stopped one */

struct tw_remote {
    char name[256], host[64], agent_path[1024];
    bool is_local, has_child, greeted;
    bool beats, has_rank; /* it beats; a shorter silence is its death */
    tw_silence silence;
    tw_remote_beat beat;
    tw_child child;
    int in_fd, out_fd, says_fd; /* we read in and says, write out */
    tw_buf in;
    char says[SAYS_MAX];
    size_t n_says;
    uint64_t next_id;
    tw_remote_event_fn on_event; /* during calls; NULL: nobody listens */
    void *event_ctx;
    int arith; /* its arithmetic's version */
};

const char *tw_remote_name(const tw_remote *n)
{
    return n->name;
}

const char *tw_remote_host(const tw_remote *n)
{
    return n->host;
}

bool tw_remote_is_local(const tw_remote *n)
{
    return n->is_local;
}

void tw_remote_close(tw_remote *n)
{
    if (n == NULL)
        return;
    tw_remote_beat_done(&n->beat);
    if (n->has_child)
        tw_child_stop(&n->child, STOP_GRACE_NS);
    else
        tw_fd_closep(&n->in_fd);
    tw_buf_done(&n->in);
    tw_mem_free(n);
}

void tw_remote_part(tw_remote *n)
{
    if (n != NULL && n->has_child && n->child.pid > 0)
        (void)kill(n->child.pid, SIGTERM);
}

void tw_remote_closep(tw_remote **n)
{
    tw_remote_close(*n);
    *n = NULL;
}

/* The last words are kept: they hold the cause. */
static bool read_says(tw_remote *n)
{
    char chunk[1024];
    ssize_t got = n->says_fd >= 0 ? read(n->says_fd, chunk, sizeof chunk) : 0;
    if (got <= 0)
        return false;
    size_t room = sizeof n->says - 1 - n->n_says, take = (size_t)got;
    if (take > room) {
        size_t drop = take - room;
        memmove(n->says, n->says + drop, n->n_says - drop);
        n->n_says -= drop;
    }
    memcpy(n->says + n->n_says, chunk, take);
    n->n_says += take;
    n->says[n->n_says] = '\0';
    return true;
}

/* The other end has gone, or is silent: why? */
static int explain_end(tw_remote *n, bool ended, tw_err *err)
{
    int status = -1;
    if (!n->has_child)
        return tw_err_set(err, ended ? -ECONNRESET : -ETIMEDOUT, "%s: %s", n->name,
                          ended ? "the other end closed the connection" : "does not answer");
    uint64_t deadline = tw_clock_now_ns() + (n->has_rank ? LOST_LIMIT_NS : END_LIMIT_NS);
    while (ended && !tw_child_poll(&n->child, &status) && tw_clock_now_ns() < deadline) {
        struct pollfd pfd = {.fd = n->says_fd, .events = POLLIN};
        if (poll(&pfd, 1, 10) > 0 && !read_says(n))
            usleep(1000); /* its stderr is closed, it itself ends in a moment */
    }
    struct pollfd pfd = {.fd = n->says_fd, .events = POLLIN};
    while (poll(&pfd, 1, 0) > 0 && read_says(n))
        ;
    if (ended && n->child.pid > 0)
        return tw_err_set(err, -ECONNRESET, "%s: the connection to its agent broke off%s%s",
                          n->name, n->n_says > 0 ? ": " : "", n->says);
    tw_ssh_end e = {.name = n->name,
                    .agent_path = n->agent_path[0] != '\0' ? n->agent_path : NULL,
                    .says = n->says,
                    .status = n->child.pid == 0 ? status : -1,
                    .is_local = n->is_local,
                    .greeted = n->greeted};
    return tw_ssh_explain(&e, err);
}

static int read_some(tw_remote *n, tw_err *err)
{
    if (tw_buf_reserve(&n->in, READ_BYTES) != 0)
        return tw_err_set(err, -EPROTO, "%s: more than %d bytes that are no frame", n->name,
                          TW_AGENT_FRAME_MAX);
    ssize_t got = read(n->in_fd, n->in.data + n->in.len, READ_BYTES);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got <= 0)
        return explain_end(n, true, err);
    n->in.len += (size_t)got;
    tw_silence_hear(&n->silence, tw_clock_now_ns());
    return 0;
}

static uint64_t limit_of(const tw_remote *n)
{
    return n->has_rank ? TW_SILENCE_RANK_NS : TW_SILENCE_NS;
}

/* When its silence is its death; never, when it does not beat. */
static uint64_t silent_at(const tw_remote *n)
{
    return n->beats ? tw_silence_end(&n->silence, limit_of(n)) : TW_NEVER_NS;
}

/* ssh itself may be well and wait for TCP, for hours: it goes. */
static int give_up(tw_remote *n, tw_err *err)
{
    if (n->has_child && n->child.pid > 0)
        (void)kill(n->child.pid, SIGKILL);
    return tw_err_set(err, -ETIMEDOUT,
                      "%s: silent for %.1f s: the machine or its agent hangs, ssh was stopped, or "
                      "the network between us is cut",
                      n->name, (double)(tw_clock_now_ns() - n->silence.heard_ns) * 1e-9);
}

static int wait_more(tw_remote *n, uint64_t deadline, tw_err *err)
{
    struct pollfd pfds[3] = {{.fd = n->in_fd, .events = POLLIN},
                             {.fd = n->says_fd, .events = POLLIN},
                             {.fd = tw_signal_fd(), .events = POLLIN}};
    const uint64_t due = tw_clock_now_ns() + SLICE_MS * TW_NS_PER_MS;
    (void)poll(pfds, 3, SLICE_MS);
    tw_remote_looked(n, due);
    if (tw_signal_asked_to_stop())
        return tw_err_set(err, -ECANCELED, "%s: interrupted", n->name);
    if (pfds[1].revents != 0 && !read_says(n))
        n->says_fd = -1;
    if (pfds[0].revents != 0)
        return read_some(n, err);
    if (tw_clock_now_ns() > silent_at(n))
        return give_up(n, err);
    if (tw_clock_now_ns() > deadline)
        return explain_end(n, false, err);
    return 0;
}

static int await_greeting(tw_remote *n, uint64_t deadline, tw_err *err)
{
    while (!n->greeted) {
        size_t used = 0;
        int rc = tw_agent_greeting_find(n->in.data, n->in.len, &used);
        if (rc == 0) {
            tw_buf_drop(&n->in, used);
            n->greeted = true;
        } else if (rc != -EAGAIN) {
            return tw_err_set(err, -EPROTO,
                              "%s: what answers there is no twinax agent: its shell prints more "
                              "than %d bytes first (see its ~/.bashrc)",
                              n->name, TW_AGENT_BANNER_MAX);
        } else if ((rc = wait_more(n, deadline, err)) != 0) {
            return rc;
        }
    }
    return 0;
}

static int await_frame(tw_remote *n, uint64_t deadline, json_t **ret, tw_err *err)
{
    for (;;) {
        size_t used = 0;
        tw_err why = {0};
        int rc = tw_agent_frame_take(n->in.data, n->in.len, ret, &used, &why);
        if (rc == 0) {
            tw_buf_drop(&n->in, used);
            if (json_object_get(*ret, "event") == NULL && !tw_agent_is_beat(*ret))
                return 0;
            if (n->on_event != NULL && !tw_agent_is_beat(*ret))
                n->on_event(n->event_ctx, *ret);
            json_decref(*ret);
            *ret = NULL;
            continue;
        }
        if (rc != -EAGAIN)
            return tw_err_set(err, rc, "%s: %s", n->name, why.msg);
        rc = wait_more(n, deadline, err);
        if (rc != 0)
            return rc;
    }
}

void tw_remote_on_event(tw_remote *n, tw_remote_event_fn fn, void *ctx)
{
    n->on_event = fn;
    n->event_ctx = ctx;
}

static int send_frame(tw_remote *n, const json_t *v, uint64_t deadline, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_AGENT_FRAME_MAX + 64);
    int rc = tw_agent_frame_put(&b, v, err);
    if (rc != 0)
        return rc;
    rc = tw_remote_beat_send(&n->beat, b.data, b.len, deadline);
    if (rc == -ECANCELED)
        return tw_err_set(err, rc, "%s: interrupted", n->name);
    return rc == 0 ? 0 : explain_end(n, rc != -ETIMEDOUT, err);
}

int tw_remote_call(tw_remote *n, const char *op, json_t *args, uint64_t limit_ns, json_t **ret,
                   tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = args != NULL ? args : json_object();
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    uint64_t deadline = tw_clock_now_ns() + limit_ns, id = n->next_id++;
    if (v == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory for a request", n->name);
    json_object_set_new(v, "id", json_integer((json_int_t)id));
    json_object_set_new(v, "op", json_string(op));
    tw_silence_hear(&n->silence, tw_clock_now_ns()); /* nobody listened since the last call */
    int rc = await_greeting(n, deadline, err);
    if (rc == 0)
        rc = send_frame(n, v, deadline, err);
    if (rc == 0)
        rc = await_frame(n, deadline, &got, err);
    int code = 0;
    char text[200];
    tw_err why = {0};
    if (rc != 0)
        return rc;
    if (tw_agent_reply_read(got, id, &code, text, sizeof text, &why) != 0)
        return tw_err_set(err, -EPROTO, "%s: %s", n->name, why.msg);
    if (code != 0)
        return tw_err_set(err, code, "%s: %s", n->name, text);
    if (strcmp(op, "run-rank") == 0)
        n->has_rank = true;
    if (ret != NULL) {
        *ret = got;
        got = NULL;
    }
    return 0;
}

static int say_hello(tw_remote *n, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    json_t *args = json_pack("{s:s, s:i, s:b}", "version", tw_version(), "protocol",
                             TW_PROTOCOL_VERSION, "beat", 1);
    int rc = tw_remote_call(n, "hello", args, HELLO_LIMIT_NS, &got, err);
    if (rc != 0)
        return rc;
    json_int_t protocol = json_integer_value(json_object_get(got, "protocol"));
    const char *version = json_string_value(json_object_get(got, "version"));
    const char *host = json_string_value(json_object_get(got, "host"));
    if (protocol != TW_PROTOCOL_VERSION)
        return tw_err_set(err, -EPROTO,
                          "%s: another version: twinax %.20s there (protocol %lld), %s here "
                          "(protocol %d): install the same on both, or copy ours there by --push",
                          n->name, version != NULL ? version : "?", (long long)protocol,
                          tw_version(), TW_PROTOCOL_VERSION);
    n->arith = (int)json_integer_value(json_object_get(got, "arithmetic"));
    n->beats = json_is_true(json_object_get(got, "beat"));
    if (n->beats && (rc = tw_remote_beat_start(&n->beat, err)) != 0)
        return rc;
    snprintf(n->host, sizeof n->host, "%.63s", host != NULL ? host : n->name);
    for (char *c = n->host; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20)
            *c = '?';
    return 0;
}

static tw_remote *new_node(const char *name)
{
    tw_remote *n = tw_mem_calloc(1, sizeof *n);
    if (n == NULL)
        return NULL;
    n->in = TW_BUF(TW_AGENT_FRAME_MAX + TW_AGENT_BANNER_MAX + 2 * READ_BYTES);
    n->in_fd = n->out_fd = n->says_fd = -1;
    n->next_id = 1;
    tw_remote_beat_init(&n->beat, -1);
    snprintf(n->name, sizeof n->name, "%s", name);
    return n;
}

static int start_child(tw_remote *n, const char *agent_path, bool own_group, tw_err *err)
{
    tw_ssh_command ssh;
    const char *local[] = {agent_path != NULL ? agent_path : "/proc/self/exe", "agent", NULL};
    snprintf(n->agent_path, sizeof n->agent_path, "%s", agent_path != NULL ? agent_path : "");
    n->is_local = strcmp(n->name, "local") == 0;
    int rc = n->is_local ? 0 : tw_ssh_command_make(n->name, agent_path, &ssh, err);
    if (rc == 0)
        rc = tw_child_spawn(n->is_local ? local : ssh.argv,
                            TW_CHILD_PIPE_IN | TW_CHILD_PIPE_OUT | TW_CHILD_PIPE_ERR |
                                (own_group ? TW_CHILD_OWN_GROUP : 0u),
                            -1, &n->child, err);
    if (rc != 0)
        return rc;
    n->has_child = true;
    n->in_fd = n->child.out_fd;
    n->out_fd = n->child.in_fd;
    n->says_fd = n->child.err_fd;
    tw_remote_beat_init(&n->beat, n->out_fd);
    return 0;
}

int tw_remote_open(const char *name, const char *agent_path, tw_remote **ret, tw_err *err)
{
    TW_CLEANUP(tw_remote_closep) tw_remote *n = new_node(name);
    if (n == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory", name);
    int rc = start_child(n, agent_path, false, err);
    if (rc == 0)
        rc = say_hello(n, err);
    if (rc != 0)
        return rc;
    *ret = n;
    n = NULL;
    return 0;
}

int tw_remote_start(const char *name, const char *agent_path, tw_remote **ret, tw_err *err)
{
    TW_CLEANUP(tw_remote_closep) tw_remote *n = new_node(name);
    if (n == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory", name);
    int rc = start_child(n, agent_path, true, err);
    if (rc != 0)
        return rc;
    *ret = n;
    n = NULL;
    return 0;
}

int tw_remote_greet(tw_remote *n, tw_err *err)
{
    return say_hello(n, err);
}

int tw_remote_check_arith(const tw_remote *n, tw_err *err)
{
    if (n->arith == TW_ARITH_VERSION)
        return 0;
    return tw_err_set(err, -EPROTO,
                      "%s: its twinax computes other bits (arithmetic version %d there, %d here): "
                      "install the same version on both, or copy ours there by --push",
                      n->name, n->arith, TW_ARITH_VERSION);
}

int tw_remote_open_fd(int fd, const char *name, tw_remote **ret, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int own = fd;
    TW_CLEANUP(tw_remote_closep) tw_remote *n = new_node(name);
    if (n == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory", name);
    n->in_fd = n->out_fd = tw_fd_steal(&own);
    tw_remote_beat_init(&n->beat, n->out_fd);
    int rc = say_hello(n, err);
    if (rc != 0)
        return rc;
    *ret = n;
    n = NULL;
    return 0;
}

int tw_remote_facts(tw_remote *n, tw_net *ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = tw_remote_call(n, "facts", NULL, FACTS_LIMIT_NS, &got, err);
    return rc != 0 ? rc : tw_facts_net_parse(json_object_get(got, "net"), ret, err);
}

void tw_remote_fds(const tw_remote *n, int fds[2])
{
    fds[0] = n->in_fd;
    fds[1] = n->says_fd;
}

static int read_event(const json_t *v, tw_remote_event *ret)
{
    const char *kind = json_string_value(json_object_get(v, "event"));
    const char *line = json_string_value(json_object_get(v, "line"));
    const json_t *status = json_object_get(v, "status");
    *ret = (tw_remote_event){0};
    if (kind != NULL && strcmp(kind, "exit") == 0 && json_is_integer(status)) {
        ret->has_exit = true;
        ret->status = (int)json_integer_value(status);
        return 0;
    }
    if (kind == NULL || strcmp(kind, "log") != 0 || line == NULL)
        return -EPROTO;
    size_t k = 0;
    for (; line[k] != '\0' && k + 1 < sizeof ret->line; k++)
        ret->line[k] = (unsigned char)line[k] < 0x20 || line[k] == 0x7f ? ' ' : line[k];
    return 0;
}

uint64_t tw_remote_silent_at(const tw_remote *n)
{
    return silent_at(n);
}

void tw_remote_looked(tw_remote *n, uint64_t due_ns)
{
    tw_silence_look(&n->silence, limit_of(n), due_ns, tw_clock_now_ns());
}

static int take_events(tw_remote *n, void (*on_event)(void *ctx, const tw_remote_event *e),
                       void *ctx, tw_err *err)
{
    for (;;) {
        TW_CLEANUP(tw_json_freep) json_t *v = NULL;
        size_t used = 0;
        tw_err why = {0};
        tw_remote_event e;
        int rc_take = tw_agent_frame_take(n->in.data, n->in.len, &v, &used, &why);
        if (rc_take == -EAGAIN)
            return 0;
        if (rc_take != 0)
            return tw_err_set(err, rc_take, "%s: %s", n->name, why.msg);
        tw_buf_drop(&n->in, used);
        if (tw_agent_is_beat(v))
            continue;
        if (read_event(v, &e) != 0)
            return tw_err_set(err, -EPROTO, "%s: an event that makes no sense", n->name);
        on_event(ctx, &e);
    }
}

int tw_remote_hear(tw_remote *n, void (*on_event)(void *ctx, const tw_remote_event *e), void *ctx,
                   tw_err *err)
{
    struct pollfd pfds[2] = {{.fd = n->in_fd, .events = POLLIN},
                             {.fd = n->says_fd, .events = POLLIN}};
    int rc = 0;
    tw_err why = {0};
    (void)poll(pfds, 2, 0);
    if (pfds[1].revents != 0 && !read_says(n))
        n->says_fd = -1;
    if (pfds[0].revents != 0)
        rc = read_some(n, &why);
    /* Before the end is told: what the last call read beyond its reply waits here too. */
    int rc_take = take_events(n, on_event, ctx, err);
    if (rc_take != 0)
        return rc_take;
    if (rc != 0)
        return tw_err_set(err, rc, "%s", why.msg);
    if (tw_clock_now_ns() > silent_at(n))
        rc = give_up(n, err);
    return rc;
}
