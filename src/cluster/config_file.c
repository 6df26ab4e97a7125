/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/fd.h"

/* Who else may write a file may name the machines that get our keys' trust. */
static const char *why_not_trusted(const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return "is no regular file";
    if ((st->st_mode & S_IWOTH) != 0)
        return "may be written by everybody (chmod o-w)";
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return "belongs to another user";
    if ((st->st_mode & S_IWGRP) != 0 && st->st_gid != getegid())
        return "may be written by another group (chmod g-w)";
    return NULL;
}

static int read_all(int fd, const char *path, tw_buf *b, tw_err *err)
{
    for (;;) {
        if (tw_buf_reserve(b, 4096) != 0)
            return tw_err_set(err, -E2BIG, "%s: more than %d bytes", path, TW_CONFIG_MAX_BYTES);
        ssize_t n = read(fd, b->data + b->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tw_err_set(err, -errno, "%s: cannot read: %s", path, strerror(errno));
        if (n == 0)
            return 0;
        b->len += (size_t)n;
    }
}

/* Who may write the folder may put another file there. Where it is sticky (/tmp), only the file's
 * owner can. */
static const char *why_no_folder(const char *path)
{
    char folder[512];
    struct stat st;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return NULL;
    slash[slash == folder] = '\0';
    if (stat(folder, &st) != 0 || (st.st_mode & S_ISVTX) != 0)
        return NULL;
    if ((st.st_mode & S_IWOTH) != 0)
        return "is in a folder that everybody may write (chmod o-w)";
    if ((st.st_mode & S_IWGRP) != 0 && st.st_gid != getegid())
        return "is in a folder that another group may write (chmod g-w)";
    return st.st_uid == geteuid() || st.st_uid == 0 ? NULL : "is in another user's folder";
}

/* 1: taken; 0: not there, or passed over. */
static int try_file(const char *path, tw_config_found *f, tw_config_trace *trace, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_CONFIG_MAX_BYTES + 8192);
    struct stat st;
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (fd < 0 || fstat(fd, &st) != 0)
        return tw_err_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
    const char *why = why_not_trusted(&st);
    if (why == NULL)
        why = why_no_folder(path);
    if (why != NULL) {
        snprintf(f->warning, sizeof f->warning, "%.150s %s: it is ignored", path, why);
        return 0;
    }
    int rc = read_all(fd, path, &b, err);
    if (rc == 0)
        rc = tw_config_parse_traced(path, b.data != NULL ? b.data : "", b.len, &f->config, trace,
                                    err);
    if (rc != 0)
        return rc;
    snprintf(f->path, sizeof f->path, "%s", path);
    return 1;
}

int tw_config_find_traced(tw_config_found *ret, tw_config_trace *trace, tw_err *err)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char user[512] = "";
    if (xdg != NULL && xdg[0] == '/')
        snprintf(user, sizeof user, "%.480s/twinax/twinax.conf", xdg);
    else if (home != NULL && home[0] == '/')
        snprintf(user, sizeof user, "%.470s/.config/twinax/twinax.conf", home);
    const char *const paths[] = {"./twinax.conf", user, "/etc/twinax/twinax.conf"};
    *ret = (tw_config_found){0};
    for (size_t i = 0; i < TW_ARRAY_LEN(paths); i++) {
        int rc = paths[i][0] != '\0' ? try_file(paths[i], ret, trace, err) : 0;
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
    return 0;
}

int tw_config_find(tw_config_found *ret, tw_err *err)
{
    return tw_config_find_traced(ret, NULL, err);
}

int tw_config_read(const char *path, tw_config *ret, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_CONFIG_MAX_BYTES + 8192);
    if (fd < 0)
        return tw_err_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
    int rc = read_all(fd, path, &b, err);
    return rc != 0 ? rc : tw_config_parse(path, b.data != NULL ? b.data : "", b.len, ret, err);
}
