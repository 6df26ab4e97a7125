/* SPDX-License-Identifier: Apache-2.0 */
/* This program, what its setup wrote on this host, and the model it is asked for. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "host/facts_reader.h"
#include "twinax/version.h"

static void find_ours(tw_facts_reader *r, tw_facts_twinax *t)
{
    static const char *const folders[] = {"etc/security/limits.d",
                                          "etc/udev/rules.d",
                                          "etc/modules-load.d",
                                          "etc/sysctl.d",
                                          "etc/NetworkManager/system-connections",
                                          "etc/netplan",
                                          "etc/systemd/network",
                                          "etc/network/interfaces.d",
                                          "etc/nftables.d",
                                          "etc/sudoers.d",
                                          "etc/modprobe.d",
                                          "etc/default/grub.d",
                                          "etc/systemd/system",
                                          "etc/ssh/sshd_config.d"};
    for (size_t i = 0; i < TW_ARRAY_LEN(folders); i++) {
        tw_facts_names(r->root, folders[i], "", &r->names);
        for (size_t k = 0; k < r->names.n && t->n_ours < TW_FACTS_OURS_MAX; k++)
            if (strstr(r->names.v[k], "twinax") != NULL)
                tw_text_set(t->ours[t->n_ours++], sizeof t->ours[0], "/%s/%s", folders[i],
                            r->names.v[k]);
    }
}

static void measure_model(const char *path, tw_facts_model *m)
{
    struct stat st;
    tw_text_set(m->path, sizeof m->path, "%s", path);
    if (stat(path, &st) != 0)
        return;
    m->bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    if (!S_ISDIR(st.st_mode))
        return;
    tw_names names = {0};
    tw_facts_names(NULL, path, "", &names);
    for (size_t i = 0; i < names.n; i++) {
        char file[512];
        tw_text_set(file, sizeof file, "%s/%s", path, names.v[i]);
        if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
            m->bytes += (uint64_t)st.st_size;
    }
}

void tw_reader_twinax(tw_facts_reader *r)
{
    tw_facts_twinax *t = &r->f->twinax;
    find_ours(r, t);
    if (r->root != NULL)
        return;
    tw_text_set(t->version, sizeof t->version, "%s", tw_version());
    t->protocol = tw_count_of(TW_PROTOCOL_VERSION);
    t->arithmetic = tw_count_of(TW_ARITH_VERSION);
    ssize_t n = readlink("/proc/self/exe", t->path, sizeof t->path - 1);
    t->path[n > 0 ? n : 0] = '\0';
    if (r->o->model_path != NULL && r->o->model_path[0] == '/')
        measure_model(r->o->model_path, &r->f->model);
}
