/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies of the OpenAI API. Every refusal names the field, what was found and wanted. */
#include "fmt/openai.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/openai_chat.h"

int tw_openai_fail_set(tw_openai_fail *f, int status, const char *type, const char *code,
                       const char *param, const char *fmt, ...)
{
    va_list ap;
    f->status = status;
    f->type = type;
    f->code = code;
    snprintf(f->param, sizeof(f->param), "%s", param ? param : "");
    va_start(ap, fmt);
    vsnprintf(f->msg, sizeof(f->msg), fmt, ap);
    va_end(ap);
    return -EINVAL;
}

const char *tw_openai_type_name(const json_t *v)
{
    static const char *const names[] = {"an object", "an array", "a string", "an integer",
                                        "a number",  "true",     "false",    "null"};
    return v ? names[json_typeof(v)] : "nothing";
}

int tw_openai_bad_type(tw_openai_fail *f, const char *param, const json_t *v, const char *wanted)
{
    return tw_openai_fail_set(f, 400, "invalid_request_error", "invalid_type", param,
                              "%s: found %s, wanted %s", param, tw_openai_type_name(v), wanted);
}

int tw_openai_bad_value(tw_openai_fail *f, const char *param, const char *wanted)
{
    return tw_openai_fail_set(f, 400, "invalid_request_error", "invalid_value", param,
                              "%s: wanted %s", param, wanted);
}

/* A field that is there and not null, else NULL. */
static json_t *field(const json_t *root, const char *name)
{
    json_t *v = json_object_get(root, name);
    return json_is_null(v) ? NULL : v;
}

typedef struct number_field {
    const char *name;
    size_t offset; /* of a double in tw_openai_request */
    double min, max;
    bool above_min; /* min itself is refused */
    unsigned set;
    const char *wanted;
} number_field;

#define NUMBER(field, min, max, above, set, wanted)                                                \
    {                                                                                              \
#field, offsetof(tw_openai_request, field), min, max, above, set, wanted                   \
    }

static const number_field numbers[] = {
    NUMBER(temperature, 0, 2, false, TW_OPENAI_TEMPERATURE, "a number from 0 to 2"),
    NUMBER(top_p, 0, 1, true, TW_OPENAI_TOP_P, "a number above 0, up to 1"),
    NUMBER(min_p, 0, 1, false, TW_OPENAI_MIN_P, "a number from 0 to 1"),
    NUMBER(presence_penalty, -2, 2, false, TW_OPENAI_PRESENCE, "a number from -2 to 2"),
    NUMBER(frequency_penalty, -2, 2, false, TW_OPENAI_FREQUENCY, "a number from -2 to 2"),
    NUMBER(repetition_penalty, 0, 100, true, TW_OPENAI_REPETITION, "a number above 0, up to 100"),
};

static int parse_numbers(const json_t *root, tw_openai_request *ret, tw_openai_fail *f)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(numbers); i++) {
        const number_field *n = &numbers[i];
        const json_t *v = field(root, n->name);
        if (v == NULL)
            continue;
        if (!json_is_number(v))
            return tw_openai_bad_type(f, n->name, v, n->wanted);
        double d = json_number_value(v);
        if (!isfinite(d) || d < n->min || d > n->max || (n->above_min && d <= n->min))
            return tw_openai_bad_value(f, n->name, n->wanted);
        memcpy((char *)ret + n->offset, &d, sizeof(d));
        ret->set |= n->set;
    }
    return 0;
}

/* *ret stays as it is when the field is absent; *ret_found may be NULL. */
static int parse_integer(const json_t *root, const char *name, int64_t min, int64_t max,
                         int64_t *ret, bool *ret_found, tw_openai_fail *f)
{
    char wanted[80];
    const json_t *v = field(root, name);
    if (ret_found)
        *ret_found = v != NULL;
    if (v == NULL)
        return 0;
    snprintf(wanted, sizeof(wanted), "an integer from %lld to %lld", (long long)min,
             (long long)max);
    if (!json_is_integer(v))
        return tw_openai_bad_type(f, name, v, wanted);
    if (json_integer_value(v) < min || json_integer_value(v) > max)
        return tw_openai_bad_value(f, name, wanted);
    *ret = json_integer_value(v);
    return 0;
}

static int parse_bool(const json_t *root, const char *name, bool *ret, tw_openai_fail *f)
{
    const json_t *v = field(root, name);
    if (v && !json_is_boolean(v))
        return tw_openai_bad_type(f, name, v, "true or false");
    if (v)
        *ret = json_is_true(v);
    return 0;
}

static int parse_integers(const json_t *root, tw_openai_request *ret, tw_openai_fail *f)
{
    int64_t n = 1, max = 0, top_k = 0, seed = 0;
    bool has_max = false, has_k = false, has_seed = false;
    int r = parse_integer(root, "n", 1, TW_OPENAI_CHOICES_MAX, &n, NULL, f);
    if (r == 0)
        r = parse_integer(root, "max_tokens", 1, UINT32_MAX, &max, &has_max, f);
    if (r == 0 && ret->kind == TW_OPENAI_CHAT)
        r = parse_integer(root, "max_completion_tokens", 1, UINT32_MAX, &max, NULL, f);
    if (r == 0)
        r = parse_integer(root, "top_k", -1, UINT32_MAX, &top_k, &has_k, f);
    if (r == 0)
        r = parse_integer(root, "seed", INT64_MIN, INT64_MAX, &seed, &has_seed, f);
    if (ret->kind == TW_OPENAI_TEXT && !has_max)
        max = 16; /* the API's own default */
    ret->n = (uint32_t)n;
    ret->max_tokens = (uint32_t)max;
    ret->top_k = top_k > 0 ? (uint32_t)top_k : 0;
    ret->seed = (uint64_t)seed;
    ret->set |= (has_k ? TW_OPENAI_TOP_K : 0u) | (has_seed ? TW_OPENAI_SEED : 0u);
    return r;
}

static int parse_stream(const json_t *root, tw_openai_request *ret, tw_openai_fail *f)
{
    int r = parse_bool(root, "stream", &ret->stream, f);
    if (r == 0)
        r = parse_bool(root, "ignore_eos", &ret->ignore_eos, f);
    const json_t *o = field(root, "stream_options");
    if (r || o == NULL)
        return r;
    if (!json_is_object(o))
        return tw_openai_bad_type(f, "stream_options", o, "an object");
    if (!ret->stream)
        return tw_openai_bad_value(f, "stream_options", "only with \"stream\": true");
    return parse_bool(o, "include_usage", &ret->include_usage, f);
}

static int add_stop(tw_openai_request *ret, const json_t *v, tw_openai_fail *f)
{
    if (!json_is_string(v))
        return tw_openai_bad_type(f, "stop", v, "a string or an array of strings");
    if (json_string_length(v) == 0)
        return tw_openai_bad_value(f, "stop", "strings that are not empty");
    if (ret->n_stops == TW_OPENAI_STOPS_MAX)
        return tw_openai_bad_value(f, "stop", "at most 16 strings");
    ret->stops[ret->n_stops++] = json_string_value(v);
    return 0;
}

static int parse_stops(const json_t *root, tw_openai_request *ret, tw_openai_fail *f)
{
    const json_t *v = field(root, "stop");
    if (v == NULL)
        return 0;
    if (!json_is_array(v))
        return add_stop(ret, v, f);
    int r = 0;
    for (size_t i = 0; r == 0 && i < json_array_size(v); i++)
        r = add_stop(ret, json_array_get(v, i), f);
    return r;
}

/* Fields that would change the answer in a way that is not built: only their "off" is accepted. */
static bool is_off(const json_t *v)
{
    if (json_is_array(v))
        return json_array_size(v) == 0;
    if (json_is_object(v))
        return json_object_size(v) == 0;
    if (json_is_number(v))
        return json_number_value(v) == 0;
    return v == NULL || json_is_null(v) || json_is_false(v);
}

static int refuse_unsupported(const json_t *root, enum tw_openai_kind kind, tw_openai_fail *f)
{
    static const char *const names[] = {
        "logprobs",        "top_logprobs",       "logit_bias",        "echo",
        "suffix",          "functions",          "guided_json",       "guided_regex",
        "audio",           "structured_outputs", "guided_choice",     "guided_grammar",
        "prompt_logprobs", "use_beam_search",    "web_search_options"};
    for (size_t i = 0; i < TW_ARRAY_LEN(names); i++) {
        const json_t *v = json_object_get(root, names[i]);
        /* "logprobs": 0 of completions asks for the chosen token's */
        bool zero_asks = kind == TW_OPENAI_TEXT && i == 0 && json_is_integer(v);
        if (zero_asks || !is_off(v))
            return tw_openai_fail_set(f, 400, "invalid_request_error", "unsupported_parameter",
                                      names[i], "%s is not supported by this server", names[i]);
    }
    int64_t best_of = 0;
    int r = parse_integer(root, "best_of", 1, 1, &best_of, NULL, f);
    const json_t *format = field(root, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (r == 0 && format && (type == NULL || strcmp(type, "text") != 0))
        return tw_openai_fail_set(f, 400, "invalid_request_error", "unsupported_parameter",
                                  "response_format",
                                  "response_format: only {\"type\": \"text\"} is supported");
    return r;
}

/* An array of token ids, all integers. */
static int parse_ids(tw_openai_request *ret, const json_t *v, tw_openai_prompt *p,
                     tw_openai_fail *f)
{
    size_t n = json_array_size(v);
    p->ids = tw_arena_array(&ret->arena, n + 1, sizeof(*p->ids));
    if (p->ids == NULL)
        return tw_openai_fail_set(f, 500, "server_error", NULL, NULL, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(v, i);
        if (!json_is_integer(id))
            return tw_openai_bad_type(f, "prompt", id, "token ids to be integers");
        if (json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return tw_openai_bad_value(f, "prompt", "token ids from the vocabulary");
        p->ids[i] = (uint32_t)json_integer_value(id);
    }
    p->n_ids = n;
    return n ? 0 : tw_openai_bad_value(f, "prompt", "one token at least");
}

static int parse_prompt(tw_openai_request *ret, const json_t *v, tw_openai_prompt *p,
                        tw_openai_fail *f)
{
    if (json_is_array(v))
        return parse_ids(ret, v, p, f);
    if (!json_is_string(v))
        return tw_openai_bad_type(f, "prompt", v,
                                  "a string, an array of strings or an array of token ids");
    p->text = json_string_value(v);
    p->n_text = json_string_length(v);
    return 0;
}

static int parse_prompts(const json_t *root, tw_openai_request *ret, tw_openai_fail *f)
{
    const json_t *v = json_object_get(root, "prompt");
    bool many = json_is_array(v) && !json_is_integer(json_array_get(v, 0));
    size_t n = many ? json_array_size(v) : 1;
    if (n == 0)
        return tw_openai_bad_value(f, "prompt", "one prompt at least");
    if (n > TW_OPENAI_CHOICES_MAX)
        return tw_openai_bad_value(f, "prompt", "at most 128 prompts");
    ret->prompts = tw_arena_array(&ret->arena, n, sizeof(*ret->prompts));
    if (ret->prompts == NULL)
        return tw_openai_fail_set(f, 500, "server_error", NULL, NULL, "out of memory");
    ret->n_prompts = n;
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = parse_prompt(ret, many ? json_array_get(v, i) : v, &ret->prompts[i], f);
    return r;
}

static int parse_root(tw_openai_request *ret, tw_openai_fail *f)
{
    const json_t *root = ret->root, *model = field(root, "model");
    if (!json_is_object(root))
        return tw_openai_fail_set(f, 400, "invalid_request_error", "invalid_type", NULL,
                                  "the body is %s, wanted a JSON object",
                                  tw_openai_type_name(root));
    if (model && !json_is_string(model))
        return tw_openai_bad_type(f, "model", model, "a string");
    ret->model = json_string_value(model);
    int r = refuse_unsupported(root, ret->kind, f);
    if (r == 0)
        r = parse_numbers(root, ret, f);
    if (r == 0)
        r = parse_integers(root, ret, f);
    if (r == 0)
        r = parse_stream(root, ret, f);
    if (r == 0)
        r = parse_stops(root, ret, f);
    if (r)
        return r;
    r = ret->kind == TW_OPENAI_CHAT ? tw_openai_parse_chat(ret, f) : parse_prompts(root, ret, f);
    if (r == 0 && ret->kind == TW_OPENAI_TEXT && ret->n * ret->n_prompts > TW_OPENAI_CHOICES_MAX)
        r = tw_openai_bad_value(f, "n", "at most 128 choices, prompts times n");
    return r;
}

int tw_openai_parse(enum tw_openai_kind kind, const char *body, size_t n, tw_openai_request *ret,
                    tw_openai_fail *fail)
{
    json_error_t e;
    *ret = (tw_openai_request){.kind = kind,
                               .messages = TW_BUF(2 * TW_OPENAI_BODY_MAX),
                               .tools = TW_BUF(2 * TW_OPENAI_BODY_MAX),
                               .kwargs = TW_BUF(2 * TW_OPENAI_BODY_MAX)};
    tw_arena_init(&ret->arena, (size_t)4 * TW_OPENAI_BODY_MAX);
    ret->root = json_loadb(n ? body : "", n, 0, &e);
    if (ret->root == NULL)
        return tw_openai_fail_set(fail, 400, "invalid_request_error", "invalid_json", NULL,
                                  "the body is no JSON: line %d, column %d (byte %d): %s", e.line,
                                  e.column, e.position, e.text);
    return parse_root(ret, fail);
}

void tw_openai_request_done(tw_openai_request *r)
{
    tw_buf_done(&r->messages);
    tw_buf_done(&r->tools);
    tw_buf_done(&r->kwargs);
    tw_arena_done(&r->arena);
    json_decref(r->root);
    r->root = NULL;
}
