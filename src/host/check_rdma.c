/* SPDX-License-Identifier: Apache-2.0 */
/* RDMA: device, mode, port, GID, the library's half. */
#include <inttypes.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

static const char *device_of(const tw_check_ctx *c)
{
    return c->use->net != NULL ? c->use->net->rdma : "";
}

/* Which module makes an RDMA device of a card of this driver. */
const char *tw_check_rdma_module(const char *driver)
{
    static const struct pair {
        const char *driver, *module;
    } pairs[] = {{"ice", "irdma"},         {"i40e", "irdma"},      {"mlx5_core", "mlx5_ib"},
                 {"mlx4_core", "mlx4_ib"}, {"mlx4_en", "mlx4_ib"}, {"bnxt_en", "bnxt_re"}};
    for (size_t i = 0; i < TW_ARRAY_LEN(pairs); i++)
        if (strcmp(driver, pairs[i].driver) == 0)
            return pairs[i].module;
    return NULL;
}

CHECK(rdma_device)
{
    const char *module = c->use->net != NULL ? tw_check_rdma_module(c->use->net->driver) : NULL;
    if (c->use->net != NULL && device_of(c)[0] != '\0') {
        tw_check_found(c, "%s port %u%s%s", device_of(c), c->use->net->rdma_port,
                       c->use->nic != NULL && c->use->nic->rdma_provider[0] != '\0' ? ", driver "
                                                                                    : "",
                       c->use->nic != NULL ? c->use->nic->rdma_provider : "");
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%s has none%s%s", tw_check_if_name(c),
                   c->f->net.rdma_why[0] != '\0' ? ": " : "", c->f->net.rdma_why);
    tw_check_wanted(c, "an RDMA device of the cluster's interface");
    if (module != NULL && !tw_facts_has_module(c->f, module)) {
        tw_check_mend(c,
                      "sudo modprobe %s (and `echo %s | sudo tee /etc/modules-load.d/twinax.conf`)",
                      module, module);
    } else if (module != NULL) {
        tw_check_mend(c,
                      "the module %s is loaded: look for it in `sudo dmesg`; a card in iWARP mode "
                      "or without firmware says so there",
                      module);
    } else {
        tw_check_mend(c, "name the card's interface in twinax.conf, or take --transport tcp");
    }
    return TW_CHECK_FAIL;
}

CHECK(rdma_mode)
{
    const tw_facts_nic *n = c->use->nic;
    if (device_of(c)[0] == '\0' || n == NULL || n->rdma_mode[0] == '\0')
        return tw_check_na(c, "no RDMA device whose mode is known");
    tw_check_found(c, "%s", n->rdma_mode);
    if (strcmp(n->rdma_mode, "iwarp") != 0)
        return TW_CHECK_OK;
    char slot[32], cmode[40];
    const char *pci =
        c->use->net->pci[0] != '\0' ? tw_check_quote(c->use->net->pci, slot, sizeof slot) : "SLOT";
    const char *mode = n->devlink_cmode[0] != '\0'
                           ? tw_check_quote(n->devlink_cmode, cmode, sizeof cmode)
                           : "runtime";
    tw_check_wanted(c, "roce: iWARP has no GIDs, all would silently go over TCP");
    tw_check_mend(
        c,
        "sudo devlink dev param set pci/%s name enable_iwarp value false cmode %s && sudo "
        "devlink dev param set pci/%s name enable_roce value true cmode %s%s%s",
        pci, mode, pci, mode,
        strcmp(mode, "driverinit") == 0 ? " && sudo devlink dev reload pci/" : "",
        strcmp(mode, "driverinit") == 0 ? pci : "");
    c->r->step = TW_STEP_ROCE;
    return TW_CHECK_FAIL;
}

CHECK(rdma_port)
{
    const tw_net_if *f = c->use->net;
    if (device_of(c)[0] == '\0' || f->state[0] == '\0')
        return tw_check_na(c, "no RDMA port whose state is known");
    tw_check_found(c, "%s port %u is %s", f->rdma, f->rdma_port, f->state);
    if (strcmp(f->state, "ACTIVE") == 0)
        return TW_CHECK_OK;
    tw_check_wanted(c, "ACTIVE");
    if (tw_check_is_infiniband(c->use) && strcmp(f->state, "INIT") == 0) {
        const bool fedora = tw_check_family_of(c->f) == TW_FAMILY_FEDORA;
        tw_check_mend(c,
                      "InfiniBand wants a subnet manager on exactly one node: sudo %s install "
                      "opensm && sudo systemctl enable --now opensm",
                      fedora ? "dnf" : "apt");
    } else {
        tw_check_mend(c, "plug the cable in on both ends and sudo ip link set %s up",
                      tw_check_if_name(c));
    }
    return TW_CHECK_FAIL;
}

/* "3 RoCE v2 192.168.100.1" of this type and address. */
static bool has_gid(const tw_facts_nic *n, const char *type, const char *ip, char *index,
                    size_t index_bytes)
{
    for (size_t i = 0; i < n->n_gids; i++) {
        const char *rest = strchr(n->gids[i], ' ');
        size_t len = strlen(type);
        if (rest == NULL || strncmp(rest + 1, type, len) != 0 || rest[1 + len] != ' ' ||
            strcmp(rest + len + 2, ip) != 0)
            continue;
        snprintf(index, index_bytes, "%.*s", (int)(rest - n->gids[i]), n->gids[i]);
        return true;
    }
    return false;
}

CHECK(rdma_gid)
{
    const tw_facts_nic *n = c->use->nic;
    const char *ip = tw_check_ip(c->w, c->use, c->i);
    char index[16] = "";
    if (device_of(c)[0] == '\0')
        return tw_check_na(c, "no RDMA device");
    if (tw_check_is_infiniband(c->use))
        return tw_check_na(c, "InfiniBand goes by LID");
    const char *types = c->use->net->gid_types;
    const bool v2 = strstr(types, "RoCE v2") != NULL;
    const bool cut = n != NULL && n->n_gids == TW_FACTS_GIDS_MAX; /* it may be among the others */
    if (n != NULL && n->n_gids > 0 && ip[0] != '\0' &&
        (!cut || !v2 || has_gid(n, "RoCE v2", ip, index, sizeof index))) {
        if (has_gid(n, "RoCE v2", ip, index, sizeof index)) {
            tw_check_found(c, "GID %s is RoCE v2 of %s", index, ip);
            return TW_CHECK_OK;
        }
        tw_check_found(c, "no RoCE v2 GID of %s among %zu", ip, n->n_gids);
    } else if (v2) {
        tw_check_found(c, "%s", types);
        return TW_CHECK_OK;
    } else if (types[0] == '\0') {
        return tw_check_na(c, "the port's GIDs are unknown");
    } else {
        tw_check_found(c, "%s", types);
    }
    tw_check_wanted(c, "a RoCE v2 GID of %s", ip[0] != '\0' ? ip : "the cluster's address");
    if (c->use->addr == NULL)
        tw_mend_address(c); /* the kernel makes the GID of the address */
    else if (!v2)
        tw_check_mend(c,
                      "update the card's firmware; a ConnectX-3 without \"Pro\" cannot: use it as "
                      "InfiniBand, or take --transport tcp");
    else
        tw_check_mend(c,
                      "sudo ip link set %s down && sudo ip link set %s up: the kernel makes the "
                      "GIDs anew",
                      tw_check_if_name(c), tw_check_if_name(c));
    return TW_CHECK_FAIL;
}

CHECK(rdma_mtu)
{
    const tw_facts_nic *n = c->use->nic;
    if (device_of(c)[0] == '\0' || n == NULL || n->rdma_mtu == 0)
        return tw_check_na(c, "no RDMA port whose MTU is known");
    tw_check_found(c, "%u", n->rdma_mtu);
    if (n->rdma_mtu >= 4096 || tw_check_is_infiniband(c->use))
        return TW_CHECK_OK;
    tw_check_wanted(c, "4096 (needs an interface MTU above 4200)");
    if (c->use->net->mtu >= 4200)
        tw_check_mend(c,
                      "sudo ip link set %s down && sudo ip link set %s up: the port takes its MTU "
                      "when the link comes up",
                      tw_check_if_name(c), tw_check_if_name(c));
    else
        tw_mend_mtu(c, tw_check_wanted_mtu(c->use));
    return TW_CHECK_WARN;
}

/* ---- the library's half ---- */

static const char *provider_for(const tw_check_ctx *c)
{
    static const struct pair {
        const char *kernel, *library;
    } pairs[] = {{"irdma", "irdma"},  {"mlx5_ib", "mlx5"},   {"mlx5_core", "mlx5"},
                 {"mlx4_ib", "mlx4"}, {"mlx4_core", "mlx4"}, {"rdma_rxe", "rxe"},
                 {"rxe", "rxe"},      {"siw", "siw"},        {"bnxt_re", "bnxt_re"},
                 {"ice", "irdma"},    {"mlx4_en", "mlx4"}};
    const char *kernel = c->use->nic != NULL && c->use->nic->rdma_provider[0] != '\0'
                             ? c->use->nic->rdma_provider
                         : c->use->net != NULL ? c->use->net->driver
                                               : "";
    for (size_t i = 0; i < TW_ARRAY_LEN(pairs); i++)
        if (strcmp(kernel, pairs[i].kernel) == 0)
            return pairs[i].library;
    return NULL;
}

CHECK(rdma_library)
{
    const tw_facts_rdma *r = &c->f->rdma;
    const char *want = provider_for(c);
    if (r->library[0] == '\0') {
        tw_check_found(c, "libibverbs is not installed");
        tw_check_wanted(c, "rdma-core: libibverbs and its providers");
        tw_mend_packages(c, "rdma-core libibverbs", "rdma-core libibverbs1 ibverbs-providers");
        return TW_CHECK_FAIL;
    }
    tw_check_found(c, "rdma-core %s%s%s", r->version[0] != '\0' ? r->version : "?",
                   want != NULL ? ", provider " : "", want != NULL ? want : "");
    if (want == NULL || r->n_providers == 0)
        return TW_CHECK_OK;
    size_t len = strlen(want);
    for (size_t i = 0; i < r->n_providers; i++)
        if (strncmp(r->providers[i], want, len) == 0 &&
            (r->providers[i][len] == '-' || r->providers[i][len] == '\0'))
            return TW_CHECK_OK;
    tw_check_found(c, "rdma-core %s has no provider %s for the kernel's driver",
                   r->version[0] != '\0' ? r->version : "?", want);
    tw_check_wanted(c, "a provider %s-rdmav...: without it the device is not seen", want);
    tw_mend_packages(c, "rdma-core libibverbs", "ibverbs-providers");
    return TW_CHECK_FAIL;
}

/* irdma's words to the library changed: an old one answers "Unknown completion". */
CHECK(rdma_match)
{
    const tw_facts_rdma *r = &c->f->rdma;
    const char *want = provider_for(c);
    const tw_check_version v = tw_check_version_parse(r->version);
    if (want == NULL || r->version[0] == '\0' || device_of(c)[0] == '\0')
        return tw_check_na(c, "rdma-core's version or the device is unknown");
    tw_check_found(c, "rdma-core %s with kernel %s", r->version, c->f->os.kernel);
    const bool old_irdma = strcmp(want, "irdma") == 0 && tw_check_version_below(v, 39, 0, 0);
    if (!old_irdma && !tw_check_version_below(v, 28, 0, 0))
        return TW_CHECK_OK;
    tw_check_wanted(c, "%s or newer for %s", old_irdma ? "39" : "28", want);
    tw_mend_packages(c, "rdma-core libibverbs", "rdma-core ibverbs-providers");
    return TW_CHECK_WARN;
}

CHECK(rdma_uverbs)
{
    const tw_facts_dev *best = NULL;
    for (size_t i = 0; i < c->f->n_devs; i++)
        if (strncmp(c->f->devs[i].path, "/dev/infiniband/uverbs", 22) == 0 &&
            (best == NULL || c->f->devs[i].usable == TW_YES))
            best = &c->f->devs[i];
    if (best == NULL) {
        tw_check_found(c, "no /dev/infiniband/uverbs*");
        tw_check_wanted(c, "one for each RDMA device");
        tw_check_mend(c, "sudo modprobe ib_uverbs");
        return device_of(c)[0] != '\0' ? TW_CHECK_FAIL : TW_CHECK_WARN;
    }
    tw_check_found(c, "%s (group %s, mode %04o)%s", best->path, best->group, best->mode & 07777u,
                   best->usable == TW_NO ? " does not open for us" : "");
    if (best->usable != TW_NO)
        return TW_CHECK_OK;
    tw_check_wanted(c, "readable and writable");
    if (best->group[0] != '\0' && strcmp(best->group, "root") != 0) {
        char quoted[80];
        tw_mend_group(c, tw_check_quote(best->group, quoted, sizeof quoted));
    } else {
        tw_check_mend(c,
                      "printf 'KERNEL==\"uverbs*\", MODE=\"0666\"\\n' | sudo tee "
                      "/etc/udev/rules.d/90-twinax.rules && sudo udevadm control --reload && sudo "
                      "udevadm trigger");
        c->r->step = "devices";
    }
    return TW_CHECK_FAIL;
}
