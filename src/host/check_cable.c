/* SPDX-License-Identifier: Apache-2.0 */
/* The cable and what counts its errors. */
#include <inttypes.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

CHECK(cable_module)
{
    const tw_facts_nic *n = c->use->nic;
    char length[16] = "";
    if (n == NULL || n->module.present == TW_UNKNOWN)
        return tw_check_na(c, "no module that could be read");
    const tw_facts_module *m = &n->module;
    if (m->present == TW_NO) {
        tw_check_found(c, "the cage is empty");
        tw_check_wanted(c, "a DAC or a module with its fibre");
        tw_check_mend(c, "plug the cable in until it clicks, on both ends");
        return TW_CHECK_FAIL;
    }
    if (m->length_m > 0)
        snprintf(length, sizeof length, ", %u m", m->length_m);
    tw_check_found(c, "%s %s%s, %s %s", m->kind, m->cable, length, m->vendor, m->part);
    for (size_t i = 0; i < m->n_lanes; i++)
        if (strstr(m->cable, "optical") != NULL && m->rx_mw[i] < 0.05) {
            tw_check_found(c, "%s %s: lane %zu gets %.3f mW of light", m->vendor, m->part, i,
                           m->rx_mw[i]);
            tw_check_wanted(c, "0.05 mW or more on each lane");
            tw_check_mend(
                c, "clean the fibre's ends and see that both strands are the right way round");
            return TW_CHECK_WARN;
        }
    if (strstr(m->cable, "passive copper") == NULL || m->length_m <= 5)
        return TW_CHECK_OK;
    tw_check_wanted(c, "5 m or less of passive copper");
    tw_check_mend(c, "take a shorter DAC, or an active optical cable");
    return TW_CHECK_WARN;
}

CHECK(cable_fec)
{
    const tw_facts_nic *a = c->use->nic, *b = c->peer_use->nic;
    if (a == NULL || b == NULL || a->fec[0] == '\0' || b->fec[0] == '\0')
        return tw_check_na(c, "an FEC mode is unknown");
    tw_check_found(c, "%s and %s", a->fec, b->fec);
    if (strcmp(a->fec, b->fec) == 0)
        return TW_CHECK_OK;
    tw_check_wanted(c, "the same on both ends (RS at 100 Gbit/s)");
    tw_check_mend(c, "sudo ethtool --set-fec %s encoding rs, on both ends", tw_check_if_name(c));
    return TW_CHECK_WARN;
}

/* What has been counted since the boot says little by itself; it is told. */
CHECK(cable_counters)
{
    const tw_facts_nic *n = c->use->nic;
    char list[160] = "";
    if (n == NULL || n->counters.at_ns == 0)
        return tw_check_na(c, "no counters");
    const tw_facts_counters *k = &n->counters;
    const struct named {
        const char *name;
        tw_count v;
    } all[] = {{"crc", k->rx_crc},
               {"symbol", k->rx_symbol},
               {"fec uncorrectable", k->fec_uncorrectable},
               {"rx errors", k->rx_errors},
               {"discards", k->rx_discards},
               {"pause", k->rx_pause},
               {"rdma retransmits", k->rdma_retransmits}};
    for (size_t i = 0; i < TW_ARRAY_LEN(all); i++) {
        size_t len = strlen(list);
        if (all[i].v.known && all[i].v.v > 0)
            snprintf(list + len, sizeof list - len, "%s%s %" PRIu64, len > 0 ? ", " : "",
                     all[i].name, all[i].v.v);
    }
    if (list[0] != '\0')
        tw_check_found(c, "since the boot: %s; cable.load tells whether they grow", list);
    else
        tw_check_found(c, "no errors since the boot");
    return TW_CHECK_OK;
}

CHECK(cable_aer)
{
    const tw_facts_nic *n = c->use->nic;
    if (n == NULL || (!n->counters.aer_correctable.known && !n->counters.aer_fatal.known))
        return tw_check_na(c, "the slot counts no errors");
    const uint64_t soft = n->counters.aer_correctable.v;
    const uint64_t hard = n->counters.aer_nonfatal.v + n->counters.aer_fatal.v;
    tw_check_found(c, "%" PRIu64 " corrected, %" PRIu64 " uncorrected PCIe errors", soft, hard);
    if (hard == 0 && soft < 1000)
        return TW_CHECK_OK;
    tw_check_wanted(c, "none: a riser or slot that loses bits");
    tw_check_mend(c, "reseat card and riser, take a shorter or shielded riser, or set the slot one "
                     "PCIe generation lower in the BIOS");
    return TW_CHECK_WARN;
}

/* ---- under load ---- */

static bool is_harmless(const char *name)
{
    return strcmp(name, "fec_corrected") == 0;
}

/* A few are the protocols' daily bread. */
static bool is_soft(const char *name)
{
    return strcmp(name, "tcp_retransmits") == 0 || strcmp(name, "rx_pause") == 0 ||
           strcmp(name, "tx_pause") == 0 || strcmp(name, "rx_dropped") == 0 ||
           strcmp(name, "tx_dropped") == 0 || strcmp(name, "aer_correctable") == 0 ||
           strcmp(name, "rdma_cnp") == 0;
}

CHECK(cable_load)
{
    char list[192] = "";
    if (c->w->proofs == NULL || c->j >= c->w->proofs->n_nodes)
        return tw_check_na(c, "not tried");
    const tw_proof_load *l = &c->w->proofs->loads[c->i][c->j];
    if (l->seconds <= 0 && l->why[0] == '\0')
        return tw_check_na(c, "not tried");
    if (l->seconds <= 0) {
        tw_check_found(c, "%s", l->why);
        tw_check_wanted(c, "bulk data both ways");
        tw_check_mend(c,
                      "see net.ports and net.path_mtu: what does not pass there carries no load");
        return TW_CHECK_WARN;
    }
    bool hard = false, soft = false;
    size_t end = c->i;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < l->ends[k].n_grown; i++) {
            const tw_proof_grown *g = &l->ends[k].grown[i];
            size_t len = strlen(list), node = k == 0 ? c->i : c->j;
            /* Up to one retransmit in a thousand packets is the stack's probing. */
            const bool counts = !is_harmless(g->name) &&
                                !(is_soft(g->name) &&
                                  (double)g->by < (l->to_gbit + l->from_gbit) * l->seconds * 15);
            if (!counts)
                continue;
            if (!hard && !is_soft(g->name))
                end = node;
            hard = hard || !is_soft(g->name);
            soft = true;
            const tw_net_if *f = c->uses[node].net;
            snprintf(list + len, sizeof list - len, "%s%s +%" PRIu64 " at %s of %s",
                     len > 0 ? ", " : "", g->name, g->by, f != NULL ? f->name : "its port",
                     c->w->nodes[node].name);
        }
    tw_check_found(c, "%.3g and %.3g Gbit/s for %.3g s%s%s", l->to_gbit, l->from_gbit, l->seconds,
                   list[0] != '\0' ? ": " : ", no counter of errors grew", list);
    if (!soft)
        return TW_CHECK_OK;
    tw_check_wanted(c, "no growth under load");
    if (hard)
        tw_check_mend(c,
                      "reseat the cable at %s, then try another one; errors that stay are the "
                      "card's or its slot's",
                      c->w->nodes[end].name);
    else
        tw_check_mend(c,
                      "raise the rings (sudo ethtool -G %s rx 4096 tx 4096) and see whether both "
                      "ends agree on flow control (ethtool -a)",
                      tw_check_if_name(c));
    return hard ? TW_CHECK_FAIL : TW_CHECK_WARN;
}
