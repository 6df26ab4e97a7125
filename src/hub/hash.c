/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/scope.h"
#include "os/fd.h"

enum { CHUNK_BYTES = 1 << 20 };

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

int tw_hub_hash_check(const char *path, const char *etag, bool (*on_bytes)(void *arg, uint64_t n),
                      void *arg, tw_err *err)
{
    struct stat st;
    char got[TW_HUB_ETAG_BYTES];
    TW_CLEANUP(tw_hub_hash_done) tw_hub_hash h = {.is_open = false};
    TW_CLEANUP(tw_mem_freep) uint8_t *chunk = tw_mem_alloc(CHUNK_BYTES);
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (chunk == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    if (fd < 0 || fstat(fd, &st) != 0)
        return tw_err_set(err, -errno, "%.150s: %s", path, strerror(errno));
    tw_hub_hash_init(&h, etag, (uint64_t)st.st_size);
    for (ssize_t n; (n = read(fd, chunk, CHUNK_BYTES)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tw_err_set(err, -errno, "%.150s: cannot read: %s", path, strerror(errno));
        tw_hub_hash_add(&h, chunk, (size_t)n);
        if (on_bytes != NULL && !on_bytes(arg, (uint64_t)n))
            return tw_err_set(err, -EINTR, "stopped");
    }
    tw_hub_hash_end(&h, got);
    if (strcmp(got, etag) != 0)
        return tw_err_set(err, -EBADMSG,
                          "its bytes are not what they were: %s is %.16s..., wanted %.16s...",
                          h.is_git ? "git's SHA-1" : "SHA-256", got, etag);
    return 0;
}
