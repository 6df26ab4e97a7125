/* SPDX-License-Identifier: Apache-2.0 */
/* containers/storage, where podman keeps images: overlay-images/images.json names each image's top
 * layer, overlay-layers/layers.json each layer's parent, overlay/ID/diff is a layer's files. Python's
 * dist-info folders there say which Ray and vLLM an image has. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "host/facts_container.h"
#include "host/facts_field.h"
#include "os/file.h"

enum { STORAGE_MAX_BYTES = 8 << 20, LAYERS_MAX = 200 };

static json_t *load(tw_facts_reader *r, const char *folder, const char *file)
{
    char path[512], full[1024];
    tw_err ignored;
    json_t *v = NULL;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(STORAGE_MAX_BYTES);
    tw_text_set(path, sizeof path, "%s/%s", folder, file);
    if (!tw_facts_path(r->root, path, full, sizeof full) || tw_file_read(full, &b, &ignored) != 0 ||
        b.data == NULL || tw_json_parse("storage", b.data, b.len, &v, &ignored) != 0)
        return NULL;
    return v;
}

static bool has_dist(const char *name, const char *package, char *out, size_t out_bytes)
{
    size_t n = strlen(package);
    const char *end = strstr(name, ".dist-info");
    if (strncmp(name, package, n) != 0 || name[n] != '-' || end == NULL)
        return false;
    tw_text_set(out, out_bytes, "%.*s", (int)(end - name - (ptrdiff_t)n - 1), name + n + 1);
    return true;
}

static void read_site(tw_facts_reader *r, const char *site, tw_facts_image *m)
{
    char full[1024];
    DIR *d = tw_facts_path(r->root, site, full, sizeof full) ? opendir(full) : NULL;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (m->ray[0] == '\0')
            (void)has_dist(e->d_name, "ray", m->ray, sizeof m->ray);
        if (m->vllm[0] == '\0')
            (void)has_dist(e->d_name, "vllm", m->vllm, sizeof m->vllm);
        if (m->rocm[0] == '\0')
            (void)has_dist(e->d_name, "rocm", m->rocm, sizeof m->rocm);
    }
    if (d != NULL)
        closedir(d);
}

static void read_layer(tw_facts_reader *r, const char *storage, const char *layer,
                       tw_facts_image *m)
{
    static const char *const prefixes[] = {"opt/venv/lib",      "opt/venv/lib64",  "usr/local/lib",
                                           "usr/local/lib64",   "usr/lib/python3", "torch-venv/lib",
                                           "opt/torch-venv/lib"};
    static const char *const kinds[] = {"site-packages", "dist-packages"};
    tw_names pythons = {0};
    for (size_t i = 0; i < TW_ARRAY_LEN(prefixes); i++) {
        char lib[512], site[768];
        tw_text_set(lib, sizeof lib, "%s/overlay/%.80s/diff/%s", storage, layer, prefixes[i]);
        tw_facts_names(r->root, lib, "python3.", &pythons);
        for (size_t k = 0; k < pythons.n; k++)
            for (size_t j = 0; j < TW_ARRAY_LEN(kinds); j++) {
                tw_text_set(site, sizeof site, "%s/%s/%s", lib, pythons.v[k], kinds[j]);
                read_site(r, site, m);
            }
    }
}

static const char *parent_of(const json_t *layers, const char *id)
{
    size_t i;
    json_t *v;
    json_array_foreach(layers, i, v)
    {
        if (strcmp(tw_json_text_at(v, "id"), id) == 0)
            return tw_json_text_at(v, "parent");
    }
    return "";
}

static void take_image(tw_facts_reader *r, const char *storage, const json_t *v,
                       const json_t *layers)
{
    tw_facts_container *c = &r->f->container;
    const char *name = json_string_value(json_array_get(json_object_get(v, "names"), 0));
    if (name == NULL || c->n_images == TW_FACTS_IMAGES_MAX)
        return; /* without a name: a rest of a build */
    tw_facts_image *m = &c->images[c->n_images++];
    tw_field_text(name, m->name, sizeof m->name);
    tw_field_text(tw_json_text_at(v, "id"), m->id, sizeof m->id);
    tw_field_text(tw_json_text_at(v, "digest"), m->digest, sizeof m->digest);
    tw_field_text(tw_json_text_at(v, "created"), m->created, sizeof m->created);
    const char *layer = tw_json_text_at(v, "layer");
    /* An id is part of a path: hex digits, nothing else. */
    for (int i = 0;
         i < LAYERS_MAX && layer[0] != '\0' && strspn(layer, "0123456789abcdef") == strlen(layer);
         i++, layer = parent_of(layers, layer))
        if (m->ray[0] == '\0' || m->vllm[0] == '\0')
            read_layer(r, storage, layer, m);
}

void tw_container_read_storage(tw_facts_reader *r)
{
    char storage[256];
    if (r->f->user.uid.v == 0)
        tw_text_set(storage, sizeof storage, "/var/lib/containers/storage");
    else if (!tw_reader_home(r, ".local/share/containers/storage", storage, sizeof storage))
        return;
    TW_CLEANUP(tw_json_freep) json_t *images = load(r, storage, "overlay-images/images.json");
    TW_CLEANUP(tw_json_freep) json_t *layers = load(r, storage, "overlay-layers/layers.json");
    size_t i;
    json_t *v;
    json_array_foreach(images, i, v)
    {
        take_image(r, storage, v, layers);
    }
}
