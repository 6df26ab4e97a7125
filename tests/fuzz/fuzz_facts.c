/* SPDX-License-Identifier: Apache-2.0 */
/* A host's facts: any JSON is refused in one line or taken; what is taken is printed and taken again
 * as the very same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static tw_facts one, two;

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tw_err err = {0};
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    if (tw_json_parse("fuzz", (const char *)p, n, &v, &err) != 0)
        return 0;
    int rc = tw_facts_parse(v, &one, &err);
    if (rc != 0) {
        if (rc > 0 || err.code != rc || err.msg[0] == '\0' || strchr(err.msg, '\n') != NULL)
            abort();
        return 0;
    }
    TW_CLEANUP(tw_json_freep) json_t *again = tw_facts_print(&one);
    if (again == NULL || tw_facts_parse(again, &two, &err) != 0 ||
        memcmp(&one, &two, sizeof one) != 0)
        abort();
    return 0;
}
