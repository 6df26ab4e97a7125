/* SPDX-License-Identifier: Apache-2.0 */
/* Whole folders, good and broken, written to a folder of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "model/model.h"
#include "os/file.h"
#include "tiny.h"

#define EXPERTS "\"num_experts\": 3, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 64"

static char dir[256];

static void make_dir(void)
{
    assert_int_equal(tw_tiny_dir(dir, sizeof(dir)), 0);
}

static char *path_of(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void put_text(const char *name, const char *text)
{
    assert_int_equal(tw_tiny_put(dir, name, text, strlen(text)), 0);
}

/* Replaces the first `from` in a file by `to`, of the same length in a binary file. */
static void edit(const char *name, const char *from, const char *to)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(64 << 20);
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(64 << 20);
    assert_int_equal(tw_file_read(path_of(name), &b, NULL), 0);
    char *at = memmem(b.data, b.len, from, strlen(from));
    if (at == NULL)
        fail_msg("%s has no %s", name, from);
    size_t n = (size_t)(at - b.data);
    assert_int_equal(tw_buf_append(&out, b.data, n), 0);
    assert_int_equal(tw_buf_puts(&out, to), 0);
    n += strlen(from);
    assert_int_equal(tw_buf_append(&out, b.data + n, b.len - n), 0);
    assert_int_equal(tw_tiny_put(dir, name, out.data, out.len), 0);
}

static void break_cut(void)
{
    assert_int_equal(truncate(path_of("model.safetensors"), 20000), 0);
}

static void break_cut_header(void)
{
    assert_int_equal(truncate(path_of("model.safetensors"), 100), 0);
}

static void break_empty(void)
{
    assert_int_equal(truncate(path_of("model.safetensors"), 0), 0);
}

static void break_longer(void)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(64 << 20);
    assert_int_equal(tw_file_read(path_of("model.safetensors"), &b, NULL), 0);
    assert_int_equal(tw_buf_puts(&b, "xyz"), 0);
    assert_int_equal(tw_tiny_put(dir, "model.safetensors", b.data, b.len), 0);
}

static void break_missing_tensor(void)
{
    edit("model.safetensors", "layers.1.mlp.up_proj", "layers.1.mlp.upxproj");
}

static void break_shape(void)
{
    edit("config.json", "\"intermediate_size\": 256", "\"intermediate_size\": 288");
}

static void break_dtype(void)
{
    edit("model.safetensors", "\"model.norm.weight\":{\"dtype\":\"BF16\"",
         "\"model.norm.weight\":{\"dtype\":\"I16\" ");
}

static void break_head(void)
{
    edit("model.safetensors", "lm_head.weight", "lm_heed.weight");
}

static void break_family(void)
{
    edit("config.json", "\"llama\"", "\"mamba\"");
}

static void break_layers(void)
{
    edit("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
}

static void break_bias(void)
{
    edit("config.json", "\"attention_bias\": true", "\"attention_bias\": false");
}

static void break_expert(void)
{
    edit("model.safetensors", "layers.1.mlp.experts.2.up_proj", "layers.1.mlp.experts.2.upxproj");
}

static void break_router(void)
{
    edit("model.safetensors", "layers.1.mlp.gate.weight", "layers.1.mlp.gait.weight");
}

static void break_expert_ffn(void)
{
    edit("config.json", "\"moe_intermediate_size\": 64", "\"moe_intermediate_size\": 96");
}

/* The router's shape is checked before an expert is missed. */
static void break_expert_count(void)
{
    edit("config.json", "\"num_experts\": 3", "\"num_experts\": 4");
}

static void break_expert_layer(void)
{
    edit("config.json", "\"num_experts\": 3", "\"num_experts\": 3, \"mlp_only_layers\": [1]");
}

static void break_joined_down(void)
{
    edit("model.safetensors", "layers.1.mlp.experts.down_proj", "layers.1.mlp.experts.dawn_proj");
}

static void break_no_config(void)
{
    unlink(path_of("config.json"));
}

static void break_no_weights(void)
{
    unlink(path_of("model.safetensors"));
    put_text("pytorch_model.bin", "x");
}

static void break_generation(void)
{
    put_text("generation_config.json", "{\"eos_token_id\": \"end\"}");
}

static void break_tokenizer_config(void)
{
    put_text("tokenizer_config.json", "{\"bos_token\": ");
}

static void break_index_missing_file(void)
{
    unlink(path_of("model-00002-of-00003.safetensors"));
}

static void break_index_lacks(void)
{
    edit("model.safetensors.index.json", "{\"model.embed_tokens.weight\":\"model-00001",
         "{\"model.embed_tokens.weight\":\"model-00002");
}

static void break_index_cycle(void)
{
    edit("model.safetensors.index.json", "model-00003-of-00003.safetensors",
         "model.safetensors.index.json");
}

static void break_index_escape(void)
{
    edit("model.safetensors.index.json", "model-00003-of-00003", "../../../../etc/x");
}

static void break_index_unlisted(void)
{
    edit("model.safetensors.index.json", "\"model.norm.weight\"", "\"__metadata__\"");
}

static void break_shard_is_folder(void)
{
    unlink(path_of("model-00002-of-00003.safetensors"));
    assert_int_equal(symlink("/", path_of("model-00002-of-00003.safetensors")), 0);
}

static const struct {
    const char *name;
    struct tw_tiny opts;
    void (*damage)(void);
    int code;
    const char *parts[4];
} bads[] = {
    {"cut", {0}, break_cut, -EINVAL, {"model.safetensors", "tensor \"", "holds", "cut short"}},
    {"cut header", {0}, break_cut_header, -EINVAL, {"model.safetensors", "header of", "100 bytes"}},
    {"empty file", {0}, break_empty, -EINVAL, {"model.safetensors", "0 bytes"}},
    {"longer", {0}, break_longer, -EINVAL, {"model.safetensors", "3 bytes after"}},
    {"no tensor",
     {0},
     break_missing_tensor,
     -EINVAL,
     {"model.safetensors", "\"model.layers.1.mlp.up_proj.weight\" is missing", "llama"}},
    {"shape",
     {0},
     break_shape,
     -EINVAL,
     {"model.safetensors", "mlp.gate_proj.weight", "[256, 64]", "wants [288, 64]"}},
    {"dtype",
     {0},
     break_dtype,
     -ENOTSUP,
     {"model.safetensors", "\"model.norm.weight\"", "I16", "BF16, F16 or F32"}},
    {"no head", {0}, break_head, -EINVAL, {"lm_head.weight", "tie_word_embeddings"}},
    {"family", {0}, break_family, -EINVAL, {"config.json", "model_type", "mamba", "want one of"}},
    {"layers", {0}, break_layers, -EINVAL, {"model.safetensors", "model.layers.1.", "1 layers"}},
    {"bias", {.attention_bias = true}, break_bias, -EINVAL, {"_proj.bias", "no place", "llama"}},
    {"expert",
     {.family = "qwen3_moe", .extra = EXPERTS},
     break_expert,
     -EINVAL,
     {"\"model.layers.1.mlp.experts.2.up_proj.weight\" is missing", "num_experts"}},
    {"router",
     {.family = "qwen3_moe", .extra = EXPERTS},
     break_router,
     -EINVAL,
     {"\"model.layers.1.mlp.gate.weight\" is missing", "num_experts is not 0"}},
    {"expert ffn",
     {.family = "qwen3_moe", .extra = EXPERTS},
     break_expert_ffn,
     -EINVAL,
     {"experts.0.gate_proj", "[64, 64]", "wants [96, 64] (moe_intermediate_size, hidden_size)"}},
    {"expert count",
     {.family = "qwen3_moe", .extra = EXPERTS},
     break_expert_count,
     -EINVAL,
     {"mlp.gate.weight", "[3, 64]", "wants [4, 64] (num_experts, hidden_size)"}},
    {"expert layer",
     {.family = "qwen3_moe", .extra = EXPERTS},
     break_expert_layer,
     -EINVAL,
     {"\"model.layers.1.mlp.gate_proj.weight\" is missing"}},
    {"experts joined, ffn",
     {.family = "qwen3_moe", .joined = true, .extra = EXPERTS},
     break_expert_ffn,
     -EINVAL,
     {"experts.gate_up_proj", "[3, 128, 64]", "[3, 192, 64] (num_experts, 2 x moe_intermediate"}},
    {"experts joined, down",
     {.family = "qwen3_moe", .joined = true, .extra = EXPERTS},
     break_joined_down,
     -EINVAL,
     {"\"model.layers.1.mlp.experts.down_proj\" is missing"}},
    {"no config", {0}, break_no_config, -ENOENT, {"config.json is missing"}},
    {"no weights",
     {0},
     break_no_weights,
     -ENOENT,
     {"no weights", "model.safetensors.index.json", "pytorch_model.bin is not read"}},
    {"generation", {0}, break_generation, -EINVAL, {"generation_config.json", "\"end\""}},
    {"tokenizer config", {0}, break_tokenizer_config, -EINVAL, {"tokenizer_config.json", "JSON"}},
    {"shard missing",
     {.n_files = 3},
     break_index_missing_file,
     -ENOENT,
     {"model-00002-of-00003.safetensors", "missing", "index.json names it"}},
    {"shard lacks",
     {.n_files = 3},
     break_index_lacks,
     -EINVAL,
     {"model-00002-of-00003.safetensors", "model.embed_tokens.weight", "missing"}},
    {"cyclic index",
     {.n_files = 3},
     break_index_cycle,
     -EINVAL,
     {"index.json", "may not name an index"}},
    {"escape", {.n_files = 3}, break_index_escape, -EINVAL, {"index.json", "plain name", "../"}},
    {"not listed", {.n_files = 3}, break_index_unlisted, -EINVAL, {"__metadata__", "missing"}},
    {"folder", {.n_files = 3}, break_shard_is_folder, -EISDIR, {"00002", "folder"}},
};

static void names_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(bads); i++) {
        make_dir();
        assert_int_equal(tw_tiny_write(dir, &bads[i].opts), 0);
        bads[i].damage();
        tw_model *m = NULL;
        tw_err err = {.code = 0};
        int rc = tw_model_open(dir, &m, &err);
        printf("# %s: %s\n", bads[i].name, err.msg);
        assert_int_equal(rc, bads[i].code);
        assert_int_equal(err.code, rc);
        assert_null(m);
        for (size_t j = 0; j < 4 && bads[i].parts[j] != NULL; j++)
            if (strstr(err.msg, bads[i].parts[j]) == NULL)
                fail_msg("%s: \"%s\" lacks \"%s\"", bads[i].name, err.msg, bads[i].parts[j]);
        assert_null(strchr(err.msg, '\n'));
        tw_tiny_remove(dir);
    }
}

static void names_a_wrong_path(void **state)
{
    (void)state;
    make_dir();
    tw_model *m;
    tw_err err = {.code = 0};
    assert_int_equal(tw_model_open("/nonexistent/model", &m, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nonexistent/model"));
    assert_non_null(strstr(err.msg, "config.json"));
    put_text("m.gguf", "GGUF");
    assert_int_equal(tw_model_open(path_of("m.gguf"), &m, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "m.gguf: no GGUF file"));
    assert_int_equal(unlink(path_of("m.gguf")), 0);
    put_text("m.bin", "x");
    assert_int_equal(tw_model_open(path_of("m.bin"), &m, &err), -ENOTDIR);
    assert_int_equal(tw_model_open(dir, &m, &err), -ENOENT);
    assert_int_equal(tw_model_open(dir, &m, NULL), -ENOENT);
    tw_tiny_remove(dir);
}

static tw_model *must_open(void)
{
    tw_model *m = NULL;
    tw_err err = {.code = 0};
    if (tw_model_open(dir, &m, &err) != 0)
        fail_msg("%s", err.msg);
    return m;
}

static void reads_chat_and_names(void **state)
{
    (void)state;
    make_dir();
    assert_int_equal(tw_tiny_write(dir, &(struct tw_tiny){0}), 0);
    tw_model *m = must_open();
    assert_string_equal(tw_model_name(m), strrchr(dir, '/') + 1);
    assert_null(tw_model_chat_template(m));
    assert_string_equal(tw_model_bos_text(m), "");
    assert_string_equal(tw_model_eos_text(m), "");
    tw_model_close(m);

    put_text("tokenizer_config.json",
             "{\"bos_token\":{\"content\":\"<s>\",\"lstrip\":false},\"eos_token\":\"</s>\","
             "\"chat_template\":[{\"name\":\"tool\",\"template\":\"T\"},"
             "{\"name\":\"default\",\"template\":\"D\"}]}");
    m = must_open();
    assert_string_equal(tw_model_chat_template(m), "D");
    assert_string_equal(tw_model_bos_text(m), "<s>");
    assert_string_equal(tw_model_eos_text(m), "</s>");
    tw_model_close(m);

    put_text("chat_template.jinja", "{{ J }}\n");
    strcat(dir, "/"); /* a path may end in a slash */
    m = must_open();
    dir[strlen(dir) - 1] = '\0';
    assert_string_equal(tw_model_chat_template(m), "{{ J }}\n");
    assert_string_equal(tw_model_name(m), strrchr(dir, '/') + 1);
    tw_model_close(m);
    tw_tiny_remove(dir);
}

static void gives_rows_of_the_embedding(void **state)
{
    (void)state;
    make_dir();
    assert_int_equal(tw_tiny_write(dir, &(struct tw_tiny){.n_files = 2, .tied = true}), 0);
    tw_model *m = must_open();
    tw_shard s;
    tw_weights w;
    tw_err err = {.code = 0};
    assert_int_equal(tw_shard_init(tw_model_get_config(m), 1, 0, &s, &err), 0);
    assert_int_equal(tw_weights_load(m, &s, NULL, NULL, NULL, &w, &err), 0);
    enum tw_dtype type = TW_F32;
    for (uint32_t id = 0; id < 512; id += 511) {
        const uint8_t *row = tw_model_embed_row(m, id, &type);
        const uint8_t *packed = w.lm_head.data;
        assert_int_equal(type, TW_BF16);
        uint32_t at = id % 64 / 16 * 16 + (id % 16 < 8 ? id % 16 * 2 : (id % 16 - 8) * 2 + 1);
        for (size_t i = 0; i < 64; i++)
            assert_memory_equal(row + 2 * i, packed + ((id / 64 * 64 + i) * 64 + at) * 2, 2);
    }
    tw_weights_done(&w);
    tw_model_close(m);
    tw_tiny_remove(dir);
}

static void opens_the_tokenizer_once(void **state)
{
    (void)state;
    make_dir();
    assert_int_equal(tw_tiny_write(dir, &(struct tw_tiny){0}), 0);
    tw_model *m = must_open();
    const tw_tokenizer *a = NULL, *b = NULL;
    tw_err err = {.code = 0};
    assert_int_equal(tw_model_tokenizer(m, &a, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "tokenizer.json is missing"));
    put_text("tokenizer.json", "");
    assert_true(tw_model_tokenizer(m, &a, &err) < 0);
    assert_non_null(strstr(err.msg, "tokenizer.json"));
    put_text("tokenizer.json", "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":"
                               "{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
                               "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},"
                               "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},"
                               "\"merges\":[]}}");
    if (tw_model_tokenizer(m, &a, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(tw_model_tokenizer(m, &b, &err), 0);
    assert_ptr_equal(a, b);
    assert_int_equal(tw_tokenizer_n(a), 2);
    tw_model_close(m);
    tw_tiny_remove(dir);
}

static char *id_of_dir(void)
{
    static char ids[16][65];
    static unsigned i;
    tw_model *m = must_open();
    char *id = ids[i++ % 16];
    snprintf(id, sizeof(ids[0]), "%s", tw_model_id(m));
    tw_model_close(m);
    return id;
}

static void identity_changes_with_what_counts(void **state)
{
    (void)state;
    make_dir();
    struct tw_tiny opts = {.n_files = 3};
    assert_int_equal(tw_tiny_write(dir, &opts), 0);
    const char *id = id_of_dir();
    assert_int_equal(strlen(id), 64);
    assert_int_equal(strspn(id, "0123456789abcdef"), 64);
    assert_string_equal(id_of_dir(), id);
    put_text("README.md", "does not count");
    assert_string_equal(id_of_dir(), id);
    /* the files' names do not count */
    char from[512];
    strcpy(from, path_of("model-00002-of-00003.safetensors"));
    assert_int_equal(rename(from, path_of("zzzzz-00002-of-00003.safetensors")), 0);
    for (unsigned i = 0; i < 7; i++)
        edit("model.safetensors.index.json", "\"model-00002", "\"zzzzz-00002");
    assert_string_equal(id_of_dir(), id);

    put_text("tokenizer.json", "{}");
    const char *with_tokenizer = id_of_dir();
    assert_string_not_equal(with_tokenizer, id);
    put_text("tokenizer.json", "{ }");
    assert_string_not_equal(id_of_dir(), with_tokenizer);
    unlink(path_of("tokenizer.json"));
    put_text("generation_config.json", "{\"eos_token_id\": 3}");
    assert_string_not_equal(id_of_dir(), id);
    unlink(path_of("generation_config.json"));
    edit("config.json", "1e-05", "1e-06");
    assert_string_not_equal(id_of_dir(), id);
    tw_tiny_remove(dir);

    make_dir();
    opts.mixed = true; /* other dtypes */
    assert_int_equal(tw_tiny_write(dir, &opts), 0);
    assert_string_not_equal(id_of_dir(), id);
    tw_tiny_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_what_is_wrong),
        cmocka_unit_test(names_a_wrong_path),
        cmocka_unit_test(reads_chat_and_names),
        cmocka_unit_test(gives_rows_of_the_embedding),
        cmocka_unit_test(opens_the_tokenizer_once),
        cmocka_unit_test(identity_changes_with_what_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
