/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/commands.h"
#include "cmd/out.h"
#include "cmd/to_host.h"
#include "os/bus.h"
#include "os/signal.h"

/* With 0, 1 or 2 closed, the next file that is opened would get what is meant for them. */
static void open_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return;
}

static int start(const tw_command *c, int argc, char **argv)
{
    if (tw_options_ask_help(c->tables, argc, argv)) {
        tw_err err = {0};
        tw_command_print(c, stdout);
        return tw_command_end(c, tw_out_flush(&err), &err);
    }
    if (!c->keeps_signals)
        tw_signal_init();
    return c->run(argc, argv);
}

int main(int argc, char **argv)
{
    static char help[] = "help", version[] = "version";
    char *no_words[] = {help, NULL};
    tw_err err = {0};
    open_standard_fds();
    tw_bus_init(_exit);
    tw_log_set(TW_LOG_INFO, -1);
    if (tw_to_host(argv, &err) != 0) {
        fprintf(stderr, "twinax: %s\n", err.msg);
        return TW_EXIT_FAILED;
    }
    const tw_command *self = argc > 0 ? tw_command_of_program(argv[0]) : NULL;
    if (self != NULL)
        return start(self, argc, argv);
    int n_words, n = argc > 1 ? argc - 1 : 1;
    char **words = argc > 1 ? argv + 1 : no_words;
    if (strcmp(words[0], "--help") == 0 || strcmp(words[0], "-h") == 0)
        words[0] = help;
    if (strcmp(words[0], "--version") == 0)
        words[0] = version;
    const tw_command *c = tw_command_find(n, words, &n_words);
    if (c != NULL)
        return start(c, n - n_words + 1, words + n_words - 1);
    tw_command_suggest(words[0], &err);
    fprintf(stderr, "twinax: %s\n", err.msg);
    return TW_EXIT_USAGE;
}
