/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/catalogue.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"

enum { COLUMNS = 6, LINE_MAX_BYTES = 1024 };

/* Where a line is, for messages. */
typedef struct place {
    const char *file;
    unsigned line;
    tw_err *err;
} place;

void tw_ui_catalogue_done(tw_ui_catalogue *c)
{
    tw_mem_free(c->v);
    *c = (tw_ui_catalogue){.v = NULL};
}

static size_t index_of(const tw_ui_catalogue *c, const char *name)
{
    size_t i = 0;
    while (i < c->n && strcmp(c->v[i].name, name) != 0)
        i++;
    return i;
}

const tw_ui_model *tw_ui_catalogue_find(const tw_ui_catalogue *c, const char *name)
{
    const size_t i = index_of(c, name);
    return i < c->n ? &c->v[i] : NULL;
}

tw_ui_model *tw_ui_catalogue_get(tw_ui_catalogue *c, const char *name)
{
    const size_t i = index_of(c, name);
    if (i < c->n)
        return &c->v[i];
    if (c->v == NULL)
        c->v = tw_mem_calloc(TW_UI_MODELS_MAX, sizeof *c->v);
    if (c->v == NULL || c->n == TW_UI_MODELS_MAX || strlen(name) >= TW_UI_NAME_BYTES)
        return NULL;
    tw_ui_model *m = &c->v[c->n++];
    *m = (tw_ui_model){.n_sizes = 0};
    snprintf(m->name, sizeof m->name, "%s", name);
    return m;
}

bool tw_ui_model_is_folder(const char *name)
{
    return name[0] == '/' || name[0] == '~' || name[0] == '.';
}

uint64_t tw_ui_model_bytes(const tw_ui_model *m)
{
    if (m->is_here && m->is_whole && m->here_bytes > 0)
        return m->here_bytes;
    return m->n_sizes > 0 ? m->sizes[0].bytes : m->here_bytes;
}

/* ---- a line ---- */

static int refuse(const place *at, const char *what, const char *found, const char *want)
{
    return tw_err_set(at->err, -EINVAL, "%.100s:%u: %s '%.40s': wanted %s", at->file, at->line,
                      what, found, want);
}

static char *trim(char *s)
{
    s += strspn(s, " \t");
    size_t n = strlen(s);
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r'))
        n--;
    s[n] = '\0';
    return s;
}

/* The next word of *s, which moves on; NULL: none. */
static char *next_word(char **s)
{
    char *word = *s + strspn(*s, " \t,");
    const size_t n = strcspn(word, " \t,");
    if (n == 0)
        return NULL;
    *s = word + n + (word[n] != '\0');
    word[n] = '\0';
    return word;
}

static bool parse_bytes(char *text, uint64_t *ret)
{
    static const char units[] = "KMGT";
    const size_t n = strlen(text);
    const char *unit = n > 1 ? strchr(units, text[n - 1]) : NULL;
    double v = 0, factor = 1;
    if (unit != NULL && *unit != '\0') {
        text[n - 1] = '\0';
        for (const char *u = units; u <= unit; u++)
            factor *= 1000;
    }
    if (tw_str_to_f64(text, &v) != 0 || !(v * factor >= 1 && v * factor < 1e16))
        return false;
    *ret = (uint64_t)(v * factor + 0.5);
    return true;
}

static int take_sizes(const place *at, char *text, tw_ui_model *m)
{
    static const char want[] = "DTYPE=BYTES, such as bf16=16.1G";
    for (char *word; (word = next_word(&text)) != NULL;) {
        char *eq = strchr(word, '=');
        const size_t i = m->n_sizes;
        if (i == TW_UI_DTYPES_MAX)
            return refuse(at, "size", word, "at most four of them");
        if (eq == NULL || eq == word || (size_t)(eq - word) >= sizeof m->sizes[i].dtype)
            return refuse(at, "size", word, want);
        *eq = '\0';
        snprintf(m->sizes[i].dtype, sizeof m->sizes[i].dtype, "%s", word);
        if (!parse_bytes(eq + 1, &m->sizes[i].bytes))
            return refuse(at, "size", eq + 1, want);
        m->n_sizes++;
    }
    return 0;
}

static int take_engines(const place *at, char *text, tw_ui_model *m)
{
    for (char *word; (word = next_word(&text)) != NULL;)
        if (strcmp(word, "native") == 0)
            m->engines |= TW_UI_NATIVE;
        else if (strcmp(word, "vllm") == 0)
            m->engines |= TW_UI_VLLM;
        else
            return refuse(at, "engine", word, "native or vllm");
    return 0;
}

/* Of the hub as it spells names, or a folder. */
static bool is_name(const char *s)
{
    const char *slash = strchr(s, '/');
    if (strlen(s) >= TW_UI_NAME_BYTES || !tw_utf8_valid(s, strlen(s)))
        return false;
    for (const char *p = s; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    if (tw_ui_model_is_folder(s))
        return slash != NULL;
    return slash != NULL && slash > s && slash[1] != '\0' && strchr(slash + 1, '/') == NULL &&
           s[0] != '-' && strchr(s, ' ') == NULL;
}

static int take_columns(const place *at, char *const v[COLUMNS], tw_ui_model *m)
{
    if (!is_name(v[0]))
        return refuse(at, "model", v[0], "org/name, or a folder that begins with /, ~ or .");
    snprintf(m->name, sizeof m->name, "%s", v[0]);
    if (strlen(v[1]) >= sizeof m->params)
        return refuse(at, "parameters", v[1], "a short text, such as 8.03B");
    snprintf(m->params, sizeof m->params, "%s", v[1]);
    if (strcmp(v[3], "gated") != 0 && strcmp(v[3], "open") != 0 && v[3][0] != '\0')
        return refuse(at, "access", v[3], "open or gated");
    m->gated = strcmp(v[3], "gated") == 0;
    if (strlen(v[5]) >= sizeof m->note)
        return refuse(at, "note", v[5], "at most 99 bytes");
    snprintf(m->note, sizeof m->note, "%s", v[5]);
    const int rc = take_sizes(at, v[2], m);
    return rc == 0 ? take_engines(at, v[4], m) : rc;
}

static void take_out(tw_ui_catalogue *c, const char *name)
{
    const size_t i = index_of(c, name);
    if (i == c->n)
        return;
    memmove(&c->v[i], &c->v[i + 1], (c->n - i - 1) * sizeof *c->v);
    c->n--;
}

static int take_line(const place *at, char *line, tw_ui_catalogue *c)
{
    char *v[COLUMNS], empty[1] = "";
    tw_ui_model m = {.is_known = true};
    size_t n = 0;
    line = trim(line);
    if (line[0] == '\0' || line[0] == '#')
        return 0;
    if (line[0] == '-') {
        take_out(c, trim(line + 1));
        return 0;
    }
    for (char *p = line; p != NULL; n++) {
        char *bar = strchr(p, '|');
        if (n == COLUMNS)
            return refuse(at, "column", p, "six at most");
        if (bar != NULL)
            *bar = '\0';
        v[n] = trim(p);
        p = bar != NULL ? bar + 1 : NULL;
    }
    while (n < COLUMNS)
        v[n++] = empty;
    const int rc = take_columns(at, v, &m);
    if (rc != 0)
        return rc;
    tw_ui_model *to = tw_ui_catalogue_get(c, m.name);
    if (to == NULL)
        return tw_err_set(at->err, -E2BIG, "%.100s:%u: more than %d models", at->file, at->line,
                          TW_UI_MODELS_MAX);
    *to = m;
    return 0;
}

int tw_ui_catalogue_parse(const char *file, const char *p, size_t n, tw_ui_catalogue *c,
                          tw_err *err)
{
    place at = {.file = file, .err = err};
    for (size_t i = 0; i < n;) {
        char line[LINE_MAX_BYTES];
        const char *eol = memchr(p + i, '\n', n - i);
        const size_t len = eol != NULL ? (size_t)(eol - (p + i)) : n - i;
        at.line++;
        if (len >= sizeof line || memchr(p + i, '\0', len) != NULL)
            return tw_err_set(err, -EINVAL,
                              "%.100s:%u: a line of %zu bytes: wanted text, 1023 at most", file,
                              at.line, len);
        memcpy(line, p + i, len);
        line[len] = '\0';
        const int rc = take_line(&at, line, c);
        if (rc != 0)
            return rc;
        i += len + 1;
    }
    return 0;
}

/* ---- the cache ---- */

/* Lines of one revision stand together, one a node. */
typedef struct revision {
    char name[TW_UI_NAME_BYTES], commit[80];
    bool is_here, is_whole; /* on some node; on all */
    uint64_t bytes;
} revision;

static void note_revision(tw_ui_catalogue *c, const revision *r)
{
    tw_ui_model *m = r->name[0] != '\0' && r->is_here ? tw_ui_catalogue_get(c, r->name) : NULL;
    if (m == NULL || m->is_whole) /* of several revisions the whole one counts */
        return;
    m->is_here = true;
    m->is_whole = r->is_whole;
    m->here_bytes = r->bytes;
}

static const char *text_of(const json_t *v, const char *key)
{
    const char *text = json_string_value(json_object_get(v, key));
    return text != NULL ? text : "";
}

static void note_line(tw_ui_catalogue *c, const json_t *v, revision *r)
{
    const char *name = text_of(v, "model"), *commit = text_of(v, "commit");
    const double bytes = json_number_value(json_object_get(v, "bytes"));
    const bool is_there = !json_is_false(json_object_get(v, "here"));
    if (!is_name(name) || !json_is_true(json_object_get(v, "weights")))
        return;
    if (strcmp(r->name, name) != 0 || strncmp(r->commit, commit, sizeof r->commit - 1) != 0) {
        note_revision(c, r);
        *r = (revision){.is_whole = true};
        snprintf(r->name, sizeof r->name, "%s", name);
        snprintf(r->commit, sizeof r->commit, "%s", commit);
    }
    r->is_here = r->is_here || is_there;
    r->is_whole = r->is_whole && is_there && json_is_true(json_object_get(v, "whole"));
    if (bytes > (double)r->bytes && bytes < 1e16)
        r->bytes = (uint64_t)bytes;
}

void tw_ui_catalogue_note_cache(tw_ui_catalogue *c, const char *p, size_t n)
{
    revision r = {.is_here = false};
    for (size_t i = 0; i < c->n; i++)
        c->v[i].is_here = c->v[i].is_whole = false;
    for (size_t i = 0; i < n;) {
        const char *eol = memchr(p + i, '\n', n - i);
        const size_t len = eol != NULL ? (size_t)(eol - (p + i)) : n - i;
        json_error_t je;
        json_t *v = json_loadb(p + i, len, 0, &je);
        note_line(c, v, &r);
        json_decref(v);
        i += len + 1;
    }
    note_revision(c, &r);
}
