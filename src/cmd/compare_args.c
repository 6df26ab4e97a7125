/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cluster/ssh.h"
#include "cmd/compare.h"

enum {
    OPT_NODE = 256,
    OPT_AGENT_PATH,
    OPT_ETH,
    OPT_ROCE,
    OPT_TB,
    OPT_LISTEN,
    OPT_CONNECT,
    OPT_JSON,
    OPT_SVG,
    OPT_MODEL,
    OPT_QUICK,
    OPT_CROSS
};

static const struct option options[] = {
    {"help", no_argument, NULL, 'h'},
    {"node", required_argument, NULL, OPT_NODE},
    {"agent-path", required_argument, NULL, OPT_AGENT_PATH},
    {"eth", required_argument, NULL, OPT_ETH},
    {"roce", required_argument, NULL, OPT_ROCE},
    {"tb", required_argument, NULL, OPT_TB},
    {"listen", optional_argument, NULL, OPT_LISTEN},
    {"connect", required_argument, NULL, OPT_CONNECT},
    {"json", no_argument, NULL, OPT_JSON},
    {"svg", required_argument, NULL, OPT_SVG},
    {"model", required_argument, NULL, OPT_MODEL},
    {"quick", no_argument, NULL, OPT_QUICK},
    {"cross-check", no_argument, NULL, OPT_CROSS},
    {NULL, 0, NULL, 0},
};

void tw_compare_help(void)
{
    fputs(
        "usage: twinax compare --node NAME [-e] [-r] [-t] [-i] [options]\n"
        "       twinax compare --listen [ADDR]      on one machine, by hand, and the line that it\n"
        "                                           prints on the other\n\n"
        "Latency and bandwidth of every path between this machine and another one.\n"
        "  -e  Ethernet LAN            -r  RoCE NIC as TCP\n"
        "  -t  Thunderbolt             -i  RDMA            none of them: all\n"
        "  --node NAME          its ssh name; `local`: this machine, to try the command\n"
        "  --agent-path P       twinax on the node, when it is not on its PATH\n"
        "  --eth, --roce, --tb IP[,PEERIP]\n"
        "                       addresses of a path (-r and -i: --roce); else by interface: the\n"
        "                       default route's, the RDMA device's, thunderbolt0\n"
        "  --connect TOKEN@ADDR:PORT\n"
        "                       to a --listen; no ssh is needed\n"
        "  --model M            a model's folder: what the latency means for its decode\n"
        "  --quick              a second a path instead of ten\n"
        "  --cross-check        iperf3, ib_write_lat and ib_write_bw beside ours, when installed\n"
        "  --json               one object (docs/compare.md)       --svg FILE  a bar chart\n"
        "Latency is half a round trip. Exit 1 when a path that was asked for is not there.\n"
        "With more than two machines: one pair at a time.\n",
        stdout);
}

static int parse_option(int opt, compare_opts *o, char *value)
{
    switch (opt) {
    case 'e':
        o->asked[TW_PATH_LAN] = true;
        break;
    case 'r':
        o->asked[TW_PATH_ROCE] = true;
        break;
    case 't':
        o->asked[TW_PATH_THUNDERBOLT] = true;
        break;
    case 'i':
        o->asked[TW_PATH_RDMA] = true;
        break;
    case 'h':
        o->help = true;
        break;
    case OPT_NODE:
        o->node = value;
        break;
    case OPT_AGENT_PATH:
        o->agent_path = value;
        break;
    case OPT_ETH:
        o->given[TW_PATH_LAN] = value;
        break;
    case OPT_ROCE:
        o->given[TW_PATH_ROCE] = o->given[TW_PATH_RDMA] = value;
        break;
    case OPT_TB:
        o->given[TW_PATH_THUNDERBOLT] = value;
        break;
    case OPT_LISTEN:
        o->listen = true;
        o->listen_ip = value;
        break;
    case OPT_CONNECT:
        o->connect = value;
        break;
    case OPT_JSON:
        o->json = true;
        break;
    case OPT_SVG:
        o->svg = value;
        break;
    case OPT_MODEL:
        o->model = value;
        break;
    case OPT_QUICK:
        o->quick = true;
        break;
    case OPT_CROSS:
        o->cross_check = true;
        break;
    default:
        return -EINVAL;
    }
    return 0;
}

static int check_together(const compare_opts *o, tw_err *err)
{
    int n = (o->node != NULL) + o->listen + (o->connect != NULL);
    if (n > 1)
        return tw_err_set(err, -EINVAL, "--node, --listen and --connect: one of them");
    if (n == 0 && !o->help)
        return tw_err_set(err, -EINVAL,
                          "which machine? --node NAME (by ssh), or --listen there and --connect "
                          "here; see `twinax compare --help`");
    return o->node != NULL ? tw_ssh_name_check(o->node, err) : 0;
}

int tw_compare_parse(int argc, char **argv, compare_opts *ret, tw_err *err)
{
    compare_opts o = {0};
    optind = 0;
    opterr = 0;
    int opt;
    while ((opt = getopt_long(argc, argv, "ertih", options, NULL)) != -1)
        if (parse_option(opt, &o, optarg) != 0)
            return tw_err_set(err, -EINVAL,
                              "%s: unknown option, or its value is missing; see `twinax compare "
                              "--help`",
                              argv[optind - 1]);
    if (optind < argc && o.listen && o.listen_ip == NULL)
        o.listen_ip = argv[optind++]; /* --listen ADDR, without the "=" */
    if (optind < argc)
        return tw_err_set(err, -EINVAL, "%s: what is that? see `twinax compare --help`",
                          argv[optind]);
    for (int k = 0; k < TW_PATHS; k++)
        o.any_asked = o.any_asked || o.asked[k];
    int rc = check_together(&o, err);
    if (rc == 0)
        *ret = o;
    return rc;
}
