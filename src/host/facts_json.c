/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "host/facts.h"
#include "host/facts_table.h"

json_t *tw_facts_print(const tw_facts *f)
{
    return tw_table_print(&tw_facts_table, f);
}

int tw_facts_parse(const json_t *v, tw_facts *ret, tw_err *err)
{
    memset(ret, 0, sizeof *ret);
    return tw_table_parse(&tw_facts_table, "", v, ret, err);
}

json_t *tw_facts_net_print(const tw_net *n)
{
    return tw_table_print(&tw_facts_net_table, n);
}

int tw_facts_net_parse(const json_t *v, tw_net *ret, tw_err *err)
{
    memset(ret, 0, sizeof *ret);
    return tw_table_parse(&tw_facts_net_table, "net.", v, ret, err);
}

json_t *tw_facts_counters_print(const tw_facts_counters *c)
{
    return tw_table_print(&tw_facts_counters_table, c);
}

int tw_facts_counters_parse(const json_t *v, tw_facts_counters *ret, tw_err *err)
{
    memset(ret, 0, sizeof *ret);
    return tw_table_parse(&tw_facts_counters_table, "counters.", v, ret, err);
}

json_t *tw_facts_heat_print(const tw_facts_heat *h)
{
    return tw_table_print(&tw_facts_heat_table, h);
}

int tw_facts_heat_parse(const json_t *v, tw_facts_heat *ret, tw_err *err)
{
    memset(ret, 0, sizeof *ret);
    return tw_table_parse(&tw_facts_heat_table, "heat.", v, ret, err);
}
