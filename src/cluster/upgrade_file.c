/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/upgrade_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "os/fd.h"
#include "os/file.h"

enum { PATH_BYTES = 1200 };

static int name_beside(const char *path, const char *end, char out[PATH_BYTES], tw_err *err)
{
    const int n = snprintf(out, PATH_BYTES, "%s%s", path, end);
    return n > 0 && n < PATH_BYTES
               ? 0
               : tw_err_set(err, -ENAMETOOLONG, "%.150s...: the path is too long", path);
}

static int refuse(const char *path, const char *what, tw_err *err)
{
    const int cause = errno;
    return tw_err_set(err, -cause, "%s: cannot be %s: %s%s", path, what, strerror(cause),
                      cause == EACCES || cause == EPERM ? " (as root?)" : "");
}

bool tw_upgrade_has_old(const char *path)
{
    char old[PATH_BYTES];
    tw_err ignored;
    return name_beside(path, TW_UPGRADE_OLD, old, &ignored) == 0 && access(old, X_OK) == 0;
}

int tw_upgrade_keep(const char *path, bool *ret_had, tw_err *err)
{
    char old[PATH_BYTES], fresh[PATH_BYTES];
    int rc = name_beside(path, TW_UPGRADE_OLD, old, err);
    if (rc == 0)
        rc = name_beside(path, ".old.new", fresh, err);
    if (rc != 0)
        return rc;
    *ret_had = tw_file_exists(path);
    if (!*ret_had)
        return 0;
    (void)unlink(fresh);
    if (link(path, fresh) != 0)
        return refuse(path, "kept", err);
    if (rename(fresh, old) != 0) {
        rc = refuse(old, "made", err);
        (void)unlink(fresh);
        return rc;
    }
    (void)unlink(fresh); /* both were one file already: then rename does nothing */
    return 0;
}

static int write_whole(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        const ssize_t got = write(fd, p, n);
        if (got < 0 && errno != EINTR)
            return -1;
        p += got > 0 ? got : 0;
        n -= got > 0 ? (size_t)got : 0;
    }
    return fchmod(fd, 0755) == 0 && fsync(fd) == 0 ? 0 : -1;
}

int tw_upgrade_put(const char *path, const char *from, tw_err *err)
{
    char fresh[PATH_BYTES];
    TW_CLEANUP(tw_map_close) tw_map m = {.p = NULL};
    int rc = name_beside(path, ".new", fresh, err);
    if (rc == 0)
        rc = tw_map_open(from, &m, err);
    if (rc != 0)
        return rc;
    (void)unlink(fresh);
    TW_CLEANUP(tw_fd_closep)
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0700);
    if (fd < 0)
        return refuse(fresh, "made", err);
    if (write_whole(fd, m.p, m.size_bytes) != 0) {
        rc = refuse(fresh, "written", err);
        (void)unlink(fresh);
        return rc;
    }
    if (rename(fresh, path) == 0)
        return 0;
    rc = refuse(path, "replaced", err);
    (void)unlink(fresh);
    return rc;
}

int tw_upgrade_back(const char *path, bool swap, tw_err *err)
{
    char old[PATH_BYTES];
    int rc = name_beside(path, TW_UPGRADE_OLD, old, err);
    if (rc != 0)
        return rc;
    if (!tw_file_exists(old))
        return tw_err_set(err, -ENOENT, "%s: there is no version before this one", old);
    if (swap && renameat2(AT_FDCWD, old, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
        return 0;
    return rename(old, path) == 0 ? 0 : refuse(path, "replaced", err);
}
