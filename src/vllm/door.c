/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/door.h"

#include <stdio.h>
#include <string.h>

enum { SMALL_PREFIX_4 = 28, SMALL_PREFIX_6 = 124 };

bool tw_vllm_link_is_dedicated(const tw_facts *f, const char *ip, char *ret_why, size_t why_bytes)
{
    const tw_net_addr *a = NULL;
    const tw_net_if *i = tw_net_find_ip(&f->net, ip, &a);
    if (i == NULL) {
        snprintf(ret_why, why_bytes, "no interface has %s", ip);
        return false;
    }
    if (i->default_route || strcmp(f->routes.default_interface, i->name) == 0) {
        snprintf(ret_why, why_bytes, "%s leads to all other machines (default route)", i->name);
        return false;
    }
    const bool six = strchr(ip, ':') != NULL;
    if (i->kind == TW_NET_THUNDERBOLT || i->kind == TW_NET_LOOPBACK ||
        a->prefix >= (six ? SMALL_PREFIX_6 : SMALL_PREFIX_4))
        return true;
    snprintf(ret_why, why_bytes,
             "%s has a subnet /%u, wanted /%d or smaller, or a Thunderbolt cable", i->name,
             (unsigned)a->prefix, six ? SMALL_PREFIX_6 : SMALL_PREFIX_4);
    return false;
}
