/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/shard.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* config.json, and after a NUL byte generation_config.json. What is accepted must be a model that
 * can be cut and whose frequencies are numbers. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const uint8_t *nul = n == 0 ? NULL : memchr(p, 0, n);
    size_t n_config = nul == NULL ? n : (size_t)(nul - p);
    tw_model_config c;
    tw_gen_config g;
    tw_err err = {.code = 0};
    int rc = tw_model_config_parse("fuzz", (const char *)p, n_config,
                                   nul == NULL ? NULL : (const char *)nul + 1,
                                   nul == NULL ? 0 : n - n_config - 1, &c, &g, &err);
    if (rc < 0) {
        if (err.code != rc || err.msg[0] == '\0' || strchr(err.msg, '\n') != NULL)
            abort();
        return 0;
    }
    float freq[256], scale;
    tw_rope_freqs(&c, freq, &scale);
    for (uint32_t i = 0; i < c.head_dim / 2; i++)
        if (!isfinite(freq[i]) || freq[i] < 0)
            abort();
    tw_shard s;
    if (!isfinite(scale) || c.n_heads % c.n_kv_heads != 0 || c.n_eos > TW_EOS_MAX ||
        (tw_shard_allowed(&c) & 1) == 0 || tw_shard_init(&c, 1, 0, &s, &err) != 0)
        abort();
    return 0;
}
