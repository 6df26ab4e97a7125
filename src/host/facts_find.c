/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "host/facts.h"

const tw_facts_nic *tw_facts_find_nic(const tw_facts *f, const char *name)
{
    for (size_t i = 0; i < f->n_nics; i++)
        if (strcmp(f->nics[i].name, name) == 0)
            return &f->nics[i];
    return NULL;
}

static bool has(const char (*list)[24], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

bool tw_facts_has_tool(const tw_facts *f, const char *name)
{
    return has(f->tools, f->n_tools, name);
}

bool tw_facts_has_module(const tw_facts *f, const char *name)
{
    return has(f->modules, f->n_modules, name);
}

bool tw_facts_is_running(const tw_facts *f, const char *name)
{
    return has(f->running, f->n_running, name);
}

const tw_facts_dev *tw_facts_find_dev(const tw_facts *f, const char *path)
{
    for (size_t i = 0; i < f->n_devs; i++)
        if (strcmp(f->devs[i].path, path) == 0)
            return &f->devs[i];
    return NULL;
}

const tw_facts_disk *tw_facts_find_disk(const tw_facts *f, const char *what)
{
    for (size_t i = 0; i < f->n_disks; i++)
        if (strcmp(f->disks[i].what, what) == 0)
            return &f->disks[i];
    return NULL;
}
