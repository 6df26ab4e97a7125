/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/str.h"

static _Atomic int g_max_level = TW_LOG_INFO;
static _Atomic int g_rank = -1;

void tw_log_set(enum tw_log_level max_level, int rank)
{
    atomic_store(&g_max_level, (int)max_level);
    atomic_store(&g_rank, rank);
}

static size_t format_head(char *line, size_t room, const char *area)
{
    int rank = atomic_load(&g_rank);
    int n = rank < 0 ? snprintf(line, room, "%s: ", area)
                     : snprintf(line, room, "r%d %s: ", rank, area);
    return n < 0 ? 0 : TW_MIN((size_t)n, room - 1);
}

/* One write for one line, so that lines of several threads and ranks do not mix. */
static void write_line(const char *line, size_t n)
{
    while (n > 0) {
        ssize_t n_now = write(STDERR_FILENO, line, n);
        if (n_now < 0 && errno == EINTR)
            continue;
        if (n_now <= 0)
            return;
        line += n_now;
        n -= (size_t)n_now;
    }
}

void tw_log(enum tw_log_level level, const char *area, const char *fmt, ...)
{
    if ((int)level > atomic_load(&g_max_level))
        return;
    int errno_kept = errno;
    char line[1024];
    size_t room = sizeof(line) - 1; /* the line feed */
    size_t n_head = format_head(line, room, area);

    va_list ap;
    va_start(ap, fmt);
    int n_text = vsnprintf(line + n_head, room - n_head, fmt, ap);
    va_end(ap);
    size_t len = n_head;
    if (n_text > 0 && (size_t)n_text < room - n_head)
        len = n_head + (size_t)n_text;
    else if (n_text > 0)
        len = tw_utf8_complete(line, room - 1);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    line[len] = '\n';
    write_line(line, len + 1);
    errno = errno_kept;
}
