/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of this host, in one pass over /proc. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/facts_reader.h"

/* "12 (a name) S 1 ...": the name may hold blanks and brackets; field 22 is the start. */
static bool parse_stat(char *text, tw_proc *p)
{
    char *open_at = strchr(text, '('), *close_at = strrchr(text, ')');
    if (open_at == NULL || close_at == NULL || close_at < open_at)
        return false;
    *close_at = '\0';
    tw_text_set(p->comm, sizeof p->comm, "%s", open_at + 1);
    unsigned ppid = 0;
    unsigned long long start = 0;
    if (sscanf(close_at + 1,
               " %*c %u %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ppid, &start) != 2)
        return false;
    p->ppid = ppid;
    p->start_ticks = start;
    return true;
}

static void take_process(tw_facts_reader *r, const char *name)
{
    char path[64], text[1024], full[1024];
    struct stat st;
    tw_proc p = {.pid = (uint32_t)strtoul(name, NULL, 10)};
    tw_text_set(path, sizeof path, "proc/%.16s/stat", name);
    if (!tw_facts_text(r->root, path, text, sizeof text) || !parse_stat(text, &p))
        return;
    if (tw_facts_path(r->root, path, full, sizeof full) && stat(full, &st) == 0)
        p.uid = st.st_uid;
    r->procs[r->n_procs++] = p;
}

void tw_reader_procs(tw_facts_reader *r)
{
    char full[1024];
    DIR *d = tw_facts_path(r->root, "proc", full, sizeof full) ? opendir(full) : NULL;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL && r->n_procs < TW_PROCS_MAX;)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
            take_process(r, e->d_name);
    if (d != NULL)
        closedir(d);
}
