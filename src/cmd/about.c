/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax help` and `twinax version`. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cmd/commands.h"
#include "cmd/complete.h"
#include "cmd/man.h"
#include "cmd/out.h"
#include "twinax/version.h"

enum { NAME_COLUMN = 18 };

static void print_group(enum tw_command_group g)
{
    bool first = true;
    for (const tw_command *const *c = tw_commands; *c != NULL; c++) {
        if ((*c)->group != g || (*c)->summary == NULL)
            continue;
        if (first)
            printf("\n%s:\n", tw_command_group_title(g));
        first = false;
        tw_option_columns(stdout, (*c)->name, (*c)->summary, 2, NAME_COLUMN);
    }
}

static int print_list(tw_err *err)
{
    printf("twinax %s: two machines, one model\n\nusage: twinax COMMAND [options]\n", tw_version());
    for (unsigned g = 0; g < TW_GROUPS; g++)
        print_group((enum tw_command_group)g);
    fputs("\n`twinax help COMMAND`, or `twinax COMMAND --help`: its options and examples.\n",
          stdout);
    return tw_out_flush(err);
}

typedef struct help_opts {
    bool man, complete;
    const char *man_pages, *completion;
} help_opts;

#define AT(field) .offset = offsetof(help_opts, field)

/* For builds, packages and shells. */
static const tw_option help_options[] = {
    {"man", .help = "the page as manual page, in roff", .type = TW_OPT_FLAG, AT(man)},
    {"man-pages", .arg = "DIR", .help = "all manual pages into DIR/man1 and DIR/man5",
     .type = TW_OPT_TEXT, AT(man_pages)},
    {"completion", .arg = "SHELL", .help = "what bash, zsh or fish load to complete twinax",
     .type = TW_OPT_TEXT, AT(completion)},
    {"complete", .help = NULL, .type = TW_OPT_FLAG, AT(complete)}, /* what those scripts ask */
    {.name = NULL},
};
static const tw_option_table help_tables[] = {{NULL, help_options}, {NULL, NULL}};

static int print_script(const char *shell, tw_err *err)
{
    const char *text = tw_complete_script(shell);
    if (text == NULL)
        return tw_err_set(err, -EINVAL, "--completion %s: wanted bash, zsh or fish", shell);
    fputs(text, stdout);
    return 0;
}

/* The pages that no command has. */
static bool print_other_page(const char *name)
{
    if (strcmp(name, "twinax.conf") == 0)
        tw_man_print_config(stdout);
    else if (strcmp(name, "twinax-node") == 0)
        tw_man_print_node(stdout);
    else
        return false;
    return true;
}

static int print_page(int n, char **words, bool man, tw_err *err)
{
    int n_words;
    if (n == 0 && man)
        tw_man_print_overview(stdout);
    if (n == 0)
        return man ? 0 : print_list(err);
    if (man && print_other_page(words[0]))
        return 0;
    const tw_command *c = tw_command_find(n, words, &n_words);
    if (c == NULL) {
        tw_command_suggest(words[0], err);
        return -EINVAL;
    }
    if (man)
        tw_man_print_command(c, stdout);
    else
        tw_command_print(c, stdout);
    return 0;
}

static int cmd_help(int argc, char **argv)
{
    help_opts o = {.man = false};
    tw_err err = {0};
    int first = 1;
    int rc = tw_options_parse(help_tables, argc, argv, &o, &first, &err);
    if (rc == 0 && o.complete)
        tw_complete(argc - first, argv + first, stdout);
    else if (rc == 0 && o.completion != NULL)
        rc = print_script(o.completion, &err);
    else if (rc == 0 && o.man_pages == NULL)
        rc = print_page(argc - first, argv + first, o.man, &err);
    if (rc != 0)
        return tw_command_misused(&tw_command_help, &err);
    if (o.man_pages != NULL)
        rc = tw_man_write_all(o.man_pages, &err);
    if (rc == 0)
        rc = tw_out_flush(&err);
    return tw_command_end(&tw_command_help, rc, &err);
}

static int cmd_version(int argc, char **argv)
{
    bool json = false;
    tw_err err = {0};
    int first, rc = tw_options_parse(tw_command_version.tables, argc, argv, &json, &first, &err);
    if (rc == 0 && first < argc)
        rc = tw_err_set(&err, -EINVAL, "%s: wanted options only", argv[first]);
    if (rc != 0)
        return tw_command_misused(&tw_command_version, &err);
    if (json)
        printf("{\"version\":\"%s\",\"protocol\":%d,\"arithmetic\":%d}\n", tw_version(),
               TW_PROTOCOL_VERSION, TW_ARITH_VERSION);
    else
        printf("twinax %s (protocol %d, arithmetic %d)\n", tw_version(), TW_PROTOCOL_VERSION,
               TW_ARITH_VERSION);
    return tw_command_end(&tw_command_version, tw_out_flush(&err), &err);
}

static const tw_option version_options[] = {
    {"json", .help = "one object", .type = TW_OPT_FLAG, .offset = 0},
    {.name = NULL},
};
static const tw_option_table version_tables[] = {{NULL, version_options}, {NULL, NULL}};
static const tw_note version_examples[] = {
    {"twinax version", "one line"},
    {"ssh box2 twinax version --json", "of the other machine: protocol and arithmetic must agree"},
    {NULL, NULL},
};
static const tw_note help_examples[] = {
    {"twinax help", "all commands"},
    {"twinax help bench coll", "the page of one"},
    {"twinax help --completion bash >/etc/bash_completion.d/twinax",
     "completion, where no package has brought it"},
    {NULL, NULL},
};

const tw_command tw_command_version = {
    .name = "version",
    .args = "[--json]",
    .summary = "this build",
    .tables = version_tables,
    .run = cmd_version,
    .group = TW_GROUP_PROGRAM,
    .examples = version_examples,
};
const tw_command tw_command_help = {
    .name = "help",
    .args = "[COMMAND]",
    .summary = "the commands, or the page of one",
    .tables = help_tables,
    .run = cmd_help,
    .group = TW_GROUP_PROGRAM,
    .examples = help_examples,
};
