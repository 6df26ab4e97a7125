/* SPDX-License-Identifier: Apache-2.0 */
/* A secret in a file of its own: read only where nobody else could have. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/config_file.h"
#include "os/fd.h"
#include "base/scope.h"

enum { SECRET_MAX = 1024 };

static int expand(const char *path, char *out, size_t out_bytes, tw_err *err)
{
    const char *home = getenv("HOME");
    const bool tilde = strncmp(path, "~/", 2) == 0;
    if (tilde && (home == NULL || home[0] != '/'))
        return tw_err_set(err, -ENOENT, "%s: HOME is not set", path);
    int n = snprintf(out, out_bytes, "%s%s", tilde ? home : "", tilde ? path + 1 : path);
    return n > 0 && (size_t)n < out_bytes
               ? 0
               : tw_err_set(err, -ENAMETOOLONG, "%.60s...: too long a path", path);
}

static int check_owner(const char *path, const struct stat *st, tw_err *err)
{
    if (!S_ISREG(st->st_mode))
        return tw_err_set(err, -EPERM, "%s: is no regular file", path);
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return tw_err_set(err, -EPERM, "%s: belongs to user %u, wanted yours: chown %u %s", path,
                          (unsigned)st->st_uid, (unsigned)geteuid(), path);
    if ((st->st_mode & 077) != 0)
        return tw_err_set(err, -EPERM,
                          "%s: others may read or write it (mode %03o), wanted 600: chmod 600 %s",
                          path, (unsigned)st->st_mode & 0777, path);
    return 0;
}

/* Of a regular file: does not wait. */
static ssize_t read_start(int fd, char *out, size_t n)
{
    ssize_t got;
    do
        got = read(fd, out, n);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

int tw_config_key_read(const char *path, char *out, size_t out_bytes, tw_err *err)
{
    char where[512], text[SECRET_MAX + 1];
    struct stat st;
    int rc = expand(path, where, sizeof where, err);
    if (rc != 0)
        return rc;
    TW_CLEANUP(tw_fd_closep) int fd = open(where, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        return tw_err_set(err, -errno, "%s: cannot open: %s", where, strerror(errno));
    rc = check_owner(where, &st, err);
    if (rc != 0)
        return rc;
    const ssize_t got = read_start(fd, text, SECRET_MAX);
    if (got < 0)
        return tw_err_set(err, (int)got, "%s: cannot read: %s", where, strerror((int)-got));
    text[got] = '\0';
    const size_t n = strcspn(text, "\r\n");
    bool bad = n == 0 || n >= out_bytes;
    for (size_t i = 0; i < n; i++)
        bad = bad || text[i] <= ' ' || text[i] > '~';
    if (!bad) {
        memcpy(out, text, n);
        out[n] = '\0';
    }
    explicit_bzero(text, sizeof text);
    return !bad ? 0
                : tw_err_set(err, -EINVAL,
                             "%s: wanted a key of 1 to %zu printable characters on its first line",
                             where, out_bytes - 1);
}
