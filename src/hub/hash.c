/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/scope.h"
#include "hub/hash_cache.h"
#include "os/fd.h"

enum { CHUNK_BYTES = 256 << 10 }; /* stays in the core's own cache while it is hashed */

void tw_hub_hash_init(tw_hub_hash *h, const char *etag, uint64_t size)
{
    tw_hub_hash_done(h);
    *h = (tw_hub_hash){.is_git = strlen(etag) == 2 * TW_SHA1_BYTES, .is_open = true};
    if (h->is_git) {
        char head[32];
        const int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
        tw_sha1_init(&h->sha1);
        tw_sha1_add(&h->sha1, head, (size_t)n + 1); /* with its NUL */
    } else {
        tw_sha256_init(&h->sha256);
    }
}

void tw_hub_hash_add(tw_hub_hash *h, const void *p, size_t n)
{
    if (h->is_git)
        tw_sha1_add(&h->sha1, p, n);
    else
        tw_sha256_add(&h->sha256, p, n);
}

void tw_hub_hash_end(tw_hub_hash *h, char out[TW_HUB_ETAG_BYTES])
{
    uint8_t hash[TW_SHA256_BYTES];
    const unsigned n = h->is_git ? TW_SHA1_BYTES : TW_SHA256_BYTES;
    if (h->is_git)
        tw_sha1_end(&h->sha1, hash);
    else
        tw_sha256_end(&h->sha256, hash);
    for (unsigned i = 0; i < n; i++)
        snprintf(out + 2 * (size_t)i, 3, "%02x", hash[i]);
    h->is_open = false;
}

void tw_hub_hash_done(tw_hub_hash *h)
{
    char ignored[TW_HUB_ETAG_BYTES];
    if (h->is_open)
        tw_hub_hash_end(h, ignored);
}

static int hash_bytes(int fd, const char *path, tw_hub_hash *h,
                      bool (*on_bytes)(void *arg, uint64_t n), void *arg, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) uint8_t *chunk = tw_mem_alloc(CHUNK_BYTES);
    if (chunk == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (ssize_t n; (n = read(fd, chunk, CHUNK_BYTES)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tw_err_set(err, -errno, "%.150s: cannot read: %s", path, strerror(errno));
        tw_hub_hash_add(h, chunk, (size_t)n);
        if (on_bytes != NULL && !on_bytes(arg, (uint64_t)n))
            return tw_err_set(err, -EINTR, "stopped");
    }
    return 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* kind: any name of the kind of hash that is wanted. */
static int hash_file(const char *path, const char *kind, bool (*on_bytes)(void *arg, uint64_t n),
                     void *arg, char ret[TW_HUB_ETAG_BYTES], tw_err *err)
{
    struct stat st, after;
    TW_CLEANUP(tw_hub_hash_done) tw_hub_hash h = {.is_open = false};
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return tw_err_set(err, -errno, "%.150s: %s", path, strerror(errno));
    const bool may_note = tw_hub_hash_cache_may_note(&st);
    tw_hub_hash_init(&h, kind, (uint64_t)st.st_size);
    int rc = hash_bytes(fd, path, &h, on_bytes, arg, err);
    if (rc != 0)
        return rc;
    tw_hub_hash_end(&h, ret);
    if (may_note && fstat(fd, &after) == 0 && is_same(&st, &after))
        tw_hub_hash_cache_note(&st, ret);
    return 0;
}

int tw_hub_hash_check(const char *path, const char *etag, bool (*on_bytes)(void *arg, uint64_t n),
                      void *arg, tw_err *err)
{
    char got[TW_HUB_ETAG_BYTES];
    int rc = hash_file(path, etag, on_bytes, arg, got, err);
    if (rc != 0 || strcmp(got, etag) == 0)
        return rc;
    return tw_err_set(err, -EBADMSG,
                      "its bytes are not what they were: %s is %.16s..., wanted %.16s...",
                      strlen(etag) == 2 * TW_SHA1_BYTES ? "git's SHA-1" : "SHA-256", got, etag);
}

int tw_hub_hash_sha256(const char *path, bool (*on_bytes)(void *arg, uint64_t n), void *arg,
                       char ret[TW_HUB_ETAG_BYTES], tw_err *err)
{
    return hash_file(path, "", on_bytes, arg, ret, err);
}
