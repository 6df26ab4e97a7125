/* SPDX-License-Identifier: Apache-2.0 */
#include "host/facts_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "host/facts_table.h"

bool tw_reader_env(const tw_facts_reader *r, const char *name, char *out, size_t out_bytes)
{
    if (r->root != NULL)
        return tw_text_value(r->env, name, out, out_bytes);
    const char *v = getenv(name);
    tw_text_set(out, out_bytes, "%s", v != NULL ? v : "");
    return v != NULL;
}

bool tw_reader_home(const tw_facts_reader *r, const char *below, char *out, size_t out_bytes)
{
    const char *home = r->f->user.home;
    tw_text_set(out, out_bytes, "%s/%s", home, below);
    return home[0] != '\0' && strlen(home) + strlen(below) + 2 <= out_bytes;
}

bool tw_reader_text(tw_facts_reader *r, const char *path)
{
    return tw_facts_text(r->root, path, r->work, sizeof r->work);
}

bool tw_reader_has_process(const tw_facts_reader *r, const char *comm)
{
    for (size_t i = 0; i < r->n_procs; i++)
        if (strncmp(r->procs[i].comm, comm, sizeof r->procs[i].comm - 1) == 0)
            return true;
    return false;
}

static bool is_program(const tw_facts_reader *r, const char *folder, size_t n_folder,
                       const char *name, char *out, size_t out_bytes)
{
    char path[512], full[1024];
    tw_text_set(path, sizeof path, "%.*s/%s", (int)n_folder, folder, name);
    if (n_folder == 0 || !tw_facts_path(r->root, path, full, sizeof full) ||
        access(full, X_OK) != 0)
        return false;
    if (out != NULL)
        tw_text_set(out, out_bytes, "%s", path);
    return true;
}

bool tw_reader_which(const tw_facts_reader *r, const char *name, char *out, size_t out_bytes)
{
    /* A user's PATH often lacks the sbin folders, and an ssh command's is short. */
    static const char *const usual[] = {"/usr/bin", "/usr/sbin",       "/usr/local/bin",
                                        "/bin",     "/usr/local/sbin", "/sbin"};
    char path[2048], local[256];
    for (size_t i = 0; i < TW_ARRAY_LEN(usual); i++)
        if (is_program(r, usual[i], strlen(usual[i]), name, out, out_bytes))
            return true;
    (void)tw_reader_env(r, "PATH", path, sizeof path);
    for (const char *p = path; *p != '\0';) {
        size_t len = strcspn(p, ":");
        if (is_program(r, p, len, name, out, out_bytes))
            return true;
        p += len + (p[len] == ':');
    }
    return tw_reader_home(r, ".local/bin", local, sizeof local) &&
           is_program(r, local, strlen(local), name, out, out_bytes);
}

void tw_reader_group_name(tw_facts_reader *r, uint32_t gid, char *out, size_t out_bytes)
{
    char *rest = r->work, *line;
    tw_text_set(out, out_bytes, "%u", gid);
    if (!tw_reader_text(r, "etc/group"))
        return;
    while ((line = tw_text_line(&rest)) != NULL) {
        char *name = strsep(&line, ":");
        (void)strsep(&line, ":");
        const char *id = line != NULL ? strsep(&line, ":") : NULL;
        if (id != NULL && *id >= '0' && *id <= '9' && strtoul(id, NULL, 10) == gid) {
            tw_text_set(out, out_bytes, "%s", name);
            return;
        }
    }
}

int tw_facts_read(const tw_facts_opts *o, tw_facts *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_facts_reader *r = tw_mem_calloc(1, sizeof *r);
    TW_CLEANUP(tw_mem_freep) tw_facts *f = tw_mem_calloc(1, sizeof *f);
    if (r == NULL || f == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts of this host");
    r->o = o;
    r->root = o->root;
    r->f = f;
    f->schema = TW_FACTS_SCHEMA;
    int rc = tw_net_read(o->root, &f->net, err);
    if (rc != 0)
        return rc;
    if (r->root != NULL)
        (void)tw_facts_text(r->root, "environ", r->env, sizeof r->env);
    tw_reader_procs(r);
    tw_reader_os(r);
    tw_reader_cpu(r);
    tw_reader_user(r);
    tw_reader_limits(r);
    tw_reader_gpu(r);
    tw_reader_memory(r);
    tw_reader_disks(r);
    tw_reader_devs(r);
    tw_reader_software(r);
    tw_reader_nics(r);
    tw_reader_thunderbolt(r);
    tw_reader_rdma(r);
    tw_reader_routes(r);
    tw_reader_firewall(r);
    tw_reader_boot(r);
    tw_reader_ssh(r);
    tw_reader_session(r);
    tw_reader_security(r);
    tw_reader_container(r);
    tw_reader_left(r);
    tw_reader_twinax(r);
    tw_facts_heat_read(r->root, &f->heat);
    tw_table_clean(&tw_facts_table, f); /* as it would be after the way through JSON */
    memcpy(ret, f, sizeof *ret);
    return 0;
}
