/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tokenizer.h"

#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "model/tok_state.h"

int tw_ids_push(tw_ids *ids, uint32_t id)
{
    if (ids->n == ids->cap) {
        size_t cap = ids->cap > 0 ? 2 * ids->cap : 64, bytes;
        if (!tw_size_mul(cap, sizeof(ids->ids[0]), &bytes))
            return -ENOMEM;
        uint32_t *more = tw_mem_realloc(ids->ids, bytes);
        if (more == NULL)
            return -ENOMEM;
        ids->ids = more;
        ids->cap = cap;
    }
    ids->ids[ids->n++] = id;
    return 0;
}

void tw_ids_done(tw_ids *ids)
{
    tw_mem_free(ids->ids);
    *ids = (tw_ids){.ids = NULL};
}

static int encode_error(int rc, size_t n, tw_err *err)
{
    if (rc == -ENOKEY)
        return tw_err_set(err, -EINVAL,
                          "tokenizer: found a character without a token, and model.unk_token is "
                          "not in the vocab");
    if (rc == -E2BIG)
        return tw_err_set(err, rc,
                          "tokenizer: a text of %zu bytes needs more than a pattern's limits or "
                          "the working memory allow; cut it",
                          n);
    return tw_err_set(err, rc, "tokenizer: out of memory for a text of %zu bytes", n);
}

/* w->text is normalized and has no added token in it. */
static int encode_plain(const tw_tokenizer *t, tw_tok_work *w, tw_ids *ids)
{
    int rc = tw_tok_pre_tokenize(&t->pre_tokenizers, w);
    const tw_tok_piece *v = (const void *)w->pieces.data;
    size_t n = w->pieces.len / sizeof(v[0]);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = tw_tok_bpe_encode(&t->bpe, w, w->text.data + v[i].off, v[i].len, ids);
    return rc;
}

static int encode_part(const tw_tokenizer *t, tw_tok_work *w, const tw_buf *text,
                       const tw_tok_span *span, size_t n_zero, tw_ids *ids)
{
    if (span->token != NULL)
        return tw_ids_push(ids, span->token->id);
    tw_buf_reset(&w->text);
    w->n_zero = n_zero > span->start ? TW_MIN(n_zero, span->end) - span->start : 0;
    int rc = tw_buf_append(&w->text, text->data + span->start, span->end - span->start);
    return rc < 0 ? rc : encode_plain(t, w, ids);
}

/* One stretch of raw text between raw tokens, in w->text. */
static int encode_stretch(const tw_tokenizer *t, tw_tok_work *w, tw_buf *keep, tw_ids *ids)
{
    int rc = tw_tok_normalize(&t->normalizers, w);
    if (rc < 0 || t->normalized.n == 1) /* no tokens to look for */
        return rc < 0 ? rc : encode_plain(t, w, ids);
    tw_buf old = *keep;
    *keep = w->text;
    w->text = old;
    size_t n_zero = w->n_zero;
    tw_tok_scan scan = {.trie = &t->normalized, .p = keep->data, .n = keep->len};
    tw_tok_span span;
    while (rc == 0 && tw_tok_scan_next(&scan, &span))
        rc = encode_part(t, w, keep, &span, n_zero, ids);
    return rc;
}

static size_t first_char(const tw_buf *text)
{
    uint32_t cp;
    return tw_utf8_decode(text->data, text->len, &cp);
}

static int encode_text(const tw_tokenizer *t, tw_tok_work *w, const tw_buf *text, tw_buf *keep,
                       tw_ids *ids)
{
    tw_tok_scan scan = {.trie = &t->raw, .p = text->data, .n = text->len};
    tw_tok_span span;
    int rc = 0;
    while (rc == 0 && tw_tok_scan_next(&scan, &span)) {
        if (span.token != NULL) {
            rc = tw_ids_push(ids, span.token->id);
            continue;
        }
        tw_buf_reset(&w->text);
        w->n_zero = span.start == 0 ? first_char(text) : 0;
        rc = tw_buf_append(&w->text, text->data + span.start, span.end - span.start);
        if (rc == 0)
            rc = encode_stretch(t, w, keep, ids);
    }
    return rc;
}

static int push_all(tw_ids *ids, const uint32_t *v, size_t n)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = tw_ids_push(ids, v[i]);
    return rc;
}

int tw_tokenizer_encode(const tw_tokenizer *t, const char *text, size_t n, bool add_special,
                        tw_ids *ids, tw_err *err)
{
    if (n > TW_TOK_MAX_TEXT)
        return tw_err_set(err, -E2BIG,
                          "tokenizer: found a text of %zu bytes, wanted at most 64 MiB", n);
    tw_buf repaired TW_CLEANUP(tw_buf_done) = TW_BUF(TW_TOK_MAX_SCRATCH);
    tw_buf keep TW_CLEANUP(tw_buf_done) = TW_BUF(TW_TOK_MAX_SCRATCH);
    tw_tok_work w TW_CLEANUP(tw_tok_work_done);
    size_t n_before = ids->n;
    int rc = tw_tok_work_init(&w, &t->env);
    if (rc == 0)
        rc = tw_tok_repair(text, n, &repaired);
    if (rc == 0 && add_special)
        rc = push_all(ids, t->before, t->n_before);
    if (rc == 0)
        rc = encode_text(t, &w, &repaired, &keep, ids);
    if (rc == 0 && add_special)
        rc = push_all(ids, t->after, t->n_after);
    if (rc < 0)
        ids->n = n_before;
    return rc < 0 ? encode_error(rc, n, err) : 0;
}

uint32_t tw_tokenizer_n(const tw_tokenizer *t)
{
    return t->n_ids;
}

int64_t tw_tokenizer_find(const tw_tokenizer *t, const char *text, size_t n)
{
    uint32_t id = tw_tok_vocab_find(&t->added_vocab, text, n);
    if (id == TW_TOK_NONE)
        id = tw_tok_vocab_find(&t->bpe.vocab, text, n);
    return id == TW_TOK_NONE ? -1 : (int64_t)id;
}

bool tw_tokenizer_is_special(const tw_tokenizer *t, uint32_t id)
{
    return id < t->n_ids && t->specials[id] != 0;
}
