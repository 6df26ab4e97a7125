/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tok_regex.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    MATCH_LIMIT = 20000000,
    HEAP_LIMIT_KIB = 64 * 1024,
    NEST_LIMIT = 100,
    MAX_PATTERN_BYTES = 64 * 1024,
};

static void *env_alloc(size_t bytes, void *data)
{
    tw_tok_regex_env *env = data;
    void *p = tw_mem_alloc(bytes);
    if (p == NULL)
        atomic_store(&env->out_of_memory, true);
    return p;
}

static void env_free(void *p, void *data)
{
    (void)data;
    tw_mem_free(p);
}

int tw_tok_regex_env_init(tw_tok_regex_env *env)
{
    *env = (tw_tok_regex_env){.general = NULL};
    env->general = pcre2_general_context_create(env_alloc, env_free, env);
    if (env->general == NULL)
        return -ENOMEM;
    env->compile = pcre2_compile_context_create(env->general);
    env->match = pcre2_match_context_create(env->general);
    if (env->compile == NULL || env->match == NULL) {
        tw_tok_regex_env_done(env);
        return -ENOMEM;
    }
    pcre2_set_newline(env->compile, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(env->compile, NEST_LIMIT);
    pcre2_set_match_limit(env->match, MATCH_LIMIT);
    pcre2_set_heap_limit(env->match, HEAP_LIMIT_KIB);
    return 0;
}

void tw_tok_regex_env_done(tw_tok_regex_env *env)
{
    pcre2_match_context_free(env->match);
    pcre2_compile_context_free(env->compile);
    pcre2_general_context_free(env->general);
    *env = (tw_tok_regex_env){.general = NULL};
}

/* Oniguruma's classes, spelt out; PCRE2's \s has U+180E too, its \w depends on the version. */
#define SPACE                                                                                      \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"    \
    "\\x{205f}\\x{3000}"
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define HEX  "0-9a-fA-F"

enum { MAX_GROUPS = 128 };

typedef struct translate {
    tw_tok_regex_env *env;
    const char *p;
    size_t n, i;
    tw_buf *out;
    size_t i_atom; /* where in out the last atom begins */
    size_t groups[MAX_GROUPS], n_groups;
} translate;

static int copy(translate *t, size_t n)
{
    n = n < t->n - t->i ? n : t->n - t->i;
    int rc = tw_buf_append(t->out, t->p + t->i, n);
    t->i += n;
    return rc;
}

static char peek(const translate *t, size_t ahead)
{
    return t->i + ahead < t->n ? t->p[t->i + ahead] : '\0';
}

static bool compiles(tw_tok_regex_env *env, const char *pattern)
{
    int code;
    size_t at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP, &code, &at, env->compile);
    pcre2_code_free(re);
    return re != NULL;
}

/* \p{Han} is the script in Oniguruma, but the script extensions in PCRE2 since 10.40. */
static int translate_property(translate *t)
{
    char name[40], probe[64];
    const char *end = memchr(t->p + t->i, '}', t->n - t->i);
    size_t len = end != NULL ? (size_t)(end - (t->p + t->i)) : 0; /* of "\p{Name" */
    if (peek(t, 2) != '{' || len < 3 + 3 || len - 3 >= sizeof(name) || peek(t, 3) == '^')
        return copy(t, end != NULL && peek(t, 2) == '{' ? len + 1 : 3);
    memcpy(name, t->p + t->i + 3, len - 3);
    name[len - 3] = '\0';
    snprintf(probe, sizeof(probe), "\\p{sc:%s}", name);
    if (!compiles(t->env, probe))
        return copy(t, len + 1);
    char letter = peek(t, 1);
    t->i += len + 1;
    return tw_buf_printf(t->out, "\\%c{sc:%s}", letter, name);
}

static int translate_escape(translate *t, bool in_class)
{
    static const struct {
        char letter;
        const char *in_class, *outside;
    } escapes[] = {
        {'s', SPACE, "[" SPACE "]"}, {'S', "\\P{White_Space}", "[^" SPACE "]"},
        {'w', WORD, "[" WORD "]"},   {'W', NULL, "[^" WORD "]"},
        {'h', HEX, "[" HEX "]"},     {'H', NULL, "[^" HEX "]"},
    };
    char letter = peek(t, 1);
    for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++) {
        if (escapes[i].letter != letter)
            continue;
        const char *to = in_class ? escapes[i].in_class : escapes[i].outside;
        if (to == NULL)
            return -ENOTSUP;
        t->i += 2;
        return tw_buf_puts(t->out, to);
    }
    if (letter == 'p' || letter == 'P')
        return translate_property(t);
    if (letter == 'u' && t->n - t->i >= 6) {
        int rc = tw_buf_printf(t->out, "\\x{%.4s}", t->p + t->i + 2);
        t->i += 6;
        return rc;
    }
    return copy(t, letter == 'x' && peek(t, 2) == '{' ? 3 : 2);
}

static int translate_class(translate *t)
{
    int rc = copy(t, peek(t, 1) == '^' ? 2 : 1);
    if (rc == 0 && peek(t, 0) == ']')
        rc = copy(t, 1);
    while (rc == 0 && t->i < t->n && peek(t, 0) != ']') {
        if (peek(t, 0) == '&' && peek(t, 1) == '&')
            return -ENOTSUP;
        if (peek(t, 0) == '[') {
            const char *end = memmem(t->p + t->i, t->n - t->i, ":]", 2);
            if (peek(t, 1) != ':' || end == NULL)
                return -ENOTSUP; /* a set inside a set */
            rc = copy(t, (size_t)(end - (t->p + t->i)) + 2);
        } else {
            rc = peek(t, 0) == '\\' ? translate_escape(t, true) : copy(t, 1);
        }
    }
    return rc < 0 ? rc : copy(t, 1);
}

/* "(?m" lets the dot match a newline in Ruby, which is PCRE2's s. */
static int translate_open(translate *t)
{
    if (t->n_groups == MAX_GROUPS)
        return -ENOTSUP;
    t->groups[t->n_groups++] = t->out->len;
    int rc = copy(t, 1);
    if (rc < 0 || peek(t, 0) != '?')
        return rc;
    rc = copy(t, 1);
    while (rc == 0 && t->i < t->n && strchr("imx-", peek(t, 0)) != NULL) {
        if (peek(t, 0) == 'm') {
            t->i++;
            rc = tw_buf_puts(t->out, "s");
        } else {
            rc = copy(t, 1);
        }
    }
    if (rc == 0 && peek(t, 0) == '<' && (peek(t, 1) == '=' || peek(t, 1) == '!'))
        rc = copy(t, 2);
    else if (rc == 0 && peek(t, 0) != '\0' && strchr(":=!>", peek(t, 0)) != NULL)
        rc = copy(t, 1);
    return rc;
}

/* X{1,3}+ is (?:X{1,3})+ in Ruby, not a possessive interval. */
static int translate_interval(translate *t)
{
    const char *end = memchr(t->p + t->i, '}', t->n - t->i);
    int rc = copy(t, end != NULL ? (size_t)(end - (t->p + t->i)) + 1 : 1);
    if (rc < 0 || end == NULL || peek(t, 0) != '+')
        return rc;
    char *atom = NULL;
    size_t n_atom = t->out->len - t->i_atom;
    rc = tw_buf_puts(t->out, "(?:)");
    if (rc < 0)
        return rc;
    atom = t->out->data + t->i_atom;
    memmove(atom + 3, atom, n_atom);
    memcpy(atom, "(?:", 3);
    t->out->data[t->out->len - 1] = ')';
    return copy(t, 1);
}

static int translate_one(translate *t)
{
    char c = peek(t, 0);
    if (c == '{')
        return translate_interval(t);
    if (c == '*' || c == '+' || c == '?')
        return copy(t, 1);
    if (c == '(')
        return translate_open(t);
    t->i_atom = t->out->len;
    if (c == ')') {
        t->i_atom = t->n_groups > 0 ? t->groups[--t->n_groups] : 0;
        return copy(t, 1);
    }
    if (c == '[')
        return translate_class(t);
    if (c == '\\')
        return translate_escape(t, false);
    uint32_t cp;
    unsigned len = tw_utf8_decode(t->p + t->i, t->n - t->i, &cp);
    return copy(t, len > 0 ? len : 1);
}

int tw_tok_regex_translate(tw_tok_regex_env *env, tw_str pattern, tw_buf *out)
{
    translate t = {.env = env, .p = pattern.p, .n = pattern.len, .out = out};
    while (t.i < t.n) {
        int rc = translate_one(&t);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int compile_error(tw_tok_regex_env *env, const char *name, tw_str pattern, int code,
                         tw_err *err)
{
    if (atomic_load(&env->out_of_memory))
        return tw_err_set(err, -ENOMEM, "%s: out of memory for a pattern", name);
    char why[80] = "";
    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof(why));
    int show = (int)(pattern.len < 80 ? pattern.len : 80);
    return tw_err_set(err, -EINVAL, "%s: pattern \"%.*s\": %s", name, show, pattern.p, why);
}

int tw_tok_regex_compile(tw_tok_regex_env *env, const char *name, tw_str pattern, pcre2_code **ret,
                         tw_err *err)
{
    tw_buf out = TW_BUF(MAX_PATTERN_BYTES);
    int rc = tw_tok_regex_translate(env, pattern, &out);
    if (rc < 0) {
        tw_buf_done(&out);
        int show = (int)(pattern.len < 80 ? pattern.len : 80);
        return tw_err_set(err, rc, "%s: pattern \"%.*s\": %s", name, show, pattern.p,
                          rc == -ENOMEM  ? "out of memory"
                          : rc == -E2BIG ? "found more than 64 KiB, wanted a shorter one"
                                         : "sets inside classes are not supported");
    }
    int code = 0;
    size_t at;
    pcre2_code *re =
        pcre2_compile((PCRE2_SPTR)(out.data != NULL ? out.data : ""), out.len,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &at,
                      env->compile);
    tw_buf_done(&out);
    if (re == NULL)
        return compile_error(env, name, pattern, code, err);
    /* Without executable memory the interpreter runs the pattern; only our own lack is an error. */
    (void)pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);
    if (atomic_load(&env->out_of_memory)) {
        pcre2_code_free(re);
        return tw_err_set(err, -ENOMEM, "%s: out of memory for a pattern", name);
    }
    *ret = re;
    return 0;
}

/* The JIT has a small stack of its own; what does not fit there runs in the interpreter. */
static int match_at(tw_tok_finder *f)
{
    int rc = pcre2_match(f->code, (PCRE2_SPTR)f->p, f->n, f->i_next, PCRE2_NO_UTF_CHECK, f->data,
                         f->env->match);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(f->code, (PCRE2_SPTR)f->p, f->n, f->i_next,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, f->data, f->env->match);
    if (rc >= 0)
        return 1;
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    return rc == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -E2BIG;
}

static int next_literal(tw_tok_finder *f, size_t *ret_start, size_t *ret_end)
{
    if (f->literal.len == 0 || f->i_next >= f->n)
        return 0;
    const char *at = memmem(f->p + f->i_next, f->n - f->i_next, f->literal.p, f->literal.len);
    if (at == NULL)
        return 0;
    *ret_start = (size_t)(at - f->p);
    *ret_end = f->i_next = *ret_start + f->literal.len;
    return 1;
}

int tw_tok_finder_next(tw_tok_finder *f, size_t *ret_start, size_t *ret_end)
{
    if (f->code == NULL)
        return next_literal(f, ret_start, ret_end);
    while (f->i_next <= f->n) {
        int rc = match_at(f);
        if (rc <= 0)
            return rc;
        const size_t *at = pcre2_get_ovector_pointer(f->data);
        size_t start = at[0], end = at[1];
        if (start < f->i_next || start > end || end > f->n)
            return -E2BIG; /* \K in a look-around: no match that could be used */
        if (start == end && end + 1 == f->i_last_end) {
            uint32_t cp;
            unsigned len = tw_utf8_decode(f->p + f->i_next, f->n - f->i_next, &cp);
            f->i_next += len > 0 ? len : 1;
            continue;
        }
        f->i_next = end;
        f->i_last_end = end + 1;
        *ret_start = start;
        *ret_end = end;
        return 1;
    }
    return 0;
}
