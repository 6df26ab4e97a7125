/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, what the GPU may have of it, limits, disks. */
#include <inttypes.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

static const tw_facts_gpu *unified_gpu(const tw_check_ctx *c)
{
    const tw_facts_gpu *best = NULL;
    for (size_t i = 0; i < c->f->n_gpus; i++)
        if (best == NULL || c->f->gpus[i].gfx[0] != '\0')
            best = &c->f->gpus[i];
    return c->use->unified_gpu ? best : NULL;
}

CHECK(memory_carveout)
{
    const tw_facts_gpu *g = unified_gpu(c);
    if (g == NULL || !g->vram_bytes.known)
        return tw_check_na(c, "no GPU that lives in system memory");
    const double vram = (double)g->vram_bytes.v / TW_GIB;
    tw_check_found(c, "the BIOS keeps %.3g GiB for the iGPU; Linux sees %.4g GiB", vram,
                   (double)c->f->mem.total_bytes / TW_GIB);
    if (vram <= 1.01)
        return TW_CHECK_OK;
    tw_check_wanted(c, "512 MB: what is kept is lost to everything else, the GPU maps the rest by "
                       "itself");
    tw_check_mend(c, "in the BIOS set the iGPU memory (UMA frame buffer) to 512 MB or its minimum");
    return vram > 8 ? TW_CHECK_FAIL : TW_CHECK_WARN;
}

CHECK(memory_gtt)
{
    const tw_facts_gpu *g = unified_gpu(c);
    const tw_facts_gpu_limits *l = &c->f->gpu_limits;
    if (g == NULL || !g->gtt_bytes.known || c->use->installed_bytes == 0)
        return tw_check_na(c, "no driver that reports a GTT size");
    const uint64_t want = tw_kernel_gtt_bytes(c->use->installed_bytes);
    tw_check_found(c, "the driver reports %.4g GiB", (double)g->gtt_bytes.v / TW_GIB);
    if (l->ttm_pages_limit.known && l->ttm_pages_limit.v < g->gtt_bytes.v / 4096) {
        tw_check_found(c, "the driver reports %.4g GiB, but ttm gives out %.4g GiB",
                       (double)g->gtt_bytes.v / TW_GIB,
                       (double)l->ttm_pages_limit.v * 4096 / TW_GIB);
    } else if (g->gtt_bytes.v >= want / 4 * 3) {
        return TW_CHECK_OK;
    }
    tw_check_wanted(c, "%.4g GiB of %.4g installed", (double)want / TW_GIB,
                    (double)c->use->installed_bytes / TW_GIB);
    tw_kernel_ask ask;
    tw_kernel_param v[TW_KERNEL_PARAMS_MAX];
    size_t n = tw_check_kernel_ask(c, &ask) ? tw_kernel_params_judge(&ask, c->f->os.cmdline, v) : 0;
    bool needed = false;
    for (size_t i = 0; i < n; i++)
        needed = needed || tw_kernel_param_needed(&v[i]);
    if (needed)
        tw_mend_kernel(c, v, n);
    else
        tw_check_mend(c, "the parameters are right: look for amdgpu in `sudo dmesg`; a file in "
                         "/etc/modprobe.d may say otherwise");
    return TW_CHECK_FAIL;
}

CHECK(memory_free)
{
    const tw_facts_mem *m = &c->f->mem;
    const size_t n = TW_MAX(c->w->n_nodes, (size_t)1);
    if (m->total_bytes == 0)
        return tw_check_na(c, "the memory's size is unknown");
    const double total = (double)m->total_bytes / TW_GIB,
                 left = (double)m->available_bytes / TW_GIB;
    const double need = (double)(c->f->model.bytes / n) * 1.15 / TW_GIB;
    tw_check_found(c, "%.4g of %.4g GiB available", left, total);
    if (c->f->model.bytes > 0) {
        tw_check_wanted(c, "%.3g GiB for this node's part of the model and some context", need);
        tw_check_mend(c, "end what else uses memory (`ps aux --sort=-rss | head`), or take more "
                         "nodes or a smaller model");
        if (left < need)
            return need > total ? TW_CHECK_FAIL : TW_CHECK_WARN;
    }
    if (left >= total / 20 || left >= 8)
        return TW_CHECK_OK;
    tw_check_wanted(c, "some room to work in");
    tw_check_mend(c, "end what uses memory: `ps aux --sort=-rss | head`");
    return TW_CHECK_WARN;
}

CHECK(memory_hugepages)
{
    const tw_facts_mem *m = &c->f->mem;
    if (!m->huge_total.known || !m->huge_page_bytes.known || m->total_bytes == 0)
        return tw_check_na(c, "huge pages are unknown");
    double kept = 0;
    kept = (double)m->huge_free.v * (double)m->huge_page_bytes.v;
    tw_check_found(c, "%" PRIu64 " reserved, %" PRIu64 " of them free%s%s", m->huge_total.v,
                   m->huge_free.v, m->thp[0] != '\0' ? "; transparent ones: " : "", m->thp);
    if (kept <= (double)m->total_bytes / 16)
        return TW_CHECK_OK;
    tw_check_wanted(c, "none that nobody uses: %.3g GiB are kept from the models", kept / TW_GIB);
    tw_check_mend(c, "sudo sysctl vm.nr_hugepages=0 (and the line in /etc/sysctl.d)");
    return TW_CHECK_WARN;
}

/* ---- memlock ---- */

static void size_text(uint64_t v, char out[32])
{
    if (v == TW_BYTES_UNLIMITED)
        snprintf(out, 32, "unlimited");
    else
        snprintf(out, 32, "%" PRIu64 " KiB", v / 1024);
}

CHECK(memory_memlock)
{
    const tw_facts_limits *l = &c->f->limits;
    char child[32], user[80];
    if (c->use->want[TW_NEED_RDMA] == TW_WANT_NO && c->use->want[TW_NEED_VLLM] == TW_WANT_NO)
        return tw_check_na(c, "not asked for: RDMA or vllm");
    const tw_count eff = l->memlock_child.known ? l->memlock_child : l->memlock_soft;
    if (!eff.known)
        return tw_check_na(c, "the limit is unknown");
    size_text(eff.v, child);
    tw_check_found(c, "a child may lock %s%s", child,
                   l->memlock_cap == TW_YES ? " (CAP_IPC_LOCK: limits do not count)" : "");
    if (eff.v == TW_BYTES_UNLIMITED || l->memlock_cap == TW_YES)
        return TW_CHECK_OK;
    tw_check_wanted(c, "unlimited: RDMA and ROCm pin what they work on");
    c->r->step = TW_STEP_MEMLOCK;
    if (l->memlock_rule[0] != '\0' && strstr(l->memlock_rule, "unlimited") != NULL) {
        tw_check_mend(c,
                      "the rule \"%s\" is there: log out of all sessions and in anew (shared ssh "
                      "connections too: ssh -O exit NODE)",
                      l->memlock_rule);
    } else {
        tw_check_mend(c,
                      "printf '%%s soft memlock unlimited\\n%%s hard memlock unlimited\\n' %s %s | "
                      "sudo tee /etc/security/limits.d/90-twinax.conf, then log in anew",
                      tw_check_quote(c->f->user.name[0] != '\0' ? c->f->user.name : "*", user,
                                     sizeof user),
                      user);
    }
    const bool asked =
        c->use->want[TW_NEED_RDMA] == TW_WANT_YES || c->use->want[TW_NEED_VLLM] == TW_WANT_YES;
    return asked && eff.v < (UINT64_C(1) << 30) ? TW_CHECK_FAIL : TW_CHECK_WARN;
}

CHECK(limits_nofile)
{
    const tw_count n = c->f->limits.nofile_soft;
    if (!n.known)
        return tw_check_na(c, "the limit is unknown");
    tw_check_found(c, "%" PRIu64, n.v);
    if (n.v >= 1024)
        return TW_CHECK_OK;
    tw_check_wanted(c, "1024 or more");
    tw_check_mend(c, "ulimit -n 1024, and look into /etc/security/limits.conf");
    return TW_CHECK_WARN;
}

/* ---- disks ---- */

static enum tw_check_status judge_disk(tw_check_ctx *c, const tw_facts_disk *d, double need)
{
    if (d == NULL || !d->free_bytes.known)
        return tw_check_na(c, "the free space is unknown");
    const double left = (double)d->free_bytes.v / TW_GIB;
    tw_check_found(c, "%.4g GiB free on %s", left, d->path);
    if (left >= need)
        return TW_CHECK_OK;
    tw_check_wanted(c, "%.3g GiB or more", need);
    char quoted[200];
    tw_check_mend(c, "free some: `du -xh --max-depth=2 %s | sort -h | tail`",
                  tw_check_quote(d->path, quoted, sizeof quoted));
    return left < need / 20 ? TW_CHECK_FAIL : TW_CHECK_WARN;
}

CHECK(disk_root)
{
    return judge_disk(c, tw_facts_find_disk(c->f, "root"), 1);
}

CHECK(disk_models)
{
    const tw_facts_disk *d = tw_facts_find_disk(c->f, "models");
    /* A model that is there already needs no room. */
    return judge_disk(c, d != NULL ? d : tw_facts_find_disk(c->f, "home"),
                      c->f->model.bytes > 0 ? 1 : 4);
}
