/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/option.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"

enum { CODE_BASE = 256, HELP_COLUMN = 26 };

/* All tables as getopt wants them. */
typedef struct option_set {
    size_t n;
    const tw_option *v[TW_OPTIONS_MAX];
    struct option longs[TW_OPTIONS_MAX + 1]; /* val: CODE_BASE + index in v */
    char letters[3 * TW_OPTIONS_MAX + 2];
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
    size_t n_longs = 0, n_letters = 0;
    memset(s, 0, sizeof *s);
    s->letters[n_letters++] = ':'; /* tells a missing value from an unknown option */
    for (const tw_option_table *t = tables; t != NULL && t->v != NULL; t++)
        for (const tw_option *o = t->v; !is_end(o); o++) {
            if (s->n == TW_OPTIONS_MAX)
                return tw_err_set(err, -E2BIG, "more than %d options", TW_OPTIONS_MAX);
            if (o->name != NULL)
                s->longs[n_longs++] =
                    (struct option){o->name, wants_value(o), NULL, CODE_BASE + (int)s->n};
            if (o->letter != 0)
                s->letters[n_letters++] = o->letter;
            for (int i = 0; o->letter != 0 && i < wants_value(o); i++)
                s->letters[n_letters++] = ':';
            s->v[s->n++] = o;
        }
    return 0;
}

/* "--name", or "-n" when it has no name. */
static void say_name(const tw_option *o, char out[48])
{
    if (o->name != NULL)
        snprintf(out, 48, "--%s", o->name);
    else
        snprintf(out, 48, "-%c", o->letter);
}

static int set_number(const tw_option *o, const char *value, char *field, tw_err *err)
{
    char name[48];
    uint64_t u = 0;
    double f = 0;
    bool is_float = o->type == TW_OPT_F32;
    int rc = is_float ? tw_str_to_f64(value, &f) : tw_str_to_u64(value, &u);
    double v = is_float ? f : (double)u;
    say_name(o, name);
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

static int set_choice(const tw_option *o, const char *value, char *field, tw_err *err)
{
    char name[48], wanted[160] = "";
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
    say_name(o, name);
    return tw_err_set(err, -EINVAL, "%s %s: wanted %s", name, value, wanted);
}

static int set_option(const tw_option *o, char *value, void *opts, tw_err *err)
{
    char *field = (char *)opts + o->offset, name[48];
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
        say_name(o, name);
        if (value != NULL && *value == '\0')
            return tw_err_set(err, -EINVAL, "%s is empty: wanted %s", name, o->arg);
        memcpy(field, &value, sizeof value);
        return 0;
    case TW_OPT_U16:
    case TW_OPT_U32:
    case TW_OPT_U64:
    case TW_OPT_F32:
        return set_number(o, value, field, err);
    case TW_OPT_CHOICE:
        return set_choice(o, value, field, err);
    case TW_OPT_CALL:
        break;
    }
    return o->call(opts, value, err);
}

static int refuse_unknown(const option_set *s, const char *word, tw_err *err)
{
    const char *best = NULL;
    unsigned least = 3; /* a name that is farther is no misspelling */
    char asked[64];
    snprintf(asked, sizeof asked, "%.*s", (int)strcspn(word, "="), word);
    for (size_t i = 0; i < s->n && strncmp(asked, "--", 2) == 0; i++) {
        const tw_option *o = s->v[i];
        unsigned far =
            o->name != NULL && o->help != NULL ? tw_str_distance(asked + 2, o->name) : 99;
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
    say_name(o, name);
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
        rc = o == NULL ? refuse(&s, got, argv, err) : set_option(o, optarg, opts, err);
    }
    if (rc == 0)
        *ret_first = optind;
    return rc;
}

static void spaces(FILE *out, unsigned n)
{
    fprintf(out, "%*s", (int)n, "");
}

void tw_option_wrap(FILE *out, const char *text, unsigned column, unsigned indent)
{
    bool at_start = true;
    while (*text != '\0') {
        size_t n = strcspn(text, " ");
        if (!at_start && column + 1 + n > TW_OPTION_COLUMNS) {
            fputc('\n', out);
            spaces(out, indent);
            column = indent;
            at_start = true;
        }
        if (!at_start)
            fputc(' ', out);
        fwrite(text, 1, n, out);
        column += (unsigned)n + (at_start ? 0 : 1);
        at_start = false;
        text += n + (text[n] == ' ');
    }
    fputc('\n', out);
}

static void print_option(const tw_option *o, FILE *out)
{
    char left[96], name[64] = "";
    bool optional = o->arg != NULL && o->arg[0] == '[';
    if (o->name != NULL)
        snprintf(name, sizeof name, "--%s%s%s", o->name,
                 o->arg == NULL ? ""
                 : optional     ? "[=" /* "[ADDR]" */
                                : " ",
                 o->arg == NULL ? ""
                 : optional     ? o->arg + 1
                                : o->arg);
    if (o->letter != 0)
        snprintf(left, sizeof left, "  -%c%s%s", o->letter, o->name != NULL ? ", " : " ",
                 o->name != NULL  ? name
                 : o->arg != NULL ? o->arg
                                  : "");
    else
        snprintf(left, sizeof left, "  %s", name);
    unsigned n = (unsigned)strlen(left);
    fputs(left, out);
    if (n + 2 > HELP_COLUMN)
        fputc('\n', out);
    spaces(out, n + 2 > HELP_COLUMN ? HELP_COLUMN : HELP_COLUMN - n);
    tw_option_wrap(out, o->help, HELP_COLUMN, HELP_COLUMN);
}

static void print_paragraphs(const char *about, FILE *out)
{
    for (const char *p = about; p != NULL && *p != '\0';) {
        const char *end = strstr(p, "\n\n");
        size_t n = end != NULL ? (size_t)(end - p) : strlen(p);
        char text[2000];
        snprintf(text, sizeof text, "%.*s", (int)TW_MIN(n, sizeof text - 1), p);
        fputc('\n', out);
        tw_option_wrap(out, text, 0, 0);
        p = end != NULL ? end + 2 : NULL;
    }
}

void tw_command_help(const tw_command *c, FILE *out)
{
    fprintf(out, "usage: twinax %s ", c->name);
    tw_option_wrap(out, c->args, (unsigned)strlen(c->name) + 14, 8);
    fputc('\n', out);
    if (c->summary != NULL)
        tw_option_wrap(out, c->summary, 0, 0);
    print_paragraphs(c->about, out);
    for (const tw_option_table *t = c->tables; t != NULL && t->v != NULL; t++) {
        fprintf(out, "\n%s:\n", t->title != NULL ? t->title : "options");
        for (const tw_option *o = t->v; !is_end(o); o++)
            if (o->help != NULL)
                print_option(o, out);
    }
}
