/* SPDX-License-Identifier: Apache-2.0 */
/* Text in and out of a model, over its tokenizer and its chat template. */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/scope.h"
#include "fmt/jinja.h"
#include "model/model.h"

enum { TEXT_MAX = 64 << 20 }; /* of one rendered or detokenized text */

int tw_model_tokenize(tw_model *m, const char *text, size_t n, bool add_special, uint32_t **ret_ids,
                      size_t *ret_n, tw_err *err)
{
    const tw_tokenizer *t = NULL;
    tw_ids ids = {0};
    int r = tw_model_tokenizer(m, &t, err);
    if (r == 0)
        r = tw_tokenizer_encode(t, text, n, add_special, &ids, err);
    if (r) {
        tw_ids_done(&ids);
        return r;
    }
    *ret_ids = ids.ids;
    *ret_n = ids.n;
    return 0;
}

/* Gives the buffer's memory away; an empty one becomes "". */
static int take_text(tw_buf *b, char **ret, tw_err *err)
{
    if (b->data == NULL && tw_buf_reserve(b, 1))
        return tw_err_set(err, -ENOMEM, "out of memory for a text");
    b->data[b->len] = 0;
    *ret = b->data;
    *b = TW_BUF(b->max_bytes);
    return 0;
}

int tw_model_detokenize(tw_model *m, const uint32_t *ids, size_t n, bool skip_special,
                        char **ret_text, tw_err *err)
{
    const tw_tokenizer *t = NULL;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TEXT_MAX);
    int r = tw_model_tokenizer(m, &t, err);
    if (r == 0)
        r = tw_tokenizer_decode(t, ids, n, skip_special, &b, err);
    return r ? r : take_text(&b, ret_text, err);
}

static void json_done(json_t **j)
{
    json_decref(*j);
}

static int load_json(const char *what, const char *text, json_t **ret, tw_err *err)
{
    json_error_t e;
    *ret = json_loads(text, 0, &e);
    if (!json_is_array(*ret))
        return tw_err_set(err, -EINVAL, "%s: wanted a JSON array, found %s (line %d)", what,
                          *ret ? "something else" : e.text, *ret ? 1 : e.line);
    return 0;
}

static int render(const char *source, const json_t *ctx, tw_buf *b, tw_err *err)
{
    tw_jinja *t = NULL;
    struct tm now;
    time_t s = time(NULL);
    const tw_jinja_opts o = {.now = localtime_r(&s, &now)};

    int r = tw_jinja_parse("chat template", source, strlen(source), &t, err);
    if (r == 0)
        r = tw_jinja_render(t, ctx, &o, b, err);
    tw_jinja_free(t);
    return r;
}

/* What a request adds to the template's variables; it may not change those that are ours. */
static int add_kwargs(json_t *ctx, const char *kwargs_json, tw_err *err)
{
    TW_CLEANUP(json_done) json_t *kwargs = NULL;
    json_error_t e;
    const char *key;
    json_t *v;
    kwargs = json_loads(kwargs_json, 0, &e);
    if (!json_is_object(kwargs))
        return tw_err_set(err, -EINVAL, "chat_template_kwargs: wanted a JSON object");
    json_object_foreach(kwargs, key, v)
    {
        if (json_object_get(ctx, key) != NULL)
            return tw_err_set(err, -EINVAL,
                              "chat_template_kwargs: %.60s is the server's own: leave it out", key);
        if (json_object_set(ctx, key, v) != 0)
            return tw_err_set(err, -ENOMEM, "out of memory for the chat template's variables");
    }
    return 0;
}

int tw_model_render_chat(tw_model *m, const char *messages_json, const char *tools_json,
                         bool add_generation_prompt, char **ret_text, tw_err *err)
{
    return tw_model_render_chat_with(m, messages_json, tools_json, NULL, add_generation_prompt,
                                     ret_text, err);
}

int tw_model_render_chat_with(tw_model *m, const char *messages_json, const char *tools_json,
                              const char *kwargs_json, bool add_generation_prompt, char **ret_text,
                              tw_err *err)
{
    TW_CLEANUP(json_done) json_t *messages = NULL;
    TW_CLEANUP(json_done) json_t *tools = NULL;
    TW_CLEANUP(json_done) json_t *ctx = NULL;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TEXT_MAX);
    const char *source = tw_model_chat_template(m);
    if (source == NULL)
        return tw_err_set(err, -EINVAL,
                          "model %s has no chat template: give the whole prompt (-p TEXT, or "
                          "/v1/completions)",
                          tw_model_name(m));
    int r = load_json("messages", messages_json, &messages, err);
    if (r == 0 && tools_json)
        r = load_json("tools", tools_json, &tools, err);
    if (r)
        return r;
    /* transformers gives tools as none when there are none: templates test for that */
    ctx = json_pack("{s:O, s:O?, s:b, s:s, s:s}", "messages", messages, "tools", tools,
                    "add_generation_prompt", add_generation_prompt, "bos_token",
                    tw_model_bos_text(m), "eos_token", tw_model_eos_text(m));
    if (ctx == NULL)
        return tw_err_set(err, -ENOMEM, "out of memory for the chat template's variables");
    if (kwargs_json != NULL)
        r = add_kwargs(ctx, kwargs_json, err);
    if (r == 0)
        r = render(source, ctx, &b, err);
    return r ? r : take_text(&b, ret_text, err);
}

void tw_text_free(void *p)
{
    tw_mem_free(p);
}
