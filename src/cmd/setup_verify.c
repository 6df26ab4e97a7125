/* SPDX-License-Identifier: Apache-2.0 */
/* After setup has changed something: every node's plan is made anew (nothing may be left in it), and
 * doctor looks. What doctor fails although setup knows its mend is setup's failure too. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/doctor.h"
#include "cmd/setup.h"
#include "host/setup_left.h"

/* What is left over did not take. */
int tw_setup_verify_plans(tw_setup_run *r, const setup_opts *o, tw_err *err)
{
    char left[160] = "";
    size_t n = 0;
    int rc = tw_setup_run_plan(r, err);
    for (size_t i = 0; i < tw_setup_run_n(r) && rc == 0; i++) {
        const json_t *steps = json_object_get(tw_setup_run_plan_of(r, i), "steps");
        for (size_t k = 0; k < json_array_size(steps) && n < sizeof left; k++) {
            const json_t *s = json_array_get(steps, k);
            const char *id = tw_json_text_at(s, "id");
            /* Layered packages are there after the reboot only. */
            if (!(strcmp(id, "packages") == 0 && json_is_true(json_object_get(s, "reboot"))))
                n += (size_t)snprintf(left + n, sizeof left - n, "%s%s: %s", n > 0 ? ", " : "",
                                      tw_setup_run_name(r, i), id);
        }
    }
    if (rc != 0)
        return rc;
    if (left[0] != '\0')
        return tw_err_set(err, -EIO, "done, but read again it is not so: %s", left);
    if (!o->json)
        puts("verified: everything was read again, and is as it should be");
    return 0;
}

/* ---- doctor ---- */

static unsigned choice_of(const char *transport)
{
    return strcmp(transport, "rdma") == 0   ? TW_CHECK_BY_RDMA
           : strcmp(transport, "auto") == 0 ? TW_CHECK_BY_AUTO
                                            : TW_CHECK_BY_TCP;
}

static void free_record(tw_check_record **r)
{
    if (*r != NULL)
        tw_check_record_done(*r);
    tw_mem_free(*r);
    *r = NULL;
}

static int judge(const setup_opts *o, const tw_check_record *r, const doctor_results *v,
                 const bool *reboot_due, tw_err *err)
{
    tw_setup_left left;
    const tw_setup_after after = {
        .world = &r->world, .v = v->v, .n = v->n, .only = o->only, .reboot_due = reboot_due};
    tw_setup_left_find(&after, &left);
    if (left.n_reboots + left.n_logins > 0 && !o->json)
        printf("no failure, it waits for %s%s%s: %s\n", left.n_reboots > 0 ? "a reboot" : "",
               left.n_reboots > 0 && left.n_logins > 0 ? " or " : "",
               left.n_logins > 0 ? "a new login" : "", left.waits);
    if (left.n_failed == 0)
        return 0;
    return tw_err_set(err, -EIO, "done, but doctor still fails what it should have mended: %.170s",
                      left.failed);
}

int tw_setup_verify_doctor(const setup_opts *o, const bool *reboot_due, tw_err *err)
{
    const doctor_opts d = {.nodes_list = o->nodes_list,
                           .agent_path = o->agent_path,
                           .interface = o->interface,
                           .push = o->push,
                           .transport = o->transport != NULL ? choice_of(o->transport) : 0,
                           .has_transport = o->transport != NULL,
                           .silent = o->json};
    TW_CLEANUP(free_record) tw_check_record *r = tw_mem_calloc(1, sizeof *r);
    TW_CLEANUP(tw_mem_freep) doctor_results *v = tw_mem_calloc(1, sizeof *v);
    if (r == NULL || v == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for doctor");
    if (!o->json)
        puts("\nand now, by doctor:");
    fflush(stdout);
    int rc = tw_doctor_examine(&d, r, v, err);
    return rc == 0 ? judge(o, r, v, reboot_due, err) : rc;
}
