/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that a test compares with ref. */
#ifndef TWINAX_TESTS_KERN_TABLES_H
#define TWINAX_TESTS_KERN_TABLES_H

#include "guard.h"

#include "kern/x86/tables.h"

enum { TABLES_MAX = 8 };

static const tw_kern *tables[TABLES_MAX];
static size_t n_tables;

/* Those that run here, but for ref; and AVX-512's shape on machines without it. */
static inline void find_tables(void)
{
    char names[64], *save = NULL;
    snprintf(names, sizeof names, "%s", tw_kern_names());
    for (char *t = strtok_r(names, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
        const tw_kern *k = tw_kern_get(t);
        assert_non_null(k);
        assert_string_equal(k->name, t);
        if (k != tw_kern_ref())
            tables[n_tables++] = k;
    }
#ifdef __x86_64__
    if (tw_kern_avx2())
        tables[n_tables++] = &tw_halves_table;
#endif
    printf("# tables: %s and halves of avx512\n", tw_kern_names());
}

#endif
