/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as tokenizer.json: an error or a tokenizer, which then takes one text there and back. */
#include <stdint.h>
#include <stdlib.h>

#include "base/scope.h"
#include "model/tok_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum { MAX_BYTES = 64 << 10, MAX_ID = 5000 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char text[] =
        "<s>Say  \u2581it isn't (so), \u00e9t\u00e9\r\n\t12 \xff \u4e00\u20ac ab";
    tw_tokenizer *t = NULL;
    tw_err err = {0};
    if (n > MAX_BYTES)
        return 0;
    int rc = tw_tokenizer_new_limited("fuzz", (const char *)p, n, MAX_ID, &t, &err);
    if ((rc < 0) != (err.code < 0) || (rc < 0 && err.msg[0] == '\0'))
        abort(); /* an error without words */
    if (rc < 0)
        return 0;
    tw_ids ids TW_CLEANUP(tw_ids_done) = {0};
    tw_buf all TW_CLEANUP(tw_buf_done) = TW_BUF((size_t)1 << 20);
    rc = tw_tokenizer_encode(t, text, sizeof(text) - 1, true, &ids, &err);
    for (uint32_t id = 0; rc == 0 && id < tw_tokenizer_n(t) && id < 300; id++)
        rc = tw_ids_push(&ids, id);
    if (rc == 0)
        rc = tw_tokenizer_decode(t, ids.ids, ids.n, false, &all, &err);
    if (rc == 0 && all.len > 0 && !tw_utf8_valid(all.data, all.len))
        abort();
    tw_tokenizer_free(t);
    return 0;
}
