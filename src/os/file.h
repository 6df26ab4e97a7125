/* SPDX-License-Identifier: Apache-2.0 */
/* Files: whole reads with a ceiling, whole writes, read-only maps. */
#ifndef TWINAX_OS_FILE_H
#define TWINAX_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Appends the whole file to buf (its ceiling bounds the size). The message names path and cause. */
TW_MUST_CHECK int tw_file_read(const char *path, tw_buf *buf, tw_err *err);
/* Creates or overwrites, in place (not atomic, no fsync). */
TW_MUST_CHECK int tw_file_write(const char *path, const void *p, size_t n, tw_err *err);
/* All n bytes to an open file: 0 or -errno (-ENOSPC, -EIO when nothing is taken any more). */
TW_MUST_CHECK int tw_fd_write_all(int fd, const void *p, size_t n);
bool tw_file_exists(const char *path);
bool tw_file_is_dir(const char *path);

/* Read-only private map of a regular file. A file that shrinks later, or a bad disk, ends
 * the process: bus.h. */
typedef struct tw_map {
    const uint8_t *p; /* NULL when size is 0 or not open */
    size_t size_bytes;
    uint64_t inode; /* these as the file was when it was mapped */
    int64_t mtime_ns, ctime_ns;
    int64_t looked_s; /* wall clock just before that */
} tw_map;

TW_MUST_CHECK int tw_map_open(const char *path, tw_map *ret, tw_err *err);
/* Lets go of the pages that lie wholly inside [off, off + n): they leave our RSS. */
void tw_map_drop(const tw_map *m, size_t off, size_t n);
/* From now on a fault reads its own page alone, not what lies around it: for a map of which only
 * parts are used. What will be used next is asked for by tw_map_want. */
void tw_map_set_sparse(const tw_map *m);
/* Has the kernel read [off, off + n) from the disk; does not wait for it. */
void tw_map_want(const tw_map *m, size_t off, size_t n);
void tw_map_close(tw_map *m);

/* Zeroed anonymous memory, page-aligned, huge pages asked for when >= 2 MiB. */
void *tw_pages_new(size_t bytes);
void tw_pages_free(void *p, size_t bytes);

/* Read-only private map of [off, off + bytes) of a file, which must be there and stay; off a multiple of
 * 2 MiB, and so is the address: pages of the page cache that are as large can be mapped as such. NULL
 * when it fails. */
const void *tw_pages_map(int fd, size_t off, size_t bytes);
void tw_pages_unmap(const void *p, size_t bytes);

#endif
