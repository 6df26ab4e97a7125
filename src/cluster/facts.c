/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/facts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

static json_t *print_addresses(const tw_net_if *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->n_addrs; i++) {
        char text[TW_NET_IP_BYTES + 8];
        snprintf(text, sizeof text, "%s/%u", f->addrs[i].ip, f->addrs[i].prefix);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *print_if(const tw_net_if *f)
{
    json_t *v = json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:i, s:i, s:o}", "name", f->name, "kind",
                          tw_net_kind_name(f->kind), "driver", f->driver, "up", f->up, "carrier",
                          f->carrier, "default_route", f->default_route, "mtu", (int)f->mtu,
                          "speed_mbit", (int)f->speed_mbit, "addresses", print_addresses(f));
    if (v != NULL && f->pci[0] != '\0')
        json_object_set_new(v, "pci",
                            json_pack("{s:s, s:i, s:i, s:f}", "address", f->pci, "width",
                                      (int)f->pci_width, "max_width", (int)f->pci_max_width, "gts",
                                      f->pci_gts));
    if (v != NULL && f->rdma[0] != '\0')
        json_object_set_new(v, "rdma",
                            json_pack("{s:s, s:i, s:s, s:s}", "device", f->rdma, "port",
                                      (int)f->rdma_port, "state", f->state, "gid_types",
                                      f->gid_types));
    return v;
}

json_t *tw_facts_net_print(const tw_net *n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n->n_ifs; i++)
        json_array_append_new(list, print_if(&n->ifs[i]));
    return json_pack("{s:s, s:s, s:o}", "host", n->host, "rdma_why", n->rdma_why, "interfaces",
                     list);
}

/* Another machine's text will be printed: no control characters. */
static void copy_text(char *out, size_t out_bytes, const char *from)
{
    size_t n = 0;
    for (; from[n] != '\0' && n + 1 < out_bytes; n++)
        out[n] = (unsigned char)from[n] < 0x20 || from[n] == 0x7f ? '?' : from[n];
    out[n] = '\0';
}

static void read_text(tw_json_obj *o, const char *key, char *out, size_t out_bytes)
{
    copy_text(out, out_bytes, tw_json_text(o, key, ""));
}

static void parse_addresses(const json_t *list, tw_net_if *f)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        tw_net_addr a;
        const char *text = json_string_value(v);
        if (text != NULL && f->n_addrs < TW_NET_ADDRS_MAX && tw_net_addr_parse(text, &a))
            f->addrs[f->n_addrs++] = a;
    }
}

static void parse_devices(tw_json_obj *o, tw_net_if *f)
{
    const json_t *pci = tw_json_get(o, "pci"), *rdma = tw_json_get(o, "rdma");
    if (json_is_object(pci)) {
        tw_json_obj p = {.file = o->file, .prefix = "pci.", .v = pci, .err = o->err};
        read_text(&p, "address", f->pci, sizeof f->pci);
        f->pci_width = (uint32_t)tw_json_u64(&p, "width", 0, 0, 64);
        f->pci_max_width = (uint32_t)tw_json_u64(&p, "max_width", 0, 0, 64);
        f->pci_gts = tw_json_f64(&p, "gts", 0, 0, 1000);
        o->rc = o->rc != 0 ? o->rc : p.rc;
    }
    if (json_is_object(rdma)) {
        tw_json_obj r = {.file = o->file, .prefix = "rdma.", .v = rdma, .err = o->err};
        read_text(&r, "device", f->rdma, sizeof f->rdma);
        read_text(&r, "state", f->state, sizeof f->state);
        read_text(&r, "gid_types", f->gid_types, sizeof f->gid_types);
        f->rdma_port = (uint8_t)tw_json_u64(&r, "port", 1, 0, 255);
        o->rc = o->rc != 0 ? o->rc : r.rc;
    }
}

static int parse_if(const json_t *v, tw_net_if *ret, tw_err *err)
{
    if (!json_is_object(v))
        return tw_err_set(err, -EPROTO, "facts: an interface that is no object");
    tw_json_obj o = {.file = "facts", .prefix = "interfaces.", .v = v, .err = err};
    *ret = (tw_net_if){0};
    read_text(&o, "name", ret->name, sizeof ret->name);
    read_text(&o, "driver", ret->driver, sizeof ret->driver);
    if (!tw_net_kind_parse(tw_json_text(&o, "kind", "other"), &ret->kind))
        ret->kind = TW_NET_OTHER;
    ret->up = tw_json_bool(&o, "up", false);
    ret->carrier = tw_json_bool(&o, "carrier", false);
    ret->default_route = tw_json_bool(&o, "default_route", false);
    ret->mtu = (uint32_t)tw_json_u64(&o, "mtu", 0, 0, INT32_MAX);
    ret->speed_mbit = (uint32_t)tw_json_u64(&o, "speed_mbit", 0, 0, INT32_MAX);
    parse_addresses(tw_json_get(&o, "addresses"), ret);
    parse_devices(&o, ret);
    return o.rc;
}

int tw_facts_net_parse(const json_t *v, tw_net *ret, tw_err *err)
{
    if (!json_is_object(v))
        return tw_err_set(err, -EPROTO, "facts: no object");
    tw_json_obj o = {.file = "facts", .prefix = "", .v = v, .err = err};
    memset(ret, 0, sizeof *ret);
    read_text(&o, "host", ret->host, sizeof ret->host);
    read_text(&o, "rdma_why", ret->rdma_why, sizeof ret->rdma_why);
    const json_t *list = tw_json_get(&o, "interfaces");
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n && ret->n_ifs < TW_NET_IFS_MAX && o.rc == 0; i++) {
        o.rc = parse_if(json_array_get(list, i), &ret->ifs[ret->n_ifs], err);
        ret->n_ifs++;
    }
    return o.rc;
}
