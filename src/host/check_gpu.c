/* SPDX-License-Identifier: Apache-2.0 */
/* The GPU that vllm needs. */
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

static const tw_facts_gpu *compute_gpu(const tw_facts *f)
{
    for (size_t i = 0; i < f->n_gpus; i++)
        if (f->gpus[i].gfx[0] != '\0')
            return &f->gpus[i];
    return NULL;
}

CHECK(gpu_present)
{
    const tw_facts_gpu *g = compute_gpu(c->f);
    if (g != NULL) {
        tw_check_found(c, "%s, driver %s", g->gfx, g->driver[0] != '\0' ? g->driver : "unknown");
        return TW_CHECK_OK;
    }
    if (c->f->n_gpus > 0)
        tw_check_found(c, "driver %s, and no compute node of the kernel (kfd)",
                       c->f->gpus[0].driver[0] != '\0' ? c->f->gpus[0].driver : "none");
    else
        tw_check_found(c, "no GPU");
    tw_check_wanted(c, "an AMD GPU that ROCm can use (driver amdgpu, /dev/kfd)");
    if (c->f->gpu_limits.amdgpu == TW_NO && c->f->n_gpus > 0)
        tw_check_mend(c, "sudo modprobe amdgpu (and take nomodeset off the kernel's command line)");
    else
        tw_check_mend(c, "use --engine native here: it needs no GPU");
    return TW_CHECK_FAIL;
}

/* Whether this process may use a device node; if not, by which group it could. */
static enum tw_check_status judge_dev(tw_check_ctx *c, const tw_facts_dev *d, const char *path,
                                      const char *group)
{
    if (d == NULL) {
        tw_check_found(c, "%s is not there", path);
        tw_check_wanted(c, "%s", path);
        tw_check_mend(c, "sudo modprobe amdgpu, then look for amdgpu and kfd in `sudo dmesg`");
        return TW_CHECK_FAIL;
    }
    const char *owner = d->group[0] != '\0' ? d->group : group;
    tw_check_found(c, "%s (group %s, mode %04o) opens", d->path, owner, d->mode & 07777u);
    if (d->usable == TW_YES)
        return TW_CHECK_OK;
    if (d->usable == TW_UNKNOWN)
        return tw_check_na(c, "whether it opens is unknown");
    tw_check_found(c, "%s (group %s, mode %04o) does not open for us", d->path, owner,
                   d->mode & 07777u);
    tw_check_wanted(c, "readable and writable");
    bool in_file = false;
    for (size_t i = 0; i < c->f->user.n_file_groups; i++)
        in_file = in_file || strcmp(c->f->user.file_groups[i], owner) == 0;
    char quoted[80];
    if (in_file)
        tw_check_mend(c, "log out of all sessions and in anew: the group %s is given already",
                      owner);
    else
        tw_mend_group(c, tw_check_quote(owner, quoted, sizeof quoted));
    return TW_CHECK_FAIL;
}

CHECK(gpu_kfd)
{
    return judge_dev(c, tw_facts_find_dev(c->f, "/dev/kfd"), "/dev/kfd", "render");
}

CHECK(gpu_dri)
{
    const tw_facts_dev *best = NULL;
    for (size_t i = 0; i < c->f->n_devs; i++)
        if (strncmp(c->f->devs[i].path, "/dev/dri/render", 15) == 0 &&
            (best == NULL || c->f->devs[i].usable == TW_YES))
            best = &c->f->devs[i];
    return judge_dev(c, best, "/dev/dri/renderD128", "render");
}

CHECK(gpu_used)
{
    const tw_facts_gpu *g = compute_gpu(c->f);
    if (g == NULL || c->w->config.engine != TW_CHECK_ENGINE_NATIVE)
        return tw_check_na(c, "no GPU that the chosen engine leaves unused");
    tw_check_found(c, "%s is not used: the native engine computes on the CPU", g->gfx);
    return TW_CHECK_OK;
}
