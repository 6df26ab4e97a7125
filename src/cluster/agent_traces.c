/* SPDX-License-Identifier: Apache-2.0 */
/* For `twinax uninstall`: what is here, and its removal. */
#include "cluster/agent_op.h"
#include "cluster/traces.h"

int tw_agent_traces(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    (void)a;
    (void)request;
    json_t *list = NULL;
    int rc = tw_traces_find(&list, err);
    if (rc == 0)
        *ret = json_pack("{s:o}", "traces", list);
    return rc;
}

int tw_agent_traces_remove(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    (void)a;
    json_t *left = NULL;
    int rc = tw_traces_remove(json_object_get(request, "paths"), &left, err);
    if (rc == 0)
        *ret = json_pack("{s:o}", "left", left);
    return rc;
}
