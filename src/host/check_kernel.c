/* SPDX-License-Identifier: Apache-2.0 */
/* Distribution, kernel, its parameters. */
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

/* Known to work, oldest version that was used. */
static const struct os_known {
    const char *id;
    unsigned version;
    const char *name;
} known[] = {
    {"fedora", 42, "Fedora 42"},
    {"ubuntu", 24, "Ubuntu 24.04"},
    {"debian", 12, "Debian 12"},
};

CHECK(os_known)
{
    const tw_facts_os *o = &c->f->os;
    if (o->id[0] == '\0')
        return tw_check_na(c, "the distribution is unknown");
    const char *name = o->pretty_name[0] != '\0' ? o->pretty_name : o->id;
    const unsigned version = tw_check_version_parse(o->version_id).v[0];
    tw_check_found(c, "%s", name);
    for (size_t i = 0; i < TW_ARRAY_LEN(known); i++) {
        if (strcmp(o->id, known[i].id) != 0)
            continue;
        if (version >= known[i].version || version == 0) /* testing has no number */
            return TW_CHECK_OK;
        tw_check_wanted(c, "%s or newer", known[i].name);
        tw_check_mend(c, "upgrade the distribution to %s or newer", known[i].name);
        return TW_CHECK_WARN;
    }
    tw_check_found(c, "%s: not among those tried; the checks below tell what matters", name);
    return TW_CHECK_OK;
}

CHECK(kernel_version)
{
    const tw_check_version v = tw_check_version_parse(c->f->os.kernel);
    if (c->f->os.kernel[0] == '\0')
        return tw_check_na(c, "the kernel's version is unknown");
    tw_check_found(c, "%s", c->f->os.kernel);
    if (c->use->strix_halo && c->use->want[TW_NEED_VLLM] != TW_WANT_NO &&
        tw_check_version_below(v, 6, 16, 9)) {
        tw_check_found(c, "%s: ROCm sees 15.5 GB of this machine's memory", c->f->os.kernel);
        tw_check_wanted(c, "6.16.9 or newer on Strix Halo for vllm; 6.18 is tried");
        if (tw_check_family_of(c->f) == TW_FAMILY_FEDORA)
            tw_check_mend(c, "sudo dnf upgrade --refresh kernel && sudo reboot");
        else if (tw_check_id_is(c->f, "ubuntu"))
            tw_check_mend(c, "sudo apt install linux-oem-24.04 (6.17), or a mainline kernel; then "
                             "sudo reboot");
        else if (tw_check_family_of(c->f) == TW_FAMILY_DEBIAN)
            tw_check_mend(c,
                          "sudo apt install -t trixie-backports linux-image-amd64 && sudo reboot");
        else
            tw_check_mend(c, "install kernel 6.16.9 or newer and reboot");
        return c->use->want[TW_NEED_VLLM] == TW_WANT_YES ? TW_CHECK_FAIL : TW_CHECK_WARN;
    }
    if (!tw_check_version_below(v, 5, 15, 0))
        return TW_CHECK_OK;
    tw_check_wanted(c, "5.15 or newer");
    tw_check_mend(c, "install a newer kernel of the distribution and reboot");
    return TW_CHECK_WARN;
}

CHECK(kernel_reboot)
{
    const tw_facts_boot *b = &c->f->boot;
    if (b->reboot_pending == TW_UNKNOWN)
        return tw_check_na(c, "whether a reboot is due is unknown");
    if (b->reboot_pending == TW_NO) {
        tw_check_found(c, "none is due");
        return TW_CHECK_OK;
    }
    const bool kernel =
        b->newest_kernel[0] != '\0' && strcmp(b->newest_kernel, c->f->os.kernel) != 0;
    tw_check_found(c, "due: %s%s",
                   kernel ? "kernel " : "what the next boot gets differs from what runs",
                   kernel ? b->newest_kernel : "");
    tw_check_mend(c, "sudo systemctl reboot");
    return TW_CHECK_WARN;
}

/* ---- parameters ---- */

bool tw_check_kernel_ask(const tw_check_ctx *c, tw_kernel_ask *ret)
{
    const tw_check_use *u = c->use;
    const tw_facts_gpu_limits *l = &c->f->gpu_limits;
    const bool pci = u->net != NULL && u->net->pci[0] != '\0';
    *ret = (tw_kernel_ask){.installed_bytes = u->installed_bytes,
                           .unified_gpu = u->unified_gpu && u->want[TW_NEED_VLLM] != TW_WANT_NO,
                           .rdma_card = pci && u->want[TW_NEED_RDMA] != TW_WANT_NO &&
                                        !tw_check_is_software_rdma(u) &&
                                        c->f->os.virtual_machine[0] == '\0',
                           .no_gttsize = l->amdgpu == TW_YES && !l->amdgpu_gttsize_mb.known &&
                                         l->amdgpu_gttsize_auto == TW_UNKNOWN};
    return ret->unified_gpu || ret->rdma_card;
}

static enum tw_check_status judge(tw_check_ctx *c, const char *const *names, size_t n_names)
{
    tw_kernel_ask ask;
    tw_kernel_param all[TW_KERNEL_PARAMS_MAX], mine[TW_KERNEL_PARAMS_MAX];
    char found[224] = "";
    size_t n_all = 0, n = 0, n_bad = 0;
    if (tw_check_kernel_ask(c, &ask))
        n_all = tw_kernel_params_judge(&ask, c->f->os.cmdline, all);
    for (size_t i = 0; i < n_all; i++)
        for (size_t k = 0; k < n_names; k++)
            if (strcmp(all[i].name, names[k]) == 0)
                mine[n++] = all[i];
    if (n == 0)
        return tw_check_na(c, "not asked for: an RDMA card in a slot, or vllm on a GPU in system "
                              "memory");
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(found), wanted = strlen(c->r->wanted);
        const bool bad = tw_kernel_param_needed(&mine[i]);
        const char *word = mine[i].state == TW_KERNEL_KEPT ? mine[i].note
                           : mine[i].found[0] != '\0'      ? mine[i].found
                                                           : "none";
        snprintf(found + len, sizeof found - len, "%s%s%s", len > 0 ? ", " : "",
                 mine[i].found[0] == '\0' ? "no " : "",
                 mine[i].found[0] == '\0' ? mine[i].name : word);
        if (bad)
            snprintf(c->r->wanted + wanted, sizeof c->r->wanted - wanted, "%s%s",
                     wanted > 0 ? " " : "", mine[i].set);
        n_bad += bad;
    }
    tw_check_found(c, "%s", found);
    if (n_bad == 0)
        return TW_CHECK_OK;
    tw_mend_kernel(c, all, n_all);
    return c->use->want[TW_NEED_RDMA] == TW_WANT_YES || c->use->want[TW_NEED_VLLM] == TW_WANT_YES
               ? TW_CHECK_FAIL
               : TW_CHECK_WARN;
}

/* In the boot loader already: then only the reboot is missing. */
static enum tw_check_status judge_named(tw_check_ctx *c, const char *const *names, size_t n_names)
{
    enum tw_check_status s = judge(c, names, n_names);
    const char *next = c->f->boot.next;
    if (s < TW_CHECK_WARN || next[0] == '\0')
        return s;
    tw_kernel_ask ask;
    tw_kernel_param v[TW_KERNEL_PARAMS_MAX];
    if (!tw_check_kernel_ask(c, &ask))
        return s;
    size_t n = tw_kernel_params_judge(&ask, next, v);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_names; k++)
            if (strcmp(v[i].name, names[k]) == 0 && tw_kernel_param_needed(&v[i]))
                return s;
    tw_check_mend(c, "sudo systemctl reboot (the boot loader has it, the running kernel does not)");
    return s;
}

CHECK(kernel_iommu)
{
    static const char *const names[] = {"iommu"};
    enum tw_check_status s = judge_named(c, names, 1);
    /* Without translation in force the word changes nothing. */
    if (s >= TW_CHECK_WARN && strcmp(c->f->mem.iommu, "passthrough") == 0) {
        tw_check_found(c, "pass-through is in force without iommu=pt");
        return TW_CHECK_OK;
    }
    return s;
}

CHECK(kernel_pci)
{
    static const char *const names[] = {"pci"};
    return judge_named(c, names, 1);
}

CHECK(kernel_aspm)
{
    static const char *const names[] = {"pcie_aspm"};
    return judge_named(c, names, 1);
}

CHECK(kernel_gtt)
{
    static const char *const names[] = {"amdgpu.gttsize", "ttm.pages_limit"};
    if (c->use->unified_gpu && c->use->want[TW_NEED_VLLM] != TW_WANT_NO &&
        c->use->installed_bytes == 0)
        return tw_check_na(c, "how much memory is installed is unknown");
    return judge_named(c, names, 2);
}
