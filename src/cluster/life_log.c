/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/life_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/scope.h"
#include "os/fd.h"

static int open_file(tw_life_log *l)
{
    struct stat st;
    l->fd =
        open(l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (l->fd < 0 || fstat(l->fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    l->n_bytes = (uint64_t)st.st_size;
    return fchmod(l->fd, 0600) == 0 ? 0 : -errno;
}

int tw_life_log_open(tw_life_log *l, const char *path, const char *head, uint64_t max_bytes,
                     tw_err *err)
{
    *l = (tw_life_log){.fd = -1, .max_bytes = max_bytes != 0 ? max_bytes : TW_LIFE_LOG_MAX_BYTES};
    snprintf(l->path, sizeof l->path, "%s", path);
    snprintf(l->head, sizeof l->head, "%.63s", head);
    int rc = open_file(l);
    if (rc == 0)
        return 0;
    tw_life_log_close(l);
    return tw_err_set(err, rc, "%s: cannot open the log: %s", path,
                      rc == -ELOOP ? "it is a link" : strerror(-rc));
}

void tw_life_log_close(tw_life_log *l)
{
    tw_fd_closep(&l->fd);
}

/* The full file becomes the older one, whose place it takes. */
static void rotate(tw_life_log *l)
{
    char old[sizeof l->path + 4];
    snprintf(old, sizeof old, "%s.1", l->path);
    if (rename(l->path, old) != 0)
        return;
    const int full = l->fd;
    if (open_file(l) == 0)
        close(full);
    else
        l->fd = full;
}

void tw_life_log_split(tw_str line, tw_str *ret_node, unsigned *ret_rank, tw_str *ret_text)
{
    size_t i = 0;
    *ret_node = TW_STR("");
    *ret_rank = 0;
    *ret_text = line;
    while (i < line.len && line.p[i] > ' ' && line.p[i] != ':')
        i++;
    const bool named = i > 0 && i + 1 < line.len && line.p[i] == ':' && line.p[i + 1] == ' ';
    const size_t at = named ? i + 2 : 0;
    const bool ranked = at + 3 <= line.len && line.p[at] == 'r' && line.p[at + 1] >= '0' &&
                        line.p[at + 1] <= '7' && line.p[at + 2] == ' ';
    if (!ranked)
        return;
    if (named)
        *ret_node = (tw_str){line.p, i};
    *ret_rank = (unsigned)(line.p[at + 1] - '0');
    *ret_text = (tw_str){line.p + at + 3, line.len - at - 3};
}

static void put_moment(uint64_t unix_ms, char out[32])
{
    const time_t s = (time_t)(unix_ms / 1000);
    struct tm tm;
    if (gmtime_r(&s, &tm) == NULL || strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        snprintf(out, 32, "?");
    size_t n = strlen(out);
    snprintf(out + n, 32 - n, ".%03uZ", (unsigned)(unix_ms % 1000));
}

int tw_life_log_line(tw_life_log *l, uint64_t unix_ms, const char *line, size_t n)
{
    char out[TW_LIFE_LINE_MAX + 160], moment[32];
    tw_str node, text;
    unsigned rank;
    tw_life_log_split((tw_str){line, TW_MIN(n, (size_t)TW_LIFE_LINE_MAX)}, &node, &rank, &text);
    if (node.len == 0)
        node = tw_str_from(l->head);
    put_moment(unix_ms, moment);
    int len = snprintf(out, sizeof out, "%s %.*s r%u %.*s\n", moment, (int)TW_MIN(node.len, 63u),
                       node.p, rank, (int)text.len, text.p);
    for (int i = 0; i + 1 < len; i++)
        if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
            out[i] = ' ';
    if (rank == 0 && text.len > 0)
        snprintf(l->last, sizeof l->last, "%.*s", (int)text.len, text.p);
    if (l->n_bytes > 0 && l->n_bytes + (uint64_t)len > l->max_bytes)
        rotate(l);
    ssize_t got = write(l->fd, out, (size_t)len);
    if (got < 0)
        return -errno;
    l->n_bytes += (uint64_t)got;
    return 0;
}

void tw_life_log_take(tw_life_log *l, uint64_t unix_ms, const char *p, size_t n, bool end)
{
    for (size_t i = 0; i < n; i++) {
        const bool is_end = p[i] == '\n' || p[i] == '\r';
        if (!is_end && l->n_part < sizeof l->part)
            l->part[l->n_part++] = p[i];
        if (is_end && l->n_part > 0)
            (void)tw_life_log_line(l, unix_ms, l->part, l->n_part);
        if (is_end)
            l->n_part = 0;
    }
    if (end && l->n_part > 0)
        (void)tw_life_log_line(l, unix_ms, l->part, l->n_part);
    if (end)
        l->n_part = 0;
}

/* ---- reading ---- */

/* The end of a file, at most max bytes, beginning at a line. */
static int read_end(const char *path, size_t max, tw_buf *out, uint64_t *ret_size, tw_err *err)
{
    struct stat st;
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    *ret_size = 0;
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) != 0)
        return tw_err_set(err, -errno, "%s: cannot read: %s", path, strerror(errno));
    const uint64_t size = (uint64_t)st.st_size, from = size > max ? size - max : 0;
    const size_t start = out->len;
    if (tw_buf_reserve(out, (size_t)(size - from)) != 0)
        return tw_err_set(err, -ENOMEM, "%s: no memory for %zu bytes of it", path, max);
    for (uint64_t at = from; at < size;) {
        ssize_t n = pread(fd, out->data + out->len, (size_t)(size - at), (off_t)at);
        if (n <= 0)
            break;
        out->len += (size_t)n;
        at += (uint64_t)n;
    }
    *ret_size = from + (out->len - start);
    char *eol = from > 0 ? memchr(out->data + start, '\n', out->len - start) : NULL;
    if (eol != NULL) {
        size_t cut = (size_t)(eol + 1 - (out->data + start));
        memmove(out->data + start, eol + 1, out->len - start - cut);
        out->len -= cut;
    }
    return 0;
}

/* Where its last n_lines begin. */
static size_t find_lines(const tw_buf *b, unsigned n_lines)
{
    size_t at = b->len;
    for (unsigned n = 0; at > 0; at--)
        if (b->data[at - 1] == '\n' && at < b->len && ++n == n_lines)
            return at;
    return 0;
}

int tw_life_log_tail(const char *path, unsigned n_lines, tw_buf *out, uint64_t *ret_at, tw_err *err)
{
    char old[520];
    uint64_t older = 0;
    const size_t half = out->max_bytes / 2 - TW_MIN(out->max_bytes / 2, (size_t)4096);
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(out->max_bytes);
    snprintf(old, sizeof old, "%s.1", path);
    int rc = read_end(old, half, &b, &older, err);
    if (rc == 0)
        rc = read_end(path, half, &b, ret_at, err);
    if (rc != 0 || b.len == 0 || n_lines == 0)
        return rc;
    size_t at = find_lines(&b, n_lines);
    return tw_buf_append(out, b.data + at, b.len - at) == 0
               ? 0
               : tw_err_set(err, -ENOMEM, "%s: no memory to show it", path);
}
