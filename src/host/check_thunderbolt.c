/* SPDX-License-Identifier: Apache-2.0 */
/* A Thunderbolt or USB4 cable between two machines. */
#include <inttypes.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

CHECK(thunderbolt_module)
{
    const tw_facts_thunderbolt *t = &c->f->thunderbolt;
    if (t->net_module == TW_YES || (c->use->net != NULL && t->net_module == TW_UNKNOWN)) {
        tw_check_found(c, "thunderbolt_net is loaded");
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%s",
                   t->controller == TW_NO ? "no Thunderbolt or USB4 controller"
                   : t->module == TW_NO   ? "the module thunderbolt is not loaded"
                                          : "the module thunderbolt_net is not loaded");
    tw_check_wanted(c, "thunderbolt_net, which makes thunderbolt0 of a cable");
    tw_check_mend(c, "sudo modprobe thunderbolt-net && echo thunderbolt-net | sudo tee "
                     "/etc/modules-load.d/twinax.conf");
    c->r->step = TW_STEP_MODULES;
    return TW_CHECK_FAIL;
}

CHECK(thunderbolt_authorised)
{
    const tw_facts_thunderbolt *t = &c->f->thunderbolt;
    for (size_t i = 0; i < t->n_devices; i++)
        if (t->devices[i].authorized == TW_NO) {
            char id[64];
            tw_check_found(c, "%s (%s %s) is not authorised", t->devices[i].id,
                           t->devices[i].vendor, t->devices[i].device);
            tw_check_wanted(c, "authorised (security level %s)",
                            t->security[0] != '\0' ? t->security : "unknown");
            tw_check_mend(
                c,
                "echo 1 | sudo tee /sys/bus/thunderbolt/devices/%s/authorized, or boltctl "
                "enroll",
                tw_check_quote(t->devices[i].id, id, sizeof id));
            return t->devices[i].peer == TW_YES ? TW_CHECK_FAIL : TW_CHECK_WARN;
        }
    if (t->n_devices == 0)
        return tw_check_na(c, "no device");
    tw_check_found(c, "%zu devices, all authorised", t->n_devices);
    return TW_CHECK_OK;
}

CHECK(thunderbolt_rate)
{
    const tw_facts_thunderbolt *t = &c->f->thunderbolt;
    for (size_t i = 0; i < t->n_devices; i++) {
        const tw_facts_tb_device *d = &t->devices[i];
        if (d->peer != TW_YES || d->rx_gbit <= 0)
            continue;
        const double lanes = (double)TW_MAX(d->rx_lanes, 1u);
        tw_check_found(c, "%g Gbit/s in %u lane%s of %g", d->rx_gbit * lanes,
                       TW_MAX(d->rx_lanes, 1u), lanes > 1 ? "s" : "", d->rx_gbit);
        if (d->rx_gbit * lanes >= 20)
            return TW_CHECK_OK;
        tw_check_wanted(c, "20 or 40 Gbit/s");
        tw_check_mend(c,
                      "take a certified Thunderbolt 4 or USB4 cable of at most 0.8 m, and the port "
                      "that the board's manual calls USB4");
        return TW_CHECK_WARN;
    }
    return tw_check_na(c, "the link's rate is unknown");
}

CHECK(thunderbolt_cables)
{
    const tw_facts_thunderbolt *t = &c->f->thunderbolt;
    if (!t->n_peers.known)
        return tw_check_na(c, "the number of cables is unknown");
    tw_check_found(c, "%" PRIu64 " to another machine", t->n_peers.v);
    if (t->n_peers.v == 1 || (c->w->n_nodes > 2 && t->n_peers.v > 1))
        return TW_CHECK_OK;
    if (t->n_peers.v == 0) {
        tw_check_wanted(c, "one");
        tw_check_mend(c, "connect the two machines by one Thunderbolt 4 or USB4 cable");
        return TW_CHECK_FAIL;
    }
    tw_check_wanted(c, "one: with two, packets leave by one and are awaited at the other");
    tw_check_mend(c, "pull one of the two cables out");
    return TW_CHECK_WARN;
}

/* What the controller refuses nobody can set; what passes is said aloud. */
CHECK(thunderbolt_mtu)
{
    const tw_net_if *f = c->use->net;
    uint32_t proven = 0, tried = 0;
    for (size_t k = 0; k < c->w->n_nodes; k++) {
        const tw_proof_way *w = tw_check_way(c, c->i, k);
        if (k != c->i && w != NULL && w->mtu_tried != 0 && (tried == 0 || w->mtu < proven)) {
            proven = w->mtu;
            tried = w->mtu_tried;
        }
    }
    if (tried == 0 || f == NULL)
        return tw_check_na(c, "not proven");
    tw_check_found(c, "packets of %u bytes arrive whole", proven);
    if (proven >= f->mtu)
        return TW_CHECK_OK;
    tw_check_found(c, "the interface says %u, the controllers pass %u at most", f->mtu, proven);
    tw_check_wanted(c, "an MTU that passes: %u", proven);
    if (proven >= 1280)
        tw_mend_mtu(c, proven);
    else
        tw_check_mend(c, "pull the cable out, wait a second, put it in again; then check again");
    return TW_CHECK_FAIL;
}
