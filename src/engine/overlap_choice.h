/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the next step of many rows exchanges while it computes. That hides a wire that is slow, and
 * costs time where the processor itself does the moving: so both ways are tried, and the faster one is
 * taken, the other tried again now and then. Rank 0 chooses for all; the bits are the same. Must not
 * know: clocks, ranks. */
#ifndef TWINAX_ENGINE_OVERLAP_CHOICE_H
#define TWINAX_ENGINE_OVERLAP_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TW_OVERLAP_ROWS_MIN = 64, /* below, reading the weights twice costs more than waiting */
    TW_OVERLAP_TRIALS = 4,    /* the two ways in turns */
    TW_OVERLAP_RETRY = 32     /* so many steps later the other way again */
};

typedef struct tw_overlap_choice {
    uint64_t row_ns[2]; /* of late, plain and overlapped; 0: not known */
    uint32_t n;         /* steps that counted */
} tw_overlap_choice;

bool tw_overlap_choose(const tw_overlap_choice *c);
/* A step of n_rows, TW_OVERLAP_ROWS_MIN at least, that was chosen so. */
void tw_overlap_note(tw_overlap_choice *c, bool overlapped, uint32_t n_rows, uint64_t took_ns);

#endif
