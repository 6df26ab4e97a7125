/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/bus.h"
#include "os/fd.h"

enum { FILE_CHUNK_BYTES = 64 * 1024 };
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

/* flags: more than every file is opened with. */
static int open_for_read(const char *path, int flags, int *ret_fd, struct stat *ret_st, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | flags);
    if (fd < 0)
        return tw_err_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, ret_st) < 0)
        return tw_err_set(err, -errno, "%s: cannot stat: %s", path, strerror(errno));
    if (S_ISDIR(ret_st->st_mode))
        return tw_err_set(err, -EISDIR, "%s: is a folder, a file is wanted", path);
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}

/* At the ceiling only one question is left: does the file end here? */
static int check_ends(int fd, const char *path, size_t max_bytes, tw_err *err)
{
    char extra;
    ssize_t n;
    do
        n = read(fd, &extra, 1);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return tw_err_set(err, -errno, "%s: cannot read: %s", path, strerror(errno));
    if (n > 0)
        return tw_err_set(err, -E2BIG, "%s: is larger than the %zu bytes allowed here", path,
                          max_bytes);
    return 0;
}

static int read_to_end(int fd, const char *path, size_t hint, tw_buf *buf, tw_err *err)
{
    for (;;) {
        size_t room = buf->max_bytes - buf->len;
        if (room == 0)
            return check_ends(fd, path, buf->max_bytes, err);
        size_t want = TW_MIN(room, hint != 0 ? hint : (size_t)FILE_CHUNK_BYTES);
        hint = 0;
        int rc = tw_buf_reserve(buf, want);
        if (rc < 0)
            return tw_err_set(err, rc, "%s: no memory for %zu more bytes", path, want);
        ssize_t n = read(fd, buf->data + buf->len, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tw_err_set(err, -errno, "%s: cannot read: %s", path, strerror(errno));
        if (n == 0)
            return 0;
        buf->len += (size_t)n;
        buf->data[buf->len] = '\0';
    }
}

int tw_file_read(const char *path, tw_buf *buf, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    struct stat st;
    int rc = open_for_read(path, 0, &fd, &st, err);
    if (rc < 0)
        return rc;

    /* One byte more than the size, so that the end is seen without growing again. */
    size_t hint = st.st_size > 0 ? (size_t)st.st_size + 1 : 0;
    size_t len_before = buf->len;
    if (hint != 0 && hint - 1 > buf->max_bytes - buf->len)
        return tw_err_set(err, -E2BIG, "%s: has %zu bytes, more than the %zu allowed here", path,
                          hint - 1, buf->max_bytes);
    rc = read_to_end(fd, path, hint, buf, err);
    if (rc < 0) {
        buf->len = len_before;
        if (buf->data != NULL)
            buf->data[len_before] = '\0';
    }
    return rc;
}

int tw_fd_write_all(int fd, const void *p, size_t n)
{
    const char *at = p;
    while (n > 0) {
        ssize_t n_now = write(fd, at, n);
        if (n_now < 0 && errno == EINTR)
            continue;
        if (n_now <= 0)
            return n_now < 0 ? -errno : -EIO;
        at += n_now;
        n -= (size_t)n_now;
    }
    return 0;
}

int tw_file_write(const char *path, const void *p, size_t n, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep)
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0)
        return tw_err_set(err, -errno, "%s: cannot create: %s", path, strerror(errno));
    int rc = tw_fd_write_all(fd, p, n);
    if (close(tw_fd_steal(&fd)) < 0 && rc == 0)
        rc = -errno; /* network file systems say here that the disk is full */
    if (rc < 0)
        return tw_err_set(err, rc, "%s: cannot write %zu bytes: %s", path, n, strerror(-rc));
    return 0;
}

bool tw_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool tw_file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int64_t time_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + (int64_t)t.tv_nsec;
}

int tw_map_open(const char *path, tw_map *ret, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    struct stat st;
    const int64_t looked_s = (int64_t)tw_clock_unix_s();
    int rc = open_for_read(path, O_NONBLOCK, &fd, &st, err); /* a pipe: not to wait for a writer */
    if (rc < 0)
        return rc;
    if (!S_ISREG(st.st_mode))
        return tw_err_set(err, -EINVAL, "%s: is no regular file and cannot be mapped", path);
    if (st.st_size == 0) {
        *ret = (tw_map){.p = NULL, .size_bytes = 0};
        return 0;
    }
    size_t size = (size_t)st.st_size;
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return tw_err_set(err, -errno, "%s: cannot map %zu bytes: %s", path, size, strerror(errno));
    tw_bus_add(p, size, path, false);
    *ret = (tw_map){.p = p,
                    .size_bytes = size,
                    .inode = (uint64_t)st.st_ino,
                    .mtime_ns = time_ns(st.st_mtim),
                    .ctime_ns = time_ns(st.st_ctim),
                    .looked_s = looked_s};
    return 0;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The map's bytes are const for its users; the kernel calls want a plain pointer. */
static void *map_at(const tw_map *m, size_t off)
{
    return (void *)((uintptr_t)m->p + off);
}

void tw_map_drop(const tw_map *m, size_t off, size_t n)
{
    if (m->p == NULL || off >= m->size_bytes || n == 0)
        return;
    size_t page = page_bytes();
    size_t end = n >= m->size_bytes - off ? m->size_bytes : off + n;
    if (end == m->size_bytes)
        end = TW_DIV_UP(end, page) * page; /* the last page holds nothing else */
    size_t first = TW_DIV_UP(off, page) * page;
    end -= end % page;
    if (first < end)
        (void)madvise(map_at(m, first), end - first, MADV_DONTNEED);
}

void tw_map_set_sparse(const tw_map *m)
{
    if (m->p != NULL)
        (void)madvise(map_at(m, 0), m->size_bytes, MADV_RANDOM);
}

void tw_map_want(const tw_map *m, size_t off, size_t n)
{
    if (m->p == NULL || off >= m->size_bytes || n == 0)
        return;
    size_t from = off - off % page_bytes();
    (void)madvise(map_at(m, from), TW_MIN(n, m->size_bytes - off) + off - from, MADV_WILLNEED);
}

void tw_map_close(tw_map *m)
{
    if (m == NULL)
        return;
    tw_bus_remove(m->p);
    if (m->p != NULL)
        munmap(map_at(m, 0), m->size_bytes);
    *m = (tw_map){.p = NULL, .size_bytes = 0};
}

/* Addresses for bytes, rounded up to pages (*ret_size), cut to a border of huge pages where there is
 * room for one: otherwise the first and last 2 MiB stay in small pages. */
static void *reserve_pages(size_t bytes, int prot, size_t *ret_size)
{
    size_t page = page_bytes(), size, span;
    if (!tw_size_add(TW_MAX(bytes, (size_t)1), page - 1, &size))
        return NULL;
    size -= size % page;
    size_t align = size >= HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : page;
    if (!tw_size_add(size, align - page, &span) || !tw_mem_take())
        return NULL;
    void *p = mmap(NULL, span, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    uintptr_t at = (uintptr_t)p;
    size_t n_front = (align - at % align) % align;
    if (n_front > 0)
        munmap(p, n_front);
    if (span - n_front > size)
        munmap((void *)(at + n_front + size), span - n_front - size);
    *ret_size = size;
    return (void *)(at + n_front);
}

void *tw_pages_new(size_t bytes)
{
    size_t size;
    void *p = reserve_pages(bytes, PROT_READ | PROT_WRITE, &size);
    if (p != NULL && size >= HUGE_PAGE_BYTES)
        (void)madvise(p, size, MADV_HUGEPAGE); /* a wish: kernels without it say EINVAL */
    return p;
}

void tw_pages_free(void *p, size_t bytes)
{
    if (p != NULL)
        munmap(p, TW_MAX(bytes, (size_t)1));
}

const void *tw_pages_map(int fd, size_t off, size_t bytes)
{
    size_t size;
    void *p = reserve_pages(bytes, PROT_NONE, &size);
    if (p == NULL)
        return NULL;
    if (mmap(p, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, (off_t)off) == MAP_FAILED) {
        munmap(p, size);
        return NULL;
    }
    return p;
}

void tw_pages_unmap(const void *p, size_t bytes)
{
    if (p != NULL)
        munmap((void *)(uintptr_t)p, TW_MAX(bytes, (size_t)1));
}
