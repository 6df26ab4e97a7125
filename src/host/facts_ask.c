/* SPDX-License-Identifier: Apache-2.0 */
/* Another program's word, where it alone knows. */
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/facts_reader.h"
#include "os/child.h"

bool tw_reader_ask(const char *const *argv, uint64_t deadline_ns, char *out, size_t out_bytes)
{
    tw_child c = {0};
    tw_err ignored;
    size_t len = 0;
    bool ended = false;
    out[0] = '\0';
    if (tw_clock_now_ns() >= deadline_ns ||
        tw_child_spawn(argv, TW_CHILD_PIPE_OUT | TW_CHILD_PIPE_ERR | TW_CHILD_NULL_IN, -1, &c,
                       &ignored) != 0)
        return false;
    close(c.err_fd); /* what it complains of is nobody's */
    c.err_fd = -1;
    while (!ended && len < out_bytes - 1) {
        uint64_t now = tw_clock_now_ns();
        struct pollfd p = {.fd = c.out_fd, .events = POLLIN};
        if (now >= deadline_ns || poll(&p, 1, (int)((deadline_ns - now) / TW_NS_PER_MS) + 1) <= 0)
            break;
        ssize_t n = read(c.out_fd, out + len, out_bytes - 1 - len);
        ended = n <= 0;
        len += n > 0 ? (size_t)n : 0;
    }
    out[len] = '\0';
    tw_child_stop(&c, ended ? TW_NS_PER_S : 0);
    return ended && c.status == 0;
}
