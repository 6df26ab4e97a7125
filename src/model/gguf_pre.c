/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gguf_pre.h"

#include "base/scope.h"
#include "model/tok_work.h"

enum { PATTERNS_MAX = 5 };

/* The patterns as the originals' tokenizer.json have them. */
#define LLAMA3                                                                                     \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"                      \
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN2                                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"                           \
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define TEKKEN                                                                                     \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*|"       \
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT4O                                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"                     \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}|"         \
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct pre_row {
    const char *name;
    bool nfc, ignore_merges, add_bos;
    const char *patterns[PATTERNS_MAX]; /* each cuts what the one before has left */
} pre_rows[] = {
    {"llama-bpe", false, true, true, {LLAMA3}},
    {"llama3", false, true, true, {LLAMA3}},
    {"llama-v3", false, true, true, {LLAMA3}},
    {"qwen2", true, false, false, {QWEN2}},
    {"deepseek-r1-qwen", false, false, false, {QWEN2}},
    {"gpt-2", false, false, false, {TW_TOK_GPT2_PATTERN}},
    {"smollm", false, false, false, {"\\p{N}", TW_TOK_GPT2_PATTERN}},
    {"starcoder", false, false, false, {"\\p{N}", TW_TOK_GPT2_PATTERN}},
    {"refact", false, false, false, {"\\p{N}", TW_TOK_GPT2_PATTERN}},
    {"tekken", false, true, true, {TEKKEN}},
    {"gpt-4o", false, false, false, {GPT4O}},
    {"deepseek-coder",
     false,
     false,
     false,
     {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+", "\\p{N}"}},
    /* what files without the key mean */
    {"default",
     false,
     false,
     false,
     {"[\\p{P}\\$\\+<=>\\^~\\|]+", TW_TOK_GPT2_PATTERN, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

bool tw_gguf_pre_fill(tw_str name, tw_tokenizer_json *j, bool *ret_add_bos)
{
    const struct pre_row *row = NULL;
    for (size_t i = 0; i < TW_ARRAY_LEN(pre_rows) && row == NULL; i++)
        row = tw_str_is(name, pre_rows[i].name) ? &pre_rows[i] : NULL;
    if (row == NULL)
        return false;
    if (row->nfc)
        tw_tj_stages_add(&j->normalizers, (tw_tj_stage){.type = TW_TJ_NFC});
    for (size_t i = 0; i < PATTERNS_MAX && row->patterns[i] != NULL; i++)
        tw_tj_stages_add(&j->pre_tokenizers, (tw_tj_stage){.type = TW_TJ_SPLIT,
                                                           .pattern = tw_str_from(row->patterns[i]),
                                                           .is_regex = true,
                                                           .behavior = TW_TJ_ISOLATED});
    tw_tj_stages_add(&j->pre_tokenizers, (tw_tj_stage){.type = TW_TJ_BYTE_LEVEL});
    tw_tj_stages_add(&j->decoders, (tw_tj_stage){.type = TW_TJ_BYTE_LEVEL});
    j->has_decoder = true;
    j->ignore_merges = row->ignore_merges;
    *ret_add_bos = row->add_bos;
    return true;
}

const char *tw_gguf_pre_names(void)
{
    return "llama-bpe, qwen2, deepseek-r1-qwen, gpt-2, smollm, starcoder, refact, tekken, gpt-4o,"
           " deepseek-coder, default";
}
