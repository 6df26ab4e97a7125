/* SPDX-License-Identifier: Apache-2.0 */
#include "model/pack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "model/pack_sum.h"
#include "os/sha256.h"
#include "twinax/version.h"

enum { LINE_BYTES = 256, SETTLE_S = 2 };

static void add_line(tw_sha256 *h, const char *what, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    char line[LINE_BYTES];
    const int n =
        snprintf(line, sizeof(line), "%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", what,
                 a, b, c, d);
    tw_sha256_add(h, line, TW_MIN((size_t)n, sizeof(line) - 1));
}

static void make_key(const tw_loader *l, const tw_shard *s, uint8_t ret[TW_PACK_KEY_BYTES])
{
    _Static_assert((int)TW_PACK_KEY_BYTES == (int)TW_SHA256_BYTES, "the key is a hash");
    tw_sha256 h;
    tw_sha256_init(&h);
    add_line(&h, "pack", TW_PACK_LAYOUT, TW_PANEL, TW_SEGMENTS, l->n_bytes);
    add_line(&h, "arith", TW_ARITH_VERSION, 0, 0, 0);
    tw_sha256_add(&h, l->m->id, strlen(l->m->id));
    for (size_t i = 0; i < l->m->n_files; i++) {
        const tw_map *f = &l->m->files[i].map;
        add_line(&h, "file", f->inode, f->size_bytes, (uint64_t)f->mtime_ns, (uint64_t)f->ctime_ns);
    }
    add_line(&h, "shard", s->rank, s->n_ranks, s->head0, s->n_heads);
    add_line(&h, "shard", s->kv0, s->n_kv, s->ffn0, s->n_ffn);
    add_line(&h, "shard", s->vocab0, s->n_vocab, 0, 0);
    for (size_t i = 0; i < l->n_pieces; i++) {
        const tw_piece *p = &l->pieces[i];
        add_line(&h, p->t->name, (uint64_t)p->t->type, p->t->i_file, p->t->off_bytes, p->off_bytes);
        add_line(&h, "as", (uint64_t)p->type, p->is_vector, 0, 0);
        add_line(&h, "rows", p->row0, p->n_rows, p->col0, p->n_cols);
    }
    tw_sha256_end(&h, ret);
}

/* ---- finding ---- */

struct check {
    tw_loader *l;
    const tw_pack_map *map;
    _Atomic size_t i_next;
    _Atomic size_t n_bad;
};

static void check_chunks(void *ctx, unsigned i_thread, unsigned n_threads)
{
    (void)n_threads;
    struct check *c = ctx;
    tw_loader *l = c->l;
    while (atomic_load(&c->n_bad) == 0 && atomic_load(&l->stopped) == 0) {
        const size_t i = atomic_fetch_add(&c->i_next, 1);
        if (i >= c->map->n_chunks)
            return;
        if (!tw_pack_map_check(c->map, i))
            atomic_fetch_add(&c->n_bad, 1);
        if (i_thread == 0 && l->progress != NULL && i + 1 < c->map->n_chunks)
            atomic_store(&l->stopped,
                         l->progress(l->ctx, (uint64_t)i * TW_PACK_CHUNK_BYTES, l->n_bytes));
    }
}

static size_t bytes_of(const tw_loader *l, size_t i_piece)
{
    const size_t end = i_piece + 1 < l->n_pieces ? l->pieces[i_piece + 1].off_bytes : l->n_bytes;
    return end - l->pieces[i_piece].off_bytes;
}

static int check_piece(const tw_loader *l, size_t i, const tw_pack_map *map, tw_err *err)
{
    const size_t bytes = bytes_of(l, i);
    void *anew = tw_pages_new(bytes);
    if (anew == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to check a pack");
    const int rc = tw_weights_load_piece(l, &l->pieces[i], anew);
    const bool same = rc == 0 && memcmp(anew, map->data + l->pieces[i].off_bytes, bytes) == 0;
    tw_pages_free(anew, bytes);
    if (rc == -ENOMEM)
        return tw_err_set(err, rc, "no memory to check a pack");
    if (!same)
        return tw_err_set(err, -EBADMSG, "pack: \"%.100s\" is packed otherwise today",
                          l->pieces[i].t->name);
    return 0;
}

enum { N_WAYS = 8 };

/* Pieces of the same types are packed in different ways too. */
static unsigned way_of(const tw_piece *p)
{
    return (p->is_vector ? 1u : 0) + (p->t->coded != NULL ? 2u : 0) + (p->t->turned != 0 ? 4u : 0);
}

/* The version of packing is a number that somebody may forget to raise: the smallest piece of each kind
 * is packed anew. */
static int check_samples(const tw_loader *l, const tw_pack_map *map, tw_err *err)
{
    /* piece + 1 by type there, type here, way; 0: none */
    size_t least[TW_DTYPE_END][TW_DTYPE_END][N_WAYS];
    memset(least, 0, sizeof(least));
    for (size_t i = 0; i < l->n_pieces; i++) {
        const tw_piece *p = &l->pieces[i];
        size_t *at = &least[p->t->type][p->type][way_of(p)];
        if (*at == 0 || bytes_of(l, i) < bytes_of(l, *at - 1))
            *at = i + 1;
    }
    const size_t *all = &least[0][0][0];
    for (size_t k = 0; k < sizeof(least) / sizeof(*all); k++) {
        const int rc = all[k] != 0 ? check_piece(l, all[k] - 1, map, err) : 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int check_all(tw_loader *l, tw_team *team, const tw_pack_map *map, int *ret_stopped,
                     tw_err *err)
{
    struct check c = {.l = l, .map = map};
    if (team == NULL)
        check_chunks(&c, 0, 1);
    else
        tw_team_run(team, check_chunks, &c);
    *ret_stopped = atomic_load(&l->stopped);
    if (*ret_stopped != 0)
        return *ret_stopped;
    if (atomic_load(&c.n_bad) > 0)
        return tw_err_set(err, -EBADMSG, "pack: its bytes are not those that were written");
    int rc = check_samples(l, map, err);
    if (rc == 0 && l->progress != NULL)
        *ret_stopped = rc = l->progress(l->ctx, l->n_bytes, l->n_bytes);
    return rc;
}

int tw_pack_find(tw_loader *l, const tw_shard *s, const tw_pack_opts *o, tw_team *team,
                 tw_pack_map *ret, int *ret_stopped, tw_err *err)
{
    uint8_t key[TW_PACK_KEY_BYTES];
    char path[TW_PACK_PATH_BYTES];
    TW_CLEANUP(tw_pack_map_close) tw_pack_map map = {.data = NULL};
    *ret_stopped = 0;
    make_key(l, s, key);
    if (!tw_pack_path(o->folder, key, false, path))
        return tw_err_set(err, -ENAMETOOLONG, "packs: the folder's path is too long");
    int rc = tw_pack_map_open(path, key, l->n_bytes, &map, err);
    if (rc == 0)
        rc = check_all(l, team, &map, ret_stopped, err);
    if (rc == -EBADMSG)
        (void)!unlink(path);
    if (rc != 0)
        return rc;
    tw_pack_touch(path);
    *ret = map;
    map = (tw_pack_map){.data = NULL};
    return 0;
}

/* ---- keeping ---- */

/* Since it was looked at, before it was read: loading may have taken long. */
static bool may_change_unseen(const tw_model *m)
{
    for (size_t i = 0; i < m->n_files; i++) {
        const tw_map *f = &m->files[i].map;
        if (f->mtime_ns / (int64_t)TW_NS_PER_S + SETTLE_S > f->looked_s)
            return true;
    }
    return false;
}

/* ".../models--ORG--NAME/snapshots/COMMIT" is ORG/NAME@COMMIT to people. */
static void name_model(const tw_model *m, char out[TW_PACK_NAME_BYTES])
{
    static const char mark[] = "/models--", snapshots[] = "/snapshots/";
    const char *at = strstr(m->path, mark), *end = at != NULL ? strstr(at, snapshots) : NULL;
    const char *dash = at != NULL ? strstr(at + sizeof(mark) - 1, "--") : NULL;
    if (end == NULL || dash == NULL || dash > end) {
        snprintf(out, TW_PACK_NAME_BYTES, "%.90s", m->name);
        return;
    }
    at += sizeof(mark) - 1;
    snprintf(out, TW_PACK_NAME_BYTES, "%.*s/%.*s@%.12s", (int)TW_MIN(dash - at, 40), at,
             (int)TW_MIN(end - dash - 2, 50), dash + 2, end + sizeof(snapshots) - 1);
}

int tw_pack_begin_keep(const tw_loader *l, const tw_shard *s, const tw_pack_opts *o,
                       const tw_team *team, tw_pack_keep **ret, tw_err *err)
{
    tw_pack_keep_opts k = {.folder = o->folder,
                           .limit_bytes = o->limit_bytes,
                           .data = l->base,
                           .team = team};
    uint8_t key[TW_PACK_KEY_BYTES];
    char model[TW_PACK_NAME_BYTES], name[TW_PACK_NAME_BYTES];
    if (may_change_unseen(l->m))
        return tw_err_set(err, -EAGAIN, "model %s: was changed just now", l->m->path);
    make_key(l, s, key);
    name_model(l->m, model);
    snprintf(name, sizeof(name), "%.106s, rank %u of %u", model, s->rank, s->n_ranks);
    tw_pack_head_fill(&k.head, key, name, l->m->id, l->n_bytes);
    return tw_pack_keep_start(&k, ret, err);
}
