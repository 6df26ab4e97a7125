/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors that close themselves: TW_CLEANUP(tw_fd_closep) int fd = -1; */
#ifndef TWINAX_OS_FD_H
#define TWINAX_OS_FD_H

#include <unistd.h>

static inline void tw_fd_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Hands the fd on: the scope no longer closes it. */
static inline int tw_fd_steal(int *fd)
{
    int v = *fd;
    *fd = -1;
    return v;
}

#endif
