/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/show.h"

#include <errno.h>

#include "host/setup_plan.h"

int tw_vllm_show_env(json_t *env, tw_buf *out)
{
    const char *name;
    json_t *value;
    int rc = 0;
    json_object_foreach(env, name, value)
    {
        /* Quoted as a word of its own, so that the name stays bare. */
        json_t *word = json_pack("[O]", value);
        rc = word == NULL ? -ENOMEM : tw_buf_printf(out, "export %s=", name);
        if (rc == 0)
            rc = tw_setup_quote(word, out);
        json_decref(word);
        if (rc == 0)
            rc = tw_buf_puts(out, "\n");
        if (rc != 0)
            return rc;
    }
    return 0;
}

int tw_vllm_show_words(const json_t *words, tw_buf *out)
{
    const int rc = tw_setup_quote(words, out);
    return rc != 0 ? rc : tw_buf_puts(out, "\n");
}
