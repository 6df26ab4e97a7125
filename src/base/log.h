/* SPDX-License-Identifier: Apache-2.0 */
/* One line to stderr: rank first, lower case, exact cause. Only cmd/ and serve/ may log. */
#ifndef TWINAX_BASE_LOG_H
#define TWINAX_BASE_LOG_H

#include "twinax/err.h"

enum tw_log_level { TW_LOG_ERROR, TW_LOG_WARN, TW_LOG_INFO, TW_LOG_DEBUG };

void tw_log_set(enum tw_log_level max_level, int rank); /* rank < 0: no rank is printed */
void tw_log(enum tw_log_level level, const char *area, const char *fmt, ...) TW_PRINTF(3, 4);

#endif
