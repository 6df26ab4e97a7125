/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli; RFC 3720, appendix B.4): the checksum of data messages. */
#ifndef TWINAX_LINK_CRC32C_H
#define TWINAX_LINK_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* crc of what came before (0 at the start) continued over p [n]. */
uint32_t tw_crc32c(uint32_t crc, const void *p, size_t n);

#endif
