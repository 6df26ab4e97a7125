/* SPDX-License-Identifier: Apache-2.0 */
/* A command's options as tables. One line of a table is parsed, printed by --help, and made into man
 * pages and completions: an option that is not in a table does not exist.
 * Must not know: what a command does. */
#ifndef TWINAX_CMD_OPTION_H
#define TWINAX_CMD_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "twinax/err.h"

enum tw_option_type {
    TW_OPT_FLAG,   /* bool: true */
    TW_OPT_COUNT,  /* int: one more */
    TW_OPT_TEXT,   /* const char *: argv's own text, not empty */
    TW_OPT_ANY,    /* const char *: argv's own text, which may be empty */
    TW_OPT_U16,    /* uint16_t in [min, max] */
    TW_OPT_U32,    /* uint32_t in [min, max] */
    TW_OPT_U64,    /* uint64_t */
    TW_OPT_F32,    /* float in [min, max] */
    TW_OPT_CHOICE, /* unsigned or an enum: index in choices */
    TW_OPT_CALL,   /* what `call` does */
};

typedef struct tw_option {
    const char *name; /* without "--"; NULL: letter only */
    char letter;      /* 0: name only */
    const char *arg;  /* "TEXT"; "[ADDR]": may be left out (--name=ADDR); NULL: none */
    const char *help; /* one sentence, no line ends; NULL: for tests and children, not shown */
    enum tw_option_type type;
    size_t offset;              /* of its field in the command's struct */
    size_t has_offset;          /* of a bool that says "was given"; 0: none */
    double min, max;            /* of numbers */
    const char *const *choices; /* NULL at the end */
    /* opts: the command's struct; value: NULL when it was left out. Fills err. */
    int (*call)(void *opts, char *value, tw_err *err);
} tw_option;

/* A table ends with an entry that has neither name nor letter. */
typedef struct tw_option_table {
    const char *title; /* "sampling"; NULL: the command's own */
    const tw_option *v;
} tw_option_table;

enum { TW_OPTIONS_MAX = 96, TW_OPTION_COLUMNS = 80 };
enum { TW_EXIT_OK = 0, TW_EXIT_FAILED = 1, TW_EXIT_USAGE = 2, TW_EXIT_INTERRUPTED = 130 };

/* Where `twinax help` lists it. */
enum tw_command_group {
    TW_GROUP_MODEL,
    TW_GROUP_MEASURE,
    TW_GROUP_HOSTS,
    TW_GROUP_CLUSTER,
    TW_GROUP_PROGRAM,
    TW_GROUPS
};

/* Two columns of a page; a list of them ends with left NULL. */
typedef struct tw_note {
    const char *left, *right;
} tw_note;

/* What --help, man pages and completions are made of, and how it is started. */
typedef struct tw_command {
    const char *name;                  /* "run", or two words: "bench coll" */
    const char *args;                  /* "MODEL [-p TEXT]" */
    const char *summary;               /* one line; NULL: for children, not shown */
    const char *about;                 /* paragraphs, "\n\n" between them; NULL: none */
    const tw_option_table *tables;     /* ends with v NULL; NULL: no options */
    int (*run)(int argc, char **argv); /* argv[0]: its name; returns the exit code */
    enum tw_command_group group;
    const tw_note *examples; /* a command line, and what it does */
    const tw_note *env;      /* names in the environment; NULL: none */
    const tw_note *exits;    /* exit codes; NULL: the usual ones */
    bool keeps_signals;      /* ctrl-C and SIGTERM stay as they were */
} tw_command;

/* Parses argv[1..] into opts, which holds the defaults. Options and other words may be mixed; the
 * words are moved to the end of argv, *ret_first is the first. "--" ends the options.
 * Errors: -EINVAL names the option, what was found and what is wanted; *opts may be half filled. */
TW_MUST_CHECK int tw_options_parse(const tw_option_table *tables, int argc, char **argv, void *opts,
                                   int *ret_first, tw_err *err);
/* Whether --help or -h is among argv[1..], as an option and not as another one's value. */
bool tw_options_ask_help(const tw_option_table *tables, int argc, char **argv);

/* Exit codes of a command whose `exits` is NULL. */
extern const tw_note tw_usual_exits[];

/* "twinax NAME: what" on stderr; returns the exit code: 130 when ctrl-C ended it (-EINTR, or
 * -ECANCELED then), else 1; 0 and silent when rc is 0. */
int tw_command_end(const tw_command *c, int rc, const tw_err *err);
/* The same for a usage error: 2. */
int tw_command_misused(const tw_command *c, const tw_err *err);

/* The command's page, at most TW_OPTION_COLUMNS wide. */
void tw_command_print(const tw_command *c, FILE *out);
/* Two columns: `left` at `indent`, `right` wrapped from `column` on, on a line of its own when left
 * is too long for it. */
void tw_option_columns(FILE *out, const char *left, const char *right, unsigned indent,
                       unsigned column);
/* `text` wrapped at TW_OPTION_COLUMNS, behind `indent` spaces but on the first line, which is at
 * `column` already. */
void tw_option_wrap(FILE *out, const char *text, unsigned column, unsigned indent);

#endif
