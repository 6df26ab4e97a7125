/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "os/file.h"
#include "pack_folder.h"

void tw_test_packs_init(tw_test_packs *t, size_t n_bytes)
{
    char top[] = "/tmp/twinax-packs-XXXXXX";
    memset(t, 0, sizeof(*t));
    assert_non_null(mkdtemp(top));
    snprintf(t->folder, sizeof(t->folder), "%s/a/packs", top);
    t->n_bytes = n_bytes;
    t->data = tw_pages_new(n_bytes);
    assert_non_null(t->data);
    tw_rng rng = tw_rng_seed(n_bytes);
    for (size_t i = 0; i + 8 <= n_bytes; i += 8) {
        const uint64_t v = tw_rng_u64(&rng);
        memcpy(t->data + i, &v, sizeof(v));
    }
    memset(t->key, 7, sizeof(t->key));
}

void tw_test_packs_done(tw_test_packs *t)
{
    tw_pack_entry *v;
    size_t n;
    tw_err err;
    assert_int_equal(tw_pack_list(t->folder, &v, &n, &err), 0);
    for (size_t i = 0; i < n; i++)
        assert_true(tw_pack_remove(t->folder, &v[i]));
    tw_mem_free(v);
    for (int i = 0; i < 3; i++) {
        (void)!rmdir(t->folder);
        *strrchr(t->folder, '/') = '\0';
    }
    tw_pages_free(t->data, t->n_bytes);
}

int tw_test_packs_keep(const tw_test_packs *t, uint8_t i, uint64_t limit_bytes, tw_err *err)
{
    tw_pack_keep_opts o = {.folder = t->folder, .limit_bytes = limit_bytes, .data = t->data};
    tw_pack_keep *k = NULL;
    uint8_t key[TW_PACK_KEY_BYTES];
    memcpy(key, t->key, sizeof(key));
    key[0] = i;
    tw_pack_head_fill(&o.head, key, "a model, rank 0 of 1", "0123", t->n_bytes);
    assert_int_equal(tw_pack_keep_start(&o, &k, err), 0);
    tw_pack_keep_go(k);
    return tw_pack_keep_end(k, 60 * TW_NS_PER_S, err);
}

void tw_test_packs_path(const tw_test_packs *t, uint8_t i, bool is_part,
                        char out[TW_PACK_PATH_BYTES])
{
    uint8_t key[TW_PACK_KEY_BYTES];
    memcpy(key, t->key, sizeof(key));
    key[0] = i;
    assert_true(tw_pack_path(t->folder, key, is_part, out));
}

size_t tw_test_packs_count(const tw_test_packs *t)
{
    tw_pack_entry *v;
    size_t n;
    tw_err err;
    assert_int_equal(tw_pack_list(t->folder, &v, &n, &err), 0);
    tw_mem_free(v);
    return n;
}
