/* SPDX-License-Identifier: Apache-2.0 */
/* quantization_config of config.json. */
#include <string.h>

#include "base/scope.h"
#include "model/coded.h"

enum { BLOCK_MAX = 1 << 20 };

static void read_blocks(tw_json_obj *q, const json_t *v, const char *key, tw_coded_config *c)
{
    const json_int_t rows = json_integer_value(json_array_get(v, 0));
    const json_int_t cols = json_integer_value(json_array_get(v, 1));
    if (v == NULL || json_is_null(v))
        return;
    if (json_array_size(v) != 2 || rows < 1 || rows > BLOCK_MAX || cols < 1 || cols > BLOCK_MAX) {
        tw_json_refuse(q, key, "two whole numbers: rows and columns of a block");
        return;
    }
    c->block_rows = (uint32_t)rows;
    c->block_cols = (uint32_t)cols;
}

static void read_fp8(tw_json_obj *q, tw_coded_config *c)
{
    c->kind = TW_CODED_FP8;
    const char *fmt = tw_json_text(q, "fmt", "e4m3");
    if (strncmp(fmt, "e4m3", 4) != 0 && strcmp(fmt, "float8_e4m3fn") != 0)
        tw_json_refuse(q, "fmt", "e4m3");
    read_blocks(q, tw_json_get(q, "weight_block_size"), "weight_block_size", c);
}

/* Its groups say how each is scaled; the tensors show it, but for the size of blocks. */
static void read_compressed(tw_json_obj *q, tw_coded_config *c)
{
    const char *key;
    json_t *group;
    c->kind = TW_CODED_FP8;
    if (strcmp(tw_json_text(q, "format", "float-quantized"), "float-quantized") != 0)
        tw_json_refuse(q, "format", "float-quantized (FP8)");
    json_object_foreach((json_t *)(uintptr_t)tw_json_get(q, "config_groups"), key, group)
    {
        const json_t *w = json_object_get(group, "weights");
        const json_t *bits = json_object_get(w, "num_bits");
        if (bits != NULL && json_integer_value(bits) != 8)
            tw_json_refuse(q, "config_groups", "weights of 8 bits");
        read_blocks(q, json_object_get(w, "block_structure"), "config_groups", c);
    }
}

/* first: the key's older name. */
static uint64_t read_either(tw_json_obj *q, const char *key, const char *older, uint64_t def)
{
    return tw_json_u64(q, tw_json_get(q, key) != NULL ? key : older, def, 1, BLOCK_MAX);
}

static void read_four(tw_json_obj *q, bool awq, tw_coded_config *c)
{
    c->kind = awq ? TW_CODED_AWQ : TW_CODED_GPTQ;
    if (read_either(q, "bits", "w_bit", 4) != 4)
        tw_json_refuse(q, "bits", "4");
    const json_t *group = tw_json_get(q, "group_size");
    if (json_is_integer(group) && json_integer_value(group) == -1)
        c->group = 0;
    else
        c->group = (uint32_t)read_either(q, "group_size", "q_group_size", 128);
    if (awq && strcasecmp(tw_json_text(q, "version", "gemm"), "gemm") != 0)
        tw_json_refuse(q, "version", "gemm");
    if (awq && !tw_json_bool(q, "zero_point", true))
        tw_json_refuse(q, "zero_point", "true");
    const char *format = tw_json_text(q, "checkpoint_format", "gptq");
    if (!awq && strcmp(format, "gptq") != 0 && strcmp(format, "gptq_v2") != 0)
        tw_json_refuse(q, "checkpoint_format", "gptq or gptq_v2");
    c->zero_add = !awq && strcmp(format, "gptq_v2") != 0;
}

void tw_coded_config_read(tw_json_obj *o, tw_coded_config *ret)
{
    const json_t *v = tw_json_get(o, "quantization_config");
    if (v == NULL || (json_is_object(v) && json_object_size(v) == 0))
        return;
    if (!json_is_object(v)) {
        tw_json_refuse(o, "quantization_config", "an object");
        return;
    }
    tw_json_obj q = {
        .file = o->file, .prefix = "quantization_config.", .v = v, .rc = o->rc, .err = o->err};
    const char *method = tw_json_text(&q, "quant_method", "");
    if (strcmp(method, "fp8") == 0 || strcmp(method, "fbgemm_fp8") == 0)
        read_fp8(&q, ret);
    else if (strcmp(method, "compressed-tensors") == 0)
        read_compressed(&q, ret);
    else if (strcmp(method, "gptq") == 0 || strcmp(method, "awq") == 0)
        read_four(&q, method[0] == 'a', ret);
    else
        tw_json_refuse(&q, "quant_method",
                       "fp8, fbgemm_fp8, compressed-tensors, gptq or awq: use the BF16 original");
    if (o->rc == 0)
        o->rc = q.rc;
}
