/* SPDX-License-Identifier: Apache-2.0 */
#include "host/setup_plan.h"

#include <errno.h>
#include <string.h>

#include "base/scope.h"

const char *const tw_setup_step_ids[] = {"ssh-key", "ssh-trust", "packages", "memlock",
                                         "groups",  "devices",   "modules",  "roce-mode",
                                         "network", "soft-roce", "firewall", "kernel",
                                         NULL};

bool tw_setup_only_has(const char *only, const char *id)
{
    const size_t n = strlen(id);
    for (const char *p = only; p != NULL && *p != '\0'; p += strcspn(p, ","), p += *p == ',')
        if (strncmp(p, id, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return true;
    return only == NULL;
}

static bool any(const json_t *steps, const char *flag)
{
    for (size_t i = 0; i < json_array_size(steps); i++)
        if (json_is_true(json_object_get(json_array_get(steps, i), flag)))
            return true;
    return false;
}

int tw_setup_plan(const tw_facts *f, const tw_setup_seen *s, const tw_setup_want *w, json_t **ret,
                  tw_err *err)
{
    /* What cuts the network comes late, what needs a reboot last. */
    static void (*const parts[])(
        tw_setup_maker *) = {tw_setup_plan_ssh,    tw_setup_plan_packages, tw_setup_plan_memlock,
                             tw_setup_plan_groups, tw_setup_plan_modules,  tw_setup_plan_network,
                             tw_setup_plan_roce,   tw_setup_plan_firewall, tw_setup_plan_kernel};
    TW_CLEANUP(tw_json_freep) json_t *steps = json_array();
    TW_CLEANUP(tw_json_freep) json_t *notes = json_array();
    tw_setup_maker m = {.f = f, .s = s, .w = w, .steps = steps, .notes = notes};
    for (size_t i = 0; i < TW_ARRAY_LEN(parts); i++)
        parts[i](&m);
    json_t *plan = m.failed
                       ? NULL
                       : json_pack("{s:i, s:s, s:O, s:O, s:b, s:b}", "schema", 1, "node",
                                   w->nodes[w->self].name, "steps", steps, "notes", notes, "reboot",
                                   any(steps, "reboot") || f->boot.reboot_pending == TW_YES,
                                   "login", any(steps, "login"));
    if (plan == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a plan");
    *ret = plan;
    return 0;
}
