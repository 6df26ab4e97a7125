/* SPDX-License-Identifier: Apache-2.0 */
#include "host/facts_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "os/fd.h"

bool tw_facts_path(const char *root, const char *path, char *out, size_t out_bytes)
{
    path += path[0] == '/';
    int n = snprintf(out, out_bytes, "%s/%s", root != NULL ? root : "", path);
    return n > 0 && (size_t)n < out_bytes;
}

static int open_file(const char *root, const char *path)
{
    char full[1024];
    if (!tw_facts_path(root, path, full, sizeof full))
        return -1;
    /* A fifo in place of a file must not hold us. */
    return open(full, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static bool read_all(int fd, char *out, size_t out_bytes)
{
    size_t len = 0;
    out[0] = '\0';
    while (fd >= 0 && len < out_bytes - 1) {
        ssize_t n = read(fd, out + len, out_bytes - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) { /* a port or link that is down answers so */
            out[0] = '\0';
            return false;
        }
        if (n == 0)
            break;
        len += (size_t)n;
    }
    out[len] = '\0';
    return fd >= 0;
}

bool tw_facts_text(const char *root, const char *path, char *out, size_t out_bytes)
{
    TW_CLEANUP(tw_fd_closep) int fd = open_file(root, path);
    bool good = read_all(fd, out, out_bytes);
    size_t len = strlen(out);
    while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == ' '))
        out[--len] = '\0';
    return good;
}

bool tw_facts_tail(const char *root, const char *path, char *out, size_t out_bytes)
{
    TW_CLEANUP(tw_fd_closep) int fd = open_file(root, path);
    if (fd >= 0 && lseek(fd, -(off_t)(out_bytes - 1), SEEK_END) < 0)
        (void)lseek(fd, 0, SEEK_SET); /* it is shorter than that */
    return read_all(fd, out, out_bytes);
}

bool tw_facts_link(const char *root, const char *path, char *out, size_t out_bytes)
{
    char full[1024];
    out[0] = '\0';
    if (!tw_facts_path(root, path, full, sizeof full))
        return false;
    ssize_t n = readlink(full, out, out_bytes - 1);
    out[n > 0 ? n : 0] = '\0';
    return n > 0;
}

bool tw_facts_link_name(const char *root, const char *path, char *out, size_t out_bytes)
{
    char target[512];
    out[0] = '\0';
    if (!tw_facts_link(root, path, target, sizeof target))
        return false;
    const char *base = strrchr(target, '/');
    tw_text_set(out, out_bytes, "%s", base != NULL ? base + 1 : target);
    return true;
}

bool tw_facts_exists(const char *root, const char *path)
{
    char full[1024];
    return tw_facts_path(root, path, full, sizeof full) && access(full, F_OK) == 0;
}

tw_count tw_facts_number(const char *root, const char *path)
{
    char text[48], *end = NULL;
    if (!tw_facts_text(root, path, text, sizeof text) || text[0] < '0' || text[0] > '9')
        return (tw_count){0};
    errno = 0;
    unsigned long long v = strtoull(text, &end, text[1] == 'x' ? 16 : 10);
    bool good = errno == 0 && (*end == '\0' || *end == ' ' || *end == '\n');
    return good ? tw_count_of(v) : (tw_count){0};
}

bool tw_facts_chosen(const char *root, const char *path, char *out, size_t out_bytes)
{
    char text[256];
    out[0] = '\0';
    if (!tw_facts_text(root, path, text, sizeof text))
        return false;
    char *open_at = strchr(text, '['), *close_at = strchr(text, ']');
    if (open_at != NULL && close_at > open_at)
        *close_at = '\0';
    tw_text_set(out, out_bytes, "%s", open_at != NULL && close_at > open_at ? open_at + 1 : text);
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strverscmp(a, b); /* card2 before card10 */
}

void tw_facts_names(const char *root, const char *folder, const char *prefix, tw_names *ret)
{
    char full[1024];
    ret->n = 0;
    DIR *d = tw_facts_path(root, folder, full, sizeof full) ? opendir(full) : NULL;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL && ret->n < TW_NAMES_MAX;) {
        size_t len = strlen(e->d_name);
        if (e->d_name[0] != '.' && len < TW_NAME_BYTES &&
            strncmp(e->d_name, prefix, strlen(prefix)) == 0)
            memcpy(ret->v[ret->n++], e->d_name, len + 1);
    }
    if (d != NULL)
        closedir(d);
    qsort(ret->v, ret->n, sizeof ret->v[0], compare_names);
}
