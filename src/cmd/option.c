/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/option.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"

enum { CODE_BASE = 256, CODE_HELP = CODE_BASE + TW_OPTIONS_MAX };

/* All tables as getopt wants them. */
typedef struct option_set {
    size_t n;
    const tw_option *v[TW_OPTIONS_MAX];
    size_t n_longs, n_letters;
    struct option longs[TW_OPTIONS_MAX + 2]; /* val: CODE_BASE + index in v */
    char letters[3 * TW_OPTIONS_MAX + 3];
} option_set;

static bool is_end(const tw_option *o)
{
    return o->name == NULL && o->letter == 0;
}

static int wants_value(const tw_option *o)
{
    return o->arg == NULL ? no_argument : o->arg[0] == '[' ? optional_argument : required_argument;
}

static int gather(const tw_option_table *tables, option_set *s, tw_err *err)
{
    memset(s, 0, sizeof *s);
    s->letters[s->n_letters++] = ':'; /* tells a missing value from an unknown option */
    for (const tw_option_table *t = tables; t != NULL && t->v != NULL; t++)
        for (const tw_option *o = t->v; !is_end(o); o++) {
            if (s->n == TW_OPTIONS_MAX)
                return tw_err_set(err, -E2BIG, "more than %d options", TW_OPTIONS_MAX);
            if (o->name != NULL)
                s->longs[s->n_longs++] =
                    (struct option){o->name, wants_value(o), NULL, CODE_BASE + (int)s->n};
            if (o->letter != 0)
                s->letters[s->n_letters++] = o->letter;
            for (int i = 0; o->letter != 0 && i < wants_value(o); i++)
                s->letters[s->n_letters++] = ':';
            s->v[s->n++] = o;
        }
    return 0;
}

/* As it was typed: "--name" or "-n". */
static void say_name(const tw_option *o, int code, char out[48])
{
    if (code >= CODE_BASE)
        snprintf(out, 48, "--%s", o->name);
    else
        snprintf(out, 48, "-%c", o->letter);
}

static int set_number(const tw_option *o, const char *name, const char *value, char *field,
                      tw_err *err)
{
    uint64_t u = 0;
    double f = 0;
    bool is_float = o->type == TW_OPT_F32;
    int rc = is_float ? tw_str_to_f64(value, &f) : tw_str_to_u64(value, &u);
    double v = is_float ? f : (double)u;
    if (o->type == TW_OPT_U64 && rc == 0) {
        memcpy(field, &u, sizeof u);
        return 0;
    }
    if (o->type == TW_OPT_U64)
        return tw_err_set(err, -EINVAL, "%s %s: wanted a whole number", name, value);
    if (rc != 0 || !(v >= o->min && v <= o->max))
        return tw_err_set(err, -EINVAL, "%s %s: wanted a number from %.10g to %.10g", name, value,
                          o->min, o->max);
    float narrow = (float)f;
    uint32_t u32 = (uint32_t)u;
    uint16_t u16 = (uint16_t)u;
    if (is_float)
        memcpy(field, &narrow, sizeof narrow);
    else if (o->type == TW_OPT_U32)
        memcpy(field, &u32, sizeof u32);
    else
        memcpy(field, &u16, sizeof u16);
    return 0;
}

static int set_choice(const tw_option *o, const char *name, const char *value, char *field,
                      tw_err *err)
{
    char wanted[160] = "";
    size_t n = 0;
    for (unsigned i = 0; o->choices[i] != NULL; i++) {
        if (strcmp(o->choices[i], value) == 0) {
            memcpy(field, &i, sizeof i);
            return 0;
        }
        if (n < sizeof wanted)
            n += (size_t)snprintf(wanted + n, sizeof wanted - n, "%s%s",
                                  i == 0                      ? ""
                                  : o->choices[i + 1] == NULL ? " or "
                                                              : ", ",
                                  o->choices[i]);
    }
    return tw_err_set(err, -EINVAL, "%s %s: wanted %s", name, value, wanted);
}

static int set_option(const tw_option *o, int code, char *value, void *opts, tw_err *err)
{
    char *field = (char *)opts + o->offset, name[48];
    say_name(o, code, name);
    if (o->has_offset != 0)
        memcpy((char *)opts + o->has_offset, &(bool){true}, sizeof(bool));
    switch (o->type) {
    case TW_OPT_FLAG:
        memcpy(field, &(bool){true}, sizeof(bool));
        return 0;
    case TW_OPT_COUNT:
        *(int *)(void *)field += 1;
        return 0;
    case TW_OPT_TEXT:
        if (value != NULL && *value == '\0')
            return tw_err_set(err, -EINVAL, "%s is empty: wanted %s", name, o->arg);
        memcpy(field, &value, sizeof value);
        return 0;
    case TW_OPT_ANY:
        memcpy(field, &value, sizeof value);
        return 0;
    case TW_OPT_U16:
    case TW_OPT_U32:
    case TW_OPT_U64:
    case TW_OPT_F32:
        return set_number(o, name, value, field, err);
    case TW_OPT_CHOICE:
        return set_choice(o, name, value, field, err);
    case TW_OPT_CALL:
        break;
    }
    return o->call(opts, value, err);
}

/* --temp is no --tp. */
static bool is_near_length(const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b);
    return n <= m + 1 && m <= n + 1;
}

static int refuse_unknown(const option_set *s, const char *word, tw_err *err)
{
    const char *best = NULL;
    unsigned least = 3; /* a name that is farther is no misspelling */
    char asked[64];
    snprintf(asked, sizeof asked, "%.*s", (int)strcspn(word, "="), word);
    for (size_t i = 0; i < s->n && strncmp(asked, "--", 2) == 0; i++) {
        const tw_option *o = s->v[i];
        unsigned far = 99;
        if (o->name != NULL && o->help != NULL && is_near_length(asked + 2, o->name))
            far = tw_str_distance(asked + 2, o->name);
        if (far < least) {
            least = far;
            best = o->name;
        }
    }
    if (best != NULL)
        return tw_err_set(err, -EINVAL, "%s: unknown option; did you mean --%s?", asked, best);
    return tw_err_set(err, -EINVAL, "%s: unknown option; --help lists them", asked);
}

static const tw_option *find_option(const option_set *s, int code)
{
    if (code >= CODE_BASE)
        return s->v[code - CODE_BASE];
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i]->letter == code)
            return s->v[i];
    return NULL;
}

/* getopt's '?' and ':': a letter is in optopt, a long option is the word before optind. */
static int refuse(const option_set *s, int got, char **argv, tw_err *err)
{
    char letter[3] = {'-', (char)optopt, 0};
    const tw_option *o = optopt != 0 ? find_option(s, optopt) : NULL;
    char name[48];
    if (o == NULL)
        return refuse_unknown(s, optopt != 0 && optopt < CODE_BASE ? letter : argv[optind - 1],
                              err);
    say_name(o, optopt, name);
    if (got == ':')
        return tw_err_set(err, -EINVAL, "%s: its value is missing: wanted %s", name, o->arg);
    return tw_err_set(err, -EINVAL, "%s takes no value", name);
}

int tw_options_parse(const tw_option_table *tables, int argc, char **argv, void *opts,
                     int *ret_first, tw_err *err)
{
    option_set s;
    int rc = gather(tables, &s, err);
    optind = 0; /* from the start, again */
    opterr = 0;
    for (int got; rc == 0 && (got = getopt_long(argc, argv, s.letters, s.longs, NULL)) != -1;) {
        const tw_option *o = got == '?' || got == ':' ? NULL : find_option(&s, got);
        rc = o == NULL ? refuse(&s, got, argv, err) : set_option(o, got, optarg, opts, err);
    }
    if (rc == 0)
        *ret_first = optind;
    return rc;
}

bool tw_options_ask_help(const tw_option_table *tables, int argc, char **argv)
{
    option_set s;
    tw_err err;
    bool asked = false;
    if (gather(tables, &s, &err) != 0)
        return false;
    s.longs[s.n_longs] = (struct option){"help", no_argument, NULL, CODE_HELP};
    s.letters[s.n_letters] = 'h';
    optind = 0;
    opterr = 0;
    for (int got; (got = getopt_long(argc, argv, s.letters, s.longs, NULL)) != -1;)
        asked = asked || got == CODE_HELP || got == 'h';
    return asked;
}
