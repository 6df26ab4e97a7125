/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax logs`: what all ranks of the service in the background said, in one stream. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "cluster/life_log.h"
#include "cluster/life_state.h"
#include "cmd/commands.h"
#include "cmd/option.h"
#include "cmd/out.h"
#include "fmt/json.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/signal.h"

enum { LINES_DEFAULT = 100, LINES_MAX = 1000000, SHOWN_MAX_BYTES = 24 << 20, LOOK_MS = 1000 };
enum { MOMENT_BYTES = 20 }; /* "2026-11-22T17:24:00" */

typedef struct logs_opts {
    bool follow, json, ray, has_lines, has_rank;
    uint32_t n_lines, rank;
    const char *node;         /* NULL: all */
    char since[MOMENT_BYTES]; /* UTC, as lines begin; empty: all */
} logs_opts;

/* ---- options ---- */

/* "15m": so long ago. */
static bool parse_span(const char *text, uint64_t *ret_s)
{
    static const char units[] = "smhd";
    static const uint64_t seconds[] = {1, 60, 3600, 86400};
    char number[16];
    const size_t n = strspn(text, "0123456789");
    const char *unit = n > 0 && n < 10 && strlen(text) == n + 1 ? strchr(units, text[n]) : NULL;
    uint64_t v = 0;
    snprintf(number, sizeof number, "%.*s", (int)TW_MIN(n, sizeof number - 1), text);
    if (unit == NULL || tw_str_to_u64(number, &v) != 0)
        return false;
    *ret_s = v * seconds[unit - units];
    return true;
}

/* "2026-11-22 18:00", this machine's time, or UTC with a Z behind. */
static bool parse_moment(const char *text, time_t *ret)
{
    static const char *const forms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M",
                                        "%Y-%m-%dT%H:%M", "%Y-%m-%d"};
    for (size_t i = 0; i < TW_ARRAY_LEN(forms); i++) {
        struct tm tm = {.tm_isdst = -1};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        const char *end = strptime(text, forms[i], &tm);
#pragma GCC diagnostic pop
        const bool utc = end != NULL && strcmp(end, "Z") == 0;
        if (end == NULL || (*end != '\0' && !utc))
            continue;
        *ret = utc ? timegm(&tm) : mktime(&tm);
        return *ret != (time_t)-1;
    }
    return false;
}

static int set_since(void *opts, char *value, tw_err *err)
{
    logs_opts *o = opts;
    uint64_t span_s = 0;
    const uint64_t now_s = tw_clock_unix_s();
    time_t from = 0;
    struct tm tm;
    const bool is_span = parse_span(value, &span_s);
    if (is_span)
        from = (time_t)(now_s > span_s ? now_s - span_s : 0);
    if (!is_span && !parse_moment(value, &from))
        return tw_err_set(err, -EINVAL,
                          "--since %.60s: wanted 30s, 15m, 2h or 1d ago, or a moment like "
                          "'2026-11-22 18:00' (this machine's time; with a Z behind it UTC)",
                          value);
    if (gmtime_r(&from, &tm) == NULL ||
        strftime(o->since, sizeof o->since, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        return tw_err_set(err, -EINVAL, "--since %.60s: no such year", value);
    return 0;
}

static const tw_option options[] = {
    {.name = "follow",
     .letter = 'f',
     .help = "go on with what comes, until ctrl-C",
     .type = TW_OPT_FLAG,
     .offset = offsetof(logs_opts, follow)},
    {.name = "lines",
     .letter = 'n',
     .arg = "N",
     .help = "the last N lines; default 100, with --since all of them",
     .type = TW_OPT_U32,
     .offset = offsetof(logs_opts, n_lines),
     .has_offset = offsetof(logs_opts, has_lines),
     .min = 0,
     .max = LINES_MAX},
    {.name = "since",
     .arg = "WHEN",
     .help = "from then on: 30s, 15m, 2h, 1d (ago), or '2026-11-22 18:00'",
     .type = TW_OPT_CALL,
     .call = set_since},
    {.name = "rank",
     .arg = "R",
     .help = "of this rank alone",
     .type = TW_OPT_U32,
     .offset = offsetof(logs_opts, rank),
     .has_offset = offsetof(logs_opts, has_rank),
     .min = 0,
     .max = 7},
    {.name = "node",
     .arg = "NAME",
     .help = "of this node alone",
     .type = TW_OPT_TEXT,
     .offset = offsetof(logs_opts, node)},
    {.name = "ray",
     .help = "of Ray, which `up --engine vllm` without a model has started",
     .type = TW_OPT_FLAG,
     .offset = offsetof(logs_opts, ray)},
    {.name = "json",
     .help = "one JSON object a line: time, node, rank, text",
     .type = TW_OPT_FLAG,
     .offset = offsetof(logs_opts, json)},
    {.name = NULL},
};
static const tw_option_table tables[] = {{NULL, options}, {NULL, NULL}};

/* ---- a line ---- */

/* "TIME NODE rN TEXT" */
typedef struct log_line {
    bool whole; /* else it is of another make: no UTF-8, or of a crash */
    tw_str time, node, text;
    unsigned rank;
} log_line;

static log_line split_line(const char *line, size_t n)
{
    const char *end = line + n, *space = memchr(line, ' ', n);
    const char *node = space != NULL ? space + 1 : end;
    const char *rank = memchr(node, ' ', (size_t)(end - node));
    rank = rank != NULL ? rank + 1 : end;
    const bool whole = end - rank >= 2 && rank[0] == 'r' && rank[1] >= '0' && rank[1] <= '7' &&
                       tw_utf8_valid(line, n);
    if (!whole)
        return (log_line){.whole = false};
    const char *text = TW_MIN(rank + 3, end);
    return (log_line){.whole = true,
                      .time = {line, (size_t)(space - line)},
                      .node = {node, (size_t)(rank - 1 - node)},
                      .text = {text, (size_t)(end - text)},
                      .rank = (unsigned)(rank[1] - '0')};
}

/* One of another make belongs to the line before it, as far as can be told. */
static bool is_wanted(const logs_opts *o, const char *line, size_t n)
{
    if (o->since[0] == '\0' && !o->has_rank && o->node == NULL)
        return true;
    const log_line l = split_line(line, n);
    const size_t n_since = strlen(o->since);
    if (!l.whole || (o->has_rank && l.rank != o->rank))
        return false;
    if (o->node != NULL &&
        (strlen(o->node) != l.node.len || memcmp(o->node, l.node.p, l.node.len) != 0))
        return false;
    return l.time.len >= n_since && memcmp(l.time.p, o->since, n_since) >= 0;
}

static void print_json_line(const char *line, size_t n)
{
    const log_line l = split_line(line, n);
    TW_CLEANUP(tw_json_freep)
    json_t *v =
        l.whole ? json_pack("{s:s%, s:s%, s:i, s:s%}", "time", l.time.p, l.time.len, "node",
                            l.node.p, l.node.len, "rank", (int)l.rank, "text", l.text.p, l.text.len)
                : json_pack("{s:s}", "text", "(a line that is no UTF-8, or of another make)");
    (void)!json_dumpf(v, stdout, JSON_COMPACT);
    putchar('\n');
}

/* Whole lines that are wanted; returns how many bytes were looked at. */
static size_t print_lines(const logs_opts *o, const char *p, size_t n)
{
    size_t at = 0;
    for (const char *eol; at < n && (eol = memchr(p + at, '\n', n - at)) != NULL;) {
        const size_t len = (size_t)(eol - (p + at));
        if (!is_wanted(o, p + at, len))
            ;
        else if (o->json)
            print_json_line(p + at, len);
        else
            fwrite(p + at, 1, len + 1, stdout);
        at += len + 1;
    }
    return at;
}

/* Where the last n lines that are wanted begin. */
static size_t find_last(const logs_opts *o, const tw_buf *b, unsigned n)
{
    size_t at = b->len;
    for (unsigned seen = 0; at > 0 && seen < n;) {
        const char *before = memrchr(b->data, '\n', at - 1);
        const size_t begin = before != NULL ? (size_t)(before + 1 - b->data) : 0;
        seen += is_wanted(o, b->data + begin, at - 1 - begin);
        at = begin;
    }
    return at;
}

/* ---- following ---- */

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

static void print_news(const logs_opts *o, const char *path, int *fd, uint64_t *at)
{
    if (*fd >= 0)
        print_more(o, *fd, at);
    if (*fd >= 0 && !was_replaced(*fd, path))
        return;
    if (*fd >= 0) /* what came between the look and the renaming: now nothing more comes */
        print_more(o, *fd, at);
    tw_fd_closep(fd);
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    *at = 0;
    if (*fd >= 0)
        print_more(o, *fd, at);
}

static int follow(const logs_opts *o, const char *path, uint64_t at, tw_err *err)
{
    char folder[TW_LIFE_PATH_BYTES];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    TW_CLEANUP(tw_fd_closep) int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size < at)
        at = 0; /* another file by now */
    if (watch >= 0)
        (void)inotify_add_watch(watch, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
    while (!tw_signal_asked_to_stop()) {
        char events[4096];
        print_news(o, path, &fd, &at);
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

/* Ray's where it is asked for, and where nothing else was ever started. */
static int find_log(bool ray, tw_life_paths *ret, tw_err *err)
{
    tw_life_paths other;
    int rc = tw_life_paths_make(TW_LIFE_SERVICE, ret, err);
    if (rc == 0)
        rc = tw_life_paths_make(TW_LIFE_RAY, &other, err);
    if (rc == 0 && (ray || (!tw_file_exists(ret->log) && tw_file_exists(other.log))))
        *ret = other;
    return rc;
}

static int logs(const logs_opts *o, tw_err *err)
{
    tw_life_paths p;
    uint64_t at = 0;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(SHOWN_MAX_BYTES);
    int rc = find_log(o->ray, &p, err);
    if (rc == 0)
        rc = tw_life_log_tail(p.log, LINES_MAX, &b, &at, err);
    if (rc != 0)
        return rc;
    if (at == 0 && b.len == 0 && !o->follow)
        return tw_err_set(err, -ENOENT, "%s: there is no log yet: `twinax up%s` makes one", p.log,
                          o->ray ? " --engine vllm" : " MODEL");
    const size_t from = find_last(o, &b, o->n_lines);
    (void)print_lines(o, b.data + from, b.len - from);
    rc = tw_out_flush(err);
    return rc == 0 && o->follow ? follow(o, p.log, at, err) : rc;
}

static int cmd_logs(int argc, char **argv)
{
    logs_opts o = {.n_lines = LINES_DEFAULT};
    tw_err err = {0};
    int first = 0;
    if (tw_options_parse(tables, argc, argv, &o, &first, &err) == 0 && first < argc)
        (void)tw_err_set(&err, -EINVAL,
                         "%s: logs takes no such word: it shows all; one node's: --node %s",
                         argv[first], argv[first]);
    if (err.code != 0)
        return tw_command_misused(&tw_command_logs, &err);
    if (o.since[0] != '\0' && !o.has_lines)
        o.n_lines = LINES_MAX;
    int rc = logs(&o, &err);
    return tw_command_end(&tw_command_logs, rc, &err);
}

static const tw_note examples[] = {
    {"twinax logs -f", "the last 100 lines, and what comes"},
    {"twinax logs --since 10m --rank 1", "what rank 1 said in the last ten minutes"},
    {NULL, NULL},
};

const tw_command tw_command_logs = {
    .name = "logs",
    .args = "[-f] [-n N] [--since WHEN] [--rank R] [--node NAME] [--ray] [--json]",
    .summary = "what all its ranks said, in one stream",
    .about =
        "Each line has its moment (UTC), its node and its rank. Two files of 8 MiB are kept at "
        "most: a service of weeks does not fill the disk.",
    .tables = tables,
    .group = TW_GROUP_CLUSTER,
    .run = cmd_logs,
    .examples = examples,
};
