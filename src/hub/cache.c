/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/scope.h"
#include "os/fd.h"
#include "os/file.h"

enum { SHORT_MIN = 7 };

int tw_hub_path(char out[TW_HUB_PATH_BYTES], tw_err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(out, TW_HUB_PATH_BYTES, fmt, ap);
    va_end(ap);
    if (n < 0 || n >= TW_HUB_PATH_BYTES)
        return tw_err_set(err, -ENAMETOOLONG, "%.100s...: too long a path", out);
    return 0;
}

int tw_hub_make_folder(const char *path, tw_err *err)
{
    char part[TW_HUB_PATH_BYTES];
    int rc = tw_hub_path(part, err, "%s", path);
    if (rc != 0 || tw_file_is_dir(path))
        return rc;
    for (char *p = part + 1;; p++) {
        const char was = *p;
        if (was != '/' && was != '\0')
            continue;
        *p = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST && !tw_file_is_dir(part))
            return tw_err_set(err, -errno, "%.150s: cannot make this folder: %s", part,
                              strerror(errno));
        *p = was;
        if (was == '\0')
            return 0;
    }
}

static int make_parent(const char *path, tw_err *err)
{
    char folder[TW_HUB_PATH_BYTES];
    int rc = tw_hub_path(folder, err, "%s", path);
    if (rc == 0)
        *strrchr(folder, '/') = '\0';
    return rc == 0 ? tw_hub_make_folder(folder, err) : rc;
}

int tw_hub_cache_folder(const tw_hub_place *p, const char *repo, char out[TW_HUB_PATH_BYTES],
                        tw_err *err)
{
    char name[TW_HUB_REPO_BYTES + 16];
    tw_hub_name_folder(repo, name, sizeof name);
    return tw_hub_path(out, err, "%s/%s", p->cache, name);
}

/* The only snapshot whose commit begins so; the beginning is as long as git prints at least. */
static bool find_short(const char *folder, const char *begins, char ret_commit[41])
{
    char path[TW_HUB_PATH_BYTES];
    tw_err ignored;
    const size_t n = strlen(begins);
    if (n < SHORT_MIN || n > 40 || strspn(begins, "0123456789abcdef") != n ||
        tw_hub_path(path, &ignored, "%s/snapshots", folder) != 0)
        return false;
    unsigned n_found = 0;
    DIR *d = opendir(path);
    const struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL)
        if (strncmp(e->d_name, begins, n) == 0 && tw_hub_is_commit(e->d_name) && n_found++ == 0)
            memcpy(ret_commit, e->d_name, 41);
    if (d != NULL)
        closedir(d);
    return n_found == 1;
}

/* What refs/ says; -ENOENT: nothing. */
static int read_ref(const char *folder, const char *revision, char ret_commit[41])
{
    char path[TW_HUB_PATH_BYTES], commit[41];
    tw_buf text TW_CLEANUP(tw_buf_done) = TW_BUF(256);
    tw_err ignored;
    if (tw_hub_path(path, &ignored, "%s/refs/%s", folder, revision) != 0 ||
        tw_file_read(path, &text, &ignored) != 0 || text.len < 40)
        return -ENOENT;
    snprintf(commit, sizeof commit, "%.40s", text.data);
    if (!tw_hub_is_commit(commit))
        return -ENOENT;
    memcpy(ret_commit, commit, sizeof commit);
    return 0;
}

int tw_hub_cache_commit(const tw_hub_place *p, const tw_hub_name *name, char ret_commit[41],
                        tw_err *err)
{
    char folder[TW_HUB_PATH_BYTES];
    if (tw_hub_is_commit(name->revision)) {
        memcpy(ret_commit, name->revision, 41);
        return 0;
    }
    int rc = tw_hub_cache_folder(p, name->repo, folder, err);
    if (rc != 0)
        return rc;
    if (read_ref(folder, name->revision, ret_commit) == 0 ||
        find_short(folder, name->revision, ret_commit))
        return 0;
    return tw_err_set(err, -ENOENT, "%.80s@%.40s is not in the cache %.80s", name->repo,
                      name->revision, p->cache);
}

int tw_hub_cache_snapshot(const tw_hub_place *p, const char *repo, const char *commit,
                          char out[TW_HUB_PATH_BYTES], tw_err *err)
{
    char folder[TW_HUB_PATH_BYTES];
    int rc = tw_hub_cache_folder(p, repo, folder, err);
    return rc == 0 ? tw_hub_path(out, err, "%s/snapshots/%s", folder, commit) : rc;
}

/* Backup tools leave out what is tagged so. Source: the Cache Directory Tagging specification. */
static void tag_cache(const char *cache)
{
    static const char text[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                               "# This folder is a cache: models from a hub.\n";
    char path[TW_HUB_PATH_BYTES];
    tw_err ignored;
    if (tw_hub_path(path, &ignored, "%s/CACHEDIR.TAG", cache) == 0 && !tw_file_exists(path))
        (void)!tw_file_write(path, text, sizeof text - 1, &ignored);
}

int tw_hub_cache_prepare(const tw_hub_place *p, const char *repo, tw_err *err)
{
    static const char *const parts[] = {"blobs", "refs", "snapshots", ".twinax"};
    char folder[TW_HUB_PATH_BYTES], path[TW_HUB_PATH_BYTES], name[TW_HUB_REPO_BYTES + 16];
    int rc = tw_hub_cache_folder(p, repo, folder, err);
    for (size_t i = 0; i < TW_ARRAY_LEN(parts) && rc == 0; i++) {
        rc = tw_hub_path(path, err, "%s/%s", folder, parts[i]);
        if (rc == 0)
            rc = tw_hub_make_folder(path, err);
    }
    tw_hub_name_folder(repo, name, sizeof name);
    if (rc == 0)
        rc = tw_hub_path(path, err, "%s/.locks/%s", p->cache, name);
    if (rc == 0)
        rc = tw_hub_make_folder(path, err);
    if (rc == 0)
        tag_cache(p->cache);
    return rc;
}

int tw_hub_cache_link(const char *snapshot, const tw_hub_file *f, tw_err *err)
{
    char link[TW_HUB_PATH_BYTES], to[TW_HUB_PATH_BYTES] = "../../", was[TW_HUB_PATH_BYTES];
    for (const char *p = f->path; (p = strchr(p, '/')) != NULL; p++) {
        char deeper[TW_HUB_PATH_BYTES];
        int rc = tw_hub_path(deeper, err, "../%s", to);
        if (rc != 0)
            return rc;
        memcpy(to, deeper, strlen(deeper) + 1);
    }
    int rc = tw_hub_path(link, err, "%s/%s", snapshot, f->path);
    if (rc == 0)
        rc = make_parent(link, err);
    if (rc != 0)
        return rc;
    const size_t n = strlen(to);
    if (snprintf(to + n, sizeof to - n, "blobs/%s", f->etag) >= (int)(sizeof to - n))
        return tw_err_set(err, -ENAMETOOLONG, "%.150s: too deep", f->path);
    const ssize_t k = readlink(link, was, sizeof was - 1);
    if (k > 0 && (size_t)k == strlen(to) && memcmp(was, to, (size_t)k) == 0)
        return 0;
    if (unlink(link) != 0 && errno != ENOENT)
        return tw_err_set(err, -errno, "%.150s: cannot replace it: %s", link, strerror(errno));
    if (symlink(to, link) != 0 && errno != EEXIST)
        return tw_err_set(err, -errno, "%.150s: cannot make this link: %s", link, strerror(errno));
    return 0;
}

int tw_hub_cache_set_ref(const tw_hub_place *p, const tw_hub_name *name, const char *commit,
                         tw_err *err)
{
    char folder[TW_HUB_PATH_BYTES], path[TW_HUB_PATH_BYTES], beside[TW_HUB_PATH_BYTES], was[41];
    if (tw_hub_is_commit(name->revision))
        return 0;
    int rc = tw_hub_cache_folder(p, name->repo, folder, err);
    if (rc == 0 && read_ref(folder, name->revision, was) == 0 && strcmp(was, commit) == 0)
        return 0;
    if (rc == 0)
        rc = tw_hub_path(path, err, "%s/refs/%s", folder, name->revision);
    if (rc == 0)
        rc = make_parent(path, err);
    /* Not in refs/, where another tool would take it for a name. */
    if (rc == 0)
        rc = tw_hub_path(beside, err, "%s/.twinax/ref.new", folder);
    if (rc == 0)
        rc = tw_file_write(beside, commit, strlen(commit), err);
    if (rc == 0 && rename(beside, path) != 0)
        rc = tw_err_set(err, -errno, "%.150s: %s", path, strerror(errno));
    return rc;
}

bool tw_hub_cache_has(const char *folder, const tw_hub_file *f)
{
    char path[TW_HUB_PATH_BYTES];
    struct stat st;
    tw_err ignored;
    return tw_hub_path(path, &ignored, "%s/blobs/%s", folder, f->etag) == 0 &&
           stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->size;
}

int tw_hub_cache_lock(const tw_hub_place *p, const char *repo, const char *etag, int *ret_fd,
                      tw_err *err)
{
    char path[TW_HUB_PATH_BYTES], name[TW_HUB_REPO_BYTES + 16];
    struct stat mine, there;
    tw_hub_name_folder(repo, name, sizeof name);
    int rc = tw_hub_path(path, err, "%s/.locks/%s/%s.lock", p->cache, name, etag);
    if (rc != 0)
        return rc;
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0664);
    if (fd < 0)
        return tw_err_set(err, -errno, "%.150s: cannot open this lock: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return tw_err_set(err, errno == EWOULDBLOCK ? -EAGAIN : -errno, "%.150s: %s", path,
                          strerror(errno));
    /* Some makers of locks delete them: then ours is of a file that nobody else will find. */
    if (fstat(fd, &mine) != 0 || stat(path, &there) != 0 || mine.st_ino != there.st_ino)
        return tw_err_set(err, -EAGAIN, "%.150s: its lock has just changed hands", path);
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}
