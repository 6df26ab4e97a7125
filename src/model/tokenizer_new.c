/* SPDX-License-Identifier: Apache-2.0 */
/* From the description of tokenizer.json to a tokenizer that runs. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "model/tok_state.h"

static int no_memory(const char *name, tw_err *err)
{
    return tw_err_set(err, -ENOMEM, "%s: out of memory for the tokenizer", name);
}

static int show(tw_str s)
{
    return (int)TW_MIN(s.len, (size_t)40);
}

static uint32_t count_ids(const tw_tokenizer_json *j)
{
    uint32_t n = 0;
    for (size_t i = 0; i < j->n_vocab; i++)
        n = TW_MAX(n, j->vocab[i].id + 1);
    for (size_t i = 0; i < j->n_added; i++)
        n = TW_MAX(n, j->added[i].id + 1);
    return n;
}

/* The tokens' texts into the arena, by id and (in j->vocab, in place) by position. */
static int take_vocab(tw_tokenizer *t, const char *name, tw_tokenizer_json *j, tw_err *err)
{
    t->n_ids = count_ids(j);
    t->texts = tw_arena_array(&t->arena, t->n_ids, sizeof(t->texts[0]));
    t->specials = tw_arena_array(&t->arena, t->n_ids, sizeof(t->specials[0]));
    size_t bytes = 0;
    for (size_t i = 0; i < j->n_vocab; i++)
        bytes += j->vocab[i].text.len;
    char *to = tw_arena_alloc(&t->arena, bytes + 1);
    if (t->texts == NULL || t->specials == NULL || to == NULL)
        return no_memory(name, err);
    for (size_t i = 0; i < j->n_vocab; i++) {
        tw_tj_token *token = &j->vocab[i];
        if (t->texts[token->id].p != NULL)
            return tw_err_set(err, -EINVAL,
                              "%s: model.vocab[\"%.*s\"]: found id %u, which \"%.*s\" has, wanted "
                              "an id of its own",
                              name, show(token->text), token->text.p, token->id,
                              show(t->texts[token->id]), t->texts[token->id].p);
        memcpy(to, token->text.p, token->text.len);
        token->text.p = to;
        to += token->text.len;
        t->texts[token->id] = token->text;
    }
    return 0;
}

/* A text that is in the vocab keeps the vocab's id, whatever the entry says, as in the original. */
static int take_added_token(tw_tokenizer *t, const char *name, size_t i, tw_err *err)
{
    tw_tj_added *a = &t->added[i];
    uint32_t known = tw_tok_vocab_find(&t->bpe.vocab, a->text.p, a->text.len);
    if (known != TW_TOK_NONE)
        a->id = known;
    tw_str old = t->texts[a->id];
    if (old.p != NULL && !tw_str_eq(old, a->text))
        return tw_err_set(err, -EINVAL,
                          "%s: added_tokens[%zu].id: found %u for \"%.*s\", which \"%.*s\" has, "
                          "wanted an id of its own",
                          name, i, a->id, show(a->text), a->text.p, show(old), old.p);
    t->texts[a->id] = a->text;
    if (!tw_tok_vocab_add(&t->added_vocab, a->text, a->id) &&
        tw_tok_vocab_find(&t->added_vocab, a->text.p, a->text.len) != a->id)
        return tw_err_set(err, -EINVAL, "%s: added_tokens[%zu]: found \"%.*s\" again with id %u",
                          name, i, show(a->text), a->text.p, a->id);
    if (a->special)
        t->specials[a->id] = 1;
    return 0;
}

static int take_added(tw_tokenizer *t, const char *name, const tw_tokenizer_json *j, tw_err *err)
{
    t->n_added = j->n_added;
    t->added = tw_arena_array(&t->arena, j->n_added, sizeof(t->added[0]));
    if (t->added == NULL || tw_tok_vocab_init(&t->added_vocab, j->n_added, &t->arena) < 0)
        return no_memory(name, err);
    for (size_t i = 0; i < j->n_added; i++) {
        t->added[i] = j->added[i];
        if (!tw_tok_copy(&t->arena, j->added[i].text, &t->added[i].text))
            return no_memory(name, err);
        int rc = t->added[i].text.len > 0 ? take_added_token(t, name, i, err) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static size_t added_bytes(const tw_tokenizer *t, bool normalized)
{
    size_t bytes = 0;
    for (size_t i = 0; i < t->n_added; i++)
        bytes += t->added[i].normalized == normalized ? t->added[i].text.len : 0;
    return bytes;
}

/* Special tokens first: of two equal patterns the first is found. */
static int build_raw_trie(tw_tokenizer *t)
{
    if (tw_tok_trie_init(&t->raw, added_bytes(t, false), &t->arena) < 0)
        return -ENOMEM;
    for (int special = 1; special >= 0; special--)
        for (size_t i = 0; i < t->n_added; i++)
            if (!t->added[i].normalized && t->added[i].special == (special != 0))
                tw_tok_trie_add(&t->raw, t->added[i].text, &t->added[i]);
    return 0;
}

/* The texts as the normalizers make them, end to end in *all; lens[i] each. */
static int normalize_added(const tw_tokenizer *t, tw_tok_work *w, tw_buf *all, size_t *lens)
{
    for (size_t i = 0; i < t->n_added; i++) {
        if (!t->added[i].normalized)
            continue;
        tw_buf_reset(&w->text);
        int rc = tw_buf_append(&w->text, t->added[i].text.p, t->added[i].text.len);
        if (rc == 0)
            rc = tw_tok_normalize(&t->normalizers, w);
        if (rc == 0)
            rc = tw_buf_append(all, w->text.data, w->text.len);
        if (rc < 0)
            return rc;
        lens[i] = w->text.len;
    }
    return 0;
}

/* Decoding gives the normalized text of such a token, as the original does since 0.22. */
static int add_normalized(tw_tokenizer *t, const tw_buf *all, const size_t *lens)
{
    for (int special = 1; special >= 0; special--) {
        size_t at = 0;
        for (size_t i = 0; i < t->n_added; at += lens[i++]) {
            const tw_tj_added *a = &t->added[i];
            if (lens[i] == 0 || a->special != (special != 0))
                continue;
            tw_str text = {all->data + at, lens[i]};
            tw_tok_trie_add(&t->normalized, text, a);
            if (!tw_tok_copy(&t->arena, text, &t->texts[a->id]))
                return -ENOMEM;
        }
    }
    return 0;
}

static int build_normalized_trie(tw_tokenizer *t)
{
    tw_tok_work w TW_CLEANUP(tw_tok_work_done);
    tw_buf all TW_CLEANUP(tw_buf_done) = TW_BUF(TW_TOK_MAX_SCRATCH);
    size_t *lens TW_CLEANUP(tw_mem_freep) = tw_mem_calloc(t->n_added, sizeof(lens[0]));
    int rc = tw_tok_work_init(&w, &t->env);
    if (rc == 0 && lens == NULL)
        rc = -ENOMEM;
    if (rc == 0)
        rc = normalize_added(t, &w, &all, lens);
    if (rc == 0)
        rc = tw_tok_trie_init(&t->normalized, all.len, &t->arena);
    if (rc < 0)
        return rc;
    return add_normalized(t, &all, lens);
}

static int build_stages(tw_tokenizer *t, const char *name, const tw_tokenizer_json *j, tw_err *err)
{
    tw_arena *a = &t->arena;
    int rc = tw_tok_stages_init(&t->normalizers, name, &j->normalizers, &t->env, a, err);
    if (rc == 0)
        rc = tw_tok_stages_init(&t->pre_tokenizers, name, &j->pre_tokenizers, &t->env, a, err);
    if (rc == 0)
        rc = tw_tok_stages_init(&t->decoders, name, &j->decoders, &t->env, a, err);
    t->has_decoder = j->has_decoder;
    return rc;
}

static int build(tw_tokenizer *t, const char *name, tw_tokenizer_json *j, tw_err *err)
{
    if (tw_tok_regex_env_init(&t->env) < 0)
        return no_memory(name, err);
    int rc = build_stages(t, name, j, err);
    if (rc == 0)
        rc = take_vocab(t, name, j, err);
    if (rc == 0)
        rc = tw_tok_bpe_init(&t->bpe, name, j, t->n_ids, &t->arena, err);
    if (rc == 0)
        rc = take_added(t, name, j, err);
    if (rc < 0)
        return rc;
    memcpy(t->before, j->before, sizeof(t->before));
    memcpy(t->after, j->after, sizeof(t->after));
    t->n_before = j->n_before;
    t->n_after = j->n_after;
    rc = build_raw_trie(t);
    if (rc == 0)
        rc = build_normalized_trie(t);
    if (rc == -ENOMEM)
        return no_memory(name, err);
    return rc < 0 ? tw_err_set(err, rc, "%s: added_tokens: a text is over the normalizer's limits",
                               name)
                  : 0;
}

int tw_tokenizer_new(const char *name, const char *json, size_t n, tw_tokenizer **ret, tw_err *err)
{
    return tw_tokenizer_new_limited(name, json, n, TW_TJ_MAX_ID, ret, err);
}

int tw_tokenizer_new_limited(const char *name, const char *json, size_t n, uint32_t max_id,
                             tw_tokenizer **ret, tw_err *err)
{
    tw_tokenizer_json j;
    int rc = tw_tokenizer_json_parse(name, json, n, max_id, &j, err);
    if (rc < 0)
        return rc;
    rc = tw_tokenizer_build(name, &j, ret, err);
    tw_tokenizer_json_done(&j);
    return rc;
}

int tw_tokenizer_build(const char *name, tw_tokenizer_json *j, tw_tokenizer **ret, tw_err *err)
{
    tw_tokenizer *t = tw_mem_calloc(1, sizeof(*t));
    if (t == NULL)
        return no_memory(name, err);
    tw_arena_init(&t->arena, 0);
    int rc = build(t, name, j, err);
    if (rc < 0) {
        tw_tokenizer_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void tw_tokenizer_free(tw_tokenizer *t)
{
    if (t == NULL)
        return;
    tw_tok_stages_done(&t->normalizers);
    tw_tok_stages_done(&t->pre_tokenizers);
    tw_tok_stages_done(&t->decoders);
    tw_tok_regex_env_done(&t->env);
    tw_arena_done(&t->arena);
    tw_mem_free(t);
}
