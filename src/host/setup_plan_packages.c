/* SPDX-License-Identifier: Apache-2.0 */
/* The RDMA userspace: libraries, and the tools that a person looks with. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/setup_plan.h"

static const char *const apt_names[] = {"rdma-core", "ibverbs-providers", "ibverbs-utils",
                                        "perftest", NULL};
static const char *const dnf_names[] = {"rdma-core", "libibverbs", "libibverbs-utils", "perftest",
                                        NULL};
static const char *const no_names[] = {NULL};

static bool is_like(const tw_facts *f, const char *id)
{
    char like[96];
    snprintf(like, sizeof like, " %s %s ", f->os.id, f->os.id_like);
    char word[40];
    snprintf(word, sizeof word, " %s ", id);
    return strstr(like, word) != NULL;
}

enum tw_setup_packager tw_setup_packager_of(const tw_facts *f)
{
    if (f->os.is_ostree == TW_YES)
        return TW_SETUP_OSTREE;
    if (is_like(f, "debian") || is_like(f, "ubuntu"))
        return TW_SETUP_APT;
    if (is_like(f, "fedora") || is_like(f, "rhel"))
        return TW_SETUP_DNF;
    return TW_SETUP_NO_PACKAGER;
}

const char *const *tw_setup_packages(enum tw_setup_packager p)
{
    return p == TW_SETUP_NO_PACKAGER ? no_names : p == TW_SETUP_APT ? apt_names : dnf_names;
}

/* The answer has a name a line. */
static bool is_installed(const tw_setup_maker *m, const char *name)
{
    const char *line = tw_setup_seen_answer(m->s, "packages");
    size_t n = strlen(name);
    while (*line != '\0') {
        size_t len = strcspn(line, "\n");
        if (len == n && memcmp(line, name, n) == 0)
            return true;
        line += len + (line[len] == '\n');
    }
    return false;
}

void tw_setup_plan_packages(tw_setup_maker *m)
{
    static const char *const with[] = {"apt", "dnf", "rpm-ostree", ""};
    enum tw_setup_packager p = tw_setup_packager_of(m->f);
    const char *missing[8] = {NULL};
    size_t n = 0;
    if (m->w->link != TW_SETUP_LINK_RDMA && !m->w->soft_roce)
        return;
    if (p == TW_SETUP_NO_PACKAGER) {
        if (m->f->rdma.library[0] == '\0')
            tw_setup_note(m,
                          "%s: no package manager that setup knows: install rdma-core, the "
                          "ibverbs utilities and perftest by hand",
                          m->f->os.pretty_name);
        return;
    }
    for (const char *const *name = tw_setup_packages(p); *name != NULL && n < 7; name++)
        if (!is_installed(m, *name))
            missing[n++] = *name;
    if (n == 0)
        return;
    tw_setup_begin(m, "packages", TW_SETUP_ROOT | (p == TW_SETUP_OSTREE ? TW_SETUP_REBOOT : 0u),
                   "install the RDMA userspace",
                   "libibverbs and the card's provider are what RDMA is spoken through; the "
                   "kernel's own drivers suffice, no vendor's are needed.");
    tw_setup_install(m, with[p], missing);
}
