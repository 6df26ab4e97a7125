/* SPDX-License-Identifier: Apache-2.0 */
/* Setup's plan from another's words: {"facts":..., "want":..., "files":{path:text}, "answers":{...},
 * "plan":...}. Any JSON is refused in one line, or gives a plan that prints; a plan that came over the
 * wire prints or is refused too. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "host/facts.h"
#include "host/setup_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum { TEXT_MAX = 4 << 20 };

static tw_facts facts;

static void show(const json_t *plan)
{
    tw_err err = {0};
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX);
    const int rc = tw_setup_plan_text(plan, &text, &err);
    if (rc > 0 || (rc < 0 && rc != -ENOMEM && err.msg[0] == '\0'))
        abort();
    for (size_t i = 0; rc == 0 && i < text.len; i++)
        if ((unsigned char)text.data[i] < ' ' && text.data[i] != '\n' && text.data[i] != '\t')
            abort(); /* it would steer a terminal */
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tw_err err = {0};
    tw_setup_want want;
    TW_CLEANUP(tw_json_freep) json_t *v = NULL, *plan = NULL;
    if (tw_json_parse("fuzz", (const char *)p, n, &v, &err) != 0)
        return 0;
    if (json_is_object(json_object_get(v, "plan")))
        show(json_object_get(v, "plan"));
    if (tw_facts_parse(json_object_get(v, "facts"), &facts, &err) != 0)
        memset(&facts, 0, sizeof facts);
    const int rc = tw_setup_want_parse(json_object_get(v, "want"), &want, &err);
    if (rc != 0) {
        if (rc > 0 || err.msg[0] == '\0' || strchr(err.msg, '\n') != NULL)
            abort();
        return 0;
    }
    tw_setup_seen seen = {.files = json_object_get(v, "files"),
                          .answers = json_object_get(v, "answers"),
                          .user = "me",
                          .home = "/srv/me",
                          .groups = " me "};
    if (tw_setup_plan(&facts, &seen, &want, &plan, &err) == 0)
        show(plan);
    return 0;
}
