/* SPDX-License-Identifier: Apache-2.0 */
/* Pre-tokenizers: each reads the pieces in w->pieces and writes w->spare_pieces. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "model/tok_text.h"
#include "model/tok_work.h"

/* Puts matches and the gaps between them together as the behaviour says. The open part is the one
 * that may still grow. */
typedef struct cutter {
    tw_tok_work *w;
    tw_tok_piece from;
    enum tw_tj_behavior behavior;
    bool invert, is_open, open_matched;
    size_t start, end, i_done; /* inside from */
} cutter;

static int put_piece(tw_tok_work *w, size_t off, size_t len, size_t n_zero)
{
    tw_tok_piece piece = {(uint32_t)off, (uint32_t)len, (uint32_t)n_zero};
    return len > 0 ? tw_buf_append(&w->spare_pieces, &piece, sizeof(piece)) : 0;
}

static int put_part(const cutter *c, size_t start, size_t end)
{
    size_t n_zero = c->from.n_zero > start ? TW_MIN(c->from.n_zero, end) - start : 0;
    return put_piece(c->w, c->from.off + start, end - start, n_zero);
}

static int cutter_flush(cutter *c)
{
    int rc = c->is_open ? put_part(c, c->start, c->end) : 0;
    c->is_open = false;
    return rc;
}

/* Does a part of this kind join the open one? */
static bool cutter_joins(const cutter *c, bool is_match)
{
    if (!c->is_open)
        return false;
    if (c->behavior == TW_TJ_CONTIGUOUS)
        return is_match == c->open_matched;
    if (c->behavior == TW_TJ_MERGED_WITH_PREVIOUS)
        return is_match && !c->open_matched;
    return c->open_matched && !is_match; /* merged with next */
}

static int cutter_part(cutter *c, size_t start, size_t end, bool is_match)
{
    if (c->behavior == TW_TJ_ISOLATED)
        return put_part(c, start, end);
    if (c->behavior == TW_TJ_REMOVED)
        return is_match ? 0 : put_part(c, start, end);
    if (cutter_joins(c, is_match)) {
        c->end = end;
    } else {
        int rc = cutter_flush(c);
        if (rc < 0)
            return rc;
        c->start = start;
        c->end = end;
        c->is_open = true;
    }
    c->open_matched = is_match;
    return 0;
}

/* One match, in order; the gap before it becomes a part of its own. */
static int cutter_match(cutter *c, size_t start, size_t end)
{
    int rc = start > c->i_done ? cutter_part(c, c->i_done, start, c->invert) : 0;
    c->i_done = end;
    return rc < 0 ? rc : cutter_part(c, start, end, !c->invert);
}

static int cutter_end(cutter *c)
{
    int rc = c->i_done < c->from.len ? cutter_part(c, c->i_done, c->from.len, c->invert) : 0;
    return rc < 0 ? rc : cutter_flush(c);
}

static int cut_by_pattern(tw_tok_work *w, const tw_tok_stage *s, cutter *c)
{
    tw_tok_finder f = tw_tok_work_finder(w, s, w->text.data + c->from.off, c->from.len);
    size_t start, end;
    int rc;
    while ((rc = tw_tok_finder_next(&f, &start, &end)) > 0) {
        rc = cutter_match(c, start, end);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : cutter_end(c);
}

static int cut_by_class(tw_tok_work *w, bool (*is_in)(uint32_t cp), cutter *c)
{
    const char *p = w->text.data + c->from.off;
    for (size_t i = 0; i < c->from.len;) {
        uint32_t cp = 0;
        unsigned len = tw_utf8_decode(p + i, c->from.len - i, &cp);
        len = len > 0 ? len : 1;
        int rc = is_in(cp) ? cutter_match(c, i, i + len) : 0;
        if (rc < 0)
            return rc;
        i += len;
    }
    return cutter_end(c);
}

static int cut_piece(tw_tok_work *w, const tw_tok_stage *s, tw_tok_piece from)
{
    cutter c = {.w = w, .from = from, .behavior = s->j.behavior, .invert = s->j.invert};
    if (s->j.type == TW_TJ_SPLIT)
        return cut_by_pattern(w, s, &c);
    if (s->j.type == TW_TJ_BYTE_LEVEL) {
        c.behavior = TW_TJ_ISOLATED;
        return cut_by_pattern(w, s, &c);
    }
    if (s->j.type == TW_TJ_WHITESPACE) {
        c.behavior = TW_TJ_REMOVED;
        c.invert = true;
        return cut_by_pattern(w, s, &c);
    }
    if (s->j.type == TW_TJ_WHITESPACE_SPLIT) {
        c.behavior = TW_TJ_REMOVED;
        return cut_by_class(w, tw_tok_is_space, &c);
    }
    if (s->j.type == TW_TJ_PUNCTUATION)
        return cut_by_class(w, tw_tok_is_punct, &c);
    c.behavior = s->j.individual_digits ? TW_TJ_ISOLATED : TW_TJ_CONTIGUOUS;
    return cut_by_class(w, tw_tok_is_numeric, &c);
}

static const tw_tok_piece *pieces_of(const tw_tok_work *w, size_t *ret_n)
{
    *ret_n = w->pieces.len / sizeof(tw_tok_piece);
    return (const void *)w->pieces.data;
}

static void swap_pieces(tw_tok_work *w)
{
    tw_buf old = w->pieces;
    w->pieces = w->spare_pieces;
    w->spare_pieces = old;
    tw_buf_reset(&w->spare_pieces);
}

static int cut_all(tw_tok_work *w, const tw_tok_stage *s)
{
    size_t n;
    const tw_tok_piece *v = pieces_of(w, &n);
    for (size_t i = 0; i < n; i++) {
        int rc = cut_piece(w, s, v[i]);
        if (rc < 0)
            return rc;
    }
    swap_pieces(w);
    return 0;
}

/* Writes one rewritten piece to w->spare; *io_zero: its n_zero. */
typedef int rewrite(const tw_tok_stage *s, const char *p, size_t n, size_t *io_zero, tw_buf *out);

static int rewrite_all(tw_tok_work *w, const tw_tok_stage *s, rewrite *one)
{
    size_t n;
    const tw_tok_piece *v = pieces_of(w, &n);
    tw_buf_reset(&w->spare);
    for (size_t i = 0; i < n; i++) {
        size_t off = w->spare.len, n_zero = v[i].n_zero;
        int rc = one(s, w->text.data + v[i].off, v[i].len, &n_zero, &w->spare);
        if (rc == 0)
            rc = put_piece(w, off, w->spare.len - off, TW_MIN(n_zero, w->spare.len - off));
        if (rc < 0)
            return rc;
    }
    swap_pieces(w);
    tw_tok_work_swap_text(w);
    return 0;
}

/* Every space becomes the replacement, and one is put in front where the scheme says so. */
static int rewrite_metaspace(const tw_tok_stage *s, const char *p, size_t n, size_t *io_zero,
                             tw_buf *out)
{
    tw_str mark = s->j.content;
    bool starts = p[0] == ' ' || tw_str_starts((tw_str){p, n}, mark);
    bool wanted = s->j.scheme == TW_TJ_ALWAYS || (s->j.scheme == TW_TJ_FIRST && *io_zero > 0);
    size_t begin = out->len, n_zero = *io_zero;
    int rc = 0;
    if (wanted && !starts) {
        rc = tw_buf_append(out, mark.p, mark.len);
        *io_zero += n_zero > 0 ? mark.len : 0;
    }
    size_t i_run = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (p[i] != ' ')
            continue;
        rc = tw_buf_append(out, p + i_run, i - i_run);
        if (rc == 0)
            rc = tw_buf_append(out, mark.p, mark.len);
        i_run = i + 1;
        if (i == 0 && n_zero > 0)
            *io_zero = out->len - begin;
    }
    return rc < 0 ? rc : tw_buf_append(out, p + i_run, n - i_run);
}

static int rewrite_prefix_space(const tw_tok_stage *s, const char *p, size_t n, size_t *io_zero,
                                tw_buf *out)
{
    (void)s;
    int rc = p[0] != ' ' ? tw_buf_puts(out, " ") : 0;
    *io_zero += p[0] != ' ' && *io_zero > 0;
    return rc < 0 ? rc : tw_buf_append(out, p, n);
}

static int rewrite_byte_level(const tw_tok_stage *s, const char *p, size_t n, size_t *io_zero,
                              tw_buf *out)
{
    (void)s;
    (void)io_zero; /* exact only for one byte; nobody asks after ByteLevel */
    int rc = tw_buf_reserve(out, 2 * n);
    if (rc < 0)
        return rc;
    char *to = out->data + out->len;
    for (size_t i = 0; i < n; i++)
        to += tw_utf8_encode(tw_tok_byte_to_cp((uint8_t)p[i]), to);
    *to = '\0';
    out->len = (size_t)(to - out->data);
    return 0;
}

static int run_byte_level(tw_tok_work *w, const tw_tok_stage *s)
{
    int rc = s->j.add_prefix_space ? rewrite_all(w, s, rewrite_prefix_space) : 0;
    if (rc == 0 && s->j.use_regex)
        rc = cut_all(w, s);
    return rc < 0 ? rc : rewrite_all(w, s, rewrite_byte_level);
}

static int run_metaspace(tw_tok_work *w, const tw_tok_stage *s)
{
    int rc = rewrite_all(w, s, rewrite_metaspace);
    if (rc < 0 || !s->j.split)
        return rc;
    tw_tok_stage split = {
        .j = {.type = TW_TJ_SPLIT, .pattern = s->j.content, .behavior = TW_TJ_MERGED_WITH_NEXT}};
    return cut_all(w, &split);
}

int tw_tok_pre_tokenize(const tw_tok_stages *s, tw_tok_work *w)
{
    tw_buf_reset(&w->pieces);
    tw_buf_reset(&w->spare_pieces);
    int rc = put_piece(w, 0, w->text.len, w->n_zero);
    swap_pieces(w);
    for (size_t i = 0; i < s->n && rc == 0; i++) {
        const tw_tok_stage *stage = &s->v[i];
        if (stage->j.type == TW_TJ_BYTE_LEVEL)
            rc = run_byte_level(w, stage);
        else if (stage->j.type == TW_TJ_METASPACE)
            rc = run_metaspace(w, stage);
        else
            rc = cut_all(w, stage);
    }
    return rc;
}
