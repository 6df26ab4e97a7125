/* SPDX-License-Identifier: Apache-2.0 */
/* System, firmware, board. */
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/scope.h"
#include "host/facts_reader.h"

static void read_release(tw_facts_reader *r, tw_facts_os *os)
{
    if (!tw_reader_text(r, "etc/os-release") && !tw_reader_text(r, "usr/lib/os-release"))
        return;
    tw_text_value(r->work, "ID", os->id, sizeof os->id);
    tw_text_value(r->work, "ID_LIKE", os->id_like, sizeof os->id_like);
    tw_text_value(r->work, "VERSION_ID", os->version_id, sizeof os->version_id);
    tw_text_value(r->work, "PRETTY_NAME", os->pretty_name, sizeof os->pretty_name);
    tw_text_value(r->work, "VARIANT_ID", os->variant, sizeof os->variant);
}

static void read_kernel(tw_facts_reader *r, tw_facts_os *os)
{
    struct utsname u;
    if (r->root == NULL && uname(&u) == 0) {
        tw_text_set(os->kernel, sizeof os->kernel, "%s", u.release);
        tw_text_set(os->machine, sizeof os->machine, "%s", u.machine);
    } else if (r->root != NULL) {
        tw_facts_text(r->root, "proc/sys/kernel/osrelease", os->kernel, sizeof os->kernel);
        tw_facts_text(r->root, "proc/sys/kernel/arch", os->machine, sizeof os->machine);
    }
    tw_facts_text(r->root, "proc/cmdline", os->cmdline, sizeof os->cmdline);
    tw_facts_text(r->root, "proc/sys/kernel/random/boot_id", os->boot_id, sizeof os->boot_id);
    char up[64];
    if (tw_facts_text(r->root, "proc/uptime", up, sizeof up))
        os->uptime_s = strtoull(up, NULL, 10);
}

static void read_board(tw_facts_reader *r, tw_facts_board *b)
{
    static const char dmi[] = "sys/class/dmi/id/";
    const struct {
        const char *name;
        char *to;
        size_t bytes;
    } all[] = {{"sys_vendor", b->vendor, sizeof b->vendor},
               {"product_name", b->product, sizeof b->product},
               {"board_name", b->board, sizeof b->board},
               {"bios_vendor", b->bios_vendor, sizeof b->bios_vendor},
               {"bios_version", b->bios_version, sizeof b->bios_version},
               {"bios_date", b->bios_date, sizeof b->bios_date}};
    for (size_t i = 0; i < TW_ARRAY_LEN(all); i++) {
        char path[64];
        tw_text_set(path, sizeof path, "%s%s", dmi, all[i].name);
        (void)tw_facts_text(r->root, path, all[i].to, all[i].bytes);
    }
    if (b->product[0] == '\0') /* Arm boards */
        (void)tw_facts_text(r->root, "proc/device-tree/model", b->product, sizeof b->product);
}

static void find_virtual_machine(tw_facts_reader *r, const tw_facts_board *b, tw_facts_os *os)
{
    static const struct {
        const char *sign, *name;
    } known[] = {{"QEMU", "kvm"},
                 {"KVM", "kvm"},
                 {"VMware", "vmware"},
                 {"VirtualBox", "oracle"},
                 {"innotek", "oracle"},
                 {"Xen", "xen"},
                 {"Bochs", "bochs"},
                 {"Parallels", "parallels"},
                 {"Amazon EC2", "amazon"},
                 {"Google Compute", "google"},
                 {"Virtual Machine", "microsoft"}};
    for (size_t i = 0; i < TW_ARRAY_LEN(known) && os->virtual_machine[0] == '\0'; i++)
        if (strstr(b->vendor, known[i].sign) || strstr(b->product, known[i].sign) ||
            strstr(b->bios_vendor, known[i].sign))
            tw_text_set(os->virtual_machine, sizeof os->virtual_machine, "%s", known[i].name);
    if (os->virtual_machine[0] == '\0')
        (void)tw_facts_text(r->root, "sys/hypervisor/type", os->virtual_machine,
                            sizeof os->virtual_machine);
    if (os->virtual_machine[0] == '\0' && tw_reader_text(r, "proc/cpuinfo") &&
        strstr(r->work, " hypervisor") != NULL)
        tw_text_set(os->virtual_machine, sizeof os->virtual_machine, "unnamed");
}

static void find_container(tw_facts_reader *r, tw_facts_os *os)
{
    const char *name = "";
    char env[32];
    if (tw_facts_exists(r->root, "run/.toolboxenv"))
        name = "toolbox";
    else if (tw_facts_exists(r->root, "run/.containerenv"))
        name = "podman";
    else if (tw_facts_exists(r->root, ".dockerenv"))
        name = "docker";
    else if (tw_reader_env(r, "container", env, sizeof env))
        name = env;
    tw_text_set(os->inside_container, sizeof os->inside_container, "%s", name);
}

static tw_tri find_laptop(tw_facts_reader *r)
{
    /* Portable, laptop, notebook, sub notebook, tablet, convertible, detachable (SMBIOS 7.4.1). */
    static const uint8_t portable[] = {8, 9, 10, 14, 30, 31, 32};
    tw_count chassis = tw_facts_number(r->root, "sys/class/dmi/id/chassis_type");
    for (size_t i = 0; i < TW_ARRAY_LEN(portable); i++)
        if (chassis.known && chassis.v == portable[i])
            return TW_YES;
    return chassis.known ? TW_NO : TW_UNKNOWN;
}

static tw_tri find_secure_boot(tw_facts_reader *r)
{
    char raw[16];
    /* Four bytes of attributes, then the value; a text reader sees 06 first. */
    if (!tw_facts_tail(r->root,
                       "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
                       raw, sizeof raw))
        return TW_UNKNOWN;
    return raw[4] == 1 ? TW_YES : TW_NO;
}

void tw_reader_os(tw_facts_reader *r)
{
    tw_facts_os *os = &r->f->os;
    read_release(r, os);
    read_kernel(r, os);
    read_board(r, &r->f->board);
    find_virtual_machine(r, &r->f->board, os);
    find_container(r, os);
    os->is_ostree = tw_tri_of(tw_facts_exists(r->root, "run/ostree-booted"));
    os->systemd = tw_tri_of(tw_facts_exists(r->root, "run/systemd/system"));
    os->efi = tw_tri_of(tw_facts_exists(r->root, "sys/firmware/efi"));
    os->secure_boot = os->efi == TW_YES ? find_secure_boot(r) : TW_NO;
    os->laptop = find_laptop(r);
    (void)tw_facts_chosen(r->root, "sys/kernel/security/lockdown", os->lockdown,
                          sizeof os->lockdown);
}
