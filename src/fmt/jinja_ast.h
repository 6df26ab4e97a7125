/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the template renderer: values, tokens, nodes. Only fmt/jinja_*.c includes it.
 * Values are immutable once made (namespaces apart) and live in the render's arena. */
#ifndef TWINAX_FMT_JINJA_AST_H
#define TWINAX_FMT_JINJA_AST_H

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"
#include "fmt/jinja.h"

enum {
    TW_JINJA_DEPTH_MAX = 600,
    TW_JINJA_NEST_MAX = 200,
    TW_JINJA_ARGS_MAX = 16,
    TW_JINJA_RANGE_MAX = 100000
};

enum tw_jkind {
    TW_J_UNDEF, /* s: the name that was not found */
    TW_J_NONE,
    TW_J_BOOL,
    TW_J_INT,
    TW_J_FLOAT,
    TW_J_STR,
    TW_J_LIST,
    TW_J_TUPLE,
    TW_J_DICT,
    TW_J_NS,
    TW_J_MACRO,
    TW_J_FUNC,   /* a global function; s: its name */
    TW_J_METHOD, /* a bound method */
    TW_J_LOOP
};

struct tw_jnode;
struct tw_jscope;

typedef struct tw_jval {
    enum tw_jkind kind;
    union {
        bool b;
        int64_t i;
        double f;
        tw_str s;
        struct tw_jlist *list;
        struct tw_jdict *dict;
        struct tw_jmacro *macro;
        struct tw_jmethod *method;
        struct tw_jloop *loop;
    } u;
} tw_jval;

typedef struct tw_jlist {
    tw_jval *v; /* [n] */
    size_t n, cap;
} tw_jlist;

typedef struct tw_jpair {
    tw_jval key, val;
} tw_jpair;

typedef struct tw_jdict {
    tw_jpair *e; /* [n], in order of insertion */
    size_t n, cap;
} tw_jdict;

typedef struct tw_jmacro {
    const struct tw_jnode *def;
    struct tw_jscope *scope; /* where it was defined */
} tw_jmacro;

typedef struct tw_jmethod {
    tw_jval self;
    tw_str name;
} tw_jmethod;

typedef struct tw_jloop {
    const tw_jlist *seq;
    size_t i;
    unsigned depth;
} tw_jloop;

enum tw_jtok {
    TW_JT_EOF,
    TW_JT_TEXT,
    TW_JT_OPEN_VAR,
    TW_JT_CLOSE_VAR,
    TW_JT_OPEN_TAG,
    TW_JT_CLOSE_TAG,
    TW_JT_NAME,
    TW_JT_STR,
    TW_JT_INT,
    TW_JT_FLOAT,
    TW_JT_OP
};

#define TW_JOP2(a, b) ((unsigned)(a) << 8 | (unsigned)(b)) /* "==" is TW_JOP2('=', '=') */

typedef struct tw_jtoken {
    enum tw_jtok kind;
    uint32_t line;
    unsigned op; /* a character, or two of them */
    tw_str s;
    int64_t i;
    double f;
} tw_jtoken;

enum tw_jnode_kind {
    TW_JN_TEXT,     /* name: the text */
    TW_JN_PRINT,    /* a */
    TW_JN_IF,       /* a: test, body, orelse */
    TW_JN_FOR,      /* a: target, b: sequence, c: filter, body, orelse */
    TW_JN_SET,      /* a: target, b: value */
    TW_JN_SETBLOCK, /* a: target, b: filter chain over TW_JN_CAPTURED or NULL, body */
    TW_JN_MACRO,    /* name, args: TW_JN_PARAM, body */
    TW_JN_BLOCK,    /* body in a scope of its own (generation) */
    TW_JN_BREAK,
    TW_JN_CONTINUE,
    TW_JN_PARAM,    /* name, a: default or NULL */
    TW_JN_CAPTURED, /* the text a set block captured */
    TW_JN_CONST,    /* lit */
    TW_JN_NAME,     /* name */
    TW_JN_LIST,     /* args */
    TW_JN_TUPLE,    /* args */
    TW_JN_DICT,     /* args: key, value, key, value... */
    TW_JN_ATTR,     /* a . name */
    TW_JN_ITEM,     /* a [ b ] */
    TW_JN_SLICE,    /* a [ b : c : d ], each may be NULL */
    TW_JN_CALL,     /* a ( args ) */
    TW_JN_KWARG,    /* name = a */
    TW_JN_FILTER,   /* a | name ( args ) */
    TW_JN_TEST,     /* a is name ( args ) */
    TW_JN_NOT,      /* a */
    TW_JN_NEG,      /* a */
    TW_JN_POS,      /* a */
    TW_JN_AND,      /* a, b */
    TW_JN_OR,       /* a, b */
    TW_JN_COND,     /* a if b else c (NULL: undefined) */
    TW_JN_BINARY,   /* a op b */
    TW_JN_COMPARE /* a, args: TW_JN_OPERAND */,
    TW_JN_OPERAND /* op a; op: comparison, 'i' in, 'n' not in */
};

typedef struct tw_jnode {
    enum tw_jnode_kind kind;
    uint32_t line;
    unsigned op;
    tw_str name;
    tw_jval lit;
    struct tw_jnode *a, *b, *c, *d;
    struct tw_jnode *args, *body, *orelse; /* first of a list chained by next */
    struct tw_jnode *next;
} tw_jnode;

struct tw_jinja {
    tw_arena arena;
    const char *name;
    tw_jnode *body;
};

/* jinja_lex.c: the whole source as tokens, the last one TW_JT_EOF. */
TW_MUST_CHECK int tw_jinja_lex(tw_arena *a, const char *name, tw_str src, tw_jtoken **ret,
                               size_t *ret_n, tw_err *err);
/* White space as Python's str.strip knows it; n_bytes of one at the front (back), else 0. */
size_t tw_jinja_space_front(tw_str s);
size_t tw_jinja_space_back(tw_str s);

/* Parser state, shared by statements (jinja_parse.c) and expressions (jinja_expr.c). */
typedef struct tw_jparser {
    tw_arena *arena;
    const char *name;
    const tw_jtoken *t; /* current */
    unsigned depth, loops;
    tw_err *err;
} tw_jparser;

TW_PRINTF(2, 3) int tw_jparser_fail(tw_jparser *p, const char *fmt, ...);
tw_jnode *tw_jparser_node(tw_jparser *p, enum tw_jnode_kind kind);
bool tw_jparser_is_op(const tw_jparser *p, unsigned op);
bool tw_jparser_is_name(const tw_jparser *p, const char *name);
/* All return NULL after a failure, which is in err. */
tw_jnode *tw_jparser_expr(tw_jparser *p);                  /* with the ternary */
tw_jnode *tw_jparser_expr_no_cond(tw_jparser *p);          /* the sequence of a for */
tw_jnode *tw_jparser_tuple(tw_jparser *p);                 /* a, b is a tuple */
tw_jnode *tw_jparser_filters(tw_jparser *p, tw_jnode *on); /* | f | g */

/* Rendering. */
typedef struct tw_jscope {
    struct tw_jscope *up;
    tw_jdict vars;
} tw_jscope;

enum tw_jflow { TW_JFLOW_ON, TW_JFLOW_BREAK, TW_JFLOW_CONTINUE };

typedef struct tw_jrun {
    const tw_jinja *t;
    tw_arena arena;
    tw_buf *out;
    tw_jscope *scope;
    const tw_jval *captured;
    uint64_t steps_left;
    unsigned depth, loop_depth;
    uint32_t line;
    enum tw_jflow flow;
    const struct tm *now;
    tw_err *err;
} tw_jrun;

typedef struct tw_jargs {
    tw_jval v[TW_JINJA_ARGS_MAX];
    unsigned n;
    tw_str kw_name[TW_JINJA_ARGS_MAX];
    tw_jval kw[TW_JINJA_ARGS_MAX];
    unsigned n_kw;
} tw_jargs;

/* jinja_value.c */
TW_PRINTF(2, 3) int tw_jrun_fail(tw_jrun *r, const char *fmt, ...); /* -EINVAL */
int tw_jrun_nomem(tw_jrun *r);
int tw_jrun_step(tw_jrun *r, uint64_t n);
const char *tw_jval_type(tw_jval v);
tw_jval tw_jval_undef(tw_str name);
tw_jval tw_jval_bool(bool b);
tw_jval tw_jval_int(int64_t i);
tw_jval tw_jval_str(tw_str s);
bool tw_jval_truth(tw_jval v);
bool tw_jval_num(tw_jval v, double *ret);      /* int, float, bool */
bool tw_jval_integer(tw_jval v, int64_t *ret); /* int, bool */
bool tw_jval_is_list(tw_jval v);               /* list or tuple */
size_t tw_jstr_chars(tw_str s);                /* code points */
int tw_jrun_from_json(tw_jrun *r, const json_t *j, tw_jval *ret);
int tw_jrun_copy(tw_jrun *r, const char *p, size_t n, tw_jval *ret); /* string in the arena */
int tw_jrun_buf(tw_jrun *r, const tw_buf *b, tw_jval *ret);
tw_buf tw_jrun_tmp(const tw_jrun *r); /* scratch with the run's ceiling */
int tw_jrun_buf_fail(tw_jrun *r, int code);
int tw_jlist_new(tw_jrun *r, size_t cap, tw_jlist **ret);
int tw_jlist_push(tw_jrun *r, tw_jlist *l, tw_jval v);
tw_jval tw_jlist_val(tw_jlist *l);
int tw_jdict_set(tw_jrun *r, tw_jdict *d, tw_jval key, tw_jval val);
int tw_jdict_find(tw_jrun *r, const tw_jdict *d, tw_jval key, tw_jval **ret); /* NULL: none */
/* A list of what iterating over v gives. */
int tw_jrun_iter(tw_jrun *r, tw_jval v, const tw_jlist **ret);
int tw_jrun_equal(tw_jrun *r, tw_jval a, tw_jval b, bool *ret);
int tw_jrun_order(tw_jrun *r, tw_jval a, tw_jval b, int *ret); /* -1, 0, 1 */
int tw_jrun_contains(tw_jrun *r, tw_jval in, tw_jval what, bool *ret);

/* jinja_print.c: str(v), repr, json.dumps */
typedef struct tw_jjson {
    bool ascii_only, sort_keys;
    int indent; /* < 0: one line */
    tw_str item_sep, key_sep;
} tw_jjson;
int tw_jrun_print(tw_jrun *r, tw_buf *b, tw_jval v);
int tw_jrun_repr(tw_jrun *r, tw_buf *b, tw_jval v);
int tw_jrun_json(tw_jrun *r, tw_buf *b, tw_jval v, const tw_jjson *o, unsigned level);
int tw_jrun_to_str(tw_jrun *r, tw_jval v, tw_jval *ret);

/* jinja_eval.c, jinja_ops.c */
int tw_jrun_body(tw_jrun *r, const tw_jnode *first);
int tw_jrun_eval(tw_jrun *r, const tw_jnode *n, tw_jval *ret);
int tw_jrun_attr(tw_jrun *r, tw_jval on, tw_str name, tw_jval *ret);
int tw_jrun_item(tw_jrun *r, tw_jval on, tw_jval key, tw_jval *ret);
int tw_jrun_slice(tw_jrun *r, tw_jval on, const tw_jval bound[3], tw_jval *ret);
int tw_jrun_binary(tw_jrun *r, unsigned op, tw_jval a, tw_jval b, tw_jval *ret);
int tw_jrun_compare(tw_jrun *r, unsigned op, tw_jval a, tw_jval b, bool *ret);
int tw_jrun_call_macro(tw_jrun *r, const tw_jmacro *m, const tw_jargs *a, tw_jval *ret);
int tw_jscope_set(tw_jrun *r, tw_str name, tw_jval v);

/* jinja_filter.c, jinja_seq.c, jinja_method.c, jinja_func.c, jinja_is.c */
/* The i-th argument or the one called name, or NULL. */
const tw_jval *tw_jargs_get(const tw_jargs *a, unsigned i, const char *name);
int tw_jrun_filter(tw_jrun *r, tw_str name, tw_jval on, const tw_jargs *a, tw_jval *ret);
int tw_jrun_seq_filter(tw_jrun *r, tw_str name, tw_jval on, const tw_jargs *a, tw_jval *ret,
                       bool *ret_known);
bool tw_jinja_has_filter(tw_str name);
bool tw_jinja_has_seq_filter(tw_str name);
int tw_jrun_is(tw_jrun *r, tw_str name, tw_jval on, const tw_jargs *a, bool *ret);
bool tw_jinja_has_test(tw_str name);
bool tw_jinja_has_method(tw_jval on, tw_str name);
int tw_jrun_method(tw_jrun *r, const tw_jmethod *m, const tw_jargs *a, tw_jval *ret);
bool tw_jinja_has_func(tw_str name);
int tw_jrun_func(tw_jrun *r, tw_str name, const tw_jargs *a, tw_jval *ret);
/* String work shared by filters and methods. */
enum { TW_JSIDE_LEFT = 1, TW_JSIDE_RIGHT = 2 };
int tw_jstr_strip(tw_jrun *r, tw_str s, const tw_jval *chars, unsigned sides, tw_jval *ret);
int tw_jstr_replace(tw_jrun *r, tw_str s, const tw_jargs *a, tw_jval *ret);
enum tw_jcase { TW_JCASE_UPPER, TW_JCASE_LOWER, TW_JCASE_TITLE, TW_JCASE_CAPITAL };
int tw_jstr_case(tw_jrun *r, tw_str s, enum tw_jcase c, tw_jval *ret);

#endif
