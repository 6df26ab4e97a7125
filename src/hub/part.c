/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/part.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "hub/hash_cache.h"
#include "os/fd.h"

typedef struct head {
    char magic[8];
    uint64_t size, range_bytes;
} head;

static const char magic[8] = {'t', 'w', 'i', 'n', 'a', 'x', 'R', '1'};

static int write_all(int fd, const void *bytes, size_t n, uint64_t at)
{
    const char *p = bytes;
    while (n > 0) {
        const ssize_t k = pwrite(fd, p, n, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? -errno : -EIO;
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return 0;
}

static int failed(const tw_hub_part *p, int rc, tw_err *err)
{
    return tw_err_set(err, rc, "...%.100s: cannot write: %s",
                      p->path + (strlen(p->path) > 100 ? strlen(p->path) - 100 : 0), strerror(-rc));
}

static int set_ranges(tw_hub_part *p, uint64_t range_bytes, tw_err *err)
{
    const uint64_t n = TW_DIV_UP(p->size, range_bytes);
    tw_mem_free(p->done);
    p->is_unsaved = false;
    p->range_bytes = range_bytes;
    p->n_ranges = (size_t)n;
    p->done = tw_mem_calloc(TW_MAX(p->n_ranges, 1u), sizeof *p->done);
    return p->done != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory");
}

int tw_hub_part_restart(tw_hub_part *p, uint64_t range_bytes, tw_err *err)
{
    head h = {.size = p->size, .range_bytes = range_bytes};
    memcpy(h.magic, magic, sizeof magic);
    int rc = set_ranges(p, range_bytes, err);
    if (rc != 0)
        return rc;
    /* The counts go first: bytes without a count are fetched again, never the other way round. */
    rc = ftruncate(p->ranges_fd, 0) != 0 ? -errno : 0;
    if (rc == 0 && (ftruncate(p->fd, 0) != 0 || ftruncate(p->fd, (off_t)p->size) != 0))
        rc = -errno;
    if (rc == 0)
        rc = write_all(p->ranges_fd, &h, sizeof h, 0);
    if (rc == 0)
        rc = write_all(p->ranges_fd, p->done, p->n_ranges * sizeof *p->done, sizeof h);
    return rc == 0 ? 0 : failed(p, rc, err);
}

/* Whether what lies there can be gone on with; then the counts are read. */
static bool read_ranges(tw_hub_part *p)
{
    head h;
    struct stat st;
    tw_err ignored;
    if (fstat(p->fd, &st) != 0 || (uint64_t)st.st_size != p->size ||
        pread(p->ranges_fd, &h, sizeof h, 0) != (ssize_t)sizeof h ||
        memcmp(h.magic, magic, sizeof magic) != 0 || h.size != p->size || h.range_bytes == 0 ||
        p->size / h.range_bytes > UINT32_MAX || set_ranges(p, h.range_bytes, &ignored) != 0)
        return false;
    const size_t n = p->n_ranges * sizeof *p->done;
    if (pread(p->ranges_fd, p->done, n, sizeof h) != (ssize_t)n)
        return false;
    for (size_t i = 0; i < p->n_ranges; i++)
        if (p->done[i] > tw_hub_part_range_size(p, i))
            return false;
    return true;
}

static int name_files(const char *folder, const char *etag, tw_hub_part *p, tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/%s.twinax.incomplete", folder, etag) >= (int)sizeof path)
        return tw_err_set(err, -ENAMETOOLONG, "%.150s: too long a path", folder);
    p->path = tw_mem_strdup(path);
    snprintf(path, sizeof path, "%s/%s.twinax.ranges", folder, etag);
    p->ranges_path = tw_mem_strdup(path);
    return p->path != NULL && p->ranges_path != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory");
}

int tw_hub_part_open(const char *folder, const char *etag, uint64_t size, uint64_t range_bytes,
                     tw_hub_part *ret, tw_err *err)
{
    *ret = (tw_hub_part){.fd = -1, .ranges_fd = -1, .size = size};
    int rc = name_files(folder, etag, ret, err);
    if (rc != 0) {
        tw_hub_part_close(ret);
        return rc;
    }
    ret->fd = open(ret->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (ret->fd >= 0)
        ret->ranges_fd = open(ret->ranges_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (ret->ranges_fd < 0)
        rc = failed(ret, -errno, err);
    else if (!read_ranges(ret))
        rc = tw_hub_part_restart(ret, range_bytes, err);
    if (rc != 0)
        tw_hub_part_close(ret);
    return rc;
}

uint64_t tw_hub_part_range_size(const tw_hub_part *p, size_t i)
{
    return TW_MIN(p->range_bytes, p->size - i * p->range_bytes);
}

uint64_t tw_hub_part_done_bytes(const tw_hub_part *p)
{
    uint64_t n = 0;
    for (size_t i = 0; i < p->n_ranges; i++)
        n += p->done[i];
    return n;
}

uint64_t tw_hub_part_front(const tw_hub_part *p)
{
    uint64_t n = 0;
    for (size_t i = 0; i < p->n_ranges; i++) {
        n += p->done[i];
        if (p->done[i] < tw_hub_part_range_size(p, i))
            break;
    }
    return n;
}

static int save_counts(tw_hub_part *p)
{
    p->is_unsaved = false;
    p->saved_ns = tw_clock_now_ns();
    return write_all(p->ranges_fd, p->done, p->n_ranges * sizeof *p->done, sizeof(head));
}

int tw_hub_part_write(const tw_hub_part *p, size_t i, uint64_t at, const void *bytes, size_t n,
                      tw_err *err)
{
    const int rc = write_all(p->fd, bytes, n, i * p->range_bytes + at);
    return rc == 0 ? 0 : failed(p, rc, err);
}

int tw_hub_part_save(tw_hub_part *p, tw_err *err)
{
    int rc = 0;
    if (p->is_unsaved && tw_clock_now_ns() - p->saved_ns > TW_HUB_PART_SAVE_MS * TW_NS_PER_MS)
        rc = save_counts(p);
    return rc == 0 ? 0 : failed(p, rc, err);
}

int tw_hub_part_count(tw_hub_part *p, size_t i, size_t n, tw_err *err)
{
    p->done[i] += n;
    p->is_unsaved = true;
    if (p->done[i] < tw_hub_part_range_size(p, i))
        return tw_hub_part_save(p, err);
    const int rc = save_counts(p);
    return rc == 0 ? 0 : failed(p, rc, err);
}

int tw_hub_part_put(tw_hub_part *p, size_t i, const void *bytes, size_t n, tw_err *err)
{
    const int rc = tw_hub_part_write(p, i, p->done[i], bytes, n, err);
    return rc == 0 ? tw_hub_part_count(p, i, n, err) : rc;
}

/* Bytes from at on without a hole, at most n. */
static uint64_t there_from(const tw_hub_part *p, uint64_t at, uint64_t n)
{
    uint64_t got = 0;
    while (got < n) {
        const size_t i = (size_t)((at + got) / p->range_bytes);
        const uint64_t in = at + got - i * p->range_bytes;
        if (p->done[i] <= in)
            break;
        got += p->done[i] - in;
        if (p->done[i] < tw_hub_part_range_size(p, i))
            break;
    }
    return TW_MIN(got, n);
}

int tw_hub_part_regrid(tw_hub_part *p, uint64_t range_bytes, tw_err *err)
{
    tw_hub_part new = {.size = p->size};
    head h = {.size = p->size, .range_bytes = range_bytes};
    char path[TW_HUB_PATH_BYTES];
    memcpy(h.magic, magic, sizeof magic);
    int rc = set_ranges(&new, range_bytes, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < new.n_ranges; i++)
        new.done[i] = there_from(p, i * range_bytes, tw_hub_part_range_size(&new, i));
    if (snprintf(path, sizeof path, "%s.new", p->ranges_path) >= (int)sizeof path)
        rc = -ENAMETOOLONG;
    TW_CLEANUP(tw_fd_closep)
    int fd = rc == 0 ? open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666) : -1;
    if (rc == 0 && fd < 0)
        rc = -errno;
    if (rc == 0)
        rc = write_all(fd, &h, sizeof h, 0);
    if (rc == 0)
        rc = write_all(fd, new.done, new.n_ranges * sizeof *new.done, sizeof h);
    if (rc == 0 && rename(path, p->ranges_path) != 0)
        rc = -errno;
    if (rc != 0) {
        tw_mem_free(new.done);
        return failed(p, rc, err);
    }
    tw_fd_closep(&p->ranges_fd);
    tw_mem_free(p->done);
    p->ranges_fd = tw_fd_steal(&fd);
    p->done = new.done;
    p->n_ranges = new.n_ranges;
    p->range_bytes = range_bytes;
    return 0;
}

int tw_hub_part_finish(tw_hub_part *p, const char *blob, tw_err *err)
{
    struct stat st;
    const char *slash = strrchr(blob, '/');
    if (fdatasync(p->fd) != 0 || rename(p->path, blob) != 0)
        return failed(p, -errno, err);
    /* Its times are of now; but we wrote it, and hold its lock: no other may change it. */
    if (fstat(p->fd, &st) == 0)
        tw_hub_hash_cache_note(&st, slash != NULL ? slash + 1 : blob);
    (void)unlink(p->ranges_path);
    p->is_unsaved = false;
    tw_hub_part_close(p);
    return 0;
}

void tw_hub_part_close(tw_hub_part *p)
{
    if (p->is_unsaved && p->ranges_fd >= 0)
        (void)!save_counts(p); /* lost, it costs a few bytes */
    p->is_unsaved = false;
    tw_fd_closep(&p->fd);
    tw_fd_closep(&p->ranges_fd);
    tw_mem_free(p->done);
    tw_mem_free(p->path);
    tw_mem_free(p->ranges_path);
    p->done = NULL;
    p->path = p->ranges_path = NULL;
    p->n_ranges = 0;
}

uint64_t tw_hub_part_left_bytes(const char *folder, const char *etag)
{
    tw_hub_part p = {.fd = -1};
    struct stat st;
    tw_err ignored;
    p.ranges_fd = -1;
    const bool good = name_files(folder, etag, &p, &ignored) == 0 && stat(p.path, &st) == 0;
    tw_hub_part_close(&p);
    return good ? (uint64_t)st.st_blocks * 512 : 0;
}
