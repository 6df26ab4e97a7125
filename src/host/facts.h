/* SPDX-License-Identifier: Apache-2.0 */
/* What one host is: everything that doctor judges and setup plans by, as one plain struct without
 * pointers, from sysfs, procfs, ioctl and netlink. As JSON it goes from the agent to the head and
 * into recorded files; one table of fields (facts_table.c) prints and parses it.
 *
 * A fact that cannot be read is unknown (facts_kinds.h), never an error.
 * Must not know: other machines, what is good or bad. Never prints, never logs. */
#ifndef TWINAX_HOST_FACTS_H
#define TWINAX_HOST_FACTS_H

#include "fmt/json.h"
#include "host/facts_host.h"
#include "host/facts_nic.h"

enum { TW_FACTS_SCHEMA = 1, TW_FACTS_PEERS_MAX = 8 };

/* ~200 KiB: never on a stack. */
typedef struct tw_facts {
    uint32_t schema;
    char source[160]; /* "": read on the host itself; else where the record is from */
    tw_facts_os os;
    tw_facts_board board;
    tw_facts_cpu cpu;
    tw_facts_heat heat;
    tw_facts_mem mem;
    size_t n_disks;
    tw_facts_disk disks[TW_FACTS_DISKS_MAX];
    size_t n_gpus;
    tw_facts_gpu gpus[TW_FACTS_GPUS_MAX];
    tw_facts_gpu_limits gpu_limits;
    size_t n_devs;
    tw_facts_dev devs[TW_FACTS_DEVS_MAX];
    tw_facts_user user;
    tw_facts_limits limits;
    tw_net net;
    size_t n_nics; /* cards, Thunderbolt and what was asked for; found by name */
    tw_facts_nic nics[TW_FACTS_NICS_MAX];
    tw_facts_thunderbolt thunderbolt;
    tw_facts_rdma rdma;
    tw_facts_routes routes;
    tw_facts_firewall firewall;
    tw_facts_boot boot;
    tw_facts_ssh ssh;
    tw_facts_time time;
    tw_facts_container container;
    tw_facts_security security;
    size_t n_left;
    tw_facts_left left[TW_FACTS_LEFT_MAX];
    tw_facts_twinax twinax;
    tw_facts_model model;
    tw_facts_session session;
    size_t n_modules; /* of those that matter, in the kernel now: "irdma" */
    char modules[TW_FACTS_MODULES_MAX][24];
    size_t n_tools; /* programs on PATH or in sbin: "nmcli", "grubby" */
    char tools[TW_FACTS_TOOLS_MAX][24];
    size_t n_running; /* services whose state files say so: "NetworkManager" */
    char running[TW_FACTS_TOOLS_MAX][24];
} tw_facts;

/* Everything may be NULL, 0 or false. */
typedef struct tw_facts_opts {
    const char *root;      /* folder with sys/, proc/, etc/ of a recorded machine: no ioctl, no
                                   child; its file "environ" stands for the environment */
    const char *interface; /* read as a nic even if it is no card */
    size_t n_peers;
    const char *peers[TW_FACTS_PEERS_MAX]; /* cluster addresses to look up routes to */
    const char *model_path, *cache_dir;
    bool containers; /* slow: podman's and docker's own JSON, 3 s at most */
    bool ask_sudo;   /* runs `sudo -n true`, which sudo logs */
} tw_facts_opts;

/* Cost: ~0.1 s without containers. Error: -ENOMEM, or a root that is no recorded machine. */
TW_MUST_CHECK int tw_facts_read(const tw_facts_opts *o, tw_facts *ret, tw_err *err);
void tw_facts_heat_read(const char *root, tw_facts_heat *ret);

/* What is unknown is left out. Owns: the caller, json_decref; NULL when out of memory. */
json_t *tw_facts_print(const tw_facts *f);
/* Hostile input is refused or cut; unknown keys are passed over (a newer twinax wrote them). */
TW_MUST_CHECK int tw_facts_parse(const json_t *v, tw_facts *ret, tw_err *err);
/* The same for a part of it, for frames of their own. */
json_t *tw_facts_net_print(const tw_net *n);
TW_MUST_CHECK int tw_facts_net_parse(const json_t *v, tw_net *ret, tw_err *err);
json_t *tw_facts_counters_print(const tw_facts_counters *c);
TW_MUST_CHECK int tw_facts_counters_parse(const json_t *v, tw_facts_counters *ret, tw_err *err);
json_t *tw_facts_heat_print(const tw_facts_heat *h);
TW_MUST_CHECK int tw_facts_heat_parse(const json_t *v, tw_facts_heat *ret, tw_err *err);

/* Removes what names people, machines and places: tw_facts_scrub in host/facts_scrub.h. */

const tw_facts_nic *tw_facts_find_nic(const tw_facts *f, const char *name); /* NULL: none */
bool tw_facts_has_tool(const tw_facts *f, const char *name);
bool tw_facts_has_module(const tw_facts *f, const char *name);
bool tw_facts_is_running(const tw_facts *f, const char *name);
const tw_facts_dev *tw_facts_find_dev(const tw_facts *f, const char *path);
const tw_facts_disk *tw_facts_find_disk(const tw_facts *f, const char *what);
const char *tw_nic_owner_name(enum tw_nic_owner o);         /* "networkmanager" */
const char *tw_firewall_kind_name(enum tw_firewall_kind k); /* "firewalld" */
const char *tw_boot_kind_name(enum tw_boot_kind k);         /* "grubby" */
const char *tw_left_kind_name(enum tw_left_kind k);         /* "process" */

#endif
