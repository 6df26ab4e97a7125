/* SPDX-License-Identifier: Apache-2.0 */
/* The list of nodes: names and addresses. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/config_keys.h"
#include "cluster/ssh.h"

enum { LIST_MAX = 2048 };

/* fe80::/10 */
static bool is_link_local(const char *ip)
{
    return strncasecmp(ip, "fe", 2) == 0 && ip[2] != '\0' && strchr("89abAB", ip[2]) != NULL &&
           strchr(ip, ':') == ip + 4;
}

bool tw_node_is_link_local(const tw_node_spec *s)
{
    return is_link_local(s->ip);
}

const char *tw_node_zone(const tw_node_spec *s)
{
    const char *zone = strchr(s->ip, '%');
    return zone != NULL ? zone + 1 : "";
}

const char *tw_config_interface(const tw_config *c, const tw_node_spec *s)
{
    if (s->interface[0] != '\0')
        return s->interface;
    const char *zone = tw_node_zone(s);
    return zone[0] != '\0' ? zone : c->interface;
}

static int check_zone(const char *owner, const char *ip, const char *zone, tw_err *err)
{
    const size_t n = strlen(zone);
    if (!is_link_local(ip))
        return tw_err_set(err, -EINVAL, "%s: %.46s is not link-local: it takes no zone ('%%%.20s')",
                          owner, ip, zone);
    if (n == 0 || n > 15 || strpbrk(zone, " /%") != NULL)
        return tw_err_set(err, -EINVAL,
                          "%s: '%.20s' is no zone; wanted the interface's name: %.40s%%eth0", owner,
                          zone, ip);
    return 0;
}

int tw_node_ip_set(const char *owner, const char *text, tw_node_spec *ret, tw_err *err)
{
    struct in6_addr six;
    struct in_addr four;
    char ip[64];
    snprintf(ip, sizeof ip, "%s", text);
    char *zone = strchr(ip, '%');
    if (zone != NULL)
        *zone++ = '\0';
    if (strlen(text) >= sizeof ip ||
        (inet_pton(AF_INET, ip, &four) != 1 && inet_pton(AF_INET6, ip, &six) != 1))
        return tw_err_set(err, -EINVAL, "%s: '%.60s' is no IP address; wanted %s", owner, text,
                          "say 192.168.100.2");
    if (strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0)
        return tw_err_set(err, -EINVAL,
                          "%s: %s is every address; wanted the one of the cable's interface", owner,
                          text);
    int rc = zone != NULL ? check_zone(owner, ip, zone, err) : 0;
    if (rc == 0)
        snprintf(ret->ip, sizeof ret->ip, "%s", text);
    return rc;
}

/* Brackets are the sections' own. */
int tw_node_name_set(const char *text, tw_node_spec *ret, tw_err *err)
{
    int rc = tw_ssh_name_check(text, err);
    if (rc != 0)
        return rc;
    if (strlen(text) >= sizeof ret->name || strpbrk(text, "[];#\"") != NULL)
        return tw_err_set(err, -EINVAL,
                          "a node's name: wanted 1 to %zu characters, no brackets, quotes, ; or #",
                          sizeof ret->name - 1);
    snprintf(ret->name, sizeof ret->name, "%s", text);
    snprintf(ret->ssh, sizeof ret->ssh, "%s", text);
    return 0;
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t n = strlen(text);
    while (n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL)
        text[--n] = '\0';
    return text;
}

static int parse_entry(char *text, tw_nodes *ret, tw_err *err)
{
    char owner[80];
    if (ret->n == TW_NODES_MAX)
        return tw_err_set(err, -EINVAL, "nodes: more than %d", TW_NODES_MAX);
    tw_node_spec *s = &ret->v[ret->n];
    *s = (tw_node_spec){0};
    char *ip = strchr(text, '=');
    if (ip != NULL)
        *ip++ = '\0';
    int rc = tw_node_name_set(trim(text), s, err);
    snprintf(owner, sizeof owner, "node %s", s->name);
    if (rc == 0 && ip != NULL)
        rc = tw_node_ip_set(owner, trim(ip), s, err);
    for (size_t i = 0; rc == 0 && i < ret->n; i++)
        if (strcmp(ret->v[i].name, s->name) == 0 && strcmp(s->name, "local") != 0)
            rc = tw_err_set(err, -EINVAL, "nodes: %s is named twice", s->name);
    ret->n += rc == 0;
    return rc;
}

int tw_nodes_parse_list(const char *list, tw_nodes *ret, tw_err *err)
{
    char text[LIST_MAX], *at = text;
    TW_CLEANUP(tw_mem_freep) tw_nodes *n = tw_mem_calloc(1, sizeof *n);
    if (n == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the nodes");
    if (strlen(list) >= sizeof text)
        return tw_err_set(err, -EINVAL, "nodes: a list of more than %d characters", LIST_MAX - 1);
    snprintf(text, sizeof text, "%s", list);
    while (at != NULL) {
        int rc = parse_entry(strsep(&at, ","), n, err);
        if (rc != 0)
            return rc;
    }
    *ret = *n;
    return 0;
}

static int set_zone(tw_node_spec *s, const char *interface, tw_err *err)
{
    const char *zone = tw_node_zone(s);
    if (!is_link_local(s->ip))
        return 0;
    if (zone[0] != '\0' && s->interface[0] != '\0' && strcmp(zone, s->interface) != 0)
        return tw_err_set(err, -EINVAL, "node %s: its address is on %s, its interface is %s",
                          s->name, zone, s->interface);
    if (zone[0] != '\0')
        return 0;
    const char *own = s->interface[0] != '\0' ? s->interface : interface;
    const size_t n = strlen(s->ip);
    if (own[0] == '\0')
        return tw_err_set(err, -EINVAL,
                          "node %s: %s is link-local: add its interface on %s: %s%%thunderbolt0",
                          s->name, s->ip, s->name, s->ip);
    if (n + 1 + strlen(own) >= sizeof s->ip)
        return tw_err_set(err, -EINVAL, "node %s: %s%%%s is too long", s->name, s->ip, own);
    snprintf(s->ip + n, sizeof s->ip - n, "%%%s", own);
    return 0;
}

int tw_nodes_set_zones(tw_nodes *n, const char *interface, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < n->n && rc == 0; i++)
        rc = set_zone(&n->v[i], interface, err);
    return rc;
}

int tw_nodes_parse(const char *list, tw_nodes *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_nodes *n = tw_mem_calloc(1, sizeof *n);
    if (n == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the nodes");
    int rc = tw_nodes_parse_list(list, n, err);
    if (rc == 0)
        rc = tw_nodes_set_zones(n, "", err);
    if (rc == 0)
        *ret = *n;
    return rc;
}
