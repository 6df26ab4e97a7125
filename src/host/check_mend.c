/* SPDX-License-Identifier: Apache-2.0 */
/* Mends: the exact command, by distribution and by who owns the thing. What facts name may be another
 * machine's word: it is quoted for the shell. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_inside.h"

const char *tw_check_quote(const char *text, char *out, size_t out_bytes)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:@%+,=";
    if (text[0] != '\0' && text[0] != '-' && strspn(text, plain) == strlen(text)) {
        snprintf(out, out_bytes, "%s", text);
        return out;
    }
    size_t at = 0;
    out[at++] = '\'';
    for (; *text != '\0' && at + 6 < out_bytes; text++) {
        if (*text == '\'') {
            memcpy(out + at, "'\\''", 4);
            at += 4;
        } else {
            out[at++] = *text;
        }
    }
    out[at++] = '\'';
    out[at] = '\0';
    return out;
}

bool tw_check_id_is(const tw_facts *f, const char *id)
{
    char like[64];
    if (strcmp(f->os.id, id) == 0)
        return true;
    snprintf(like, sizeof like, "%s", f->os.id_like);
    char *save = NULL;
    for (char *w = strtok_r(like, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
        if (strcmp(w, id) == 0)
            return true;
    return false;
}

enum tw_check_family tw_check_family_of(const tw_facts *f)
{
    if (tw_check_id_is(f, "fedora") || tw_check_id_is(f, "rhel"))
        return TW_FAMILY_FEDORA;
    if (tw_check_id_is(f, "debian") || tw_check_id_is(f, "ubuntu"))
        return TW_FAMILY_DEBIAN;
    if (tw_check_id_is(f, "arch"))
        return TW_FAMILY_ARCH;
    if (tw_check_id_is(f, "suse") || tw_check_id_is(f, "opensuse"))
        return TW_FAMILY_SUSE;
    return TW_FAMILY_OTHER;
}

void tw_mend_packages(tw_check_ctx *c, const char *fedora, const char *debian)
{
    c->r->step = TW_STEP_PACKAGES;
    if (c->f->os.is_ostree == TW_YES) {
        tw_check_mend(c, "sudo rpm-ostree install %s && systemctl reboot", fedora);
        return;
    }
    switch (tw_check_family_of(c->f)) {
    case TW_FAMILY_FEDORA:
        tw_check_mend(c, "sudo dnf install %s", fedora);
        break;
    case TW_FAMILY_DEBIAN:
        tw_check_mend(c, "sudo apt install %s", debian);
        break;
    case TW_FAMILY_ARCH:
        tw_check_mend(c, "sudo pacman -S %s", fedora);
        break;
    case TW_FAMILY_SUSE:
        tw_check_mend(c, "sudo zypper install %s", fedora);
        break;
    case TW_FAMILY_OTHER:
        tw_check_mend(c, "install the packages %s", fedora);
        break;
    }
    if (tw_check_family_of(c->f) != TW_FAMILY_FEDORA &&
        tw_check_family_of(c->f) != TW_FAMILY_DEBIAN)
        c->r->step = NULL;
}

/* ---- kernel parameters ---- */

static void add_text(char *out, size_t out_bytes, const char *fmt, ...) TW_PRINTF(3, 4);

static void add_text(char *out, size_t out_bytes, const char *fmt, ...)
{
    size_t len = strlen(out);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out + len, out_bytes - len, fmt, ap);
    va_end(ap);
}

/* What should be on the line and is not, or is otherwise. */
static void list_words(const tw_kernel_param *v, size_t n, bool only_missing, char *out,
                       size_t out_bytes)
{
    out[0] = '\0';
    for (size_t i = 0; i < n; i++)
        if (v[i].state == TW_KERNEL_MISSING || (!only_missing && v[i].state == TW_KERNEL_WRONG))
            add_text(out, out_bytes, "%s%s", out[0] != '\0' ? " " : "", v[i].set);
}

static void list_ostree(const tw_kernel_param *v, size_t n, char *out, size_t out_bytes)
{
    char old[200], new[400];
    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (v[i].state == TW_KERNEL_WRONG)
            add_text(out, out_bytes, " --delete-if-present=%s",
                     tw_check_quote(v[i].found, old, sizeof old));
        if (tw_kernel_param_needed(&v[i]))
            add_text(out, out_bytes, " --append-if-missing=%s",
                     tw_check_quote(v[i].set, new, sizeof new));
    }
}

static bool is_plain_for_sed(const char *word)
{
    return strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,=:") ==
           strlen(word);
}

/* One sed over a file with such a line; false: a word on it is none that sed could be given. */
static bool list_sed(const tw_kernel_param *v, size_t n, const char *at, char *out,
                     size_t out_bytes)
{
    char missing[320];
    list_words(v, n, true, missing, sizeof missing);
    snprintf(out, out_bytes, "sudo sed -i");
    for (size_t i = 0; i < n; i++) {
        if (v[i].state != TW_KERNEL_WRONG)
            continue;
        if (!is_plain_for_sed(v[i].found) || !is_plain_for_sed(v[i].set))
            return false;
        add_text(out, out_bytes, " -e 's|%s|%s|'", v[i].found, v[i].set);
    }
    if (missing[0] != '\0')
        add_text(out, out_bytes, " -e 's|%s|&%s%s%s|'", at, at[0] == '$' ? " " : "", missing,
                 at[0] == '$' ? "" : " ");
    return is_plain_for_sed(missing) || strchr(missing, '|') == NULL;
}

static const char *mkconfig(const tw_facts *f)
{
    if (tw_facts_has_tool(f, "update-grub") || tw_check_family_of(f) == TW_FAMILY_DEBIAN)
        return "sudo update-grub";
    if (tw_check_family_of(f) == TW_FAMILY_FEDORA)
        return "sudo grub2-mkconfig -o /boot/grub2/grub.cfg";
    return "sudo grub-mkconfig -o /boot/grub/grub.cfg";
}

void tw_mend_kernel(tw_check_ctx *c, const tw_kernel_param *v, size_t n)
{
    char words[640], sed[768];
    const enum tw_boot_kind kind = c->f->boot.kind;
    c->r->step = TW_STEP_KERNEL;
    list_words(v, n, false, words, sizeof words);
    if (kind == TW_BOOT_RPM_OSTREE) {
        list_ostree(v, n, words, sizeof words);
        tw_check_mend(c, "sudo rpm-ostree kargs%s && systemctl reboot", words);
    } else if (kind == TW_BOOT_GRUBBY) {
        tw_check_mend(c, "sudo grubby --update-kernel=ALL --args=\"%s\" && sudo reboot", words);
    } else if (kind == TW_BOOT_SYSTEMD && list_sed(v, n, "$", sed, sizeof sed)) {
        tw_check_mend(c, "%s /etc/kernel/cmdline && sudo kernel-install add-all && sudo reboot",
                      sed);
    } else if (kind == TW_BOOT_GRUB && list_sed(v, n, "^GRUB_CMDLINE_LINUX=\"", sed, sizeof sed)) {
        tw_check_mend(c, "%s /etc/default/grub && %s && sudo reboot", sed, mkconfig(c->f));
    } else {
        c->r->step = kind == TW_BOOT_GRUB || kind == TW_BOOT_SYSTEMD ? TW_STEP_KERNEL : NULL;
        tw_check_mend(c,
                      "put \"%s\" on the kernel's command line where this machine is started from",
                      words);
    }
}

/* ---- the network ---- */

const char *tw_check_if_name(const tw_check_ctx *c)
{
    static _Thread_local char quoted[80];
    const char *name = c->use->net != NULL ? c->use->net->name : c->w->nodes[c->i].interface;
    return name[0] != '\0' ? tw_check_quote(name, quoted, sizeof quoted) : "IFACE";
}

static enum tw_nic_owner owner_of(const tw_check_ctx *c)
{
    if (c->use->nic != NULL && c->use->nic->owner > TW_OWNER_NONE)
        return c->use->nic->owner;
    if (tw_facts_is_running(c->f, "NetworkManager") || tw_check_family_of(c->f) == TW_FAMILY_FEDORA)
        return TW_OWNER_NETWORKMANAGER;
    if (tw_facts_is_running(c->f, "systemd-networkd"))
        return TW_OWNER_NETWORKD;
    return tw_check_family_of(c->f) == TW_FAMILY_DEBIAN ? TW_OWNER_IFUPDOWN : TW_OWNER_UNKNOWN;
}

static unsigned prefix_for(const tw_check_ctx *c)
{
    if (c->use->addr != NULL)
        return c->use->addr->prefix;
    if (c->use->net != NULL && c->use->net->kind == TW_NET_THUNDERBOLT)
        return 24;
    return c->w->n_nodes > 6 ? 28 : c->w->n_nodes > 2 ? 29 : 30;
}

static void wanted_address(const tw_check_ctx *c, char *out, size_t out_bytes)
{
    const char *ip = tw_check_ip(c->w, c->use, c->i);
    const bool tb = c->use->net != NULL && c->use->net->kind == TW_NET_THUNDERBOLT;
    if (ip[0] != '\0')
        snprintf(out, out_bytes, "%s/%u", ip, prefix_for(c));
    else
        snprintf(out, out_bytes, "192.168.%s.%zu/%u", tb ? "2" : "100", c->i + 1, prefix_for(c));
}

/* A new connection with address and MTU, as the guide has it. */
static void mend_nm_add(tw_check_ctx *c, unsigned mtu)
{
    char address[80];
    const char *name = tw_check_if_name(c);
    wanted_address(c, address, sizeof address);
    tw_check_mend(c,
                  "sudo nmcli connection add type ethernet ifname %s con-name twinax-%s "
                  "ipv4.method manual ipv4.addresses %s mtu %u && sudo nmcli connection up "
                  "twinax-%s",
                  name, name, address, mtu, name);
}

void tw_mend_mtu(tw_check_ctx *c, unsigned mtu)
{
    char profile[160];
    const tw_facts_nic *nic = c->use->nic;
    const char *name = tw_check_if_name(c);
    const bool has_profile = nic != NULL && nic->profile[0] != '\0';
    if (has_profile)
        tw_check_quote(nic->profile, profile, sizeof profile);
    c->r->step = TW_STEP_NETWORK;
    switch (owner_of(c)) {
    case TW_OWNER_NETWORKMANAGER:
        if (has_profile)
            tw_check_mend(c,
                          "sudo nmcli connection modify %s 802-3-ethernet.mtu %u && sudo nmcli "
                          "connection up %s",
                          profile, mtu, profile);
        else
            mend_nm_add(c, mtu);
        break;
    case TW_OWNER_NETPLAN:
        tw_check_mend(c, "sudo netplan set ethernets.%s.mtu=%u && sudo netplan apply", name, mtu);
        break;
    case TW_OWNER_NETWORKD:
        tw_check_mend(c,
                      "MTUBytes=%u under [Link] in %s, then sudo networkctl reload && sudo "
                      "networkctl reconfigure %s",
                      mtu,
                      nic != NULL && nic->profile_file[0] != '\0'
                          ? nic->profile_file
                          : "/etc/systemd/network/*.network",
                      name);
        break;
    case TW_OWNER_IFUPDOWN:
        tw_check_mend(c,
                      "\"mtu %u\" under iface %s in /etc/network/interfaces, then sudo ifdown %s; "
                      "sudo ifup %s",
                      mtu, name, name, name);
        break;
    case TW_OWNER_UNKNOWN:
    case TW_OWNER_NONE:
    case TW_OWNERS:
        tw_check_mend(c,
                      "sudo ip link set dev %s mtu %u (until the next boot; nobody configures it)",
                      name, mtu);
        break;
    }
}

/* Something else than the cluster is on it: ssh, or the way out. */
static bool is_shared(const tw_check_ctx *c)
{
    return c->use->net != NULL && tw_check_is_shared(c, c->use->net);
}

void tw_mend_address(tw_check_ctx *c)
{
    char address[80];
    const char *name = tw_check_if_name(c);
    if (is_shared(c)) { /* another address there may cut the machine off */
        const tw_net_if *f = c->use->net;
        tw_check_mend(c,
                      "%s also carries ssh or the default route and keeps its address: %s%s%s in "
                      "twinax.conf, or interface = the cable's",
                      name, f->n_addrs > 0 ? "ip = " : "another interface",
                      f->n_addrs > 0 ? f->addrs[0].ip : "", f->n_addrs > 0 ? " for this node" : "");
        return;
    }
    wanted_address(c, address, sizeof address);
    c->r->step = TW_STEP_NETWORK;
    switch (owner_of(c)) {
    case TW_OWNER_NETWORKMANAGER:
        mend_nm_add(c, tw_check_wanted_mtu(c->use));
        break;
    case TW_OWNER_NETPLAN:
        tw_check_mend(c, "sudo netplan set ethernets.%s.addresses=[%s] && sudo netplan apply", name,
                      address);
        break;
    case TW_OWNER_NETWORKD:
        tw_check_mend(c,
                      "Address=%s under [Network] in /etc/systemd/network/twinax-%s.network, then "
                      "sudo networkctl reload",
                      address, name);
        break;
    case TW_OWNER_IFUPDOWN:
        tw_check_mend(c,
                      "\"auto %s\", \"iface %s inet static\" and \"address %s\" in "
                      "/etc/network/interfaces.d/twinax, then sudo ifup %s",
                      name, name, address, name);
        break;
    case TW_OWNER_UNKNOWN:
    case TW_OWNER_NONE:
    case TW_OWNERS:
        tw_check_mend(c,
                      "sudo ip addr add %s dev %s && sudo ip link set %s up (until the next boot)",
                      address, name, name);
        break;
    }
}

static void list_peers(const tw_check_ctx *c, const char *fmt_before, const char *fmt_after,
                       char *out, size_t out_bytes)
{
    out[0] = '\0';
    for (size_t k = 0; k < c->w->n_nodes; k++) {
        const char *ip = tw_check_ip(c->w, &c->uses[k], k);
        size_t len = strlen(out);
        if (k != c->i && ip[0] != '\0')
            snprintf(out + len, out_bytes - len, "%s%s%s%s", len > 0 ? " && " : "", fmt_before, ip,
                     fmt_after);
    }
    if (out[0] == '\0')
        snprintf(out, out_bytes, "%sPEER_IP%s", fmt_before, fmt_after);
}

void tw_mend_firewall(tw_check_ctx *c)
{
    char rules[512];
    const char *name = tw_check_if_name(c);
    c->r->step = TW_STEP_FIREWALL;
    switch (c->f->firewall.kind) {
    case TW_FIREWALL_UFW:
        if (is_shared(c))
            list_peers(c, "sudo ufw allow from ", "", rules, sizeof rules);
        else
            snprintf(rules, sizeof rules, "sudo ufw allow in on %s", name);
        tw_check_mend(c, "%s", rules);
        break;
    case TW_FIREWALL_NFTABLES:
        list_peers(c, "sudo nft insert rule inet filter input ip saddr ", " accept", rules,
                   sizeof rules);
        tw_check_mend(c, "%s (and in /etc/nftables.conf)", rules);
        break;
    case TW_FIREWALL_FIREWALLD:
    case TW_FIREWALL_NONE:
    case TW_FIREWALL_UNKNOWN:
    case TW_FIREWALLS:
        if (is_shared(c)) {
            list_peers(c, "sudo firewall-cmd --permanent --zone=trusted --add-source=", "", rules,
                       sizeof rules);
            tw_check_mend(c, "%s && sudo firewall-cmd --reload", rules);
        } else {
            tw_check_mend(c,
                          "sudo firewall-cmd --permanent --zone=trusted --change-interface=%s && "
                          "sudo firewall-cmd --reload",
                          name);
        }
        break;
    }
}

void tw_mend_group(tw_check_ctx *c, const char *group)
{
    char quoted[80];
    c->r->step = TW_STEP_GROUPS;
    tw_check_mend(c, "sudo usermod -aG %s %s, then log in anew", group,
                  c->f->user.name[0] != '\0'
                      ? tw_check_quote(c->f->user.name, quoted, sizeof quoted)
                      : "\"$USER\"");
}

/* ---- what several checks ask ---- */

tw_check_version tw_check_version_parse(const char *text)
{
    tw_check_version r = {{0, 0, 0}};
    while (*text != '\0' && (*text < '0' || *text > '9'))
        text++;
    for (int k = 0; k < 3 && *text >= '0' && *text <= '9'; k++) {
        unsigned v = 0;
        for (; *text >= '0' && *text <= '9'; text++)
            v = v < 1000000 ? v * 10 + (unsigned)(*text - '0') : v;
        r.v[k] = v;
        if (*text == '.')
            text++;
        else
            break;
    }
    return r;
}

bool tw_check_version_below(tw_check_version a, unsigned major, unsigned minor, unsigned patch)
{
    const unsigned b[3] = {major, minor, patch};
    for (int k = 0; k < 3; k++)
        if (a.v[k] != b[k])
            return a.v[k] < b[k];
    return false;
}

bool tw_check_is_e810(const tw_check_use *u)
{
    return u->net != NULL && strcmp(u->net->driver, "ice") == 0;
}

bool tw_check_is_software_rdma(const tw_check_use *u)
{
    return (u->nic != NULL && (strstr(u->nic->rdma_provider, "rxe") != NULL ||
                               strstr(u->nic->rdma_provider, "siw") != NULL)) ||
           (u->net != NULL &&
            (strncmp(u->net->rdma, "rxe", 3) == 0 || strncmp(u->net->rdma, "siw", 3) == 0));
}

bool tw_check_is_infiniband(const tw_check_use *u)
{
    return (u->net != NULL && u->net->kind == TW_NET_INFINIBAND) ||
           (u->nic != NULL && strcmp(u->nic->rdma_mode, "ib") == 0);
}

unsigned tw_check_wanted_mtu(const tw_check_use *u)
{
    if (tw_check_is_infiniband(u))
        return 2044;
    unsigned want = 9000;
    if (u->nic != NULL && u->nic->mtu_max != 0 && u->nic->mtu_max < want)
        want = u->nic->mtu_max;
    return want;
}

const char *tw_check_ip(const tw_check_world *w, const tw_check_use *u, size_t i)
{
    if (w->nodes[i].ip[0] != '\0')
        return w->nodes[i].ip;
    return u->addr != NULL ? u->addr->ip : "";
}

tw_check_ctx tw_check_at(const tw_check_ctx *c, size_t node)
{
    tw_check_ctx there = *c;
    there.i = node;
    there.use = &c->uses[node];
    there.f = c->w->nodes[node].facts;
    return there;
}

void tw_check_mend_is_at(tw_check_ctx *c, size_t node)
{
    char text[sizeof c->r->mend];
    snprintf(text, sizeof text, "%s", c->r->mend);
    tw_check_mend(c, "on %s: %s", c->w->nodes[node].name, text);
}
