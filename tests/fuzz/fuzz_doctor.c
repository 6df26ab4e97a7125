/* SPDX-License-Identifier: Apache-2.0 */
/* A record: any bytes are refused in one line, or judged; whatever fails has a mend without control
 * characters. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "host/check_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static tw_check_record record;
static tw_check_result results[TW_CHECK_RESULTS_MAX];

static void judge(void)
{
    size_t n = tw_checks_run(&record.world, results, TW_CHECK_RESULTS_MAX);
    for (size_t i = 0; i < n; i++) {
        const tw_check_result *r = &results[i];
        if ((r->status >= TW_CHECK_WARN) != (r->mend[0] != '\0') || r->found[0] == '\0')
            abort();
        for (const char *c = r->mend; *c != '\0'; c++)
            if ((unsigned char)*c < 0x20)
                abort();
    }
    json_t *v = tw_check_record_print(&record);
    json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tw_err err = {0};
    int rc = tw_check_record_parse("fuzz", (const char *)p, n, &record, &err);
    if (rc > 0 || (rc != 0 && (err.code != rc || err.msg[0] == '\0')))
        abort();
    if (rc == 0)
        judge();
    tw_check_record_done(&record);
    return 0;
}
