/* SPDX-License-Identifier: Apache-2.0 */
/* twinax-node: what another machine needs to take part, and no more: `agent`, `rank`, `hold`,
 * `setup-hand`, `version`. It links nothing but the C library, so that one file is copied and runs (push.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/node.h"
#include "os/bus.h"
#include "os/file.h"
#include "os/sha256.h"
#include "os/signal.h"
#include "twinax/version.h"

int tw_rank_job(const tw_rank_job_part *p, tw_err *err)
{
    return tw_err_set(err, -ENOTSUP,
                      "rank: twinax-node cannot do '%.40s': install twinax on this machine",
                      p->job);
}

/* Its own file's SHA-256: whether it arrived whole, and runs at all, on a machine without sha256sum
 * (push.h). */
static int print_checksum(void)
{
    TW_CLEANUP(tw_map_close) tw_map self = {.p = NULL};
    uint8_t hash[TW_SHA256_BYTES];
    char hex[TW_SHA256_HEX + 1];
    tw_sha256 s;
    tw_err err = {0};
    if (tw_map_open("/proc/self/exe", &self, &err) != 0) {
        fprintf(stderr, "twinax-node: %s\n", err.msg);
        return TW_EXIT_FAILED;
    }
    tw_sha256_init(&s);
    tw_sha256_add(&s, self.p, self.size_bytes);
    tw_sha256_end(&s, hash);
    tw_sha256_print(hash, hex);
    return puts(hex) >= 0 && fflush(stdout) == 0 ? TW_EXIT_OK : TW_EXIT_FAILED;
}

/* With 0, 1 or 2 closed, the next file that is opened would get what is meant for them. */
static void open_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    open_standard_fds();
    tw_bus_init(_exit);
    tw_log_set(TW_LOG_INFO, -1);
    if (strcmp(word, "rank") == 0) /* keeps its signals */
        return tw_cmd_rank(argc - 1, argv + 1);
    if (strcmp(word, tw_command_setup_hand.name) == 0) /* likewise */
        return tw_command_setup_hand.run(argc - 1, argv + 1);
    if (strcmp(word, tw_command_hold.name) == 0) /* likewise */
        return tw_command_hold.run(argc - 1, argv + 1);
    tw_signal_init();
    if (strcmp(word, "agent") == 0)
        return tw_cmd_agent(argc - 1, argv + 1);
    if (strcmp(word, "checksum") == 0)
        return print_checksum();
    if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0) {
        printf("twinax-node %s (protocol %d, arithmetic %d)\n", tw_version(), TW_PROTOCOL_VERSION,
               TW_ARITH_VERSION);
        return TW_EXIT_OK;
    }
    fputs("twinax-node: agent, rank or version; twinax on another machine starts it through ssh\n",
          stderr);
    return TW_EXIT_USAGE;
}
