/* SPDX-License-Identifier: Apache-2.0 */
/* What toolbox reads of podman, of a registry, of a terminal and of a container: any bytes; the
 * first says which. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "host/toolbox_probe.h"
#include "host/toolbox_progress.h"
#include "host/toolbox_say.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void read_look(char what, const char *p, size_t n)
{
    tw_toolbox_look *l = tw_mem_calloc(1, sizeof *l);
    tw_err err = {0};
    json_t *v = NULL;
    must(l != NULL);
    if (what == 'i')
        (void)!tw_toolbox_take_info(p, n, l, &err);
    if (what == 'm')
        (void)!tw_toolbox_take_images(p, n, l, &err);
    if (what == 'b')
        (void)!tw_toolbox_take_boxes(p, n, "box", l, &err);
    if (what == 'l' && tw_json_parse("fuzz", p, n, &v, &err) == 0)
        (void)!tw_toolbox_look_parse(v, l, &err);
    json_decref(v);
    must(l->n_images <= TW_TOOLBOX_IMAGES_MAX && l->n_boxes <= TW_TOOLBOX_BOXES_MAX);
    tw_toolbox_want w = {.box = "box", .stamp = "20261122-203005"};
    json_t *plan = NULL;
    if (tw_toolbox_ref_parse("docker.io/a/b", &w.ref, &err) == 0 &&
        tw_toolbox_plan("fuzz", l, &w, &plan, &err) == 0)
        json_decref(plan);
    tw_mem_free(l);
}

static void read_text(char what, const char *text, size_t n)
{
    char line[100];
    tw_err err = {0};
    if (what == 's') {
        tw_toolbox_pick_line(text, line, sizeof line);
        must(strlen(line) < sizeof line);
        must(tw_toolbox_explain("fuzz", tw_toolbox_trouble_of(text), line, &err) < 0);
    } else if (what == 'p') {
        tw_toolbox_progress *p = tw_mem_calloc(1, sizeof *p);
        must(p != NULL);
        tw_toolbox_progress_feed(p, text, n);
        must(p->n_blobs <= TW_TOOLBOX_BLOBS_MAX);
        tw_mem_free(p);
    } else if (what == 'c') {
        static tw_toolbox_probed probed;
        tw_toolbox_probe_parse(text, &probed);
        for (size_t i = 0; i < probed.n_rccl; i++)
            must(probed.rccl[i][0] == '/' && strchr(probed.rccl[i], ' ') == NULL);
    } else if (what == 'd') {
        tw_toolbox_box b = {.name = "box"};
        tw_toolbox_take_diff(text, &b);
    } else if (what == 'r') {
        tw_toolbox_ref r;
        must(tw_toolbox_ref_parse(text, &r, &err) != 0 || r.repo[0] != '-');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tw_toolbox_manifest m;
    tw_err err = {0};
    if (n == 0)
        return 0;
    char *text = tw_mem_strndup((const char *)p + 1, n - 1);
    must(text != NULL);
    if (*p == 'j')
        (void)!tw_toolbox_manifest_parse("fuzz", text, n - 1, "amd64", &m, &err);
    else if (strchr("imbl", *p) != NULL && *p != 0)
        read_look((char)*p, text, n - 1);
    else
        read_text((char)*p, text, strlen(text));
    tw_mem_free(text);
    return 0;
}
