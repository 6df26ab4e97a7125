/* SPDX-License-Identifier: Apache-2.0 */
/* Offer:
 *    0     4      5    6     7    8     12    16    20      24           28   30   32     40
 *    +-----+------+----+-----+----+-----+-----+------+-------+------------+----+----+------+
 *    |magic|usable|eth |mtu  |flag| qpn | psn | rkey |n_slots| slot_bytes |lid |zero| addr |
 *    +-----+------+----+-----+----+-----+-----+------+-------+------------+----+----+------+
 *    40    56       80    256
 *    +-----+--------+------+
 *    | gid | zero   | why  |
 *    +-----+--------+------+
 * little-endian; a verdict is an offer of which only usable and why count. */
#include "link/verbs_inside.h"

#include <errno.h>
#include <string.h>

#include "base/le.h"

#define OFFER_MAGIC UINT32_C(0x52585754) /* "TWXR" */

void tw_verbs_offer_encode(const tw_verbs_offer *o, uint8_t out[TW_VERBS_OFFER_BYTES])
{
    memset(out, 0, TW_VERBS_OFFER_BYTES);
    tw_le_store(out, 4, OFFER_MAGIC);
    out[4] = o->usable;
    out[5] = o->is_ethernet;
    out[6] = o->mtu_code;
    out[7] = o->can_flag;
    tw_le_store(out + 8, 4, o->qpn);
    tw_le_store(out + 12, 4, o->psn);
    tw_le_store(out + 16, 4, o->rkey);
    tw_le_store(out + 20, 4, o->n_slots);
    tw_le_store(out + 24, 4, o->slot_bytes);
    tw_le_store(out + 28, 4, o->lid);
    tw_le_store(out + 32, 8, o->addr);
    memcpy(out + 40, o->gid, sizeof o->gid);
    memcpy(out + 80, o->why, strnlen(o->why, TW_VERBS_WHY_BYTES - 1));
}

int tw_verbs_offer_decode(const uint8_t in[TW_VERBS_OFFER_BYTES], tw_verbs_offer *ret)
{
    tw_verbs_offer o = {.usable = in[4] != 0,
                        .is_ethernet = in[5] != 0,
                        .mtu_code = in[6],
                        .can_flag = in[7] != 0,
                        .lid = (uint16_t)(tw_le_u32(in + 28) & 0xffff),
                        .qpn = tw_le_u32(in + 8),
                        .psn = tw_le_u32(in + 12),
                        .rkey = tw_le_u32(in + 16),
                        .n_slots = tw_le_u32(in + 20),
                        .slot_bytes = tw_le_u32(in + 24),
                        .addr = tw_le_load(in + 32, 8)};
    if (tw_le_u32(in) != OFFER_MAGIC || in[4] > 1 || in[5] > 1 || in[7] > 1 || o.qpn >= 1U << 24 ||
        o.psn >= 1U << 24)
        return -EPROTO;
    memcpy(o.gid, in + 40, sizeof o.gid);
    memcpy(o.why, in + 80, TW_VERBS_WHY_BYTES - 1);
    for (char *c = o.why; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    *ret = o;
    return 0;
}

uint32_t tw_verbs_imm_encode(const tw_verbs_imm *i)
{
    return (uint32_t)i->kind << 30 | (i->seq & 63) << 24 | (i->credits & 63) << 18 |
           (i->bytes & 0x3ffff);
}

tw_verbs_imm tw_verbs_imm_decode(uint32_t v)
{
    return (tw_verbs_imm){.kind = (enum tw_verbs_kind)(v >> 30),
                          .seq = v >> 24 & 63,
                          .credits = v >> 18 & 63,
                          .bytes = v & 0x3ffff};
}
