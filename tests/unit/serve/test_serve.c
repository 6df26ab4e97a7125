/* SPDX-License-Identifier: Apache-2.0 */
/* Real HTTP over loopback against the server with a scripted engine. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "../base/limit.h"
#include "base/clock.h"
#include "base/scope.h"
#include "client.h"
#include "fake_engine.h"
#include "fmt/sse.h"
#include "serve/serve.h"

#define CHAT            "POST /v1/chat/completions"
#define TEXT            "POST /v1/completions"
#define HI(more)        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" more "}"
#define SAY(what, more) "{\"messages\":[{\"role\":\"user\",\"content\":\"" what "\"}]" more "}"

typedef struct rig {
    tw_engine *engine;
    tw_serve *serve;
    uint16_t port;
} rig;

static void rig_open_for(rig *g, const char *key, const char *cors)
{
    tw_err err = {0};
    g->engine = fake_engine_new();
    const tw_serve_opts o = {.engine = g->engine,
                             .model = fake_model(),
                             .api_key = key,
                             .cors = cors};
    if (tw_serve_open(&o, &g->serve, &err))
        fail_msg("%s", err.msg);
    g->port = tw_serve_port(g->serve);
}

static void rig_open(rig *g, const char *key)
{
    rig_open_for(g, key, NULL);
}

static void rig_close(rig *g)
{
    tw_serve_close(g->serve);
    fake_engine_free(g->engine);
}

static int setup(void **state)
{
    rig *g = calloc(1, sizeof(*g));
    rig_open(g, NULL);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    rig_close(*state);
    free(*state);
    return 0;
}

static json_t *parse(const answer *a)
{
    json_error_t e;
    json_t *j = json_loadb(a->body.data ? a->body.data : "", a->body.len, 0, &e);
    if (j == NULL)
        fail_msg("no JSON: %s: %s", e.text, a->raw.data ? a->raw.data : "");
    return j;
}

static const char *text_at(const json_t *root, size_t i, bool chat)
{
    const json_t *c = json_array_get(json_object_get(root, "choices"), i);
    const json_t *holder = chat ? json_object_get(c, "message") : c;
    return json_string_value(json_object_get(holder, chat ? "content" : "text"));
}

static json_int_t usage_of(const json_t *root, const char *what)
{
    return json_integer_value(json_object_get(json_object_get(root, "usage"), what));
}

static void test_chat_whole(void **state)
{
    rig *g = *state;
    answer a;
    assert_int_equal(client_ask(g->port, CHAT, "",
                                HI(",\"model\":\"org/fake\",\"max_tokens\":3,\"n\":2"), &a),
                     200);
    json_t *j = parse(&a);
    assert_string_equal(json_string_value(json_object_get(j, "object")), "chat.completion");
    assert_string_equal(text_at(j, 0, true), "t0 t1 t2 ");
    assert_string_equal(text_at(j, 1, true), "t0 t1 t2 ");
    assert_int_equal(json_array_size(json_object_get(j, "choices")), 2);
    const json_t *c = json_array_get(json_object_get(j, "choices"), 1);
    assert_string_equal(json_string_value(json_object_get(c, "finish_reason")), "length");
    assert_int_equal(usage_of(j, "prompt_tokens"), 2); /* counted once */
    assert_int_equal(usage_of(j, "completion_tokens"), 6);
    assert_int_equal(usage_of(j, "total_tokens"), 8);
    json_decref(j);
    answer_done(&a);
}

static void test_text_many_prompts(void **state)
{
    rig *g = *state;
    answer a;
    const char *body = "{\"prompt\":[\"ab\",\"abcd\"],\"n\":2,\"max_tokens\":2,\"stop\":[\"t1 \"]}";
    assert_int_equal(client_ask(g->port, TEXT, "", body, &a), 200);
    json_t *j = parse(&a);
    assert_int_equal(json_array_size(json_object_get(j, "choices")), 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(text_at(j, i, false), "t0 ");
    assert_int_equal(usage_of(j, "prompt_tokens"), 3 + 5);
    json_decref(j);
    answer_done(&a);
    assert_int_equal(client_ask(g->port, TEXT, "", "{\"prompt\":[5,6,7]}", &a), 200);
    j = parse(&a);
    assert_int_equal(usage_of(j, "prompt_tokens"), 3);
    assert_int_equal(usage_of(j, "completion_tokens"), 16); /* the API's default */
    json_decref(j);
    answer_done(&a);
}

/* Joins the deltas of choice i; checks that role comes first and [DONE] last. */
static size_t join_stream(const answer *a, size_t i_choice, tw_buf *text, const char **ret_finish)
{
    static char finish[16];
    tw_str in = {a->body.data, a->body.len}, data;
    size_t n_events = 0, n_roles = 0;
    bool done = false;
    *ret_finish = NULL;
    while (tw_sse_next(&in, &data)) {
        assert_false(done);
        if ((done = tw_str_is(data, "[DONE]")))
            continue;
        json_t *j = json_loadb(data.p, data.len, 0, NULL);
        assert_non_null(j);
        n_events++;
        const json_t *c = json_array_get(json_object_get(j, "choices"), 0);
        if (c && (size_t)json_integer_value(json_object_get(c, "index")) == i_choice) {
            const json_t *d = json_object_get(c, "delta");
            const char *t = json_string_value(json_object_get(d, "content"));
            const char *f = json_string_value(json_object_get(c, "finish_reason"));
            if (json_object_get(d, "role")) {
                n_roles++;
                assert_int_equal(text->len, 0);
            }
            assert_int_equal(n_roles, 1);
            if (t)
                assert_int_equal(tw_buf_puts(text, t), 0);
            if (f) {
                snprintf(finish, sizeof(finish), "%s", f);
                *ret_finish = finish;
            }
        }
        json_decref(j);
    }
    assert_true(done);
    assert_int_equal(in.len, 0);
    return n_events;
}

static void test_chat_stream(void **state)
{
    rig *g = *state;
    answer a;
    assert_int_equal(client_ask(g->port, CHAT, "", HI(",\"stream\":true,\"max_tokens\":5,\"n\":2"),
                                &a),
                     200);
    assert_non_null(strstr(a.raw.data, "text/event-stream"));
    for (size_t i = 0; i < 2; i++) {
        TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(1 << 16);
        const char *finish = NULL;
        assert_int_equal(join_stream(&a, i, &text, &finish), 2 * (1 + 5 + 1));
        assert_string_equal(text.data, "t0 t1 t2 t3 t4 ");
        assert_string_equal(finish, "length");
    }
    assert_null(strstr(a.body.data, "\"usage\""));
    answer_done(&a);
    assert_int_equal(client_ask(g->port, CHAT, "",
                                HI(",\"stream\":true,\"max_tokens\":2,"
                                   "\"stream_options\":{\"include_usage\":true}"),
                                &a),
                     200);
    assert_non_null(strstr(a.body.data, "\"choices\":[],\"usage\":{\"prompt_tokens\":2,"
                                        "\"completion_tokens\":2,\"total_tokens\":4}}"));
    answer_done(&a);
    assert_int_equal(client_ask(g->port, TEXT, "",
                                "{\"prompt\":\"x\",\"stream\":true,\"max_tokens\":2}", &a),
                     200);
    assert_non_null(strstr(a.body.data, "\"text\":\"t1 \""));
    assert_non_null(strstr(a.body.data, "\"object\":\"text_completion\""));
    answer_done(&a);
}

static void test_sampling_goes_through(void **state)
{
    rig *g = *state;
    answer a;
    client_ask(g->port, CHAT, "",
               HI(",\"temperature\":0.5,\"top_p\":0.25,\"top_k\":7,\"min_p\":0.125,\"seed\":42,"
                  "\"presence_penalty\":1,\"frequency_penalty\":-1,\"repetition_penalty\":1.5,"
                  "\"n\":2"),
               &a);
    answer_done(&a);
    tw_sampling s1 = fake_engine_sampling(g->engine, 0), s0 = fake_engine_sampling(g->engine, 1);
    assert_true(s0.temperature == 0.5f && s0.top_p == 0.25f && s0.min_p == 0.125f);
    assert_true(s0.top_k == 7 && s0.seed == 42 && s0.repetition_penalty == 1.5f);
    assert_true(s0.presence_penalty == 1 && s0.frequency_penalty == -1);
    assert_true(s1.seed != s0.seed);
    client_ask(g->port, CHAT, "", HI(",\"seed\":42,\"n\":2"), &a);
    answer_done(&a);
    assert_true(fake_engine_sampling(g->engine, 0).seed == s1.seed);
    assert_true(fake_engine_sampling(g->engine, 0).temperature == 0.625f); /* the model's wish */
    client_ask(g->port, CHAT, "", HI(""), &a);
    answer_done(&a);
    uint64_t seed = fake_engine_sampling(g->engine, 0).seed;
    client_ask(g->port, CHAT, "", HI(""), &a);
    answer_done(&a);
    assert_true(fake_engine_sampling(g->engine, 0).seed != seed);
}

static const struct {
    const char *ask, *body;
    int status;
    const char *code, *param, *part;
} bad[] = {
    {CHAT, "", 400, "invalid_json", NULL, "line 1"},
    {CHAT, "{\"messages\":[}", 400, "invalid_json", NULL, "column 14"},
    {CHAT, "[]", 400, "invalid_type", NULL, "an array"},
    {CHAT, "{}", 400, "invalid_type", "messages", "nothing"},
    {CHAT, "{\"messages\":\"hi\"}", 400, "invalid_type", "messages", "a string"},
    {CHAT, "{\"messages\":[]}", 400, "invalid_value", "messages", "one message"},
    {CHAT, "{\"messages\":[7]}", 400, "invalid_type", "messages[0]", "an integer"},
    {CHAT, "{\"messages\":[{\"role\":1}]}", 400, "invalid_type", "messages[0].role", "string"},
    {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":7}]}", 400, "invalid_type",
     "messages[0].content", "an integer"},
    {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", 400,
     "invalid_value", "messages[0].content", "image_url"},
    {CHAT, SAY("REFUSE", ""), 400, NULL, "messages", "roles must alternate"},
    {CHAT, HI(",\"model\":\"other\""), 404, "model_not_found", "model", "org/fake"},
    {CHAT, HI(",\"model\":5"), 400, "invalid_type", "model", "integer"},
    {CHAT, HI(",\"temperature\":\"x\""), 400, "invalid_type", "temperature", "a string"},
    {CHAT, HI(",\"temperature\":3"), 400, "invalid_value", "temperature", "0 to 2"},
    {CHAT, HI(",\"temperature\":-0.1"), 400, "invalid_value", "temperature", "0 to 2"},
    {CHAT, HI(",\"top_p\":0"), 400, "invalid_value", "top_p", "above 0"},
    {CHAT, HI(",\"top_k\":1.5"), 400, "invalid_type", "top_k", "integer"},
    {CHAT, HI(",\"n\":0"), 400, "invalid_value", "n", "1 to 128"},
    {CHAT, HI(",\"n\":999"), 400, "invalid_value", "n", "1 to 128"},
    {CHAT, HI(",\"max_tokens\":0"), 400, "invalid_value", "max_tokens", "1 to"},
    {CHAT, HI(",\"max_tokens\":true"), 400, "invalid_type", "max_tokens", "true"},
    {CHAT, HI(",\"seed\":\"a\""), 400, "invalid_type", "seed", "a string"},
    {CHAT, HI(",\"seed\":99999999999999999999"), 400, "invalid_json", NULL, "too big"},
    {CHAT, HI(",\"stream\":1"), 400, "invalid_type", "stream", "true or false"},
    {CHAT, HI(",\"stream_options\":{\"include_usage\":true}"), 400, "invalid_value",
     "stream_options", "stream"},
    {CHAT, HI(",\"stop\":5"), 400, "invalid_type", "stop", "an integer"},
    {CHAT, HI(",\"stop\":[\"\"]"), 400, "invalid_value", "stop", "not empty"},
    {CHAT,
     HI(",\"stop\":[\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\","
        "\"1\",\"1\",\"1\",\"1\",\"1\"]"),
     400, "invalid_value", "stop", "16"},
    {CHAT, HI(",\"logprobs\":true"), 400, "unsupported_parameter", "logprobs", "logprobs"},
    {CHAT, HI(",\"logit_bias\":{\"5\":1}"), 400, "unsupported_parameter", "logit_bias", "logit"},
    {CHAT, HI(",\"response_format\":{\"type\":\"json_object\"}"), 400, "unsupported_parameter",
     "response_format", "text"},
    {CHAT, HI(",\"tool_choice\":\"required\""), 400, "unsupported_parameter", "tool_choice",
     "auto"},
    {CHAT, HI(",\"tools\":{}"), 400, "invalid_type", "tools", "an object"},
    {TEXT, "{}", 400, "invalid_type", "prompt", "nothing"},
    {TEXT, "{\"prompt\":[]}", 400, "invalid_value", "prompt", "one prompt"},
    {TEXT, "{\"prompt\":[1,\"a\"]}", 400, "invalid_type", "prompt", "a string"},
    {TEXT, "{\"prompt\":[\"a\",1]}", 400, "invalid_type", "prompt", "an integer"},
    {TEXT, "{\"prompt\":[1,1000]}", 400, "invalid_value", "prompt", "vocabulary of 1000"},
    {TEXT, "{\"prompt\":[-1]}", 400, "invalid_value", "prompt", "vocabulary"},
    {TEXT, "{\"prompt\":\"x\",\"echo\":true}", 400, "unsupported_parameter", "echo", "echo"},
    {TEXT, "{\"prompt\":\"x\",\"logprobs\":0}", 400, "unsupported_parameter", "logprobs", "log"},
    {TEXT, "{\"prompt\":\"x\",\"best_of\":3}", 400, "invalid_value", "best_of", "1"},
    {TEXT, "{\"prompt\":[\"a\",\"b\"],\"n\":100}", 400, "invalid_value", "n", "128"},
    {"GET /nope", "", 404, "unknown_url", NULL, "/v1/chat/completions"},
    {"GET /v1/chat/completions", "", 405, "method_not_allowed", NULL, "wanted POST"},
    {"POST /v1/models", "{}", 405, "method_not_allowed", NULL, "wanted GET"},
    {"DELETE /health", "", 405, "method_not_allowed", NULL, "DELETE"},
    {"GET /v1/models/other", "", 404, "model_not_found", "model", "other"},
};

static void check_error(const answer *a, const char *code, const char *param, const char *part)
{
    json_t *j = parse(a);
    const json_t *e = json_object_get(j, "error");
    const char *has_code = json_string_value(json_object_get(e, "code"));
    const char *has_param = json_string_value(json_object_get(e, "param"));
    const char *msg = json_string_value(json_object_get(e, "message"));
    assert_true(json_is_object(e));
    assert_non_null(json_string_value(json_object_get(e, "type")));
    assert_non_null(msg);
    if (strcmp(code ? code : "", has_code ? has_code : "") != 0 ||
        strcmp(param ? param : "", has_param ? has_param : "") != 0 || strstr(msg, part) == NULL)
        fail_msg("wanted %s %s \"%s\", found %s", code, param, part, a->body.data);
    json_decref(j);
}

static void test_bad_requests(void **state)
{
    rig *g = *state;
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        answer a;
        int status = client_ask(g->port, bad[i].ask, "", bad[i].body, &a);
        if (status != bad[i].status)
            fail_msg("%s %s: %d %s", bad[i].ask, bad[i].body, status, a.raw.data);
        check_error(&a, bad[i].code, bad[i].param, bad[i].part);
        answer_done(&a);
    }
    assert_int_equal(fake_engine_submitted(g->engine), 0);
}

static void test_too_long(void **state)
{
    rig *g = *state;
    answer a;
    char *body = malloc((size_t)18 << 20);
    assert_non_null(body);
    if (body == NULL)
        return;
    size_t n = (size_t)sprintf(body, "{\"prompt\":\"");
    memset(body + n, 'a', (size_t)17 << 20);
    strcpy(body + n + FAKE_CTX, "\"}");
    assert_int_equal(client_ask(g->port, TEXT, "", body, &a), 400);
    check_error(&a, "context_length_exceeded", "prompt", "4096");
    answer_done(&a);
    body[n + FAKE_CTX] = body[n + FAKE_CTX + 1] = body[n + FAKE_CTX + 2] = 'a';
    strcpy(body + n + (17 << 20), "\"}");
    assert_int_equal(client_ask(g->port, TEXT, "", body, &a), 413);
    check_error(&a, "body_too_large", NULL, "16 MiB");
    answer_done(&a);
    free(body);
    int fd = client_connect(g->port, 0); /* refused before it is sent */
    const char head[] = "POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                        "Content-Length: 99999999999\r\n\r\n";
    client_send(fd, head, sizeof(head) - 1);
    assert_true(client_read(fd, false, &a));
    assert_int_equal(a.status, 413);
    answer_done(&a);
    close(fd);
}

static void test_plain_endpoints(void **state)
{
    rig *g = *state;
    answer a;
    assert_int_equal(client_ask(g->port, "GET /health", "", "", &a), 200);
    assert_string_equal(a.body.data, "{\"status\":\"ok\"}");
    answer_done(&a);
    fake_engine_break(g->engine, true);
    assert_int_equal(client_ask(g->port, "GET /health", "", "", &a), 503);
    check_error(&a, "engine_failed", NULL, "rank 1 lost");
    answer_done(&a);
    assert_int_equal(client_ask(g->port, CHAT, "", HI(""), &a), 503);
    answer_done(&a);
    fake_engine_break(g->engine, false);
    assert_int_equal(client_ask(g->port, "GET /v1/models", "", "", &a), 200);
    json_t *j = parse(&a);
    const json_t *m = json_array_get(json_object_get(j, "data"), 0);
    assert_string_equal(json_string_value(json_object_get(m, "id")), "org/fake");
    json_decref(j);
    answer_done(&a);
    assert_int_equal(client_ask(g->port, "GET /v1/models/org/fake", "", "", &a), 200);
    answer_done(&a);
    assert_int_equal(client_ask(g->port, "GET /v1/models/org%2Ffake", "", "", &a), 200);
    answer_done(&a);
    assert_int_equal(client_ask(g->port, "HEAD /v1/models", "", "", &a), 200);
    answer_done(&a);
    assert_int_equal(client_ask(g->port, "OPTIONS /v1/chat/completions", "", "", &a), 204);
    assert_non_null(strstr(a.raw.data, "POST, OPTIONS"));
    answer_done(&a);
}

static void test_foreign_page(void **state)
{
    rig *g = *state;
    answer a;
    assert_int_equal(client_ask(g->port, CHAT, "Origin: https://evil.example\r\n", HI(""), &a),
                     403);
    answer_done(&a);
    assert_int_equal(client_ask(g->port, CHAT, "Origin: http://localhost.evil\r\n", HI(""), &a),
                     403);
    answer_done(&a);
    assert_int_equal(client_ask(g->port, CHAT, "Origin: http://localhost:3000\r\n", HI(""), &a),
                     200);
    answer_done(&a);
}

static void test_key(void **state)
{
    (void)state;
    rig g = {0};
    rig_open(&g, "sk-secret");
    static const struct {
        const char *headers;
        int status;
    } keys[] = {{"", 401},
                {"Authorization: Bearer sk-secres\r\n", 401},
                {"Authorization: Bearer sk-secret2\r\n", 401},
                {"Authorization: Bearer sk-secre\r\n", 401},
                {"Authorization: Bearer \r\n", 401},
                {"Authorization: sk-secret\r\n", 401},
                {"Authorization: Bearer sk-secret\r\n", 200},
                {"authorization: bearer sk-secret\r\n", 200}};
    for (size_t i = 0; i < TW_ARRAY_LEN(keys); i++) {
        answer a;
        assert_int_equal(client_ask(g.port, CHAT, keys[i].headers, HI(""), &a), keys[i].status);
        if (keys[i].status == 401)
            check_error(&a, "invalid_api_key", NULL, "Bearer");
        answer_done(&a);
        assert_int_equal(client_ask(g.port, "GET /v1/models", keys[i].headers, "", &a),
                         keys[i].status);
        answer_done(&a);
        assert_int_equal(client_ask(g.port, "GET /health", keys[i].headers, "", &a), 200);
        answer_done(&a);
    }
    rig_close(&g);
}

#define PAGE      "Origin: https://chat.example\r\n"
#define PREFLIGHT "Access-Control-Request-Method: POST\r\n"

/* Asks, and looks whether the head of the answer has each of the words (NULL at the end). */
static void check_head(const rig *g, const char *ask, const char *headers, int status,
                       const char *const words[])
{
    answer a;
    int got = client_ask(g->port, ask, headers, strncmp(ask, "POST", 4) == 0 ? HI("") : "", &a);
    if (got != status)
        fail_msg("%s %s: %d, wanted %d", ask, headers, got, status);
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        if (strstr(a.raw.data, words[i]) == NULL)
            fail_msg("%s %s: no '%s' in %s", ask, headers, words[i], a.raw.data);
    if (words == NULL && strstr(a.raw.data, "Access-Control") != NULL)
        fail_msg("%s %s: a page may read this: %s", ask, headers, a.raw.data);
    answer_done(&a);
}

static void test_cors(void **state)
{
    (void)state;
    rig g = {0};
    rig_open_for(&g, NULL, "https://chat.example, http://app.local:3000");
    const char *const page[] = {"Access-Control-Allow-Origin: https://chat.example\r\n",
                                "Vary: Origin\r\n", NULL};
    check_head(&g, CHAT, PAGE, 200, page);
    check_head(&g, "POST /v1/completions", PAGE, 400, page); /* it may read what was wrong, too */
    check_head(&g, "GET /v1/models", PAGE, 200, page);
    check_head(&g, CHAT, "Origin: http://app.local:3000\r\n", 200, page + 1);
    check_head(&g, CHAT, "Origin: http://app.local:3001\r\n", 403, NULL);
    check_head(&g, CHAT, "Origin: https://chat.example.evil\r\n", 403, NULL);
    check_head(&g, CHAT, "Origin: https://chat\r\n", 403, NULL);
    check_head(&g, CHAT, "Origin: http://localhost:3000\r\n", 200, NULL);
    check_head(&g, CHAT, "", 200, NULL);
    rig_close(&g);
}

static void test_cors_stream(void **state)
{
    (void)state;
    rig g = {0};
    answer a;
    rig_open_for(&g, NULL, "*");
    assert_int_equal(client_ask(g.port, CHAT, PAGE, HI(",\"stream\":true"), &a), 200);
    assert_non_null(strstr(a.raw.data, "Access-Control-Allow-Origin: *\r\n"));
    assert_non_null(strstr(a.body.data, "[DONE]"));
    answer_done(&a);
    rig_close(&g);
}

/* A browser asks first, without the key. */
static void test_cors_preflight(void **state)
{
    (void)state;
    rig g = {0};
    rig_open_for(&g, "sk-secret", "https://chat.example");
    const char *const told[] = {"Access-Control-Allow-Origin: https://chat.example\r\n",
                                "Access-Control-Allow-Methods: POST, OPTIONS\r\n",
                                "Access-Control-Allow-Headers: authorization, x-stainless-os\r\n",
                                "Access-Control-Max-Age: ", NULL};
    const char *const usual[] = {"Access-Control-Allow-Headers: Authorization, Content-Type\r\n",
                                 NULL};
    const char ask[] = "OPTIONS /v1/chat/completions";
    check_head(&g, ask,
               PAGE PREFLIGHT "Access-Control-Request-Headers: authorization, x-stainless-os\r\n",
               204, told);
    check_head(&g, ask, PAGE PREFLIGHT "Access-Control-Request-Headers: a(b); c\r\n", 204, usual);
    check_head(&g, ask, PAGE PREFLIGHT, 204, usual);
    check_head(&g, ask, "Origin: https://other.example\r\n" PREFLIGHT, 204, NULL);
    check_head(&g, CHAT, PAGE, 401, (const char *const[]){told[0], NULL});
    rig_close(&g);
    rig_open(&g, "sk-secret"); /* not asked for: nothing is allowed */
    check_head(&g, ask, PAGE PREFLIGHT, 204, NULL);
    rig_close(&g);
}

static void test_cors_lists(void **state)
{
    (void)state;
    static const char *const good[] = {"*", "https://a.example", "http://localhost:3000",
                                       "https://a , https://b:8443", "chrome-extension://abcdef"};
    static const char *const wrong[] = {"",
                                        "a.example",
                                        "https://",
                                        "https://a/",
                                        "https://a/path",
                                        "https://*.example",
                                        "https://a,*",
                                        "https://a b",
                                        "://a",
                                        "https://me@a.example",
                                        "https//a"};
    tw_err err = {0};
    for (size_t i = 0; i < TW_ARRAY_LEN(good); i++)
        if (tw_serve_cors_check(good[i], &err) != 0)
            fail_msg("%s: %s", good[i], err.msg);
    for (size_t i = 0; i < TW_ARRAY_LEN(wrong); i++)
        if (tw_serve_cors_check(wrong[i], &err) != -EINVAL ||
            strstr(err.msg, "https://host") == NULL)
            fail_msg("'%s' is taken", wrong[i]);
}

static void test_address_rule(void **state)
{
    (void)state;
    tw_err err = {0};
    tw_serve *s = NULL;
    tw_engine *e = fake_engine_new();
    tw_serve_opts o = {.engine = e, .model = fake_model(), .host = "0.0.0.0"};
    assert_int_equal(tw_serve_open(&o, &s, &err), -EACCES);
    assert_non_null(strstr(err.msg, "--api-key"));
    assert_non_null(strstr(err.msg, "--no-auth"));
    o.host = "::";
    assert_int_equal(tw_serve_open(&o, &s, &err), -EACCES);
    o.host = "0.0.0.0";
    o.api_key = "";
    assert_int_equal(tw_serve_open(&o, &s, &err), -EACCES);
    o.api_key = "k";
    assert_int_equal(tw_serve_open(&o, &s, &err), 0);
    tw_serve_close(s);
    o.api_key = NULL;
    o.no_auth = true;
    assert_int_equal(tw_serve_open(&o, &s, &err), 0);
    tw_serve_close(s);
    o.no_auth = false;
    o.host = "localhost";
    assert_int_equal(tw_serve_open(&o, &s, &err), 0);
    assert_string_equal(tw_serve_host(s), "127.0.0.1");
    tw_serve_opts twice = o;
    twice.port = tw_serve_port(s);
    tw_serve *second = NULL;
    assert_int_equal(tw_serve_open(&twice, &second, &err), -EADDRINUSE);
    tw_serve_close(s);
    tw_serve_close(NULL);
    fake_engine_free(e);
}

static void test_failure_of_the_engine(void **state)
{
    rig *g = *state;
    answer a;
    assert_int_equal(client_ask(g->port, CHAT, "", SAY("FAIL", ""), &a), 500);
    check_error(&a, NULL, NULL, "rank 1 lost");
    answer_done(&a);
    assert_int_equal(client_ask(g->port, CHAT, "", SAY("FAIL", ",\"stream\":true"), &a), 200);
    assert_non_null(strstr(a.body.data, "data: {\"error\":{\"message\":\"rank 1 lost"));
    assert_null(strstr(a.body.data, "[DONE]"));
    answer_done(&a);
}

/* The client leaves: the engine hears of it, stream or not. */
static void test_cancel_by_closing(void **state)
{
    rig *g = *state;
    unsigned n_gone = 0;
    uint64_t took_ns = UINT64_MAX;
    /* A promise of 1 s, on a busy box. */
    for (int i = 0; i < TRIES_FOR_TIME && took_ns > scaled_limit(5 * TW_NS_PER_S); i++) {
        tw_buf seen = TW_BUF(1 << 20);
        int fd = client_connect(g->port, 0);
        client_request(fd, CHAT, "", SAY("HANG", ",\"stream\":true,\"n\":3"));
        assert_true(client_read_until(fd, "t0 ", &seen));
        uint64_t begin = tw_clock_now_ns();
        close(fd);
        n_gone += 3;
        assert_true(fake_engine_wait_cancelled(g->engine, n_gone));
        took_ns = tw_clock_now_ns() - begin;
        tw_buf_done(&seen);
    }
    assert_in_range(took_ns, 0, scaled_limit(5 * TW_NS_PER_S));
    int fd = client_connect(g->port, 0);
    client_request(fd, CHAT, "", SAY("HANG", ""));
    assert_true(fake_engine_wait_submitted(g->engine, ++n_gone));
    close(fd);
    assert_true(fake_engine_wait_cancelled(g->engine, n_gone));
    assert_true(fake_engine_wait_idle(g->engine));
    answer a;
    assert_int_equal(client_ask(g->port, CHAT, "", HI(""), &a), 200); /* and it goes on */
    answer_done(&a);
}

static void test_many_in_a_row(void **state)
{
    rig *g = *state;
    int fd = client_connect(g->port, 0);
    for (unsigned i = 0; i < 1000; i++) {
        answer a;
        bool stream = i % 2;
        client_request(fd, CHAT, "", stream ? HI(",\"stream\":true") : HI(""));
        assert_true(client_read(fd, false, &a));
        assert_int_equal(a.status, 200);
        assert_non_null(strstr(a.body.data, "t7 "));
        answer_done(&a);
    }
    close(fd);
    assert_int_equal(fake_engine_submitted(g->engine), 1000);
    assert_int_equal(fake_engine_cancelled(g->engine), 0);
}

static void *ask_often(void *arg)
{
    const rig *g = arg;
    for (unsigned i = 0; i < 8; i++) {
        answer a;
        int status =
            client_ask(g->port, CHAT, "",
                       i % 2 ? HI(",\"stream\":true,\"max_tokens\":40") : HI(",\"max_tokens\":40"),
                       &a);
        bool ok = status == 200 && strstr(a.body.data, "t39 ") != NULL;
        answer_done(&a);
        if (!ok)
            return arg;
    }
    return NULL;
}

static void test_many_at_once(void **state)
{
    rig *g = *state;
    pthread_t threads[64];
    for (size_t i = 0; i < TW_ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, g), 0);
    for (size_t i = 0; i < TW_ARRAY_LEN(threads); i++) {
        void *bad_one = NULL;
        pthread_join(threads[i], &bad_one);
        assert_null(bad_one);
    }
    assert_int_equal(fake_engine_submitted(g->engine), 64 * 8);
    assert_true(fake_engine_wait_idle(g->engine));
}

/* A reader that does not read: its request goes, the others do not notice. */
static void test_slow_reader(void **state)
{
    rig *g = *state;
    int slow = client_connect(g->port, 4096);
    client_request(slow, CHAT, "", SAY("FLOOD", ",\"stream\":true"));
    assert_true(fake_engine_wait_submitted(g->engine, 1));
    answer a;
    assert_int_equal(client_ask(g->port, CHAT, "", HI(""), &a), 200);
    answer_done(&a);
    assert_true(fake_engine_wait_cancelled(g->engine, 1));
    assert_true(fake_engine_wait_idle(g->engine));
    char bytes[65536];
    ssize_t n;
    while ((n = read(slow, bytes, sizeof(bytes))) > 0) /* ends, without the stream's good end */
        assert_null(memmem(bytes, (size_t)n, "[DONE]", 6));
    close(slow);
}

static void test_close_with_open_streams(void **state)
{
    (void)state;
    rig g = {0};
    int fds[8];
    rig_open(&g, NULL);
    for (size_t i = 0; i < TW_ARRAY_LEN(fds); i++) {
        tw_buf seen = TW_BUF(1 << 20);
        fds[i] = client_connect(g.port, 0);
        client_request(fds[i], CHAT, "", i % 2 ? SAY("HANG", "") : SAY("HANG", ",\"stream\":true"));
        if (i % 2 == 0)
            assert_true(client_read_until(fds[i], "t0 ", &seen));
        tw_buf_done(&seen);
        assert_true(fake_engine_wait_submitted(g.engine, (unsigned)i + 1));
    }
    tw_serve_close(g.serve);
    assert_true(fake_engine_wait_cancelled(g.engine, TW_ARRAY_LEN(fds)));
    for (size_t i = 0; i < TW_ARRAY_LEN(fds); i++) {
        tw_buf seen = TW_BUF(1 << 20);
        assert_true(client_read_until(fds[i], "the server is stopping", &seen));
        tw_buf_done(&seen);
        close(fds[i]);
    }
    fake_engine_free(g.engine);
}

/* A template that takes long, or a long text, holds up no other client. */
static void test_others_while_a_template_renders(void **state)
{
    rig *g = *state;
    answer a, other;
    fake_model_hold(true);
    int fd = client_connect(g->port, 0);
    client_request(fd, CHAT, "", SAY("HOLD", ""));
    const bool held = fake_model_wait_held();
    const int status = client_ask(g->port, "GET /health", "", "", &other);
    fake_model_hold(false);
    answer_done(&other);
    assert_true(held);
    assert_int_equal(status, 200);
    assert_true(client_read(fd, false, &a));
    assert_int_equal(a.status, 200);
    answer_done(&a);
    close(fd);
}

static void *close_server(void *arg)
{
    tw_serve_close(arg);
    return NULL;
}

/* Who is in the template, and who waits for it, gets an answer. */
static void test_close_while_a_template_renders(void **state)
{
    (void)state;
    rig g = {0};
    int fds[5];
    pthread_t closer;
    rig_open(&g, NULL);
    fake_model_hold(true);
    for (size_t i = 0; i < TW_ARRAY_LEN(fds); i++) {
        fds[i] = client_connect(g.port, 0);
        client_request(fds[i], CHAT, "", i % 2 ? SAY("HOLD", ",\"stream\":true") : SAY("HOLD", ""));
    }
    const bool held = fake_model_wait_held();
    answer a;
    assert_int_equal(client_ask(g.port, "GET /health", "", "", &a), 200); /* all have arrived */
    answer_done(&a);
    assert_int_equal(pthread_create(&closer, NULL, close_server, g.serve), 0);
    fake_model_hold(false);
    for (size_t i = 0; i < TW_ARRAY_LEN(fds); i++) {
        tw_buf seen = TW_BUF(1 << 20);
        assert_true(client_read_until(fds[i], "\r\n\r\n", &seen));
        assert_true(strstr(seen.data, " 200 ") != NULL || strstr(seen.data, " 503 ") != NULL);
        tw_buf_done(&seen);
        close(fds[i]);
    }
    pthread_join(closer, NULL);
    fake_engine_free(g.engine);
    assert_true(held);
}

/* The other order: the engine ends first, with streams open. */
static void test_engine_ends_first(void **state)
{
    (void)state;
    rig g = {0};
    answer a;
    rig_open(&g, NULL);
    int fd = client_connect(g.port, 0);
    client_request(fd, CHAT, "", SAY("HANG", ""));
    assert_true(fake_engine_wait_submitted(g.engine, 1));
    int other = client_connect(g.port, 4096); /* closed while a flood is under way */
    client_request(other, CHAT, "", SAY("FLOOD", ",\"stream\":true"));
    assert_true(fake_engine_wait_submitted(g.engine, 2));
    tw_serve_close(g.serve);
    fake_engine_free(g.engine);
    assert_true(client_read(fd, false, &a));
    assert_int_equal(a.status, 503);
    answer_done(&a);
    close(fd);
    close(other);
}

static void test_run_stops(void **state)
{
    rig *g = *state;
    tw_err err = {0};
    int fd = eventfd(1, EFD_CLOEXEC);
    assert_int_equal(tw_serve_run(g->serve, fd, false, &err), 0);
    close(fd);
    fd = eventfd(0, EFD_CLOEXEC);
    fake_engine_break(g->engine, true);
    assert_int_equal(tw_serve_run(g->serve, fd, true, &err), -EIO);
    close(fd);
}

#define WITH_RIG(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_chat_whole),
        WITH_RIG(test_text_many_prompts),
        WITH_RIG(test_chat_stream),
        WITH_RIG(test_sampling_goes_through),
        WITH_RIG(test_bad_requests),
        WITH_RIG(test_too_long),
        WITH_RIG(test_plain_endpoints),
        WITH_RIG(test_foreign_page),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_cors),
        cmocka_unit_test(test_cors_stream),
        cmocka_unit_test(test_cors_preflight),
        cmocka_unit_test(test_cors_lists),
        cmocka_unit_test(test_address_rule),
        WITH_RIG(test_failure_of_the_engine),
        WITH_RIG(test_cancel_by_closing),
        WITH_RIG(test_many_in_a_row),
        WITH_RIG(test_many_at_once),
        WITH_RIG(test_slow_reader),
        cmocka_unit_test(test_close_with_open_streams),
        WITH_RIG(test_others_while_a_template_renders),
        cmocka_unit_test(test_close_while_a_template_renders),
        cmocka_unit_test(test_engine_ends_first),
        WITH_RIG(test_run_stops),
    };
    return cmocka_run_group_tests_name("serve", tests, NULL, NULL);
}
