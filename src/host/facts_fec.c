/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that forward error correction mended, and those that it could not: the standard statistics
 * of ethtool over netlink, the same for all drivers that have them. */
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <string.h>

#include "host/facts_ethtool.h"
#include "host/facts_netlink.h"

/* One number, or one a lane after it: the first is the sum. */
static void take_count(const void *stats, size_t n, uint16_t type, tw_count *to)
{
    size_t n_data;
    uint64_t v;
    const void *data = tw_nl_find(stats, n, type, &n_data);
    if (data == NULL || n_data < sizeof v)
        return;
    memcpy(&v, data, sizeof v);
    *to = tw_count_of(v);
}

static void take_fec(void *ctx, const struct nlmsghdr *m)
{
    tw_facts_counters *c = ctx;
    size_t n, n_stats;
    const void *body = tw_nl_body(m, sizeof(struct genlmsghdr), &n);
    const void *stats = tw_nl_find(body, n, ETHTOOL_A_FEC_STATS, &n_stats);
    if (stats == NULL)
        return;
    take_count(stats, n_stats, ETHTOOL_A_FEC_STAT_CORRECTED, &c->fec_corrected);
    take_count(stats, n_stats, ETHTOOL_A_FEC_STAT_UNCORR, &c->fec_uncorrectable);
}

void tw_ethtool_fec_counters(const char *name, tw_facts_counters *c)
{
    tw_nl_request q;
    uint32_t flags = ETHTOOL_FLAG_STATS;
    uint16_t family = tw_nl_family(ETHTOOL_GENL_NAME);
    if (family == 0)
        return;
    struct genlmsghdr *g = tw_nl_begin(&q, family, 0, sizeof *g);
    g->cmd = ETHTOOL_MSG_FEC_GET;
    g->version = ETHTOOL_GENL_VERSION;
    size_t head = tw_nl_nest_begin(&q, ETHTOOL_A_FEC_HEADER);
    tw_nl_put(&q, ETHTOOL_A_HEADER_DEV_NAME, name, strlen(name) + 1);
    tw_nl_put(&q, ETHTOOL_A_HEADER_FLAGS, &flags, sizeof flags);
    tw_nl_nest_end(&q, head);
    (void)tw_nl_ask(NETLINK_GENERIC, &q, take_fec, c);
}
