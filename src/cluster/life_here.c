/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/life_here.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "os/fd.h"

enum { ENVIRON_MAX = 256 * 1024 };

static ssize_t read_proc(pid_t pid, const char *name, char *out, size_t out_bytes)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, out, out_bytes - 1) : -1;
    out[n > 0 ? n : 0] = '\0';
    return n;
}

/* A program of ours whose first word is "rank". */
static bool is_rank(pid_t pid)
{
    char text[256], path[64], exe[512];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    if (read_proc(pid, "cmdline", text, sizeof text) <= 0)
        return false;
    const size_t first = strlen(text) + 1;
    if (first >= sizeof text || strcmp(text + first, "rank") != 0)
        return false;
    const ssize_t n = readlink(path, exe, sizeof exe - 1);
    if (n <= 0)
        return false;
    exe[n] = '\0';
    const char *slash = strrchr(exe, '/');
    return slash != NULL && strncmp(slash + 1, "twinax", 6) == 0;
}

/* Machines that are namespaces of one kernel are told apart. */
static bool is_on_our_net(pid_t pid)
{
    struct stat ours, theirs;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    return stat("/proc/self/ns/net", &ours) == 0 && stat(path, &theirs) == 0 &&
           ours.st_ino == theirs.st_ino;
}

/* "SSH_CONNECTION=THEIRS PORT OURS PORT" */
static void find_head(pid_t pid, char *room, char out[64])
{
    static const char key[] = "SSH_CONNECTION=";
    const ssize_t n = read_proc(pid, "environ", room, ENVIRON_MAX);
    out[0] = '\0';
    for (const char *p = room; n > 0 && p < room + n; p += strlen(p) + 1)
        if (strncmp(p, key, sizeof key - 1) == 0) {
            snprintf(out, 64, "%s", p + sizeof key - 1);
            out[strcspn(out, " ")] = '\0';
        }
}

static double up_seconds(const tw_life_proc *p)
{
    struct timespec t = {.tv_sec = 0};
    const double hz = (double)sysconf(_SC_CLK_TCK);
    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    const double up = (double)t.tv_sec + (double)t.tv_nsec * 1e-9 - (double)p->start / hz;
    return up > 0 ? up : 0;
}

unsigned tw_life_here_find(tw_life_here *ret, unsigned max)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc");
    TW_CLEANUP(tw_mem_freep) char *room = tw_mem_alloc(ENVIRON_MAX);
    for (struct dirent *e; dir != NULL && room != NULL && (e = readdir(dir)) != NULL;) {
        uint64_t pid = 0;
        tw_life_here h = {.up_s = 0};
        if (tw_str_to_u64(e->d_name, &pid) != 0 || pid > INT32_MAX || !is_rank((pid_t)pid) ||
            !is_on_our_net((pid_t)pid) || !tw_life_proc_read((pid_t)pid, &h.proc))
            continue;
        if (n < max) {
            h.rss_bytes = tw_life_proc_rss((pid_t)pid);
            h.up_s = up_seconds(&h.proc);
            find_head((pid_t)pid, room, h.from);
            ret[n] = h;
        }
        n++;
    }
    if (dir != NULL)
        closedir(dir);
    return n;
}
