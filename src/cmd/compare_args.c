/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "cmd/commands.h"
#include "cmd/compare.h"
#include "cmd/push.h"

#define AT(field) .offset = offsetof(compare_opts, field)

static int set_roce(void *opts, char *value, tw_err *err)
{
    compare_opts *o = opts;
    if (*value == '\0')
        return tw_err_set(err, -EINVAL, "--roce is empty: wanted IP[,PEERIP]");
    o->given[TW_PATH_ROCE] = o->given[TW_PATH_RDMA] = value;
    return 0;
}

static int set_listen(void *opts, char *value, tw_err *err)
{
    (void)err;
    compare_opts *o = opts;
    o->listen = true;
    o->listen_ip = value;
    return 0;
}

static const tw_option path_options[] = {
    {NULL, 'e', NULL, "Ethernet LAN", TW_OPT_FLAG, AT(asked[TW_PATH_LAN])},
    {NULL, 'r', NULL, "RoCE NIC as TCP", TW_OPT_FLAG, AT(asked[TW_PATH_ROCE])},
    {NULL, 't', NULL, "Thunderbolt", TW_OPT_FLAG, AT(asked[TW_PATH_THUNDERBOLT])},
    {NULL, 'i', NULL, "RDMA", TW_OPT_FLAG, AT(asked[TW_PATH_RDMA])},
    {"eth", .arg = "IP[,PEERIP]", .help = "addresses of -e; default: the default route's",
     .type = TW_OPT_TEXT, AT(given[TW_PATH_LAN])},
    {"roce", .arg = "IP[,PEERIP]",
     .help = "addresses of -r and -i; default: those of the interface with an RDMA device",
     .type = TW_OPT_CALL, .call = set_roce},
    {"tb", .arg = "IP[,PEERIP]", .help = "addresses of -t; default: those of thunderbolt0",
     .type = TW_OPT_TEXT, AT(given[TW_PATH_THUNDERBOLT])},
    {.name = NULL},
};

static const tw_option peer_options[] = {
    {"node", .arg = "NAME", .help = "by its ssh name; `local`: this machine, to try the command",
     .type = TW_OPT_TEXT, AT(node)},
    {"nodes", .arg = "A=IP,B=IP",
     .help = "all pairs of these, this machine first; default: twinax.conf", .type = TW_OPT_TEXT,
     AT(nodes_list)},
    TW_AGENT_OPTIONS(compare_opts),
    {"listen", .arg = "[ADDR]",
     .help = "by hand: wait for the other machine, and say what to type there", .type = TW_OPT_CALL,
     .call = set_listen},
    {"connect", .arg = "TOKEN@ADDR:PORT", .help = "to a --listen; no ssh is needed",
     .type = TW_OPT_TEXT, AT(connect)},
    {.name = NULL},
};

static const tw_option show_options[] = {
    {"model", .arg = "DIR", .help = "a model's folder: what the latency means for its decode",
     .type = TW_OPT_TEXT, AT(model)},
    {"quick", .help = "a second a path instead of ten", .type = TW_OPT_FLAG, AT(quick)},
    {"cross-check", .help = "iperf3, ib_write_lat and ib_write_bw beside ours, when installed",
     .type = TW_OPT_FLAG, AT(cross_check)},
    {"svg", .arg = "FILE", .help = "a bar chart", .type = TW_OPT_TEXT, AT(svg)},
    {"json", .help = "one object (docs/compare.md)", .type = TW_OPT_FLAG, AT(json)},
    {.name = NULL},
};

static const tw_option_table compare_tables[] = {
    {"paths (none of them: all)", path_options},
    {"the other machines", peer_options},
    {"what is shown", show_options},
    {NULL, NULL},
};

static int check_together(const compare_opts *o, tw_err *err)
{
    int n = (o->node != NULL) + (o->nodes_list != NULL) + o->listen + (o->connect != NULL);
    if (n > 1)
        return tw_err_set(err, -EINVAL, "--node, --nodes, --listen and --connect: one of them");
    if (o->push && (o->listen || o->connect != NULL))
        return tw_err_set(err, -EINVAL, "--push goes by ssh: not with --listen or --connect");
    return 0;
}

int tw_compare_parse(int argc, char **argv, compare_opts *ret, tw_err *err)
{
    compare_opts o = {0};
    int first = argc, rc = tw_options_parse(compare_tables, argc, argv, &o, &first, err);
    if (rc != 0)
        return rc;
    if (first < argc && o.listen && o.listen_ip == NULL)
        o.listen_ip = argv[first++]; /* --listen ADDR, without the "=" */
    if (first < argc)
        return tw_err_set(err, -EINVAL, "%s: what is that? see `twinax compare --help`",
                          argv[first]);
    for (int k = 0; k < TW_PATHS; k++)
        o.any_asked = o.any_asked || o.asked[k];
    rc = check_together(&o, err);
    if (rc == 0)
        *ret = o;
    return rc;
}

static const tw_note compare_env[] = {
    {"NO_COLOR", "no colours, on a terminal either"},
    {NULL, NULL},
};
static const tw_note compare_examples[] = {
    {"twinax compare --node box2", "all paths to one machine, by ssh"},
    {"twinax compare --node box2 -r -i --json", "only these; exit 1 when one is not there"},
    {"twinax compare", "the nodes of twinax.conf; more than two: each pair"},
    {"twinax compare --listen", "by hand: here this, on the other machine the line that it prints"},
    {NULL, NULL},
};
static const tw_note compare_exits[] = {
    {"0", "measured"},
    {"1", "no path could be measured, or one that was asked for is not there"},
    {"2", "the command line is wrong"},
    {"130", "interrupted"},
    {NULL, NULL},
};

const tw_command tw_command_compare = {
    .name = "compare",
    .args = "[--node NAME | --nodes LIST] [-e] [-r] [-t] [-i]",
    .summary = "latency and bandwidth of every path between machines",
    .about = "Latency is half a round trip. More in docs/compare.md.",
    .tables = compare_tables,
    .run = tw_compare_run,
    .group = TW_GROUP_MEASURE,
    .examples = compare_examples,
    .env = compare_env,
    .exits = compare_exits,
};
