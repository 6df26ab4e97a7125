/* SPDX-License-Identifier: Apache-2.0 */
/* Who configures an interface, by the files that NetworkManager, systemd-networkd, netplan and
 * ifupdown keep. Files that we may not read leave the owner, not the profile, known. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_reader.h"

/* ---- NetworkManager ---- */

static void take_keyfile(const char *text, tw_facts_nic *n)
{
    char method[24], mtu[16];
    tw_text_ini(text, "connection", "id", n->profile, sizeof n->profile);
    tw_text_ini(text, "connection", "zone", n->zone, sizeof n->zone);
    tw_text_ini(text, "ipv4", "method", method, sizeof method);
    const char *name = strcmp(method, "manual") == 0 ? "static"
                       : strcmp(method, "auto") == 0 ? "dhcp"
                                                     : method;
    tw_text_set(n->method, sizeof n->method, "%.15s", name);
    if (tw_text_ini(text, "ethernet", "mtu", mtu, sizeof mtu))
        n->profile_mtu = tw_count_of(strtoull(mtu, NULL, 10));
}

/* The profile in use by its uuid, or the one that names the interface. */
static bool find_keyfile(tw_facts_reader *r, const char *folder, const char *uuid, tw_facts_nic *n)
{
    tw_facts_names(r->root, folder, "", &r->names);
    for (int by_uuid = 1; by_uuid >= 0; by_uuid--)
        for (size_t i = 0; i < r->names.n; i++) {
            char path[160], found[64];
            tw_text_set(path, sizeof path, "%s/%s", folder, r->names.v[i]);
            if (!tw_reader_text(r, path))
                continue;
            tw_text_ini(r->work, "connection", by_uuid ? "uuid" : "interface-name", found,
                        sizeof found);
            if (found[0] == '\0' || strcmp(found, by_uuid ? uuid : n->name) != 0)
                continue;
            take_keyfile(r->work, n);
            tw_text_set(n->profile_file, sizeof n->profile_file, "/%s", path);
            return true;
        }
    return false;
}

static bool ask_networkmanager(tw_facts_reader *r, tw_facts_nic *n, int index)
{
    char path[96], managed[8], uuid[48], text[4096];
    tw_text_set(path, sizeof path, "run/NetworkManager/devices/%d", index);
    if (!tw_facts_is_running(r->f, "NetworkManager") ||
        !tw_facts_text(r->root, path, text, sizeof text))
        return false;
    tw_text_ini(text, "device", "managed", managed, sizeof managed);
    if (strcmp(managed, "true") != 0 && strcmp(managed, "1") != 0)
        return false;
    tw_text_ini(text, "device", "connection-uuid", uuid, sizeof uuid);
    n->owner = TW_OWNER_NETWORKMANAGER;
    if (!find_keyfile(r, "etc/NetworkManager/system-connections", uuid, n) &&
        !find_keyfile(r, "run/NetworkManager/system-connections", uuid, n))
        (void)find_keyfile(r, "usr/lib/NetworkManager/system-connections", uuid, n);
    if (strstr(n->profile_file, "/netplan-") != NULL) {
        n->owner = TW_OWNER_NETPLAN;
        tw_text_set(n->owner_renderer, sizeof n->owner_renderer, "NetworkManager");
    }
    return true;
}

/* ---- systemd-networkd ---- */

static void take_network_file(tw_facts_reader *r, tw_facts_nic *n)
{
    char text[64];
    if (!tw_reader_text(r, n->profile_file))
        return;
    bool dhcp = tw_text_ini(r->work, "Network", "DHCP", text, sizeof text) &&
                strcmp(text, "no") != 0 && strcmp(text, "false") != 0;
    bool fixed = tw_text_ini(r->work, "Network", "Address", text, sizeof text) ||
                 tw_text_ini(r->work, "Address", "Address", text, sizeof text);
    tw_text_set(n->method, sizeof n->method, "%s", dhcp ? "dhcp" : fixed ? "static" : "");
    if (tw_text_ini(r->work, "Link", "MTUBytes", text, sizeof text))
        n->profile_mtu = tw_count_of(strtoull(text, NULL, 10));
    const char *base = strrchr(n->profile_file, '/');
    tw_text_set(n->profile, sizeof n->profile, "%.63s", base != NULL ? base + 1 : "");
}

static bool ask_networkd(tw_facts_reader *r, tw_facts_nic *n, int index)
{
    char path[96], text[4096], state[24];
    tw_text_set(path, sizeof path, "run/systemd/netif/links/%d", index);
    if (!tw_facts_is_running(r->f, "systemd-networkd") ||
        !tw_facts_text(r->root, path, text, sizeof text))
        return false;
    tw_text_value(text, "ADMIN_STATE", state, sizeof state);
    if (state[0] == '\0' || strcmp(state, "unmanaged") == 0)
        return false;
    tw_text_value(text, "NETWORK_FILE", n->profile_file, sizeof n->profile_file);
    n->owner = TW_OWNER_NETWORKD;
    if (n->profile_file[0] == '\0')
        return true;
    take_network_file(r, n);
    if (strstr(n->profile_file, "-netplan-") != NULL) {
        n->owner = TW_OWNER_NETPLAN;
        tw_text_set(n->owner_renderer, sizeof n->owner_renderer, "networkd");
    }
    return true;
}

/* ---- ifupdown ---- */

/* "iface eth0 inet static", and below it "mtu 9000" until the next stanza. */
static bool take_stanza(tw_facts_reader *r, const char *path, tw_facts_nic *n)
{
    char *rest = r->work, *line;
    bool inside = false, found = false;
    if (!tw_reader_text(r, path))
        return false;
    while ((line = tw_text_line(&rest)) != NULL) {
        char word[24], name[16], family[8], method[16];
        if (sscanf(line, " %23s", word) != 1)
            continue;
        if (strcmp(word, "iface") == 0) {
            int got = sscanf(line, " iface %15s %7s %15s", name, family, method);
            inside = got == 3 && strcmp(name, n->name) == 0;
            if (inside && (!found || strcmp(family, "inet") == 0))
                tw_text_set(n->method, sizeof n->method, "%s", method);
            found = found || inside;
        } else if (inside && strcmp(word, "mtu") == 0) {
            n->profile_mtu = tw_count_of(strtoull(line + strcspn(line, "0123456789"), NULL, 10));
        }
    }
    if (found) {
        tw_text_set(n->profile_file, sizeof n->profile_file, "/%s", path);
        tw_text_set(n->profile, sizeof n->profile, "%s", n->name);
    }
    return found;
}

static bool ask_ifupdown(tw_facts_reader *r, tw_facts_nic *n)
{
    if (!tw_facts_exists(r->root, "etc/network/interfaces"))
        return false;
    bool found = take_stanza(r, "etc/network/interfaces", n);
    tw_names names = {0};
    tw_facts_names(r->root, "etc/network/interfaces.d", "", &names);
    for (size_t i = 0; i < names.n && !found; i++) {
        char path[160];
        tw_text_set(path, sizeof path, "etc/network/interfaces.d/%s", names.v[i]);
        found = take_stanza(r, path, n);
    }
    if (found)
        n->owner = TW_OWNER_IFUPDOWN;
    return found;
}

/* ---- netplan, before it was applied ---- */

static bool ask_netplan(tw_facts_reader *r, tw_facts_nic *n)
{
    char wanted[24];
    tw_names names = {0};
    tw_text_set(wanted, sizeof wanted, "%s:", n->name);
    tw_facts_names(r->root, "etc/netplan", "", &names);
    for (size_t i = 0; i < names.n; i++) {
        char path[160];
        tw_text_set(path, sizeof path, "etc/netplan/%s", names.v[i]);
        if (!tw_reader_text(r, path) || !tw_text_has_word(r->work, wanted))
            continue;
        bool nm = strstr(r->work, "renderer: NetworkManager") != NULL;
        n->owner = TW_OWNER_NETPLAN;
        tw_text_set(n->owner_renderer, sizeof n->owner_renderer, "%s",
                    nm ? "NetworkManager" : "networkd");
        tw_text_set(n->profile_file, sizeof n->profile_file, "/%s", path);
        return true;
    }
    return false;
}

void tw_reader_owner(tw_facts_reader *r, tw_facts_nic *n, int index)
{
    if (ask_networkmanager(r, n, index) || ask_networkd(r, n, index) || ask_ifupdown(r, n) ||
        ask_netplan(r, n))
        return;
    n->owner = TW_OWNER_NONE;
}
