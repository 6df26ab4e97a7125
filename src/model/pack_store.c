/* SPDX-License-Identifier: Apache-2.0 */
#include "model/pack_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "os/fd.h"

enum { ENTRIES_MAX = 4096 };
enum { RECENT_S = 60 };
#define FREE_AFTER_BYTES ((uint64_t)1 << 30) /* a cache does not take a disk's last bytes */

int tw_pack_folder_find(char out[TW_PACK_PATH_BYTES], tw_err *err)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = TW_PACK_PATH_BYTES;
    if (xdg != NULL && xdg[0] == '/')
        n = snprintf(out, TW_PACK_PATH_BYTES, "%s/twinax/packs", xdg);
    else if (home != NULL && home[0] == '/')
        n = snprintf(out, TW_PACK_PATH_BYTES, "%s/.cache/twinax/packs", home);
    else
        return tw_err_set(err, -ENOENT, "no place for packs: set HOME or XDG_CACHE_HOME");
    return n < TW_PACK_PATH_BYTES ? 0
                                  : tw_err_set(err, -ENAMETOOLONG, "packs: the path is too long");
}

int tw_pack_folder_make(const char *folder, tw_err *err)
{
    char path[TW_PACK_PATH_BYTES];
    struct stat st;
    snprintf(path, sizeof(path), "%s", folder);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return tw_err_set(err, -errno, "%.180s: cannot make the folder: %s", path,
                              strerror(errno));
        *slash = '/';
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return tw_err_set(err, -errno, "%.180s: cannot make the folder: %s", path, strerror(errno));
    if (lstat(path, &st) != 0)
        return tw_err_set(err, -errno, "%.180s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0)
        return tw_err_set(err, -EPERM, "%.160s: is no folder that we alone may write", path);
    return 0;
}

bool tw_pack_path(const char *folder, const uint8_t key[TW_PACK_KEY_BYTES], bool is_part,
                  char out[TW_PACK_PATH_BYTES])
{
    char hex[2 * TW_PACK_KEY_BYTES + 1];
    for (size_t i = 0; i < TW_PACK_KEY_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", key[i]);
    return snprintf(out, TW_PACK_PATH_BYTES, "%s/%s.%s", folder, hex, is_part ? "part" : "pack") <
           TW_PACK_PATH_BYTES;
}

/* ---- what is there ---- */

/* 64 digits and a suffix of ours; nothing else in the folder is touched. */
static bool is_name(const char *name, bool *ret_is_part)
{
    const size_t n = 2 * (size_t)TW_PACK_KEY_BYTES;
    if (strlen(name) != n + 5 || strspn(name, "0123456789abcdef") != n)
        return false;
    *ret_is_part = strcmp(name + n, ".part") == 0;
    return *ret_is_part || strcmp(name + n, ".pack") == 0;
}

static bool look_at(int dir, const char *name, tw_pack_entry *ret)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    struct stat st;
    tw_err ignored;
    *ret = (tw_pack_entry){.used_s = 0};
    if (!is_name(name, &ret->is_part))
        return false;
    fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) != 0)
        return false;
    snprintf(ret->file, sizeof(ret->file), "%s", name);
    ret->bytes = (uint64_t)st.st_blocks * 512;
    ret->used_s = (int64_t)st.st_mtim.tv_sec;
    ret->is_damaged = !ret->is_part && tw_pack_head_read(fd, name, &ret->head, &ignored) != 0;
    return true;
}

static int newest_first(const void *pa, const void *pb)
{
    const tw_pack_entry *a = pa, *b = pb;
    if (a->used_s != b->used_s)
        return a->used_s < b->used_s ? 1 : -1;
    return strcmp(a->file, b->file);
}

static void close_dir(DIR **d)
{
    if (*d != NULL)
        closedir(*d);
}

int tw_pack_list(const char *folder, tw_pack_entry **ret, size_t *ret_n, tw_err *err)
{
    TW_CLEANUP(close_dir) DIR *d = opendir(folder);
    tw_pack_entry *v = NULL;
    size_t n = 0, cap = 0;
    *ret = NULL;
    *ret_n = 0;
    if (d == NULL)
        return errno == ENOENT
                   ? 0
                   : tw_err_set(err, -errno, "%.180s: cannot list: %s", folder, strerror(errno));
    for (const struct dirent *e = readdir(d); e != NULL && n < ENTRIES_MAX; e = readdir(d)) {
        if (n == cap) {
            cap = TW_MAX(2 * cap, (size_t)16);
            tw_pack_entry *more = tw_mem_realloc(v, cap * sizeof(*v));
            if (more == NULL) {
                tw_mem_free(v);
                return tw_err_set(err, -ENOMEM, "no memory for the list of packs");
            }
            v = more;
        }
        n += look_at(dirfd(d), e->d_name, &v[n]);
    }
    if (n > 0)
        qsort(v, n, sizeof(*v), newest_first);
    *ret = v;
    *ret_n = n;
    return 0;
}

bool tw_pack_remove(const char *folder, const tw_pack_entry *e)
{
    char path[TW_PACK_PATH_BYTES];
    if (snprintf(path, sizeof(path), "%s/%s", folder, e->file) >= (int)sizeof(path))
        return false;
    TW_CLEANUP(tw_fd_closep)
    int fd = e->is_part ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0)
        return false;
    return unlink(path) == 0 || errno == ENOENT;
}

void tw_pack_touch(const char *path)
{
    (void)!utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
}

/* ---- the limit ---- */

/* Ranks of one machine, and servers that take turns, would else make room for their packs with each
 * other's, at every start anew. Who maps or has written one holds a lock on it while it lives (pack_file.h,
 * pack_keep.h); a start that has just ended holds none. */
static bool is_in_use(const char *folder, const tw_pack_entry *e, int64_t now_s)
{
    char path[TW_PACK_PATH_BYTES];
    if (e->used_s > now_s - RECENT_S && e->used_s <= now_s)
        return true;
    if (snprintf(path, sizeof(path), "%s/%s", folder, e->file) >= (int)sizeof(path))
        return true;
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
}

int tw_pack_make_room(const char *folder, const uint8_t key[TW_PACK_KEY_BYTES], uint64_t bytes,
                      uint64_t limit_bytes, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_pack_entry *v = NULL;
    char own[TW_PACK_PATH_BYTES];
    struct statvfs fs;
    size_t n = 0;
    uint64_t held = 0, held_own = 0;
    const int64_t now_s = (int64_t)tw_clock_unix_s();
    if (statvfs(folder, &fs) != 0)
        return tw_err_set(err, -errno, "%.180s: %s", folder, strerror(errno));
    int rc = tw_pack_list(folder, &v, &n, err);
    if (rc != 0)
        return rc;
    const bool has_own = tw_pack_path("", key, true, own);
    for (size_t i = 0; i < n; i++) {
        held += v[i].bytes;
        if (has_own && strcmp(v[i].file, own + 1) == 0)
            held_own = v[i].bytes;
    }
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    const uint64_t limit = limit_bytes != 0 ? limit_bytes : (free_bytes + held) / 4;
    if (bytes > limit)
        return tw_err_set(err, -EFBIG, "a pack of %llu MiB is more than the limit of %llu MiB",
                          (unsigned long long)(bytes >> 20), (unsigned long long)(limit >> 20));
    held -= held_own;
    for (size_t i = n; i > 0 && held + bytes > limit; i--) {
        if ((has_own && strcmp(v[i - 1].file, own + 1) == 0) ||
            is_in_use(folder, &v[i - 1], now_s) || !tw_pack_remove(folder, &v[i - 1]))
            continue;
        held -= v[i - 1].bytes;
        free_bytes += v[i - 1].bytes;
    }
    if (held + bytes > limit)
        return tw_err_set(err, -ENOSPC,
                          "no room for a pack of %llu MiB: those in %.120s are in use, or were "
                          "within the last minute",
                          (unsigned long long)(bytes >> 20), folder);
    if (free_bytes + held_own < bytes + FREE_AFTER_BYTES)
        return tw_err_set(err, -ENOSPC, "no room for a pack of %llu MiB in %.120s",
                          (unsigned long long)(bytes >> 20), folder);
    return 0;
}
