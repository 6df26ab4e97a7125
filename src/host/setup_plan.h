/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be changed on a node so that it is what the cluster wants: a list of steps, each with
 * why, the exact commands, and how it is undone. What is already so makes no step; what its owner set
 * up otherwise is kept, and said.
 *
 *    {"schema":1,"node":"box2","steps":[...],"notes":["..."],"reboot":true,"login":false}
 *
 * Pure: facts, seen files and wishes in, JSON out. Must not know: how steps are done. */
#ifndef TWINAX_HOST_SETUP_PLAN_H
#define TWINAX_HOST_SETUP_PLAN_H

#include "base/buf.h"
#include "host/setup_step.h"

/* Owns: the caller, json_decref. -ENOMEM. */
TW_MUST_CHECK int tw_setup_plan(const tw_facts *f, const tw_setup_seen *s, const tw_setup_want *w,
                                json_t **ret, tw_err *err);

/* The ids of all steps that there may be, in the order in which they are done; NULL at the end. */
extern const char *const tw_setup_step_ids[];
/* Whether "id,id" has id; NULL has all. */
bool tw_setup_only_has(const char *only, const char *id);

/* As a person reads it: steps with why, commands as a shell takes them, edits as a diff, undo. */
TW_MUST_CHECK int tw_setup_plan_text(const json_t *plan, tw_buf *out, tw_err *err);
/* The words of argv quoted for a shell, spaces between them. */
TW_MUST_CHECK int tw_setup_quote(const json_t *argv, tw_buf *out);

/* ---- the parts, one a subject ---- */

void tw_setup_plan_packages(tw_setup_maker *m);
void tw_setup_plan_kernel(tw_setup_maker *m);
void tw_setup_plan_modules(tw_setup_maker *m);
void tw_setup_plan_roce(tw_setup_maker *m);
void tw_setup_plan_network(tw_setup_maker *m);
void tw_setup_plan_firewall(tw_setup_maker *m);
void tw_setup_plan_memlock(tw_setup_maker *m);
void tw_setup_plan_groups(tw_setup_maker *m);
void tw_setup_plan_ssh(tw_setup_maker *m);

/* What the network parts share: the cable's interface on this node. */
typedef struct tw_setup_cable {
    const char *name;
    const char *ip;
    const tw_net_if *net;    /* NULL: not there yet */
    const tw_facts_nic *nic; /* NULL: nothing more is known */
    uint32_t mtu;            /* that it is to have */
    bool
        dedicated; /* carries neither the default route nor our ssh session, and is the cluster's */
    bool six;      /* IPv6 */
    char cidr[80]; /* "192.168.100.1/30" */
} tw_setup_cable;

/* False: there is no such interface for this cluster (one machine, or unknown). */
bool tw_setup_find_cable(const tw_setup_maker *m, tw_setup_cable *ret);
void tw_setup_plan_nm(tw_setup_maker *m, const tw_setup_cable *c);
void tw_setup_plan_netplan(tw_setup_maker *m, const tw_setup_cable *c);
void tw_setup_plan_networkd(tw_setup_maker *m, const tw_setup_cable *c);
void tw_setup_plan_ifupdown(tw_setup_maker *m, const tw_setup_cable *c);

enum tw_setup_packager { TW_SETUP_APT, TW_SETUP_DNF, TW_SETUP_OSTREE, TW_SETUP_NO_PACKAGER };
enum tw_setup_packager tw_setup_packager_of(const tw_facts *f);
/* Names of all packages that a plan may ask for, NULL at the end. */
const char *const *tw_setup_packages(enum tw_setup_packager p);

#endif
