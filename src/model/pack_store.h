/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of packs: $XDG_CACHE_HOME/twinax/packs, else ~/.cache/twinax/packs, ours alone. KEY.pack is
 * a whole one, KEY.part one that is being written, under a lock, or that waits for somebody to go on.
 * All together stay below a limit: the one that was used longest ago goes first. Losing any of them
 * costs time, nothing else; one that is in use stays mapped when it loses its name. */
#ifndef TWINAX_MODEL_PACK_STORE_H
#define TWINAX_MODEL_PACK_STORE_H

#include "model/pack_file.h"

typedef struct tw_pack_entry {
    char file[2 * TW_PACK_KEY_BYTES + 8]; /* in the folder */
    tw_pack_head head;                    /* zeros where is_part, or damaged */
    uint64_t bytes;                       /* on the disk */
    int64_t used_s;                       /* since 1970 */
    bool is_part, is_damaged;
} tw_pack_entry;

/* By the environment; -ENOENT without HOME. Makes nothing. */
TW_MUST_CHECK int tw_pack_folder_find(char out[TW_PACK_PATH_BYTES], tw_err *err);
/* Makes it where it is not there; -EPERM: not ours alone. */
TW_MUST_CHECK int tw_pack_folder_make(const char *folder, tw_err *err);

/* FOLDER/KEY.pack, FOLDER/KEY.part. False: too long. */
bool tw_pack_path(const char *folder, const uint8_t key[TW_PACK_KEY_BYTES], bool is_part,
                  char out[TW_PACK_PATH_BYTES]);

/* Newest first, by tw_mem_free; none where there is no folder. */
TW_MUST_CHECK int tw_pack_list(const char *folder, tw_pack_entry **ret, size_t *ret_n, tw_err *err);
/* False: somebody is writing it, or it cannot be removed. One that is gone is removed. */
bool tw_pack_remove(const char *folder, const tw_pack_entry *e);
/* It was used now. */
void tw_pack_touch(const char *path);

/* Room for one of so many bytes: packs go, the oldest first, until all are within the limit (0: a
 * quarter of what is free there or held by packs); never KEY's own, nor one that a process uses or
 * used within the last minute. -EFBIG: it would never fit; -ENOSPC: the disk has not so much, or the
 * others are in use. */
TW_MUST_CHECK int tw_pack_make_room(const char *folder, const uint8_t key[TW_PACK_KEY_BYTES],
                                    uint64_t bytes, uint64_t limit_bytes, tw_err *err);

#endif
