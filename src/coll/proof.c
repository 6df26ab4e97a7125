/* SPDX-License-Identifier: Apache-2.0 */
#include "coll/proof.h"

#include <errno.h>
#include <string.h>

#include "os/crypto.h"
#include "twinax/coll.h"

enum { LABEL_BYTES = 16 };

_Static_assert((int)TW_FRAME_PROOF_BYTES == (int)TW_HMAC_BYTES, "a proof is one hash");

void tw_proof_make(const tw_proof_talk *t, enum tw_proof_kind kind, const void *p, size_t n,
                   uint8_t ret[TW_FRAME_PROOF_BYTES])
{
    static const char labels[][LABEL_BYTES] = {
        [TW_PROOF_CALLER] = "twinax caller",
        [TW_PROOF_BODY] = "twinax body",
        [TW_PROOF_LISTENER] = "twinax listener",
        [TW_PROOF_TABLE] = "twinax table",
    };
    uint8_t what[LABEL_BYTES + sizeof t->nonces], key[TW_HMAC_BYTES];
    memcpy(what, labels[kind], LABEL_BYTES);
    memcpy(what + LABEL_BYTES, t->nonces, sizeof t->nonces);
    tw_crypto_hmac(t->token, TW_TOKEN_BYTES, what, sizeof what, key);
    tw_crypto_hmac(key, sizeof key, p, n, ret);
}

int tw_proof_check(const tw_proof_talk *t, enum tw_proof_kind kind, const void *p, size_t n,
                   const uint8_t *theirs, tw_err *err)
{
    uint8_t ours[TW_FRAME_PROOF_BYTES];
    tw_proof_make(t, kind, p, n, ours);
    if (tw_crypto_same(ours, theirs, sizeof ours))
        return 0;
    return tw_err_set(err, -EACCES, "the proof is not of our token");
}

void tw_proof_seal(const tw_proof_talk *t, uint8_t *frame, size_t bytes)
{
    const size_t seal_at = bytes - TW_FRAME_PROOF_BYTES;
    tw_proof_make(t, TW_PROOF_CALLER, frame, TW_FRAME_CTL_BYTES, frame + TW_FRAME_CTL_BYTES);
    tw_proof_make(t, TW_PROOF_BODY, frame + TW_FRAME_CTL_BYTES, seal_at - TW_FRAME_CTL_BYTES,
                  frame + seal_at);
}
