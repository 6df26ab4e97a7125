/* SPDX-License-Identifier: Apache-2.0 */
#include "fmt/tokenizer_json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/scope.h"
#include "fmt/json.h"

typedef struct parse {
    const char *name;
    tw_tokenizer_json *out;
    tw_err *err;
    uint32_t max_id;
    unsigned depth;
} parse;

enum { MAX_DEPTH = 16 };

static const char *const type_names[] = {
    [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
    [JSON_INTEGER] = "an integer", [JSON_REAL] = "a real",    [JSON_TRUE] = "true",
    [JSON_FALSE] = "false",        [JSON_NULL] = "null",
};

static const char *describe(const json_t *v)
{
    return v == NULL ? "nothing" : type_names[json_typeof(v)];
}

static int refuse(const parse *p, const char *key, const char *found, const char *wanted)
{
    return tw_err_set(p->err, -EINVAL, "%s: %s: found %s, wanted %s", p->name, key, found, wanted);
}

static int refuse_type(const parse *p, const char *where, const char *key, const json_t *v,
                       const char *wanted)
{
    return tw_err_set(p->err, -EINVAL, "%s: %s.%s: found %s, wanted %s", p->name, where, key,
                      describe(v), wanted);
}

static int refuse_part(const parse *p, const char *where, const char *what)
{
    return tw_err_set(p->err, -ENOTSUP, "%s: %s: found \"%.60s\", which twinax does not support",
                      p->name, where, what);
}

static bool is_none(const json_t *v)
{
    return v == NULL || json_is_null(v);
}

static tw_str string_of(const json_t *v)
{
    return (tw_str){json_string_value(v), json_string_length(v)};
}

static int get_bool(const parse *p, const json_t *o, const char *where, const char *key, bool *io)
{
    const json_t *v = json_object_get(o, key);
    if (is_none(v))
        return 0;
    if (!json_is_boolean(v))
        return refuse_type(p, where, key, v, "true or false");
    *io = json_is_true(v);
    return 0;
}

static int get_string(const parse *p, const json_t *o, const char *where, const char *key,
                      tw_str *ret)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_string(v))
        return refuse_type(p, where, key, v, "a string");
    *ret = string_of(v);
    return 0;
}

static int get_count(const parse *p, const json_t *o, const char *where, const char *key,
                     uint32_t *ret)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 1 << 20)
        return refuse_type(p, where, key, v, "a small count");
    *ret = (uint32_t)json_integer_value(v);
    return 0;
}

static int get_id(const parse *p, const char *key, const json_t *v, uint32_t *ret)
{
    if (!json_is_integer(v))
        return refuse(p, key, describe(v), "an id");
    json_int_t id = json_integer_value(v);
    if (id < 0 || id > (json_int_t)p->max_id)
        return tw_err_set(p->err, -EINVAL, "%s: %s: found id %lld, wanted 0..%u", p->name, key,
                          (long long)id, p->max_id);
    *ret = (uint32_t)id;
    return 0;
}

/* Finds name in a NULL-ended table; -1 when it is not there. */
static int find_name(const char *name, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

/* {"String": s} or {"Regex": s} */
static int parse_pattern(const parse *p, const json_t *o, const char *where, tw_tj_stage *s)
{
    const json_t *v = json_object_get(o, "pattern");
    const json_t *text = json_object_get(v, "String");
    if (text == NULL) {
        text = json_object_get(v, "Regex");
        s->is_regex = true;
    }
    if (!json_is_string(text))
        return refuse_type(p, where, "pattern", v, "an object with String or Regex");
    s->pattern = string_of(text);
    return 0;
}

static int parse_behavior(const parse *p, const json_t *o, const char *where, tw_tj_stage *s)
{
    static const char *const names[] = {"Isolated",       "Removed",    "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous", NULL};
    tw_str text = {"", 0};
    int rc = get_string(p, o, where, "behavior", &text);
    if (rc < 0)
        return rc;
    int i = find_name(text.p, names);
    if (i < 0)
        return refuse_part(p, where, text.p);
    s->behavior = (enum tw_tj_behavior)i;
    return 0;
}

static int parse_split(const parse *p, const json_t *o, const char *where, tw_tj_stage *s)
{
    int rc = parse_pattern(p, o, where, s);
    if (rc == 0)
        rc = parse_behavior(p, o, where, s);
    return rc < 0 ? rc : get_bool(p, o, where, "invert", &s->invert);
}

static int parse_replace(const parse *p, const json_t *o, const char *where, tw_tj_stage *s)
{
    int rc = parse_pattern(p, o, where, s);
    return rc < 0 ? rc : get_string(p, o, where, "content", &s->content);
}

static int one_char(const parse *p, const char *where, const char *key, tw_str s)
{
    uint32_t cp;
    if (s.len > 0 && tw_utf8_decode(s.p, s.len, &cp) == s.len)
        return 0;
    return tw_err_set(p->err, -EINVAL, "%s: %s.%s: found \"%.40s\", wanted one character", p->name,
                      where, key, s.p);
}

/* Files from before prepend_scheme have add_prefix_space alone: true is always, false is never. */
static int parse_metaspace(const parse *p, const json_t *o, const char *where, tw_tj_stage *s)
{
    static const char *const schemes[] = {"always", "first", "never", NULL};
    bool prefix = true;
    s->split = true;
    int rc = get_string(p, o, where, "replacement", &s->content);
    if (rc == 0)
        rc = one_char(p, where, "replacement", s->content);
    if (rc == 0)
        rc = get_bool(p, o, where, "split", &s->split);
    if (rc == 0)
        rc = get_bool(p, o, where, "add_prefix_space", &prefix);
    if (rc < 0)
        return rc;
    s->scheme = prefix ? TW_TJ_ALWAYS : TW_TJ_NEVER;
    if (is_none(json_object_get(o, "prepend_scheme")))
        return 0;
    tw_str text = {"", 0};
    rc = get_string(p, o, where, "prepend_scheme", &text);
    if (rc < 0)
        return rc;
    int i = find_name(text.p, schemes);
    if (i < 0)
        return refuse(p, where, text.p, "prepend_scheme always, first or never");
    s->scheme = (enum tw_tj_scheme)i;
    return 0;
}

static int parse_byte_level(const parse *p, const json_t *o, const char *where, tw_tj_stage *s)
{
    s->use_regex = true;
    s->add_prefix_space = true;
    int rc = get_bool(p, o, where, "add_prefix_space", &s->add_prefix_space);
    return rc < 0 ? rc : get_bool(p, o, where, "use_regex", &s->use_regex);
}

static int parse_normalizer(const parse *p, const json_t *o, const char *where, const char *type,
                            tw_tj_stage *s)
{
    static const char *const names[] = {"NFC",     "NFD",     "NFKC",  "NFKD", "Lowercase",
                                        "Prepend", "Replace", "Strip", NULL};
    int i = find_name(type, names);
    if (i < 0)
        return refuse_part(p, where, type);
    s->type = (enum tw_tj_type)i;
    if (s->type == TW_TJ_PREPEND)
        return get_string(p, o, where, "prepend", &s->content);
    if (s->type == TW_TJ_REPLACE)
        return parse_replace(p, o, where, s);
    if (s->type != TW_TJ_STRIP)
        return 0;
    int rc = get_bool(p, o, where, "strip_left", &s->strip_left);
    return rc < 0 ? rc : get_bool(p, o, where, "strip_right", &s->strip_right);
}

static int parse_pre_tokenizer(const parse *p, const json_t *o, const char *where, const char *type,
                               tw_tj_stage *s)
{
    static const char *const names[] = {"ByteLevel",  "Split",           "Digits",      "Metaspace",
                                        "Whitespace", "WhitespaceSplit", "Punctuation", NULL};
    int i = find_name(type, names);
    if (i < 0)
        return refuse_part(p, where, type);
    s->type = (enum tw_tj_type)((int)TW_TJ_BYTE_LEVEL + i);
    if (s->type == TW_TJ_BYTE_LEVEL)
        return parse_byte_level(p, o, where, s);
    if (s->type == TW_TJ_SPLIT)
        return parse_split(p, o, where, s);
    if (s->type == TW_TJ_DIGITS)
        return get_bool(p, o, where, "individual_digits", &s->individual_digits);
    if (s->type == TW_TJ_METASPACE)
        return parse_metaspace(p, o, where, s);
    if (s->type == TW_TJ_PUNCTUATION && !is_none(json_object_get(o, "behavior")))
        return parse_behavior(p, o, where, s);
    return 0;
}

static int parse_decoder(const parse *p, const json_t *o, const char *where, const char *type,
                         tw_tj_stage *s)
{
    static const char *const names[] = {"ByteLevel", "ByteFallback", "Fuse", "Metaspace",
                                        "Replace",   "Strip",        NULL};
    static const enum tw_tj_type types[] = {TW_TJ_BYTE_LEVEL, TW_TJ_BYTE_FALLBACK, TW_TJ_FUSE,
                                            TW_TJ_METASPACE,  TW_TJ_REPLACE,       TW_TJ_STRIP};
    int i = find_name(type, names);
    if (i < 0)
        return refuse_part(p, where, type);
    s->type = types[i];
    if (s->type == TW_TJ_METASPACE)
        return parse_metaspace(p, o, where, s);
    if (s->type == TW_TJ_REPLACE)
        return parse_replace(p, o, where, s);
    if (s->type != TW_TJ_STRIP)
        return 0;
    int rc = get_string(p, o, where, "content", &s->content);
    if (rc == 0)
        rc = one_char(p, where, "content", s->content);
    if (rc == 0)
        rc = get_count(p, o, where, "start", &s->start);
    return rc < 0 ? rc : get_count(p, o, where, "stop", &s->stop);
}

typedef int parse_stage(const parse *p, const json_t *o, const char *where, const char *type,
                        tw_tj_stage *s);

/* A list of stages: where the sequence's children stand, how to read one, where it goes. */
typedef struct list {
    const char *children;
    parse_stage *one;
    tw_tj_stages *out;
} list;

static int parse_stages(parse *p, const json_t *o, const char *where, const list *l);

static int parse_sequence(parse *p, const json_t *o, const char *where, const list *l)
{
    const json_t *children = json_object_get(o, l->children), *child;
    if (!json_is_array(children))
        return refuse_type(p, where, l->children, children, "an array");
    if (p->depth >= MAX_DEPTH)
        return refuse(p, where, "more than 16 nested sequences", "fewer");
    p->depth++;
    size_t i;
    json_array_foreach(children, i, child)
    {
        char path[96];
        snprintf(path, sizeof(path), "%.60s[%zu]", where, i);
        int rc = parse_stages(p, child, path, l);
        if (rc < 0)
            return rc;
    }
    p->depth--;
    return 0;
}

static int parse_stages(parse *p, const json_t *o, const char *where, const list *l)
{
    if (!json_is_object(o))
        return refuse(p, where, describe(o), "an object");
    tw_str type = {"", 0};
    int rc = get_string(p, o, where, "type", &type);
    if (rc < 0)
        return rc;
    if (strcmp(type.p, "Sequence") == 0)
        return parse_sequence(p, o, where, l);
    if (l->out->n == TW_TJ_MAX_STAGES)
        return refuse(p, where, "more than 32 parts", "fewer");
    tw_tj_stage s = {.type = TW_TJ_NFC};
    rc = l->one(p, o, where, type.p, &s);
    if (rc < 0)
        return rc;
    tw_tj_stages_add(l->out, s);
    return 0;
}

static int parse_pipelines(parse *p, const json_t *root)
{
    tw_tokenizer_json *t = p->out;
    const json_t *o = json_object_get(root, "normalizer");
    list l = {"normalizers", parse_normalizer, &t->normalizers};
    int rc = is_none(o) ? 0 : parse_stages(p, o, "normalizer", &l);
    if (rc < 0)
        return rc;
    o = json_object_get(root, "pre_tokenizer");
    l = (list){"pretokenizers", parse_pre_tokenizer, &t->pre_tokenizers};
    rc = is_none(o) ? 0 : parse_stages(p, o, "pre_tokenizer", &l);
    if (rc < 0)
        return rc;
    o = json_object_get(root, "decoder");
    l = (list){"decoders", parse_decoder, &t->decoders};
    t->has_decoder = !is_none(o);
    return is_none(o) ? 0 : parse_stages(p, o, "decoder", &l);
}

/* The ids that one template puts before ($A not yet seen) or after the text. */
typedef struct template
{
    uint32_t before[TW_TJ_MAX_TEMPLATE], after[TW_TJ_MAX_TEMPLATE];
    size_t n_before, n_after;
    bool seen;
}
template;

static int template_special(const parse *p, const json_t *specials, const char *id, template *t)
{
    const json_t *ids = json_object_get(json_object_get(specials, id), "ids"), *v;
    if (!json_is_array(ids))
        return tw_err_set(p->err, -EINVAL,
                          "%s: post_processor.special_tokens: found no ids for \"%.60s\", wanted "
                          "an array of ids",
                          p->name, id);
    size_t i;
    json_array_foreach(ids, i, v)
    {
        size_t *n = t->seen ? &t->n_after : &t->n_before;
        if (*n == TW_TJ_MAX_TEMPLATE)
            return refuse(p, "post_processor.single", "more than 32 ids", "fewer");
        uint32_t *to = (t->seen ? t->after : t->before) + *n;
        int rc = get_id(p, "post_processor.special_tokens", v, to);
        if (rc < 0)
            return rc;
        ++*n;
    }
    return 0;
}

static int template_piece(const parse *p, const json_t *piece, const json_t *specials, template *t)
{
    const char *where = "post_processor.single";
    const json_t *special = json_object_get(piece, "SpecialToken");
    const json_t *sequence = json_object_get(piece, "Sequence");
    tw_str id = {"", 0};
    if (special == NULL && sequence == NULL)
        return refuse(p, where, describe(piece), "objects with SpecialToken or Sequence");
    int rc = get_string(p, special != NULL ? special : sequence, where, "id", &id);
    if (rc < 0)
        return rc;
    if (special != NULL)
        return template_special(p, specials, id.p, t);
    if (strcmp(id.p, "A") != 0 || t->seen)
        return refuse(p, where, "another sequence than one A", "one A");
    t->seen = true;
    return 0;
}

/* What an earlier template wrapped is the A of the later one. */
static int template_wrap(const parse *p, const template *t)
{
    tw_tokenizer_json *o = p->out;
    if (o->n_before + t->n_before > TW_TJ_MAX_TEMPLATE ||
        o->n_after + t->n_after > TW_TJ_MAX_TEMPLATE)
        return refuse(p, "post_processor", "more than 32 ids on one side", "fewer");
    memmove(o->before + t->n_before, o->before, o->n_before * sizeof(o->before[0]));
    memcpy(o->before, t->before, t->n_before * sizeof(o->before[0]));
    memcpy(o->after + o->n_after, t->after, t->n_after * sizeof(o->after[0]));
    o->n_before += t->n_before;
    o->n_after += t->n_after;
    return 0;
}

static int parse_template(const parse *p, const json_t *o)
{
    const json_t *single = json_object_get(o, "single"), *piece;
    const json_t *specials = json_object_get(o, "special_tokens");
    template t = {.seen = false};
    if (!json_is_array(single))
        return refuse_type(p, "post_processor", "single", single, "an array");
    size_t i;
    json_array_foreach(single, i, piece)
    {
        int rc = template_piece(p, piece, specials, &t);
        if (rc < 0)
            return rc;
    }
    if (!t.seen)
        return refuse(p, "post_processor.single", "no sequence", "one A");
    return template_wrap(p, &t);
}

static int parse_processor(parse *p, const json_t *o)
{
    const char *where = "post_processor";
    tw_str type = {"", 0};
    if (!json_is_object(o))
        return refuse(p, where, describe(o), "an object");
    int rc = get_string(p, o, where, "type", &type);
    if (rc < 0)
        return rc;
    if (strcmp(type.p, "ByteLevel") == 0)
        return 0;
    if (strcmp(type.p, "TemplateProcessing") == 0)
        return parse_template(p, o);
    if (strcmp(type.p, "Sequence") != 0)
        return refuse_part(p, where, type.p);
    const json_t *children = json_object_get(o, "processors"), *child;
    if (!json_is_array(children))
        return refuse_type(p, where, "processors", children, "an array");
    if (p->depth >= MAX_DEPTH)
        return refuse(p, where, "more than 16 nested sequences", "fewer");
    p->depth++;
    size_t i;
    json_array_foreach(children, i, child)
    {
        rc = parse_processor(p, child);
        if (rc < 0)
            return rc;
    }
    p->depth--;
    return 0;
}

static int no_memory(const parse *p)
{
    return tw_err_set(p->err, -ENOMEM, "%s: out of memory for the tokenizer", p->name);
}

static int parse_vocab(const parse *p, json_t *vocab)
{
    tw_tokenizer_json *t = p->out;
    if (!json_is_object(vocab))
        return refuse(p, "model.vocab", describe(vocab), "an object");
    t->vocab = tw_arena_array(&t->arena, json_object_size(vocab), sizeof(t->vocab[0]));
    if (t->vocab == NULL)
        return no_memory(p);
    const char *key;
    json_t *v;
    json_object_foreach(vocab, key, v)
    {
        tw_tj_token *to = &t->vocab[t->n_vocab];
        char where[96];
        snprintf(where, sizeof(where), "model.vocab[\"%.64s\"]", key);
        int rc = get_id(p, where, v, &to->id);
        if (rc < 0)
            return rc;
        to->text = tw_str_from(key);
        t->n_vocab++;
    }
    return 0;
}

/* "a b", exactly one space; or ["a", "b"]. */
static int parse_merge(const parse *p, const json_t *v, size_t i, tw_tj_merge *ret)
{
    if (json_is_array(v) && json_array_size(v) == 2 && json_is_string(json_array_get(v, 0)) &&
        json_is_string(json_array_get(v, 1))) {
        ret->left = string_of(json_array_get(v, 0));
        ret->right = string_of(json_array_get(v, 1));
        return 0;
    }
    if (json_is_string(v)) {
        tw_str s = string_of(v);
        const char *space = memchr(s.p, ' ', s.len);
        size_t n_left = space != NULL ? (size_t)(space - s.p) : s.len;
        if (space != NULL && memchr(space + 1, ' ', s.len - n_left - 1) == NULL) {
            ret->left = (tw_str){s.p, n_left};
            ret->right = (tw_str){space + 1, s.len - n_left - 1};
            return 0;
        }
    }
    return tw_err_set(p->err, -EINVAL, "%s: model.merges[%zu]: found %s%.40s, wanted two strings",
                      p->name, i, describe(v), json_is_string(v) ? " without one space" : "");
}

static int parse_merges(const parse *p, const json_t *merges)
{
    tw_tokenizer_json *t = p->out;
    if (!json_is_array(merges))
        return refuse(p, "model.merges", describe(merges), "an array");
    size_t n = json_array_size(merges);
    t->merges = tw_arena_array(&t->arena, n, sizeof(t->merges[0]));
    if (t->merges == NULL)
        return no_memory(p);
    for (; t->n_merges < n; t->n_merges++) {
        int rc = parse_merge(p, json_array_get(merges, t->n_merges), t->n_merges,
                             &t->merges[t->n_merges]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int refuse_affix(const parse *p, const json_t *model, const char *key)
{
    const json_t *v = json_object_get(model, key);
    if (is_none(v) || (json_is_string(v) && json_string_length(v) == 0))
        return 0;
    return tw_err_set(p->err, -ENOTSUP, "%s: model.%s: found %s, which twinax does not support",
                      p->name, key, json_is_string(v) ? json_string_value(v) : describe(v));
}

static int refuse_dropout(const parse *p, const json_t *model)
{
    const json_t *v = json_object_get(model, "dropout");
    if (is_none(v) || (json_is_number(v) && !(json_number_value(v) > 0)))
        return 0;
    return tw_err_set(p->err, -ENOTSUP, "%s: model.dropout: found %s, wanted null", p->name,
                      describe(v));
}

/* Very old files do not name the model; then vocab and merges say that it is BPE. */
static int parse_model_kind(const parse *p, const json_t *model)
{
    const json_t *type = json_object_get(model, "type");
    if (!json_is_object(model))
        return refuse(p, "model", describe(model), "an object");
    if (type != NULL && !json_is_string(type))
        return refuse(p, "model.type", describe(type), "\"BPE\"");
    if (type != NULL && strcmp(json_string_value(type), "BPE") != 0)
        return refuse_part(p, "model.type", json_string_value(type));
    int rc = refuse_dropout(p, model);
    if (rc == 0)
        rc = refuse_affix(p, model, "continuing_subword_prefix");
    return rc < 0 ? rc : refuse_affix(p, model, "end_of_word_suffix");
}

static int parse_model(const parse *p, const json_t *model)
{
    tw_tokenizer_json *t = p->out;
    int rc = parse_model_kind(p, model);
    if (rc == 0)
        rc = get_bool(p, model, "model", "byte_fallback", &t->byte_fallback);
    if (rc == 0)
        rc = get_bool(p, model, "model", "fuse_unk", &t->fuse_unk);
    if (rc == 0)
        rc = get_bool(p, model, "model", "ignore_merges", &t->ignore_merges);
    t->has_unk = !is_none(json_object_get(model, "unk_token"));
    if (rc == 0 && t->has_unk)
        rc = get_string(p, model, "model", "unk_token", &t->unk_token);
    if (rc == 0)
        rc = parse_vocab(p, json_object_get(model, "vocab"));
    return rc < 0 ? rc : parse_merges(p, json_object_get(model, "merges"));
}

static int parse_added_token(const parse *p, const json_t *o, size_t i, tw_tj_added *a)
{
    char where[48], key[64];
    snprintf(where, sizeof(where), "added_tokens[%zu]", i);
    snprintf(key, sizeof(key), "%s.id", where);
    if (!json_is_object(o))
        return refuse(p, where, describe(o), "an object");
    int rc = get_id(p, key, json_object_get(o, "id"), &a->id);
    if (rc == 0)
        rc = get_string(p, o, where, "content", &a->text);
    if (rc == 0)
        rc = get_bool(p, o, where, "special", &a->special);
    if (rc == 0)
        rc = get_bool(p, o, where, "lstrip", &a->lstrip);
    if (rc == 0)
        rc = get_bool(p, o, where, "rstrip", &a->rstrip);
    if (rc == 0)
        rc = get_bool(p, o, where, "single_word", &a->single_word);
    a->normalized = !a->special;
    return rc < 0 ? rc : get_bool(p, o, where, "normalized", &a->normalized);
}

static int parse_added(const parse *p, const json_t *added)
{
    tw_tokenizer_json *t = p->out;
    if (is_none(added))
        return 0;
    if (!json_is_array(added))
        return refuse(p, "added_tokens", describe(added), "an array");
    size_t n = json_array_size(added);
    t->added = tw_arena_array(&t->arena, n, sizeof(t->added[0]));
    if (t->added == NULL)
        return no_memory(p);
    for (; t->n_added < n; t->n_added++) {
        int rc = parse_added_token(p, json_array_get(added, t->n_added), t->n_added,
                                   &t->added[t->n_added]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int parse_root(parse *p, const json_t *root)
{
    const json_t *post = json_object_get(root, "post_processor");
    if (!json_is_object(root))
        return refuse(p, "the document", describe(root), "an object");
    int rc = parse_pipelines(p, root);
    if (rc == 0 && !is_none(post))
        rc = parse_processor(p, post);
    if (rc == 0)
        rc = parse_model(p, json_object_get(root, "model"));
    return rc < 0 ? rc : parse_added(p, json_object_get(root, "added_tokens"));
}

int tw_tokenizer_json_parse(const char *name, const char *json, size_t n, uint32_t max_id,
                            tw_tokenizer_json *ret, tw_err *err)
{
    if (n > TW_TJ_MAX_BYTES)
        return tw_err_set(err, -E2BIG, "%s: found %zu bytes, wanted at most 256 MiB", name, n);
    tw_tokenizer_json t = {.document = NULL};
    tw_arena_init(&t.arena, 0);
    json_error_t e;
    bool no_memory;
    json_t *root = tw_json_load(json, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e, &no_memory);
    if (no_memory)
        return tw_err_set(err, -ENOMEM, "%s: out of memory for its JSON of %zu bytes", name, n);
    if (root == NULL)
        return tw_err_set(err, -EINVAL, "%s: line %d: not JSON: %s", name, e.line, e.text);
    t.document = root;
    parse p = {name, &t, err, TW_MIN(max_id, (uint32_t)TW_TJ_MAX_ID), 0};
    int rc = parse_root(&p, root);
    if (rc < 0) {
        tw_tokenizer_json_done(&t);
        return rc;
    }
    *ret = t;
    return 0;
}

void tw_tokenizer_json_done(tw_tokenizer_json *t)
{
    if (t == NULL)
        return;
    tw_arena_done(&t->arena);
    json_decref(t->document);
    t->document = NULL;
}
