/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a card does RoCE or iWARP is a parameter of devlink. */
#include <linux/devlink.h>
#include <linux/genetlink.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_ethtool.h"
#include "host/facts_file.h"
#include "host/facts_netlink.h"

typedef struct dump {
    const tw_net *net;
    tw_facts_nic *nics;
    size_t n_nics;
} dump;

typedef struct setting {
    bool on;
    char cmode[16];
} setting;

static void take_value(void *ctx, uint16_t type, const void *p, size_t n)
{
    static const char *const modes[] = {"runtime", "driverinit", "permanent"};
    setting *s = ctx;
    size_t n_mode, n_data;
    if (type != DEVLINK_ATTR_PARAM_VALUE)
        return;
    uint32_t mode = 0;
    const void *m = tw_nl_find(p, n, DEVLINK_ATTR_PARAM_VALUE_CMODE, &n_mode);
    mode = tw_nl_u32(m, n_mode);
    if (s->cmode[0] != '\0' || mode >= TW_ARRAY_LEN(modes))
        return; /* the first one is what is in force */
    tw_text_set(s->cmode, sizeof s->cmode, "%s", modes[mode]);
    s->on = tw_nl_find(p, n, DEVLINK_ATTR_PARAM_VALUE_DATA, &n_data) != NULL; /* a flag */
}

static void apply(const dump *d, const char *device, const char *name, const setting *s)
{
    for (size_t i = 0; i < d->n_nics; i++) {
        tw_facts_nic *n = &d->nics[i];
        const tw_net_if *f = tw_net_find(d->net, n->name);
        if (f == NULL || strcmp(f->pci, device) != 0)
            continue;
        if (strcmp(name, "enable_roce") == 0) {
            n->enable_roce = tw_tri_of(s->on);
            memcpy(n->devlink_cmode, s->cmode, sizeof n->devlink_cmode);
        } else if (strcmp(name, "enable_iwarp") == 0) {
            n->enable_iwarp = tw_tri_of(s->on);
        } else if (strcmp(name, "enable_rdma") == 0) {
            n->enable_rdma = tw_tri_of(s->on);
        }
    }
}

static void take_param(void *ctx, const struct nlmsghdr *m)
{
    char device[32], name[48];
    size_t n, n_dev, n_param, n_name, n_values;
    const void *body = tw_nl_body(m, sizeof(struct genlmsghdr), &n);
    const void *dev = tw_nl_find(body, n, DEVLINK_ATTR_DEV_NAME, &n_dev);
    const void *param = tw_nl_find(body, n, DEVLINK_ATTR_PARAM, &n_param);
    if (dev == NULL || param == NULL)
        return;
    const void *p = tw_nl_find(param, n_param, DEVLINK_ATTR_PARAM_NAME, &n_name);
    tw_nl_text(p, n_name, name, sizeof name);
    tw_nl_text(dev, n_dev, device, sizeof device);
    const void *values = tw_nl_find(param, n_param, DEVLINK_ATTR_PARAM_VALUES_LIST, &n_values);
    setting s = {0};
    if (values != NULL)
        tw_nl_each(values, n_values, take_value, &s);
    if (s.cmode[0] != '\0')
        apply(ctx, device, name, &s);
}

void tw_devlink_read(const tw_net *net, tw_facts_nic *nics, size_t n_nics)
{
    dump d = {.net = net, .nics = nics, .n_nics = n_nics};
    tw_nl_request q;
    uint16_t family = tw_nl_family(DEVLINK_GENL_NAME);
    if (family == 0)
        return;
    struct genlmsghdr *g = tw_nl_begin(&q, family, NLM_F_DUMP, sizeof *g);
    g->cmd = DEVLINK_CMD_PARAM_GET;
    g->version = DEVLINK_GENL_VERSION;
    (void)tw_nl_ask(NETLINK_GENERIC, &q, take_param, &d);
}
