/* SPDX-License-Identifier: Apache-2.0 */
/* Every check's function, by file. */
#ifndef TWINAX_HOST_CHECK_LIST_H
#define TWINAX_HOST_CHECK_LIST_H

#include <stdio.h>

#include "host/check_inside.h"

#define CHECK(name) enum tw_check_status tw_check_##name(tw_check_ctx *c)

CHECK(node_reached);
CHECK(os_known);
CHECK(kernel_version);
CHECK(kernel_reboot);
CHECK(kernel_iommu);
CHECK(kernel_pci);
CHECK(kernel_aspm);
CHECK(kernel_gtt);
CHECK(memory_carveout);
CHECK(memory_gtt);
CHECK(memory_free);
CHECK(memory_hugepages);
CHECK(memory_memlock);
CHECK(limits_nofile);
CHECK(disk_root);
CHECK(disk_models);
CHECK(cpu_level);
CHECK(cpu_governor);
CHECK(gpu_present);
CHECK(gpu_kfd);
CHECK(gpu_dri);
CHECK(gpu_used);
CHECK(nic_present);
CHECK(nic_link);
CHECK(nic_firmware);
CHECK(nic_pcie);
CHECK(nic_mtu);
CHECK(nic_owner);
CHECK(nic_mac);
CHECK(nic_power);
CHECK(nic_heat);
CHECK(rdma_device);
CHECK(rdma_mode);
CHECK(rdma_port);
CHECK(rdma_gid);
CHECK(rdma_mtu);
CHECK(rdma_uverbs);
CHECK(rdma_library);
CHECK(rdma_match);
CHECK(thunderbolt_module);
CHECK(thunderbolt_authorised);
CHECK(thunderbolt_rate);
CHECK(thunderbolt_cables);
CHECK(thunderbolt_mtu);
CHECK(net_address);
CHECK(net_overlap);
CHECK(net_route);
CHECK(net_shared);
CHECK(net_firewall);
CHECK(cable_module);
CHECK(cable_counters);
CHECK(cable_aer);
CHECK(ssh_server);
CHECK(ssh_keys);
CHECK(ssh_back);
CHECK(time_clock);
CHECK(time_sync);
CHECK(container_runtime);
CHECK(container_image);
CHECK(host_leftovers);
CHECK(host_linger);
CHECK(host_sleep);
CHECK(host_denials);
CHECK(host_sudo);
CHECK(same_twinax);
CHECK(model_here);
CHECK(same_model);
CHECK(same_container);
CHECK(same_kernel);
CHECK(net_subnet);
CHECK(pair_mtu);
CHECK(pair_speed);
CHECK(cable_fec);
CHECK(net_ports);
CHECK(net_path_mtu);
CHECK(cable_load);
CHECK(net_duplicate);

#endif
