/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer says of its RDMA end: any bytes decode or are refused; what decodes is within its
 * bounds, its text can be printed, and it comes through the wire again unchanged. */
#include <stdlib.h>
#include <string.h>

#include "link/verbs_inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void try_offer(const uint8_t in[TW_VERBS_OFFER_BYTES])
{
    uint8_t once[TW_VERBS_OFFER_BYTES], twice[TW_VERBS_OFFER_BYTES];
    tw_verbs_offer o, again;
    if (tw_verbs_offer_decode(in, &o) != 0)
        return;
    must(o.qpn < 1U << 24 && o.psn < 1U << 24);
    must(memchr(o.why, '\0', sizeof o.why) != NULL);
    for (const char *c = o.why; *c != '\0'; c++)
        must(*c >= ' ' && *c <= '~');
    tw_verbs_offer_encode(&o, once);
    must(tw_verbs_offer_decode(once, &again) == 0);
    tw_verbs_offer_encode(&again, twice);
    must(memcmp(once, twice, sizeof once) == 0);
    must(memcmp(once, in, 28) == 0 && memcmp(once + 32, in + 32, 24) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    uint8_t in[TW_VERBS_OFFER_BYTES] = {0};
    memcpy(in, p, n < sizeof in ? n : sizeof in);
    try_offer(in);
    if (n >= sizeof(uint32_t)) { /* an immediate has no bit to spare */
        uint32_t v;
        memcpy(&v, p, sizeof v);
        tw_verbs_imm m = tw_verbs_imm_decode(v);
        must(tw_verbs_imm_encode(&m) == v);
    }
    return 0;
}
