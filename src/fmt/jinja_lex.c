/* SPDX-License-Identifier: Apache-2.0 */
/* Template source to tokens. White space control is settled here, so that the parser sees only text
 * that will be printed. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

typedef struct lexer {
    tw_arena *arena;
    const char *name;
    const char *p, *end;
    uint32_t line;
    bool line_starts; /* what was consumed last ended a line */
    tw_jtoken *toks;
    size_t n, cap;
    tw_err *err;
} lexer;

static bool is_space_cp(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

size_t tw_jinja_space_front(tw_str s)
{
    uint32_t cp = 0;
    unsigned len = s.len ? tw_utf8_decode(s.p, s.len, &cp) : 0;
    return len && is_space_cp(cp) ? len : 0;
}

size_t tw_jinja_space_back(tw_str s)
{
    size_t i = s.len;
    while (i > 0 && s.len - i < 4) {
        i--;
        if (((unsigned char)s.p[i] & 0xc0) != 0x80)
            return tw_jinja_space_front((tw_str){s.p + i, s.len - i});
    }
    return 0;
}

static int fail(lexer *x, const char *what)
{
    return tw_err_set(x->err, -EINVAL, "%s:%u: %s", x->name, x->line, what);
}

static tw_jtoken *push(lexer *x, enum tw_jtok kind)
{
    if (x->n == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 256;
        tw_jtoken *t = tw_arena_array(x->arena, cap, sizeof(*t));
        if (t == NULL) {
            (void)tw_err_set(x->err, -ENOMEM, "%s: out of memory for the template", x->name);
            return NULL;
        }
        if (x->n)
            memcpy(t, x->toks, x->n * sizeof(*t));
        x->toks = t;
        x->cap = cap;
    }
    tw_jtoken *t = &x->toks[x->n++];
    *t = (tw_jtoken){.kind = kind, .line = x->line};
    return t;
}

static void count_lines(lexer *x, const char *from, const char *to)
{
    for (; from < to; from++)
        x->line += *from == '\n';
}

/* Moves to q, counting lines. */
static void go(lexer *x, const char *q)
{
    if (q > x->p)
        x->line_starts = q[-1] == '\n';
    count_lines(x, x->p, q);
    x->p = q;
}

static void skip_space(lexer *x)
{
    const char *q = x->p;
    for (size_t k; (k = tw_jinja_space_front((tw_str){q, (size_t)(x->end - q)})) != 0;)
        q += k;
    go(x, q);
}

static bool at(const lexer *x, const char *q, const char *lit)
{
    size_t n = strlen(lit);
    return (size_t)(x->end - q) >= n && memcmp(q, lit, n) == 0;
}

static const char *find(const lexer *x, const char *q, const char *lit)
{
    size_t n = strlen(lit);
    return memmem(q, (size_t)(x->end - q), lit, n);
}

/* Next "{{", "{%" or "{#", or the end. */
static const char *find_open(const lexer *x)
{
    for (const char *q = x->p; q + 1 < x->end; q++)
        if (q[0] == '{' && (q[1] == '{' || q[1] == '%' || q[1] == '#'))
            return q;
    return x->end;
}

/* How much of the text before a tag at q is printed. */
static size_t text_len(const lexer *x, const char *q)
{
    tw_str s = {x->p, (size_t)(q - x->p)};
    if (q == x->end)
        return s.len;
    char sign = q + 2 < x->end ? q[2] : 0;
    if (sign == '-') {
        for (size_t k; (k = tw_jinja_space_back(s)) != 0;)
            s.len -= k;
        return s.len;
    }
    if (sign == '+' || q[1] == '{')
        return s.len;
    size_t i = s.len;
    while (i > 0 && s.p[i - 1] != '\n') {
        if (tw_jinja_space_back((tw_str){s.p, i}) == 0)
            return s.len;
        i -= tw_jinja_space_back((tw_str){s.p, i});
    }
    return i > 0 || x->line_starts ? i : s.len;
}

/* After a closing mark: '-' eats all white space, '+' nothing, else (in tags) one line end. */
static void after_close(lexer *x, char sign, bool tag)
{
    if (sign == '-')
        skip_space(x);
    else if (sign != '+' && tag && x->p < x->end && *x->p == '\n')
        go(x, x->p + 1);
}

static int lex_comment(lexer *x)
{
    const char *q = find(x, x->p + 2, "#}");
    if (q == NULL)
        return fail(x, "a comment that begins here never ends (no \"#}\")");
    char sign = q > x->p + 2 ? q[-1] : 0;
    go(x, q + 2);
    after_close(x, sign, true);
    return 0;
}

static unsigned hex_value(const char *p, unsigned n)
{
    unsigned v = 0;
    for (unsigned i = 0; i < n; i++) {
        int c = tolower((unsigned char)p[i]);
        if (!isxdigit(c))
            return UINT32_MAX;
        v = v * 16 + (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return v;
}

static char plain_escape(char c)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *q = c ? strchr(from, c) : NULL;
    return q ? to[q - from] : 0;
}

/* One escape at q[0] == '\\'; returns how many bytes it took. */
static size_t unescape(const char *q, const char *end, char *out, size_t *n_out)
{
    char plain = plain_escape(q[1]);
    if (plain) {
        out[(*n_out)++] = plain;
        return 2;
    }
    if (q[1] == '\n')
        return 2;
    unsigned digits = q[1] == 'x' ? 2 : q[1] == 'u' ? 4 : q[1] == 'U' ? 8 : 0;
    unsigned cp = UINT32_MAX;
    if (digits && (size_t)(end - q) >= 2 + digits)
        cp = hex_value(q + 2, digits);
    if (q[1] >= '0' && q[1] <= '7') {
        cp = 0;
        for (digits = 0;
             digits < 3 && q + 1 + digits < end && q[1 + digits] >= '0' && q[1 + digits] <= '7';
             digits++)
            cp = cp * 8 + (unsigned)(q[1 + digits] - '0');
        digits--;
    }
    if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000)) {
        out[(*n_out)++] = '\\'; /* as Python keeps what it does not know */
        return 1;
    }
    *n_out += tw_utf8_encode(cp, out + *n_out);
    return 2 + digits;
}

static int lex_string(lexer *x)
{
    char quote = *x->p;
    const char *q = x->p + 1;
    while (q < x->end && *q != quote)
        q += *q == '\\' && q + 1 < x->end ? 2 : 1;
    if (q >= x->end)
        return fail(x, "a string that begins here never ends");
    tw_jtoken *t = push(x, TW_JT_STR);
    char *s = tw_arena_alloc(x->arena, (size_t)(q - x->p) + 8);
    if (t == NULL || s == NULL)
        return -ENOMEM;
    size_t n = 0;
    for (const char *c = x->p + 1; c < q;) {
        if (*c == '\\')
            c += unescape(c, q, s, &n);
        else
            s[n++] = *c++;
    }
    t->s = (tw_str){s, n};
    go(x, q + 1);
    return 0;
}

static int lex_number(lexer *x)
{
    char text[64];
    size_t n = 0;
    bool real = false;
    const char *q = x->p;
    for (; q < x->end && n + 1 < sizeof(text); q++) {
        bool dot = *q == '.' && !real && q + 1 < x->end && isdigit((unsigned char)q[1]);
        bool exp = n && (*q == 'e' || *q == 'E') && q + 1 < x->end &&
                   (isdigit((unsigned char)q[1]) || q[1] == '-' || q[1] == '+');
        if (dot || exp)
            real = true;
        bool sign = n && (*q == '-' || *q == '+') && (q[-1] == 'e' || q[-1] == 'E');
        if (*q == '_')
            continue;
        if (!isdigit((unsigned char)*q) && !dot && !exp && !sign)
            break;
        text[n++] = *q;
    }
    text[n] = 0;
    tw_jtoken *t = push(x, real ? TW_JT_FLOAT : TW_JT_INT);
    if (t == NULL)
        return -ENOMEM;
    uint64_t u = 0;
    if (real ? tw_str_to_f64(text, &t->f) : (tw_str_to_u64(text, &u) || u > INT64_MAX))
        return fail(x, "a number that does not fit");
    t->i = (int64_t)u;
    go(x, q);
    return 0;
}

static int lex_op(lexer *x)
{
    static const char two[][3] = {"==", "!=", "<=", ">=", "//"};
    unsigned op = (unsigned char)*x->p;
    size_t n = 1;
    for (size_t i = 0; i < TW_ARRAY_LEN(two); i++)
        if (at(x, x->p, two[i])) {
            op = TW_JOP2(two[i][0], two[i][1]);
            n = 2;
        }
    if (n == 1 && (op > 0x7f || strchr("+-*/%~<>=()[]{},.:|", (int)op) == NULL || op == 0))
        return tw_err_set(x->err, -EINVAL, "%s:%u: unexpected byte 0x%02x inside a tag", x->name,
                          x->line, op);
    if (at(x, x->p, "**"))
        return fail(x, "the operator ** is not supported");
    tw_jtoken *t = push(x, TW_JT_OP);
    if (t == NULL)
        return -ENOMEM;
    t->op = op;
    go(x, x->p + n);
    return 0;
}

static int lex_name(lexer *x)
{
    const char *q = x->p;
    while (q < x->end && (isalnum((unsigned char)*q) || *q == '_' || (*q & 0x80)))
        q++;
    tw_jtoken *t = push(x, TW_JT_NAME);
    if (t == NULL)
        return -ENOMEM;
    t->s = (tw_str){x->p, (size_t)(q - x->p)};
    go(x, q);
    return 0;
}

/* True, and past it, at the closing mark; *ret_sign is the - or + before it. */
static bool take_close(lexer *x, bool var, char *ret_sign)
{
    char mark[3] = {var ? '}' : '%', '}', 0};
    bool sign = x->p < x->end && (*x->p == '-' || (*x->p == '+' && !var));
    if (!at(x, x->p + (sign ? 1 : 0), mark))
        return false;
    *ret_sign = sign ? *x->p : 0;
    go(x, x->p + 2 + (sign ? 1 : 0));
    return true;
}

/* One token inside a tag; depth counts open brackets, inside of which nothing closes the tag. */
static int lex_inside(lexer *x, unsigned *depth)
{
    char c = *x->p;
    if (c == '"' || c == '\'')
        return lex_string(x);
    if (isdigit((unsigned char)c))
        return lex_number(x);
    if (isalpha((unsigned char)c) || c == '_' || (c & 0x80))
        return lex_name(x);
    if (c == '(' || c == '[' || c == '{')
        ++*depth;
    if ((c == ')' || c == ']' || c == '}') && (*depth)-- == 0)
        return fail(x, "a bracket is closed that was not opened");
    return lex_op(x);
}

static int lex_tag(lexer *x, bool var)
{
    uint32_t line = x->line;
    if (push(x, var ? TW_JT_OPEN_VAR : TW_JT_OPEN_TAG) == NULL)
        return -ENOMEM;
    go(x, x->p + 2);
    if (x->p < x->end && (*x->p == '-' || *x->p == '+'))
        go(x, x->p + 1);
    char sign = 0;
    for (unsigned depth = 0;;) {
        skip_space(x);
        if (depth == 0 && take_close(x, var, &sign))
            break;
        if (x->p >= x->end) {
            x->line = line;
            return fail(x, var ? "\"{{\" is never closed" : "\"{%\" is never closed");
        }
        int r = lex_inside(x, &depth);
        if (r)
            return r;
    }
    if (push(x, var ? TW_JT_CLOSE_VAR : TW_JT_CLOSE_TAG) == NULL)
        return -ENOMEM;
    after_close(x, sign, !var);
    return 0;
}

/* "{% NAME %}" at q: its length and the sign at its end, or 0. */
static size_t bare_tag(const lexer *x, const char *q, const char *name, char *ret_sign)
{
    const char *c = q + 2;
    if (c < x->end && (*c == '-' || *c == '+'))
        c++;
    while (c < x->end && isspace((unsigned char)*c))
        c++;
    if (!at(x, c, name))
        return 0;
    c += strlen(name);
    while (c < x->end && isspace((unsigned char)*c))
        c++;
    *ret_sign = 0;
    if (c < x->end && (*c == '-' || *c == '+'))
        *ret_sign = *c++;
    return at(x, c, "%}") ? (size_t)(c + 2 - q) : 0;
}

static int push_text(lexer *x, size_t n)
{
    if (n == 0)
        return 0;
    tw_jtoken *t = push(x, TW_JT_TEXT);
    if (t == NULL)
        return -ENOMEM;
    t->s = (tw_str){x->p, n};
    return 0;
}

static int lex_raw(lexer *x, size_t n_open, char sign)
{
    go(x, x->p + n_open);
    after_close(x, sign, true);
    for (const char *q = x->p; (q = find(x, q, "{%")) != NULL; q += 2) {
        size_t n = bare_tag(x, q, "endraw", &sign);
        if (n == 0)
            continue;
        int r = push_text(x, text_len(x, q));
        if (r)
            return r;
        go(x, q + n);
        after_close(x, sign, true);
        return 0;
    }
    return fail(x, "{% raw %} has no {% endraw %}");
}

static int lex_all(lexer *x)
{
    while (x->p < x->end) {
        const char *q = find_open(x);
        int r = push_text(x, text_len(x, q));
        if (r)
            return r;
        go(x, q);
        if (q == x->end)
            break;
        char sign = 0;
        size_t n_raw = q[1] == '%' ? bare_tag(x, q, "raw", &sign) : 0;
        r = n_raw         ? lex_raw(x, n_raw, sign)
            : q[1] == '#' ? lex_comment(x)
                          : lex_tag(x, q[1] == '{');
        if (r)
            return r;
    }
    return push(x, TW_JT_EOF) ? 0 : -ENOMEM;
}

int tw_jinja_lex(tw_arena *a, const char *name, tw_str src, tw_jtoken **ret, size_t *ret_n,
                 tw_err *err)
{
    char *copy = tw_arena_alloc(a, src.len + 1);
    if (copy == NULL)
        return tw_err_set(err, -ENOMEM, "%s: out of memory for the template", name);
    size_t n = 0;
    for (size_t i = 0; i < src.len; i++) { /* all line ends become \n */
        bool cr = src.p[i] == '\r';
        if (cr && i + 1 < src.len && src.p[i + 1] == '\n')
            i++;
        copy[n++] = cr ? '\n' : src.p[i];
    }
    if (n && copy[n - 1] == '\n')
        n--;
    lexer x = {.arena = a,
               .name = name,
               .p = copy,
               .end = copy + n,
               .line = 1,
               .line_starts = true,
               .err = err};
    int r = lex_all(&x);
    if (r == -ENOMEM)
        return tw_err_set(err, r, "%s: out of memory for the template", name);
    if (r)
        return r;
    *ret = x.toks;
    *ret_n = x.n;
    return 0;
}
