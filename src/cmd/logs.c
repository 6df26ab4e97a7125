/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax logs`: what all ranks of the service in the background said, in one stream. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/str.h"
#include "cluster/life_log.h"
#include "cluster/life_state.h"
#include "cmd/commands.h"
#include "cmd/option.h"
#include "cmd/out.h"
#include "fmt/json.h"
#include "os/fd.h"
#include "os/signal.h"

enum { LINES_DEFAULT = 100, LINES_MAX = 1000000, SHOWN_MAX_BYTES = 24 << 20, LOOK_MS = 1000 };

typedef struct logs_opts {
    bool follow, json;
    uint32_t n_lines;
} logs_opts;

static const tw_option options[] = {
    {.name = "follow",
     .letter = 'f',
     .help = "go on with what comes, until ctrl-C",
     .type = TW_OPT_FLAG,
     .offset = offsetof(logs_opts, follow)},
    {.name = "lines",
     .letter = 'n',
     .arg = "N",
     .help = "the last N lines; default 100",
     .type = TW_OPT_U32,
     .offset = offsetof(logs_opts, n_lines),
     .min = 0,
     .max = LINES_MAX},
    {.name = "json",
     .help = "one JSON object a line: time, node, rank, text",
     .type = TW_OPT_FLAG,
     .offset = offsetof(logs_opts, json)},
    {.name = NULL},
};
static const tw_option_table tables[] = {{NULL, options}, {NULL, NULL}};

/* "TIME NODE rN TEXT" */
static void print_json_line(const char *line, size_t n)
{
    const char *space = memchr(line, ' ', n), *end = line + n;
    const char *node = space != NULL ? space + 1 : end;
    const char *rank = memchr(node, ' ', (size_t)(end - node));
    rank = rank != NULL ? rank + 1 : end;
    const bool whole = end - rank >= 2 && rank[0] == 'r' && rank[1] >= '0' && rank[1] <= '7' &&
                       tw_utf8_valid(line, n);
    const char *text = whole ? TW_MIN(rank + 3, end) : line;
    TW_CLEANUP(tw_json_freep)
    json_t *v = whole ? json_pack("{s:s%, s:s%, s:i, s:s%}", "time", line, (size_t)(space - line),
                                  "node", node, (size_t)(rank - 1 - node), "rank", rank[1] - '0',
                                  "text", text, (size_t)(end - text))
                      : json_pack("{s:s}", "text", "(a line that is no UTF-8, or of another make)");
    (void)!json_dumpf(v, stdout, JSON_COMPACT);
    putchar('\n');
}

/* Whole lines; returns how many bytes they were. */
static size_t print_lines(const logs_opts *o, const char *p, size_t n)
{
    size_t at = 0;
    for (const char *eol; at < n && (eol = memchr(p + at, '\n', n - at)) != NULL;) {
        const size_t len = (size_t)(eol - (p + at));
        if (o->json)
            print_json_line(p + at, len);
        else
            fwrite(p + at, 1, len + 1, stdout);
        at += len + 1;
    }
    return at;
}

/* Prints what fd has from *at on. */
static void print_more(const logs_opts *o, int fd, uint64_t *at)
{
    static char chunk[64 * 1024];
    for (;;) {
        ssize_t n = pread(fd, chunk, sizeof chunk, (off_t)*at);
        const size_t used = n > 0 ? print_lines(o, chunk, (size_t)n) : 0;
        if (used == 0)
            return;
        *at += used;
    }
}

/* The full file has been renamed and another has its name. */
static bool was_replaced(int fd, const char *path)
{
    struct stat mine, named;
    return fstat(fd, &mine) == 0 && stat(path, &named) == 0 && mine.st_ino != named.st_ino;
}

static int follow(const logs_opts *o, const char *path, uint64_t at, tw_err *err)
{
    char folder[TW_LIFE_PATH_BYTES];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    TW_CLEANUP(tw_fd_closep) int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (watch >= 0)
        (void)inotify_add_watch(watch, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
    while (!tw_signal_asked_to_stop()) {
        char events[4096];
        if (fd >= 0)
            print_more(o, fd, &at);
        if (fd < 0 || was_replaced(fd, path)) {
            tw_fd_closep(&fd);
            fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
            at = 0;
            if (fd >= 0)
                print_more(o, fd, &at);
        }
        int rc = tw_out_flush(err);
        if (rc != 0)
            return rc;
        struct pollfd p[3] = {{.fd = watch, .events = POLLIN},
                              {.fd = tw_signal_fd(), .events = POLLIN},
                              {.fd = STDOUT_FILENO}}; /* a reader that has gone */
        (void)poll(p, 3, LOOK_MS);
        if ((p[2].revents & (POLLERR | POLLHUP)) != 0)
            return 0;
        while (watch >= 0 && read(watch, events, sizeof events) > 0)
            continue;
    }
    return 0;
}

static int logs(const logs_opts *o, tw_err *err)
{
    tw_life_paths p;
    uint64_t at = 0;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(SHOWN_MAX_BYTES);
    int rc = tw_life_paths_make(&p, err);
    if (rc == 0)
        rc = tw_life_log_tail(p.log, o->n_lines, &b, &at, err);
    if (rc != 0)
        return rc;
    if (at == 0 && b.len == 0 && !o->follow)
        return tw_err_set(err, -ENOENT, "%s: there is no log yet: `twinax up MODEL` makes one",
                          p.log);
    (void)print_lines(o, b.data, b.len);
    rc = tw_out_flush(err);
    return rc == 0 && o->follow ? follow(o, p.log, at, err) : rc;
}

static int cmd_logs(int argc, char **argv)
{
    logs_opts o = {.n_lines = LINES_DEFAULT};
    tw_err err = {0};
    int first = 0;
    if (tw_options_parse(tables, argc, argv, &o, &first, &err) == 0 && first < argc)
        (void)tw_err_set(&err, -EINVAL, "%s: logs takes no such word", argv[first]);
    if (err.code != 0)
        return tw_command_misused(&tw_command_logs, &err);
    int rc = logs(&o, &err);
    return tw_command_end(&tw_command_logs, rc, &err);
}

const tw_command tw_command_logs = {
    .name = "logs",
    .args = "[-f] [-n N] [--json]",
    .summary = "what all its ranks said, in one stream",
    .about = "Each line has its moment (UTC), its node and its rank.",
    .tables = tables,
    .group = TW_GROUP_CLUSTER,
    .run = cmd_logs,
};
