/* SPDX-License-Identifier: Apache-2.0 */
#include "host/facts_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "os/fd.h"

bool tw_facts_path(const char *root, const char *path, char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "%s/%s", root != NULL ? root : "", path);
    return n > 0 && (size_t)n < out_bytes;
}

bool tw_facts_text(const char *root, const char *path, char *out, size_t out_bytes)
{
    char full[1024];
    out[0] = '\0';
    if (!tw_facts_path(root, path, full, sizeof full))
        return false;
    TW_CLEANUP(tw_fd_closep) int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t len = 0;
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
    while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == ' '))
        len--;
    out[len] = '\0';
    return fd >= 0;
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

bool tw_facts_exists(const char *root, const char *path)
{
    char full[1024];
    return tw_facts_path(root, path, full, sizeof full) && access(full, F_OK) == 0;
}
