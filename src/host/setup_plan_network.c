/* SPDX-License-Identifier: Apache-2.0 */
/* The cable's interface: which one, what it is to have, who configures it. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/setup_plan.h"

static bool is_protected(const tw_setup_maker *m, const tw_net_if *i, const char *name)
{
    const tw_facts_routes *r = &m->f->routes;
    return strcmp(r->ssh_interface, name) == 0 || strcmp(r->default_interface, name) == 0 ||
           (i != NULL && i->default_route);
}

bool tw_setup_find_cable(const tw_setup_maker *m, tw_setup_cable *ret)
{
    const tw_setup_node *self = &m->w->nodes[m->w->self];
    *ret = (tw_setup_cable){.name = self->interface, .ip = self->ip};
    if (m->w->n < 2 || self->interface[0] == '\0' || self->ip[0] == '\0')
        return false;
    ret->net = tw_net_find(&m->f->net, self->interface);
    ret->nic = tw_facts_find_nic(m->f, self->interface);
    ret->six = strchr(self->ip, ':') != NULL;
    ret->mtu = m->w->mtu;
    if (ret->nic != NULL && ret->nic->mtu_max != 0 && ret->nic->mtu_max < ret->mtu)
        ret->mtu = ret->nic->mtu_max;
    ret->dedicated = m->w->link != TW_SETUP_LINK_LAN && !is_protected(m, ret->net, self->interface);
    snprintf(ret->cidr, sizeof ret->cidr, "%s/%u", self->ip, m->w->prefix);
    return true;
}

static bool has_address(const tw_setup_cable *c, bool with_prefix, unsigned prefix)
{
    for (size_t i = 0; c->net != NULL && i < c->net->n_addrs; i++)
        if (strcmp(c->net->addrs[i].ip, c->ip) == 0 &&
            (!with_prefix || c->net->addrs[i].prefix <= prefix))
            return true;
    return false;
}

static enum tw_nic_owner owner_of(const tw_setup_maker *m, const tw_setup_cable *c)
{
    const tw_facts *f = m->f;
    enum tw_nic_owner o = c->nic != NULL ? c->nic->owner : TW_OWNER_UNKNOWN;
    if (o != TW_OWNER_UNKNOWN && o != TW_OWNER_NONE)
        return o;
    /* Nobody's so far: whoever configures this machine's network. ifupdown beside NetworkManager has
     * only what its file names. */
    if (tw_setup_seen_has_folder(m->s, "/etc/netplan/"))
        return TW_OWNER_NETPLAN;
    if (tw_facts_is_running(f, "NetworkManager"))
        return TW_OWNER_NETWORKMANAGER;
    if (tw_facts_is_running(f, "systemd-networkd"))
        return TW_OWNER_NETWORKD;
    bool hidden;
    if (tw_setup_seen_file(m->s, "/etc/network/interfaces", &hidden) != NULL || hidden)
        return TW_OWNER_IFUPDOWN;
    return f->os.systemd == TW_YES ? TW_OWNER_NETWORKD : TW_OWNER_NONE;
}

/* It is so now, and will be so after the next boot as far as facts tell. */
static bool is_done(const tw_setup_cable *c, unsigned prefix)
{
    if (!has_address(c, true, prefix) || c->net->mtu < c->mtu || c->nic == NULL)
        return false;
    return c->nic->owner != TW_OWNER_NONE && c->nic->owner != TW_OWNER_UNKNOWN &&
           strcmp(c->nic->method, "static") == 0 &&
           (!c->nic->profile_mtu.known || c->nic->profile_mtu.v >= c->mtu);
}

/* Two interfaces with one address: the kernel sends by either. */
static const tw_net_if *find_elsewhere(const tw_setup_maker *m, const tw_setup_cable *c)
{
    const tw_net *net = &m->f->net;
    for (size_t i = 0; i < net->n_ifs; i++)
        for (size_t k = 0; k < net->ifs[i].n_addrs; k++)
            if (strcmp(net->ifs[i].name, c->name) != 0 &&
                strcmp(net->ifs[i].addrs[k].ip, c->ip) == 0)
                return &net->ifs[i];
    return NULL;
}

static bool is_plannable(tw_setup_maker *m, const tw_setup_cable *c)
{
    if (m->w->link == TW_SETUP_LINK_LAN) {
        if (!has_address(c, false, 0))
            tw_setup_note(m, "%s has no address %s: give the address that this node has in the LAN",
                          c->name, c->ip);
        return false;
    }
    if (!c->dedicated) {
        if (!has_address(c, false, 0))
            tw_setup_note(m,
                          "%s carries %s: it is not re-addressed. Give %s the address that it has, "
                          "or name another interface",
                          c->name,
                          strcmp(m->f->routes.ssh_interface, c->name) == 0 ? "this ssh session"
                                                                           : "the default route",
                          m->w->nodes[m->w->self].name);
        return false;
    }
    if (m->w->prefix == 0) {
        tw_setup_note(m, "the cluster's addresses lie in no one subnet: %s is left as it is",
                      c->name);
        return false;
    }
    const tw_net_if *other = find_elsewhere(m, c);
    if (other != NULL) {
        tw_setup_note(
            m,
            "%s is on %s already: %s does not get it too. Take it away there, or name %s as "
            "the interface",
            c->ip, other->name, c->name, other->name);
        return false;
    }
    return strchr(c->ip, '%') == NULL && !is_done(c, m->w->prefix);
}

void tw_setup_plan_network(tw_setup_maker *m)
{
    tw_setup_cable c;
    if (!tw_setup_find_cable(m, &c) || !is_plannable(m, &c))
        return;
    if (c.mtu < m->w->mtu)
        tw_setup_note(m, "%s offers an MTU of %u at most, not %u", c.name, c.mtu, m->w->mtu);
    switch (owner_of(m, &c)) {
    case TW_OWNER_NETWORKMANAGER:
        tw_setup_plan_nm(m, &c);
        return;
    case TW_OWNER_NETPLAN:
        tw_setup_plan_netplan(m, &c);
        return;
    case TW_OWNER_NETWORKD:
        tw_setup_plan_networkd(m, &c);
        return;
    case TW_OWNER_IFUPDOWN:
        tw_setup_plan_ifupdown(m, &c);
        return;
    case TW_OWNER_NONE:
    case TW_OWNER_UNKNOWN:
    case TW_OWNERS:
        break;
    }
    tw_setup_note(m,
                  "nobody configures the network here (no NetworkManager, netplan, networkd, "
                  "ifupdown): give %s the address %s and MTU %u by hand",
                  c.name, c.cidr, c.mtu);
}
