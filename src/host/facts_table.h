/* SPDX-License-Identifier: Apache-2.0 */
/* Part of host/facts: the tables by which its structs are printed and parsed. */
#ifndef TWINAX_HOST_FACTS_TABLE_H
#define TWINAX_HOST_FACTS_TABLE_H

#include "host/facts_field.h"

extern const tw_table tw_facts_table, tw_facts_net_table, tw_facts_counters_table,
    tw_facts_heat_table, tw_facts_nic_table, tw_facts_thunderbolt_table, tw_facts_rdma_table,
    tw_facts_routes_table, tw_facts_firewall_table;

#endif
