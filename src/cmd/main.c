/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/scope.h"
#include "cmd/args.h"
#include "cmd/commands.h"
#include "os/signal.h"
#include "twinax/version.h"

static int cmd_help(int argc, char **argv);

static int cmd_version(int argc, char **argv)
{
    const char *json = argc > 1 ? argv[1] : "";
    if (strcmp(json, "--json") == 0)
        printf("{\"version\":\"%s\",\"protocol\":%d,\"arithmetic\":%d}\n", tw_version(),
               TW_PROTOCOL_VERSION, TW_ARITH_VERSION);
    else
        printf("twinax %s (protocol %d, arithmetic %d)\n", tw_version(), TW_PROTOCOL_VERSION,
               TW_ARITH_VERSION);
    return TW_EXIT_OK;
}

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *args, *help; /* help NULL: not shown */
} commands[] = {
    {"run", tw_cmd_run, "MODEL [-p TEXT]", "generate once, or chat when no -p"},
    {"serve", tw_cmd_serve, "MODEL", "OpenAI server in the foreground"},
    {"bench", tw_cmd_bench, "MODEL | kern | coll",
     "speed of prefill and decode, of kernels, of exchanges"},
    {"tokenize", tw_cmd_tokenize, "MODEL [-p TEXT]", "text (or stdin) to ids"},
    {"detokenize", tw_cmd_detokenize, "MODEL [-p IDS]", "ids (or stdin) to text"},
    {"compare", tw_cmd_compare, "--node NAME", "latency and bandwidth of every path to a machine"},
    {"version", cmd_version, "", "this build"},
    {"help", cmd_help, "", "this page"},
    {"rank", tw_cmd_rank, "", NULL},
    {"agent", tw_cmd_agent, "", NULL},
};

static const char options_help[] =
    "\noptions of run, serve and bench:\n"
    "  --local --tp R       split the model over R = 1, 2, 4 or 8 ranks on this machine\n"
    "  --nodes A=IP,B=IP    other machines by ssh name and cluster address, this one first; or\n"
    "                       twinax.conf (docs/nodes.md)   --agent-path P   --model-path NODE=PATH\n"
    "  --netns              rank 1 in a network namespace of its own, joined by veth (TP=2)\n"
    "  --transport T        auto, rdma, tcp or shm\n"
    "  --rdma-device NAME   or NAME:PORT; default: the port that has our address\n"
    "  --verify             checksum on every data message\n"
    "  --threads N          per rank; default: the cores, shared by the local ranks\n"
    "  --ctx N --max-seqs N --chunk N --kv auto|bf16|f32\n"
    "  --arith exact|wire16 wire16: half the bytes between two ranks; other, still equal bits\n"
    "  -v                   more lines about what happens\n"
    "run:\n"
    "  -p TEXT | --prompt-ids 1,2,...   -n N   --stop TEXT   --ignore-eos\n"
    "  --temp T --top-k K --top-p P --min-p M --seed S\n"
    "  --ids                generated ids on one line instead of text\n"
    "  --logits FILE        raw f32 [V] of the last prompt position\n"
    "serve:\n"
    "  --host H --port P    127.0.0.1:8000; port 0: the kernel chooses\n"
    "  --api-key K          wanted from clients; any other host than loopback needs it or "
    "--no-auth\n"
    "bench:\n"
    "  -p N -n N            prompt and generated tokens (512, 128)   --json\n"
    "  -b B,.. -d DEPTH,..  sequences at once, context depths\n"
    "  coll --local --tp R  --sizes 8,64K,1M   --peers (OpenMPI and gloo beside it)\n";

static int cmd_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("twinax %s: two machines, one model\n\nusage: twinax COMMAND [options]\n\n",
           tw_version());
    for (unsigned i = 0; i < TW_ARRAY_LEN(commands); i++)
        if (commands[i].help != NULL)
            printf("  %-10s %-18s %s\n", commands[i].name, commands[i].args, commands[i].help);
    fputs(options_help, stdout);
    return TW_EXIT_OK;
}

/* The guide's name for the command, with or without .sh. */
static bool is_called_compare(const char *self)
{
    const char *base = strrchr(self, '/');
    base = base != NULL ? base + 1 : self;
    return strcmp(base, "compare_eth_vs_rdma") == 0 || strcmp(base, "compare_eth_vs_rdma.sh") == 0;
}

/* With 0, 1 or 2 closed, the next file that is opened would get what is meant for them. */
static void open_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && i <= 2; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    open_standard_fds();
    tw_log_set(TW_LOG_INFO, -1);
    if (argc > 0 && is_called_compare(argv[0])) {
        tw_signal_init();
        return tw_cmd_compare(argc, argv);
    }
    const char *name = argc > 1 ? argv[1] : "help";
    if (asks_for_help(argc, argv) &&
        strcmp(name, "compare") != 0) /* compare has a page of its own */
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (unsigned i = 0; i < TW_ARRAY_LEN(commands); i++) {
        if (strcmp(name, commands[i].name) != 0)
            continue;
        if (commands[i].run != tw_cmd_rank)
            tw_signal_init();
        return commands[i].run(argc > 1 ? argc - 1 : argc, argc > 1 ? argv + 1 : argv);
    }
    fprintf(stderr, "twinax: %s: no such command; see `twinax help`\n", name);
    return TW_EXIT_USAGE;
}
