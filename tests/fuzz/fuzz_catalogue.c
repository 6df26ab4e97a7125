/* SPDX-License-Identifier: Apache-2.0 */
/* A user's list of models, what a command answers, what a child prints: any bytes are read or
 * refused, and what is shown of them steers no terminal. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "ui/answers.h"
#include "ui/catalogue.h"
#include "ui/lines.h"
#include "ui/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void show(const char *text, size_t width, bool ascii)
{
    char out[TW_UI_ROW_BYTES];
    size_t skip = 0;
    must(tw_ui_clip(text, width, ascii, out) <= width);
    must(tw_utf8_valid(out, strlen(out)));
    for (const char *c = out; *c != '\0'; c++)
        must((unsigned char)*c >= 0x20 && *c != 0x7f && (!ascii || (unsigned char)*c < 0x80));
    for (const char *rest = text; *rest != '\0'; rest += skip) {
        const size_t k = tw_ui_wrap(rest, width, &skip);
        must(k + skip > 0);
        rest += k;
    }
}

static void read_catalogue(const char *p, size_t n)
{
    tw_ui_catalogue c = {.n = 0};
    tw_err err = {0};
    const int rc = tw_ui_catalogue_parse("fuzz", p, n, &c, &err);
    must(rc == 0 || err.msg[0] != '\0');
    tw_ui_catalogue_note_cache(&c, p, n);
    must(c.n <= TW_UI_MODELS_MAX);
    for (size_t i = 0; i < c.n; i++)
        must(c.v[i].n_sizes <= TW_UI_DTYPES_MAX && strchr(c.v[i].name, '\x1b') == NULL);
    tw_ui_catalogue_done(&c);
}

static void read_answers(const char *p, size_t n)
{
    tw_ui_status s;
    tw_ui_here h;
    tw_ui_plan plan;
    tw_ui_checks c = {.v = NULL};
    tw_err err;
    if (tw_ui_status_parse(p, n, &s, &err) == 0)
        must(s.n_ranks <= TW_UI_RANKS_MAX);
    if (tw_ui_here_parse(p, n, &h, &err) == 0)
        must(h.n <= TW_UI_HERE_MAX);
    (void)!tw_ui_plan_parse(p, n, &plan, &err);
    if (tw_ui_checks_parse(p, n, &c, &err) == 0)
        must(c.n <= TW_UI_CHECKS_MAX && c.n_nodes <= TW_UI_RANKS_MAX);
    tw_ui_checks_done(&c);
}

static void read_lines(const char *p, size_t n)
{
    static tw_ui_lines l;
    if (l.v == NULL)
        must(tw_ui_lines_init(&l));
    tw_ui_lines_clear(&l);
    tw_ui_lines_feed(&l, 0, p, n / 2);
    tw_ui_lines_feed(&l, 1, p + n / 2, n - n / 2);
    for (size_t i = 0; i < tw_ui_lines_n(&l); i++)
        show(tw_ui_lines_at(&l, i), 1 + i % 90, i % 2 == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    char *text = tw_mem_strndup((const char *)p, n);
    tw_ui_progress progress = {.n = 0};
    char says[64];
    must(text != NULL);
    read_catalogue((const char *)p, n);
    read_answers((const char *)p, n);
    read_lines((const char *)p, n);
    (void)tw_ui_pull_parse(text, &progress, says, sizeof says);
    must(progress.n <= TW_UI_RANKS_MAX);
    show(text, 40, false);
    tw_mem_free(text);
    return 0;
}
