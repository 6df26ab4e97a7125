/* SPDX-License-Identifier: Apache-2.0 */
/* Sleep on a 32-bit word. */
#ifndef TWINAX_OS_FUTEX_H
#define TWINAX_OS_FUTEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Sleeps while *w == seen, at most timeout_ns (UINT64_MAX: no limit). May wake for no reason.
 * shared: the word lies in memory shared between processes. */
void tw_futex_wait(_Atomic uint32_t *w, uint32_t seen, uint64_t timeout_ns, bool shared);
void tw_futex_wake(_Atomic uint32_t *w, int n, bool shared);

#endif
