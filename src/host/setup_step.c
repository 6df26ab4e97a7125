/* SPDX-License-Identifier: Apache-2.0 */
#include "host/setup_step.h"

#include <stdarg.h>
#include <stdio.h>

static void put(tw_setup_maker *m, json_t *object, const char *key, json_t *v)
{
    if (v == NULL || json_object_set_new(object, key, v) != 0)
        m->failed = true;
}

static void push(tw_setup_maker *m, json_t *array, json_t *v)
{
    if (v == NULL || json_array_append_new(array, v) != 0)
        m->failed = true;
}

/* The array under key of the current step, made when it is not there. */
static json_t *list_of(tw_setup_maker *m, const char *key)
{
    json_t *v = json_object_get(m->step, key);
    if (v != NULL)
        return v;
    put(m, m->step, key, json_array());
    return json_object_get(m->step, key);
}

void tw_setup_begin(tw_setup_maker *m, const char *id, unsigned flags, const char *title,
                    const char *why_fmt, ...)
{
    char why[600];
    va_list ap;
    va_start(ap, why_fmt);
    vsnprintf(why, sizeof why, why_fmt, ap);
    va_end(ap);
    json_t *step = json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:[]}", "id", id, "title", title,
                             "why", why, "root", (flags & TW_SETUP_ROOT) != 0, "cuts",
                             (flags & TW_SETUP_CUTS) != 0, "login", (flags & TW_SETUP_LOGIN) != 0,
                             "reboot", (flags & TW_SETUP_REBOOT) != 0, "do");
    push(m, m->steps, step);
    m->step = json_array_get(m->steps, json_array_size(m->steps) - 1);
}

void tw_setup_note(tw_setup_maker *m, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    push(m, m->notes, json_string(text));
}

bool tw_setup_is_unseen(tw_setup_maker *m, const char *step, const char *path)
{
    bool hidden;
    (void)tw_setup_seen_file(m->s, path, &hidden);
    if (hidden && m->s->as_root)
        tw_setup_note(m, "%s: %s is no text (UTF-8) that setup can edit: it is left to you", step,
                      path);
    else if (hidden)
        tw_setup_note(m, "%s: whether it is done cannot be seen without root (%s)", step, path);
    return hidden;
}

static json_t *words_of(tw_setup_maker *m, va_list ap)
{
    json_t *argv = json_array();
    for (const char *word; (word = va_arg(ap, const char *)) != NULL;)
        push(m, argv, json_string(word));
    return argv;
}

static void add_do(tw_setup_maker *m, json_t *argv, bool may_fail)
{
    json_t *action = json_pack("{s:o}", "run", argv);
    if (may_fail)
        put(m, action, "may_fail", json_true());
    push(m, list_of(m, "do"), action);
}

void tw_setup_cmd(tw_setup_maker *m, ...)
{
    va_list ap;
    va_start(ap, m);
    add_do(m, words_of(m, ap), false);
    va_end(ap);
}

void tw_setup_try(tw_setup_maker *m, ...)
{
    va_list ap;
    va_start(ap, m);
    add_do(m, words_of(m, ap), true);
    va_end(ap);
}

void tw_setup_undo(tw_setup_maker *m, ...)
{
    va_list ap;
    va_start(ap, m);
    push(m, list_of(m, "undo"), words_of(m, ap));
    va_end(ap);
}

void tw_setup_settle(tw_setup_maker *m, ...)
{
    va_list ap;
    va_start(ap, m);
    push(m, list_of(m, "settle"), words_of(m, ap));
    va_end(ap);
}

void tw_setup_argv(tw_setup_maker *m, const char *key, const char *const *argv)
{
    json_t *v = json_array();
    for (; *argv != NULL; argv++)
        push(m, v, json_string(*argv));
    if (key[0] == 'r')
        add_do(m, v, false);
    else
        push(m, list_of(m, key), v);
}

void tw_setup_touch(tw_setup_maker *m, const char *path)
{
    push(m, list_of(m, "touch"), json_string(path));
}

void tw_setup_install(tw_setup_maker *m, const char *with, const char *const *packages)
{
    json_t *v = json_array();
    for (; *packages != NULL; packages++)
        push(m, v, json_string(*packages));
    push(m, list_of(m, "do"), json_pack("{s:o, s:s}", "install", v, "with", with));
}

void tw_setup_file(tw_setup_maker *m, const char *path, unsigned mode, const char *after,
                   const char *user)
{
    bool hidden;
    const char *before = tw_setup_seen_file(m->s, path, &hidden);
    json_t *action = json_pack("{s:s, s:i, s:s?, s:s?}", "file", path, "mode", (int)mode, "before",
                               before, "after", after);
    if (user != NULL)
        put(m, action, "user", json_string(user));
    if (hidden) /* a plan that is only shown; as root it is made again */
        put(m, action, "hidden", json_true());
    push(m, list_of(m, "do"), action);
}
