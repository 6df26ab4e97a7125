/* SPDX-License-Identifier: Apache-2.0 */
/* The tokenizer in a GGUF file, described as tokenizer.json describes it: byte-level BPE ("gpt2"),
 * or SentencePiece's BPE ("llama"), whose merges follow from the tokens' scores. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "fmt/gguf_keys.h"
#include "model/gguf_pre.h"
#include "model/tok_state.h"

#define META "\xE2\x96\x81" /* SentencePiece's mark of a space */

enum { MERGED_MAX_BYTES = 1024 }; /* of a token that is made by merging */

enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER,
    TOKEN_UNUSED,
    TOKEN_BYTE,
};

struct reader {
    tw_gguf_keys k;
    tw_tokenizer_json j;
    const tw_gguf_value *types;
    uint32_t vocab;    /* the model's */
    tw_tok_vocab seen; /* texts of j.vocab */
};

static int no_memory(struct reader *r)
{
    return tw_err_set(r->k.err, -ENOMEM, "%s: no memory for the tokenizer", r->k.file);
}

static uint64_t type_of(const struct reader *r, uint64_t id)
{
    uint64_t type = TOKEN_NORMAL;
    if (r->types != NULL && id < r->types->n)
        (void)tw_gguf_u64(r->types, id, &type);
    return type;
}

static bool is_added(uint64_t type)
{
    return type == TOKEN_CONTROL || type == TOKEN_USER || type == TOKEN_UNKNOWN;
}

/* Memory for what has a text, which has bytes in the file: not for what the file says to have. */
static int alloc_tokens(struct reader *r, const tw_gguf_value *tokens)
{
    tw_tokenizer_json *j = &r->j;
    size_t n_texts = 0, n_added = 0;
    tw_gguf_texts t;
    tw_str text;
    tw_gguf_texts_init(&t, tokens);
    for (uint32_t id = 0; tw_gguf_texts_next(&t, &text); id++) {
        const uint64_t type = type_of(r, id);
        n_texts += text.len > 0 && type != TOKEN_UNUSED;
        n_added += text.len > 0 && is_added(type);
    }
    j->vocab = tw_arena_array(&j->arena, n_texts, sizeof(*j->vocab));
    j->added = tw_arena_array(&j->arena, n_added, sizeof(*j->added));
    if (j->vocab == NULL || j->added == NULL || tw_tok_vocab_init(&r->seen, n_texts, &j->arena) < 0)
        return no_memory(r);
    return 0;
}

/* Fillers that only make the table as long as the embedding have no text. */
static int read_tokens(struct reader *r, const tw_gguf_value *tokens)
{
    tw_tokenizer_json *j = &r->j;
    int rc = alloc_tokens(r, tokens);
    if (rc < 0)
        return rc;
    tw_gguf_texts t;
    tw_str text;
    tw_gguf_texts_init(&t, tokens);
    for (uint32_t id = 0; tw_gguf_texts_next(&t, &text); id++) {
        uint64_t type = type_of(r, id);
        if (type == TOKEN_UNUSED || text.len == 0)
            continue;
        if (!tw_utf8_valid(text.p, text.len)) /* it would cut a text inside a character */
            return tw_err_set(r->k.err, -EINVAL, "%s: tokenizer.ggml.tokens[%u] is no UTF-8",
                              r->k.file, id);
        if (is_added(type))
            j->added[j->n_added++] =
                (tw_tj_added){.text = text, .id = id, .special = type != TOKEN_USER};
        if (tw_tok_vocab_add(&r->seen, text, id))
            j->vocab[j->n_vocab++] = (tw_tj_token){.text = text, .id = id};
        else if (is_added(type))
            j->n_added--; /* the same text again: the first id stays */
    }
    return 0;
}

/* "left right"; a space can only stand between them. */
static int read_merges(struct reader *r)
{
    tw_tokenizer_json *j = &r->j;
    const tw_gguf_value *v = tw_gguf_keys_get(&r->k, "tokenizer.ggml.merges");
    if (v == NULL || !v->is_array || (v->kind != TW_GGUF_TEXT && v->n > 0) || v->n > UINT32_MAX) {
        tw_gguf_keys_refuse(&r->k, "tokenizer.ggml.merges", "an array of texts");
        return r->k.rc;
    }
    j->merges = tw_arena_array(&j->arena, (size_t)v->n, sizeof(*j->merges));
    if (j->merges == NULL)
        return no_memory(r);
    tw_gguf_texts t;
    tw_str text;
    tw_gguf_texts_init(&t, v);
    while (tw_gguf_texts_next(&t, &text)) {
        const char *space = text.len < 3 ? NULL : memchr(text.p + 1, ' ', text.len - 2);
        if (space == NULL)
            return tw_err_set(r->k.err, -EINVAL,
                              "%s: tokenizer.ggml.merges[%zu]: found \"%.*s\", want two tokens and"
                              " a space between them",
                              r->k.file, j->n_merges, (int)TW_MIN(text.len, (size_t)40), text.p);
        size_t n = (size_t)(space - text.p);
        j->merges[j->n_merges++] = (tw_tj_merge){{text.p, n}, {space + 1, text.len - n - 1}};
    }
    return 0;
}

/* A way to make a token of two; lengths in characters. */
struct split {
    double score;
    uint32_t id, n_left, n_right, left_bytes;
};

/* Best score first; of one score the order that the field's converters give. */
static int by_score(const void *a, const void *b)
{
    const struct split *x = a, *y = b;
    if (x->score < y->score || x->score > y->score)
        return x->score > y->score ? -1 : 1;
    if (x->n_left != y->n_left)
        return x->n_left > y->n_left ? -1 : 1;
    if (x->n_right != y->n_right)
        return x->n_right > y->n_right ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static uint32_t count_chars(const char *p, size_t n)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)p[i] & 0xc0) != 0x80;
    return count;
}

static bool is_normal(const struct reader *r, const char *p, size_t n)
{
    uint32_t id = tw_tok_vocab_find(&r->seen, p, n);
    return id != TW_TOK_NONE && type_of(r, id) == TOKEN_NORMAL;
}

static int add_splits(const struct reader *r, tw_tj_token token, double score, tw_buf *out)
{
    uint32_t n_chars = count_chars(token.text.p, token.text.len), n_left = 0;
    for (size_t i = 1; i < token.text.len; i++) {
        if (((unsigned char)token.text.p[i] & 0xc0) == 0x80)
            continue;
        n_left++;
        if (!is_normal(r, token.text.p, i) || !is_normal(r, token.text.p + i, token.text.len - i))
            continue;
        struct split s = {score, token.id, n_left, n_chars - n_left, (uint32_t)i};
        int rc = tw_buf_append(out, &s, sizeof(s));
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int take_splits(struct reader *r, const tw_str *texts, tw_buf *splits)
{
    tw_tokenizer_json *j = &r->j;
    struct split *v = (void *)splits->data;
    size_t n = splits->len / sizeof(*v);
    j->merges = tw_arena_array(&j->arena, n, sizeof(*j->merges));
    if (j->merges == NULL)
        return no_memory(r);
    if (n > 0)
        qsort(v, n, sizeof(*v), by_score);
    for (; j->n_merges < n; j->n_merges++) {
        const struct split *s = &v[j->n_merges];
        tw_str text = texts[s->id];
        j->merges[j->n_merges] = (tw_tj_merge){{text.p, s->left_bytes},
                                               {text.p + s->left_bytes, text.len - s->left_bytes}};
    }
    return 0;
}

/* Every cut of a text is looked up whole, and a number that is none has no place in an order. */
static int check_mergeable(const struct reader *r, tw_tj_token token, double score)
{
    if (token.text.len <= MERGED_MAX_BYTES && !isnan(score))
        return 0;
    return tw_err_set(r->k.err, -EINVAL,
                      "%s: token %u has %zu bytes and score %g, want at most %d and a number",
                      r->k.file, token.id, token.text.len, score, MERGED_MAX_BYTES);
}

/* SentencePiece merges whatever pair makes the token of the best score. */
static int make_merges(struct reader *r, uint64_t n_tokens)
{
    TW_CLEANUP(tw_buf_done) tw_buf splits = TW_BUF((size_t)1 << 30);
    const tw_gguf_value *scores = tw_gguf_keys_get(&r->k, "tokenizer.ggml.scores");
    if (scores == NULL || !scores->is_array || scores->kind != TW_GGUF_F32 ||
        scores->n != n_tokens) {
        tw_gguf_keys_refuse(&r->k, "tokenizer.ggml.scores", "an array of f32, one for each token");
        return r->k.rc;
    }
    tw_str *texts = tw_arena_array(&r->j.arena, (size_t)n_tokens, sizeof(*texts));
    if (texts == NULL)
        return no_memory(r);
    for (size_t i = 0; i < r->j.n_vocab; i++) {
        tw_tj_token token = r->j.vocab[i];
        double score = 0;
        texts[token.id] = token.text;
        if (type_of(r, token.id) != TOKEN_NORMAL || !tw_gguf_f64(scores, token.id, &score))
            continue;
        int rc = check_mergeable(r, token, score);
        if (rc < 0)
            return rc;
        if (add_splits(r, token, score, &splits) < 0)
            return no_memory(r);
    }
    return take_splits(r, texts, &splits);
}

static int read_spm(struct reader *r, const tw_gguf_value *tokens, bool *ret_add_bos)
{
    tw_tokenizer_json *j = &r->j;
    bool prefix = tw_gguf_keys_bool(&r->k, "tokenizer.ggml.add_space_prefix", true);
    uint64_t unk = tw_gguf_keys_u64(&r->k, "tokenizer.ggml.unknown_token_id", 0, 0, UINT32_MAX);
    if (prefix)
        tw_tj_stages_add(&j->normalizers,
                         (tw_tj_stage){.type = TW_TJ_PREPEND, .content = TW_STR(META)});
    tw_tj_stages_add(&j->normalizers, (tw_tj_stage){.type = TW_TJ_REPLACE,
                                                    .pattern = TW_STR(" "),
                                                    .content = TW_STR(META)});
    tw_tj_stages_add(&j->decoders, (tw_tj_stage){.type = TW_TJ_REPLACE,
                                                 .pattern = TW_STR(META),
                                                 .content = TW_STR(" ")});
    tw_tj_stages_add(&j->decoders, (tw_tj_stage){.type = TW_TJ_BYTE_FALLBACK});
    tw_tj_stages_add(&j->decoders, (tw_tj_stage){.type = TW_TJ_FUSE});
    if (prefix)
        tw_tj_stages_add(&j->decoders,
                         (tw_tj_stage){.type = TW_TJ_STRIP, .content = TW_STR(" "), .start = 1});
    j->has_decoder = j->byte_fallback = j->fuse_unk = true;
    for (size_t i = 0; i < j->n_vocab; i++)
        if (j->vocab[i].id == unk) {
            j->has_unk = true;
            j->unk_token = j->vocab[i].text;
        }
    *ret_add_bos = true;
    return r->k.rc < 0 ? r->k.rc : make_merges(r, tokens->n);
}

static int read_bpe(struct reader *r, bool *ret_add_bos)
{
    const char *key = "tokenizer.ggml.pre";
    tw_str pre = tw_gguf_keys_text(&r->k, key, TW_STR("default"));
    if (r->k.rc == 0 && !tw_gguf_pre_fill(pre, &r->j, ret_add_bos)) {
        char want[160] = "one of ";
        strncat(want, tw_gguf_pre_names(), sizeof(want) - strlen(want) - 1);
        tw_gguf_keys_refuse(&r->k, key, want);
    }
    return r->k.rc < 0 ? r->k.rc : read_merges(r);
}

/* bos and eos around a text. */
static void read_ends(struct reader *r, bool spm, bool add_bos, uint64_t n_tokens)
{
    tw_gguf_keys *k = &r->k;
    const char *keys[2] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"};
    add_bos = tw_gguf_keys_bool(k, "tokenizer.ggml.add_bos_token", add_bos);
    bool add_eos = tw_gguf_keys_bool(k, "tokenizer.ggml.add_eos_token", false);
    uint64_t bos = tw_gguf_keys_u64(k, keys[0], spm ? 1 : UINT32_MAX, 0, UINT32_MAX);
    uint64_t eos = tw_gguf_keys_u64(k, keys[1], spm ? 2 : UINT32_MAX, 0, UINT32_MAX);
    if (add_bos && bos < n_tokens)
        r->j.before[r->j.n_before++] = (uint32_t)bos;
    if (add_eos && eos < n_tokens)
        r->j.after[r->j.n_after++] = (uint32_t)eos;
}

static int read_all(struct reader *r)
{
    const char *key = "tokenizer.ggml.model", *tokens_key = "tokenizer.ggml.tokens";
    tw_str model = tw_gguf_keys_text(&r->k, key, TW_STR(""));
    bool spm = tw_str_is(model, "llama"), add_bos = false;
    const tw_gguf_value *tokens = tw_gguf_keys_get(&r->k, tokens_key);
    if (r->k.rc == 0 && (model.len == 0 || tw_str_is(model, "no_vocab")))
        return tw_err_set(r->k.err, -ENOENT, "%s: there is no tokenizer in it (%s)", r->k.file,
                          key);
    if (!spm && !tw_str_is(model, "gpt2"))
        tw_gguf_keys_refuse(&r->k, key, "gpt2 (byte-level BPE) or llama (SentencePiece's BPE)");
    if (tokens == NULL || !tokens->is_array || tokens->kind != TW_GGUF_TEXT || tokens->n == 0 ||
        tokens->n > TW_TJ_MAX_ID)
        tw_gguf_keys_refuse(&r->k, tokens_key, "an array of texts");
    if (r->k.rc != 0)
        return r->k.rc;
    if (tokens->n > r->vocab)
        return tw_err_set(r->k.err, -EINVAL,
                          "%s: %s: found %" PRIu64 " tokens, want at most %u: the model's embedding"
                          " has no more",
                          r->k.file, tokens_key, tokens->n, r->vocab);
    r->types = tw_gguf_keys_get(&r->k, "tokenizer.ggml.token_type");
    if (r->types != NULL && !r->types->is_array)
        r->types = NULL;
    int rc = read_tokens(r, tokens);
    if (rc == 0)
        rc = spm ? read_spm(r, tokens, &add_bos) : read_bpe(r, &add_bos);
    if (rc == 0)
        read_ends(r, spm, add_bos, tokens->n);
    return rc < 0 ? rc : r->k.rc;
}

int tw_tokenizer_from_gguf(const char *name, const tw_gguf *g, uint32_t vocab, tw_tokenizer **ret,
                           tw_err *err)
{
    struct reader r = {.k = {.file = name, .arch = "", .g = g, .err = err}, .vocab = vocab};
    tw_arena_init(&r.j.arena, 0);
    int rc = read_all(&r);
    if (rc == 0)
        rc = tw_tokenizer_build(name, &r.j, ret, err);
    tw_tokenizer_json_done(&r.j);
    return rc;
}
