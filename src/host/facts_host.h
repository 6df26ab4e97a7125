/* SPDX-License-Identifier: Apache-2.0 */
/* Part of host/facts: the host but for its network. */
#ifndef TWINAX_HOST_FACTS_HOST_H
#define TWINAX_HOST_FACTS_HOST_H

#include <stddef.h>

#include "host/facts_kinds.h"

enum {
    TW_FACTS_GPUS_MAX = 8,
    TW_FACTS_DEVS_MAX = 24,
    TW_FACTS_GROUPS_MAX = 32,
    TW_FACTS_DISKS_MAX = 6,
    TW_FACTS_KEYS_MAX = 8,
    TW_FACTS_IMAGES_MAX = 8,
    TW_FACTS_LEFT_MAX = 32,
    TW_FACTS_TOOLS_MAX = 64,
    TW_FACTS_MODULES_MAX = 40,
    TW_FACTS_OURS_MAX = 16,
    TW_FACTS_DENIALS_MAX = 8,
    TW_FACTS_HEAT_MAX = 12
};

typedef struct tw_facts_os {
    char id[24], id_like[48], version_id[16], pretty_name[80], variant[32];
    tw_tri is_ostree; /* Silverblue and its kin: packages by rpm-ostree */
    char kernel[80], machine[16];
    char cmdline[2048];        /* of the running kernel */
    char virtual_machine[24];  /* "kvm", "vmware"; "" none known */
    char inside_container[24]; /* "podman", "docker", "toolbox"; "" we run on the host */
    tw_tri laptop, systemd, efi, secure_boot;
    char lockdown[24]; /* "none", "integrity", "confidentiality" */
    uint64_t uptime_s;
    char boot_id[40];
} tw_facts_os;

typedef struct tw_facts_board {
    char vendor[64], product[64], board[64], bios_vendor[48], bios_version[48], bios_date[16];
} tw_facts_board;

typedef struct tw_facts_cpu {
    char name[64];
    uint32_t n_cpus, n_cores;
    uint32_t n_usable;   /* that this process may run on */
    char governor[24];   /* "performance"; "mixed" when they differ */
    char preference[32]; /* energy_performance_preference */
    char scaling_driver[24];
    uint32_t level; /* x86-64-vN: 2, 3, 4 */
    tw_tri avx512, avx512_vnni, avx512_bf16;
    uint32_t max_mhz;
} tw_facts_cpu;

typedef struct tw_facts_mem {
    uint64_t total_bytes; /* what the kernel has */
    uint64_t available_bytes;
    uint64_t installed_bytes; /* what the firmware says is plugged in or soldered; 0: unknown */
    tw_count swap_total_bytes, swap_free_bytes;
    tw_count huge_total, huge_free, huge_page_bytes;
    char thp[12];   /* transparent huge pages: "always", "madvise", "never" */
    char iommu[24]; /* in force: "off", "passthrough", "translated"; "" unknown */
    char aspm[24];  /* pcie_aspm policy in force, "off" when switched off */
} tw_facts_mem;

typedef struct tw_facts_disk {
    char what[16]; /* "root", "home", "models", "containers", "tmp" */
    char path[160], filesystem[16];
    tw_count free_bytes; /* for this user */
    uint64_t total_bytes;
} tw_facts_disk;

typedef struct tw_facts_gpu {
    char pci[16], driver[24], vendor_id[8], device_id[8];
    char gfx[16]; /* "gfx1151", by kfd; "" no compute node */
    tw_count vram_bytes, vram_used_bytes, gtt_bytes, gtt_used_bytes;
    char render[32];            /* "/dev/dri/renderD128" */
    char performance_level[16]; /* power_dpm_force_performance_level */
    char vbios[32];
} tw_facts_gpu;

/* ttm's and amdgpu's limits in force */
typedef struct tw_facts_gpu_limits {
    tw_tri amdgpu; /* the module is loaded */
    tw_count ttm_pages_limit, ttm_page_pool_size;
    tw_count amdgpu_gttsize_mb; /* as asked for; known only where the kernel still has it */
    tw_tri amdgpu_gttsize_auto; /* -1: the kernel's own choice */
} tw_facts_gpu_limits;

typedef struct tw_facts_dev {
    char path[48]; /* "/dev/kfd" */
    char group[32];
    uint32_t mode; /* permission bits */
    tw_tri usable; /* this process can open it for reading and writing */
} tw_facts_dev;

typedef struct tw_facts_user {
    char name[64], home[160];
    tw_count uid;
    size_t n_groups;
    char groups[TW_FACTS_GROUPS_MAX][32]; /* of this process */
    size_t n_file_groups;
    char file_groups[TW_FACTS_GROUPS_MAX][32]; /* of the user, as a new login will have them */
    size_t n_system_groups;
    char system_groups[TW_FACTS_GROUPS_MAX][32]; /* that exist, of those that matter: render, ... */
    tw_tri sudo;                                 /* sudo is there */
    tw_tri sudo_passwordless;                    /* only with opts.ask_sudo */
    tw_tri sudo_group;                           /* in sudo, wheel or admin */
} tw_facts_user;

typedef struct tw_facts_limits {
    tw_count memlock_soft, memlock_hard; /* bytes, TW_BYTES_UNLIMITED; of this process */
    tw_count memlock_child; /* what a child was let lock; ours are children of an ssh session */
    tw_tri memlock_cap;     /* CAP_IPC_LOCK: limits do not count */
    tw_count memlock_user_manager; /* of the user's systemd: units of `up --install` */
    char memlock_rule[96];         /* line of limits.conf or limits.d that speaks of memlock */
    tw_count nofile_soft, nofile_hard;
} tw_facts_limits;

enum tw_boot_kind {
    TW_BOOT_UNKNOWN,
    TW_BOOT_NONE, /* the kernel comes from elsewhere: a container, a VM with -kernel */
    TW_BOOT_GRUBBY,
    TW_BOOT_GRUB,
    TW_BOOT_SYSTEMD,
    TW_BOOT_RPM_OSTREE,
    TW_BOOTS
};

typedef struct tw_facts_boot {
    enum tw_boot_kind kind;
    char config[96];               /* file whose line is persistent: "/etc/default/grub" */
    char persistent[1024];         /* GRUB_CMDLINE_LINUX, or the file's line */
    char persistent_default[1024]; /* GRUB_CMDLINE_LINUX_DEFAULT */
    char grub_cfg[64];             /* "/boot/grub2/grub.cfg" */
    tw_tri bls;                    /* entries under /boot/loader/entries */
    char next[2048];               /* what the next boot will have, when an entry says so */
    tw_tri reboot_pending;         /* next differs from the running one, or packages ask for it */
    char newest_kernel[80];        /* installed; "" unknown */
} tw_facts_boot;

typedef struct tw_facts_key {
    char path[160], type[24]; /* "~/.ssh/id_ed25519", "ssh-ed25519" */
    tw_tri encrypted, has_public;
} tw_facts_key;

typedef struct tw_facts_ssh {
    tw_tri server; /* somebody listens on a port of sshd */
    uint16_t port;
    tw_tri client;       /* the ssh program is there */
    tw_count agent_keys; /* keys that only an ssh-agent holds for us */
    tw_tri agent_only;   /* there are such keys and no usable file */
    tw_count n_authorized, n_known_hosts;
    size_t n_keys;
    tw_facts_key keys[TW_FACTS_KEYS_MAX];
} tw_facts_ssh;

typedef struct tw_facts_time {
    uint64_t real_ns; /* CLOCK_REALTIME at the reading */
    tw_tri synchronised;
    tw_count max_error_us;
    char service[24]; /* "chronyd", "systemd-timesyncd"; "" none runs */
} tw_facts_time;

typedef struct tw_facts_image {
    char name[160], digest[80], created[40];
    char id[72];                      /* podman's; an image may have many names */
    char ray[24], vllm[24], rocm[24]; /* versions, when an image's labels or files tell */
} tw_facts_image;

typedef struct tw_facts_box {
    char name[64], image[160], image_digest[80], state[16]; /* "running" */
    char made_by[16];                                       /* "toolbox", "distrobox", "" */
    char ray[24], vllm[24], rocm[24];
} tw_facts_box;

typedef struct tw_facts_container {
    tw_tri asked;                                            /* the slow part was read */
    char podman[24], docker[24], toolbox[24], distrobox[24]; /* versions; "?" there, unknown */
    tw_tri rootless_ready;                                   /* subuid and subgid of the user */
    tw_tri docker_usable;                                    /* its socket opens */
    size_t n_images;
    tw_facts_image images[TW_FACTS_IMAGES_MAX];
    size_t n_boxes;
    tw_facts_box boxes[TW_FACTS_IMAGES_MAX];
} tw_facts_container;

typedef struct tw_facts_security {
    char selinux[16]; /* "enforcing", "permissive", "disabled"; "" not there */
    tw_tri apparmor;
    size_t n_denials;
    char denials[TW_FACTS_DENIALS_MAX][192]; /* recent ones of our programs, newest last */
} tw_facts_security;

enum tw_left_kind { TW_LEFT_PROCESS, TW_LEFT_SHM, TW_LEFT_SOCKET, TW_LEFT_FILE, TW_LEFTS };

typedef struct tw_facts_left {
    enum tw_left_kind kind;
    char of[16];    /* "twinax", "ray", "vllm" */
    char what[120]; /* command line, path */
    uint32_t pid, uid;
    uint64_t bytes, age_s;
} tw_facts_left;

typedef struct tw_facts_twinax {
    char version[24], build[48], path[192];
    tw_count protocol, arithmetic;
    size_t n_ours;
    char ours[TW_FACTS_OURS_MAX][128]; /* files that setup made on this host */
} tw_facts_twinax;

typedef struct tw_facts_model { /* filled by who knows models; path and bytes by us */
    char path[256], id[72];
    char content[72]; /* of the weights' bytes; "": not hashed, or changed since */
    uint64_t bytes;
} tw_facts_model;

typedef struct tw_facts_session {
    tw_tri linger, user_manager, runtime_dir;
    tw_tri inhibitors; /* logind is there to take a sleep inhibitor */
    tw_tri can_suspend, on_battery;
} tw_facts_session;

typedef struct tw_facts_sensor {
    char chip[24], label[24];
    double celsius;
} tw_facts_sensor;

typedef struct tw_facts_heat {  /* a quick reading: tw_facts_heat_read */
    uint64_t at_ns;             /* CLOCK_MONOTONIC */
    double cpu_c, gpu_c, nic_c; /* 0: unknown */
    tw_count package_uj;        /* counter of the whole package */
    tw_count gpu_uw;            /* now */
    tw_count gpu_busy_percent;
    size_t n_sensors;
    tw_facts_sensor sensors[TW_FACTS_HEAT_MAX];
} tw_facts_heat;

#endif
