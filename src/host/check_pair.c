/* SPDX-License-Identifier: Apache-2.0 */
/* What must be the same on all nodes. */
#include <inttypes.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

CHECK(same_twinax)
{
    const tw_facts_twinax *a = &c->f->twinax, *b = &c->g->twinax;
    if (!a->protocol.known || !b->protocol.known)
        return tw_check_na(c, "a version is unknown");
    if (a->protocol.v == b->protocol.v && a->arithmetic.v == b->arithmetic.v) {
        if (strcmp(a->version, b->version) == 0)
            tw_check_found(c, "%s on both", a->version);
        else
            tw_check_found(c, "%s and %s: they agree in protocol and bits", a->version, b->version);
        return TW_CHECK_OK;
    }
    tw_check_found(c,
                   "%s (protocol %" PRIu64 ", arithmetic %" PRIu64 ") and %s (%" PRIu64 ", %" PRIu64
                   ")",
                   a->version, a->protocol.v, a->arithmetic.v, b->version, b->protocol.v,
                   b->arithmetic.v);
    tw_check_wanted(c, "the same protocol and arithmetic: else ranks would compute other bits");
    tw_check_mend(c, "twinax up --push, or install the same version on both");
    return TW_CHECK_FAIL;
}

/* The head's own: the others look for it by its id. */
CHECK(model_here)
{
    const tw_facts_model *m = &c->f->model;
    const char *asked = c->w->config.model;
    if (m->id[0] != '\0') {
        tw_check_found(c, "%.12s, %.3g GiB", m->id, (double)m->bytes / (1 << 30));
        return TW_CHECK_OK;
    }
    if (asked[0] == '\0' || c->i != 0)
        return tw_check_na(c, "no model was asked about");
    tw_check_found(c, "%.100s is no model", asked);
    tw_check_wanted(c, "a folder with config.json and *.safetensors");
    tw_check_mend(c, "give the folder of a model in Hugging Face layout: --model, or model = under "
                     "[serve] in twinax.conf");
    return TW_CHECK_FAIL;
}

CHECK(same_model)
{
    const tw_facts_model *a = &c->f->model, *b = &c->g->model;
    if (a->path[0] == '\0' && b->path[0] == '\0' && a->id[0] == '\0' && b->id[0] == '\0')
        return tw_check_na(c, "no model was asked about");
    if (a->id[0] == '\0' || b->id[0] == '\0') {
        const size_t where = a->id[0] == '\0' ? c->i : c->j;
        tw_check_found(c, "%s has not the model", c->w->nodes[where].name);
        tw_check_wanted(c, "%.100s on both",
                        c->w->config.model[0] != '\0' ? c->w->config.model : "the same model");
        tw_check_mend(c, "rsync -aP MODEL_FOLDER/ %s:MODEL_FOLDER/ (from a node that has it)",
                      c->w->nodes[where].name);
        return TW_CHECK_FAIL;
    }
    const bool known = a->content[0] != '\0' && b->content[0] != '\0';
    if (strcmp(a->id, b->id) == 0 && known && strcmp(a->content, b->content) != 0) {
        tw_check_found(c, "the same names and sizes, other bytes: %.12s and %.12s", a->content,
                       b->content);
        tw_check_wanted(c, "the same weights on both");
        tw_check_mend(c,
                      "twinax models verify MODEL on both tells which one is damaged; twinax pull "
                      "--verify MODEL mends one from the hub");
        return TW_CHECK_FAIL;
    }
    if (strcmp(a->id, b->id) == 0) {
        tw_check_found(c, "%.12s on both%s", a->id, known ? ", and the same bytes" : "");
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%.12s and %.12s", a->id, b->id);
    tw_check_wanted(c, "the same id: config, tokenizer, tensors and sizes");
    tw_check_mend(c,
                  "rsync -aP --delete MODEL_FOLDER/ %s:MODEL_FOLDER/ (from the node that has the "
                  "right one)",
                  c->w->nodes[c->j].name);
    return TW_CHECK_FAIL;
}

static const tw_facts_box *best_box(const tw_facts *f)
{
    const tw_facts_box *best = NULL;
    for (size_t i = 0; i < f->container.n_boxes; i++)
        if (f->container.boxes[i].vllm[0] != '\0' ||
            strstr(f->container.boxes[i].image, "vllm") != NULL)
            best = best == NULL || best->vllm[0] == '\0' ? &f->container.boxes[i] : best;
    return best;
}

CHECK(same_container)
{
    const tw_facts_box *a = best_box(c->f), *b = best_box(c->g);
    if (a == NULL || b == NULL)
        return tw_check_na(c, "a container is missing");
    tw_check_found(c, "vllm %s and %s, Ray %s and %s, image %.19s and %.19s",
                   a->vllm[0] != '\0' ? a->vllm : "?", b->vllm[0] != '\0' ? b->vllm : "?",
                   a->ray[0] != '\0' ? a->ray : "?", b->ray[0] != '\0' ? b->ray : "?",
                   a->image_digest[0] != '\0' ? a->image_digest : "?",
                   b->image_digest[0] != '\0' ? b->image_digest : "?");
    const bool ray = strcmp(a->ray, b->ray) != 0 && a->ray[0] != '\0' && b->ray[0] != '\0';
    const bool vllm = strcmp(a->vllm, b->vllm) != 0 && a->vllm[0] != '\0' && b->vllm[0] != '\0';
    const bool image = strcmp(a->image_digest, b->image_digest) != 0 &&
                       a->image_digest[0] != '\0' && b->image_digest[0] != '\0';
    if (!ray && !vllm && !image)
        return TW_CHECK_OK;
    tw_check_wanted(c, "the same image on both: Ray refuses another version");
    tw_check_mend(c, "twinax toolbox refresh, on both nodes");
    return ray || vllm ? TW_CHECK_FAIL : TW_CHECK_WARN;
}

CHECK(same_kernel)
{
    if (c->f->os.kernel[0] == '\0' || c->g->os.kernel[0] == '\0')
        return tw_check_na(c, "a kernel is unknown");
    tw_check_found(c, "%s%s%s", c->f->os.kernel,
                   strcmp(c->f->os.kernel, c->g->os.kernel) != 0 ? " and " : " on both",
                   strcmp(c->f->os.kernel, c->g->os.kernel) != 0 ? c->g->os.kernel : "");
    return TW_CHECK_OK; /* told, because it is asked when two nodes differ */
}
