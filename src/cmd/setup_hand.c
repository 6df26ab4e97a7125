/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax setup-hand`: what an agent starts, as root where it must be, to change the host. */
#include "host/setup_hand.h"

#include <stdio.h>
#include <unistd.h>

#include "cmd/args.h"
#include "cmd/commands.h"

typedef struct hand_opts {
    const char *root;
    uint32_t timer, after;
} hand_opts;

#define AT(field) .offset = offsetof(hand_opts, field)

static const tw_option hand_options[] = {
    {"root", .arg = "DIR", .help = NULL, .type = TW_OPT_TEXT, AT(root)},
    {"timer", .arg = "N", .help = NULL, .type = TW_OPT_U32, .min = 1, .max = 1e9, AT(timer)},
    {"after", .arg = "S", .help = NULL, .type = TW_OPT_U32, .min = 1, .max = 3600, AT(after)},
    {.name = NULL},
};

static const tw_option_table hand_tables[] = {{NULL, hand_options}, {NULL, NULL}};

static int run_hand(int argc, char **argv)
{
    hand_opts o = {0};
    tw_err err = {0};
    int first = argc;
    if (tw_options_parse(hand_tables, argc, argv, &o, &first, &err) != 0 || first < argc ||
        (o.timer == 0 && isatty(STDIN_FILENO))) {
        fputs("twinax setup-hand: started by `twinax setup` on each node\n", stderr);
        return TW_EXIT_USAGE;
    }
    const int rc = o.timer != 0 ? tw_setup_hand_timer(o.timer, o.after, o.root, &err)
                                : tw_setup_hand_run(STDIN_FILENO, STDOUT_FILENO, o.root, &err);
    if (rc != 0)
        fprintf(stderr, "twinax setup-hand: %s\n", err.msg);
    return rc == 0 ? TW_EXIT_OK : TW_EXIT_FAILED;
}

const tw_command tw_command_setup_hand = {
    .name = "setup-hand",
    .args = "",
    .about = "Changes this host for `twinax setup`: speaks frames on stdin and stdout.",
    .tables = hand_tables,
    .run = run_hand,
    .keeps_signals = true,
};
