/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax help` and `twinax version`. */
#include <errno.h>
#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/out.h"
#include "twinax/version.h"

enum { NAME_COLUMN = 18 };

static const char *const groups[TW_GROUPS] = {[TW_GROUP_MODEL] = "a model",
                                              [TW_GROUP_MEASURE] = "measure",
                                              [TW_GROUP_HOSTS] = "the machines",
                                              [TW_GROUP_CLUSTER] = "in the background",
                                              [TW_GROUP_PROGRAM] = "this program"};

static void print_group(enum tw_command_group g)
{
    bool first = true;
    for (const tw_command *const *c = tw_commands; *c != NULL; c++) {
        if ((*c)->group != g || (*c)->summary == NULL)
            continue;
        if (first)
            printf("\n%s:\n", groups[g]);
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

static int cmd_help(int argc, char **argv)
{
    tw_err err = {0};
    int n_words;
    if (argc < 2)
        return tw_command_end(&tw_command_help, print_list(&err), &err);
    const tw_command *c = tw_command_find(argc - 1, argv + 1, &n_words);
    if (c == NULL) {
        tw_command_suggest(argv[1], &err);
        return tw_command_misused(&tw_command_help, &err);
    }
    tw_command_print(c, stdout);
    return tw_command_end(&tw_command_help, tw_out_flush(&err), &err);
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
    .run = cmd_help,
    .group = TW_GROUP_PROGRAM,
    .examples = help_examples,
};
