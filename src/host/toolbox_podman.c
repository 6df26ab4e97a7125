/* SPDX-License-Identifier: Apache-2.0 */
/* podman's JSON, of 4.3 to 5.x: keys that another version lacks are passed over. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_field.h"
#include "host/toolbox_look.h"

static uint64_t number_of(const json_t *o, const char *key)
{
    const json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}

/* "sha256:..." or bare hex, as it is written in many places: bare. */
static void take_id(const char *id, char out[72])
{
    if (strncmp(id, "sha256:", 7) == 0)
        id += 7;
    tw_field_text(strspn(id, "0123456789abcdef") == strlen(id) ? id : "", out, 72);
}

int tw_toolbox_take_info(const char *p, size_t n, tw_toolbox_look *l, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    int rc = tw_json_parse("podman info", p, n, &v, err);
    if (rc != 0)
        return rc;
    const json_t *host = json_object_get(v, "host"), *store = json_object_get(v, "store");
    tw_field_text(tw_json_text_at(json_object_get(v, "version"), "Version"), l->podman,
                  sizeof l->podman);
    if (l->podman[0] == '\0')
        snprintf(l->podman, sizeof l->podman, "?");
    tw_field_text(tw_json_text_at(json_object_get(host, "ociRuntime"), "name"), l->runtime,
                  sizeof l->runtime);
    tw_field_text(tw_json_text_at(store, "graphRoot"), l->graph_root, sizeof l->graph_root);
    return 0;
}

static void take_names(const json_t *v, tw_toolbox_image *m)
{
    const json_t *names = json_object_get(v, "Names"), *digests = json_object_get(v, "RepoDigests");
    size_t i;
    json_t *t;
    json_array_foreach(names, i, t)
    {
        const char *name = json_string_value(t);
        if (name != NULL && m->n_names < TW_TOOLBOX_NAMES_MAX && strchr(name, '@') == NULL)
            tw_field_text(name, m->names[m->n_names++], sizeof m->names[0]);
    }
    json_array_foreach(digests, i, t)
    {
        const char *at = json_string_value(t) != NULL ? strchr(json_string_value(t), '@') : NULL;
        bool known = at == NULL || !tw_toolbox_digest_is_good(at + 1);
        for (size_t k = 0; k < m->n_digests && !known; k++)
            known = strcmp(m->digests[k], at + 1) == 0;
        if (!known && m->n_digests < TW_TOOLBOX_DIGESTS_MAX)
            snprintf(m->digests[m->n_digests++], sizeof m->digests[0], "%.79s", at + 1);
    }
    if (m->n_digests == 0 && tw_toolbox_digest_is_good(tw_json_text_at(v, "Digest")))
        snprintf(m->digests[m->n_digests++], sizeof m->digests[0], "%.79s",
                 tw_json_text_at(v, "Digest"));
}

int tw_toolbox_take_images(const char *p, size_t n, tw_toolbox_look *l, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *list = NULL;
    int rc = tw_json_parse("podman images", p, n, &list, err);
    if (rc != 0)
        return rc;
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        char id[72];
        take_id(tw_json_text_at(v, "Id"), id);
        /* One entry an image or one a name, as the version goes. */
        if (id[0] == '\0' || l->n_images == TW_TOOLBOX_IMAGES_MAX ||
            tw_toolbox_find_image(l, id) != NULL)
            continue;
        tw_toolbox_image *m = &l->images[l->n_images++];
        *m =
            (tw_toolbox_image){.bytes = number_of(v, "Size"), .created_s = number_of(v, "Created")};
        memcpy(m->id, id, sizeof id);
        take_names(v, m);
    }
    return 0;
}

static const char *find_maker(const json_t *labels)
{
    if (json_object_get(labels, "com.github.containers.toolbox") != NULL)
        return "toolbox";
    return strcmp(tw_json_text_at(labels, "manager"), "distrobox") == 0 ? "distrobox" : "";
}

int tw_toolbox_take_boxes(const char *p, size_t n, const char *box, tw_toolbox_look *l, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *list = NULL;
    int rc = tw_json_parse("podman ps", p, n, &list, err);
    if (rc != 0)
        return rc;
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        const json_t *names = json_object_get(v, "Names"), *labels = json_object_get(v, "Labels");
        const char *name =
            json_string_value(json_is_array(names) ? json_array_get(names, 0) : names);
        const char *maker = find_maker(labels);
        const bool asked_for = name != NULL && box != NULL && strcmp(box, name) == 0;
        if (name == NULL || (maker[0] == '\0' && !asked_for) ||
            (l->n_boxes == TW_TOOLBOX_BOXES_MAX && !asked_for))
            continue;
        l->n_boxes -= l->n_boxes == TW_TOOLBOX_BOXES_MAX; /* the one that is asked for has room */
        tw_toolbox_box *b = &l->boxes[l->n_boxes++];
        *b = (tw_toolbox_box){.created_s = number_of(v, "Created")};
        tw_field_text(name, b->name, sizeof b->name);
        tw_field_text(tw_json_text_at(v, "Image"), b->image, sizeof b->image);
        tw_field_text(tw_json_text_at(v, "State"), b->state, sizeof b->state);
        tw_field_text(tw_json_text_at(labels, "twinax.flags"), b->flags, sizeof b->flags);
        tw_field_text(tw_json_text_at(labels, "twinax.rccl"), b->rccl, sizeof b->rccl);
        tw_field_text(maker, b->made_by, sizeof b->made_by);
        take_id(tw_json_text_at(v, "ImageID"), b->image_id);
    }
    return 0;
}

/* What they write themselves whenever the container starts, and what lies in no image. */
static bool is_usual(const char *path)
{
    static const char *const usual[] = {"/etc",  "/run", "/var",  "/tmp",   "/dev", "/home",
                                        "/root", "/mnt", "/proc", "/media", "/sys", "/boot"};
    for (size_t i = 0; i < TW_ARRAY_LEN(usual); i++) {
        const size_t n = strlen(usual[i]);
        if (strncmp(path, usual[i], n) == 0 && (path[n] == '/' || path[n] == '\0'))
            return true;
    }
    return strcmp(path, "/") == 0 || strcmp(path, "/usr/bin/toolbox") == 0 ||
           strncmp(path, "/usr/bin/distrobox-", 19) == 0 ||
           strcmp(path, "/usr/bin/entrypoint") == 0;
}

/* "A /usr/bin/vim": added; C: changed, folders too, which say nothing; D: deleted. */
void tw_toolbox_take_diff(const char *p, tw_toolbox_box *b)
{
    const size_t mark = strlen(TW_TOOLBOX_RCCL_MARK);
    while (*p != '\0') {
        const size_t n = strcspn(p, "\n");
        char path[400];
        snprintf(path, sizeof path, "%.*s", (int)TW_MIN(n > 2 ? n - 2 : 0, sizeof path - 1), p + 2);
        if (n > 2 && p[0] == 'A' && strncmp(path, TW_TOOLBOX_RCCL_MARK, mark) == 0)
            tw_field_text(path + mark, b->rccl, sizeof b->rccl);
        if (n > 2 && (p[0] == 'A' || p[0] == 'D') && p[1] == ' ' && !is_usual(path)) {
            if (b->n_changes == 0)
                tw_field_text(path, b->change, sizeof b->change);
            b->n_changes++;
        }
        p += n + (p[n] != '\0');
    }
}

/* ---- finding ---- */

const tw_toolbox_box *tw_toolbox_find_box(const tw_toolbox_look *l, const char *name)
{
    for (size_t i = 0; i < l->n_boxes; i++)
        if (strcmp(l->boxes[i].name, name) == 0)
            return &l->boxes[i];
    return NULL;
}

const tw_toolbox_image *tw_toolbox_find_image(const tw_toolbox_look *l, const char *id)
{
    for (size_t i = 0; i < l->n_images && id[0] != '\0'; i++)
        if (strcmp(l->images[i].id, id) == 0)
            return &l->images[i];
    return NULL;
}

const tw_toolbox_image *tw_toolbox_find_digest(const tw_toolbox_look *l, const char *digest)
{
    for (size_t i = 0; i < l->n_images; i++)
        for (size_t k = 0; k < l->images[i].n_digests; k++)
            if (strcmp(l->images[i].digests[k], digest) == 0)
                return &l->images[i];
    return NULL;
}

bool tw_toolbox_image_has_name(const tw_toolbox_image *m, const char *name)
{
    for (size_t k = 0; k < m->n_names; k++)
        if (strcmp(m->names[k], name) == 0)
            return true;
    return false;
}

const tw_toolbox_image *tw_toolbox_find_named(const tw_toolbox_look *l, const char *name)
{
    for (size_t i = 0; i < l->n_images; i++)
        if (tw_toolbox_image_has_name(&l->images[i], name))
            return &l->images[i];
    return NULL;
}

const char *tw_toolbox_image_stamp(const tw_toolbox_image *m, const char *box, const char *repo)
{
    const char *best = NULL;
    for (size_t k = 0; k < m->n_names; k++) {
        const char *stamp = tw_toolbox_stamp_of(m->names[k], box, repo);
        if (stamp != NULL && (best == NULL || strcmp(stamp, best) > 0))
            best = stamp;
    }
    return best;
}
