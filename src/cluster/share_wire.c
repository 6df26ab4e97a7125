/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/share_wire.h"

#include <errno.h>
#include <string.h>

#include "base/le.h"
#include "os/crypto.h"
#include "os/sock.h"
#include "os/sys.h"

enum { TOKEN_BYTES = 32, MAGIC_BYTES = 8, LABEL_BYTES = 16 };

static const char magic[] = "TWSHARE1", ask_magic[] = "TWSG";

/* nonces: taker's, giver's. */
static void prove(const uint8_t *token, const char label[LABEL_BYTES],
                  const uint8_t nonces[2 * TW_SHARE_NONCE_BYTES], uint8_t ret[TW_HMAC_BYTES])
{
    uint8_t what[LABEL_BYTES + 2 * TW_SHARE_NONCE_BYTES];
    memcpy(what, label, LABEL_BYTES);
    memcpy(what + LABEL_BYTES, nonces, 2 * TW_SHARE_NONCE_BYTES);
    tw_crypto_hmac(token, TOKEN_BYTES, what, sizeof what, ret);
}

static const char taker[LABEL_BYTES] = "share taker", giver[LABEL_BYTES] = "share giver";

int tw_share_greet(int fd, const uint8_t *token, uint64_t deadline_ns)
{
    uint8_t nonces[2 * TW_SHARE_NONCE_BYTES], ours[TW_HMAC_BYTES], theirs[TW_HMAC_BYTES];
    int rc = tw_sys_random(nonces, TW_SHARE_NONCE_BYTES);
    if (rc == 0)
        rc = tw_sock_send_all(fd, magic, MAGIC_BYTES, deadline_ns);
    if (rc == 0)
        rc = tw_sock_send_all(fd, nonces, TW_SHARE_NONCE_BYTES, deadline_ns);
    if (rc == 0)
        rc = tw_sock_recv_all(fd, nonces + TW_SHARE_NONCE_BYTES, TW_SHARE_NONCE_BYTES, deadline_ns);
    if (rc != 0)
        return rc;
    prove(token, taker, nonces, ours);
    rc = tw_sock_send_all(fd, ours, sizeof ours, deadline_ns);
    if (rc == 0)
        rc = tw_sock_recv_all(fd, theirs, sizeof theirs, deadline_ns);
    prove(token, giver, nonces, ours);
    return rc != 0 ? rc : tw_crypto_same(ours, theirs, sizeof ours) ? 0 : -EACCES;
}

int tw_share_welcome(int fd, const uint8_t *token, uint64_t deadline_ns)
{
    uint8_t nonces[2 * TW_SHARE_NONCE_BYTES], ours[TW_HMAC_BYTES], theirs[TW_HMAC_BYTES];
    char word[MAGIC_BYTES];
    int rc = tw_sys_random(nonces + TW_SHARE_NONCE_BYTES, TW_SHARE_NONCE_BYTES);
    if (rc == 0)
        rc = tw_sock_recv_all(fd, word, sizeof word, deadline_ns);
    if (rc == 0 && memcmp(word, magic, sizeof word) != 0)
        rc = -EPROTO;
    if (rc == 0)
        rc = tw_sock_recv_all(fd, nonces, TW_SHARE_NONCE_BYTES, deadline_ns);
    if (rc == 0)
        rc = tw_sock_send_all(fd, nonces + TW_SHARE_NONCE_BYTES, TW_SHARE_NONCE_BYTES, deadline_ns);
    if (rc == 0)
        rc = tw_sock_recv_all(fd, theirs, sizeof theirs, deadline_ns);
    if (rc != 0)
        return rc;
    prove(token, taker, nonces, ours);
    if (!tw_crypto_same(ours, theirs, sizeof ours))
        return -EACCES;
    prove(token, giver, nonces, ours);
    return tw_sock_send_all(fd, ours, sizeof ours, deadline_ns);
}

void tw_share_ask_print(const tw_share_ask *a, uint8_t out[TW_SHARE_ASK_BYTES])
{
    memcpy(out, ask_magic, 4);
    tw_le_store(out + 4, 4, a->unit);
    tw_le_store(out + 8, 8, a->offset);
}

int tw_share_ask_parse(const uint8_t in[TW_SHARE_ASK_BYTES], tw_share_ask *ret)
{
    if (memcmp(in, ask_magic, 4) != 0)
        return -EPROTO;
    *ret = (tw_share_ask){.unit = tw_le_u32(in + 4), .offset = tw_le_load(in + 8, 8)};
    return 0;
}

void tw_share_head_print(const tw_share_head *h, uint8_t out[TW_SHARE_HEAD_BYTES])
{
    tw_le_store(out, 4, h->bytes);
    tw_le_store(out + 4, 4, h->crc);
}

int tw_share_head_parse(const uint8_t in[TW_SHARE_HEAD_BYTES], tw_share_head *ret)
{
    const tw_share_head h = {.bytes = tw_le_u32(in), .crc = tw_le_u32(in + 4)};
    if (h.bytes > TW_SHARE_BLOCK_BYTES)
        return -EPROTO;
    *ret = h;
    return 0;
}
