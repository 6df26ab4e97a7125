/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tok_work.h"

#include <errno.h>
#include <string.h>

#include "model/tok_text.h"

/* \w of the Whitespace pre-tokenizer is Unicode's, which has the joiners too. */
#define WORD               "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}"
#define WHITESPACE_PATTERN "[" WORD "]+|[^" WORD "\\s]+"

static tw_str stage_pattern(const tw_tj_stage *j)
{
    if (j->type == TW_TJ_BYTE_LEVEL && j->use_regex)
        return TW_STR(TW_TOK_GPT2_PATTERN);
    if (j->type == TW_TJ_WHITESPACE)
        return TW_STR(WHITESPACE_PATTERN);
    return j->is_regex ? j->pattern : (tw_str){NULL, 0};
}

/* Not tw_arena_strndup, which stops at a NUL: text may have one. */
bool tw_tok_copy(tw_arena *a, tw_str from, tw_str *ret)
{
    char *p = tw_arena_alloc(a, from.len + 1);
    if (p == NULL)
        return false;
    if (from.len > 0)
        memcpy(p, from.p, from.len);
    *ret = (tw_str){p, from.len};
    return true;
}

static int init_stage(tw_tok_stage *s, const char *name, tw_tok_regex_env *env, tw_arena *a,
                      tw_err *err)
{
    tw_str pattern = stage_pattern(&s->j);
    if (!tw_tok_copy(a, s->j.content, &s->j.content) ||
        !tw_tok_copy(a, s->j.pattern, &s->j.pattern))
        return tw_err_set(err, -ENOMEM, "%s: out of memory for the tokenizer", name);
    return pattern.p != NULL ? tw_tok_regex_compile(env, name, pattern, &s->re, err) : 0;
}

int tw_tok_stages_init(tw_tok_stages *s, const char *name, const tw_tj_stages *from,
                       tw_tok_regex_env *env, tw_arena *a, tw_err *err)
{
    s->n = 0;
    while (s->n < from->n) {
        tw_tok_stage *to = &s->v[s->n];
        *to = (tw_tok_stage){.j = from->v[s->n]};
        int rc = init_stage(to, name, env, a, err);
        if (rc < 0)
            return rc;
        s->n++;
    }
    return 0;
}

void tw_tok_stages_done(tw_tok_stages *s)
{
    for (size_t i = 0; i < s->n; i++)
        pcre2_code_free(s->v[i].re);
    s->n = 0;
}

int tw_tok_work_init(tw_tok_work *w, const tw_tok_regex_env *env)
{
    const tw_buf empty = TW_BUF(TW_TOK_MAX_SCRATCH);
    *w = (tw_tok_work){.env = env,
                       .text = empty,
                       .spare = empty,
                       .pieces = empty,
                       .spare_pieces = empty,
                       .points = empty,
                       .symbols = empty,
                       .queue = empty};
    w->match = pcre2_match_data_create(1, env->general);
    return w->match != NULL ? 0 : -ENOMEM;
}

void tw_tok_work_done(tw_tok_work *w)
{
    pcre2_match_data_free(w->match);
    tw_buf_done(&w->text);
    tw_buf_done(&w->spare);
    tw_buf_done(&w->pieces);
    tw_buf_done(&w->spare_pieces);
    tw_buf_done(&w->points);
    tw_buf_done(&w->symbols);
    tw_buf_done(&w->queue);
}

void tw_tok_work_swap_text(tw_tok_work *w)
{
    tw_buf old = w->text;
    w->text = w->spare;
    w->spare = old;
    tw_buf_reset(&w->spare);
}

tw_tok_finder tw_tok_work_finder(const tw_tok_work *w, const tw_tok_stage *s, const char *p,
                                 size_t n)
{
    return (tw_tok_finder){
        .env = w->env, .data = w->match, .code = s->re, .literal = s->j.pattern, .p = p, .n = n};
}
