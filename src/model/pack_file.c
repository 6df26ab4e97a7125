/* SPDX-License-Identifier: Apache-2.0 */
#include "model/pack_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "model/pack_sum.h"
#include "os/bus.h"
#include "os/fd.h"
#include "os/file.h"

static const char magic[8] = "twxpack", end_magic[8] = "packend";
enum { VERSION = 1 };

typedef struct pack_end {
    uint64_t sum; /* of the sums, and of the head's */
    char magic[8];
} pack_end;

void tw_pack_head_fill(tw_pack_head *h, const uint8_t key[TW_PACK_KEY_BYTES], const char *name,
                       const char *model_id, uint64_t n_bytes)
{
    memset(h, 0, sizeof(*h));
    memcpy(h->magic, magic, sizeof(magic));
    h->version = VERSION;
    h->chunk_bytes = TW_PACK_CHUNK_BYTES;
    h->n_bytes = n_bytes;
    memcpy(h->key, key, sizeof(h->key));
    snprintf(h->name, sizeof(h->name), "%s", name);
    snprintf(h->model_id, sizeof(h->model_id), "%s", model_id);
    h->sum = tw_pack_sum(h, offsetof(tw_pack_head, sum));
}

static uint64_t end_at(uint64_t n_bytes)
{
    return (uint64_t)(tw_pack_n_chunks(n_bytes) + 1) * TW_PACK_CHUNK_BYTES;
}

uint64_t tw_pack_file_bytes(uint64_t n_bytes)
{
    return end_at(n_bytes) + tw_pack_n_chunks(n_bytes) * sizeof(uint64_t) + sizeof(pack_end);
}

static bool read_at(int fd, void *p, size_t n, uint64_t off)
{
    for (size_t at = 0; at < n;) {
        const ssize_t now = pread(fd, (char *)p + at, n - at, (off_t)(off + at));
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0)
            return false;
        at += (size_t)now;
    }
    return true;
}

int tw_pack_head_read(int fd, const char *path, tw_pack_head *ret, tw_err *err)
{
    struct stat st;
    tw_pack_head h;
    if (fstat(fd, &st) < 0)
        return tw_err_set(err, -errno, "%.180s: %s", path, strerror(errno));
    if (!read_at(fd, &h, sizeof(h), 0) || memcmp(h.magic, magic, sizeof(magic)) != 0)
        return tw_err_set(err, -EBADMSG, "%.180s: is no pack", path);
    if (h.version != VERSION || h.chunk_bytes != TW_PACK_CHUNK_BYTES)
        return tw_err_set(err, -EBADMSG, "%.180s: pack of version %u, wanted %d", path, h.version,
                          VERSION);
    if (h.sum != tw_pack_sum(&h, offsetof(tw_pack_head, sum)) || h.n_bytes > INT64_MAX / 2 ||
        h.name[sizeof(h.name) - 1] != '\0' || h.model_id[sizeof(h.model_id) - 1] != '\0')
        return tw_err_set(err, -EBADMSG, "%.180s: the pack's head is damaged", path);
    if ((uint64_t)st.st_size != tw_pack_file_bytes(h.n_bytes))
        return tw_err_set(err, -EBADMSG, "%.140s: pack of %llu bytes, wanted %llu", path,
                          (unsigned long long)st.st_size,
                          (unsigned long long)tw_pack_file_bytes(h.n_bytes));
    *ret = h;
    return 0;
}

static uint64_t sum_of_sums(const tw_pack_head *h, const uint64_t *sums)
{
    return tw_pack_sum(sums, tw_pack_n_chunks(h->n_bytes) * sizeof(*sums)) ^ h->sum;
}

static int write_at(int fd, const void *p, size_t n, uint64_t off)
{
    for (size_t at = 0; at < n;) {
        const ssize_t now = pwrite(fd, (const char *)p + at, n - at, (off_t)(off + at));
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0)
            return now < 0 ? -errno : -EIO;
        at += (size_t)now;
    }
    return 0;
}

int tw_pack_end_write(int fd, const tw_pack_head *h, const uint64_t *sums)
{
    const size_t n = tw_pack_n_chunks(h->n_bytes) * sizeof(*sums);
    pack_end end = {.sum = sum_of_sums(h, sums)};
    memcpy(end.magic, end_magic, sizeof(end_magic));
    int rc = write_at(fd, h, sizeof(*h), 0);
    if (rc == 0)
        rc = write_at(fd, sums, n, end_at(h->n_bytes));
    return rc == 0 ? write_at(fd, &end, sizeof(end), end_at(h->n_bytes) + n) : rc;
}

/* Whoever could write the file could give us any weights. */
static int check_owner(int fd, const char *path, tw_err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return tw_err_set(err, -errno, "%.180s: %s", path, strerror(errno));
    if (S_ISREG(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 022) == 0)
        return 0;
    return tw_err_set(err, -EPERM, "%.160s: is not ours alone to write, and so is not used", path);
}

static int read_sums(int fd, const char *path, const tw_pack_head *h, tw_pack_map *m, tw_err *err)
{
    const size_t n = m->n_chunks * sizeof(*m->sums);
    pack_end end;
    m->sums = tw_mem_alloc(n);
    if (m->sums == NULL)
        return tw_err_set(err, -ENOMEM, "%.160s: no memory for its sums", path);
    if (!read_at(fd, m->sums, n, end_at(h->n_bytes)) ||
        !read_at(fd, &end, sizeof(end), end_at(h->n_bytes) + n) ||
        memcmp(end.magic, end_magic, sizeof(end_magic)) != 0 || end.sum != sum_of_sums(h, m->sums))
        return tw_err_set(err, -EBADMSG, "%.180s: the pack's end is damaged", path);
    return 0;
}

int tw_pack_map_open(const char *path, const uint8_t key[TW_PACK_KEY_BYTES], size_t n_bytes,
                     tw_pack_map *ret, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    TW_CLEANUP(tw_pack_map_close) tw_pack_map m = {.n_bytes = n_bytes};
    tw_pack_head h;
    if (fd < 0)
        return tw_err_set(err, -errno, "%.180s: %s", path, strerror(errno));
    int rc = check_owner(fd, path, err);
    if (rc == 0)
        rc = tw_pack_head_read(fd, path, &h, err);
    if (rc != 0)
        return rc;
    if (h.n_bytes != n_bytes || memcmp(h.key, key, sizeof(h.key)) != 0)
        return tw_err_set(err, -EBADMSG, "%.180s: is another model's pack", path);
    (void)flock(fd, LOCK_SH | LOCK_NB); /* as long as it is mapped: the map keeps the open file */
    m.n_chunks = tw_pack_n_chunks(n_bytes);
    rc = read_sums(fd, path, &h, &m, err);
    if (rc != 0)
        return rc;
    m.data = tw_pages_map(fd, TW_PACK_CHUNK_BYTES, n_bytes);
    if (m.data == NULL)
        return tw_err_set(err, -ENOMEM, "%.160s: cannot map %zu bytes", path, n_bytes);
    tw_bus_add(m.data, n_bytes, path, true);
    *ret = m;
    m = (tw_pack_map){.data = NULL};
    return 0;
}

bool tw_pack_map_check(const tw_pack_map *m, size_t i)
{
    const size_t n = tw_pack_chunk_bytes(m->n_bytes, i);
    return tw_pack_sum(m->data + i * TW_PACK_CHUNK_BYTES, n) == m->sums[i];
}

void tw_pack_map_close(tw_pack_map *m)
{
    if (m == NULL)
        return;
    tw_bus_remove(m->data);
    tw_pages_unmap(m->data, m->n_bytes);
    tw_mem_free(m->sums);
    *m = (tw_pack_map){.data = NULL};
}
