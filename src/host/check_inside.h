/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of checks: how a check says what it found, and mends by distribution. */
#ifndef TWINAX_HOST_CHECK_INSIDE_H
#define TWINAX_HOST_CHECK_INSIDE_H

#include "host/check.h"

#define TW_GIB ((double)(UINT64_C(1) << 30))

/* Each replaces what was said before; cut when too long. */
void tw_check_found(tw_check_ctx *c, const char *fmt, ...) TW_PRINTF(2, 3);
void tw_check_wanted(tw_check_ctx *c, const char *fmt, ...) TW_PRINTF(2, 3);
void tw_check_mend(tw_check_ctx *c, const char *fmt, ...) TW_PRINTF(2, 3);
/* found and NA: there is nothing to judge. */
enum tw_check_status tw_check_na(tw_check_ctx *c, const char *why);

/* Setup's steps. */
#define TW_STEP_PACKAGES "packages"
#define TW_STEP_NETWORK  "network"
#define TW_STEP_FIREWALL "firewall"
#define TW_STEP_KERNEL   "kernel"
#define TW_STEP_MEMLOCK  "memlock"
#define TW_STEP_GROUPS   "groups"
#define TW_STEP_SSH      "ssh-trust"
#define TW_STEP_MODULES  "modules"
#define TW_STEP_ROCE     "roce-mode"

/* text as one word of a shell, into out: quoted where it must be. */
const char *tw_check_quote(const char *text, char *out, size_t out_bytes);

enum tw_check_family {
    TW_FAMILY_OTHER,
    TW_FAMILY_FEDORA,
    TW_FAMILY_DEBIAN,
    TW_FAMILY_ARCH,
    TW_FAMILY_SUSE
};
enum tw_check_family tw_check_family_of(const tw_facts *f);
bool tw_check_id_is(const tw_facts *f, const char *id); /* or like it */

/* mend = how packages are installed there. */
void tw_mend_packages(tw_check_ctx *c, const char *fedora, const char *debian);
void tw_mend_kernel(tw_check_ctx *c, const tw_kernel_param *v, size_t n);
void tw_mend_mtu(tw_check_ctx *c, unsigned mtu);
void tw_mend_address(tw_check_ctx *c);
/* It carries ssh or the default route: nobody gives it another address. */
bool tw_check_is_shared(const tw_check_ctx *c, const tw_net_if *f);
void tw_mend_firewall(tw_check_ctx *c);
void tw_mend_group(tw_check_ctx *c, const char *group);

/* The same as seen from another node: its mends are its own. */
tw_check_ctx tw_check_at(const tw_check_ctx *c, size_t node);
/* "on NAME: " before the mend. */
void tw_check_mend_is_at(tw_check_ctx *c, size_t node);

/* 6.16.9 of "6.16.9-200.fc43.x86_64"; missing parts are 0. */
typedef struct tw_check_version {
    unsigned v[3];
} tw_check_version;
tw_check_version tw_check_version_parse(const char *text);
bool tw_check_version_below(tw_check_version a, unsigned major, unsigned minor, unsigned patch);

bool tw_check_is_e810(const tw_check_use *u);
bool tw_check_is_software_rdma(const tw_check_use *u); /* rxe, siw */
bool tw_check_is_infiniband(const tw_check_use *u);
unsigned tw_check_wanted_mtu(const tw_check_use *u);
/* The cluster address as given, else as found on the interface; "" none. */
const char *tw_check_ip(const tw_check_world *w, const tw_check_use *u, size_t i);
const char *tw_check_if_name(const tw_check_ctx *c); /* quoted; of the node, "IFACE" when unknown */

/* What this node's kernel parameters are asked for; false: none are. */
bool tw_check_kernel_ask(const tw_check_ctx *c, tw_kernel_ask *ret);
/* For a record that knows of no proof. */
const tw_proof_way *tw_check_way(const tw_check_ctx *c, size_t from, size_t to); /* NULL: none */

#endif
