/* SPDX-License-Identifier: Apache-2.0 */
/* Graphics cards by drm, their compute nodes by kfd, the limits of their memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_reader.h"

static void card_path(const char *card, const char *what, char *out, size_t out_bytes)
{
    tw_text_set(out, out_bytes, "sys/class/drm/%s/device/%s", card, what);
}

static void card_text(tw_facts_reader *r, const char *card, const char *what, char *out, size_t n)
{
    char path[192];
    card_path(card, what, path, sizeof path);
    (void)tw_facts_text(r->root, path, out, n);
}

static tw_count card_number(tw_facts_reader *r, const char *card, const char *what)
{
    char path[192];
    card_path(card, what, path, sizeof path);
    return tw_facts_number(r->root, path);
}

/* "0x1586" -> "1586" */
static void card_id(tw_facts_reader *r, const char *card, const char *what, char out[8])
{
    tw_count id = card_number(r, card, what);
    if (id.known)
        tw_text_set(out, 8, "%04x", (unsigned)(id.v & 0xffff));
}

/* The kfd node names the drm minor that it shares. 110501 -> gfx1151 */
static void find_gfx(tw_facts_reader *r, tw_facts_gpu *g)
{
    unsigned minor = 0;
    if (sscanf(g->render, "/dev/dri/renderD%u", &minor) != 1)
        return;
    tw_names nodes = {0};
    tw_facts_names(r->root, "sys/class/kfd/kfd/topology/nodes", "", &nodes);
    for (size_t i = 0; i < nodes.n; i++) {
        char path[192], text[4096];
        uint64_t version = 0, of = 0;
        tw_text_set(path, sizeof path, "sys/class/kfd/kfd/topology/nodes/%s/properties",
                    nodes.v[i]);
        if (!tw_facts_text(r->root, path, text, sizeof text) ||
            !tw_text_number(text, "drm_render_minor", &of) || of != minor ||
            !tw_text_number(text, "gfx_target_version", &version) || version == 0)
            continue;
        tw_text_set(g->gfx, sizeof g->gfx, "gfx%u%x%x", (unsigned)(version / 10000),
                    (unsigned)(version / 100 % 100), (unsigned)(version % 100));
    }
}

static void find_render(tw_facts_reader *r, const char *card, tw_facts_gpu *g)
{
    char path[192];
    tw_names names = {0};
    card_path(card, "drm", path, sizeof path);
    tw_facts_names(r->root, path, "renderD", &names);
    if (names.n > 0)
        tw_text_set(g->render, sizeof g->render, "/dev/dri/%.20s", names.v[0]);
}

static void read_card(tw_facts_reader *r, const char *card)
{
    char path[192];
    if (r->f->n_gpus == TW_FACTS_GPUS_MAX)
        return;
    tw_facts_gpu *g = &r->f->gpus[r->f->n_gpus++];
    tw_text_set(path, sizeof path, "sys/class/drm/%s/device", card);
    (void)tw_facts_link_name(r->root, path, g->pci, sizeof g->pci);
    card_path(card, "driver", path, sizeof path);
    (void)tw_facts_link_name(r->root, path, g->driver, sizeof g->driver);
    card_id(r, card, "vendor", g->vendor_id);
    card_id(r, card, "device", g->device_id);
    g->vram_bytes = card_number(r, card, "mem_info_vram_total");
    g->vram_used_bytes = card_number(r, card, "mem_info_vram_used");
    g->gtt_bytes = card_number(r, card, "mem_info_gtt_total");
    g->gtt_used_bytes = card_number(r, card, "mem_info_gtt_used");
    card_text(r, card, "power_dpm_force_performance_level", g->performance_level,
              sizeof g->performance_level);
    card_text(r, card, "vbios_version", g->vbios, sizeof g->vbios);
    find_render(r, card, g);
    find_gfx(r, g);
}

static void read_limits(tw_facts_reader *r, tw_facts_gpu_limits *l)
{
    char text[32];
    l->amdgpu = tw_tri_of(tw_facts_exists(r->root, "sys/module/amdgpu"));
    l->ttm_pages_limit = tw_facts_number(r->root, "sys/module/ttm/parameters/pages_limit");
    l->ttm_page_pool_size = tw_facts_number(r->root, "sys/module/ttm/parameters/page_pool_size");
    if (!tw_facts_text(r->root, "sys/module/amdgpu/parameters/gttsize", text, sizeof text))
        return; /* newer kernels have it no longer */
    l->amdgpu_gttsize_auto = tw_tri_of(text[0] == '-');
    if (text[0] != '-')
        l->amdgpu_gttsize_mb = tw_facts_number(r->root, "sys/module/amdgpu/parameters/gttsize");
}

void tw_reader_gpu(tw_facts_reader *r)
{
    tw_facts_names(r->root, "sys/class/drm", "card", &r->names);
    for (size_t i = 0; i < r->names.n; i++)
        if (strchr(r->names.v[i], '-') == NULL) /* card1-HDMI-A-1 is a plug of it */
            read_card(r, r->names.v[i]);
    read_limits(r, &r->f->gpu_limits);
}
