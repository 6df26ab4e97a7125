/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel parameters: which ones, host/kernel_params knows; here is where they are kept. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "host/kernel_params.h"
#include "host/setup_plan.h"

enum { WORDS_BYTES = 1024, FILE_MAX_BYTES = 256 * 1024 };

typedef struct kernel_job {
    tw_kernel_param v[TW_KERNEL_PARAMS_MAX];
    size_t n;
} kernel_job;

/* ---- what is wanted ---- */

/* A virtual machine has its slots from its host; RDMA in software needs none. */
static bool has_rdma_card(const tw_setup_maker *m)
{
    tw_setup_cable c;
    if (!tw_setup_find_cable(m, &c) || c.net == NULL || m->f->os.virtual_machine[0] != '\0')
        return false;
    return c.net->rdma[0] != '\0' && c.net->pci[0] != '\0' &&
           (c.nic == NULL || (strcmp(c.nic->rdma_provider, "rdma_rxe") != 0 &&
                              strcmp(c.nic->rdma_provider, "siw") != 0));
}

static tw_kernel_ask ask_of(const tw_setup_maker *m)
{
    const tw_facts *f = m->f;
    uint64_t vram = 0;
    bool unified = false;
    for (size_t i = 0; i < f->n_gpus; i++) {
        vram += f->gpus[i].vram_bytes.known ? f->gpus[i].vram_bytes.v : 0;
        unified = unified || strcmp(f->gpus[i].gfx, "gfx1151") == 0 ||
                  strcmp(f->gpus[i].gfx, "gfx1150") == 0;
    }
    const tw_facts_gpu_limits *g = &f->gpu_limits;
    return (tw_kernel_ask){.installed_bytes = tw_kernel_installed(f->mem.installed_bytes,
                                                                  f->mem.total_bytes, vram),
                           .unified_gpu = unified && m->w->vllm,
                           .rdma_card = m->w->kernel
                                            ? m->w->link == TW_SETUP_LINK_RDMA || m->w->soft_roce
                                            : m->w->link == TW_SETUP_LINK_RDMA && has_rdma_card(m),
                           .no_gttsize = g->amdgpu == TW_YES && !g->amdgpu_gttsize_mb.known &&
                                         g->amdgpu_gttsize_auto == TW_UNKNOWN};
}

/* Judges line; keeps what is needed. Notes what its owner chose otherwise. */
static bool judge(tw_setup_maker *m, const char *line, kernel_job *job, bool say)
{
    tw_kernel_ask ask = ask_of(m);
    tw_kernel_param all[TW_KERNEL_PARAMS_MAX];
    size_t n = tw_kernel_params_judge(&ask, line, all);
    job->n = 0;
    for (size_t i = 0; i < n; i++) {
        if (say && all[i].state == TW_KERNEL_KEPT)
            tw_setup_note(m, "kernel parameter %s is kept: %s", all[i].found, all[i].note);
        if (tw_kernel_param_needed(&all[i]))
            job->v[job->n++] = all[i];
    }
    return job->n > 0;
}

static void begin(tw_setup_maker *m, const kernel_job *job)
{
    char why[560];
    size_t n = 0;
    for (size_t i = 0; i < job->n && n < sizeof why; i++)
        n += (size_t)snprintf(why + n, sizeof why - n, "%s%s: %s", i > 0 ? "; " : "", job->v[i].set,
                              job->v[i].why);
    tw_setup_begin(m, "kernel", TW_SETUP_ROOT | TW_SETUP_REBOOT, "kernel parameters", "%s.", why);
}

/* "a=1 b=2": the words to set, or those found that they replace. */
static void words(const kernel_job *job, bool found, char out[WORDS_BYTES])
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < job->n && n < WORDS_BYTES; i++) {
        const char *word = found ? job->v[i].found : job->v[i].set;
        if (word[0] != '\0' && (!found || job->v[i].state == TW_KERNEL_WRONG))
            n += (size_t)snprintf(out + n, WORDS_BYTES - n, "%s%s", n > 0 ? " " : "", word);
    }
}

/* ---- grubby: Fedora ---- */

static void touch_entries(tw_setup_maker *m)
{
    const char *path;
    json_t *v;
    json_object_foreach(m->s->files, path, v) if (strstr(path, "/loader/entries/") != NULL)
        tw_setup_touch(m, path);
}

static void plan_grubby(tw_setup_maker *m)
{
    const tw_facts_boot *b = &m->f->boot;
    kernel_job job;
    char set[WORDS_BYTES], found[WORDS_BYTES], args[WORDS_BYTES + 16], old[WORDS_BYTES + 16];
    char remove[WORDS_BYTES + 16], back[WORDS_BYTES + 16];
    const char *line = b->next[0] != '\0'         ? b->next
                       : b->persistent[0] != '\0' ? b->persistent
                                                  : m->f->os.cmdline;
    if (!judge(m, line, &job, true))
        return;
    /* Neither what the next boot gets is known, nor may we look. */
    if (line == m->f->os.cmdline && tw_setup_is_unseen(m, "kernel", "/boot/loader/entries"))
        return;
    begin(m, &job);
    words(&job, false, set);
    words(&job, true, found);
    snprintf(args, sizeof args, "--args=%s", set);
    snprintf(old, sizeof old, "--remove-args=%s", found);
    snprintf(remove, sizeof remove, "--remove-args=%s", set);
    snprintf(back, sizeof back, "--args=%s", found);
    const char *const run[] = {"grubby", "--update-kernel=ALL", found[0] != '\0' ? old : args,
                               found[0] != '\0' ? args : NULL, NULL};
    const char *const undo[] = {"grubby", "--update-kernel=ALL", remove,
                                found[0] != '\0' ? back : NULL, NULL};
    tw_setup_argv(m, "run", run);
    tw_setup_argv(m, "undo", undo);
    tw_setup_touch(m, "/etc/default/grub");
    tw_setup_touch(m, "/etc/kernel/cmdline");
    touch_entries(m);
}

/* ---- /etc/default/grub ---- */

typedef struct grub_line {
    size_t begin, end;   /* of the value in the text, without quotes */
    bool there, foreign; /* foreign: not a plain quoted value */
} grub_line;

/* The last assignment of name counts, as for a shell. */
static grub_line find_line(const char *text, const char *name)
{
    grub_line found = {0};
    size_t n_name = strlen(name);
    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        const char *at = line + strspn(line, " \t");
        if (strncmp(at, "export ", 7) == 0)
            at += 7;
        if (strncmp(at, name, n_name) == 0 && at[n_name] == '=') {
            const char *value = at + n_name + 1, *stop = line + len;
            char quote = *value == '"' || *value == '\'' ? *value : '\0';
            const char *first = value + (quote != '\0');
            const char *close = quote != '\0' ? memchr(first, quote, (size_t)(stop - first))
                                              : first + strcspn(first, " \t\n#");
            const char *rest = close != NULL ? close + (quote != '\0') : stop;
            found = (grub_line){.there = true};
            found.begin = (size_t)(first - text);
            found.end = close != NULL ? (size_t)(close - text) : found.begin;
            found.foreign = close == NULL || memchr(first, '\\', (size_t)(close - first)) != NULL ||
                            (rest < stop && strchr(" \t#", *rest) == NULL) ||
                            (quote == '\0' && close > first);
        }
        line += len + (line[len] == '\n');
    }
    return found;
}

static void copy_value(const char *text, grub_line g, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%.*s", (int)(g.end - g.begin), text + g.begin);
}

/* What copy_value would cut is never written back. */
static bool fits(grub_line g)
{
    return g.end - g.begin < TW_KERNEL_LINE_BYTES;
}

/* Those of job that are on line, or (mine false) those that are not. */
static size_t pick(const kernel_job *job, const char *line, bool mine, tw_kernel_param *out)
{
    size_t n = 0;
    char value[96];
    for (size_t i = 0; i < job->n; i++)
        if (tw_kernel_line_get(line, job->v[i].name, value, sizeof value) == mine)
            out[n++] = job->v[i];
    return n;
}

static int replace(tw_buf *out, const char *text, grub_line g, const char *name, const char *value)
{
    if (g.there) {
        int rc = tw_buf_append(out, text, g.begin);
        if (rc == 0)
            rc = tw_buf_puts(out, value);
        return rc != 0 ? rc : tw_buf_puts(out, text + g.end);
    }
    size_t n = strlen(text);
    int rc = tw_buf_append(out, text, n);
    return rc != 0 ? rc
                   : tw_buf_printf(out, "%s%s=\"%s\"\n", n > 0 && text[n - 1] != '\n' ? "\n" : "",
                                   name, value);
}

/* text with job's words on the two lines of /etc/default/grub; those that are wrong on the DEFAULT
 * line are set right there, the others go onto the line that counts for every entry. */
static int merge_grub(const kernel_job *job, const char *text, tw_buf *out, tw_err *err)
{
    static const char all_name[] = "GRUB_CMDLINE_LINUX", def_name[] = "GRUB_CMDLINE_LINUX_DEFAULT";
    char line[TW_KERNEL_LINE_BYTES], merged[TW_KERNEL_LINE_BYTES];
    tw_kernel_param v[TW_KERNEL_PARAMS_MAX];
    TW_CLEANUP(tw_buf_done) tw_buf first = TW_BUF(FILE_MAX_BYTES);
    grub_line def = find_line(text, def_name), all = find_line(text, all_name);
    if (def.foreign || all.foreign)
        return tw_err_set(err, -EINVAL, "a line that is no plain quoted text");
    if (!fits(def) || !fits(all))
        return tw_err_set(err, -ENOSPC, "a line of more than %d bytes", TW_KERNEL_LINE_BYTES - 1);
    copy_value(text, def, line, sizeof line);
    size_t n = pick(job, line, true, v);
    int rc = n == 0 ? tw_buf_puts(&first, text)
                    : tw_kernel_line_merge(line, v, n, merged, sizeof merged, err);
    if (rc == 0 && n > 0)
        rc = replace(&first, text, def, def_name, merged);
    if (rc != 0)
        return rc;
    n = pick(job, line, false, v);
    if (n == 0)
        return tw_buf_puts(out, first.data);
    all = find_line(first.data, all_name);
    copy_value(first.data, all, line, sizeof line);
    rc = tw_kernel_line_merge(line, v, n, merged, sizeof merged, err);
    return rc != 0 ? rc : replace(out, first.data, all, all_name, merged);
}

static void plan_mkconfig(tw_setup_maker *m)
{
    const char *cfg = m->f->boot.grub_cfg[0] != '\0' ? m->f->boot.grub_cfg : "/boot/grub/grub.cfg";
    const char *const update[] = {"update-grub", NULL};
    const char *const two[] = {"grub2-mkconfig", "-o", cfg, NULL};
    const char *const one[] = {"grub-mkconfig", "-o", cfg, NULL};
    const char *const *argv =
        tw_facts_has_tool(m->f, "update-grub") || tw_setup_packager_of(m->f) == TW_SETUP_APT
            ? update
        : tw_facts_has_tool(m->f, "grub2-mkconfig") ? two
                                                    : one;
    tw_setup_argv(m, "run", argv);
    tw_setup_argv(m, "settle", argv);
    tw_setup_touch(m, cfg);
}

/* A file of grub.d that sets the line anew makes ours void. */
static const char *overriding(const tw_setup_maker *m)
{
    const char *path;
    json_t *v;
    json_object_foreach(m->s->files, path, v)
    {
        const char *text = json_string_value(v);
        if (strncmp(path, "/etc/default/grub.d/", 20) == 0 && text != NULL &&
            find_line(text, "GRUB_CMDLINE_LINUX").there &&
            strstr(text, "$GRUB_CMDLINE_LINUX") == NULL)
            return path;
    }
    return NULL;
}

static void plan_grub(tw_setup_maker *m)
{
    static const char path[] = "/etc/default/grub";
    const char *text = tw_setup_seen_file(m->s, path, NULL);
    char all[TW_KERNEL_LINE_BYTES], def[TW_KERNEL_LINE_BYTES], both[2 * TW_KERNEL_LINE_BYTES];
    kernel_job job;
    tw_err why = {0};
    TW_CLEANUP(tw_buf_done) tw_buf after = TW_BUF(FILE_MAX_BYTES);
    if (tw_setup_is_unseen(m, "kernel", path))
        return;
    text = text != NULL ? text : "";
    copy_value(text, find_line(text, "GRUB_CMDLINE_LINUX"), all, sizeof all);
    copy_value(text, find_line(text, "GRUB_CMDLINE_LINUX_DEFAULT"), def, sizeof def);
    snprintf(both, sizeof both, "%s %s", all, def);
    if (!judge(m, both, &job, true))
        return;
    if (merge_grub(&job, text, &after, &why) != 0) {
        char set[WORDS_BYTES];
        words(&job, false, set);
        tw_setup_note(m, "%s: %s: put these into GRUB_CMDLINE_LINUX by hand: %s", path, why.msg,
                      set);
        return;
    }
    if (overriding(m) != NULL)
        tw_setup_note(m, "%s sets GRUB_CMDLINE_LINUX anew: what stands in %s does not count then",
                      overriding(m), path);
    begin(m, &job);
    tw_setup_file(m, path, 0644, after.data, NULL);
    plan_mkconfig(m);
}

/* ---- systemd-boot ---- */

/* The value of the last line "options ..." of a loader entry. */
static grub_line find_options(const char *text)
{
    grub_line found = {0};
    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        if (strncmp(line, "options", 7) == 0 && (line[7] == ' ' || line[7] == '\t')) {
            const char *value = line + 7 + strspn(line + 7, " \t");
            found = (grub_line){.there = true,
                                .begin = (size_t)(value - text),
                                .end = (size_t)(line + len - text)};
        }
        line += len + (line[len] == '\n');
    }
    return found;
}

/* One file whose line at g is judged for itself. */
static void plan_line(tw_setup_maker *m, const char *path, const char *text, grub_line g,
                      bool *begun)
{
    char line[TW_KERNEL_LINE_BYTES], merged[TW_KERNEL_LINE_BYTES];
    kernel_job job;
    TW_CLEANUP(tw_buf_done) tw_buf after = TW_BUF(FILE_MAX_BYTES);
    copy_value(text, g, line, sizeof line);
    if (!judge(m, line, &job, !*begun))
        return;
    tw_err why = {0};
    if (!fits(g)) {
        tw_setup_note(m, "%s: a line of more than %d bytes: edit it by hand", path,
                      TW_KERNEL_LINE_BYTES - 1);
        return;
    }
    if (tw_kernel_line_merge(line, job.v, job.n, merged, sizeof merged, &why) != 0 ||
        replace(&after, text, g, "options", merged) != 0) {
        tw_setup_note(m, "%s: %s: edit it by hand", path, why.msg);
        return;
    }
    if (!*begun)
        begin(m, &job);
    *begun = true;
    tw_setup_file(m, path, 0644, after.data, NULL);
}

static void plan_systemd_boot(tw_setup_maker *m)
{
    static const char cmdline[] = "/etc/kernel/cmdline";
    const char *path, *text = tw_setup_seen_file(m->s, cmdline, NULL);
    json_t *v;
    bool begun = false, any = false;
    if (text != NULL) { /* for kernels that come later */
        plan_line(m, cmdline, text,
                  (grub_line){.there = true, .begin = 0, .end = strcspn(text, "\n")}, &begun);
        any = true;
    }
    json_object_foreach(m->s->files, path, v)
    {
        const char *entry = json_string_value(v);
        if (strstr(path, "/loader/entries/") == NULL || entry == NULL || !find_options(entry).there)
            continue;
        plan_line(m, path, entry, find_options(entry), &begun);
        any = true;
    }
    if (!any)
        tw_setup_note(m,
                      "systemd-boot: neither %s nor a loader entry can be read: kernel "
                      "parameters are planned as root",
                      cmdline);
}

/* ---- rpm-ostree ---- */

static void plan_ostree(tw_setup_maker *m)
{
    const tw_facts_boot *b = &m->f->boot;
    const char *line = b->next[0] != '\0'         ? b->next
                       : b->persistent[0] != '\0' ? b->persistent
                                                  : m->f->os.cmdline;
    kernel_job job;
    char text[2 * TW_KERNEL_PARAMS_MAX][192];
    const char *run[2 * TW_KERNEL_PARAMS_MAX + 3] = {"rpm-ostree", "kargs"};
    const char *undo[2 * TW_KERNEL_PARAMS_MAX + 3] = {"rpm-ostree", "kargs"};
    size_t n = 2;
    if (!judge(m, line, &job, true))
        return;
    begin(m, &job);
    for (size_t i = 0; i < job.n; i++) {
        const bool wrong = job.v[i].state == TW_KERNEL_WRONG;
        snprintf(text[2 * i], 192, "--%s=%s", wrong ? "delete-if-present" : "append-if-missing",
                 wrong ? job.v[i].found : job.v[i].set);
        run[n++] = text[2 * i];
        if (wrong) {
            snprintf(text[2 * i + 1], 192, "--append-if-missing=%s", job.v[i].set);
            run[n++] = text[2 * i + 1];
        }
    }
    tw_setup_argv(m, "run", run);
    n = 2;
    for (size_t i = 0; i < job.n; i++) {
        snprintf(text[2 * i], 192, "--delete-if-present=%s", job.v[i].set);
        undo[n++] = text[2 * i];
        if (job.v[i].state != TW_KERNEL_WRONG)
            continue;
        snprintf(text[2 * i + 1], 192, "--append-if-missing=%s", job.v[i].found);
        undo[n++] = text[2 * i + 1];
    }
    undo[n] = NULL;
    tw_setup_argv(m, "undo", undo);
}

void tw_setup_plan_kernel(tw_setup_maker *m)
{
    kernel_job job;
    char set[WORDS_BYTES];
    switch (m->f->boot.kind) {
    case TW_BOOT_GRUBBY:
        plan_grubby(m);
        return;
    case TW_BOOT_GRUB:
        plan_grub(m);
        return;
    case TW_BOOT_SYSTEMD:
        plan_systemd_boot(m);
        return;
    case TW_BOOT_RPM_OSTREE:
        plan_ostree(m);
        return;
    case TW_BOOT_UNKNOWN:
    case TW_BOOT_NONE:
    case TW_BOOTS:
        break;
    }
    if (!judge(m, m->f->os.cmdline, &job, true))
        return;
    words(&job, false, set);
    tw_setup_note(m,
                  "kernel parameters are wanted, but no boot loader that setup knows is here: "
                  "add by hand: %s",
                  set);
}
