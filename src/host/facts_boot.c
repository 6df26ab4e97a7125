/* SPDX-License-Identifier: Apache-2.0 */
/* Which boot loader starts this host, with which line, and whether the next boot will differ. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_reader.h"

static void find_kind(tw_facts_reader *r, tw_facts_boot *b)
{
    const tw_facts *f = r->f;
    bool grub = tw_facts_exists(r->root, "etc/default/grub");
    bool loader = tw_facts_exists(r->root, "boot/loader/loader.conf") ||
                  tw_facts_exists(r->root, "boot/efi/loader/loader.conf") ||
                  tw_facts_exists(r->root, "efi/loader/loader.conf");
    b->bls = tw_tri_of(tw_facts_exists(r->root, "boot/loader/entries"));
    if (f->os.is_ostree == TW_YES)
        b->kind = TW_BOOT_RPM_OSTREE;
    else if (grub && tw_facts_has_tool(f, "grubby"))
        b->kind = TW_BOOT_GRUBBY;
    else if (grub)
        b->kind = TW_BOOT_GRUB;
    else if (loader)
        b->kind = TW_BOOT_SYSTEMD;
    else
        b->kind = TW_BOOT_NONE;
}

static void read_grub(tw_facts_reader *r, tw_facts_boot *b)
{
    static const char *const cfgs[] = {"boot/grub2/grub.cfg", "boot/grub/grub.cfg"};
    tw_text_set(b->config, sizeof b->config, "/etc/default/grub");
    if (tw_reader_text(r, "etc/default/grub")) {
        tw_text_value(r->work, "GRUB_CMDLINE_LINUX", b->persistent, sizeof b->persistent);
        tw_text_value(r->work, "GRUB_CMDLINE_LINUX_DEFAULT", b->persistent_default,
                      sizeof b->persistent_default);
    }
    for (size_t i = 0; i < TW_ARRAY_LEN(cfgs) && b->grub_cfg[0] == '\0'; i++)
        if (tw_facts_exists(r->root, cfgs[i]))
            tw_text_set(b->grub_cfg, sizeof b->grub_cfg, "/%s", cfgs[i]);
}

static void read_systemd(tw_facts_reader *r, tw_facts_boot *b)
{
    tw_text_set(b->config, sizeof b->config, "/etc/kernel/cmdline");
    (void)tw_facts_text(r->root, "etc/kernel/cmdline", b->persistent, sizeof b->persistent);
}

/* ---- what comes next ---- */

static void newest_entry(tw_facts_reader *r, const char *folder, char *out, size_t out_bytes)
{
    out[0] = '\0';
    tw_facts_names(r->root, folder, "", &r->names); /* by version, as names are */
    for (size_t i = 0; i < r->names.n; i++)
        if (strstr(r->names.v[i], ".conf") != NULL && strstr(r->names.v[i], "-0-rescue") == NULL)
            tw_text_set(out, out_bytes, "%s/%s", folder, r->names.v[i]);
}

/* "options root=... ro"; $kernelopts and the like stand in for what grubenv holds. */
static bool read_entry(tw_facts_reader *r, tw_facts_boot *b)
{
    static const char *const folders[] = {"boot/loader/entries", "boot/efi/loader/entries",
                                          "efi/loader/entries"};
    for (size_t i = 0; i < TW_ARRAY_LEN(folders); i++) {
        char path[192], *rest = r->work, *line;
        newest_entry(r, folders[i], path, sizeof path);
        if (path[0] == '\0' || !tw_reader_text(r, path))
            continue;
        while ((line = tw_text_line(&rest)) != NULL)
            if (strncmp(line, "options ", 8) == 0 && strchr(line, '$') == NULL)
                tw_text_set(b->next, sizeof b->next, "%s", line + 8 + strspn(line + 8, " "));
        return b->next[0] != '\0';
    }
    return false;
}

/* The first entry of a generated grub.cfg: "	linux	/boot/vmlinuz-6.1 root=UUID=... ro quiet" */
static void read_grub_cfg(tw_facts_reader *r, tw_facts_boot *b)
{
    char *rest = r->work, *line;
    if (b->grub_cfg[0] == '\0' || !tw_reader_text(r, b->grub_cfg))
        return;
    while ((line = tw_text_line(&rest)) != NULL) {
        char *p = line + strspn(line, " \t");
        if (strncmp(p, "linux", 5) != 0 || (p[5] != ' ' && p[5] != '\t'))
            continue;
        p += 5 + strspn(p + 5, " \t");
        p += strcspn(p, " \t"); /* the kernel's path */
        tw_text_set(b->next, sizeof b->next, "%s", p + strspn(p, " \t"));
        size_t len = strlen(b->next);
        while (len > 0 && b->next[len - 1] == ' ')
            b->next[--len] = '\0';
        return;
    }
}

/* What loaders add by themselves. */
static bool is_loaders_own(const char *word, size_t len)
{
    static const char *const own[] = {"BOOT_IMAGE=", "initrd=", "$tuned_params"};
    for (size_t i = 0; i < TW_ARRAY_LEN(own); i++)
        if (len >= strlen(own[i]) && strncmp(word, own[i], strlen(own[i])) == 0)
            return true;
    return false;
}

/* Every word of a is in b. */
static bool has_all_words(const char *a, const char *b)
{
    for (const char *p = a; *p != '\0';) {
        char word[256];
        p += strspn(p, " \t");
        size_t len = strcspn(p, " \t");
        tw_text_set(word, sizeof word, "%.*s", (int)len, p);
        if (len > 0 && !is_loaders_own(p, len) && !tw_text_has_word(b, word))
            return false;
        p += len;
    }
    return true;
}

static void find_newest_kernel(tw_facts_reader *r, tw_facts_boot *b)
{
    tw_facts_names(r->root, "lib/modules", "", &r->names);
    for (size_t i = 0; i < r->names.n; i++) {
        char path[160];
        tw_text_set(path, sizeof path, "lib/modules/%s/modules.dep", r->names.v[i]);
        if (tw_facts_exists(r->root, path)) /* not the rest of a removed one */
            tw_text_set(b->newest_kernel, sizeof b->newest_kernel, "%.79s", r->names.v[i]);
    }
}

void tw_reader_boot(tw_facts_reader *r)
{
    tw_facts_boot *b = &r->f->boot;
    find_kind(r, b);
    if (b->kind == TW_BOOT_GRUB || b->kind == TW_BOOT_GRUBBY)
        read_grub(r, b);
    else if (b->kind == TW_BOOT_SYSTEMD)
        read_systemd(r, b);
    if (b->kind != TW_BOOT_NONE && !read_entry(r, b))
        read_grub_cfg(r, b);
    find_newest_kernel(r, b);
    const char *now = r->f->os.cmdline;
    if (tw_facts_exists(r->root, "run/reboot-required"))
        b->reboot_pending = TW_YES;
    else if (b->next[0] != '\0' && now[0] != '\0')
        b->reboot_pending = tw_tri_of(!has_all_words(b->next, now) || !has_all_words(now, b->next));
}
