/* SPDX-License-Identifier: Apache-2.0 */
/* netplan, systemd-networkd, ifupdown: a file of ours beside those that are there. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "host/setup_plan.h"

enum { TEXT_MAX = 256 * 1024 };

static void begin(tw_setup_maker *m, const tw_setup_cable *c, const char *how)
{
    tw_setup_begin(m, "network", TW_SETUP_ROOT | TW_SETUP_CUTS, "address and MTU of the cable",
                   "%s gets %s and MTU %u by %s, for good and never as a default route: the "
                   "cluster's bytes go over the cable, in few large packets.",
                   c->name, c->cidr, c->mtu, how);
}

static bool is_so(const tw_setup_maker *m, const char *path, const char *text,
                  const tw_setup_cable *c)
{
    const char *now = tw_setup_seen_file(m->s, path, NULL);
    return now != NULL && strcmp(now, text) == 0 && c->net != NULL && c->net->mtu >= c->mtu;
}

/* ---- netplan ---- */

void tw_setup_plan_netplan(tw_setup_maker *m, const tw_setup_cable *c)
{
    static const char path[] = "/etc/netplan/90-twinax.yaml";
    char text[600];
    snprintf(text, sizeof text,
             "# Made by `twinax setup`; `twinax setup --undo` removes it.\n"
             "network:\n"
             "  version: 2\n"
             "  ethernets:\n"
             "    %s:\n"
             "      dhcp4: false\n"
             "      dhcp6: false\n"
             "      addresses:\n"
             "        - \"%s\"\n"
             "      mtu: %u\n"
             "      optional: true\n",
             c->name, c->cidr, c->mtu);
    if (is_so(m, path, text, c) || tw_setup_is_unseen(m, "network", path))
        return;
    begin(m, c, "netplan");
    tw_setup_file(m, path, 0600, text, NULL);
    tw_setup_cmd(m, "netplan", "generate", NULL);
    tw_setup_cmd(m, "netplan", "apply", NULL);
    tw_setup_settle(m, "netplan", "apply", NULL);
}

/* ---- systemd-networkd ---- */

void tw_setup_plan_networkd(tw_setup_maker *m, const tw_setup_cable *c)
{
    char path[96], text[600];
    snprintf(path, sizeof path, "/etc/systemd/network/05-twinax-%s.network", c->name);
    snprintf(text, sizeof text,
             "# Made by `twinax setup`; `twinax setup --undo` removes it.\n"
             "[Match]\n"
             "Name=%s\n\n"
             "[Link]\n"
             "MTUBytes=%u\n"
             "RequiredForOnline=no\n\n"
             "[Network]\n"
             "Address=%s\n"
             "DHCP=no\n"
             "IPv6AcceptRA=no\n",
             c->name, c->mtu, c->cidr);
    if (is_so(m, path, text, c) || tw_setup_is_unseen(m, "network", path))
        return;
    begin(m, c, "systemd-networkd");
    tw_setup_file(m, path, 0644, text, NULL);
    if (!tw_facts_is_running(m->f, "systemd-networkd")) {
        tw_setup_cmd(m, "systemctl", "enable", "--now", "systemd-networkd", NULL);
        tw_setup_undo(m, "systemctl", "disable", "--now", "systemd-networkd", NULL);
        return;
    }
    tw_setup_cmd(m, "networkctl", "reload", NULL);
    tw_setup_cmd(m, "networkctl", "reconfigure", c->name, NULL);
    tw_setup_settle(m, "networkctl", "reload", NULL);
    tw_setup_settle(m, "networkctl", "reconfigure", c->name, NULL);
    if (c->net != NULL) { /* networkd leaves the MTU where it put it */
        char mtu[16];
        snprintf(mtu, sizeof mtu, "%u", c->net->mtu);
        tw_setup_settle(m, "ip", "link", "set", "dev", c->name, "mtu", mtu, NULL);
    }
}

/* ---- ifupdown ---- */

static const char main_file[] = "/etc/network/interfaces";

static bool begins_word(const char *line, const char *word)
{
    size_t n = strlen(word);
    return strncmp(line, word, n) == 0 && (line[n] == ' ' || line[n] == '\t');
}

/* "iface", "auto", ... "source": what ends the stanza before it. */
static bool is_stanza(const char *line)
{
    static const char *const heads[] = {"iface",   "auto",         "allow-hotplug",
                                        "mapping", "source",       "source-directory",
                                        "rename",  "no-auto-down", NULL};
    for (size_t i = 0; heads[i] != NULL; i++)
        if (begins_word(line, heads[i]))
            return true;
    return strncmp(line, "allow-", 6) == 0;
}

static bool names(const char *line, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = line + strcspn(line, " \t\n"); *p == ' ' || *p == '\t';) {
        p += strspn(p, " \t");
        if (strncmp(p, name, n) == 0 && (isspace((unsigned char)p[n]) || p[n] == '\0'))
            return true;
        p += strcspn(p, " \t\n");
    }
    return false;
}

static bool is_iface_of(const char *line, const char *name)
{
    return begins_word(line, "iface") && names(line, name);
}

static bool has_iface(const char *text, const char *name)
{
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *at = line + strspn(line, " \t");
        if (is_iface_of(at, name))
            return true;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return false;
}

/* text with the stanzas of name made comments: they can be read, but only ours counts. */
static int comment_out(const char *text, const char *name, tw_buf *out)
{
    bool inside = false;
    for (const char *line = text; *line != '\0';) {
        const char *at = line + strspn(line, " \t");
        size_t len = strcspn(line, "\n");
        if (is_stanza(at))
            inside = is_iface_of(at, name);
        const bool blank = *at == '\n' || *at == '\0' || *at == '#';
        int rc = inside && !blank ? tw_buf_puts(out, "# twinax: ") : 0;
        if (rc == 0)
            rc = tw_buf_append(out, line, len + (line[len] == '\n'));
        if (rc != 0)
            return rc;
        line += len + (line[len] == '\n');
    }
    return 0;
}

static bool sources_folder(const char *text)
{
    for (const char *line = text; *line != '\0';) {
        const char *at = line + strspn(line, " \t");
        if ((begins_word(at, "source") || begins_word(at, "source-directory")) &&
            strncmp(at + strcspn(at, "/"), "/etc/network/interfaces.d", 25) == 0)
            return true;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return false;
}

/* The main file: the folder is read, and no other stanza speaks of the interface. */
static void plan_main(tw_setup_maker *m, const tw_setup_cable *c)
{
    const char *text = tw_setup_seen_file(m->s, main_file, NULL);
    TW_CLEANUP(tw_buf_done) tw_buf after = TW_BUF(TEXT_MAX);
    text = text != NULL ? text : "";
    if (comment_out(text, c->name, &after) != 0 ||
        (!sources_folder(text) &&
         tw_buf_printf(&after, "%ssource /etc/network/interfaces.d/*\n",
                       after.len > 0 && after.data[after.len - 1] != '\n' ? "\n" : "") != 0)) {
        m->failed = true;
        return;
    }
    if (after.data != NULL && strcmp(after.data, text) != 0)
        tw_setup_file(m, main_file, 0644, after.data, NULL);
}

/* Files of the folder that speak of the interface: their stanzas too. */
static bool plan_others(tw_setup_maker *m, const tw_setup_cable *c, const char *own, bool write)
{
    const char *path;
    json_t *v;
    bool found = false;
    json_object_foreach(m->s->files, path, v)
    {
        const char *text = json_string_value(v);
        if (strncmp(path, "/etc/network/interfaces.d/", 26) != 0 || strcmp(path, own) == 0 ||
            text == NULL || !has_iface(text, c->name))
            continue;
        TW_CLEANUP(tw_buf_done) tw_buf after = TW_BUF(TEXT_MAX);
        found = true;
        if (!write)
            continue;
        if (comment_out(text, c->name, &after) != 0)
            m->failed = true;
        else
            tw_setup_file(m, path, 0644, after.data, NULL);
    }
    return found;
}

void tw_setup_plan_ifupdown(tw_setup_maker *m, const tw_setup_cable *c)
{
    char path[96], text[500];
    /* Dots and colons in a name would hide the file from `source-directory`. */
    snprintf(path, sizeof path, "/etc/network/interfaces.d/twinax-%s", c->name);
    for (char *p = path + 26; *p != '\0'; p++)
        *p = (char)(*p == '.' || *p == ':' || *p == '@' ? '-' : *p);
    snprintf(text, sizeof text,
             "# Made by `twinax setup`; `twinax setup --undo` removes it.\n"
             "%s %s\n"
             "iface %s %s static\n"
             "    address %s\n"
             "    mtu %u\n",
             m->w->link == TW_SETUP_LINK_THUNDERBOLT ? "allow-hotplug" : "auto", c->name, c->name,
             c->six ? "inet6" : "inet", c->cidr, c->mtu);
    if (is_so(m, path, text, c) || tw_setup_is_unseen(m, "network", path) ||
        tw_setup_is_unseen(m, "network", main_file))
        return;
    const char *main_text = tw_setup_seen_file(m->s, main_file, NULL);
    const bool before = has_iface(main_text, c->name) || plan_others(m, c, path, false);
    begin(m, c, "ifupdown");
    if (before)
        tw_setup_try(m, "ifdown", "--force", c->name, NULL);
    plan_main(m, c);
    (void)plan_others(m, c, path, true);
    tw_setup_file(m, path, 0644, text, NULL);
    tw_setup_cmd(m, "ifup", c->name, NULL);
    tw_setup_undo(m, "ifdown", "--force", c->name, NULL);
    if (before)
        tw_setup_settle(m, "ifup", c->name, NULL);
}
