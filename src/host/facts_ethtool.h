/* SPDX-License-Identifier: Apache-2.0 */
/* Part of host/facts: what a network driver answers by ioctl and netlink; only of this machine. */
#ifndef TWINAX_HOST_FACTS_ETHTOOL_H
#define TWINAX_HOST_FACTS_ETHTOOL_H

#include "host/facts_nic.h"

/* Driver, firmware, port, FEC, rings, pause, module. */
void tw_ethtool_read(tw_facts_nic *n);
/* Its own statistics, by the names that the drivers give them. */
void tw_ethtool_counters(const char *name, tw_facts_counters *c);
void tw_ethtool_fec_counters(const char *name, tw_facts_counters *c);
/* Which of the counters a driver's statistic adds to; NULL: none. pure */
tw_count *tw_ethtool_counter_of(tw_facts_counters *c, const char *statistic);
/* enable_roce and its kin of all cards, by devlink. */
void tw_devlink_read(const tw_net *net, tw_facts_nic *nics, size_t n_nics);

#endif
