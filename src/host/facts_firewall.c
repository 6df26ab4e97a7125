/* SPDX-License-Identifier: Apache-2.0 */
/* Which firewall rules here, and whom it trusts, by its files and by the kernel's own rules. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_netlink.h"
#include "host/facts_reader.h"

/* ---- the kernel's chains ---- */

static void take_chain(void *ctx, const struct nlmsghdr *m)
{
    bool *drops = ctx;
    size_t n, n_hook, n_num, n_policy;
    const void *body = tw_nl_body(m, sizeof(struct nfgenmsg), &n);
    const void *hook = tw_nl_find(body, n, NFTA_CHAIN_HOOK, &n_hook);
    if (hook == NULL)
        return;
    const void *num = tw_nl_find(hook, n_hook, NFTA_HOOK_HOOKNUM, &n_num);
    const void *policy = tw_nl_find(body, n, NFTA_CHAIN_POLICY, &n_policy);
    bool input = num != NULL && ntohl(tw_nl_u32(num, n_num)) == NF_INET_LOCAL_IN;
    *drops = *drops || (input && policy != NULL && ntohl(tw_nl_u32(policy, n_policy)) == NF_DROP);
}

/* A chain at input whose last word is no. Only root may ask. */
static tw_tri kernel_drops(void)
{
    tw_nl_request q;
    bool drops = false;
    uint16_t type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN;
    struct nfgenmsg *g = tw_nl_begin(&q, type, NLM_F_DUMP, sizeof *g);
    g->version = NFNETLINK_V0;
    int rc = tw_nl_ask(NETLINK_NETFILTER, &q, take_chain, &drops);
    return rc == 0 ? tw_tri_of(drops) : rc == -EPERM ? TW_UNKNOWN : TW_NO;
}

/* ---- firewalld ---- */

/* The attribute's value of the next <tag attribute="value"; NULL at the end. */
static const char *next_tag(const char *p, const char *tag, const char *attribute, char *out,
                            size_t out_bytes)
{
    size_t n_tag = strlen(tag), n_attribute = strlen(attribute);
    while ((p = strchr(p, '<')) != NULL) {
        p++;
        if (strncmp(p, tag, n_tag) != 0 || (p[n_tag] != ' ' && p[n_tag] != '\t'))
            continue;
        size_t len = strcspn(p, ">");
        for (const char *a = p; a < p + len; a++)
            if (strncmp(a, attribute, n_attribute) == 0 && a[n_attribute] == '=' &&
                (a[n_attribute + 1] == '"' || a[n_attribute + 1] == '\'')) {
                const char *v = a + n_attribute + 2;
                tw_text_set(out, out_bytes, "%.*s", (int)strcspn(v, "\"'"), v);
                return p + len;
            }
    }
    return NULL;
}

static void take_trusted(const char *text, tw_facts_firewall *w)
{
    char value[64];
    for (const char *p = text; (p = next_tag(p, "interface", "name", value, sizeof value)) &&
                               w->n_trusted < TW_FACTS_ZONES_MAX;)
        tw_text_set(w->trusted[w->n_trusted++], sizeof w->trusted[0], "%.15s", value);
    for (const char *p = text; (p = next_tag(p, "source", "address", value, sizeof value)) &&
                               w->n_sources < TW_FACTS_ZONES_MAX;)
        tw_text_set(w->sources[w->n_sources++], sizeof w->sources[0], "%s", value);
}

static void take_zone(tw_facts *f, const char *zone, const char *text)
{
    char name[64];
    for (const char *p = text; (p = next_tag(p, "interface", "name", name, sizeof name)) != NULL;)
        for (size_t i = 0; i < f->n_nics; i++)
            if (strcmp(f->nics[i].name, name) == 0)
                tw_text_set(f->nics[i].zone, sizeof f->nics[i].zone, "%.31s", zone);
    if (strcmp(zone, "trusted") == 0)
        take_trusted(text, &f->firewall);
}

static void read_firewalld(tw_facts_reader *r, tw_facts_firewall *w)
{
    static const char folder[] = "etc/firewalld/zones";
    tw_text_set(w->config, sizeof w->config, "/etc/firewalld");
    if (tw_reader_text(r, "etc/firewalld/firewalld.conf"))
        tw_text_value(r->work, "DefaultZone", w->default_zone, sizeof w->default_zone);
    tw_facts_names(r->root, folder, "", &r->names);
    for (size_t i = 0; i < r->names.n; i++) {
        char path[160], zone[TW_NAME_BYTES];
        const char *end = strstr(r->names.v[i], ".xml");
        if (end == NULL || end[4] != '\0')
            continue; /* .xml.old */
        tw_text_set(zone, sizeof zone, "%.*s", (int)(end - r->names.v[i]), r->names.v[i]);
        tw_text_set(path, sizeof path, "%s/%s", folder, r->names.v[i]);
        if (tw_reader_text(r, path))
            take_zone(r->f, zone, r->work);
    }
    /* A profile of NetworkManager's may name its zone too. */
    for (size_t i = 0; i < r->f->n_nics; i++)
        if (strcmp(r->f->nics[i].zone, "trusted") == 0 && w->n_trusted < TW_FACTS_ZONES_MAX) {
            bool have = false;
            for (size_t k = 0; k < w->n_trusted; k++)
                have = have || strcmp(w->trusted[k], r->f->nics[i].name) == 0;
            if (!have)
                tw_text_set(w->trusted[w->n_trusted++], sizeof w->trusted[0], "%s",
                            r->f->nics[i].name);
        }
}

/* ---- ufw ---- */

/* "### tuple ### allow any any 0.0.0.0/0 any 192.168.100.0/30 in_enp1s0" */
static void take_tuples(tw_facts_reader *r, const char *path, tw_facts_firewall *w)
{
    char *rest = r->work, *line;
    if (!tw_reader_text(r, path))
        return;
    while ((line = tw_text_line(&rest)) != NULL) {
        char proto[8], port[24], source[64], in[32] = "";
        int got =
            sscanf(line, "### tuple ### allow %7s %23s %*s %*s %63s %31s", proto, port, source, in);
        if (got < 3 || strcmp(proto, "any") != 0 || strcmp(port, "any") != 0)
            continue; /* a single port is no trust */
        bool everywhere = strcmp(source, "0.0.0.0/0") == 0 || strcmp(source, "::/0") == 0;
        if (!everywhere && w->n_sources < TW_FACTS_ZONES_MAX)
            tw_text_set(w->sources[w->n_sources++], sizeof w->sources[0], "%s", source);
        if (everywhere && strncmp(in, "in_", 3) == 0 && w->n_trusted < TW_FACTS_ZONES_MAX)
            tw_text_set(w->trusted[w->n_trusted++], sizeof w->trusted[0], "%.15s", in + 3);
    }
}

static bool is_ufw_on(tw_facts_reader *r)
{
    char text[16];
    return tw_reader_text(r, "etc/ufw/ufw.conf") &&
           tw_text_value(r->work, "ENABLED", text, sizeof text) && strcmp(text, "yes") == 0;
}

/* ---- which one ---- */

static bool is_nftables_on(tw_facts_reader *r)
{
    return tw_facts_exists(r->root, "etc/systemd/system/sysinit.target.wants/nftables.service") ||
           tw_facts_exists(r->root, "etc/systemd/system/multi-user.target.wants/nftables.service");
}

void tw_reader_firewall(tw_facts_reader *r)
{
    tw_facts_firewall *w = &r->f->firewall;
    w->rules = r->root == NULL ? kernel_drops() : TW_UNKNOWN;
    bool firewalld = tw_facts_is_running(r->f, "firewalld"), ufw = is_ufw_on(r);
    bool nftables = is_nftables_on(r) || w->rules == TW_YES;
    w->active = tw_tri_of(firewalld || ufw || nftables);
    if (firewalld || (!ufw && !nftables && tw_facts_has_tool(r->f, "firewall-cmd"))) {
        w->kind = TW_FIREWALL_FIREWALLD;
        read_firewalld(r, w);
    } else if (ufw || (!nftables && tw_facts_has_tool(r->f, "ufw"))) {
        w->kind = TW_FIREWALL_UFW;
        tw_text_set(w->config, sizeof w->config, "/etc/ufw");
        take_tuples(r, "etc/ufw/user.rules", w);
        take_tuples(r, "etc/ufw/user6.rules", w);
    } else if (nftables) {
        w->kind = TW_FIREWALL_NFTABLES;
        bool file = tw_facts_exists(r->root, "etc/nftables.conf");
        tw_text_set(w->config, sizeof w->config, "%s",
                    file ? "/etc/nftables.conf" : "/etc/sysconfig/nftables.conf");
    } else {
        w->kind = TW_FIREWALL_NONE;
    }
}
