/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a chat. Templates want content as one string and the arguments of tool calls as an
 * object; the API allows parts and sends arguments as JSON text: both are turned into the former. */
#include "fmt/json.h"
#include "fmt/openai_chat.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

static int no_memory(tw_openai_fail *f)
{
    return tw_openai_fail_set(f, 500, "server_error", NULL, NULL, "out of memory");
}

static int dump(const json_t *v, tw_buf *b, tw_openai_fail *f)
{
    if (tw_json_dump(v, JSON_COMPACT | JSON_ENCODE_ANY, b) != 0)
        return tw_openai_fail_set(f, 400, "invalid_request_error", "invalid_value", "messages",
                                  "messages: too long");
    return 0;
}

static int join_part(const json_t *part, const char *param, tw_buf *b, tw_openai_fail *f)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *text = json_object_get(part, "text");
    if (!json_is_object(part))
        return tw_openai_bad_type(f, param, part, "parts to be objects");
    if (type == NULL || strcmp(type, "text") != 0)
        return tw_openai_fail_set(f, 400, "invalid_request_error", "invalid_value", param,
                                  "%s: only parts of type \"text\" are supported, found \"%.60s\"",
                                  param, type ? type : "");
    if (!json_is_string(text))
        return tw_openai_bad_type(f, param, text, "the text of a part to be a string");
    int r = b->len ? tw_buf_puts(b, "\n") : 0;
    if (r == 0)
        r = tw_buf_append(b, json_string_value(text), json_string_length(text));
    return r ? no_memory(f) : 0;
}

/* Only what an assistant said may be nothing (it called a tool). An empty question that a client's
 * mistake made would be answered with nonsense. */
static bool wants_content(const json_t *message)
{
    static const char *const roles[] = {"user", "system", "developer", "tool"};
    const char *role = json_string_value(json_object_get(message, "role"));
    for (size_t i = 0; role && i < TW_ARRAY_LEN(roles); i++)
        if (strcmp(role, roles[i]) == 0)
            return true;
    return false;
}

static int fix_content(json_t *m, const char *param, tw_openai_fail *f)
{
    const json_t *c = json_object_get(m, "content");
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_OPENAI_BODY_MAX);
    if (json_is_string(c))
        return 0;
    if (!json_is_array(c) && (wants_content(m) || (c && !json_is_null(c))))
        return tw_openai_bad_type(f, param, c, "a string or an array of parts");
    for (size_t i = 0; i < json_array_size(c); i++) {
        int r = join_part(json_array_get(c, i), param, &b, f);
        if (r)
            return r;
    }
    return json_object_set_new(m, "content", json_stringn(b.len ? b.data : "", b.len))
               ? no_memory(f)
               : 0;
}

static int fix_call(json_t *call, const char *param, tw_openai_fail *f)
{
    json_t *function = json_object_get(call, "function");
    const json_t *args = json_object_get(function, "arguments");
    if (!json_is_object(call) || !json_is_object(function))
        return tw_openai_bad_type(f, param, call, "calls to be objects with a \"function\"");
    if (!json_is_string(json_object_get(function, "name")))
        return tw_openai_bad_type(f, param, json_object_get(function, "name"),
                                  "the name of a function to be a string");
    if (!json_is_string(args))
        return 0;
    json_t *object = json_loadb(json_string_value(args), json_string_length(args), 0, NULL);
    if (!json_is_object(object)) { /* a model may have written nonsense: it stays text */
        json_decref(object);
        return 0;
    }
    return json_object_set_new(function, "arguments", object) ? no_memory(f) : 0;
}

static int fix_message(json_t *m, size_t i, tw_openai_fail *f)
{
    char param[48];
    snprintf(param, sizeof(param), "messages[%zu]", i);
    if (!json_is_object(m))
        return tw_openai_bad_type(f, param, m, "an object");
    const json_t *role = json_object_get(m, "role");
    snprintf(param, sizeof(param), "messages[%zu].role", i);
    if (!json_is_string(role))
        return tw_openai_bad_type(f, param, role, "a string");
    snprintf(param, sizeof(param), "messages[%zu].content", i);
    int r = fix_content(m, param, f);
    json_t *calls = json_object_get(m, "tool_calls");
    snprintf(param, sizeof(param), "messages[%zu].tool_calls", i);
    if (r == 0 && calls && !json_is_null(calls) && !json_is_array(calls))
        return tw_openai_bad_type(f, param, calls, "an array");
    if (json_is_null(calls) || (json_is_array(calls) && json_array_size(calls) == 0)) {
        (void)json_object_del(m, "tool_calls"); /* templates ask whether it is there */
        return r;
    }
    for (size_t k = 0; r == 0 && k < json_array_size(calls); k++)
        r = fix_call(json_array_get(calls, k), param, f);
    return r;
}

static int parse_kwargs(tw_openai_request *ret, tw_openai_fail *f)
{
    const json_t *v = json_object_get(ret->root, "chat_template_kwargs");
    if (v == NULL || json_is_null(v) || (json_is_object(v) && json_object_size(v) == 0))
        return 0;
    if (!json_is_object(v))
        return tw_openai_bad_type(f, "chat_template_kwargs", v, "an object");
    return dump(v, &ret->kwargs, f);
}

static int parse_tools(tw_openai_request *ret, tw_openai_fail *f)
{
    const json_t *tools = json_object_get(ret->root, "tools");
    const json_t *choice = json_object_get(ret->root, "tool_choice");
    const char *word = json_string_value(choice);
    if (tools && !json_is_null(tools) && !json_is_array(tools))
        return tw_openai_bad_type(f, "tools", tools, "an array");
    for (size_t i = 0; i < json_array_size(tools); i++)
        if (!json_is_object(json_array_get(tools, i)))
            return tw_openai_bad_type(f, "tools", json_array_get(tools, i), "objects");
    if (choice && !json_is_null(choice) &&
        (word == NULL || (strcmp(word, "none") != 0 && strcmp(word, "auto") != 0)))
        return tw_openai_fail_set(f, 400, "invalid_request_error", "unsupported_parameter",
                                  "tool_choice",
                                  "tool_choice: only \"auto\" and \"none\" are supported");
    if (json_array_size(tools) == 0 || (word && strcmp(word, "none") == 0))
        return 0;
    return dump(tools, &ret->tools, f);
}

int tw_openai_parse_chat(tw_openai_request *ret, tw_openai_fail *f)
{
    json_t *messages = json_object_get(ret->root, "messages");
    if (!json_is_array(messages))
        return tw_openai_bad_type(f, "messages", messages, "an array of messages");
    if (json_array_size(messages) == 0)
        return tw_openai_bad_value(f, "messages", "one message at least");
    int r = 0;
    for (size_t i = 0; r == 0 && i < json_array_size(messages); i++)
        r = fix_message(json_array_get(messages, i), i, f);
    if (r == 0)
        r = dump(messages, &ret->messages, f);
    if (r == 0)
        r = parse_kwargs(ret, f);
    return r ? r : parse_tools(ret, f);
}
