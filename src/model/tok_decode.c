/* SPDX-License-Identifier: Apache-2.0 */
/* Decoders as a chain of small machines: tokens go in at the front one by one, text comes out at the
 * back as soon as it is certain. Decoding a whole list is the same chain, so both agree.
 *
 * Up to the first Fuse or ByteLevel a stage sees tokens; behind it there is one single token, which
 * comes in parts that end between characters. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "model/tok_state.h"

typedef struct stage_state {
    tw_buf hold;    /* what is not certain yet */
    tw_buf made;    /* output of one step */
    size_t n_valid; /* ByteFallback: well-formed so far */
    uint32_t n_cut; /* Strip on parts: how many were cut at the start */
    bool started, is_bad;
} stage_state;

struct tw_detok_state {
    tw_tok_work work;
    bool started;
    size_t n;
    stage_state v[TW_TJ_MAX_STAGES];
};

typedef struct chain {
    const tw_tokenizer *t;
    struct tw_detok_state *s;
    tw_buf *out;
} chain;

static int feed(const chain *c, size_t i, const char *p, size_t n);

static bool is_joined(const tw_tokenizer *t, size_t i)
{
    while (i-- > 0)
        if (t->decoders.v[i].j.type == TW_TJ_FUSE || t->decoders.v[i].j.type == TW_TJ_BYTE_LEVEL)
            return true;
    return false;
}

/* Hands on what this stage made; joined text only when there is some. */
static int hand_on(const chain *c, size_t i)
{
    tw_buf *made = &c->s->v[i].made;
    return feed(c, i + 1, made->data != NULL ? made->data : "", made->len);
}

static int append_bytes_of(const char *p, size_t n, tw_buf *out)
{
    size_t len = out->len;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        unsigned step = tw_utf8_decode(p + i, n - i, &cp);
        int byte = step > 0 ? tw_tok_cp_to_byte(cp) : -1;
        if (byte < 0) { /* one foreign character: the whole token stands for itself */
            out->len = len;
            return tw_buf_append(out, p, n);
        }
        char one = (char)byte;
        int rc = tw_buf_append(out, &one, 1);
        if (rc < 0)
            return rc;
        i += step;
    }
    return 0;
}

static int step_byte_level(const chain *c, size_t i, const char *p, size_t n)
{
    stage_state *s = &c->s->v[i];
    int rc = append_bytes_of(p, n, &s->hold);
    if (rc < 0)
        return rc;
    size_t sure = tw_utf8_complete(s->hold.data != NULL ? s->hold.data : "", s->hold.len);
    if (sure == 0)
        return 0;
    rc = tw_tok_repair(s->hold.data, sure, &s->made);
    tw_buf_drop(&s->hold, sure);
    return rc < 0 ? rc : hand_on(c, i);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "<0x41>"; "<0x+5>" counts too, as in the original. */
static int byte_of_token(const char *p, size_t n)
{
    if (n != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>')
        return -1;
    int high = p[3] == '+' ? 0 : hex_digit(p[3]), low = hex_digit(p[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static int feed_bad_bytes(const chain *c, size_t i, size_t n)
{
    int rc = 0;
    for (size_t k = 0; k < n && rc == 0; k++)
        rc = feed(c, i + 1, "\xEF\xBF\xBD", 3);
    return rc;
}

/* A run of bytes is one text when all of it is UTF-8, else every byte is U+FFFD. */
static int end_byte_run(const chain *c, size_t i)
{
    stage_state *s = &c->s->v[i];
    int rc = 0;
    if (s->hold.len > 0 && s->n_valid == s->hold.len)
        rc = feed(c, i + 1, s->hold.data, s->hold.len);
    else
        rc = feed_bad_bytes(c, i, s->hold.len);
    tw_buf_reset(&s->hold);
    s->n_valid = 0;
    s->is_bad = false;
    return rc;
}

static int step_byte(const chain *c, size_t i, char byte)
{
    stage_state *s = &c->s->v[i];
    if (s->is_bad)
        return feed_bad_bytes(c, i, 1);
    int rc = tw_buf_append(&s->hold, &byte, 1);
    if (rc < 0)
        return rc;
    const char *rest = s->hold.data + s->n_valid;
    size_t n_rest = s->hold.len - s->n_valid;
    uint32_t cp;
    s->n_valid += tw_utf8_decode(rest, n_rest, &cp);
    if (s->n_valid == s->hold.len || tw_utf8_complete(rest, n_rest) == 0)
        return 0;
    s->is_bad = true;
    size_t n_bad = s->hold.len;
    tw_buf_reset(&s->hold);
    s->n_valid = 0;
    return feed_bad_bytes(c, i, n_bad);
}

static int step_byte_fallback(const chain *c, size_t i, const char *p, size_t n)
{
    int byte = byte_of_token(p, n);
    if (byte >= 0)
        return step_byte(c, i, (char)byte);
    int rc = end_byte_run(c, i);
    return rc < 0 ? rc : feed(c, i + 1, p, n);
}

/* The marks of the first token vanish, the others become spaces. */
static int step_metaspace(const chain *c, size_t i, const char *p, size_t n)
{
    stage_state *s = &c->s->v[i];
    const tw_tj_stage *j = &c->t->decoders.v[i].j;
    bool drop = (!s->started || is_joined(c->t, i)) && j->scheme != TW_TJ_NEVER;
    s->started = true;
    for (size_t k = 0; k < n;) {
        bool is_mark = tw_str_starts((tw_str){p + k, n - k}, j->content);
        size_t step = is_mark ? j->content.len : 1;
        int rc = 0;
        if (!is_mark)
            rc = tw_buf_append(&s->made, p + k, 1);
        else if (!drop)
            rc = tw_buf_puts(&s->made, " ");
        if (rc < 0)
            return rc;
        k += step;
    }
    return hand_on(c, i);
}

static int step_replace(const chain *c, size_t i, const char *p, size_t n)
{
    int rc = tw_tok_replace(&c->t->decoders.v[i], &c->s->work, p, n, &c->s->v[i].made);
    return rc < 0 ? rc : hand_on(c, i);
}

/* Of the joined text: what could be the beginning of a match waits. */
static int step_replace_parts(const chain *c, size_t i, const char *p, size_t n)
{
    const tw_tok_stage *stage = &c->t->decoders.v[i];
    tw_buf *hold = &c->s->v[i].hold;
    tw_str literal = stage->j.pattern;
    int rc = tw_buf_append(hold, p, n);
    if (rc < 0 || stage->re != NULL)
        return rc;
    tw_tok_finder f = tw_tok_work_finder(&c->s->work, stage, hold->data, hold->len);
    size_t start, end = 0, done = 0;
    while (hold->len > 0 && tw_tok_finder_next(&f, &start, &end) > 0)
        done = end;
    size_t sure = hold->len - TW_MIN(hold->len - done, literal.len > 0 ? literal.len - 1 : 0);
    while (sure < hold->len && memcmp(hold->data + sure, literal.p, hold->len - sure) != 0)
        sure++;
    if (sure == 0)
        return 0;
    rc = tw_tok_replace(stage, &c->s->work, hold->data, sure, &c->s->v[i].made);
    tw_buf_drop(hold, sure);
    return rc < 0 ? rc : hand_on(c, i);
}

static size_t strip_left(const tw_tj_stage *j, const char *p, size_t n, uint32_t *io_cut)
{
    size_t at = 0;
    while (*io_cut < j->start && tw_str_starts((tw_str){p + at, n - at}, j->content)) {
        at += j->content.len;
        ++*io_cut;
    }
    return at;
}

static size_t strip_right(const tw_tj_stage *j, const char *p, size_t n)
{
    for (uint32_t k = 0; k < j->stop && tw_str_ends((tw_str){p, n}, j->content); k++)
        n -= j->content.len;
    return n;
}

static int step_strip(const chain *c, size_t i, const char *p, size_t n)
{
    const tw_tj_stage *j = &c->t->decoders.v[i].j;
    uint32_t n_cut = 0;
    size_t at = strip_left(j, p, n, &n_cut), end = strip_right(j, p, n);
    int rc = tw_buf_append(&c->s->v[i].made, p + at, end > at ? end - at : 0);
    return rc < 0 ? rc : hand_on(c, i);
}

/* Of the joined text: the start is cut once, and what the end may cut waits. */
static int step_strip_parts(const chain *c, size_t i, const char *p, size_t n)
{
    stage_state *s = &c->s->v[i];
    const tw_tj_stage *j = &c->t->decoders.v[i].j;
    if (!s->started && n > 0) {
        size_t at = strip_left(j, p, n, &s->n_cut);
        p += at;
        n -= at;
        s->started = n > 0 || s->n_cut == j->start;
    }
    int rc = tw_buf_append(&s->hold, p, n);
    if (rc < 0 || s->hold.len == 0)
        return rc;
    size_t sure = strip_right(j, s->hold.data, s->hold.len);
    rc = tw_buf_append(&s->made, s->hold.data, sure);
    tw_buf_drop(&s->hold, sure);
    return rc < 0 ? rc : hand_on(c, i);
}

static int step_parts(const chain *c, size_t i, const char *p, size_t n)
{
    enum tw_tj_type type = c->t->decoders.v[i].j.type;
    if (type == TW_TJ_FUSE)
        return feed(c, i + 1, p, n);
    if (type == TW_TJ_METASPACE)
        return step_metaspace(c, i, p, n);
    if (type == TW_TJ_REPLACE)
        return step_replace_parts(c, i, p, n);
    if (type == TW_TJ_STRIP)
        return step_strip_parts(c, i, p, n);
    return tw_buf_append(&c->s->v[i].hold, p, n); /* seen as one token at the end */
}

static int step_token(const chain *c, size_t i, const char *p, size_t n)
{
    enum tw_tj_type type = c->t->decoders.v[i].j.type;
    if (type == TW_TJ_BYTE_LEVEL)
        return step_byte_level(c, i, p, n);
    if (type == TW_TJ_BYTE_FALLBACK)
        return step_byte_fallback(c, i, p, n);
    if (type == TW_TJ_METASPACE)
        return step_metaspace(c, i, p, n);
    if (type == TW_TJ_REPLACE)
        return step_replace(c, i, p, n);
    if (type == TW_TJ_STRIP)
        return step_strip(c, i, p, n);
    return feed(c, i + 1, p, n); /* Fuse */
}

static int feed(const chain *c, size_t i, const char *p, size_t n)
{
    if (i == c->s->n)
        return tw_buf_append(c->out, p, n);
    tw_buf_reset(&c->s->v[i].made);
    return is_joined(c->t, i) ? step_parts(c, i, p, n) : step_token(c, i, p, n);
}

/* ByteLevel or ByteFallback behind another joining stage: one token, known only now. */
static int end_one_token(const chain *c, size_t i)
{
    stage_state *s = &c->s->v[i];
    const char *p = s->hold.data != NULL ? s->hold.data : "";
    int byte = byte_of_token(p, s->hold.len), rc = 0;
    if (c->t->decoders.v[i].j.type == TW_TJ_BYTE_LEVEL) {
        tw_buf bytes TW_CLEANUP(tw_buf_done) = TW_BUF(TW_TOK_MAX_SCRATCH);
        rc = append_bytes_of(p, s->hold.len, &bytes);
        if (rc == 0)
            rc = tw_tok_repair(bytes.data != NULL ? bytes.data : "", bytes.len, &s->made);
    } else if (byte >= 0) {
        char one = (char)byte;
        rc = tw_tok_repair(&one, 1, &s->made);
    } else {
        rc = tw_buf_append(&s->made, p, s->hold.len);
    }
    return rc < 0 ? rc : hand_on(c, i);
}

static int end_stage(const chain *c, size_t i)
{
    stage_state *s = &c->s->v[i];
    const tw_tok_stage *stage = &c->t->decoders.v[i];
    bool joined = is_joined(c->t, i);
    tw_buf_reset(&s->made);
    if (joined && (stage->j.type == TW_TJ_BYTE_LEVEL || stage->j.type == TW_TJ_BYTE_FALLBACK))
        return end_one_token(c, i);
    if (stage->j.type == TW_TJ_BYTE_FALLBACK)
        return end_byte_run(c, i);
    if (s->hold.len == 0)
        return 0;
    int rc = 0;
    if (stage->j.type == TW_TJ_BYTE_LEVEL)
        rc = tw_tok_repair(s->hold.data, s->hold.len, &s->made);
    else if (stage->j.type == TW_TJ_REPLACE)
        rc = tw_tok_replace(stage, &c->s->work, s->hold.data, s->hold.len, &s->made);
    tw_buf_reset(&s->hold); /* Strip: what was held back is what the end cuts */
    return rc < 0 ? rc : hand_on(c, i);
}

/* Takes back what a failed call has appended. */
static void cut_back(tw_buf *out, size_t len)
{
    out->len = len;
    if (out->data != NULL)
        out->data[len] = '\0';
}

static int detok_error(int rc, tw_err *err)
{
    return tw_err_set(err, rc, "tokenizer: %s while decoding",
                      rc == -ENOMEM ? "out of memory" : "over the limit of a buffer or a pattern");
}

static int make_state(tw_detok *d)
{
    struct tw_detok_state *s = tw_mem_calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->n = d->t->decoders.n;
    for (size_t i = 0; i < s->n; i++)
        s->v[i].hold = s->v[i].made = TW_BUF(TW_TOK_MAX_SCRATCH);
    d->state = s;
    int rc = tw_tok_work_init(&s->work, &d->t->env);
    if (rc < 0)
        tw_detok_done(d);
    return rc;
}

void tw_detok_init(tw_detok *d, const tw_tokenizer *t, bool skip_special)
{
    *d = (tw_detok){.t = t, .skip_special = skip_special};
}

/* Without a decoder the tokens are joined by spaces. */
static int push_token(const chain *c, tw_str text)
{
    bool space = !c->t->has_decoder && c->s->started;
    c->s->started = true;
    int rc = space ? tw_buf_puts(c->out, " ") : 0;
    return rc < 0 ? rc : feed(c, 0, text.p, text.len);
}

int tw_detok_push(tw_detok *d, uint32_t id, tw_buf *out, tw_err *err)
{
    int rc = d->state == NULL ? make_state(d) : 0;
    if (rc < 0)
        return detok_error(rc, err);
    if (id >= d->t->n_ids || d->t->texts[id].p == NULL ||
        (d->skip_special && d->t->specials[id] != 0))
        return 0;
    size_t len = out->len;
    chain c = {d->t, d->state, out};
    rc = push_token(&c, d->t->texts[id]);
    if (rc < 0)
        cut_back(out, len);
    return rc < 0 ? detok_error(rc, err) : 0;
}

int tw_detok_end(tw_detok *d, tw_buf *out, tw_err *err)
{
    if (d->state == NULL)
        return 0;
    size_t len = out->len;
    chain c = {d->t, d->state, out};
    for (size_t i = 0; i < d->state->n; i++) {
        int rc = end_stage(&c, i);
        if (rc < 0) {
            cut_back(out, len);
            return detok_error(rc, err);
        }
    }
    return 0;
}

void tw_detok_done(tw_detok *d)
{
    if (d == NULL || d->state == NULL)
        return;
    for (size_t i = 0; i < d->state->n; i++) {
        tw_buf_done(&d->state->v[i].hold);
        tw_buf_done(&d->state->v[i].made);
    }
    tw_tok_work_done(&d->state->work);
    tw_mem_free(d->state);
    d->state = NULL;
}

int tw_tokenizer_decode(const tw_tokenizer *t, const uint32_t *ids, size_t n, bool skip_special,
                        tw_buf *out, tw_err *err)
{
    size_t len = out->len;
    tw_detok d TW_CLEANUP(tw_detok_done);
    tw_detok_init(&d, t, skip_special);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = tw_detok_push(&d, ids[i], out, err);
    if (rc == 0)
        rc = tw_detok_end(&d, out, err);
    if (rc < 0)
        cut_back(out, len);
    return rc;
}
