/* SPDX-License-Identifier: Apache-2.0 */
/* A checksum that keeps up with memory: eight chains of 64-bit words, each a bijection of every word
 * that goes in, so that no change of one word alone goes unseen. Against failing disks and torn
 * files, not against somebody who means it. Little endian machines only, as all of this floor. */
#ifndef TWINAX_MODEL_PACK_SUM_H
#define TWINAX_MODEL_PACK_SUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t tw_pack_sum(const void *p, size_t n_bytes);

#endif
