/* SPDX-License-Identifier: Apache-2.0 */
/* Devices of one rank: each opened once, with one arena that is registered once and carved. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "base/scope.h"
#include "link/verbs_inside.h"
#include "os/file.h"

enum { LINKS_MAX = 32 };

typedef struct shared_device {
    char name[TW_RDMA_NAME_BYTES];
    tw_verbs_ctx *ctx;
    tw_verbs_mr *mr;
    uint8_t *arena; /* [n_links][TW_LINK_VERBS_ARENA_BYTES] */
    uint32_t lkey, rkey;
    uint32_t used; /* a bit for each part; 0: not open */
} shared_device;

struct tw_verbs_pool {
    const tw_verbs_api *api; /* of the first link */
    unsigned n_links, n_users;
    shared_device devices[TW_VERBS_DEVICES_MAX];
};

size_t tw_link_verbs_pin_bytes(unsigned n_links)
{
    return (size_t)n_links * TW_LINK_VERBS_ARENA_BYTES;
}

tw_verbs_pool *tw_verbs_pool_new(unsigned n_links)
{
    tw_verbs_pool *p = tw_mem_calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->n_links = TW_MIN(n_links, (unsigned)LINKS_MAX);
    p->n_users = 1;
    return p;
}

void tw_verbs_pool_release(tw_verbs_pool *p)
{
    if (p != NULL && --p->n_users == 0)
        tw_mem_free(p);
}

static int tell_memlock(const tw_verbs_pool *p, const char *device, int rc, tw_err *err)
{
    struct rlimit r = {0};
    char limit[32] = "unlimited";
    (void)getrlimit(RLIMIT_MEMLOCK, &r);
    if (r.rlim_cur != RLIM_INFINITY)
        snprintf(limit, sizeof limit, "%llu KiB", (unsigned long long)r.rlim_cur / 1024);
    return tw_err_set(err, rc,
                      "%s: register %zu KiB: %s; memlock limit is %s, wanted unlimited (ulimit "
                      "-l unlimited; unit: LimitMEMLOCK=infinity; container: --ulimit memlock=-1)",
                      device, tw_link_verbs_pin_bytes(p->n_links) / 1024, strerror(-rc), limit);
}

static void close_shared(const tw_verbs_pool *p, shared_device *d)
{
    p->api->dereg(d->mr);
    p->api->close(d->ctx);
    tw_pages_free(d->arena, tw_link_verbs_pin_bytes(p->n_links));
    *d = (shared_device){0};
}

static int open_shared(const tw_verbs_pool *p, const char *name, shared_device *d, tw_err *err)
{
    size_t bytes = tw_link_verbs_pin_bytes(p->n_links);
    unsigned n_ports;
    snprintf(d->name, sizeof d->name, "%s", name);
    int rc = p->api->open(name, &d->ctx, &n_ports);
    if (rc != 0)
        return tw_err_set(err, rc, "open RDMA device %s: %s", name, strerror(-rc));
    d->arena = tw_pages_new(bytes);
    if (d->arena == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for rdma links");
    /* A child that we fork must not take pages from under the adapter. */
    (void)madvise(d->arena, bytes, MADV_DONTFORK);
    rc = p->api->reg(d->ctx, d->arena, bytes, &d->mr, &d->lkey, &d->rkey);
    if (rc == -ENOMEM || rc == -EPERM || rc == -EAGAIN)
        return tell_memlock(p, name, rc, err);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: register memory: %s", name, strerror(-rc));
}

/* The device of this name, or a place for it. */
static shared_device *find_shared(tw_verbs_pool *p, const char *name)
{
    shared_device *place = NULL;
    for (unsigned i = 0; i < TW_ARRAY_LEN(p->devices); i++) {
        shared_device *d = &p->devices[i];
        if (d->used != 0 && strcmp(d->name, name) == 0)
            return d;
        if (d->used == 0 && place == NULL)
            place = d;
    }
    return place;
}

int tw_verbs_pool_take(tw_verbs_pool *p, const tw_verbs_api *api, const char *device,
                       tw_verbs_part *ret, tw_err *err)
{
    shared_device *d = find_shared(p, device);
    unsigned i = 0;
    p->api = p->api != NULL ? p->api : api;
    while (d != NULL && (d->used >> i & 1) != 0)
        i++;
    if (d == NULL || i >= p->n_links || p->api != api)
        return tw_err_set(err, -ENOSPC, "%s: no part of its memory is left for one more link",
                          device);
    int rc = d->used == 0 ? open_shared(p, device, d, err) : 0;
    if (rc != 0) {
        close_shared(p, d);
        return rc;
    }
    d->used |= UINT32_C(1) << i;
    p->n_users++;
    *ret = (tw_verbs_part){.pool = p,
                           .ctx = d->ctx,
                           .arena = d->arena + (size_t)i * TW_LINK_VERBS_ARENA_BYTES,
                           .lkey = d->lkey,
                           .rkey = d->rkey,
                           .i_device = (unsigned)(d - p->devices),
                           .i_part = i};
    /* The one before may have left flags and data. */
    memset(ret->arena, 0, TW_LINK_VERBS_ARENA_BYTES);
    return 0;
}

void tw_verbs_pool_give(tw_verbs_part *t)
{
    if (t->pool == NULL)
        return;
    shared_device *d = &t->pool->devices[t->i_device];
    d->used &= ~(UINT32_C(1) << t->i_part);
    if (d->used == 0)
        close_shared(t->pool, d);
    tw_verbs_pool_release(t->pool);
    t->pool = NULL;
}
