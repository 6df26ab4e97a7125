/* SPDX-License-Identifier: Apache-2.0 */
/* Responses of the OpenAI API as JSON text. */
#include <inttypes.h>
#include <string.h>

#include "fmt/jsonstr.h"
#include "fmt/openai.h"

static int put_string(tw_buf *b, const char *z)
{
    return z ? tw_jsonstr_append(b, z, strlen(z), false) : tw_buf_puts(b, "null");
}

/* "key": "z" or null, after what stands before the key. */
static int put_field(tw_buf *b, const char *before_and_key, const char *z)
{
    int r = tw_buf_puts(b, before_and_key);
    return r ? r : put_string(b, z);
}

int tw_openai_print_fail(tw_buf *b, const tw_openai_fail *f)
{
    int r = put_field(b, "{\"error\":{\"message\":", f->msg);
    if (r == 0)
        r = put_field(b, ",\"type\":", f->type);
    if (r == 0)
        r = put_field(b, ",\"param\":", f->param[0] ? f->param : NULL);
    if (r == 0)
        r = put_field(b, ",\"code\":", f->code);
    return r ? r : tw_buf_puts(b, "}}");
}

static int put_head(tw_buf *b, const tw_openai_head *h, bool chunk)
{
    const char *object = h->kind == TW_OPENAI_TEXT ? "text_completion"
                         : chunk                   ? "chat.completion.chunk"
                                                   : "chat.completion";
    int r = put_field(b, "{\"id\":", h->id);
    if (r == 0)
        r = tw_buf_printf(b, ",\"object\":\"%s\",\"created\":%" PRIu64, object, h->created_s);
    return r ? r : put_field(b, ",\"model\":", h->model);
}

static int put_usage(tw_buf *b, const tw_openai_usage *u)
{
    return tw_buf_printf(b,
                         ",\"usage\":{\"prompt_tokens\":%" PRIu64 ",\"completion_tokens\":%" PRIu64
                         ",\"total_tokens\":%" PRIu64 "}",
                         u->n_prompt, u->n_generated, u->n_prompt + u->n_generated);
}

static int put_finish(tw_buf *b, const char *finish)
{
    int r = put_field(b, ",\"logprobs\":null,\"finish_reason\":", finish);
    return r ? r : tw_buf_puts(b, "}");
}

int tw_openai_print_answer(tw_buf *b, const tw_openai_head *h, const tw_openai_choice *choices,
                           size_t n_choices, const tw_openai_usage *usage)
{
    bool chat = h->kind == TW_OPENAI_CHAT;
    int r = put_head(b, h, false);
    if (r == 0)
        r = tw_buf_puts(b, ",\"choices\":[");
    for (size_t i = 0; r == 0 && i < n_choices; i++) {
        const tw_openai_choice *c = &choices[i];
        r = tw_buf_printf(b, "%s{\"index\":%zu,%s", i ? "," : "", i,
                          chat ? "\"message\":{\"role\":\"assistant\",\"content\":" : "\"text\":");
        if (r == 0)
            r = tw_jsonstr_append(b, c->text, c->n_text, false);
        if (r == 0 && chat)
            r = tw_buf_puts(b, ",\"refusal\":null}");
        if (r == 0)
            r = put_finish(b, c->finish);
    }
    if (r == 0)
        r = tw_buf_puts(b, "]");
    if (r == 0)
        r = put_usage(b, usage);
    return r ? r : tw_buf_puts(b, "}");
}

int tw_openai_print_chunk(tw_buf *b, const tw_openai_head *h, size_t i_choice, bool first,
                          const tw_openai_choice *delta)
{
    bool chat = h->kind == TW_OPENAI_CHAT;
    int r = put_head(b, h, true);
    if (r == 0)
        r = tw_buf_printf(b, ",\"choices\":[{\"index\":%zu,%s", i_choice,
                          !chat   ? "\"text\":"
                          : first ? "\"delta\":{\"role\":\"assistant\",\"content\":"
                                  : "\"delta\":{");
    bool text = !chat || first || delta->n_text || delta->finish == NULL;
    if (r == 0 && text && chat && !first)
        r = tw_buf_puts(b, "\"content\":");
    if (r == 0 && text)
        r = tw_jsonstr_append(b, delta->text, delta->n_text, false);
    if (r == 0 && chat)
        r = tw_buf_puts(b, "}");
    if (r == 0)
        r = put_finish(b, delta->finish);
    if (r == 0)
        r = tw_buf_puts(b, h->include_usage ? "],\"usage\":null}" : "]}");
    return r;
}

int tw_openai_print_usage_chunk(tw_buf *b, const tw_openai_head *h, const tw_openai_usage *usage)
{
    int r = put_head(b, h, true);
    if (r == 0)
        r = tw_buf_puts(b, ",\"choices\":[]");
    if (r == 0)
        r = put_usage(b, usage);
    return r ? r : tw_buf_puts(b, "}");
}

int tw_openai_print_model(tw_buf *b, const char *name, uint64_t created_s, uint32_t ctx,
                          bool as_list)
{
    int r = put_field(b, as_list ? "{\"object\":\"list\",\"data\":[{\"id\":" : "{\"id\":", name);
    if (r == 0)
        r = tw_buf_printf(b,
                          ",\"object\":\"model\",\"created\":%" PRIu64
                          ",\"owned_by\":\"twinax\",\"max_model_len\":%" PRIu32 "}%s",
                          created_s, ctx, as_list ? "]}" : "");
    return r;
}
