/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "model/model_state.h"
#include "model/pack.h"
#include "os/fd.h"
#include "pack_folder.h"
#include "tiny.h"

static const struct tw_tiny mixed = {.mixed = true, .attention_bias = true, .n_files = 2};

typedef struct bed {
    char dir[256];
    tw_test_packs packs;
    tw_team *team;
} bed;

/* A model that was written long ago. */
static void age(const char *dir, int64_t mtime_s)
{
    static const char *const names[] = {"model.safetensors", "model-00001-of-00002.safetensors",
                                        "model-00002-of-00002.safetensors"};
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = mtime_s}};
    unsigned n = 0;
    for (size_t i = 0; i < TW_ARRAY_LEN(names); i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        n += utimensat(AT_FDCWD, path, times, 0) == 0;
    }
    assert_true(n > 0);
}

static void init(bed *b, const struct tw_tiny *opts)
{
    tw_err err;
    memset(b, 0, sizeof(*b));
    tw_test_packs_init(&b->packs, 1);
    assert_int_equal(tw_tiny_dir(b->dir, sizeof(b->dir)), 0);
    assert_int_equal(tw_tiny_write(b->dir, opts), 0);
    age(b->dir, 1000000);
    assert_int_equal(tw_team_new(2, NULL, &b->team, &err), 0);
}

static void done(bed *b)
{
    tw_team_free(b->team);
    tw_test_packs_done(&b->packs);
    tw_tiny_remove(b->dir);
}

typedef struct loaded {
    tw_model *m;
    tw_weights w;
} loaded;

static void load_as(const bed *b, unsigned n_ranks, unsigned rank, bool copy, loaded *x)
{
    const tw_pack_opts o = {.folder = b->packs.folder, .min_bytes = 1, .copy = copy};
    tw_shard s;
    tw_err err = {0};
    if (tw_model_open(b->dir, &x->m, &err) != 0 ||
        tw_shard_init(tw_model_get_config(x->m), n_ranks, rank, &s, &err) != 0 ||
        tw_weights_load_cached(x->m, &s, b->team, NULL, NULL, &o, &x->w, &err) != 0)
        fail_msg("%s", err.msg);
}

static void load(const bed *b, unsigned n_ranks, unsigned rank, loaded *x)
{
    load_as(b, n_ranks, rank, false, x);
}

static int keep_and_close(loaded *x, tw_err *err)
{
    tw_weights_keep(&x->w);
    const int rc = tw_weights_end_keep(&x->w, 60 * TW_NS_PER_S, err);
    tw_weights_done(&x->w);
    tw_model_close(x->m);
    return rc;
}

/* The first piece is the first layer's norm: the whole run of packed bytes begins there. */
static const uint8_t *base_of(const loaded *x)
{
    return (const uint8_t *)x->w.layers[0].attn_norm;
}

static void loads_once(const bed *b, bool want_mapped)
{
    loaded x;
    tw_err err = {0};
    load(b, 1, 0, &x);
    assert_int_equal(x.w.is_mapped, want_mapped);
    const int rc = keep_and_close(&x, &err);
    if (!want_mapped && rc != 0)
        fail_msg("%d %s", rc, err.msg);
}

static void the_second_load_maps_the_same_bytes(void **state)
{
    (void)state;
    static const struct tw_tiny models[] = {
        {.family = "llama"},
        {.family = "qwen3", .tied = true, .f16 = true},
        {.f32 = true, .vocab = 601},
        {.mixed = true, .attention_bias = true, .n_files = 2},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(models); i++)
        for (unsigned n_ranks = 1; n_ranks <= 2; n_ranks++) {
            bed b;
            init(&b, &models[i]);
            for (unsigned r = 0; r < n_ranks; r++) {
                loaded cold, warm;
                tw_err err;
                load(&b, n_ranks, r, &cold);
                assert_false(cold.w.is_mapped);
                tw_weights_keep(&cold.w);
                assert_int_equal(tw_weights_end_keep(&cold.w, 60 * TW_NS_PER_S, &err), 0);
                load_as(&b, n_ranks, r, i % 2 == 1, &warm);
                assert_true(warm.w.is_mapped);
                assert_int_equal(warm.w.bytes, cold.w.bytes);
                assert_memory_equal(base_of(&warm), base_of(&cold), cold.w.bytes);
                assert_int_equal((const uint8_t *)warm.w.lm_head.data - base_of(&warm),
                                 (const uint8_t *)cold.w.lm_head.data - base_of(&cold));
                assert_int_equal(keep_and_close(&warm, &err), -ECANCELED); /* there already */
                (void)keep_and_close(&cold, &err);
            }
            assert_int_equal(tw_test_packs_count(&b.packs), n_ranks);
            done(&b);
        }
}

static void another_model_in_its_place_is_seen(void **state)
{
    (void)state;
    bed b;
    struct tw_tiny other = mixed;
    init(&b, &mixed);
    loads_once(&b, false);
    loads_once(&b, true);
    other.seed = 5; /* same config, same tensors, same sizes, same time of change */
    assert_int_equal(tw_tiny_write(b.dir, &other), 0);
    age(b.dir, 1000000);
    loads_once(&b, false);
    loads_once(&b, true);
    age(b.dir, 1000001); /* as if written to */
    loads_once(&b, false);
    done(&b);
}

static void files_of_this_moment_are_not_kept(void **state)
{
    (void)state;
    bed b;
    loaded x;
    tw_err err;
    init(&b, &mixed);
    age(b.dir, (int64_t)tw_clock_unix_s());
    load(&b, 1, 0, &x);
    assert_int_equal(keep_and_close(&x, &err), -ECANCELED);
    assert_int_equal(tw_test_packs_count(&b.packs), 0);
    done(&b);
}

/* ... nor those that were of the moment when they were opened, however long loading took. */
static void files_of_the_moment_of_opening_are_not_kept(void **state)
{
    (void)state;
    bed b;
    loaded x;
    tw_shard s;
    tw_err err = {0};
    init(&b, &mixed);
    const tw_pack_opts o = {.folder = b.packs.folder, .min_bytes = 1};
    for (int later_s = 1; later_s <= 2; later_s++) {
        assert_int_equal(tw_model_open(b.dir, &x.m, &err), 0);
        for (size_t i = 0; i < x.m->n_files; i++)
            x.m->files[i].map.looked_s = 1000000 + later_s;
        assert_int_equal(tw_shard_init(tw_model_get_config(x.m), 1, 0, &s, &err), 0);
        assert_int_equal(tw_weights_load_cached(x.m, &s, b.team, NULL, NULL, &o, &x.w, &err), 0);
        assert_int_equal(keep_and_close(&x, &err), later_s < 2 ? -ECANCELED : 0);
    }
    assert_int_equal(tw_test_packs_count(&b.packs), 1);
    done(&b);
}

static void path_of_only(const bed *b, char path[TW_PACK_PATH_BYTES + 100], tw_pack_head *ret)
{
    tw_pack_entry *v;
    size_t n;
    tw_err err;
    assert_int_equal(tw_pack_list(b->packs.folder, &v, &n, &err), 0);
    assert_int_equal(n, 1);
    snprintf(path, TW_PACK_PATH_BYTES + 100, "%s/%s", b->packs.folder, v[0].file);
    *ret = v[0].head;
    tw_mem_free(v);
}

static void a_damaged_one_is_replaced(void **state)
{
    (void)state;
    bed b;
    char path[TW_PACK_PATH_BYTES + 100];
    tw_pack_head head;
    init(&b, &mixed);
    loads_once(&b, false);
    path_of_only(&b, path, &head);
    const off_t ats[] = {TW_PACK_CHUNK_BYTES, TW_PACK_CHUNK_BYTES + (off_t)head.n_bytes - 1, 17};
    for (size_t i = 0; i < TW_ARRAY_LEN(ats); i++) {
        TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDWR);
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, ats[i]), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, ats[i]), 1);
        loads_once(&b, false);
        loads_once(&b, true);
    }
    assert_int_equal(truncate(path, 5000), 0);
    loads_once(&b, false);
    loads_once(&b, true);
    done(&b);
}

/* As after a change of packing whose number was forgotten: key and sums are right, bytes are not. */
static void one_packed_otherwise_is_replaced(void **state)
{
    (void)state;
    bed b;
    char path[TW_PACK_PATH_BYTES + 100];
    loaded x;
    tw_err err;
    tw_pack_head head;
    init(&b, &mixed);
    loads_once(&b, false);
    path_of_only(&b, path, &head);
    load(&b, 1, 0, &x);
    uint8_t *other = tw_mem_alloc(x.w.bytes);
    memcpy(other, base_of(&x), x.w.bytes);
    (void)keep_and_close(&x, &err);
    for (size_t i = 0; i + 4 <= head.n_bytes; i += 4) { /* neighbours trade places */
        uint16_t two[2];
        memcpy(two, other + i, sizeof(two));
        const uint16_t swapped[2] = {two[1], two[0]};
        memcpy(other + i, swapped, sizeof(swapped));
    }
    assert_int_equal(unlink(path), 0);
    const tw_pack_keep_opts o = {.folder = b.packs.folder, .head = head, .data = other};
    tw_pack_keep *k;
    assert_int_equal(tw_pack_keep_start(&o, &k, &err), 0);
    tw_pack_keep_go(k);
    assert_int_equal(tw_pack_keep_end(k, 60 * TW_NS_PER_S, &err), 0);
    tw_mem_free(other);
    loads_once(&b, false);
    loads_once(&b, true);
    done(&b);
}

/* Mapped or copied, as long as its weights are loaded. */
static void one_that_is_loaded_is_not_made_room_with(void **state)
{
    (void)state;
    static const struct timespec long_ago[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};
    static const uint8_t other[TW_PACK_KEY_BYTES] = {1};
    bed b;
    char path[TW_PACK_PATH_BYTES + 100];
    tw_pack_head head;
    tw_err err;
    init(&b, &mixed);
    loads_once(&b, false);
    path_of_only(&b, path, &head);
    const uint64_t bytes = tw_pack_file_bytes(head.n_bytes);
    for (int copy = 0; copy <= 1; copy++) {
        loaded x;
        load_as(&b, 1, 0, copy != 0, &x);
        assert_true(x.w.is_mapped);
        assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
        assert_int_equal(tw_pack_make_room(b.packs.folder, other, bytes, bytes, &err), -ENOSPC);
        assert_int_equal(tw_test_packs_count(&b.packs), 1);
        (void)keep_and_close(&x, &err);
    }
    assert_int_equal(tw_pack_make_room(b.packs.folder, other, bytes, bytes, &err), 0);
    assert_int_equal(tw_test_packs_count(&b.packs), 0);
    done(&b);
}

static int stop_at_once(void *ctx, uint64_t n_done, uint64_t n_total)
{
    (void)n_done;
    (void)n_total;
    ++*(unsigned *)ctx;
    return -EINTR;
}

static void progress_ends_it(void **state)
{
    (void)state;
    bed b;
    tw_model *m;
    tw_shard s;
    tw_weights w;
    tw_err err;
    unsigned n = 0;
    init(&b, &mixed);
    loads_once(&b, false);
    const tw_pack_opts o = {.folder = b.packs.folder, .min_bytes = 1};
    assert_int_equal(tw_model_open(b.dir, &m, &err), 0);
    assert_int_equal(tw_shard_init(tw_model_get_config(m), 1, 0, &s, &err), 0);
    assert_int_equal(tw_weights_load_cached(m, &s, NULL, stop_at_once, &n, &o, &w, &err), -EINTR);
    assert_int_equal(n, 1); /* and the files were not loaded after that */
    tw_model_close(m);
    assert_int_equal(tw_test_packs_count(&b.packs), 1);
    done(&b);
}

static void failed_allocations_cost_the_cache_alone(void **state)
{
    (void)state;
    bed b;
    init(&b, &mixed);
    tw_model *m;
    tw_shard s;
    tw_err err;
    loads_once(&b, false);
    assert_int_equal(tw_model_open(b.dir, &m, &err), 0);
    assert_int_equal(tw_shard_init(tw_model_get_config(m), 1, 0, &s, &err), 0);
    const tw_pack_opts o = {.folder = b.packs.folder, .min_bytes = 1};
    int rc = -ENOMEM;
    uint64_t n = 0;
    for (; rc != 0; n++) {
        tw_weights w;
        tw_mem_fail_at(n + 1);
        rc = tw_weights_load_cached(m, &s, b.team, NULL, NULL, &o, &w, &err);
        tw_mem_fail_at(0);
        if (rc == 0)
            tw_weights_done(&w);
        else
            assert_int_equal(rc, -ENOMEM);
        assert_true(n < 1000);
    }
    print_message("# %u allocations failed, one after another\n", (unsigned)n - 1);
    tw_model_close(m);
    assert_int_equal(tw_test_packs_count(&b.packs), 1);
    done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_load_maps_the_same_bytes),
        cmocka_unit_test(another_model_in_its_place_is_seen),
        cmocka_unit_test(files_of_this_moment_are_not_kept),
        cmocka_unit_test(files_of_the_moment_of_opening_are_not_kept),
        cmocka_unit_test(a_damaged_one_is_replaced),
        cmocka_unit_test(one_packed_otherwise_is_replaced),
        cmocka_unit_test(one_that_is_loaded_is_not_made_room_with),
        cmocka_unit_test(progress_ends_it),
        cmocka_unit_test(failed_allocations_cost_the_cache_alone),
    };
    return cmocka_run_group_tests_name("model pack", tests, NULL, NULL);
}
