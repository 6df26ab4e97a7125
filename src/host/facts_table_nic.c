/* SPDX-License-Identifier: Apache-2.0 */
/* Every member of facts_nic.h and of host/net.h, one line each. */
#include "host/facts_table.h"

#include "host/facts.h"

static const char *const owners[] = {"unknown", "none",     "networkmanager",
                                     "netplan", "networkd", "ifupdown"};
_Static_assert(sizeof owners / sizeof owners[0] == TW_OWNERS, "a name each");
static const char *const firewalls[] = {"unknown", "none", "firewalld", "ufw", "nftables"};
_Static_assert(sizeof firewalls / sizeof firewalls[0] == TW_FIREWALLS, "a name each");

const char *tw_nic_owner_name(enum tw_nic_owner o)
{
    return owners[o];
}

const char *tw_firewall_kind_name(enum tw_firewall_kind k)
{
    return firewalls[k];
}

/* clang-format off */
TW_TABLE(net_pci_table,
    {.name = "address", .type = TW_FIELD_TEXT, TW_AT_(tw_net_if, pci)},
    {.name = "width", .type = TW_FIELD_UINT, TW_AT_(tw_net_if, pci_width)},
    {.name = "max_width", .type = TW_FIELD_UINT, TW_AT_(tw_net_if, pci_max_width)},
    {.name = "gts", .type = TW_FIELD_REAL, TW_AT_(tw_net_if, pci_gts)});

TW_TABLE(net_rdma_table,
    {.name = "device", .type = TW_FIELD_TEXT, TW_AT_(tw_net_if, rdma)},
    {.name = "port", .type = TW_FIELD_UINT, TW_AT_(tw_net_if, rdma_port)},
    TW_F_TEXT(tw_net_if, state),
    TW_F_TEXT(tw_net_if, gid_types));

TW_TABLE(net_if_table,
    TW_F_TEXT(tw_net_if, name),
    TW_F_ENUM(tw_net_if, kind, tw_net_kind_names),
    TW_F_TEXT(tw_net_if, driver),
    TW_F_BOOL(tw_net_if, up),
    TW_F_BOOL(tw_net_if, carrier),
    TW_F_BOOL(tw_net_if, default_route),
    TW_F_UINT(tw_net_if, mtu),
    TW_F_UINT(tw_net_if, speed_mbit),
    TW_F_ADDRESSES(tw_net_if, "addresses", addrs, n_addrs),
    TW_F_GROUP("pci", net_pci_table),
    TW_F_GROUP("rdma", net_rdma_table));

TW_TABLE_SHARED(tw_facts_net_table,
    TW_F_TEXT(tw_net, host),
    TW_F_TEXT(tw_net, rdma_why),
    TW_F_LIST(tw_net, "interfaces", ifs, n_ifs, net_if_table));

TW_TABLE_SHARED(tw_facts_counters_table,
    TW_F_TEXT(tw_facts_counters, name),
    TW_F_UINT(tw_facts_counters, at_ns),
    TW_F_COUNT(tw_facts_counters, rx_bytes),
    TW_F_COUNT(tw_facts_counters, tx_bytes),
    TW_F_COUNT(tw_facts_counters, rx_packets),
    TW_F_COUNT(tw_facts_counters, tx_packets),
    TW_F_COUNT(tw_facts_counters, rx_errors),
    TW_F_COUNT(tw_facts_counters, tx_errors),
    TW_F_COUNT(tw_facts_counters, rx_dropped),
    TW_F_COUNT(tw_facts_counters, tx_dropped),
    TW_F_COUNT(tw_facts_counters, rx_missed),
    TW_F_COUNT(tw_facts_counters, rx_crc),
    TW_F_COUNT(tw_facts_counters, rx_symbol),
    TW_F_COUNT(tw_facts_counters, fec_corrected),
    TW_F_COUNT(tw_facts_counters, fec_uncorrectable),
    TW_F_COUNT(tw_facts_counters, rx_discards),
    TW_F_COUNT(tw_facts_counters, tx_discards),
    TW_F_COUNT(tw_facts_counters, rx_pause),
    TW_F_COUNT(tw_facts_counters, tx_pause),
    TW_F_COUNT(tw_facts_counters, carrier_changes),
    TW_F_COUNT(tw_facts_counters, aer_correctable),
    TW_F_COUNT(tw_facts_counters, aer_nonfatal),
    TW_F_COUNT(tw_facts_counters, aer_fatal),
    TW_F_COUNT(tw_facts_counters, rdma_rx_bytes),
    TW_F_COUNT(tw_facts_counters, rdma_tx_bytes),
    TW_F_COUNT(tw_facts_counters, rdma_retransmits),
    TW_F_COUNT(tw_facts_counters, rdma_out_of_sequence),
    TW_F_COUNT(tw_facts_counters, rdma_timeouts),
    TW_F_COUNT(tw_facts_counters, rdma_rnr),
    TW_F_COUNT(tw_facts_counters, rdma_cnp),
    TW_F_COUNT(tw_facts_counters, rdma_errors),
    TW_F_COUNT(tw_facts_counters, tcp_retransmits));

TW_TABLE(tw_facts_module_table,
    TW_F_TRI(tw_facts_module, present),
    TW_F_TEXT(tw_facts_module, kind),
    TW_F_TEXT(tw_facts_module, cable),
    TW_F_TEXT(tw_facts_module, connector),
    TW_F_TEXT(tw_facts_module, vendor),
    TW_F_TEXT(tw_facts_module, part),
    TW_F_TEXT(tw_facts_module, revision),
    TW_F_TEXT(tw_facts_module, serial),
    TW_F_UINT(tw_facts_module, length_m),
    TW_F_REAL(tw_facts_module, temperature_c),
    TW_F_REAL(tw_facts_module, volt),
    TW_F_REALS(tw_facts_module, rx_mw, n_lanes));

TW_TABLE_SHARED(tw_facts_nic_table,
    TW_F_TEXT(tw_facts_nic, name),
    TW_F_TEXT(tw_facts_nic, firmware),
    TW_F_TEXT(tw_facts_nic, driver_version),
    TW_F_TEXT(tw_facts_nic, vendor_id),
    TW_F_TEXT(tw_facts_nic, device_id),
    TW_F_TEXT(tw_facts_nic, subsystem),
    TW_F_TEXT(tw_facts_nic, mac),
    TW_F_TRI(tw_facts_nic, mac_local),
    TW_F_UINT(tw_facts_nic, mtu_min),
    TW_F_UINT(tw_facts_nic, mtu_max),
    TW_F_TEXT(tw_facts_nic, duplex),
    TW_F_TEXT(tw_facts_nic, port),
    TW_F_TRI(tw_facts_nic, autoneg),
    TW_F_TRI(tw_facts_nic, pause_rx),
    TW_F_TRI(tw_facts_nic, pause_tx),
    TW_F_TEXT(tw_facts_nic, fec),
    TW_F_TEXT(tw_facts_nic, fec_asked),
    TW_F_COUNT(tw_facts_nic, ring_rx),
    TW_F_COUNT(tw_facts_nic, ring_tx),
    TW_F_COUNT(tw_facts_nic, ring_rx_max),
    TW_F_COUNT(tw_facts_nic, ring_tx_max),
    TW_F_REAL(tw_facts_nic, pci_max_gts),
    TW_F_TEXT(tw_facts_nic, pci_slot_max),
    TW_F_COUNT(tw_facts_nic, numa_node),
    TW_F_TRI(tw_facts_nic, runtime_pm),
    TW_F_COUNT(tw_facts_nic, rp_filter),
    TW_F_TRI(tw_facts_nic, dad_failed),
    TW_F_TEXT(tw_facts_nic, rdma_mode),
    TW_F_TRI(tw_facts_nic, enable_roce),
    TW_F_TRI(tw_facts_nic, enable_iwarp),
    TW_F_TRI(tw_facts_nic, enable_rdma),
    TW_F_TEXT(tw_facts_nic, devlink_cmode),
    TW_F_TEXT(tw_facts_nic, rdma_provider),
    TW_F_TEXT(tw_facts_nic, rdma_firmware),
    TW_F_TEXTS(tw_facts_nic, gids, n_gids),
    TW_F_UINT(tw_facts_nic, rdma_mtu),
    TW_F_COUNT(tw_facts_nic, uverbs_abi),
    TW_F_OBJECT(tw_facts_nic, module, tw_facts_module_table),
    TW_F_OBJECT(tw_facts_nic, counters, tw_facts_counters_table),
    TW_F_ENUM(tw_facts_nic, owner, owners),
    TW_F_TEXT(tw_facts_nic, owner_renderer),
    TW_F_TEXT(tw_facts_nic, profile),
    TW_F_TEXT(tw_facts_nic, profile_file),
    TW_F_TEXT(tw_facts_nic, method),
    TW_F_COUNT(tw_facts_nic, profile_mtu),
    TW_F_TEXT(tw_facts_nic, zone),
    TW_F_REAL(tw_facts_nic, temperature_c));

TW_TABLE(tw_facts_tb_device_table,
    TW_F_TEXT(tw_facts_tb_device, id),
    TW_F_TRI(tw_facts_tb_device, peer),
    TW_F_TEXT(tw_facts_tb_device, vendor),
    TW_F_TEXT(tw_facts_tb_device, device),
    TW_F_TRI(tw_facts_tb_device, authorized),
    TW_F_UINT(tw_facts_tb_device, generation),
    TW_F_REAL(tw_facts_tb_device, rx_gbit),
    TW_F_REAL(tw_facts_tb_device, tx_gbit),
    TW_F_UINT(tw_facts_tb_device, rx_lanes),
    TW_F_UINT(tw_facts_tb_device, tx_lanes));

TW_TABLE_SHARED(tw_facts_thunderbolt_table,
    TW_F_TRI(tw_facts_thunderbolt, controller),
    TW_F_TRI(tw_facts_thunderbolt, module),
    TW_F_TRI(tw_facts_thunderbolt, net_module),
    TW_F_TRI(tw_facts_thunderbolt, net_available),
    TW_F_TEXT(tw_facts_thunderbolt, security),
    TW_F_LIST(tw_facts_thunderbolt, "devices", devices, n_devices, tw_facts_tb_device_table),
    TW_F_COUNT(tw_facts_thunderbolt, n_peers));

TW_TABLE_SHARED(tw_facts_rdma_table,
    TW_F_TEXT(tw_facts_rdma, version),
    TW_F_TEXT(tw_facts_rdma, library),
    TW_F_TRI(tw_facts_rdma, librdmacm),
    TW_F_TEXTS(tw_facts_rdma, providers, n_providers),
    TW_F_COUNT(tw_facts_rdma, kernel_abi),
    TW_F_TRI(tw_facts_rdma, cm),
    TW_F_TEXT(tw_facts_rdma, netns_mode));

TW_TABLE(tw_facts_route_table,
    TW_F_TEXT(tw_facts_route, to),
    TW_F_TEXT(tw_facts_route, name),
    TW_F_TEXT(tw_facts_route, source),
    TW_F_TEXT(tw_facts_route, gateway),
    TW_F_TEXT(tw_facts_route, neighbour),
    TW_F_UINT(tw_facts_route, mtu));

TW_TABLE(tw_facts_listen_table,
    TW_F_TEXT(tw_facts_listen, ip),
    TW_F_UINT(tw_facts_listen, port));

TW_TABLE_SHARED(tw_facts_routes_table,
    TW_F_TEXT(tw_facts_routes, ssh_interface),
    TW_F_TEXT(tw_facts_routes, ssh_from),
    TW_F_TEXT(tw_facts_routes, default_interface),
    TW_F_LIST(tw_facts_routes, "list", v, n, tw_facts_route_table),
    TW_F_LIST(tw_facts_routes, "listen", listen, n_listen, tw_facts_listen_table));

TW_TABLE_SHARED(tw_facts_firewall_table,
    TW_F_ENUM(tw_facts_firewall, kind, firewalls),
    TW_F_TRI(tw_facts_firewall, active),
    TW_F_TEXT(tw_facts_firewall, default_zone),
    TW_F_TEXTS(tw_facts_firewall, trusted, n_trusted),
    TW_F_TEXTS(tw_facts_firewall, sources, n_sources),
    TW_F_TRI(tw_facts_firewall, rules),
    TW_F_TEXT(tw_facts_firewall, config));
/* clang-format on */
