/* SPDX-License-Identifier: Apache-2.0 */
/* The images that a container had before, by their stamps; and a plan as a person reads it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/setup_plan.h"
#include "host/toolbox_plan.h"

static bool is_used(const tw_toolbox_look *l, const tw_toolbox_image *m)
{
    for (size_t i = 0; i < l->n_boxes; i++)
        if (strcmp(l->boxes[i].image_id, m->id) == 0)
            return true;
    return false;
}

size_t tw_toolbox_list_old(const tw_toolbox_look *l, const char *box, const char *repo,
                           tw_toolbox_old *ret, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_images && n < max; i++) {
        const char *stamp = tw_toolbox_image_stamp(&l->images[i], box, repo);
        if (stamp == NULL)
            continue;
        size_t at = n++;
        for (; at > 0 && strcmp(ret[at - 1].stamp, stamp) < 0; at--)
            ret[at] = ret[at - 1];
        ret[at] = (tw_toolbox_old){.image = &l->images[i],
                                   .stamp = stamp,
                                   .used = is_used(l, &l->images[i])};
    }
    return n;
}

json_t *tw_toolbox_plan_remove(const tw_toolbox_image *m, const char *box, const char *repo)
{
    json_t *argv = json_pack("[s, s]", "podman", "rmi");
    for (size_t k = 0; k < m->n_names; k++)
        if (tw_toolbox_stamp_of(m->names[k], box, repo) != NULL)
            json_array_append_new(argv, json_string(m->names[k]));
    return json_pack("{s:s, s:s, s:o}", "id", "remove", "title", "remove an old image", "argv",
                     argv);
}

const tw_toolbox_image *tw_toolbox_find_back(const tw_toolbox_look *l, const char *box,
                                             const char *repo, const char *stamp,
                                             const char **ret_stamp)
{
    tw_toolbox_old old[TW_TOOLBOX_IMAGES_MAX];
    const size_t n = tw_toolbox_list_old(l, box, repo, old, TW_TOOLBOX_IMAGES_MAX);
    const tw_toolbox_box *b = tw_toolbox_find_box(l, box);
    const tw_toolbox_image *now = b != NULL ? tw_toolbox_find_image(l, b->image_id) : NULL;
    const char *now_stamp = now != NULL ? tw_toolbox_image_stamp(now, box, repo) : NULL;
    for (size_t i = 0; i < n; i++) {
        const bool is_it =
            stamp != NULL
                ? strcmp(old[i].stamp, stamp) == 0
                : old[i].image != now && (now_stamp == NULL || strcmp(old[i].stamp, now_stamp) < 0);
        if (!is_it)
            continue;
        *ret_stamp = old[i].stamp;
        return old[i].image;
    }
    return NULL;
}

/* ---- as text ---- */

/* A script of many lines is named, not shown. */
static int put_words(const json_t *argv, tw_buf *out)
{
    TW_CLEANUP(tw_json_freep) json_t *shown = json_array();
    size_t i;
    json_t *v;
    json_array_foreach(argv, i, v)
    {
        const char *word = json_string_value(v);
        const bool script = word != NULL && strchr(word, '\n') != NULL;
        if (json_array_append_new(shown, json_string(script ? "..." : word)) != 0)
            return -ENOMEM;
    }
    return tw_setup_quote(shown, out);
}

static int put_steps(const json_t *list, tw_buf *out)
{
    size_t i;
    json_t *v;
    int rc = 0;
    json_array_foreach(list, i, v)
    {
        if (rc == 0)
            rc = tw_buf_printf(out, "  %s\n    ", tw_json_text_at(v, "title"));
        if (rc == 0)
            rc = put_words(json_object_get(v, "argv"), out);
        if (rc == 0)
            rc = tw_buf_puts(out, "\n");
        if (rc == 0 && json_object_get(v, "undo") != NULL) {
            rc = tw_buf_puts(out, "    if it fails: ");
            if (rc == 0)
                rc = put_words(json_object_get(v, "undo"), out);
            if (rc == 0)
                rc = tw_buf_puts(out, "\n");
        }
    }
    return rc;
}

static int put_list(const json_t *plan, const char *key, const char *before, tw_buf *out)
{
    size_t i;
    json_t *v;
    int rc = 0;
    json_array_foreach(json_object_get(plan, key), i, v)
    {
        if (rc == 0)
            rc = tw_buf_printf(out, "  %s: %s\n", before, json_string_value(v));
    }
    return rc;
}

int tw_toolbox_plan_text(const json_t *plan, tw_buf *out, tw_err *err)
{
    const json_t *fetch = json_object_get(plan, "fetch"), *swap = json_object_get(plan, "swap");
    const size_t n = json_array_size(fetch) + json_array_size(swap);
    const char *digest = tw_json_text_at(plan, "digest");
    const char *state = json_is_true(json_object_get(plan, "current")) ? ": it is as wanted" : "";
    int rc = tw_buf_printf(out, "%s: container %s with %s, from %s%s%s%s\n",
                           tw_json_text_at(plan, "node"), tw_json_text_at(plan, "box"),
                           tw_json_text_at(plan, "with"), tw_json_text_at(plan, "image"),
                           digest[0] != '\0' ? " " : "", digest, n == 0 ? state : "");
    if (rc == 0)
        rc = put_steps(fetch, out);
    if (rc == 0)
        rc = put_steps(swap, out);
    if (rc == 0)
        rc = put_list(plan, "asks", "lost", out);
    if (rc == 0)
        rc = put_list(plan, "notes", "note", out);
    return rc == 0 ? 0 : tw_err_set(err, rc, "no memory for a plan's text");
}
