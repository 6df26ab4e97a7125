/* SPDX-License-Identifier: Apache-2.0 */
/* What a holder was told to hold: see hold.h. */
#ifndef TWINAX_VLLM_HOLD_PART_H
#define TWINAX_VLLM_HOLD_PART_H

#include "fmt/json.h"
#include "vllm/hold.h"
#include "vllm/hold_door.h"

enum { TW_HOLD_WORDS_MAX = 256, TW_HOLD_BEFORE_MAX = 16 };

typedef struct tw_hold_part {
    json_t *json; /* owns the texts below */
    char dir[64]; /* "": none */
    bool erase;
    tw_hold_report report; /* ms 0: it does not */
    tw_hold_door door;
    const char *argv[TW_HOLD_WORDS_MAX + 1];    /* NULL at the end */
    const char *before[TW_HOLD_BEFORE_MAX + 1]; /* likewise; may have none */
    const json_t *env, *files, *in;             /* NULL: none */
} tw_hold_part;

/* Checks all, makes dir and its files. Words and values have @DIR@ replaced. -EPROTO names what is
 * wrong, -EEXIST: dir is there already. */
TW_MUST_CHECK int tw_hold_part_open(const char *line, size_t n, tw_hold_part *ret, tw_err *err);
/* The variables into this process's environment; then erases, where that is asked. */
TW_MUST_CHECK int tw_hold_part_export(const tw_hold_part *p, tw_err *err);
/* Removes dir. */
void tw_hold_part_close(tw_hold_part *p);

#endif
