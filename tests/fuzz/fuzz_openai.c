/* SPDX-License-Identifier: Apache-2.0 */
/* A request body, read as a chat and as a completion; what was accepted must print as JSON. */
#include <jansson.h>
#include <stdint.h>

#include "base/scope.h"
#include "fmt/openai.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void read_as(enum tw_openai_kind kind, const uint8_t *p, size_t n)
{
    tw_openai_request r;
    tw_openai_fail f = {0};
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(1 << 16);
    int e = tw_openai_parse(kind, (const char *)p, n, &r, &f);
    json_t *j = NULL;
    if (e == 0 && kind == TW_OPENAI_CHAT)
        j = json_loadb(r.messages.data, r.messages.len, 0, NULL);
    else if (e && tw_openai_print_fail(&b, &f) == 0)
        j = json_loadb(b.data, b.len, 0, NULL);
    else if (e == 0)
        j = json_true();
    if (j == NULL || (e != 0) != (f.status != 0))
        __builtin_trap();
    json_decref(j);
    tw_openai_request_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    read_as(TW_OPENAI_CHAT, p, n);
    read_as(TW_OPENAI_TEXT, p, n);
    return 0;
}
