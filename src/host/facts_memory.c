/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: what is there, what the firmware keeps, and what maps it. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_reader.h"

enum { KIB = 1024, DMI_SIZE_AT = 0x0c, DMI_EXTENDED_AT = 0x1c };

static tw_count kib_of(const char *text, const char *key)
{
    uint64_t v = 0;
    return tw_text_number(text, key, &v) ? tw_count_of(v * KIB) : (tw_count){0};
}

static tw_count number_of(const char *text, const char *key)
{
    uint64_t v = 0;
    return tw_text_number(text, key, &v) ? tw_count_of(v) : (tw_count){0};
}

static void read_meminfo(tw_facts_reader *r, tw_facts_mem *m)
{
    if (!tw_reader_text(r, "proc/meminfo"))
        return;
    m->total_bytes = kib_of(r->work, "MemTotal").v;
    m->available_bytes = kib_of(r->work, "MemAvailable").v;
    m->swap_total_bytes = kib_of(r->work, "SwapTotal");
    m->swap_free_bytes = kib_of(r->work, "SwapFree");
    m->huge_total = number_of(r->work, "HugePages_Total");
    m->huge_free = number_of(r->work, "HugePages_Free");
    m->huge_page_bytes = kib_of(r->work, "Hugepagesize");
}

/* SMBIOS 7.18: a memory device's size in MiB, or in KiB with bit 15; 0x7fff: see the long field. */
static uint64_t device_bytes(const uint8_t *p, size_t n)
{
    if (n < DMI_SIZE_AT + 2)
        return 0;
    uint32_t size = p[DMI_SIZE_AT] | (uint32_t)p[DMI_SIZE_AT + 1] << 8;
    if (size == 0xffff)
        return 0;
    if (size == 0x7fff && n >= DMI_EXTENDED_AT + 4) {
        const uint8_t *q = p + DMI_EXTENDED_AT;
        uint32_t mib = q[0] | (uint32_t)q[1] << 8 | (uint32_t)q[2] << 16 | (uint32_t)q[3] << 24;
        return (uint64_t)(mib & 0x7fffffff) << 20;
    }
    return (size & 0x8000) != 0 ? (uint64_t)(size & 0x7fff) << 10 : (uint64_t)size << 20;
}

static uint64_t installed_by_dmi(tw_facts_reader *r) /* root alone may */
{
    uint64_t sum = 0;
    tw_facts_names(r->root, "sys/firmware/dmi/entries", "17-", &r->names);
    for (size_t i = 0; i < r->names.n; i++) {
        char path[160];
        uint8_t raw[128] = {0};
        tw_text_set(path, sizeof path, "sys/firmware/dmi/entries/%s/raw", r->names.v[i]);
        if (tw_facts_tail(r->root, path, (char *)raw, sizeof raw))
            sum += device_bytes(raw, TW_MIN(raw[1], sizeof raw));
    }
    return sum;
}

/* systemd's udev keeps what it read at boot for all to see. */
static uint64_t installed_by_udev(tw_facts_reader *r)
{
    uint64_t sum = 0;
    if (!tw_reader_text(r, "run/udev/data/+dmi:id"))
        return 0;
    for (unsigned i = 0; i < 64; i++) {
        char key[48], value[32];
        tw_text_set(key, sizeof key, "E:MEMORY_DEVICE_%u_SIZE", i);
        if (tw_text_value(r->work, key, value, sizeof value))
            sum += strtoull(value, NULL, 10);
    }
    return sum;
}

/* Memory controllers of these take their VRAM from the machine's own memory. */
static uint64_t carve_out(const tw_facts *f)
{
    static const char *const apus[] = {"gfx1151", "gfx1150", "gfx1152", "gfx1153", "gfx1103",
                                       "gfx1035", "gfx1036", "gfx90c",  "gfx902"};
    for (size_t i = 0; i < f->n_gpus; i++)
        for (size_t k = 0; k < TW_ARRAY_LEN(apus); k++)
            if (strcmp(f->gpus[i].gfx, apus[k]) == 0)
                return f->gpus[i].vram_bytes.v;
    return 0;
}

/* Blocks that the kernel was given, and what an APU's carve-out took away before. */
static uint64_t installed_by_blocks(tw_facts_reader *r)
{
    static const char folder[] = "sys/devices/system/memory";
    char text[32], full[1024];
    uint64_t n = 0;
    if (!tw_facts_text(r->root, "sys/devices/system/memory/block_size_bytes", text, sizeof text))
        return 0;
    DIR *d = tw_facts_path(r->root, folder, full, sizeof full) ? opendir(full) : NULL;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        n += strncmp(e->d_name, "memory", 6) == 0 && e->d_name[6] >= '0' && e->d_name[6] <= '9';
    if (d != NULL)
        closedir(d);
    return n > 0 ? n * strtoull(text, NULL, 16) + carve_out(r->f) : 0;
}

static void read_iommu(tw_facts_reader *r, tw_facts_mem *m)
{
    size_t n_identity = 0, n_dma = 0;
    if (!tw_facts_exists(r->root, "sys/class/iommu"))
        return;
    tw_facts_names(r->root, "sys/kernel/iommu_groups", "", &r->names);
    for (size_t i = 0; i < r->names.n; i++) {
        char path[160], type[24];
        tw_text_set(path, sizeof path, "sys/kernel/iommu_groups/%s/type", r->names.v[i]);
        if (!tw_facts_text(r->root, path, type, sizeof type))
            continue;
        n_identity += strcmp(type, "identity") == 0;
        n_dma += strncmp(type, "DMA", 3) == 0;
    }
    /* With iommu=pt what comes by cable (Thunderbolt) is translated still. */
    const char *name = n_identity > n_dma ? "passthrough" : n_dma > 0 ? "translated" : "off";
    tw_text_set(m->iommu, sizeof m->iommu, "%s", name);
}

void tw_reader_memory(tw_facts_reader *r)
{
    tw_facts_mem *m = &r->f->mem;
    read_meminfo(r, m);
    m->installed_bytes = installed_by_dmi(r);
    if (m->installed_bytes == 0)
        m->installed_bytes = installed_by_udev(r);
    if (m->installed_bytes == 0)
        m->installed_bytes = installed_by_blocks(r);
    (void)tw_facts_chosen(r->root, "sys/kernel/mm/transparent_hugepage/enabled", m->thp,
                          sizeof m->thp);
    read_iommu(r, m);
    if (tw_text_has_word(r->f->os.cmdline, "pcie_aspm=off"))
        tw_text_set(m->aspm, sizeof m->aspm, "off");
    else
        (void)tw_facts_chosen(r->root, "sys/module/pcie_aspm/parameters/policy", m->aspm,
                              sizeof m->aspm);
}
