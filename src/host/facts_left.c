/* SPDX-License-Identifier: Apache-2.0 */
/* What an earlier run of twinax, Ray or vLLM left behind: processes, shared memory, sockets. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/scope.h"
#include "host/facts_reader.h"

static tw_facts_left *new_left(tw_facts_reader *r)
{
    return r->f->n_left < TW_FACTS_LEFT_MAX ? &r->f->left[r->f->n_left++] : NULL;
}

/* ---- processes ---- */

static const tw_proc *find_proc(const tw_facts_reader *r, uint32_t pid)
{
    for (size_t i = 0; i < r->n_procs; i++)
        if (r->procs[i].pid == pid)
            return &r->procs[i];
    return NULL;
}

static bool is_ancestor(const tw_facts_reader *r, uint32_t pid, uint32_t of)
{
    for (int depth = 0; depth < 64 && of > 1; depth++) {
        if (of == pid)
            return true;
        const tw_proc *p = find_proc(r, of);
        of = p != NULL ? p->ppid : 0;
    }
    return false;
}

/* It belongs to the run that asks: a program of ours above it is also above us, or is ourselves. */
static bool is_of_this_run(const tw_facts_reader *r, const tw_proc *p)
{
    uint32_t self = r->root == NULL ? (uint32_t)getpid() : 0;
    for (int depth = 0; self != 0 && p != NULL && p->pid > 1 && depth < 64; depth++) {
        if (strncmp(p->comm, "twinax", 6) == 0 && is_ancestor(r, p->pid, self))
            return true;
        p = find_proc(r, p->ppid);
    }
    return false;
}

/* Arguments with blanks between them. */
static void read_command(tw_facts_reader *r, const tw_proc *p, char *out, size_t out_bytes)
{
    char path[48];
    memset(out, 0, out_bytes);
    tw_text_set(path, sizeof path, "proc/%u/cmdline", p->pid);
    (void)tw_facts_text(r->root, path, out, out_bytes - 1);
    size_t end = out_bytes - 1;
    while (end > 0 && out[end - 1] == '\0')
        end--;
    for (size_t i = 0; i < end; i++)
        out[i] = out[i] == '\0' ? ' ' : out[i];
    if (end == 0)
        tw_text_set(out, out_bytes, "%s", p->comm);
}

/* Of twinax only what computes or serves, or an agent that nobody holds any more. */
static bool is_left_twinax(const tw_proc *p, const char *command)
{
    static const char *const verbs[] = {" rank", " run", " serve", " bench", " up"};
    for (size_t i = 0; i < TW_ARRAY_LEN(verbs); i++) {
        const char *at = strstr(command, verbs[i]);
        if (at != NULL && (at[strlen(verbs[i])] == ' ' || at[strlen(verbs[i])] == '\0'))
            return true;
    }
    return p->ppid == 1 && strstr(command, " agent") != NULL;
}

static const char *whose(const tw_proc *p, const char *command)
{
    if (strncmp(p->comm, "twinax", 6) == 0)
        return is_left_twinax(p, command) ? "twinax" : NULL;
    if (strcmp(p->comm, "raylet") == 0 || strcmp(p->comm, "gcs_server") == 0 ||
        strncmp(p->comm, "ray::", 5) == 0)
        return "ray";
    if (strncmp(p->comm, "VLLM::", 6) == 0 || strncmp(p->comm, "vllm", 4) == 0)
        return "vllm";
    bool python = strncmp(p->comm, "python", 6) == 0;
    if (python && strstr(command, "/ray/") != NULL)
        return "ray";
    return python && strstr(command, "vllm serve") != NULL ? "vllm" : NULL;
}

static uint64_t age_of(const tw_facts_reader *r, const tw_proc *p)
{
    uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK), up = r->f->os.uptime_s;
    uint64_t born = hz > 0 ? p->start_ticks / hz : 0;
    return up > born ? up - born : 0;
}

static uint64_t resident_bytes(tw_facts_reader *r, const tw_proc *p)
{
    char path[48], text[128];
    unsigned long long pages = 0;
    tw_text_set(path, sizeof path, "proc/%u/statm", p->pid);
    if (tw_facts_text(r->root, path, text, sizeof text) && sscanf(text, "%*u %llu", &pages) != 1)
        pages = 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void take_process(tw_facts_reader *r, const tw_proc *p)
{
    char command[512];
    static const char *const first[] = {"twinax", "ray", "gcs_server", "VLLM", "vllm", "python"};
    bool suspect = false;
    for (size_t i = 0; i < TW_ARRAY_LEN(first); i++)
        suspect = suspect || strncmp(p->comm, first[i], strlen(first[i])) == 0;
    if (!suspect || is_of_this_run(r, p))
        return;
    read_command(r, p, command, sizeof command);
    const char *of = whose(p, command);
    tw_facts_left *l = of != NULL ? new_left(r) : NULL;
    if (l == NULL)
        return;
    l->kind = TW_LEFT_PROCESS;
    l->pid = p->pid;
    l->uid = p->uid;
    l->age_s = age_of(r, p);
    l->bytes = resident_bytes(r, p);
    tw_text_set(l->of, sizeof l->of, "%s", of);
    tw_text_set(l->what, sizeof l->what, "%.119s", command);
}

/* ---- names ---- */

static void take_file(tw_facts_reader *r, const char *path, enum tw_left_kind kind, const char *of)
{
    char full[1024];
    struct stat st;
    if (!tw_facts_path(r->root, path, full, sizeof full) || lstat(full, &st) != 0)
        return;
    tw_facts_left *l = new_left(r);
    if (l == NULL)
        return;
    l->kind = kind;
    l->uid = st.st_uid;
    l->bytes = (uint64_t)st.st_blocks * 512;
    time_t now = time(NULL);
    l->age_s = now > st.st_mtime ? (uint64_t)(now - st.st_mtime) : 0;
    tw_text_set(l->of, sizeof l->of, "%s", of);
    tw_text_set(l->what, sizeof l->what, "%.119s", path);
}

static void read_shm(tw_facts_reader *r)
{
    static const struct {
        const char *prefix, *of;
    } known[] = {{"twinax", "twinax"}, {"plasma", "ray"}, {"ray_", "ray"},
                 {"vllm", "vllm"},     {"nccl-", "vllm"}, {"torch_", "vllm"}};
    tw_facts_names(r->root, "dev/shm", "", &r->names);
    for (size_t i = 0; i < r->names.n; i++)
        for (size_t k = 0; k < TW_ARRAY_LEN(known); k++)
            if (strncmp(r->names.v[i], known[k].prefix, strlen(known[k].prefix)) == 0) {
                char path[160];
                tw_text_set(path, sizeof path, "/dev/shm/%s", r->names.v[i]);
                take_file(r, path, TW_LEFT_SHM, known[k].of);
            }
}

static bool has_listener(tw_facts_reader *r, const char *path)
{
    const char *at = tw_reader_text(r, "proc/net/unix") ? strstr(r->work, path) : NULL;
    return at != NULL && (at[strlen(path)] == '\n' || at[strlen(path)] == '\0');
}

/* A socket file that no process has open any more. */
static void read_sockets(tw_facts_reader *r)
{
    char folder[160], full[1024], path[300];
    struct stat st;
    tw_text_set(folder, sizeof folder, "/run/user/%u/twinax", (unsigned)r->f->user.uid.v);
    tw_facts_names(r->root, folder, "", &r->names);
    for (size_t i = 0; i < r->names.n; i++) {
        tw_text_set(path, sizeof path, "%s/%s", folder, r->names.v[i]);
        if (tw_facts_path(r->root, path, full, sizeof full) && lstat(full, &st) == 0 &&
            S_ISSOCK(st.st_mode) && !has_listener(r, path))
            take_file(r, path, TW_LEFT_SOCKET, "twinax");
    }
}

void tw_reader_left(tw_facts_reader *r)
{
    for (size_t i = 0; i < r->n_procs; i++)
        take_process(r, &r->procs[i]);
    read_shm(r);
    read_sockets(r);
}
