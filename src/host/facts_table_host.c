/* SPDX-License-Identifier: Apache-2.0 */
/* Every member of facts_host.h and facts.h, one line each. */
#include "host/facts_table.h"

#include "host/facts.h"

static const char *const boots[] = {"unknown", "none",         "grubby",
                                    "grub",    "systemd-boot", "rpm-ostree"};
_Static_assert(sizeof boots / sizeof boots[0] == TW_BOOTS, "a name each");
static const char *const lefts[] = {"process", "shm", "socket", "file"};
_Static_assert(sizeof lefts / sizeof lefts[0] == TW_LEFTS, "a name each");

const char *tw_boot_kind_name(enum tw_boot_kind k)
{
    return boots[k];
}

const char *tw_left_kind_name(enum tw_left_kind k)
{
    return lefts[k];
}

/* clang-format off */
TW_TABLE(tw_facts_os_table,
    TW_F_TEXT(tw_facts_os, id),
    TW_F_TEXT(tw_facts_os, id_like),
    TW_F_TEXT(tw_facts_os, version_id),
    TW_F_TEXT(tw_facts_os, pretty_name),
    TW_F_TEXT(tw_facts_os, variant),
    TW_F_TRI(tw_facts_os, is_ostree),
    TW_F_TEXT(tw_facts_os, kernel),
    TW_F_TEXT(tw_facts_os, machine),
    TW_F_TEXT(tw_facts_os, cmdline),
    TW_F_TEXT(tw_facts_os, virtual_machine),
    TW_F_TEXT(tw_facts_os, inside_container),
    TW_F_TRI(tw_facts_os, laptop),
    TW_F_TRI(tw_facts_os, systemd),
    TW_F_TRI(tw_facts_os, efi),
    TW_F_TRI(tw_facts_os, secure_boot),
    TW_F_TEXT(tw_facts_os, lockdown),
    TW_F_UINT(tw_facts_os, uptime_s),
    TW_F_TEXT(tw_facts_os, boot_id));

TW_TABLE(tw_facts_board_table,
    TW_F_TEXT(tw_facts_board, vendor),
    TW_F_TEXT(tw_facts_board, product),
    TW_F_TEXT(tw_facts_board, board),
    TW_F_TEXT(tw_facts_board, bios_vendor),
    TW_F_TEXT(tw_facts_board, bios_version),
    TW_F_TEXT(tw_facts_board, bios_date));

TW_TABLE(tw_facts_cpu_table,
    TW_F_TEXT(tw_facts_cpu, name),
    TW_F_UINT(tw_facts_cpu, n_cpus),
    TW_F_UINT(tw_facts_cpu, n_cores),
    TW_F_UINT(tw_facts_cpu, n_usable),
    TW_F_TEXT(tw_facts_cpu, governor),
    TW_F_TEXT(tw_facts_cpu, preference),
    TW_F_TEXT(tw_facts_cpu, scaling_driver),
    TW_F_UINT(tw_facts_cpu, level),
    TW_F_TRI(tw_facts_cpu, avx512),
    TW_F_TRI(tw_facts_cpu, avx512_vnni),
    TW_F_TRI(tw_facts_cpu, avx512_bf16),
    TW_F_UINT(tw_facts_cpu, max_mhz));

TW_TABLE(tw_facts_sensor_table,
    TW_F_TEXT(tw_facts_sensor, chip),
    TW_F_TEXT(tw_facts_sensor, label),
    TW_F_REAL(tw_facts_sensor, celsius));

TW_TABLE_SHARED(tw_facts_heat_table,
    TW_F_UINT(tw_facts_heat, at_ns),
    TW_F_REAL(tw_facts_heat, cpu_c),
    TW_F_REAL(tw_facts_heat, gpu_c),
    TW_F_REAL(tw_facts_heat, nic_c),
    TW_F_COUNT(tw_facts_heat, package_uj),
    TW_F_COUNT(tw_facts_heat, gpu_uw),
    TW_F_COUNT(tw_facts_heat, gpu_busy_percent),
    TW_F_LIST(tw_facts_heat, "sensors", sensors, n_sensors, tw_facts_sensor_table));

TW_TABLE(tw_facts_mem_table,
    TW_F_UINT(tw_facts_mem, total_bytes),
    TW_F_UINT(tw_facts_mem, available_bytes),
    TW_F_UINT(tw_facts_mem, installed_bytes),
    TW_F_COUNT(tw_facts_mem, swap_total_bytes),
    TW_F_COUNT(tw_facts_mem, swap_free_bytes),
    TW_F_COUNT(tw_facts_mem, huge_total),
    TW_F_COUNT(tw_facts_mem, huge_free),
    TW_F_COUNT(tw_facts_mem, huge_page_bytes),
    TW_F_TEXT(tw_facts_mem, thp),
    TW_F_TEXT(tw_facts_mem, iommu),
    TW_F_TEXT(tw_facts_mem, aspm));

TW_TABLE(tw_facts_disk_table,
    TW_F_TEXT(tw_facts_disk, what),
    TW_F_TEXT(tw_facts_disk, path),
    TW_F_TEXT(tw_facts_disk, filesystem),
    TW_F_COUNT(tw_facts_disk, free_bytes),
    TW_F_UINT(tw_facts_disk, total_bytes));

TW_TABLE(tw_facts_gpu_table,
    TW_F_TEXT(tw_facts_gpu, pci),
    TW_F_TEXT(tw_facts_gpu, driver),
    TW_F_TEXT(tw_facts_gpu, vendor_id),
    TW_F_TEXT(tw_facts_gpu, device_id),
    TW_F_TEXT(tw_facts_gpu, gfx),
    TW_F_COUNT(tw_facts_gpu, vram_bytes),
    TW_F_COUNT(tw_facts_gpu, vram_used_bytes),
    TW_F_COUNT(tw_facts_gpu, gtt_bytes),
    TW_F_COUNT(tw_facts_gpu, gtt_used_bytes),
    TW_F_TEXT(tw_facts_gpu, render),
    TW_F_TEXT(tw_facts_gpu, performance_level),
    TW_F_TEXT(tw_facts_gpu, vbios));

TW_TABLE(tw_facts_gpu_limits_table,
    TW_F_TRI(tw_facts_gpu_limits, amdgpu),
    TW_F_COUNT(tw_facts_gpu_limits, ttm_pages_limit),
    TW_F_COUNT(tw_facts_gpu_limits, ttm_page_pool_size),
    TW_F_COUNT(tw_facts_gpu_limits, amdgpu_gttsize_mb),
    TW_F_TRI(tw_facts_gpu_limits, amdgpu_gttsize_auto));

TW_TABLE(tw_facts_dev_table,
    TW_F_TEXT(tw_facts_dev, path),
    TW_F_TEXT(tw_facts_dev, group),
    TW_F_UINT(tw_facts_dev, mode),
    TW_F_TRI(tw_facts_dev, usable));

TW_TABLE(tw_facts_user_table,
    TW_F_TEXT(tw_facts_user, name),
    TW_F_TEXT(tw_facts_user, home),
    TW_F_COUNT(tw_facts_user, uid),
    TW_F_TEXTS(tw_facts_user, groups, n_groups),
    TW_F_TEXTS(tw_facts_user, file_groups, n_file_groups),
    TW_F_TEXTS(tw_facts_user, system_groups, n_system_groups),
    TW_F_TRI(tw_facts_user, sudo),
    TW_F_TRI(tw_facts_user, sudo_passwordless),
    TW_F_TRI(tw_facts_user, sudo_group));

TW_TABLE(tw_facts_limits_table,
    TW_F_LIMIT(tw_facts_limits, memlock_soft),
    TW_F_LIMIT(tw_facts_limits, memlock_hard),
    TW_F_LIMIT(tw_facts_limits, memlock_child),
    TW_F_TRI(tw_facts_limits, memlock_cap),
    TW_F_LIMIT(tw_facts_limits, memlock_user_manager),
    TW_F_TEXT(tw_facts_limits, memlock_rule),
    TW_F_LIMIT(tw_facts_limits, nofile_soft),
    TW_F_LIMIT(tw_facts_limits, nofile_hard));

TW_TABLE(tw_facts_boot_table,
    TW_F_ENUM(tw_facts_boot, kind, boots),
    TW_F_TEXT(tw_facts_boot, config),
    TW_F_TEXT(tw_facts_boot, persistent),
    TW_F_TEXT(tw_facts_boot, persistent_default),
    TW_F_TEXT(tw_facts_boot, grub_cfg),
    TW_F_TRI(tw_facts_boot, bls),
    TW_F_TEXT(tw_facts_boot, next),
    TW_F_TRI(tw_facts_boot, reboot_pending),
    TW_F_TEXT(tw_facts_boot, newest_kernel));

TW_TABLE(tw_facts_key_table,
    TW_F_TEXT(tw_facts_key, path),
    TW_F_TEXT(tw_facts_key, type),
    TW_F_TRI(tw_facts_key, encrypted),
    TW_F_TRI(tw_facts_key, has_public));

TW_TABLE(tw_facts_ssh_table,
    TW_F_TRI(tw_facts_ssh, server),
    TW_F_UINT(tw_facts_ssh, port),
    TW_F_TRI(tw_facts_ssh, client),
    TW_F_COUNT(tw_facts_ssh, agent_keys),
    TW_F_TRI(tw_facts_ssh, agent_only),
    TW_F_COUNT(tw_facts_ssh, n_authorized),
    TW_F_COUNT(tw_facts_ssh, n_known_hosts),
    TW_F_LIST(tw_facts_ssh, "keys", keys, n_keys, tw_facts_key_table));

TW_TABLE(tw_facts_time_table,
    TW_F_UINT(tw_facts_time, real_ns),
    TW_F_TRI(tw_facts_time, synchronised),
    TW_F_COUNT(tw_facts_time, max_error_us),
    TW_F_TEXT(tw_facts_time, service));

TW_TABLE(tw_facts_image_table,
    TW_F_TEXT(tw_facts_image, name),
    TW_F_TEXT(tw_facts_image, digest),
    TW_F_TEXT(tw_facts_image, created),
    TW_F_TEXT(tw_facts_image, id),
    TW_F_TEXT(tw_facts_image, ray),
    TW_F_TEXT(tw_facts_image, vllm),
    TW_F_TEXT(tw_facts_image, rocm));

TW_TABLE(tw_facts_box_table,
    TW_F_TEXT(tw_facts_box, name),
    TW_F_TEXT(tw_facts_box, image),
    TW_F_TEXT(tw_facts_box, image_digest),
    TW_F_TEXT(tw_facts_box, state),
    TW_F_TEXT(tw_facts_box, made_by),
    TW_F_TEXT(tw_facts_box, ray),
    TW_F_TEXT(tw_facts_box, vllm),
    TW_F_TEXT(tw_facts_box, rocm));

TW_TABLE(tw_facts_container_table,
    TW_F_TRI(tw_facts_container, asked),
    TW_F_TEXT(tw_facts_container, podman),
    TW_F_TEXT(tw_facts_container, docker),
    TW_F_TEXT(tw_facts_container, toolbox),
    TW_F_TEXT(tw_facts_container, distrobox),
    TW_F_TRI(tw_facts_container, rootless_ready),
    TW_F_TRI(tw_facts_container, docker_usable),
    TW_F_LIST(tw_facts_container, "images", images, n_images, tw_facts_image_table),
    TW_F_LIST(tw_facts_container, "boxes", boxes, n_boxes, tw_facts_box_table));

TW_TABLE(tw_facts_security_table,
    TW_F_TEXT(tw_facts_security, selinux),
    TW_F_TRI(tw_facts_security, apparmor),
    TW_F_TEXTS(tw_facts_security, denials, n_denials));

TW_TABLE(tw_facts_left_table,
    TW_F_ENUM(tw_facts_left, kind, lefts),
    TW_F_TEXT(tw_facts_left, of),
    TW_F_TEXT(tw_facts_left, what),
    TW_F_UINT(tw_facts_left, pid),
    TW_F_UINT(tw_facts_left, uid),
    TW_F_UINT(tw_facts_left, bytes),
    TW_F_UINT(tw_facts_left, age_s));

TW_TABLE(tw_facts_twinax_table,
    TW_F_TEXT(tw_facts_twinax, version),
    TW_F_TEXT(tw_facts_twinax, build),
    TW_F_TEXT(tw_facts_twinax, path),
    TW_F_COUNT(tw_facts_twinax, protocol),
    TW_F_COUNT(tw_facts_twinax, arithmetic),
    TW_F_TEXTS(tw_facts_twinax, ours, n_ours));

TW_TABLE(tw_facts_model_table,
    TW_F_TEXT(tw_facts_model, path),
    TW_F_TEXT(tw_facts_model, id),
    TW_F_TEXT(tw_facts_model, content),
    TW_F_UINT(tw_facts_model, bytes));

TW_TABLE(tw_facts_session_table,
    TW_F_TRI(tw_facts_session, linger),
    TW_F_TRI(tw_facts_session, user_manager),
    TW_F_TRI(tw_facts_session, runtime_dir),
    TW_F_TRI(tw_facts_session, inhibitors),
    TW_F_TRI(tw_facts_session, can_suspend),
    TW_F_TRI(tw_facts_session, on_battery));

TW_TABLE_SHARED(tw_facts_table,
    TW_F_UINT(tw_facts, schema),
    TW_F_TEXT(tw_facts, source),
    TW_F_OBJECT(tw_facts, os, tw_facts_os_table),
    TW_F_OBJECT(tw_facts, board, tw_facts_board_table),
    TW_F_OBJECT(tw_facts, cpu, tw_facts_cpu_table),
    TW_F_OBJECT(tw_facts, heat, tw_facts_heat_table),
    TW_F_OBJECT(tw_facts, mem, tw_facts_mem_table),
    TW_F_LIST(tw_facts, "disks", disks, n_disks, tw_facts_disk_table),
    TW_F_LIST(tw_facts, "gpus", gpus, n_gpus, tw_facts_gpu_table),
    TW_F_OBJECT(tw_facts, gpu_limits, tw_facts_gpu_limits_table),
    TW_F_LIST(tw_facts, "devs", devs, n_devs, tw_facts_dev_table),
    TW_F_OBJECT(tw_facts, user, tw_facts_user_table),
    TW_F_OBJECT(tw_facts, limits, tw_facts_limits_table),
    TW_F_OBJECT(tw_facts, net, tw_facts_net_table),
    TW_F_LIST(tw_facts, "nics", nics, n_nics, tw_facts_nic_table),
    TW_F_OBJECT(tw_facts, thunderbolt, tw_facts_thunderbolt_table),
    TW_F_OBJECT(tw_facts, rdma, tw_facts_rdma_table),
    TW_F_OBJECT(tw_facts, routes, tw_facts_routes_table),
    TW_F_OBJECT(tw_facts, firewall, tw_facts_firewall_table),
    TW_F_OBJECT(tw_facts, boot, tw_facts_boot_table),
    TW_F_OBJECT(tw_facts, ssh, tw_facts_ssh_table),
    TW_F_OBJECT(tw_facts, time, tw_facts_time_table),
    TW_F_OBJECT(tw_facts, container, tw_facts_container_table),
    TW_F_OBJECT(tw_facts, security, tw_facts_security_table),
    TW_F_LIST(tw_facts, "left", left, n_left, tw_facts_left_table),
    TW_F_OBJECT(tw_facts, twinax, tw_facts_twinax_table),
    TW_F_OBJECT(tw_facts, model, tw_facts_model_table),
    TW_F_OBJECT(tw_facts, session, tw_facts_session_table),
    TW_F_TEXTS(tw_facts, modules, n_modules),
    TW_F_TEXTS(tw_facts, tools, n_tools),
    TW_F_TEXTS(tw_facts, running, n_running));
/* clang-format on */
