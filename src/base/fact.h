/* SPDX-License-Identifier: Apache-2.0 */
/* A named value that two ranks compare: "model: 3f2a..." against "model: 77c0...". */
#ifndef TWINAX_BASE_FACT_H
#define TWINAX_BASE_FACT_H

#include <stdbool.h>

typedef struct tw_fact {
    const char *name;  /* "model id", "context", ... */
    const char *value; /* printed in the refusal when it differs */
    bool only_report;  /* true: a difference is told, not refused (build id) */
} tw_fact;

#endif
