/* SPDX-License-Identifier: Apache-2.0 */
#include "host/kernel_params.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

enum { PAGE = 4096 };

uint64_t tw_kernel_installed(uint64_t known_bytes, uint64_t total_bytes, uint64_t vram_bytes)
{
    if (known_bytes != 0 || total_bytes == 0)
        return known_bytes;
    uint64_t sum = total_bytes;
    if (__builtin_add_overflow(sum, vram_bytes, &sum) || sum > UINT64_MAX / 2)
        return 0;
    uint64_t step = sum > 32 * GIB ? 16 * GIB : 8 * GIB;
    return TW_DIV_UP(sum, step) * step;
}

uint64_t tw_kernel_gtt_bytes(uint64_t installed_bytes)
{
    uint64_t left = installed_bytes < 16 * GIB ? installed_bytes / 4 : 4 * GIB;
    return (installed_bytes - left) / MIB * MIB;
}

uint64_t tw_kernel_gttsize_mib(uint64_t installed_bytes)
{
    return tw_kernel_gtt_bytes(installed_bytes) / MIB;
}

uint64_t tw_kernel_pages_limit(uint64_t installed_bytes)
{
    return tw_kernel_gtt_bytes(installed_bytes) / PAGE;
}

bool tw_kernel_param_needed(const tw_kernel_param *p)
{
    return p->state == TW_KERNEL_MISSING || p->state == TW_KERNEL_WRONG;
}

/* ---- one word ---- */

static bool in_list(const char *list, const char *item)
{
    size_t n = strlen(item);
    for (const char *at = list; *at != '\0'; at += strcspn(at, ",") + (strchr(at, ',') != NULL))
        if (strncmp(at, item, n) == 0 && (at[n] == ',' || at[n] == '\0'))
            return true;
    return false;
}

static void set_plain(tw_kernel_param *p)
{
    snprintf(p->set, sizeof p->set, "%s=%s", p->name, p->want);
}

/* A word whose value is a list: ours is added. */
static void set_in_list(tw_kernel_param *p, const char *value)
{
    snprintf(p->set, sizeof p->set, "%s=%s%s%s", p->name, value, value[0] != '\0' ? "," : "",
             p->want);
}

static tw_kernel_param begin(const char *name, const char *line, const char *why, char value[96])
{
    tw_kernel_param p = {.name = name, .why = why, .state = TW_KERNEL_MISSING};
    value[0] = '\0';
    if (!tw_kernel_line_get(line, name, value, 96))
        return p;
    p.state = TW_KERNEL_WRONG;
    snprintf(p.found, sizeof p.found, "%s%s%.60s", name, value[0] != '\0' ? "=" : "", value);
    return p;
}

static tw_kernel_param judge_iommu(const char *line)
{
    char value[96], amd[96];
    tw_kernel_param p =
        begin("iommu", line, "DMA of card and GPU goes past the IOMMU's translation", value);
    snprintf(p.want, sizeof p.want, "pt");
    set_in_list(&p, value);
    const bool amd_off =
        tw_kernel_line_get(line, "amd_iommu", amd, sizeof amd) && in_list(amd, "off");
    if (in_list(value, "pt")) {
        p.state = TW_KERNEL_GOOD;
    } else if (amd_off || in_list(value, "off")) {
        p.state = TW_KERNEL_KEPT;
        snprintf(p.found, sizeof p.found, "%s", amd_off ? "amd_iommu=off" : "iommu=off");
        snprintf(
            p.note, sizeof p.note,
            "%s is yours and stays: no translation at all, a little faster than iommu=pt; some "
            "cards and Thunderbolt want an IOMMU",
            p.found);
    } else if (in_list(value, "nopt") || in_list(value, "soft") || in_list(value, "force")) {
        set_plain(&p);
    }
    return p;
}

static tw_kernel_param judge_pci(const char *line)
{
    char value[96];
    tw_kernel_param p =
        begin("pci", line, "the kernel gives PCIe cards the address space that the BIOS did not",
              value);
    snprintf(p.want, sizeof p.want, "realloc");
    set_in_list(&p, value);
    if (in_list(value, "realloc") || in_list(value, "realloc=on")) {
        p.state = TW_KERNEL_GOOD;
    } else if (in_list(value, "realloc=off")) {
        p.state = TW_KERNEL_KEPT;
        snprintf(p.note, sizeof p.note,
                 "pci=realloc=off is yours and stays; if the card has no "
                 "memory regions (dmesg: BAR), take it away");
    }
    return p;
}

static tw_kernel_param judge_aspm(const char *line)
{
    char value[96];
    tw_kernel_param p =
        begin("pcie_aspm", line, "no power saving of the slot: it costs latency and links", value);
    snprintf(p.want, sizeof p.want, "off");
    set_plain(&p);
    if (strcmp(value, "off") == 0)
        p.state = TW_KERNEL_GOOD;
    return p;
}

/* An owner's own size is as good when it is between 3/4 of ours and what is there but 1 GiB. */
static bool is_good_size(uint64_t bytes, uint64_t installed_bytes)
{
    return bytes >= tw_kernel_gtt_bytes(installed_bytes) / 4 * 3 && bytes + GIB <= installed_bytes;
}

static tw_kernel_param judge_size(const char *name, const char *line, uint64_t unit,
                                  uint64_t installed_bytes)
{
    char value[96];
    uint64_t found = 0, bytes = 0, want = tw_kernel_gtt_bytes(installed_bytes);
    tw_kernel_param p = begin(name, line, "how much memory the GPU may map as its own", value);
    snprintf(p.want, sizeof p.want, "%" PRIu64, want / unit);
    set_plain(&p);
    if (p.state == TW_KERNEL_WRONG && tw_str_to_u64(value, &found) == 0 &&
        !__builtin_mul_overflow(found, unit, &bytes) && is_good_size(bytes, installed_bytes))
        p.state = TW_KERNEL_GOOD;
    return p;
}

/* Two limits of one thing: the smaller one counts, so another pair is ours to mend. */
static void judge_together(tw_kernel_param *gtt, tw_kernel_param *pages)
{
    uint64_t mib = 0, n = 0;
    if (gtt->state != TW_KERNEL_GOOD || pages->state != TW_KERNEL_GOOD)
        return;
    if (tw_str_to_u64(strchr(gtt->found, '=') + 1, &mib) == 0 &&
        tw_str_to_u64(strchr(pages->found, '=') + 1, &n) == 0 && mib * (MIB / PAGE) == n)
        return;
    if (strcmp(gtt->found, gtt->set) != 0)
        gtt->state = TW_KERNEL_WRONG;
    if (strcmp(pages->found, pages->set) != 0)
        pages->state = TW_KERNEL_WRONG;
}

size_t tw_kernel_params_judge(const tw_kernel_ask *ask, const char *line,
                              tw_kernel_param ret[TW_KERNEL_PARAMS_MAX])
{
    size_t n = 0;
    if (ask->unified_gpu || ask->rdma_card)
        ret[n++] = judge_iommu(line);
    if (ask->rdma_card) {
        ret[n++] = judge_pci(line);
        ret[n++] = judge_aspm(line);
    }
    if (!ask->unified_gpu || ask->installed_bytes == 0)
        return n;
    if (!ask->no_gttsize)
        ret[n++] = judge_size("amdgpu.gttsize", line, MIB, ask->installed_bytes);
    ret[n++] = judge_size("ttm.pages_limit", line, PAGE, ask->installed_bytes);
    if (!ask->no_gttsize)
        judge_together(&ret[n - 2], &ret[n - 1]);
    return n;
}
