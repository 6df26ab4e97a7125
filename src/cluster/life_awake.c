/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/life_awake.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/life_heat.h"

uint64_t tw_life_sleep_look(tw_life_sleep *s, uint64_t boot_ns, uint64_t mono_ns)
{
    const uint64_t ahead = boot_ns > mono_ns ? boot_ns - mono_ns : 0;
    const uint64_t slept = s->known && ahead > s->ahead_ns ? ahead - s->ahead_ns : 0;
    if (s->known && slept < TW_NS_PER_S) /* the clocks are read one after the other */
        return 0;
    s->ahead_ns = ahead;
    s->known = true;
    return slept;
}

uint64_t tw_life_sleep_now(tw_life_sleep *s)
{
    struct timespec boot, mono;
    if (clock_gettime(CLOCK_MONOTONIC, &mono) != 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
        return 0;
    return tw_life_sleep_look(s, (uint64_t)boot.tv_sec * TW_NS_PER_S + (uint64_t)boot.tv_nsec,
                              (uint64_t)mono.tv_sec * TW_NS_PER_S + (uint64_t)mono.tv_nsec);
}

bool tw_life_awake_hold(tw_life_awake *a, bool always, char *why, size_t why_bytes)
{
    /* It holds while its own child, cat, reads from us: our end, however it comes, is its end. */
    const char *const argv[] = {"systemd-inhibit",
                                "--what=sleep:idle:handle-lid-switch",
                                "--who=twinax",
                                "--why=serves a model",
                                "--mode=block",
                                "cat",
                                NULL};
    tw_err err = {0};
    memset(a, 0, sizeof *a);
    if (!always && !tw_life_is_laptop(NULL)) {
        snprintf(why, why_bytes, "no laptop");
        return false;
    }
    if (tw_child_spawn(argv, TW_CHILD_PIPE_IN | TW_CHILD_PIPE_OUT, -1, &a->child, &err) == 0)
        return true;
    snprintf(why, why_bytes, "%s", err.msg);
    return false;
}

bool tw_life_awake_lost(tw_life_awake *a)
{
    return a->child.pid > 0 && tw_child_poll(&a->child, NULL);
}

void tw_life_awake_close(tw_life_awake *a)
{
    if (a->child.pid > 0 && a->child.in_fd >= 0) {
        close(a->child.in_fd);
        a->child.in_fd = -1;
    }
    tw_child_stop(&a->child, TW_NS_PER_S / 2);
    memset(a, 0, sizeof *a);
}
