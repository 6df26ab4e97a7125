/* SPDX-License-Identifier: Apache-2.0 */
/* Device nodes that compute and RDMA need: whose they are, and whether we may open them. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/facts_reader.h"

static void add_dev(tw_facts_reader *r, const char *path)
{
    char full[1024];
    struct stat st;
    if (r->f->n_devs == TW_FACTS_DEVS_MAX || !tw_facts_path(r->root, path, full, sizeof full) ||
        stat(full, &st) != 0)
        return;
    tw_facts_dev *d = &r->f->devs[r->f->n_devs++];
    tw_text_set(d->path, sizeof d->path, "%s", path);
    d->mode = st.st_mode & 07777;
    tw_reader_group_name(r, st.st_gid, d->group, sizeof d->group);
    /* Not opened: that would wake a sleeping GPU and make a compute context. */
    d->usable = r->root != NULL
                    ? TW_UNKNOWN
                    : tw_tri_of(faccessat(AT_FDCWD, full, R_OK | W_OK, AT_EACCESS) == 0);
}

static void add_folder(tw_facts_reader *r, const char *folder, const char *prefix)
{
    tw_names names = {0};
    tw_facts_names(r->root, folder, prefix, &names);
    for (size_t i = 0; i < names.n; i++) {
        char path[160];
        tw_text_set(path, sizeof path, "%s/%s", folder, names.v[i]);
        add_dev(r, path);
    }
}

void tw_reader_devs(tw_facts_reader *r)
{
    add_dev(r, "/dev/kfd");
    add_folder(r, "/dev/dri", "renderD");
    add_folder(r, "/dev/dri", "card");
    add_folder(r, "/dev/infiniband", "uverbs");
    add_dev(r, "/dev/infiniband/rdma_cm");
    add_dev(r, "/dev/shm");
    add_dev(r, "/dev/accel/accel0");
}
