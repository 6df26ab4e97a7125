/* SPDX-License-Identifier: Apache-2.0 */
/* What a node's wire has counted itself: the RDMA port where that was planned, else the interface. Two
 * readings show whether bytes went over the wire that was asked for, whatever a log says.
 * As JSON {"tx":N,"rx":N,"unit":"bytes"|"packets"}; what cannot be read is unknown.
 * Must not know Ray, vLLM, processes. */
#ifndef TWINAX_VLLM_COUNT_H
#define TWINAX_VLLM_COUNT_H

#include "fmt/json.h"

typedef struct tw_vllm_count {
    bool known;
    bool packets; /* the driver counts no bytes */
    uint64_t tx, rx;
} tw_vllm_count;

/* root: folder of a recorded machine, NULL: this one. hca: "irdma0:1"; "": the interface's own. */
void tw_vllm_count_read(const char *root, const char *interface, const char *hca,
                        tw_vllm_count *ret);
json_t *tw_vllm_count_print(const tw_vllm_count *c); /* null where unknown; NULL: no memory */
void tw_vllm_count_parse(const json_t *v, tw_vllm_count *ret);

/* b less a; unknown unless both are known and nothing began anew between them. */
tw_vllm_count tw_vllm_count_less(const tw_vllm_count *b, const tw_vllm_count *a);
/* Whether so much has passed in each direction; of packets one each is enough. Unknown is not. */
bool tw_vllm_count_has(const tw_vllm_count *passed, uint64_t least_bytes);

/* config[n]: of a model in Hugging Face layout. The least bytes that each rank sends for n_tok
 * tokens: two exchanges a layer of a row of 2-byte values, by the best algorithm half of each. 1 where it
 * cannot be told. */
uint64_t tw_vllm_count_least(const char *config, size_t n, uint32_t n_tok);

#endif
