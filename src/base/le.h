/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian numbers of 1 to 8 bytes, at any alignment. */
#ifndef TWINAX_BASE_LE_H
#define TWINAX_BASE_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t tw_le_load(const void *p, unsigned n_bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, n_bytes);
    return le64toh(v);
}

static inline uint16_t tw_le_u16(const void *p)
{
    return (uint16_t)tw_le_load(p, 2);
}

static inline uint32_t tw_le_u32(const void *p)
{
    return (uint32_t)tw_le_load(p, 4);
}

/* The low n_bytes of v. */
static inline void tw_le_store(void *p, unsigned n_bytes, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, n_bytes);
}

#endif
