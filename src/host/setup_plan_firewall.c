/* SPDX-License-Identifier: Apache-2.0 */
/* Firewall: the whole interface only when it is the cluster's own; else the peers' addresses. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "host/setup_plan.h"

enum { TEXT_MAX = 512 * 1024 };

static void begin(tw_setup_maker *m, const tw_setup_cable *c, const char *by)
{
    tw_setup_begin(m, "firewall", TW_SETUP_ROOT | TW_SETUP_CUTS, "let the nodes talk",
                   "ranks, Ray and RCCL use ports that are not known beforehand; %s lets in %s.",
                   by,
                   c->dedicated ? "what comes over the cable, which nobody else is on"
                                : "the other nodes' addresses, and nothing else");
}

static bool is_peer(const tw_setup_maker *m, size_t i)
{
    return i != m->w->self && m->w->nodes[i].ip[0] != '\0';
}

/* ---- firewalld ---- */

static const char trusted_file[] = "/etc/firewalld/zones/trusted.xml";

static void touch_zone(tw_setup_maker *m, const char *zone)
{
    char path[128];
    snprintf(path, sizeof path, "/etc/firewalld/zones/%s.xml", zone);
    tw_setup_touch(m, path);
    snprintf(path, sizeof path, "/etc/firewalld/zones/%s.xml.old", zone);
    tw_setup_touch(m, path);
}

/* Of an interface of NetworkManager's the zone is kept in its profile; an earlier step of this plan
 * may be about to make that. */
static void touch_profile(tw_setup_maker *m, const tw_setup_cable *c)
{
    const json_t *step;
    size_t i, k;
    const json_t *v;
    if (c->nic != NULL && c->nic->owner == TW_OWNER_NETWORKMANAGER &&
        strncmp(c->nic->profile_file, "/etc/", 5) == 0) {
        tw_setup_touch(m, c->nic->profile_file);
        return;
    }
    json_array_foreach(m->steps, i, step)
    {
        if (strcmp(json_string_value(json_object_get(step, "id")), "network") != 0)
            continue;
        json_array_foreach(json_object_get(step, "touch"), k, v)
            tw_setup_touch(m, json_string_value(v));
    }
}

static void plan_trusted(tw_setup_maker *m, const tw_setup_cable *c)
{
    const tw_facts_firewall *w = &m->f->firewall;
    char add[48], change[48], remove[48], zone[48];
    const char *text = tw_setup_seen_file(m->s, trusted_file, NULL), *old = "";
    snprintf(add, sizeof add, "interface name=\"%s\"", c->name);
    if ((text != NULL && strstr(text, add) != NULL) ||
        (c->nic != NULL && strcmp(c->nic->zone, "trusted") == 0))
        return;
    for (size_t i = 0; i < w->n_trusted; i++)
        if (strcmp(w->trusted[i], c->name) == 0)
            return;
    if (tw_setup_is_unseen(m, "firewall", trusted_file))
        return;
    if (c->nic != NULL)
        old = c->nic->zone;
    snprintf(add, sizeof add, "--add-interface=%s", c->name);
    snprintf(change, sizeof change, "--change-interface=%s", c->name);
    snprintf(remove, sizeof remove, "--remove-interface=%s", c->name);
    snprintf(zone, sizeof zone, "--zone=%s", old);
    begin(m, c, "firewalld's zone trusted");
    tw_setup_cmd(m, "firewall-cmd", "--permanent", "--zone=trusted", old[0] != '\0' ? change : add,
                 NULL);
    tw_setup_cmd(m, "firewall-cmd", "--reload", NULL);
    if (old[0] != '\0')
        tw_setup_undo(m, "firewall-cmd", "--permanent", zone, change, NULL);
    else
        tw_setup_undo(m, "firewall-cmd", "--permanent", "--zone=trusted", remove, NULL);
    tw_setup_settle(m, "firewall-cmd", "--reload", NULL);
    touch_zone(m, "trusted");
    if (old[0] != '\0')
        touch_zone(m, old);
    touch_profile(m, c);
}

static void plan_rich(tw_setup_maker *m, const tw_setup_cable *c)
{
    const char *zone = c->nic != NULL && c->nic->zone[0] != '\0' ? c->nic->zone
                       : m->f->firewall.default_zone[0] != '\0'  ? m->f->firewall.default_zone
                                                                 : "public";
    char file[128], option[48];
    snprintf(file, sizeof file, "/etc/firewalld/zones/%s.xml", zone);
    snprintf(option, sizeof option, "--zone=%s", zone);
    if (tw_setup_is_unseen(m, "firewall", file))
        return;
    const char *text = tw_setup_seen_file(m->s, file, NULL);
    bool begun = false;
    for (size_t i = 0; i < m->w->n; i++) {
        char rule[160], add[200], remove[200], source[96];
        const char *ip = m->w->nodes[i].ip;
        snprintf(source, sizeof source, "source address=\"%s\"", ip);
        if (!is_peer(m, i) || (text != NULL && strstr(text, source) != NULL))
            continue;
        snprintf(rule, sizeof rule, "rule family=\"ipv%c\" source address=\"%s\" accept",
                 strchr(ip, ':') != NULL ? '6' : '4', ip);
        snprintf(add, sizeof add, "--add-rich-rule=%s", rule);
        snprintf(remove, sizeof remove, "--remove-rich-rule=%s", rule);
        if (!begun)
            begin(m, c, "a rich rule of firewalld for each");
        begun = true;
        tw_setup_cmd(m, "firewall-cmd", "--permanent", option, add, NULL);
        tw_setup_undo(m, "firewall-cmd", "--permanent", option, remove, NULL);
    }
    if (!begun)
        return;
    tw_setup_cmd(m, "firewall-cmd", "--reload", NULL);
    tw_setup_settle(m, "firewall-cmd", "--reload", NULL);
    touch_zone(m, zone);
}

/* ---- ufw ---- */

static const char *const ufw_files[] = {"/etc/ufw/user.rules", "/etc/ufw/user6.rules"};

static void touch_ufw(tw_setup_maker *m)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(ufw_files); i++)
        tw_setup_touch(m, ufw_files[i]);
    tw_setup_settle(m, "ufw", "reload", NULL);
}

static bool in_ufw(const tw_setup_maker *m, const char *word)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(ufw_files); i++) {
        const char *text = tw_setup_seen_file(m->s, ufw_files[i], NULL);
        for (const char *at = text;
             at != NULL && (at = strstr(at, "### tuple ### allow any any")) != NULL; at++) {
            char line[300];
            snprintf(line, sizeof line, "%.*s ", (int)TW_MIN(strcspn(at, "\n"), sizeof line - 2),
                     at);
            if (strstr(line, word) != NULL)
                return true;
        }
    }
    return false;
}

static void plan_ufw(tw_setup_maker *m, const tw_setup_cable *c)
{
    char word[96];
    bool begun = false;
    for (size_t i = 0; i < TW_ARRAY_LEN(ufw_files); i++)
        if (tw_setup_is_unseen(m, "firewall", ufw_files[i]))
            return;
    if (c->dedicated) {
        snprintf(word, sizeof word, " in_%s ", c->name);
        if (in_ufw(m, word))
            return;
        begin(m, c, "ufw");
        tw_setup_cmd(m, "ufw", "allow", "in", "on", c->name, "comment", "twinax", NULL);
        tw_setup_undo(m, "ufw", "delete", "allow", "in", "on", c->name, NULL);
        touch_ufw(m);
        return;
    }
    for (size_t i = 0; i < m->w->n; i++) {
        const char *ip = m->w->nodes[i].ip;
        snprintf(word, sizeof word, " %s in ", ip);
        if (!is_peer(m, i) || in_ufw(m, word))
            continue;
        if (!begun)
            begin(m, c, "ufw");
        begun = true;
        tw_setup_cmd(m, "ufw", "allow", "from", ip, "comment", "twinax", NULL);
        tw_setup_undo(m, "ufw", "delete", "allow", "from", ip, NULL);
    }
    if (begun)
        touch_ufw(m);
}

/* ---- nftables ---- */

typedef struct nft_chain {
    char family[8], table[64], chain[64];
    size_t after; /* where a rule of ours goes in the text */
} nft_chain;

/* One word of the text from *at on; false at its end. Comments and braces are words of their own. */
static bool next_word(const char *text, size_t *at, char *out, size_t out_bytes)
{
    for (;;) {
        *at += strspn(text + *at, " \t\n;");
        if (text[*at] != '#')
            break;
        *at += strcspn(text + *at, "\n");
    }
    size_t n = text[*at] == '{' || text[*at] == '}' ? 1 : strcspn(text + *at, " \t\n;{}#");
    snprintf(out, out_bytes, "%.*s", (int)TW_MIN(n, out_bytes - 1), text + *at);
    *at += n;
    return n > 0;
}

/* They go into a shell's script: a name of nft's own, no variable, no quotes. */
static bool is_plain(const char *name)
{
    return name[0] != '\0' && name[0] != '-' &&
           name[strspn(name,
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/")] ==
               '\0';
}

/* The first chain of hook input in a file of `table FAMILY NAME { chain NAME { type filter hook
 * input ...; policy drop; ... } }`. */
static bool find_chain(const char *text, nft_chain *ret)
{
    char w[4][64] = {"", "", "", ""};
    nft_chain c = {0};
    size_t at = 0;
    while (next_word(text, &at, w[3], sizeof w[3])) {
        if (strcmp(w[3], "{") == 0 && strcmp(w[1], "chain") == 0)
            snprintf(c.chain, sizeof c.chain, "%s", w[2]);
        else if (strcmp(w[3], "{") == 0 && strcmp(w[0], "table") == 0) {
            snprintf(c.family, sizeof c.family, "%.7s", w[1]);
            snprintf(c.table, sizeof c.table, "%s", w[2]);
        } else if (strcmp(w[3], "{") == 0 && strcmp(w[1], "table") == 0) {
            snprintf(c.family, sizeof c.family, "ip");
            snprintf(c.table, sizeof c.table, "%s", w[2]);
        } else if (strcmp(w[3], "input") == 0 && strcmp(w[2], "hook") == 0 &&
                   strcmp(w[1], "filter") == 0 && c.chain[0] != '\0') {
            at += strcspn(text + at, "\n}");
            c.after = at + (text[at] == '\n');
            *ret = c;
            return text[at] == '\n' && is_plain(c.family) && is_plain(c.table) && is_plain(c.chain);
        }
        memmove(w[0], w[1], 3 * sizeof w[0]);
    }
    return false;
}

static void plan_nft_rule(tw_setup_maker *m, const nft_chain *c, const char *key, const char *value,
                          tw_buf *lines)
{
    char family[8], table[64], chain[64], script[400], quoted[96];
    snprintf(family, sizeof family, "%s", c->family);
    snprintf(table, sizeof table, "%s", c->table);
    snprintf(chain, sizeof chain, "%s", c->chain);
    const bool interface = strcmp(key, "iifname") == 0;
    snprintf(quoted, sizeof quoted, interface ? "\"%s\"" : "%s", value);
    if (interface)
        tw_setup_cmd(m, "nft", "insert", "rule", family, table, chain, key, quoted, "accept",
                     "comment", "\"twinax\"", NULL);
    else
        tw_setup_cmd(m, "nft", "insert", "rule", family, table, chain,
                     strchr(value, ':') != NULL ? "ip6" : "ip", "saddr", value, "accept", "comment",
                     "\"twinax\"", NULL);
    /* A live rule can only be taken away by its handle. */
    snprintf(script, sizeof script,
             "h=$(nft -a list chain %s %s %s | sed -n 's/.*comment \"twinax\" # handle //p' | "
             "head -n 1); [ -z \"$h\" ] || nft delete rule %s %s %s handle \"$h\"",
             family, table, chain, family, table, chain);
    tw_setup_undo(m, "sh", "-c", script, NULL);
    if (interface ? tw_buf_printf(lines, "\t\tiifname \"%s\" accept comment \"twinax\"\n", value)
                  : tw_buf_printf(lines, "\t\t%s saddr %s accept comment \"twinax\"\n",
                                  strchr(value, ':') != NULL ? "ip6" : "ip", value))
        m->failed = true;
}

static void plan_nftables(tw_setup_maker *m, const tw_setup_cable *c)
{
    const char *path =
        m->f->firewall.config[0] != '\0' ? m->f->firewall.config : "/etc/nftables.conf";
    const char *text = tw_setup_seen_file(m->s, path, NULL);
    nft_chain chain;
    TW_CLEANUP(tw_buf_done) tw_buf lines = TW_BUF(TEXT_MAX), after = TW_BUF(TEXT_MAX);
    if (m->f->firewall.rules == TW_NO || tw_setup_is_unseen(m, "firewall", path))
        return;
    if (text == NULL || !find_chain(text, &chain)) {
        tw_setup_note(m,
                      "nftables: no chain of hook input in %s: let in by hand what comes from "
                      "%s",
                      path, c->dedicated ? c->name : "the other nodes");
        return;
    }
    if (strstr(text, "comment \"twinax\"") != NULL)
        return;
    begin(m, c, "a rule of nftables");
    if (c->dedicated)
        plan_nft_rule(m, &chain, "iifname", c->name, &lines);
    for (size_t i = 0; i < m->w->n && !c->dedicated; i++)
        if (is_peer(m, i))
            plan_nft_rule(m, &chain, "saddr", m->w->nodes[i].ip, &lines);
    if (tw_buf_append(&after, text, chain.after) != 0 ||
        tw_buf_puts(&after, lines.data != NULL ? lines.data : "") != 0 ||
        tw_buf_puts(&after, text + chain.after) != 0)
        m->failed = true;
    else
        tw_setup_file(m, path, 0644, after.data, NULL);
}

void tw_setup_plan_firewall(tw_setup_maker *m)
{
    tw_setup_cable c;
    if (!tw_setup_find_cable(m, &c) || m->f->firewall.active == TW_NO)
        return;
    switch (m->f->firewall.kind) {
    case TW_FIREWALL_FIREWALLD:
        if (c.dedicated)
            plan_trusted(m, &c);
        else
            plan_rich(m, &c);
        return;
    case TW_FIREWALL_UFW:
        plan_ufw(m, &c);
        return;
    case TW_FIREWALL_NFTABLES:
        plan_nftables(m, &c);
        return;
    case TW_FIREWALL_NONE:
    case TW_FIREWALL_UNKNOWN:
    case TW_FIREWALLS:
        return;
    }
}
