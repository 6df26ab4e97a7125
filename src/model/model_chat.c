/* SPDX-License-Identifier: Apache-2.0 */
/* The chat template and the texts of bos and eos: chat_template.jinja, tokenizer_config.json. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/json.h"
#include "model/model_state.h"

enum { CHAT_MAX_BYTES = 32 << 20 };

/* *ret_has: whether the folder has the file. */
static int read_optional(const tw_model *m, const char *name, tw_buf *buf, bool *ret_has,
                         tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) char *path = tw_model_join(m->path, name);
    if (path == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory for its path", name);
    *ret_has = tw_file_exists(path);
    return *ret_has ? tw_file_read(path, buf, err) : 0;
}

static const char *keep_text(tw_model *m, const char *text, size_t n, int *rc, tw_err *err)
{
    const char *copy = tw_arena_strndup(&m->arena, text, n);
    if (copy == NULL)
        *rc = tw_err_set(err, -ENOMEM, "model %s: no memory for a text of %zu bytes", m->path, n);
    return copy;
}

/* "text" or {"content": "text"}; "" when there is none. */
static const char *token_text(const json_t *root, const char *key)
{
    const json_t *v = json_object_get(root, key);
    if (json_is_object(v))
        v = json_object_get(v, "content");
    return json_is_string(v) ? json_string_value(v) : "";
}

/* "source", or [{"name": "default", "template": "source"}, ...]. */
static const char *template_text(const json_t *root)
{
    const json_t *v = json_object_get(root, "chat_template");
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *row = json_array_get(v, i);
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name != NULL && strcmp(name, "default") == 0)
            return json_string_value(json_object_get(row, "template"));
    }
    return json_string_value(v);
}

static int read_tokenizer_config(tw_model *m, tw_err *err)
{
    const char *name = "tokenizer_config.json";
    TW_CLEANUP(tw_buf_done) tw_buf buf = TW_BUF(CHAT_MAX_BYTES);
    TW_CLEANUP(tw_json_freep) json_t *root = NULL;
    bool has = false;
    int rc = read_optional(m, name, &buf, &has, err);
    if (rc == 0 && has)
        rc = tw_json_parse(name, buf.len == 0 ? "" : buf.data, buf.len, &root, err);
    if (rc < 0)
        return rc;
    const char *bos = token_text(root, "bos_token"), *eos = token_text(root, "eos_token");
    m->bos_text = keep_text(m, bos, strlen(bos), &rc, err);
    m->eos_text = keep_text(m, eos, strlen(eos), &rc, err);
    const char *chat = template_text(root);
    if (chat != NULL && m->chat_template == NULL)
        m->chat_template = keep_text(m, chat, strlen(chat), &rc, err);
    return rc;
}

int tw_model_chat_read(tw_model *m, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf buf = TW_BUF(CHAT_MAX_BYTES);
    bool has = false;
    int rc = read_optional(m, "chat_template.jinja", &buf, &has, err);
    if (rc == 0 && has)
        m->chat_template = keep_text(m, buf.len == 0 ? "" : buf.data, buf.len, &rc, err);
    return rc < 0 ? rc : read_tokenizer_config(m, err);
}
