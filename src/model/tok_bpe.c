/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tok_bpe.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

enum { NOWHERE = -1 };

/* Linked, so that a merge costs the same everywhere; a merged-away symbol has id TW_TOK_NONE. */
typedef struct symbol {
    int32_t prev, next;
    uint32_t id;
} symbol;

static int show(tw_str s)
{
    return (int)TW_MIN(s.len, (size_t)40);
}

static int init_vocab(tw_tok_bpe *b, const char *name, const tw_tj_token *vocab, size_t n,
                      tw_arena *a, tw_err *err)
{
    if (tw_tok_vocab_init(&b->vocab, n, a) < 0)
        return tw_err_set(err, -ENOMEM, "%s: out of memory for the vocab", name);
    for (size_t i = 0; i < n; i++)
        if (!tw_tok_vocab_add(&b->vocab, vocab[i].text, vocab[i].id))
            return tw_err_set(err, -EINVAL, "%s: model.vocab: found \"%.*s\" twice, wanted once",
                              name, show(vocab[i].text), vocab[i].text.p);
    return 0;
}

static int merge_error(const char *name, size_t i, tw_str text, tw_err *err)
{
    return tw_err_set(err, -EINVAL,
                      "%s: model.merges[%zu]: found \"%.*s\", which is not in the vocab, wanted "
                      "tokens of the vocab",
                      name, i, show(text), text.p);
}

static int add_merge(tw_tok_bpe *b, const char *name, const tw_tj_merge *m, size_t i, tw_buf *join,
                     tw_err *err)
{
    tw_tok_merge to = {.rank = (uint32_t)i};
    to.left = tw_tok_vocab_find(&b->vocab, m->left.p, m->left.len);
    to.right = tw_tok_vocab_find(&b->vocab, m->right.p, m->right.len);
    if (to.left == TW_TOK_NONE || to.right == TW_TOK_NONE)
        return merge_error(name, i, to.left == TW_TOK_NONE ? m->left : m->right, err);
    tw_buf_reset(join);
    int rc = tw_buf_append(join, m->left.p, m->left.len);
    if (rc == 0)
        rc = tw_buf_append(join, m->right.p, m->right.len);
    if (rc < 0)
        return tw_err_set(err, rc, "%s: model.merges[%zu]: %s", name, i,
                          rc == -ENOMEM ? "out of memory" : "found more than 1 MiB");
    to.id = tw_tok_vocab_find(&b->vocab, join->data, join->len);
    if (to.id == TW_TOK_NONE)
        return merge_error(name, i, (tw_str){join->data, join->len}, err);
    tw_tok_merges_add(&b->merges, to);
    return 0;
}

static int init_merges(tw_tok_bpe *b, const char *name, const tw_tokenizer_json *j, tw_arena *a,
                       tw_err *err)
{
    if (tw_tok_merges_init(&b->merges, j->n_merges, a) < 0)
        return tw_err_set(err, -ENOMEM, "%s: out of memory for the merges", name);
    tw_buf join TW_CLEANUP(tw_buf_done) = TW_BUF((size_t)1 << 20);
    for (size_t i = 0; i < j->n_merges; i++) {
        int rc = add_merge(b, name, &j->merges[i], i, &join, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int tw_tok_bpe_init(tw_tok_bpe *b, const char *name, const tw_tokenizer_json *j, uint32_t n_ids,
                    tw_arena *a, tw_err *err)
{
    *b = (tw_tok_bpe){.has_unk = j->has_unk,
                      .byte_fallback = j->byte_fallback,
                      .fuse_unk = j->fuse_unk,
                      .ignore_merges = j->ignore_merges};
    b->wholes = tw_arena_array(a, n_ids, sizeof(b->wholes[0]));
    if (b->wholes == NULL)
        return tw_err_set(err, -ENOMEM, "%s: out of memory for the vocab", name);
    int rc = init_vocab(b, name, j->vocab, j->n_vocab, a, err);
    if (rc == 0)
        rc = init_merges(b, name, j, a, err);
    if (rc < 0)
        return rc;
    for (uint32_t cp = 0; cp < TW_TOK_BYTE_CP_END; cp++) {
        char text[4];
        b->low_ids[cp] = tw_tok_vocab_find(&b->vocab, text, tw_utf8_encode(cp, text));
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof(text), "<0x%02X>", byte);
        b->byte_ids[byte] = tw_tok_vocab_find(&b->vocab, text, 6);
    }
    b->unk = tw_tok_vocab_find(&b->vocab, j->has_unk ? j->unk_token.p : "", j->unk_token.len);
    return 0;
}

static size_t n_symbols(const tw_tok_work *w)
{
    return w->symbols.len / sizeof(symbol);
}

static int add_symbol(tw_tok_work *w, uint32_t id)
{
    int32_t at = (int32_t)n_symbols(w);
    symbol s = {at - 1, at + 1, id};
    return tw_buf_append(&w->symbols, &s, sizeof(s));
}

static uint32_t char_id(const tw_tok_bpe *b, const char *p, unsigned len, uint32_t cp)
{
    return cp < TW_TOK_BYTE_CP_END ? b->low_ids[cp] : tw_tok_vocab_find(&b->vocab, p, len);
}

/* 1 when every byte has a token and they are added; 0 when not. */
static int add_bytes(const tw_tok_bpe *b, tw_tok_work *w, const char *p, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        if (b->byte_ids[(uint8_t)p[i]] == TW_TOK_NONE)
            return 0;
    for (unsigned i = 0; i < len; i++) {
        int rc = add_symbol(w, b->byte_ids[(uint8_t)p[i]]);
        if (rc < 0)
            return rc;
    }
    return 1;
}

/* A character without a token: bytes, else unk (kept back, as further ones may fuse with it), else
 * it vanishes. */
static int add_unknown(const tw_tok_bpe *b, tw_tok_work *w, const char *p, unsigned len,
                       bool *io_unk)
{
    int rc = b->byte_fallback ? add_bytes(b, w, p, len) : 0;
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (!b->has_unk)
        return 0;
    if (b->unk == TW_TOK_NONE)
        return -ENOKEY;
    rc = *io_unk && !b->fuse_unk ? add_symbol(w, b->unk) : 0;
    *io_unk = true;
    return rc;
}

static int split_chars(const tw_tok_bpe *b, tw_tok_work *w, const char *p, size_t n)
{
    bool unk = false;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0;) {
        uint32_t cp = 0;
        unsigned len = tw_utf8_decode(p + i, n - i, &cp);
        len = len > 0 ? len : 1;
        uint32_t id = char_id(b, p + i, len, cp);
        if (id == TW_TOK_NONE) {
            rc = add_unknown(b, w, p + i, len, &unk);
        } else {
            if (unk)
                rc = add_symbol(w, b->unk);
            unk = false;
            if (rc == 0)
                rc = add_symbol(w, id);
        }
        i += len;
    }
    return rc == 0 && unk ? add_symbol(w, b->unk) : rc;
}

/* The queue is a binary heap of rank << 32 | place: lowest rank first, then leftmost. */
static int queue_push(tw_buf *queue, uint64_t key)
{
    int rc = tw_buf_append(queue, &key, sizeof(key));
    if (rc < 0)
        return rc;
    uint64_t *v = (void *)queue->data;
    size_t i = queue->len / sizeof(key) - 1;
    while (i > 0 && v[(i - 1) / 2] > key) {
        v[i] = v[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    v[i] = key;
    return 0;
}

static uint64_t queue_pop(tw_buf *queue)
{
    uint64_t *v = (void *)queue->data;
    queue->len -= sizeof(v[0]);
    size_t n = queue->len / sizeof(v[0]), i = 0;
    uint64_t top = v[0], last = v[n];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        child += child + 1 < n && v[child + 1] < v[child];
        if (v[child] >= last)
            break;
        v[i] = v[child];
        i = child;
    }
    v[i] = last;
    return top;
}

static int queue_pair(const tw_tok_bpe *b, tw_tok_work *w, int32_t at)
{
    const symbol *v = (const void *)w->symbols.data;
    if (at == NOWHERE || v[at].next == NOWHERE)
        return 0;
    const tw_tok_merge *m = tw_tok_merges_find(&b->merges, v[at].id, v[v[at].next].id);
    return m != NULL ? queue_push(&w->queue, (uint64_t)m->rank << 32 | (uint32_t)at) : 0;
}

/* Does what the entry says unless a merge has overtaken it. */
static int merge_top(const tw_tok_bpe *b, tw_tok_work *w, uint64_t top)
{
    symbol *v = (void *)w->symbols.data;
    int32_t at = (int32_t)(uint32_t)top, right = v[at].next;
    if (v[at].id == TW_TOK_NONE || right == NOWHERE)
        return 0;
    const tw_tok_merge *m = tw_tok_merges_find(&b->merges, v[at].id, v[right].id);
    if (m == NULL || m->rank != top >> 32)
        return 0;
    v[at].id = m->id;
    v[at].next = v[right].next;
    v[right].id = TW_TOK_NONE;
    if (v[at].next != NOWHERE)
        v[v[at].next].prev = at;
    int rc = queue_pair(b, w, v[at].prev);
    return rc < 0 ? rc : queue_pair(b, w, at);
}

static int merge_all(const tw_tok_bpe *b, tw_tok_work *w)
{
    size_t n = n_symbols(w);
    if (n < 2)
        return 0;
    ((symbol *)(void *)w->symbols.data)[n - 1].next = NOWHERE;
    tw_buf_reset(&w->queue);
    for (size_t i = 0; i + 1 < n; i++) {
        int rc = queue_pair(b, w, (int32_t)i);
        if (rc < 0)
            return rc;
    }
    while (w->queue.len > 0) {
        int rc = merge_top(b, w, queue_pop(&w->queue));
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int merge_text(const tw_tok_bpe *b, tw_tok_work *w, const char *p, size_t n, tw_ids *ids)
{
    tw_buf_reset(&w->symbols);
    int rc = split_chars(b, w, p, n);
    if (rc == 0)
        rc = merge_all(b, w);
    const symbol *v = (const void *)w->symbols.data;
    size_t n_left = n_symbols(w);
    for (size_t i = 0; i < n_left && rc == 0; i++)
        if (v[i].id != TW_TOK_NONE)
            rc = tw_ids_push(ids, v[i].id);
    return rc;
}

enum whole { WHOLE_UNKNOWN, WHOLE_YES, WHOLE_NO };

/* Most pieces of ordinary text are tokens. Whether the merges would make that token is found out at
 * its first use; every thread finds the same, so the order does not matter. */
int tw_tok_bpe_encode(const tw_tok_bpe *b, tw_tok_work *w, const char *p, size_t n, tw_ids *ids)
{
    uint32_t whole = tw_tok_vocab_find(&b->vocab, p, n);
    if (whole == TW_TOK_NONE)
        return merge_text(b, w, p, n, ids);
    uint8_t known = atomic_load_explicit(&b->wholes[whole], memory_order_relaxed);
    if (b->ignore_merges || known == WHOLE_YES)
        return tw_ids_push(ids, whole);
    size_t before = ids->n;
    int rc = merge_text(b, w, p, n, ids);
    if (rc == 0 && known == WHOLE_UNKNOWN) {
        bool same = ids->n == before + 1 && ids->ids[before] == whole;
        atomic_store_explicit(&b->wholes[whole], same ? WHOLE_YES : WHOLE_NO, memory_order_relaxed);
    }
    return rc;
}
