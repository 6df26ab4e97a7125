/* SPDX-License-Identifier: Apache-2.0 */
/* What `twinax toolbox` shows: plans, progress of all nodes on one line, containers and images. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/pull_model.h"
#include "cmd/toolbox.h"
#include "host/facts_field.h"

enum { TEXT_MAX = 1 << 20, OLD_MAX = TW_TOOLBOX_IMAGES_MAX };

/* ---- progress ---- */

static void end_bar(toolbox_show *s)
{
    if (s->drawn)
        fputs("\r\033[K", stderr);
    s->drawn = false;
}

/* "box1 1.20 GB (12%), box2 900 MB (9%), 45 MB/s" */
static void draw(toolbox_show *s)
{
    const uint64_t now = tw_clock_now_ns();
    const uint64_t every = s->tty ? 100 * TW_NS_PER_MS : 10 * TW_NS_PER_S;
    char line[400], size[16];
    uint64_t sum = 0;
    size_t n = 0;
    if (s->begun_ns == 0)
        s->begun_ns = s->told_ns = now;
    if (now - s->told_ns < every)
        return;
    s->told_ns = now;
    for (size_t i = 0; i < tw_toolbox_run_n(s->run) && n < sizeof line; i++) {
        tw_pull_size(s->done[i], size);
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%.20s %s", i > 0 ? ", " : "",
                              tw_toolbox_run_name(s->run, i), size);
        if (s->image_bytes > 0 && n < sizeof line)
            n += (size_t)snprintf(line + n, sizeof line - n, " (%u%%)",
                                  (unsigned)TW_MIN(s->done[i] * 100 / s->image_bytes, 100u));
        sum += s->done[i];
    }
    tw_pull_size((uint64_t)((double)sum / ((double)(now - s->begun_ns) * 1e-9)), size);
    fprintf(stderr, "%s%s, %s/s%s", s->tty ? "\r\033[K" : "", line, size, s->tty ? "" : "\n");
    fflush(stderr);
    s->drawn = s->tty;
}

void tw_toolbox_show_tell(void *ctx, size_t i_node, enum tw_toolbox_word what, const char *text,
                          uint64_t done, uint64_t total)
{
    toolbox_show *s = ctx;
    char plain[400];
    (void)total;
    if (s->run == NULL || s->quiet)
        return;
    if (what == TW_TOOLBOX_PULLED) {
        s->done[i_node] = TW_MAX(s->done[i_node], done);
        draw(s);
        return;
    }
    end_bar(s);
    tw_field_text(text != NULL ? text : "", plain, sizeof plain);
    if (what == TW_TOOLBOX_FAILED) /* the end says it */
        return;
    fprintf(stderr, "%s: %s%s\n", tw_toolbox_run_name(s->run, i_node),
            what == TW_TOOLBOX_LINE ? "  | " : "", plain);
}

/* ---- plans ---- */

void tw_toolbox_show_plans(const tw_toolbox_run *r)
{
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++) {
        TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX);
        tw_err ignored;
        if (tw_toolbox_plan_text(tw_toolbox_run_plan_of(r, i), &text, &ignored) == 0)
            fputs(text.data, stdout);
    }
    fflush(stdout);
}

/* ---- lists ---- */

static const char *digest_of(const tw_toolbox_image *m)
{
    return m != NULL && m->n_digests > 0 ? m->digests[0] : "";
}

static void show_boxes(const char *node, const tw_toolbox_look *l)
{
    for (size_t i = 0; i < l->n_boxes; i++) {
        const tw_toolbox_box *b = &l->boxes[i];
        const tw_toolbox_image *m = tw_toolbox_find_image(l, b->image_id);
        char made[TW_TOOLBOX_STAMP_BYTES];
        tw_toolbox_stamp_print((int64_t)b->created_s, made);
        printf("%-12s %-24s %-9s %-9s %s  %s  %.19s\n", node, b->name, b->state, b->made_by, made,
               b->image, digest_of(m));
    }
    if (l->n_boxes == 0)
        printf("%-12s none: twinax toolbox refresh makes one\n", node);
}

static void show_images(const char *node, const tw_toolbox_look *l, const char *box,
                        const char *repo)
{
    TW_CLEANUP(tw_mem_freep) tw_toolbox_old *old = tw_mem_calloc(OLD_MAX, sizeof *old);
    const size_t n = old != NULL ? tw_toolbox_list_old(l, box, repo, old, OLD_MAX) : 0;
    for (size_t i = 0; i < n; i++) {
        char size[16];
        tw_pull_size(old[i].image->bytes, size);
        printf("%-12s %-15s  %8s  %-6s  %.19s\n", node, old[i].stamp, size,
               old[i].used ? "in use" : "", digest_of(old[i].image));
    }
}

void tw_toolbox_show_list(const tw_toolbox_run *r, const char *box, const char *repo)
{
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++) {
        const tw_toolbox_look *l = tw_toolbox_run_look_of(r, i);
        if (l->podman[0] == '\0')
            printf("%-12s podman is not installed\n", tw_toolbox_run_name(r, i));
        else if (l->trouble[0] != '\0')
            printf("%-12s podman: %s\n", tw_toolbox_run_name(r, i), l->says);
        else
            show_boxes(tw_toolbox_run_name(r, i), l);
    }
    printf("\nimages of %s by the date they came into use (rollback --to DATE):\n", box);
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++)
        show_images(tw_toolbox_run_name(r, i), tw_toolbox_run_look_of(r, i), box, repo);
}

/* ---- the same as JSON ---- */

static json_t *boxes_json(const tw_toolbox_look *l)
{
    json_t *list = json_array();
    for (size_t i = 0; i < l->n_boxes; i++) {
        const tw_toolbox_box *b = &l->boxes[i];
        const tw_toolbox_image *m = tw_toolbox_find_image(l, b->image_id);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "name",
                                              b->name, "state", b->state, "with", b->made_by,
                                              "image", b->image, "image_id", b->image_id, "digest",
                                              digest_of(m), "created_s", (json_int_t)b->created_s));
    }
    return list;
}

static json_t *images_json(const tw_toolbox_look *l, const char *box, const char *repo)
{
    TW_CLEANUP(tw_mem_freep) tw_toolbox_old *old = tw_mem_calloc(OLD_MAX, sizeof *old);
    const size_t n = old != NULL ? tw_toolbox_list_old(l, box, repo, old, OLD_MAX) : 0;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:I, s:b}", "date", old[i].stamp,
                                        "image_id", old[i].image->id, "digest",
                                        digest_of(old[i].image), "bytes",
                                        (json_int_t)old[i].image->bytes, "used", old[i].used));
    return list;
}

json_t *tw_toolbox_list_json(const tw_toolbox_run *r, const char *box, const char *repo)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++) {
        const tw_toolbox_look *l = tw_toolbox_run_look_of(r, i);
        json_array_append_new(nodes, json_pack("{s:s, s:s, s:s, s:I, s:o, s:o}", "name",
                                               tw_toolbox_run_name(r, i), "podman", l->podman,
                                               "trouble", l->says, "free_bytes",
                                               (json_int_t)l->free_bytes, "containers",
                                               boxes_json(l), "images", images_json(l, box, repo)));
    }
    return json_pack("{s:i, s:s, s:o}", "schema", 1, "box", box, "nodes", nodes);
}

static json_t *probed_json(const tw_toolbox_probed *p)
{
    const tw_tri rccl = tw_toolbox_rccl_supports(p);
    json_t *v = json_pack("{s:s, s:s, s:s, s:i, s:i}", "torch", p->torch, "rocm", p->rocm, "rccl",
                          p->n_rccl > 0 ? p->rccl[0] : "", "devices", (int)p->n_open,
                          "devices_shut", (int)p->n_shut);
    if (rccl != TW_UNKNOWN)
        json_object_set_new(v, "rccl_gfx1151", json_boolean(rccl == TW_YES));
    if (p->memlock_unlimited)
        json_object_set_new(v, "memlock", json_string("unlimited"));
    else
        json_object_set_new(v, "memlock", json_integer((json_int_t)p->memlock_kib * 1024));
    return v;
}

json_t *tw_toolbox_run_json(const tw_toolbox_run *r, const char *what, const char *state,
                            const tw_err *why)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < tw_toolbox_run_n(r); i++) {
        const json_t *plan = tw_toolbox_run_plan_of(r, i);
        json_t *v = plan != NULL ? json_deep_copy(plan)
                                 : json_pack("{s:s}", "node", tw_toolbox_run_name(r, i));
        const char *error = tw_toolbox_run_error(r, i);
        if (error != NULL)
            json_object_set_new(v, "error", json_string(error));
        if (tw_toolbox_run_probed(r, i)->answered)
            json_object_set_new(v, "container", probed_json(tw_toolbox_run_probed(r, i)));
        json_array_append_new(nodes, v);
    }
    json_t *v = json_pack("{s:i, s:s, s:s, s:o}", "schema", 1, "what", what, "state", state,
                          "nodes", nodes);
    if (why != NULL)
        json_object_set_new(v, "error", json_string(why->msg));
    return v;
}
