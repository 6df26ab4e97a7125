/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of one interface, its slot, its RDMA device: quick enough to be read before and after a
 * load. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "host/facts_ethtool.h"
#include "host/facts_file.h"
#include "host/net_rdma.h"
#include "os/rdma.h"

static void add(tw_count *to, tw_count more)
{
    if (more.known)
        *to = tw_count_of(to->v + more.v);
}

static void read_interface(const char *root, tw_facts_counters *c)
{
    const struct {
        const char *name;
        tw_count *to;
    } all[] = {
        {"statistics/rx_bytes", &c->rx_bytes},          {"statistics/tx_bytes", &c->tx_bytes},
        {"statistics/rx_packets", &c->rx_packets},      {"statistics/tx_packets", &c->tx_packets},
        {"statistics/rx_errors", &c->rx_errors},        {"statistics/tx_errors", &c->tx_errors},
        {"statistics/rx_dropped", &c->rx_dropped},      {"statistics/tx_dropped", &c->tx_dropped},
        {"statistics/rx_missed_errors", &c->rx_missed}, {"statistics/rx_crc_errors", &c->rx_crc},
        {"carrier_changes", &c->carrier_changes}};
    for (size_t i = 0; i < TW_ARRAY_LEN(all); i++) {
        char path[128];
        tw_text_set(path, sizeof path, "sys/class/net/%s/%s", c->name, all[i].name);
        *all[i].to = tw_facts_number(root, path);
    }
}

/* "RxErr 0\nBadTLP 2\n...\nTOTAL_ERR_COR 2" */
static tw_count read_aer(const char *root, const char *name, const char *file, const char *total)
{
    char path[128], text[1024];
    uint64_t v = 0;
    tw_text_set(path, sizeof path, "sys/class/net/%s/device/%s", name, file);
    if (!tw_facts_text(root, path, text, sizeof text) || !tw_text_number(text, total, &v))
        return (tw_count){0};
    return tw_count_of(v);
}

/* "Tcp: RtoAlgorithm ...\nTcp: 1 ...": the column of RetransSegs. */
static tw_count read_retransmits(const char *root)
{
    char text[8192], *rest = text, *head, *row;
    if (!tw_facts_text(root, "proc/net/snmp", text, sizeof text))
        return (tw_count){0};
    while ((head = tw_text_line(&rest)) != NULL && strncmp(head, "Tcp:", 4) != 0)
        ;
    row = head != NULL ? tw_text_line(&rest) : NULL;
    while (head != NULL && row != NULL) {
        const char *key = strsep(&head, " "), *value = strsep(&row, " ");
        if (strcmp(key, "RetransSegs") == 0)
            return tw_count_of(strtoull(value, NULL, 10));
    }
    return (tw_count){0};
}

static void read_rdma(const char *root, const char *device, unsigned port, tw_facts_counters *c)
{
    const struct {
        const char *name;
        tw_count *to;
    } all[] = {
        /* mlx5; irdma; rxe */
        {"hw_counters/out_of_sequence", &c->rdma_out_of_sequence},
        {"hw_counters/packet_seq_err", &c->rdma_out_of_sequence},
        {"hw_counters/rcvd_seq_err", &c->rdma_out_of_sequence},
        {"hw_counters/out_of_seq_request", &c->rdma_out_of_sequence},
        {"hw_counters/local_ack_timeout_err", &c->rdma_timeouts},
        {"hw_counters/retry_exceeded_err", &c->rdma_timeouts},
        {"hw_counters/completer_retry_err", &c->rdma_retransmits},
        {"hw_counters/roce_adp_retrans", &c->rdma_retransmits},
        {"hw_counters/tcpRetransSegs", &c->rdma_retransmits},
        {"hw_counters/duplicate_request", &c->rdma_retransmits},
        {"hw_counters/rnr_nak_retry_err", &c->rdma_rnr},
        {"hw_counters/rcvd_rnr_err", &c->rdma_rnr},
        {"hw_counters/send_rnr_err", &c->rdma_rnr},
        {"hw_counters/np_cnp_sent", &c->rdma_cnp},
        {"hw_counters/rp_cnp_handled", &c->rdma_cnp},
        {"hw_counters/cnpSent", &c->rdma_cnp},
        {"hw_counters/cnpHandled", &c->rdma_cnp},
        {"hw_counters/rx_icrc_encapsulated", &c->rdma_errors},
        {"hw_counters/send_err", &c->rdma_errors},
        {"counters/port_rcv_errors", &c->rdma_errors},
        {"counters/symbol_error", &c->rx_symbol},
        {"counters/port_xmit_discards", &c->tx_discards},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(all); i++) {
        char path[192];
        tw_text_set(path, sizeof path, "sys/class/infiniband/%s/ports/%u/%s", device, port,
                    all[i].name);
        add(all[i].to, tw_facts_number(root, path));
    }
    char folder[512];
    tw_rdma_counters bytes = {0};
    if (!tw_facts_path(root, "sys/class/infiniband", folder, sizeof folder))
        return;
    tw_rdma_counters_read(folder, device, port, &bytes);
    if (bytes.known_bytes) {
        c->rdma_rx_bytes = tw_count_of(bytes.rx_bytes);
        c->rdma_tx_bytes = tw_count_of(bytes.tx_bytes);
    }
}

void tw_facts_counters_read(const char *root, const char *name, tw_facts_counters *ret)
{
    char device[64];
    unsigned port = 1;
    *ret = (tw_facts_counters){.at_ns = tw_clock_now_ns()};
    tw_text_set(ret->name, sizeof ret->name, "%s", name);
    if (strchr(name, '/') != NULL || name[0] == '.')
        return; /* no interface: a path */
    read_interface(root, ret);
    if (root == NULL) {
        tw_ethtool_counters(name, ret);
        tw_ethtool_fec_counters(name, ret);
    }
    ret->aer_correctable = read_aer(root, name, "aer_dev_correctable", "TOTAL_ERR_COR");
    ret->aer_nonfatal = read_aer(root, name, "aer_dev_nonfatal", "TOTAL_ERR_NONFATAL");
    ret->aer_fatal = read_aer(root, name, "aer_dev_fatal", "TOTAL_ERR_FATAL");
    if (tw_net_rdma_of(root, name, device, sizeof device, &port))
        read_rdma(root, device, port, ret);
    ret->tcp_retransmits = read_retransmits(root);
}
