/* SPDX-License-Identifier: Apache-2.0 */
/* Part of host/facts: what a pluggable module or cable says of itself. Pure: bytes in, facts out. */
#ifndef TWINAX_HOST_FACTS_EEPROM_H
#define TWINAX_HOST_FACTS_EEPROM_H

#include "host/facts_nic.h"

enum { TW_EEPROM_MAX_BYTES = 640 };

/* p[n]: pages A0h and A2h of SFF-8472, or the lower page and page 00h of SFF-8636 and CMIS, as the
 * kernel hands them out. The first byte says which. Source: SFF-8024, SFF-8472, SFF-8636, CMIS 5. */
void tw_eeprom_parse(const uint8_t *p, size_t n, tw_facts_module *ret);

#endif
