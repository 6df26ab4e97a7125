/* SPDX-License-Identifier: Apache-2.0 */
/* podman and docker asked for their boxes, docker for its images, as JSON. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_container.h"
#include "host/facts_field.h"

static void take_text(const json_t *o, const char *key, char *out, size_t out_bytes)
{
    const char *text = json_string_value(json_object_get(o, key));
    tw_field_text(text != NULL ? text : "", out, out_bytes);
}

/* A list's first text, or the text itself. */
static void take_first(const json_t *o, const char *key, char *out, size_t out_bytes)
{
    const json_t *v = json_object_get(o, key);
    const char *text = json_string_value(json_is_array(v) ? json_array_get(v, 0) : v);
    tw_field_text(text != NULL ? text : "", out, out_bytes);
}

/* Both tools leave a label on what they make. */
static const char *find_maker(const json_t *labels)
{
    const char *manager = json_string_value(json_object_get(labels, "manager"));
    if (json_object_get(labels, "com.github.containers.toolbox") != NULL)
        return "toolbox";
    return manager != NULL && strcmp(manager, "distrobox") == 0 ? "distrobox" : "";
}

/* id: of the image, "" unknown. A name alone may be another of the image's, or by now another's. */
static void give_versions(const tw_facts_container *c, const char *id, tw_facts_box *b)
{
    for (size_t i = 0; i < c->n_images; i++) {
        const tw_facts_image *m = &c->images[i];
        if (id[0] != '\0' && m->id[0] != '\0' ? strcmp(m->id, id) != 0
                                              : strcmp(m->name, b->image) != 0)
            continue;
        tw_text_set(b->image_digest, sizeof b->image_digest, "%s", m->digest);
        tw_text_set(b->ray, sizeof b->ray, "%s", m->ray);
        tw_text_set(b->vllm, sizeof b->vllm, "%s", m->vllm);
        tw_text_set(b->rocm, sizeof b->rocm, "%s", m->rocm);
    }
}

void tw_container_ask_podman(tw_facts_reader *r, uint64_t deadline_ns)
{
    static const char *const argv[] = {"podman", "ps", "-a", "--format", "json", NULL};
    tw_facts_container *c = &r->f->container;
    tw_err ignored;
    TW_CLEANUP(tw_json_freep) json_t *list = NULL;
    if (!tw_reader_ask(argv, deadline_ns, r->work, sizeof r->work) ||
        tw_json_parse("podman", r->work, strlen(r->work), &list, &ignored) != 0)
        return;
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        if (c->n_boxes == TW_FACTS_IMAGES_MAX)
            break;
        tw_facts_box *b = &c->boxes[c->n_boxes++];
        take_first(v, "Names", b->name, sizeof b->name);
        take_text(v, "Image", b->image, sizeof b->image);
        take_text(v, "State", b->state, sizeof b->state);
        tw_text_set(b->made_by, sizeof b->made_by, "%s", find_maker(json_object_get(v, "Labels")));
        give_versions(c, tw_json_text_at(v, "ImageID"), b);
    }
}

/* One object a line. */
static void each_line(tw_facts_reader *r, void (*fn)(tw_facts_container *c, const json_t *v))
{
    char *rest = r->work, *line;
    while ((line = tw_text_line(&rest)) != NULL) {
        tw_err ignored;
        TW_CLEANUP(tw_json_freep) json_t *v = NULL;
        if (*line != '\0' && tw_json_parse("docker", line, strlen(line), &v, &ignored) == 0)
            fn(&r->f->container, v);
    }
}

static void take_docker_image(tw_facts_container *c, const json_t *v)
{
    char name[120], tag[40];
    if (c->n_images == TW_FACTS_IMAGES_MAX)
        return;
    tw_facts_image *m = &c->images[c->n_images++];
    take_text(v, "Repository", name, sizeof name);
    take_text(v, "Tag", tag, sizeof tag);
    tw_text_set(m->name, sizeof m->name, "%s:%s", name, tag);
    take_text(v, "Digest", m->digest, sizeof m->digest);
    take_text(v, "CreatedAt", m->created, sizeof m->created);
}

static void take_docker_box(tw_facts_container *c, const json_t *v)
{
    if (c->n_boxes == TW_FACTS_IMAGES_MAX)
        return;
    tw_facts_box *b = &c->boxes[c->n_boxes++];
    char labels[256];
    take_text(v, "Names", b->name, sizeof b->name);
    take_text(v, "Image", b->image, sizeof b->image);
    take_text(v, "State", b->state, sizeof b->state);
    take_text(v, "Labels", labels, sizeof labels);
    bool distrobox = strstr(labels, "manager=distrobox") != NULL;
    tw_text_set(b->made_by, sizeof b->made_by, "%s", distrobox ? "distrobox" : "");
    give_versions(c, "", b);
}

void tw_container_ask_docker(tw_facts_reader *r, uint64_t deadline_ns)
{
    static const char *const images[] = {"docker",   "images",     "--digests",
                                         "--format", "{{json .}}", NULL};
    static const char *const boxes[] = {"docker", "ps", "-a", "--format", "{{json .}}", NULL};
    if (tw_reader_ask(images, deadline_ns, r->work, sizeof r->work))
        each_line(r, take_docker_image);
    if (tw_reader_ask(boxes, deadline_ns, r->work, sizeof r->work))
        each_line(r, take_docker_box);
}
