/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/hold_shm.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "os/brood.h"

enum { FILES_MAX = 512, NAME_BYTES = 128 };
#define LOOK_AFTER_NS (50 * TW_NS_PER_MS)

typedef struct shm_file {
    char name[NAME_BYTES];
    dev_t dev;
    ino_t ino;
    bool ours;
} shm_file;

struct tw_hold_shm {
    int events_fd, folder_fd;
    uint64_t due_ns; /* 0: nobody need be looked at */
    unsigned n;
    shm_file v[FILES_MAX];
};

tw_hold_shm *tw_hold_shm_open(const char *folder)
{
    tw_hold_shm *s =
        mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    s->folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    s->events_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (s->folder_fd >= 0 && s->events_fd >= 0 &&
        inotify_add_watch(s->events_fd, folder, IN_CREATE | IN_MOVED_TO) >= 0)
        return s;
    (void)tw_hold_shm_remove(s);
    return NULL;
}

int tw_hold_shm_fd(const tw_hold_shm *s)
{
    return s != NULL ? s->events_fd : -1;
}

/* A full table gives up those that nobody of ours was seen with. */
static shm_file *new_file(tw_hold_shm *s)
{
    unsigned n = 0;
    if (s->n < FILES_MAX)
        return &s->v[s->n++];
    for (unsigned i = 0; i < s->n; i++)
        if (s->v[i].ours)
            s->v[n++] = s->v[i];
    s->n = n;
    return n < FILES_MAX ? &s->v[s->n++] : NULL;
}

static void add_file(tw_hold_shm *s, const char *name)
{
    struct stat st;
    if (strlen(name) >= NAME_BYTES || fstatat(s->folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(st.st_mode) || st.st_uid != geteuid())
        return;
    shm_file *f = new_file(s);
    if (f == NULL)
        return;
    *f = (shm_file){.dev = st.st_dev, .ino = st.st_ino};
    snprintf(f->name, sizeof f->name, "%s", name);
    if (s->due_ns == 0)
        s->due_ns = tw_clock_now_ns() + LOOK_AFTER_NS;
}

void tw_hold_shm_take(tw_hold_shm *s)
{
    char events[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while (s != NULL && (n = read(s->events_fd, events, sizeof events)) > 0)
        for (const char *p = events; p < events + n;) {
            struct inotify_event e;
            memcpy(&e, p, sizeof e);
            if (e.len > 0)
                add_file(s, p + sizeof e);
            p += sizeof e + e.len;
        }
}

int tw_hold_shm_wait_ms(const tw_hold_shm *s)
{
    if (s == NULL || s->due_ns == 0)
        return -1;
    const uint64_t now = tw_clock_now_ns();
    return s->due_ns > now ? (int)((s->due_ns - now) / TW_NS_PER_MS) + 1 : 0;
}

static void mark(tw_hold_shm *s, dev_t dev, ino_t ino)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->v[i].ino == ino && s->v[i].dev == dev)
            s->v[i].ours = true;
}

static void look_at_open(tw_hold_shm *s, pid_t pid)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    const struct dirent *e;
    struct stat st;
    while (d != NULL && (e = readdir(d)) != NULL)
        if (e->d_name[0] != '.' && fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            mark(s, st.st_dev, st.st_ino);
    if (d != NULL)
        closedir(d);
}

/* "7f..-7f.. rw-s 00000000 00:1b 42    /dev/shm/psm_1": by number, for a file may have been renamed. */
static void look_at_mapped(tw_hold_shm *s, pid_t pid)
{
    char path[32], line[PATH_MAX + 128];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        unsigned major_n, minor_n;
        uint64_t ino;
        if (sscanf(line, "%*s %*s %*s %8x:%8x %20" SCNu64, &major_n, &minor_n, &ino) == 3 &&
            ino != 0)
            mark(s, makedev(major_n, minor_n), (ino_t)ino);
    }
    if (f != NULL)
        fclose(f);
}

static void look_at(pid_t pid, void *ctx)
{
    look_at_open(ctx, pid);
    look_at_mapped(ctx, pid);
}

/* What is gone again needs no look ever more. */
static void forget_gone(tw_hold_shm *s)
{
    struct stat st;
    unsigned n = 0;
    for (unsigned i = 0; i < s->n; i++)
        if (fstatat(s->folder_fd, s->v[i].name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_ino == s->v[i].ino)
            s->v[n++] = s->v[i];
    s->n = n;
}

void tw_hold_shm_look(tw_hold_shm *s, bool now)
{
    if (s == NULL)
        return;
    tw_hold_shm_take(s);
    if (s->due_ns == 0 || (!now && tw_clock_now_ns() < s->due_ns))
        return;
    s->due_ns = 0;
    forget_gone(s);
    if (s->n > 0)
        tw_brood_each(look_at, s);
}

unsigned tw_hold_shm_remove(tw_hold_shm *s)
{
    unsigned n = 0;
    if (s == NULL)
        return 0;
    for (unsigned i = 0; i < s->n; i++) {
        struct stat st;
        if (s->v[i].ours && fstatat(s->folder_fd, s->v[i].name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_ino == s->v[i].ino && unlinkat(s->folder_fd, s->v[i].name, 0) == 0)
            n++;
    }
    close(s->folder_fd); /* their numbers stay: the other process has its own */
    close(s->events_fd);
    (void)munmap(s, sizeof *s);
    return n;
}
