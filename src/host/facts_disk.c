/* SPDX-License-Identifier: Apache-2.0 */
/* Room where models, containers and temporary files go. */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "host/facts_reader.h"

/* Of the nearest folder that is there: the model cache may yet have to be made. */
static bool nearest(const char *path, char *out, size_t out_bytes, struct statvfs *ret)
{
    tw_text_set(out, out_bytes, "%s", path);
    while (statvfs(out, ret) != 0) {
        char *slash = strrchr(out, '/');
        if (slash == out && out[1] != '\0')
            slash++; /* "/" itself is left to try */
        else if (slash == NULL || slash == out)
            return false;
        *slash = '\0';
    }
    return true;
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": the longest mount point wins */
static void find_filesystem(tw_facts_reader *r, const char *path, char *out, size_t out_bytes)
{
    size_t best = 0;
    char *rest = r->work, *line;
    if (!tw_reader_text(r, "proc/self/mountinfo"))
        return;
    while ((line = tw_text_line(&rest)) != NULL) {
        char mount[256], type[32];
        const char *tail = strstr(line, " - ");
        if (tail == NULL || sscanf(line, "%*u %*u %*s %*s %255s", mount) != 1 ||
            sscanf(tail, " - %31s", type) != 1)
            continue;
        size_t len = strlen(mount);
        bool below =
            strncmp(path, mount, len) == 0 && (len == 1 || path[len] == '/' || path[len] == '\0');
        if (!below || len < best)
            continue;
        best = len;
        tw_text_set(out, out_bytes, "%s", type);
    }
}

static void add_disk(tw_facts_reader *r, const char *what, const char *path)
{
    struct statvfs v;
    if (path[0] != '/' || r->f->n_disks == TW_FACTS_DISKS_MAX)
        return;
    tw_facts_disk *d = &r->f->disks[r->f->n_disks];
    if (!nearest(path, d->path, sizeof d->path, &v))
        return;
    r->f->n_disks++;
    tw_text_set(d->what, sizeof d->what, "%s", what);
    d->free_bytes = tw_count_of((uint64_t)v.f_bavail * v.f_frsize);
    d->total_bytes = (uint64_t)v.f_blocks * v.f_frsize;
    find_filesystem(r, d->path, d->filesystem, sizeof d->filesystem);
    if (strcmp(d->path, path) != 0) /* say where it will be */
        tw_text_set(d->path, sizeof d->path, "%s", path);
}

static void find_models(const tw_facts_reader *r, char *out, size_t out_bytes)
{
    char cache[256];
    if (r->o->cache_dir != NULL)
        tw_text_set(out, out_bytes, "%s", r->o->cache_dir);
    else if (tw_reader_env(r, "HF_HUB_CACHE", out, out_bytes))
        ;
    else if (tw_reader_env(r, "HF_HOME", cache, sizeof cache))
        tw_text_set(out, out_bytes, "%s/hub", cache);
    else if (tw_reader_env(r, "XDG_CACHE_HOME", cache, sizeof cache) && cache[0] == '/')
        tw_text_set(out, out_bytes, "%s/huggingface/hub", cache);
    else
        (void)tw_reader_home(r, ".cache/huggingface/hub", out, out_bytes);
}

void tw_reader_disks(tw_facts_reader *r)
{
    char path[512];
    if (r->root != NULL)
        return; /* a recording has no room of its own */
    add_disk(r, "root", "/");
    add_disk(r, "home", r->f->user.home);
    find_models(r, path, sizeof path);
    add_disk(r, "models", path);
    if (r->f->user.uid.v == 0)
        tw_text_set(path, sizeof path, "/var/lib/containers");
    else
        (void)tw_reader_home(r, ".local/share/containers", path, sizeof path);
    add_disk(r, "containers", path);
    add_disk(r, "tmp", "/tmp");
    add_disk(r, "shm", "/dev/shm");
}
