/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net_rdma.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_file.h"

enum { RDMA_PORTS_MAX = 4, RDMA_GIDS_MAX = 32 };

typedef struct rdma_port {
    const char *root, *device;
    unsigned port;
} rdma_port;

static bool read_port(const rdma_port *p, const char *what, char *out, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "sys/class/infiniband/%.63s/ports/%u/%s", p->device, p->port, what);
    return tw_facts_text(p->root, path, out, n);
}

static bool read_gid(const rdma_port *p, const char *what, unsigned i, char *out, size_t n)
{
    char name[48];
    snprintf(name, sizeof name, "gid_attrs/%s/%u", what, i);
    return read_port(p, name, out, n);
}

/* Each type once, in the order of the table. */
static void note_type(tw_net_if *f, const char *type)
{
    if (type[0] == '\0' || strstr(f->gid_types, type) != NULL)
        return;
    size_t len = strlen(f->gid_types);
    snprintf(f->gid_types + len, sizeof f->gid_types - len, "%s%.20s", len > 0 ? ", " : "", type);
}

static tw_net_if *find_if(tw_net *n, const char *name)
{
    for (size_t i = 0; i < n->n_ifs; i++)
        if (strcmp(n->ifs[i].name, name) == 0)
            return &n->ifs[i];
    return NULL;
}

static void read_rdma_port(const rdma_port *p, tw_net *n)
{
    char state[32], dev[32], type[32];
    if (!read_port(p, "state", state, sizeof state))
        return;
    const char *word = strchr(state, ' '); /* "4: ACTIVE" */
    for (unsigned i = 0; i < RDMA_GIDS_MAX; i++) {
        if (!read_gid(p, "ndevs", i, dev, sizeof dev))
            continue;
        tw_net_if *f = find_if(n, dev);
        if (f == NULL)
            continue;
        snprintf(f->rdma, sizeof f->rdma, "%.63s", p->device);
        snprintf(f->state, sizeof f->state, "%.23s", word != NULL ? word + 1 : state);
        f->rdma_port = (uint8_t)p->port;
        if (read_gid(p, "types", i, type, sizeof type))
            note_type(f, type);
    }
}

static void give_reason(tw_net *n, bool has_class, size_t n_devices)
{
    bool has_port = false;
    for (size_t i = 0; i < n->n_ifs; i++)
        has_port = has_port || n->ifs[i].rdma[0] != '\0';
    if (!has_class)
        snprintf(n->rdma_why, sizeof n->rdma_why,
                 "no RDMA in the kernel (/sys/class/infiniband is not there): no such card, or its "
                 "driver is not loaded (irdma, mlx5_ib, rdma_rxe)");
    else if (n_devices == 0)
        snprintf(n->rdma_why, sizeof n->rdma_why,
                 "the kernel lists no RDMA device (/sys/class/infiniband is empty)");
    else if (!has_port)
        snprintf(n->rdma_why, sizeof n->rdma_why,
                 "no RDMA device belongs to an interface of this machine");
}

void tw_net_read_rdma(const char *root, tw_net *n)
{
    char path[1024];
    size_t n_devices = 0;
    DIR *d = tw_facts_path(root, "sys/class/infiniband", path, sizeof path) ? opendir(path) : NULL;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.' || strlen(e->d_name) >= sizeof n->ifs[0].rdma)
            continue;
        n_devices++;
        for (unsigned port = 1; port <= RDMA_PORTS_MAX; port++)
            read_rdma_port(&(rdma_port){.root = root, .device = e->d_name, .port = port}, n);
    }
    if (d != NULL)
        closedir(d);
    give_reason(n, d != NULL, n_devices);
}

static bool is_port_of(const rdma_port *p, const char *interface)
{
    char dev[32];
    for (unsigned i = 0; i < RDMA_GIDS_MAX; i++)
        if (read_gid(p, "ndevs", i, dev, sizeof dev) && strcmp(dev, interface) == 0)
            return true;
    return false;
}

bool tw_net_rdma_of(const char *root, const char *interface, char *ret_device, size_t device_bytes,
                    unsigned *ret_port)
{
    char path[1024];
    bool found = false;
    DIR *d = tw_facts_path(root, "sys/class/infiniband", path, sizeof path) ? opendir(path) : NULL;
    for (struct dirent *e; d != NULL && !found && (e = readdir(d)) != NULL;) {
        for (unsigned port = 1; e->d_name[0] != '.' && port <= RDMA_PORTS_MAX && !found; port++) {
            found = is_port_of(&(rdma_port){.root = root, .device = e->d_name, .port = port},
                               interface);
            if (found) {
                tw_text_set(ret_device, device_bytes, "%s", e->d_name);
                *ret_port = port;
            }
        }
    }
    if (d != NULL)
        closedir(d);
    return found;
}
