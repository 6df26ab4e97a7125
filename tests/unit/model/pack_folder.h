/* SPDX-License-Identifier: Apache-2.0 */
/* A folder for packs under /tmp, and packs of made-up bytes, for tests. */
#ifndef TWINAX_TEST_PACK_FOLDER_H
#define TWINAX_TEST_PACK_FOLDER_H

#include "model/pack_keep.h"

typedef struct tw_test_packs {
    char folder[TW_PACK_PATH_BYTES];
    uint8_t key[TW_PACK_KEY_BYTES];
    uint8_t *data; /* [n_bytes] */
    size_t n_bytes;
} tw_test_packs;

/* Fails the test where it cannot. */
void tw_test_packs_init(tw_test_packs *t, size_t n_bytes);
void tw_test_packs_done(tw_test_packs *t);
/* Written to its end by a keeper; key[0] is i. Returns its rc. */
int tw_test_packs_keep(const tw_test_packs *t, uint8_t i, uint64_t limit_bytes, tw_err *err);
void tw_test_packs_path(const tw_test_packs *t, uint8_t i, bool is_part,
                        char out[TW_PACK_PATH_BYTES]);
size_t tw_test_packs_count(const tw_test_packs *t);

#endif
