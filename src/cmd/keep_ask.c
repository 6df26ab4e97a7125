/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a running serve for its status. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"
#include "cmd/keep.h"
#include "cmd/serve_status.h"
#include "os/fd.h"

/* A path may be longer than a socket's address: its folder is opened, and named as a file of ours. */
static int connect_path(const char *path, int *ret_fd)
{
    const char *slash = strrchr(path, '/');
    char folder[TW_LIFE_PATH_BYTES];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (slash == NULL || strlen(slash + 1) > 60)
        return -EINVAL;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    TW_CLEANUP(tw_fd_closep) int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    TW_CLEANUP(tw_fd_closep)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (dir < 0 || fd < 0)
        return -errno;
    snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/%.60s", dir, slash + 1);
    if (connect(fd, (const struct sockaddr *)(const void *)&at, sizeof at) != 0)
        return -errno;
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}

int tw_keep_ask(const char *socket_path, uint64_t limit_ns, json_t **ret, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + limit_ns;
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_STATUS_MAX_BYTES + 8192);
    int rc = connect_path(socket_path, &fd);
    if (rc != 0)
        return tw_err_set(err, rc, "%s: nobody answers: %s", socket_path, strerror(-rc));
    for (;;) {
        const uint64_t now = tw_clock_now_ns();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= until || tw_buf_reserve(&b, 4096) != 0)
            return tw_err_set(err, -ETIMEDOUT, "%s: no whole answer within %.1f s", socket_path,
                              (double)limit_ns / 1e9);
        (void)poll(&p, 1, (int)((until - now) / TW_NS_PER_MS) + 1);
        ssize_t n = read(fd, b.data + b.len, 4096);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            break;
        b.len += (size_t)n;
    }
    if (b.len == 0)
        return tw_err_set(err, -ECONNRESET, "%s: closed without an answer", socket_path);
    return tw_json_parse("status", b.data, b.len, ret, err);
}

static void copy(const json_t *v, const char *key, char *out, size_t out_bytes)
{
    const char *text = json_string_value(json_object_get(v, key));
    snprintf(out, out_bytes, "%s", text != NULL ? text : "");
}

void tw_keep_take_ranks(const json_t *status, tw_life_record *r)
{
    const json_t *list = json_object_get(status, "ranks");
    r->n_ranks = 0;
    for (size_t i = 0; i < json_array_size(list) && i < TW_NODES_MAX; i++) {
        const json_t *v = json_array_get(list, i);
        tw_life_rank *k = &r->ranks[r->n_ranks++];
        k->rank = (unsigned)json_integer_value(json_object_get(v, "rank"));
        copy(v, "node", k->node, sizeof k->node);
        copy(v, "ssh", k->ssh, sizeof k->ssh);
        copy(v, "agent_path", k->agent_path, sizeof k->agent_path);
        k->proc.pid = (pid_t)json_integer_value(json_object_get(v, "pid"));
        k->proc.start = (uint64_t)json_integer_value(json_object_get(v, "start"));
    }
}

const char *tw_keep_name(const tw_life_record *r)
{
    const char *slash = r->model[0] == '/' ? strrchr(r->model, '/') : NULL;
    return r->model[0] == '\0'                 ? "the service"
           : slash != NULL && slash[1] != '\0' ? slash + 1
                                               : r->model;
}

void tw_keep_span(uint64_t seconds, char *out, size_t out_bytes)
{
    const unsigned s = (unsigned)(seconds % 60), m = (unsigned)(seconds / 60 % 60),
                   h = (unsigned)(seconds / 3600 % 24);
    const unsigned long long d = seconds / 86400;
    if (d > 0)
        snprintf(out, out_bytes, "%llu d %u h", d, h);
    else if (h > 0)
        snprintf(out, out_bytes, "%u h %u min", h, m);
    else if (m > 0)
        snprintf(out, out_bytes, "%u min %u s", m, s);
    else
        snprintf(out, out_bytes, "%u s", s);
}

void tw_keep_moment(uint64_t unix_s, char out[32])
{
    const time_t t = (time_t)unix_s;
    struct tm tm;
    if (localtime_r(&t, &tm) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(out, 32, "?");
}
