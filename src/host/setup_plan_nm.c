/* SPDX-License-Identifier: Apache-2.0 */
/* NetworkManager: the interface's own profile is modified, and what else it says is kept; when there
 * is none that is a file, one is added. nmcli's answers come from `-t`: fields between colons. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/setup_plan.h"

typedef struct nm_row { /* of `nmcli -t -f UUID,TYPE,DEVICE,FILENAME,NAME connection show` */
    char uuid[40], type[32], device[16], file[200], name[128];
} nm_row;

/* What the profile says of what we set; the fields of the query in setup_seen.c. */
typedef struct nm_profile {
    char interface[16], method[16], addresses[256], mtu[16], never_default[8], zone[32],
        autoconnect[8];
} nm_profile;

/* One field up to ':' or the line's end, "\:" and "\\" undone. */
static const char *take_field(const char *p, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (; *p != '\0' && *p != '\n' && *p != ':'; p++) {
        if (*p == '\\' && (p[1] == ':' || p[1] == '\\'))
            p++;
        if (n + 1 < out_bytes)
            out[n++] = *p;
    }
    out[n] = '\0';
    return *p == ':' ? p + 1 : p;
}

static bool is_ours(const nm_row *r, const nm_profile *p, const tw_setup_cable *c)
{
    return strcmp(r->device, c->name) == 0 || strcmp(p->interface, c->name) == 0 ||
           (c->nic != NULL && c->nic->profile[0] != '\0' && strcmp(r->name, c->nic->profile) == 0);
}

static void read_profile(const tw_setup_seen *s, const char *uuid, nm_profile *ret)
{
    char name[64];
    snprintf(name, sizeof name, "nm-profile-%s", uuid);
    const char *p = tw_setup_seen_answer(s, name);
    struct {
        char *out;
        size_t bytes;
    } fields[] = {{ret->interface, sizeof ret->interface},
                  {ret->method, sizeof ret->method},
                  {ret->addresses, sizeof ret->addresses},
                  {ret->mtu, sizeof ret->mtu},
                  {ret->never_default, sizeof ret->never_default},
                  {ret->zone, sizeof ret->zone},
                  {ret->autoconnect, sizeof ret->autoconnect}};
    for (size_t i = 0; i < TW_ARRAY_LEN(fields); i++) { /* a line each */
        p = take_field(p, fields[i].out, fields[i].bytes);
        p += strcspn(p, "\n");
        p += *p == '\n';
    }
}

/* The profile that is a file of /etc: one that NetworkManager made up by itself is left alone, ours
 * wins over it. */
static bool find_profile(const tw_setup_maker *m, const tw_setup_cable *c, nm_row *ret,
                         nm_profile *ret_profile)
{
    for (const char *line = tw_setup_seen_answer(m->s, "nm-connections"); *line != '\0';) {
        nm_row r = {0};
        nm_profile p = {0};
        const char *at = take_field(line, r.uuid, sizeof r.uuid);
        at = take_field(at, r.type, sizeof r.type);
        at = take_field(at, r.device, sizeof r.device);
        at = take_field(at, r.file, sizeof r.file);
        (void)take_field(at, r.name, sizeof r.name);
        line += strcspn(line, "\n");
        line += *line == '\n';
        read_profile(m->s, r.uuid, &p);
        if (strncmp(r.file, "/etc/", 5) != 0 || !is_ours(&r, &p, c))
            continue;
        *ret = r;
        *ret_profile = p;
        return true;
    }
    return false;
}

static bool is_good(const nm_profile *p, const tw_setup_cable *c)
{
    char mtu[16];
    snprintf(mtu, sizeof mtu, "%u", c->mtu);
    return strcmp(p->method, "manual") == 0 && strstr(p->addresses, c->cidr) != NULL &&
           strcmp(p->mtu, mtu) == 0 && strcmp(p->never_default, "yes") == 0 &&
           strcmp(p->autoconnect, "yes") == 0;
}

static void begin(tw_setup_maker *m, const tw_setup_cable *c, const char *how)
{
    tw_setup_begin(m, "network", TW_SETUP_ROOT | TW_SETUP_CUTS, "address and MTU of the cable",
                   "%s gets %s and MTU %u by %s, for good and never as a default route: the "
                   "cluster's bytes go over the cable, in few large packets.",
                   c->name, c->cidr, c->mtu, how);
}

/* Without a cable in it NetworkManager refuses; it will do so by itself when there is one. */
static void bring_up(tw_setup_maker *m, const tw_setup_cable *c, const char *profile)
{
    if (c->net != NULL && c->net->carrier)
        tw_setup_cmd(m, "nmcli", "connection", "up", profile, NULL);
    else
        tw_setup_try(m, "nmcli", "connection", "up", profile, NULL);
}

static void modify(tw_setup_maker *m, const tw_setup_cable *c, const nm_row *r, const nm_profile *p)
{
    char mtu[16], add[96], remove[96];
    const bool manual = strcmp(p->method, "manual") == 0;
    const char *method = c->six ? "ipv6.method" : "ipv4.method";
    const char *never = c->six ? "ipv6.never-default" : "ipv4.never-default";
    snprintf(mtu, sizeof mtu, "%u", c->mtu);
    snprintf(add, sizeof add, "+%s.addresses", c->six ? "ipv6" : "ipv4");
    snprintf(remove, sizeof remove, "-%s.addresses", c->six ? "ipv6" : "ipv4");
    begin(m, c, "its NetworkManager profile");
    /* manual wants an address in the same breath */
    tw_setup_cmd(m, "nmcli", "connection", "modify", r->uuid, add, c->cidr, method, "manual", never,
                 "yes", "802-3-ethernet.mtu", mtu, "connection.autoconnect", "yes", NULL);
    bring_up(m, c, r->uuid);
    tw_setup_touch(m, r->file);
    if (manual)
        tw_setup_undo(m, "nmcli", "connection", "modify", r->uuid, remove, c->cidr, never,
                      p->never_default, "802-3-ethernet.mtu", p->mtu, "connection.autoconnect",
                      p->autoconnect, NULL);
    else
        tw_setup_undo(m, "nmcli", "connection", "modify", r->uuid, method, p->method, remove,
                      c->cidr, never, p->never_default, "802-3-ethernet.mtu", p->mtu,
                      "connection.autoconnect", p->autoconnect, NULL);
    tw_setup_settle(m, "nmcli", "connection", "reload", NULL);
    if (strcmp(r->device, c->name) == 0)
        tw_setup_settle(m, "nmcli", "connection", "up", r->uuid, NULL);
    else
        tw_setup_settle(m, "nmcli", "device", "disconnect", c->name, NULL);
}

static void add(tw_setup_maker *m, const tw_setup_cable *c)
{
    char mtu[16], name[32], file[96];
    const char *method = c->six ? "ipv6.method" : "ipv4.method";
    const char *never = c->six ? "ipv6.never-default" : "ipv4.never-default";
    const char *addresses = c->six ? "ipv6.addresses" : "ipv4.addresses";
    snprintf(mtu, sizeof mtu, "%u", c->mtu);
    snprintf(name, sizeof name, "twinax-%s", c->name);
    snprintf(file, sizeof file, "/etc/NetworkManager/system-connections/%s.nmconnection", name);
    begin(m, c, "a NetworkManager profile of its own");
    /* The priority: ours wins over the profile that NetworkManager makes up by itself. */
    tw_setup_cmd(m, "nmcli", "connection", "add", "type", "ethernet", "ifname", c->name, "con-name",
                 name, method, "manual", addresses, c->cidr, never, "yes",
                 c->six ? "ipv4.method" : "ipv6.method", c->six ? "disabled" : "link-local", "mtu",
                 mtu, "connection.autoconnect", "yes", "connection.autoconnect-priority", "100",
                 NULL);
    bring_up(m, c, name);
    tw_setup_undo(m, "nmcli", "connection", "delete", name, NULL);
    tw_setup_touch(m, file);
}

void tw_setup_plan_nm(tw_setup_maker *m, const tw_setup_cable *c)
{
    nm_row r;
    nm_profile p;
    if (!find_profile(m, c, &r, &p)) {
        add(m, c);
        return;
    }
    if (is_good(&p, c) && c->net != NULL && c->net->mtu >= c->mtu && strcmp(r.device, c->name) == 0)
        return;
    modify(m, c, &r, &p);
}
