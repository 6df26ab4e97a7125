/* SPDX-License-Identifier: Apache-2.0 */
/* What a hub answers: any bytes are a list whose paths and hashes are safe to make files of, or
 * refused; header lines and names of models are bytes too. */
#include <stdlib.h>
#include <string.h>

#include "hub/choose.h"
#include "hub/name.h"
#include "hub/refusal.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const tw_hub_choice needed = {.n_include = 0};
    tw_hub_list l = {.n = 0};
    tw_hub_answer a = {.status = 0};
    tw_hub_name name;
    tw_err err = {0};
    char *text = tw_mem_strndup((const char *)p, n);
    must(text != NULL);
    if (tw_hub_list_parse("fuzz", (const char *)p, n, &l, &err) == 0) {
        for (size_t i = 0; i < l.n; i++)
            must(tw_hub_path_is_safe(l.v[i].path) && tw_hub_is_etag(l.v[i].etag));
        (void)!tw_hub_choose("fuzz/fuzz", &needed, &l, &err);
    }
    tw_hub_list_done(&l);
    tw_hub_answer_note(&a, (const char *)p, n);
    must(a.retry_after_s <= 86400);
    must(tw_hub_name_is(text) == (tw_hub_name_parse(text, &name, &err) == 0));
    tw_mem_free(text);
    return 0;
}
