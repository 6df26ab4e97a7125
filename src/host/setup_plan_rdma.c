/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel modules that must be there at boot, a card's RoCE mode, RoCE without a card. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/check.h"
#include "host/setup_plan.h"

static bool is_so(const tw_setup_maker *m, const char *path, const char *text)
{
    const char *now = tw_setup_seen_file(m->s, path, NULL);
    return now != NULL && strcmp(now, text) == 0;
}

void tw_setup_plan_modules(tw_setup_maker *m)
{
    static const char path[] = "/etc/modules-load.d/twinax.conf";
    static const char text[] = "# Made by `twinax setup`; `twinax setup --undo` removes it.\n"
                               "thunderbolt_net\n";
    const tw_facts_thunderbolt *t = &m->f->thunderbolt;
    if (m->w->link != TW_SETUP_LINK_THUNDERBOLT || t->net_module == TW_YES)
        return;
    if (t->net_available == TW_NO) {
        tw_setup_note(m, "this kernel has no thunderbolt_net: the Thunderbolt cable cannot carry "
                         "a network");
        return;
    }
    tw_setup_begin(m, "modules", TW_SETUP_ROOT, "network over Thunderbolt",
                   "thunderbolt_net makes the interface thunderbolt0 of the cable; it is not "
                   "loaded.");
    if (!is_so(m, path, text))
        tw_setup_file(m, path, 0644, text, NULL);
    tw_setup_cmd(m, "modprobe", "thunderbolt_net", NULL);
    tw_setup_undo(m, "modprobe", "-r", "thunderbolt_net", NULL);
}

/* ---- a unit that runs commands at each boot ---- */

static void plan_unit(tw_setup_maker *m, const char *name, const char *text)
{
    char path[96];
    snprintf(path, sizeof path, "/etc/systemd/system/%s", name);
    tw_setup_file(m, path, 0644, text, NULL);
    tw_setup_cmd(m, "systemctl", "daemon-reload", NULL);
    tw_setup_cmd(m, "systemctl", "enable", name, NULL);
    tw_setup_cmd(m, "systemctl", "start", name, NULL);
    tw_setup_undo(m, "systemctl", "disable", "--now", name, NULL);
    tw_setup_settle(m, "systemctl", "daemon-reload", NULL);
}

static void plan_mode(tw_setup_maker *m, const tw_setup_cable *c)
{
    static const char path[] = "/etc/systemd/system/twinax-roce.service";
    char text[900];
    snprintf(text, sizeof text,
             "# Made by `twinax setup`; `twinax setup --undo` removes it.\n"
             "[Unit]\n"
             "Description=RoCE mode of %s\n"
             "After=systemd-modules-load.service\n"
             "Before=network-pre.target\n\n"
             "[Service]\n"
             "Type=oneshot\n"
             "RemainAfterExit=yes\n"
             "ExecStart=devlink dev param set pci/%s name enable_iwarp value false cmode runtime\n"
             "ExecStart=devlink dev param set pci/%s name enable_roce value true cmode runtime\n"
             "ExecStop=devlink dev param set pci/%s name enable_roce value false cmode runtime\n"
             "ExecStop=devlink dev param set pci/%s name enable_iwarp value true cmode runtime\n\n"
             "[Install]\n"
             "WantedBy=multi-user.target\n",
             c->name, c->net->pci, c->net->pci, c->net->pci, c->net->pci);
    if (is_so(m, path, text))
        return;
    tw_setup_begin(m, "roce-mode", TW_SETUP_ROOT, "the card's RDMA mode",
                   "%s is in iWARP mode; RoCE v2 is what twinax, RCCL and the other node speak. "
                   "The card forgets it at each boot, so a unit says it again.",
                   c->name);
    plan_unit(m, "twinax-roce.service", text);
}

/* As systemd writes a name in a unit's: '-' stands for '/' there. */
static void escape_unit(const char *name, char out[80])
{
    size_t n = 0;
    for (const char *c = name; *c != '\0' && n + 5 < 80; c++) {
        const bool plain =
            isalnum((unsigned char)*c) || *c == ':' || *c == '_' || (*c == '.' && c > name);
        n += (size_t)snprintf(out + n, 80 - n, plain ? "%c" : "\\x%02x", (unsigned char)*c);
    }
    out[n] = '\0';
}

/* RDMA over an ordinary interface: slow, but the same verbs. */
static void plan_soft(tw_setup_maker *m, const tw_setup_cable *c)
{
    static const char path[] = "/etc/systemd/system/twinax-rxe.service";
    char text[900], unit[80];
    escape_unit(c->name, unit);
    if (c->net != NULL && c->net->rdma[0] != '\0' && !tw_facts_has_module(m->f, "rdma_rxe"))
        return;
    snprintf(text, sizeof text,
             "# Made by `twinax setup`; `twinax setup --undo` removes it.\n"
             "[Unit]\n"
             "Description=Soft-RoCE on %s\n"
             "BindsTo=sys-subsystem-net-devices-%s.device\n"
             "After=sys-subsystem-net-devices-%s.device network.target\n\n"
             "[Service]\n"
             "Type=oneshot\n"
             "RemainAfterExit=yes\n"
             "ExecStart=modprobe rdma_rxe\n"
             "ExecStart=rdma link add rxe_%s type rxe netdev %s\n"
             "ExecStop=-rdma link delete rxe_%s\n\n"
             "[Install]\n"
             "WantedBy=multi-user.target\n",
             c->name, unit, unit, c->name, c->name, c->name);
    if (is_so(m, path, text) || (c->net != NULL && c->net->rdma[0] != '\0'))
        return;
    const char *module = c->net != NULL ? tw_check_rdma_module(c->net->driver) : NULL;
    if (module != NULL) {
        tw_setup_note(m,
                      "%s (driver %s) is an RDMA card whose RDMA driver %s shows no device: no "
                      "Soft-RoCE is put over it. sudo modprobe %s, look into dmesg, then setup "
                      "again",
                      c->name, c->net->driver, module, module);
        return;
    }
    tw_setup_begin(m, "soft-roce", TW_SETUP_ROOT, "RDMA without a card",
                   "transport = rdma is asked for over %s, which has no RDMA card: Soft-RoCE lets "
                   "the kernel speak it. It is no faster than TCP.",
                   c->name);
    plan_unit(m, "twinax-rxe.service", text);
}

void tw_setup_plan_roce(tw_setup_maker *m)
{
    tw_setup_cable c;
    if (!tw_setup_find_cable(m, &c))
        return;
    if (m->w->soft_roce) {
        plan_soft(m, &c);
        return;
    }
    if (m->w->link == TW_SETUP_LINK_RDMA && c.net != NULL && c.nic != NULL &&
        c.net->pci[0] != '\0' && strcmp(c.nic->rdma_mode, "iwarp") == 0)
        plan_mode(m, &c);
}
