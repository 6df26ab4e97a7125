/* SPDX-License-Identifier: Apache-2.0 */
/* Versions that two ranks compare before they compute together. */
#ifndef TWINAX_VERSION_H
#define TWINAX_VERSION_H

#include "twinax/err.h"

#define TW_VERSION          "0.1.0"
#define TW_VERSION_DATE     "2026-11-22" /* of that version; manual pages show it */
#define TW_PROTOCOL_VERSION 3            /* wire frames, step plans */
#define TW_ARITH_VERSION    1 /* raised by any commit that changes the bits of a result */

TW_API const char *tw_version(void);

#endif
