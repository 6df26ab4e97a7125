/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdio.h>

#include "base/scope.h"
#include "cluster/proof.h"

#define COUNTER(m)                                                                                 \
    {                                                                                              \
#m, offsetof(tw_facts_counters, m)                                                         \
    }

/* Worst first: only so many are told. */
static const struct counter {
    const char *name;
    size_t at;
} counters[] = {
    COUNTER(rx_crc),        COUNTER(fec_uncorrectable), COUNTER(rx_symbol),
    COUNTER(aer_fatal),     COUNTER(aer_nonfatal),      COUNTER(carrier_changes),
    COUNTER(rx_errors),     COUNTER(tx_errors),         COUNTER(rdma_errors),
    COUNTER(rdma_timeouts), COUNTER(rx_discards),       COUNTER(tx_discards),
    COUNTER(rx_missed),     COUNTER(aer_correctable),   COUNTER(rdma_out_of_sequence),
    COUNTER(rdma_rnr),      COUNTER(rdma_retransmits),  COUNTER(fec_corrected),
    COUNTER(rx_pause),      COUNTER(tx_pause),          COUNTER(rdma_cnp),
    COUNTER(rx_dropped),    COUNTER(tx_dropped),        COUNTER(tcp_retransmits),
};

void tw_proof_growth(const tw_facts_counters *before, const tw_facts_counters *after,
                     tw_proof_end *ret)
{
    *ret = (tw_proof_end){0};
    for (size_t i = 0; i < TW_ARRAY_LEN(counters) && ret->n_grown < TW_PROOF_GROWN_MAX; i++) {
        const tw_count *a = (const void *)((const char *)before + counters[i].at);
        const tw_count *b = (const void *)((const char *)after + counters[i].at);
        if (!a->known || !b->known || b->v <= a->v)
            continue;
        tw_proof_grown *g = &ret->grown[ret->n_grown++];
        snprintf(g->name, sizeof g->name, "%s", counters[i].name);
        g->by = b->v - a->v;
    }
}
