/* SPDX-License-Identifier: Apache-2.0 */
/* Wire frames: any bytes decode or are refused; what decodes encodes to the same bytes again. */
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void same_body(const tw_buf *b, const uint8_t *p, size_t n)
{
    must(b->len == n + TW_FRAME_CTL_BYTES && memcmp(b->data + TW_FRAME_CTL_BYTES, p, n) == 0);
}

static void try_bodies(const uint8_t *p, size_t n)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(2 * TW_FRAME_BODY_MAX);
    tw_frame_hello hello;
    tw_frame_table table;
    tw_frame_link link;
    char text[40];
    uint8_t rank;
    if (tw_frame_hello_decode(p, n, &hello) == 0) {
        must(tw_frame_hello_encode(&b, &hello) == 0 && b.len == n + TW_FRAME_CTL_BYTES);
        /* What is sealed comes back as it was, wherever flags are written as 0 and 1. */
        must(memcmp(b.data + TW_FRAME_CTL_BYTES, p, TW_FRAME_PROOF_BYTES + 4) == 0);
        must(memcmp(b.data + b.len - TW_FRAME_PROOF_BYTES, hello.seal, TW_FRAME_PROOF_BYTES) == 0);
        tw_buf_reset(&b);
    }
    if (tw_frame_table_decode(p, n, &table) == 0) {
        must(tw_frame_table_encode(&b, &table) == 0);
        same_body(&b, p, n);
        tw_buf_reset(&b);
    }
    if (tw_frame_link_decode(p, n, &link) == 0) {
        must(tw_frame_link_encode(&b, &link) == 0);
        same_body(&b, p, n);
    }
    if (tw_frame_text_decode(p, n, &rank, text, sizeof text) == 0) {
        must(strlen(text) < sizeof text);
        for (const char *c = text; *c != '\0'; c++)
            must((unsigned char)*c >= 0x20);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tw_frame_data d;
    tw_frame_ctl c;
    uint8_t again[TW_FRAME_DATA_BYTES];
    if (n >= TW_FRAME_DATA_BYTES && tw_frame_data_decode(p, &d) == 0) {
        tw_frame_data_encode(&d, again);
        must(memcmp(again, p, sizeof again) == 0);
    }
    if (n >= TW_FRAME_CTL_BYTES && tw_frame_ctl_decode(p, &c) == 0) {
        must(c.bytes <= TW_FRAME_BODY_MAX);
        try_bodies(p + TW_FRAME_CTL_BYTES,
                   TW_MIN(n - TW_FRAME_CTL_BYTES, (size_t)TW_FRAME_BODY_MAX));
    }
    if (n <= TW_FRAME_BODY_MAX)
        try_bodies(p, n);
    return 0;
}
