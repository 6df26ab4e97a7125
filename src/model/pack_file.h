/* SPDX-License-Identifier: Apache-2.0 */
/* A pack: one rank's packed weights on disk as they lie in memory, to be mapped by the next start.
 *
 *   0            2 MiB                        2 MiB + data, rounded up to 2 MiB
 *   | head, hole | data in chunks of 2 MiB ... | sum of each chunk u64[] | sum of the sums | "end" |
 *
 * The key is a hash of all that decides the bytes (pack.h), so a pack is right for whoever has its
 * key, or damaged. A pack is written beside its place, its bytes are on the disk before it gets its
 * name, and its end says that nothing is missing: a crash leaves none, never half of one. The sums of
 * all chunks are compared by each start, before a weight is used. Must not know: models. */
#ifndef TWINAX_MODEL_PACK_FILE_H
#define TWINAX_MODEL_PACK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum {
    TW_PACK_CHUNK_BYTES = 2 << 20, /* also where data begins: a border of huge pages */
    TW_PACK_KEY_BYTES = 32,
    TW_PACK_NAME_BYTES = 128,
    TW_PACK_ID_BYTES = 72,
    TW_PACK_PATH_BYTES = 4096
};

typedef struct tw_pack_head {
    char magic[8];
    uint32_t version, chunk_bytes;
    uint64_t n_bytes; /* of data */
    uint8_t key[TW_PACK_KEY_BYTES];
    char name[TW_PACK_NAME_BYTES];   /* for people: model, rank */
    char model_id[TW_PACK_ID_BYTES]; /* hex */
    uint64_t sum;                    /* of all before */
} tw_pack_head;

_Static_assert(sizeof(tw_pack_head) == 264, "as it lies in the file");

void tw_pack_head_fill(tw_pack_head *h, const uint8_t key[TW_PACK_KEY_BYTES], const char *name,
                       const char *model_id, uint64_t n_bytes);
/* Of the whole file. */
uint64_t tw_pack_file_bytes(uint64_t n_bytes);
/* Head of an open file, checked; -EBADMSG says what is wrong. */
TW_MUST_CHECK int tw_pack_head_read(int fd, const char *path, tw_pack_head *ret, tw_err *err);
/* What ends the file: sums [n_chunks] were made by the writer. Returns 0 or -errno. */
TW_MUST_CHECK int tw_pack_end_write(int fd, const tw_pack_head *h, const uint64_t *sums);

static inline size_t tw_pack_n_chunks(uint64_t n_bytes)
{
    return (size_t)((n_bytes + TW_PACK_CHUNK_BYTES - 1) / TW_PACK_CHUNK_BYTES);
}

/* Bytes of chunk i. */
static inline size_t tw_pack_chunk_bytes(uint64_t n_bytes, size_t i)
{
    const uint64_t left = n_bytes - (uint64_t)i * TW_PACK_CHUNK_BYTES;
    return left < TW_PACK_CHUNK_BYTES ? (size_t)left : (size_t)TW_PACK_CHUNK_BYTES;
}

/* A pack that is mapped, read-only, and locked so that nobody makes room with it. Its file may lose its
 * name meanwhile. */
typedef struct tw_pack_map {
    const uint8_t *data; /* [n_bytes], at a border of huge pages */
    size_t n_bytes, n_chunks;
    uint64_t *sums; /* [n_chunks] */
} tw_pack_map;

/* The file at path, which must be ours alone to write, have this key and so many bytes: -ENOENT: there
 * is none; -EBADMSG: damaged or torn; -EPERM: somebody else could write it. Reads no data. */
TW_MUST_CHECK int tw_pack_map_open(const char *path, const uint8_t key[TW_PACK_KEY_BYTES],
                                   size_t n_bytes, tw_pack_map *ret, tw_err *err);
/* Whether chunk i is what was written. Any thread. */
bool tw_pack_map_check(const tw_pack_map *m, size_t i);
void tw_pack_map_close(tw_pack_map *m);

#endif
