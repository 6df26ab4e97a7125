/* SPDX-License-Identifier: Apache-2.0 */
/* rdma-core as it is installed, and the kernel's side of it. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_reader.h"

static const char *const folders[] = {
    "usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu",
    "lib64",     "lib/x86_64-linux-gnu",     "lib/aarch64-linux-gnu",
    "usr/lib",   "usr/local/lib64",          "usr/local/lib"};

/* libibverbs.so.1.14.50.0: the package's version stands behind the interface's. */
static void take_version(const char *file, tw_facts_rdma *d)
{
    unsigned abi, major, minor;
    if (sscanf(file, "libibverbs.so.1.%u.%u.%u", &abi, &major, &minor) == 3)
        tw_text_set(d->version, sizeof d->version, "%u.%u", major, minor);
}

static bool take_library(tw_facts_reader *r, const char *folder, tw_facts_rdma *d)
{
    char path[96], target[96];
    tw_text_set(path, sizeof path, "%s/libibverbs.so.1", folder);
    if (!tw_facts_exists(r->root, path) && !tw_facts_link(r->root, path, target, sizeof target))
        return false;
    tw_text_set(d->library, sizeof d->library, "/%s", path);
    if (tw_facts_link_name(r->root, path, target, sizeof target))
        take_version(target, d);
    return true;
}

/* libirdma-rdmav34.so */
static void take_providers(tw_facts_reader *r, const char *folder, tw_facts_rdma *d)
{
    char path[96];
    tw_text_set(path, sizeof path, "%s/libibverbs", folder);
    tw_facts_names(r->root, path, "lib", &r->names);
    for (size_t i = 0; i < r->names.n && d->n_providers < TW_FACTS_PROVIDERS_MAX; i++) {
        const char *name = r->names.v[i] + 3, *end = strstr(name, ".so");
        if (end != NULL)
            tw_text_set(d->providers[d->n_providers++], sizeof d->providers[0], "%.*s",
                        (int)(end - name), name);
    }
}

void tw_reader_rdma(tw_facts_reader *r)
{
    tw_facts_rdma *d = &r->f->rdma;
    d->librdmacm = TW_NO;
    for (size_t i = 0; i < TW_ARRAY_LEN(folders); i++) {
        char path[96];
        tw_text_set(path, sizeof path, "%s/librdmacm.so.1", folders[i]);
        if (tw_facts_exists(r->root, path))
            d->librdmacm = TW_YES;
        if (d->library[0] == '\0' && take_library(r, folders[i], d))
            take_providers(r, folders[i], d);
    }
    d->kernel_abi = tw_facts_number(r->root, "sys/class/infiniband_verbs/abi_version");
    d->cm = tw_tri_of(tw_facts_exists(r->root, "dev/infiniband/rdma_cm"));
    char mode[8];
    if (tw_facts_text(r->root, "sys/module/ib_core/parameters/netns_mode", mode, sizeof mode))
        tw_text_set(d->netns_mode, sizeof d->netns_mode, "%s",
                    mode[0] == 'Y' ? "shared" : "exclusive");
}
