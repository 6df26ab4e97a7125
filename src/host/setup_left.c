/* SPDX-License-Identifier: Apache-2.0 */
#include "host/setup_left.h"

#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/setup_plan.h"

static bool is_one_of(const char *step, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], step) == 0)
            return true;
    return false;
}

static bool needs_reboot(const char *step)
{
    static const char *const names[] = {"kernel", "packages"};
    return is_one_of(step, names, TW_ARRAY_LEN(names));
}

static bool needs_login(const char *step)
{
    static const char *const names[] = {"memlock", "groups", "devices"};
    return is_one_of(step, names, TW_ARRAY_LEN(names));
}

/* Setup says so, or doctor does. */
static bool is_reboot_due(const tw_setup_after *a, size_t node)
{
    if (a->reboot_due != NULL && a->reboot_due[node])
        return true;
    for (size_t i = 0; i < a->n; i++)
        if (a->v[i].node == node && a->v[i].status >= TW_CHECK_WARN &&
            strcmp(a->v[i].check->id, "kernel.reboot") == 0)
            return true;
    return false;
}

/* A node by ssh is logged in to anew for doctor; here it is the login in which setup began. */
static bool is_old_login(const tw_setup_after *a, size_t node)
{
    return node == 0 || strcmp(a->world->nodes[node].ssh, "local") == 0;
}

static void add(const tw_setup_after *a, const tw_check_result *r, const char *what, char *out,
                size_t out_bytes)
{
    const size_t len = strlen(out);
    snprintf(out + len, out_bytes - len, "%s%s: %s (%s)", len > 0 ? ", " : "",
             a->world->nodes[r->node].name, r->check->id, what);
}

void tw_setup_left_find(const tw_setup_after *a, tw_setup_left *ret)
{
    *ret = (tw_setup_left){0};
    for (size_t i = 0; i < a->n; i++) {
        const tw_check_result *r = &a->v[i];
        if (r->status != TW_CHECK_FAIL || r->step == NULL || !tw_setup_only_has(a->only, r->step))
            continue;
        if (needs_reboot(r->step) && is_reboot_due(a, r->node)) {
            add(a, r, "next boot", ret->waits, sizeof ret->waits);
            ret->n_reboots++;
        } else if (needs_login(r->step) && is_old_login(a, r->node)) {
            add(a, r, "next login", ret->waits, sizeof ret->waits);
            ret->n_logins++;
        } else {
            add(a, r, r->step, ret->failed, sizeof ret->failed);
            ret->n_failed++;
        }
    }
}
