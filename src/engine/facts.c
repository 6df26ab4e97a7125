/* SPDX-License-Identifier: Apache-2.0 */
/* What two ranks must share before they compute together: all that changes bits or layout. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "engine/rank.h"
#include "twinax/version.h"

enum { N_FACTS = 13, VALUE_BYTES = 80 };

struct fact_row {
    const char *name;
    char value[VALUE_BYTES];
};

static void fill_rows(struct fact_row *rows, const tw_model *m, const tw_engine_opts *o,
                      unsigned n_ranks)
{
    static const char *const names[N_FACTS] = {"protocol version",
                                               "arithmetic version",
                                               "model id",
                                               "model family",
                                               "tensor parallel degree",
                                               "context",
                                               "sequences at once",
                                               "prompt chunk",
                                               "KV cache type",
                                               "byte order",
                                               "arithmetic mode",
                                               "profile",
                                               "weights quantised on load (--quant)"};
    static const char *const quants[] = {
        [TW_QUANT_NONE] = "none", [TW_QUANT_Q8] = "q8", [TW_QUANT_Q4] = "q4"};
    const char *const texts[N_FACTS] = {NULL,
                                        NULL,
                                        tw_model_id(m),
                                        tw_model_get_config(m)->family,
                                        NULL,
                                        NULL,
                                        NULL,
                                        NULL,
                                        o->kv == TW_KV_F32 ? "f32" : "bf16",
                                        __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? "little"
                                                                                  : "big",
                                        o->arith == TW_ARITH_WIRE16 ? "wire16" : "exact",
                                        o->profile ? "on" : "off",
                                        quants[o->quant]};
    const unsigned numbers[N_FACTS] = {TW_PROTOCOL_VERSION,
                                       TW_ARITH_VERSION,
                                       0,
                                       0,
                                       n_ranks,
                                       o->ctx,
                                       o->max_seqs,
                                       o->chunk,
                                       0,
                                       0,
                                       0,
                                       0,
                                       0};
    for (unsigned i = 0; i < N_FACTS; i++) {
        rows[i].name = names[i];
        if (texts[i] != NULL)
            snprintf(rows[i].value, VALUE_BYTES, "%s", texts[i]);
        else
            snprintf(rows[i].value, VALUE_BYTES, "%u", numbers[i]);
    }
}

int tw_engine_facts(tw_model *m, const tw_engine_opts *opts, unsigned n_ranks, tw_coll_fact **ret,
                    size_t *ret_n, tw_err *err)
{
    tw_engine_opts o = *opts;
    tw_engine_resolve(tw_model_get_config(m), &o);
    /* One block: the facts, then their texts. */
    tw_coll_fact *facts = tw_mem_calloc(1, N_FACTS * (sizeof(*facts) + sizeof(struct fact_row)));
    if (facts == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the hello");
    struct fact_row *rows = (struct fact_row *)(void *)(facts + N_FACTS);
    fill_rows(rows, m, &o, n_ranks);
    for (unsigned i = 0; i < N_FACTS; i++)
        facts[i] = (tw_coll_fact){.name = rows[i].name, .value = rows[i].value};
    *ret = facts;
    *ret_n = N_FACTS;
    return 0;
}

void tw_engine_facts_free(tw_coll_fact *f, size_t n)
{
    (void)n;
    tw_mem_free(f);
}
