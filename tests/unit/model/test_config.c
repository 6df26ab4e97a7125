/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "fmt/json.h"
#include "model/config.h"

static const char *base = "{\"num_hidden_layers\": 4, \"hidden_size\": 128,"
                          "\"num_attention_heads\": 8, \"num_key_value_heads\": 2,"
                          "\"intermediate_size\": 352, \"vocab_size\": 1000}";

/* The base with the keys of patch over it; patch may be no object, then it is the whole text. */
static int parse(const char *patch, const char *gen, tw_model_config *c, tw_gen_config *g,
                 tw_err *err)
{
    json_error_t e;
    json_t *root = json_loads(base, 0, &e), *more = json_loads(patch, 0, &e);
    char *text = NULL;
    if (json_is_object(more)) {
        assert_int_equal(json_object_update(root, more), 0);
        text = json_dumps(root, 0);
    }
    const char *json = text != NULL ? text : patch;
    int rc = tw_model_config_parse("config.json", json, strlen(json), gen,
                                   gen == NULL ? 0 : strlen(gen), c, g, err);
    json_decref(root);
    json_decref(more);
    tw_mem_free(text);
    return rc;
}

static tw_model_config must_parse(const char *patch)
{
    tw_model_config c;
    tw_gen_config g;
    tw_err err = {.code = 0};
    if (parse(patch, NULL, &c, &g, &err) != 0)
        fail_msg("%s: %s", patch, err.msg);
    return c;
}

static void llama_has_its_defaults(void **state)
{
    (void)state;
    tw_model_config c = must_parse("{\"model_type\":\"llama\",\"torch_dtype\":\"bfloat16\"}");
    assert_string_equal(c.family, "llama");
    assert_true(c.n_layers == 4 && c.d_model == 128 && c.n_heads == 8 && c.n_kv_heads == 2);
    assert_true(c.head_dim == 16 && c.ffn == 352 && c.vocab == 1000 && c.max_ctx == 2048);
    assert_true(c.norm_eps == 1e-6f && c.dtype == TW_BF16);
    assert_false(c.tied || c.q_bias || c.o_bias || c.mlp_bias || c.qk_norm);
    assert_true(c.rope.kind == TW_ROPE_PLAIN && c.rope.theta >= 10000 && c.rope.theta <= 10000);
    assert_true(c.bos == 1 && c.n_eos == 1 && c.eos[0] == 2);
    assert_int_equal(c.window[3], 0);
    /* null is absent, but no id is no id */
    c = must_parse("{\"model_type\":\"llama\",\"num_key_value_heads\":null,\"head_dim\":null,"
                   "\"rope_scaling\":null,\"attention_bias\":true,\"mlp_bias\":true,"
                   "\"bos_token_id\":null,\"eos_token_id\":null,\"quantization_config\":null,"
                   "\"architectures\":[\"LlamaForCausalLM\"],\"tie_word_embeddings\":true}");
    assert_true(c.n_kv_heads == 8 && c.head_dim == 16 && c.tied);
    assert_true(c.q_bias && c.k_bias && c.v_bias && c.o_bias && c.mlp_bias);
    assert_true(c.bos == -1 && c.n_eos == 0 && c.dtype == TW_F32);
    c = must_parse("{\"model_type\":\"llama\",\"head_dim\":64,\"dtype\":\"float16\","
                   "\"eos_token_id\":[7,9,5000],\"sliding_window\":16}");
    assert_true(c.head_dim == 64 && c.dtype == TW_F16 && c.window[0] == 0);
    assert_true(c.n_eos == 2 && c.eos[0] == 7 && c.eos[1] == 9); /* 5000 is past the vocabulary */
}

static void qwen_and_mistral_have_theirs(void **state)
{
    (void)state;
    tw_model_config c = must_parse("{\"model_type\":\"qwen2\"}");
    assert_true(c.q_bias && c.k_bias && c.v_bias && !c.o_bias && !c.qk_norm && !c.tied);
    assert_true(c.max_ctx == 32768 && c.bos == -1 && c.n_eos == 0 && c.window[3] == 0);
    c = must_parse("{\"model_type\":\"qwen2\",\"use_sliding_window\":true,"
                   "\"sliding_window\":64,\"max_window_layers\":3,\"attention_bias\":true}");
    assert_true(c.window[2] == 0 && c.window[3] == 64 && !c.o_bias);
    c = must_parse("{\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"sliding_window\":null,"
                   "\"max_window_layers\":0}");
    assert_int_equal(c.window[0], 0);
    c = must_parse("{\"model_type\":\"qwen3\",\"use_sliding_window\":true,\"sliding_window\":64,"
                   "\"layer_types\":[\"sliding_attention\",\"full_attention\","
                   "\"full_attention\",\"sliding_attention\"]}");
    assert_true(c.window[0] == 64 && c.window[1] == 0 && c.window[3] == 64);
    assert_true(c.qk_norm && c.head_dim == 128 && !c.q_bias);
    c = must_parse("{\"model_type\":\"qwen3\",\"attention_bias\":true}");
    assert_true(c.q_bias && c.o_bias && !c.mlp_bias);
    c = must_parse("{\"model_type\":\"mistral\",\"sliding_window\":null}");
    assert_true(c.window[0] == 0 && c.max_ctx == 131072 && c.bos == 1);
    c = must_parse("{\"model_type\":\"mistral\",\"sliding_window\":100}");
    assert_true(c.window[0] == 100 && c.window[3] == 100);
    c = must_parse("{\"model_type\":\"mistral\"}");
    assert_int_equal(c.window[0], 4096);
    assert_int_equal(
        must_parse("{\"model_type\":\"mistral\",\"num_key_value_heads\":null}").n_kv_heads, 8);
}

static void experts_are_in_the_layers_that_say_so(void **state)
{
    (void)state;
    tw_model_config c = must_parse("{\"model_type\":\"qwen3_moe\"}");
    assert_true(c.n_experts == 128 && c.experts_per_tok == 8 && c.expert_ffn == 768);
    assert_true(c.n_expert_layers == 4 && c.experts[0] && c.experts[3] && !c.norm_topk);
    assert_true(c.qk_norm && c.head_dim == 16 && c.window[0] == 0 && !tw_model_has_dense(&c));
    c = must_parse("{\"model_type\":\"qwen3_moe\",\"num_experts\":6,\"num_experts_per_tok\":6,"
                   "\"moe_intermediate_size\":96,\"norm_topk_prob\":true,\"decoder_sparse_step\":2,"
                   "\"mlp_only_layers\":[3,7]}");
    assert_true(c.n_experts == 6 && c.experts_per_tok == 6 && c.expert_ffn == 96 && c.norm_topk);
    assert_true(!c.experts[0] && c.experts[1] && !c.experts[2] && !c.experts[3]);
    assert_true(c.n_expert_layers == 1 && tw_model_has_dense(&c));
    c = must_parse("{\"model_type\":\"qwen3_moe\",\"num_local_experts\":9,"
                   "\"mlp_only_layers\":null}");
    assert_true(c.n_experts == 9 && c.n_expert_layers == 4);
    c = must_parse("{\"model_type\":\"qwen3_moe\",\"num_experts\":0,\"num_experts_per_tok\":0}");
    assert_true(c.n_experts == 0 && c.n_expert_layers == 0 && tw_model_has_dense(&c));
    c = must_parse("{\"model_type\":\"qwen3_moe\",\"decoder_sparse_step\":5}");
    assert_true(c.n_experts == 0 && c.experts_per_tok == 0);
    /* no layer is let off: as the reference implementation */
    c = must_parse("{\"model_type\":\"qwen3_moe\",\"use_sliding_window\":true,"
                   "\"sliding_window\":32,\"max_window_layers\":2}");
    assert_true(c.window[0] == 32 && c.window[3] == 32);
    c = must_parse("{\"model_type\":\"qwen3_moe\",\"sliding_window\":32}");
    assert_int_equal(c.window[0], 0);
    c = must_parse("{\"model_type\":\"qwen3\",\"num_experts\":4}"); /* not its key */
    assert_int_equal(c.n_experts, 0);
}

static bool near(double a, double b)
{
    return a - b < 1e-9 && b - a < 1e-9;
}

static void rope_is_read_old_and_new(void **state)
{
    (void)state;
    tw_rope_config r;
    r = must_parse("{\"model_type\":\"qwen3\",\"rope_theta\":1000000}").rope;
    assert_true(r.kind == TW_ROPE_PLAIN && near(r.theta, 1e6) && near(r.attention_factor, 1));
    r = must_parse("{\"model_type\":\"qwen3\",\"rope_theta\":5,\"rope_parameters\":"
                   "{\"rope_theta\":2000000.0,\"rope_type\":\"default\"}}")
            .rope;
    assert_true(near(r.theta, 2e6));
    r = must_parse("{\"model_type\":\"llama\",\"rope_theta\":9000.0,\"rope_scaling\":"
                   "{\"type\":\"linear\",\"factor\":4}}")
            .rope;
    assert_true(r.kind == TW_ROPE_LINEAR && near(r.factor, 4) && near(r.theta, 9000));
    r = must_parse("{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"llama3\","
                   "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                   "\"original_max_position_embeddings\":512}}")
            .rope;
    assert_true(r.kind == TW_ROPE_LLAMA3 && r.original_ctx == 512 && near(r.high_freq_factor, 4));
    r = must_parse("{\"model_type\":\"llama\",\"max_position_embeddings\":8192,"
                   "\"original_max_position_embeddings\":2048,\"rope_scaling\":"
                   "{\"rope_type\":\"yarn\",\"original_max_position_embeddings\":7,"
                   "\"beta_fast\":0,\"attention_factor\":null,\"factor\":null}}")
            .rope;
    assert_true(r.kind == TW_ROPE_YARN && r.original_ctx == 2048 && near(r.factor, 4));
    assert_true(near(r.beta_fast, 32) && near(r.beta_slow, 1) && r.truncate);
    assert_true(near(r.attention_factor, 0.1 * 1.3862943611198906 + 1));
    r = must_parse("{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"yarn\","
                   "\"factor\":1}}")
            .rope;
    assert_true(r.original_ctx == 2048 && near(r.attention_factor, 1));
}

static void generation_config_wins(void **state)
{
    (void)state;
    tw_model_config c;
    tw_gen_config g;
    tw_err err = {.code = 0};
    const char *llama = "{\"model_type\":\"llama\",\"eos_token_id\":5}";
    assert_int_equal(parse(llama, NULL, &c, &g, &err), 0);
    assert_true(g.do_sample && g.temperature == 1 && g.top_p == 1 && g.top_k == 0 && g.min_p == 0);
    assert_int_equal(parse(llama, "{}", &c, &g, &err), 0);
    assert_true(c.n_eos == 1 && c.eos[0] == 5 && g.do_sample);
    assert_int_equal(parse(llama,
                           "{\"eos_token_id\":[11,12],\"do_sample\":false,\"temperature\":0.6,"
                           "\"top_p\":0.95,\"top_k\":20,\"min_p\":0.01}",
                           &c, &g, &err),
                     0);
    assert_true(c.n_eos == 2 && c.eos[0] == 11 && c.eos[1] == 12);
    assert_true(!g.do_sample && g.temperature == 0.6f && g.top_p == 0.95f && g.top_k == 20);
    assert_int_equal(parse(llama, "{\"top_k\":-1,\"temperature\":null}", &c, &g, &err), 0);
    assert_true(g.top_k == 0 && g.temperature == 1);
}

static const struct bad {
    const char *patch, *gen;
    const char *parts[3];
} bads[] = {
    {"", NULL, {"config.json", "no valid JSON"}},
    {"[1]", NULL, {"JSON object"}},
    {"{\"model_type\":", NULL, {"no valid JSON", "line 1"}},
    {"{}", NULL, {"model_type is missing", "llama, mistral, qwen2, qwen3, qwen3_moe"}},
    {"{\"model_type\":\"gpt2\"}", NULL, {"model_type is \"gpt2\"", "qwen3"}},
    {"{\"model_type\":7}", NULL, {"model_type is 7"}},
    {"{\"model_type\":\"llama\",\"architectures\":[\"LlamaForTokenClassification\"]}",
     NULL,
     {"architectures", "LlamaForTokenClassification", "want LlamaForCausalLM"}},
    {"{\"model_type\":\"llama\",\"architectures\":\"x\"}", NULL, {"architectures is \"x\""}},
    {"{\"model_type\":\"llama\",\"hidden_size\":null}",
     NULL,
     {"hidden_size is null, want a whole"}},
    {"{\"model_type\":\"llama\",\"hidden_size\":0}", NULL, {"hidden_size is 0", "1..1048576"}},
    {"{\"model_type\":\"llama\",\"hidden_size\":-4}", NULL, {"hidden_size is -4"}},
    {"{\"model_type\":\"llama\",\"hidden_size\":128.5}", NULL, {"hidden_size is 128.5"}},
    {"{\"model_type\":\"llama\",\"hidden_size\":\"128\"}", NULL, {"hidden_size is \"128\""}},
    {"{\"model_type\":\"llama\",\"num_hidden_layers\":513}", NULL, {"num_hidden_layers is 513"}},
    {"{\"model_type\":\"llama\",\"num_hidden_layers\":0}", NULL, {"num_hidden_layers is 0"}},
    {"{\"model_type\":\"llama\",\"num_key_value_heads\":3}",
     NULL,
     {"num_key_value_heads is 3", "divisor"}},
    {"{\"model_type\":\"llama\",\"num_key_value_heads\":16}", NULL, {"num_key_value_heads is 16"}},
    {"{\"model_type\":\"llama\",\"num_attention_heads\":6}", NULL, {"num_attention_heads is 6"}},
    {"{\"model_type\":\"llama\",\"head_dim\":15}", NULL, {"head_dim is 15", "even"}},
    {"{\"model_type\":\"llama\",\"head_dim\":514}", NULL, {"head_dim is 514"}},
    {"{\"model_type\":\"llama\",\"rms_norm_eps\":-1}", NULL, {"rms_norm_eps is -1"}},
    {"{\"model_type\":\"llama\",\"rms_norm_eps\":1e999}", NULL, {"no valid JSON", "overflow"}},
    {"{\"model_type\":\"llama\",\"rms_norm_eps\":NaN}", NULL, {"no valid JSON"}},
    {"{\"model_type\":\"llama\",\"hidden_act\":\"gelu\"}",
     NULL,
     {"hidden_act is \"gelu\", want silu"}},
    {"{\"model_type\":\"llama\",\"pretraining_tp\":2}", NULL, {"pretraining_tp is 2, want 1"}},
    {"{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"bitsandbytes\"}}",
     NULL,
     {"quantization_config.quant_method", "bitsandbytes", "gptq or awq"}},
    {"{\"model_type\":\"llama\",\"partial_rotary_factor\":0.5}",
     NULL,
     {"partial_rotary_factor is 0.5"}},
    {"{\"model_type\":\"llama\",\"rope_parameters\":{\"partial_rotary_factor\":0.25}}",
     NULL,
     {"rope_parameters.partial_rotary_factor is 0.25"}},
    {"{\"model_type\":\"llama\",\"rope_theta\":0}", NULL, {"rope_theta is 0"}},
    {"{\"model_type\":\"llama\",\"rope_theta\":\"10000\"}", NULL, {"rope_theta is \"10000\""}},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}",
     NULL,
     {"rope_scaling.type is \"dynamic\"", "llama3, yarn"}},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"longrope\"}}",
     NULL,
     {"rope_scaling.rope_type is \"longrope\""}},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\"}}",
     NULL,
     {"rope_scaling.factor is missing"}},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,"
     "\"low_freq_factor\":4,\"high_freq_factor\":4}}",
     NULL,
     {"rope_scaling.high_freq_factor is 4", "more than low_freq_factor"}},
    {"{\"model_type\":\"llama\",\"rope_scaling\":[1]}", NULL, {"rope_scaling is [1]"}},
    {"{\"model_type\":\"qwen3\",\"rope_parameters\":{\"full_attention\":{}}}",
     NULL,
     {"rope_parameters", "full_attention", "for all layers"}},
    {"{\"model_type\":\"llama\",\"torch_dtype\":\"float8_e4m3fn\"}",
     NULL,
     {"torch_dtype is \"float8_e4m3fn\"", "bfloat16, float16 or float32"}},
    {"{\"model_type\":\"llama\",\"tie_word_embeddings\":1}", NULL, {"tie_word_embeddings is 1"}},
    {"{\"model_type\":\"llama\",\"eos_token_id\":\"x\"}", NULL, {"eos_token_id is \"x\""}},
    {"{\"model_type\":\"llama\",\"eos_token_id\":[1,-1]}", NULL, {"eos_token_id is [1,-1]"}},
    {"{\"model_type\":\"llama\",\"eos_token_id\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}",
     NULL,
     {"eos_token_id", "at most 16"}},
    {"{\"model_type\":\"qwen3\",\"layer_types\":[\"full_attention\"]}",
     NULL,
     {"layer_types", "each"}},
    {"{\"model_type\":\"qwen3\",\"layer_types\":[\"sliding_attention\",\"full_attention\","
     "\"full_attention\",\"full_attention\"]}",
     NULL,
     {"layer_types", "use_sliding_window is false"}},
    {"{\"model_type\":\"qwen3\",\"layer_types\":[\"linear_attention\",\"full_attention\","
     "\"full_attention\",\"full_attention\"]}",
     NULL,
     {"layer_types", "linear_attention"}},
    {"{\"model_type\":\"qwen3_moe\",\"num_experts\":-1}", NULL, {"num_experts is -1", "0..4096"}},
    {"{\"model_type\":\"qwen3_moe\",\"num_local_experts\":5000}",
     NULL,
     {"num_local_experts is 5000", "0..4096"}},
    {"{\"model_type\":\"qwen3_moe\",\"num_experts\":4,\"num_experts_per_tok\":5}",
     NULL,
     {"num_experts_per_tok is 5", "1..4"}},
    {"{\"model_type\":\"qwen3_moe\",\"num_experts_per_tok\":65}",
     NULL,
     {"num_experts_per_tok is 65", "1..64"}},
    {"{\"model_type\":\"qwen3_moe\",\"moe_intermediate_size\":0}",
     NULL,
     {"moe_intermediate_size is 0"}},
    {"{\"model_type\":\"qwen3_moe\",\"decoder_sparse_step\":0}",
     NULL,
     {"decoder_sparse_step is 0"}},
    {"{\"model_type\":\"qwen3_moe\",\"mlp_only_layers\":2}",
     NULL,
     {"mlp_only_layers is 2", "a list"}},
    {"{\"model_type\":\"qwen3_moe\",\"mlp_only_layers\":[1,-1]}",
     NULL,
     {"mlp_only_layers is [1,-1]", "counted from 0"}},
    {"{\"model_type\":\"qwen3_moe\",\"norm_topk_prob\":1}", NULL, {"norm_topk_prob is 1"}},
    {"{\"model_type\":\"mistral\",\"sliding_window\":0}", NULL, {"sliding_window is 0"}},
    {"{\"model_type\":\"llama\"}", "[]", {"generation_config.json"}},
    {"{\"model_type\":\"llama\"}", "", {"generation_config.json", "no valid JSON"}},
    {"{\"model_type\":\"llama\"}", "{\"top_p\":1.5}", {"generation_config.json", "top_p is 1.5"}},
    {"{\"model_type\":\"llama\"}", "{\"temperature\":-1}", {"temperature is -1"}},
    {"{\"model_type\":\"llama\"}", "{\"top_k\":-2}", {"top_k is -2"}},
    {"{\"model_type\":\"llama\",\"model_type\":\"qwen2\",", NULL, {"no valid JSON"}},
};

static void names_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(bads); i++) {
        tw_model_config c = {.family = "untouched"};
        tw_gen_config g;
        tw_err err = {.code = 0};
        if (parse(bads[i].patch, bads[i].gen, &c, &g, &err) != -EINVAL)
            fail_msg("%s: taken or another code", bads[i].patch);
        assert_string_equal(c.family, "untouched");
        for (size_t j = 0; j < 3 && bads[i].parts[j] != NULL; j++)
            if (strstr(err.msg, bads[i].parts[j]) == NULL)
                fail_msg("%s: \"%s\" lacks \"%s\"", bads[i].patch, err.msg, bads[i].parts[j]);
        assert_null(strchr(err.msg, '\n'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_has_its_defaults),
        cmocka_unit_test(qwen_and_mistral_have_theirs),
        cmocka_unit_test(rope_is_read_old_and_new),
        cmocka_unit_test(generation_config_wins),
        cmocka_unit_test(names_what_is_wrong),
        cmocka_unit_test(experts_are_in_the_layers_that_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
