/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/hash_cache.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/scope.h"
#include "hub/cache.h"
#include "hub/name.h"
#include "os/fd.h"
#include "os/file.h"

enum { LINE_BYTES = 256, SETTLE_S = 1 };

static bool find_path(char out[TW_HUB_PATH_BYTES])
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    tw_err ignored;
    if (xdg != NULL && xdg[0] == '/')
        return tw_hub_path(out, &ignored, "%s/twinax/hashes", xdg) == 0;
    return home != NULL && home[0] == '/' &&
           tw_hub_path(out, &ignored, "%s/.cache/twinax/hashes", home) == 0;
}

/* "DEVICE INODE SIZE MTIME.NS CTIME.NS ": what a line begins with. */
static size_t print_key(const struct stat *st, char out[LINE_BYTES])
{
    return (size_t)snprintf(out, LINE_BYTES,
                            "%" PRIuMAX " %" PRIuMAX " %" PRIuMAX " %jd.%09jd %jd.%09jd ",
                            (uintmax_t)st->st_dev, (uintmax_t)st->st_ino, (uintmax_t)st->st_size,
                            (intmax_t)st->st_mtim.tv_sec, (intmax_t)st->st_mtim.tv_nsec,
                            (intmax_t)st->st_ctim.tv_sec, (intmax_t)st->st_ctim.tv_nsec);
}

void tw_hub_hashes_load(tw_hub_hashes *h)
{
    char path[TW_HUB_PATH_BYTES];
    tw_err ignored;
    *h = (tw_hub_hashes){.text = TW_BUF(4 * (size_t)TW_HUB_HASH_CACHE_BYTES)};
    if (find_path(path) && tw_file_exists(path) && tw_file_read(path, &h->text, &ignored) != 0)
        tw_buf_reset(&h->text);
}

void tw_hub_hashes_done(tw_hub_hashes *h)
{
    tw_buf_done(&h->text);
}

bool tw_hub_hashes_find(const tw_hub_hashes *h, const struct stat *st, unsigned n_digits,
                        char ret[TW_HUB_ETAG_BYTES])
{
    char key[LINE_BYTES], hash[TW_HUB_ETAG_BYTES];
    const size_t n = print_key(st, key);
    bool found = false;
    for (const char *line = h->text.data; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        if (end == NULL)
            break; /* cut off */
        if ((size_t)(end - line) == n + n_digits && memcmp(line, key, n) == 0) {
            snprintf(hash, sizeof hash, "%.*s", (int)n_digits, line + n);
            if (tw_hub_is_etag(hash)) {
                memcpy(ret, hash, sizeof hash);
                found = true;
            }
        }
        line = end + 1;
    }
    return found;
}

bool tw_hub_hash_cache_may_note(const struct stat *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const time_t last = TW_MAX(st->st_mtim.tv_sec, st->st_ctim.tv_sec);
    return last + SETTLE_S < now.tv_sec;
}

/* The younger half, under the lock; who appends to the old file meanwhile loses a line. */
static void cut(const char *path)
{
    char beside[TW_HUB_PATH_BYTES];
    tw_hub_hashes h;
    tw_err ignored;
    tw_hub_hashes_load(&h);
    const char *from = h.text.len > 0 ? strchr(h.text.data + h.text.len / 2, '\n') : NULL;
    if (from != NULL && tw_hub_path(beside, &ignored, "%s.new", path) == 0 &&
        tw_file_write(beside, from + 1, strlen(from + 1), &ignored) == 0)
        (void)!rename(beside, path);
    tw_hub_hashes_done(&h);
}

void tw_hub_hash_cache_note(const struct stat *st, const char *hash)
{
    char path[TW_HUB_PATH_BYTES], folder[TW_HUB_PATH_BYTES], line[2 * LINE_BYTES];
    struct stat own;
    tw_err ignored;
    if (!tw_hub_is_etag(hash) || !find_path(path))
        return;
    memcpy(folder, path, sizeof folder);
    *strrchr(folder, '/') = '\0';
    if (tw_hub_make_folder(folder, &ignored) != 0)
        return;
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    size_t n = print_key(st, line);
    n += (size_t)snprintf(line + n, sizeof line - n, "%s\n", hash);
    if (fd < 0 || write(fd, line, n) != (ssize_t)n || fstat(fd, &own) != 0)
        return;
    if (own.st_size > TW_HUB_HASH_CACHE_BYTES && flock(fd, LOCK_EX | LOCK_NB) == 0)
        cut(path);
}
