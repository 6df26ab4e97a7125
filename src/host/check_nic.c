/* SPDX-License-Identifier: Apache-2.0 */
/* The card, its slot, its link. */
#include <inttypes.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

CHECK(nic_present)
{
    const tw_check_node *n = &c->w->nodes[c->i];
    char list[160] = "";
    if (c->use->net != NULL) {
        tw_check_found(c, "%s (%s%s%s)", c->use->net->name, tw_net_kind_name(c->use->net->kind),
                       c->use->net->driver[0] != '\0' ? ", driver " : "", c->use->net->driver);
        return TW_CHECK_OK;
    }
    for (size_t i = 0; i < c->f->net.n_ifs; i++) {
        size_t len = strlen(list);
        if (c->f->net.ifs[i].kind != TW_NET_LOOPBACK)
            snprintf(list + len, sizeof list - len, "%s%s", len > 0 ? ", " : "",
                     c->f->net.ifs[i].name);
    }
    tw_check_found(c, "none of %s", list[0] != '\0' ? list : "no interface");
    if (strncmp(n->interface, "thunderbolt", 11) == 0) {
        tw_check_wanted(c, "%s", n->interface);
        tw_check_mend(c, "connect the cable and sudo modprobe thunderbolt-net");
    } else if (n->interface[0] != '\0') {
        tw_check_wanted(c, "%s, as the config says", n->interface);
        tw_check_mend(c, "name the right one: twinax setup --init");
    } else {
        tw_check_wanted(c, "one that has %s", n->ip[0] != '\0' ? n->ip : "the cluster's address");
        tw_mend_address(c);
    }
    return TW_CHECK_FAIL;
}

CHECK(nic_firmware)
{
    const tw_facts_nic *n = c->use->nic;
    if (n == NULL || n->firmware[0] == '\0')
        return tw_check_na(c, "the driver names no firmware");
    tw_check_found(c, "%s", n->firmware);
    if (!tw_check_is_e810(c->use))
        return TW_CHECK_OK;
    if (!tw_check_version_below(tw_check_version_parse(n->firmware), 4, 91, 0))
        return TW_CHECK_OK;
    /* "4.9" would be version 4, 9: the card says two digits. */
    tw_check_wanted(c, "4.91 or newer for an E810");
    tw_check_mend(c, "Intel's Ethernet NVM Update Tool for the E810 series: sudo ./nvmupdate64e, "
                     "then switch the machine off and on");
    return c->use->want[TW_NEED_RDMA] == TW_WANT_YES ? TW_CHECK_FAIL : TW_CHECK_WARN;
}

CHECK(nic_pcie)
{
    const tw_net_if *f = c->use->net;
    if (f == NULL || f->pci_width == 0 || f->pci_gts <= 0)
        return tw_check_na(c, "no PCIe slot");
    const double gbit = tw_net_pci_gbit(f), link = (double)f->speed_mbit / 1000;
    const bool below = link > 0 && gbit > 0 && gbit < link;
    tw_check_found(c, "x%u at %.4g GT/s: %.3g Gbit/s at most%s", f->pci_width, f->pci_gts, gbit,
                   below ? ", which is the link's ceiling here" : "");
    const double card = c->use->nic != NULL ? c->use->nic->pci_max_gts : 0;
    const bool slow = card > 0 && f->pci_gts < card && f->pci_gts < 15 && below;
    if (!slow && !(below && f->pci_width < 4 && f->pci_width < f->pci_max_width))
        return TW_CHECK_OK;
    tw_check_wanted(c, "x4 or wider%s", slow ? " at the card's own speed" : "");
    tw_check_mend(c,
                  "reseat the card and its riser, set the slot's speed in the BIOS to %.3g GT/s "
                  "or Auto, and check again",
                  card > 0 ? card : 16.0);
    return TW_CHECK_WARN;
}

static void speed_text(uint32_t mbit, char out[32])
{
    if (mbit >= 1000)
        snprintf(out, 32, "%g Gbit/s", (double)mbit / 1000);
    else
        snprintf(out, 32, "%u Mbit/s", mbit);
}

CHECK(nic_link)
{
    char speed[32];
    const tw_net_if *f = c->use->net;
    const char *name = tw_check_if_name(c);
    if (f == NULL)
        return tw_check_na(c, "no interface");
    speed_text(f->speed_mbit, speed);
    if (f->up && f->carrier) {
        tw_check_found(c, "%s is up%s%s", f->name, f->speed_mbit > 0 ? ", " : "",
                       f->speed_mbit > 0 ? speed : "");
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%s is %s", f->name, f->up ? "up, without a carrier" : "down");
    tw_check_wanted(c, "up, with a carrier");
    if (!f->up)
        tw_check_mend(c, "sudo ip link set %s up", name);
    else
        tw_check_mend(c,
                      "push the cable in until it clicks, on both ends; then look at `ethtool %s`",
                      name);
    return TW_CHECK_FAIL;
}

static bool want_jumbo(const tw_check_use *u)
{
    return u->want[TW_NEED_RDMA] != TW_WANT_NO || u->want[TW_NEED_THUNDERBOLT] != TW_WANT_NO;
}

CHECK(nic_mtu)
{
    const tw_net_if *f = c->use->net;
    if (f == NULL || f->mtu == 0)
        return tw_check_na(c, "no interface");
    const unsigned want = tw_check_wanted_mtu(c->use);
    tw_check_found(c, "%u", f->mtu);
    if (!want_jumbo(c->use) || f->mtu >= want || tw_check_is_infiniband(c->use))
        return TW_CHECK_OK;
    if (want < 9000 && f->mtu >= want)
        return TW_CHECK_OK;
    if (c->use->want[TW_NEED_THUNDERBOLT] != TW_WANT_NO) {
        /* Many controllers refuse more; what passes is what counts (thunderbolt.mtu). */
        tw_check_found(c, "%u; every packet costs the CPU the same, larger ones are cheaper",
                       f->mtu);
        tw_check_wanted(c, "%u where the controller allows it", want);
        tw_mend_mtu(c, want);
        return TW_CHECK_WARN;
    }
    if (f->mtu >= 4200) {
        tw_check_found(c, "%u: enough for RDMA's 4096", f->mtu);
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%u: RDMA packets are cut to %u bytes", f->mtu,
                   f->mtu >= 2200   ? 2048u
                   : f->mtu >= 1200 ? 1024u
                                    : 256u);
    tw_check_wanted(c, "%u, the same on both ends", want);
    tw_mend_mtu(c, want);
    return TW_CHECK_FAIL;
}

CHECK(nic_owner)
{
    const tw_facts_nic *n = c->use->nic;
    if (n == NULL || n->owner == TW_OWNER_UNKNOWN)
        return tw_check_na(c, "who configures the interface is unknown");
    tw_check_found(c, "%s%s%s", tw_nic_owner_name(n->owner), n->profile[0] != '\0' ? ", " : "",
                   n->profile);
    if (n->owner == TW_OWNER_NONE) {
        tw_check_found(c, "nobody: address and MTU are gone after the next boot");
        tw_check_wanted(c, "a connection that stays");
        tw_mend_address(c);
        return c->use->want[TW_NEED_RDMA] == TW_WANT_NO &&
                       c->use->want[TW_NEED_THUNDERBOLT] == TW_WANT_NO
                   ? TW_CHECK_OK
                   : TW_CHECK_WARN;
    }
    if (strcmp(n->method, "dhcp") != 0 || !want_jumbo(c->use))
        return TW_CHECK_OK;
    tw_check_found(c, "%s, %s: by DHCP, which nobody answers on a cable between two machines",
                   tw_nic_owner_name(n->owner), n->profile);
    tw_check_wanted(c, "a static address");
    tw_mend_address(c);
    return TW_CHECK_WARN;
}

CHECK(nic_mac)
{
    const tw_facts_nic *n = c->use->nic;
    if (n == NULL || n->mac_local == TW_UNKNOWN)
        return tw_check_na(c, "no hardware address is known");
    tw_check_found(c, n->mac_local == TW_YES ? "locally administered: it may differ after a boot"
                                             : "the card's own");
    return TW_CHECK_OK;
}

CHECK(nic_power)
{
    const tw_facts_nic *n = c->use->nic;
    if (n == NULL || n->runtime_pm == TW_UNKNOWN || c->use->want[TW_NEED_RDMA] == TW_WANT_NO)
        return tw_check_na(c, "no card that could be put to sleep");
    tw_check_found(c, n->runtime_pm == TW_YES ? "the kernel may put the card to sleep"
                                              : "the card stays awake");
    if (n->runtime_pm == TW_NO || (c->use->net != NULL && c->use->net->carrier))
        return TW_CHECK_OK; /* a link that is up keeps it awake */
    tw_check_wanted(c, "awake");
    char slot[48];
    const char *pci = c->use->net != NULL ? c->use->net->pci : "";
    tw_check_mend(c, "echo on | sudo tee /sys/bus/pci/devices/%s/power/control",
                  pci[0] != '\0' ? tw_check_quote(pci, slot, sizeof slot) : "SLOT");
    return TW_CHECK_WARN;
}

CHECK(nic_heat)
{
    const tw_facts_nic *n = c->use->nic;
    const double t = n == NULL ? 0 : TW_MAX(n->temperature_c, n->module.temperature_c);
    if (t <= 0)
        return tw_check_na(c, "no sensor");
    tw_check_found(c, "%.0f C", t);
    if (t < 95)
        return TW_CHECK_OK;
    tw_check_wanted(c, "below 95 C: a hot card drops its link");
    tw_check_mend(c, "give the card an air stream: these cards are made for servers' fans");
    return TW_CHECK_WARN;
}

/* ---- both ends ---- */

CHECK(pair_speed)
{
    char a[32], b[32];
    if (c->use->net == NULL || c->peer_use->net == NULL || c->use->net->speed_mbit == 0 ||
        c->peer_use->net->speed_mbit == 0)
        return tw_check_na(c, "a speed is unknown");
    speed_text(c->use->net->speed_mbit, a);
    speed_text(c->peer_use->net->speed_mbit, b);
    tw_check_found(c, "%s and %s", a, b);
    if (c->use->net->speed_mbit == c->peer_use->net->speed_mbit)
        return TW_CHECK_OK;
    tw_check_wanted(c, "the same on both ends of one cable");
    tw_check_mend(c,
                  "sudo ethtool -s %s autoneg on, on both ends; a switch between them makes this "
                  "harmless",
                  tw_check_if_name(c));
    return TW_CHECK_WARN;
}

CHECK(pair_mtu)
{
    if (c->use->net == NULL || c->peer_use->net == NULL || c->use->net->mtu == 0 ||
        c->peer_use->net->mtu == 0)
        return tw_check_na(c, "an MTU is unknown");
    const unsigned a = c->use->net->mtu, b = c->peer_use->net->mtu;
    tw_check_found(c, "%u and %u", a, b);
    if (a == b)
        return TW_CHECK_OK;
    tw_check_wanted(c, "the same on both ends: large packets vanish one way");
    const size_t end = a < b ? c->i : c->j;
    tw_check_ctx there = tw_check_at(c, end);
    tw_mend_mtu(&there, TW_MAX(a, b));
    tw_check_mend_is_at(c, end);
    return TW_CHECK_FAIL;
}
