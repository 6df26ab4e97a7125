/* SPDX-License-Identifier: Apache-2.0 */
#include "fmt/agent_frame.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/le.h"
#include "base/scope.h"

enum { LENGTH_BYTES = 4, TOKEN_BYTES = 32 };

const char tw_agent_beat[] = "\x0a\0\0\0{\"beat\":1}";
_Static_assert(sizeof tw_agent_beat - 1 == TW_AGENT_BEAT_BYTES, "the length is 10");

bool tw_agent_is_beat(const json_t *v)
{
    return json_object_size(v) == 1 && json_object_get(v, "beat") != NULL;
}

int tw_agent_frame_put(tw_buf *b, const json_t *v, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TW_AGENT_FRAME_MAX);
    if (!json_is_object(v) || tw_json_dump(v, JSON_COMPACT, &text) != 0)
        return tw_err_set(err, -E2BIG, "agent: a message of more than %d bytes is not sent",
                          TW_AGENT_FRAME_MAX);
    uint8_t head[LENGTH_BYTES];
    tw_le_store(head, LENGTH_BYTES, text.len);
    int rc = tw_buf_append(b, head, sizeof head);
    if (rc == 0)
        rc = tw_buf_append(b, text.data, text.len);
    return rc == 0 ? 0 : tw_err_set(err, rc, "agent: no memory for a message");
}

int tw_agent_frame_take(const char *p, size_t n, json_t **ret, size_t *ret_used, tw_err *err)
{
    if (n < LENGTH_BYTES)
        return -EAGAIN;
    const size_t len = (size_t)tw_le_load(p, LENGTH_BYTES);
    if (len < 2 || len > TW_AGENT_FRAME_MAX)
        return tw_err_set(err, -EPROTO, "agent: a frame of %zu bytes, wanted 2 to %d", len,
                          TW_AGENT_FRAME_MAX);
    if (n - LENGTH_BYTES < len)
        return -EAGAIN;
    json_t *v = NULL;
    tw_err why = {0};
    if (tw_json_parse("agent frame", p + LENGTH_BYTES, len, &v, &why) != 0)
        return tw_err_set(err, why.code == -ENOMEM ? -ENOMEM : -EPROTO, "%s", why.msg);
    if (!json_is_object(v)) {
        json_decref(v);
        return tw_err_set(err, -EPROTO, "agent: a frame that is no JSON object");
    }
    *ret = v;
    *ret_used = LENGTH_BYTES + len;
    return 0;
}

int tw_agent_greeting_find(const char *p, size_t n, size_t *ret_used)
{
    static const char greeting[] = TW_AGENT_GREETING;
    const size_t len = sizeof greeting - 1;
    size_t look = TW_MIN(n, (size_t)TW_AGENT_BANNER_MAX + len);
    for (size_t i = 0; i + len <= look; i++)
        if (p[i] == greeting[0] && memcmp(p + i, greeting, len) == 0) {
            *ret_used = i + len;
            return 0;
        }
    return look < n || look == TW_AGENT_BANNER_MAX + len ? -EPROTO : -EAGAIN;
}

int tw_agent_request_read(const json_t *v, tw_agent_request *ret, tw_err *err)
{
    tw_json_obj o = {.file = "agent request", .prefix = "", .v = v, .err = err};
    tw_agent_request r = {.id = tw_json_u64_needed(&o, "id", 0, INT64_MAX)};
    const char *op = tw_json_text(&o, "op", NULL);
    if (o.rc == 0 && (op == NULL || op[0] == '\0' || strlen(op) > TW_AGENT_OP_MAX))
        tw_json_refuse(&o, "op", "an operation's name");
    if (o.rc != 0)
        return -EPROTO;
    snprintf(r.op, sizeof r.op, "%s", op);
    *ret = r;
    return 0;
}

static void copy_line(const char *from, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (; from[n] != '\0' && n + 1 < out_bytes; n++)
        out[n] = (unsigned char)from[n] < 0x20 || from[n] == 0x7f ? ' ' : from[n];
    out[n] = '\0';
}

int tw_agent_reply_read(const json_t *v, uint64_t id, int *ret_code, char *text, size_t text_bytes,
                        tw_err *err)
{
    tw_json_obj o = {.file = "agent reply", .prefix = "", .v = v, .err = err};
    uint64_t got = tw_json_u64_needed(&o, "id", 0, INT64_MAX);
    const json_t *ok = json_object_get(v, "ok");
    if (o.rc == 0 && !json_is_boolean(ok))
        tw_json_refuse(&o, "ok", "true or false");
    if (o.rc != 0)
        return -EPROTO;
    if (got != id)
        return tw_err_set(err, -EPROTO, "agent: reply to request %llu, expected one to %llu",
                          (unsigned long long)got, (unsigned long long)id);
    text[0] = '\0';
    *ret_code = 0;
    if (json_is_true(ok))
        return 0;
    json_int_t code = json_integer_value(json_object_get(v, "code"));
    const char *line = json_string_value(json_object_get(v, "error"));
    *ret_code = code < 0 && code > -4096 ? (int)code : -EIO;
    copy_line(line != NULL ? line : "failed without a reason", text, text_bytes);
    return 0;
}

void tw_agent_token_print(const uint8_t token[32], char out[65])
{
    for (unsigned i = 0; i < TOKEN_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", token[i]);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tw_agent_token_parse(const char *text, uint8_t ret[32])
{
    if (strlen(text) != 2 * TOKEN_BYTES)
        return false;
    for (unsigned i = 0; i < TOKEN_BYTES; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
