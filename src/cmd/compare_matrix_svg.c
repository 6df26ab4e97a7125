/* SPDX-License-Identifier: Apache-2.0 */
/* A square of cells for each path, latency beside bandwidth: the darker the cell, the slower the
 * pair. The numbers are in the cells, so that colour is no one's only way to read it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "cmd/compare.h"
#include "os/file.h"

enum { CELL = 56, ROW = 28, LEFT = 120, GAP = 60, TOP = 56, SVG_MAX = 512 * 1024 };

typedef struct chart {
    const compare_all *c;
    tw_buf b;
    int rc, y, width;
} chart;

static TW_PRINTF(2, 3) void put(chart *s, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->rc = s->rc == 0 ? tw_buf_puts(&s->b, text) : s->rc;
}

/* At most 14 characters: what fits. */
static void put_name(chart *s, const char *name)
{
    char one[2] = "";
    for (size_t i = 0; name[i] != '\0' && i < 14; i++) {
        one[0] = name[i];
        put(s, "%s",
            name[i] == '<'   ? "&lt;"
            : name[i] == '>' ? "&gt;"
            : name[i] == '&' ? "&amp;"
                             : one);
    }
}

static const compare_row *row_of(const compare_report *r, enum tw_path_kind kind)
{
    for (unsigned i = 0; i < r->n_rows; i++)
        if (r->rows[i].kind == kind && r->rows[i].status == ROW_OK)
            return &r->rows[i];
    return NULL;
}

static double value_of(const compare_row *row, bool latency)
{
    return latency ? tw_compare_best_us(row, 0) : tw_compare_gbit(row);
}

/* How much of the worst latency, or of what is missing to the best rate: 0 (good) to 1. */
static double badness(double v, double least, double most, bool latency)
{
    if (most <= least)
        return 0;
    return latency ? (v - least) / (most - least) : (most - v) / (most - least);
}

static void put_cell(chart *s, int x, int y, const char *text, double bad)
{
    put(s, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill-opacity=\"%.2f\"/>", x, y,
        CELL - 2, ROW - 2, 0.12 + 0.5 * bad);
    put(s, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x + CELL / 2 - 1, y + 18,
        text);
}

static void put_square(chart *s, enum tw_path_kind kind, bool latency, int x0)
{
    const compare_all *c = s->c;
    double least = 0, most = 0;
    for (size_t p = 0; p < c->n_pairs; p++) {
        const compare_row *row = row_of(c->pairs[p], kind);
        const double v = row != NULL ? value_of(row, latency) : 0;
        least = row != NULL && (least <= 0 || v < least) ? v : least;
        most = TW_MAX(most, v);
    }
    put(s, "<text x=\"%d\" y=\"%d\">%s</text>\n", x0, s->y, latency ? "us" : "Gbit/s");
    for (size_t k = 1; k < c->n_nodes; k++) {
        put(s, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" font-size=\"10\">",
            x0 + (int)k * CELL - CELL / 2, s->y + 16);
        put_name(s, c->nodes[k].name);
        put(s, "</text>\n");
    }
    for (size_t p = 0; p < c->n_pairs; p++) {
        const compare_row *row = row_of(c->pairs[p], kind);
        const int i = (int)(c->pairs[p]->here - c->nodes), k = (int)(c->pairs[p]->there - c->nodes);
        char text[24] = "-";
        const double v = row != NULL ? value_of(row, latency) : 0;
        if (row != NULL)
            snprintf(text, sizeof text, v < 10 ? "%.2f" : v < 1000 ? "%.1f" : "%.0f", v);
        put_cell(s, x0 + (k - 1) * CELL, s->y + 22 + i * ROW, text,
                 row != NULL ? badness(v, least, most, latency) : 0);
    }
}

static void put_kind(chart *s, enum tw_path_kind kind)
{
    const compare_all *c = s->c;
    const compare_row *any = NULL;
    for (size_t p = 0; p < c->n_pairs && any == NULL; p++)
        any = row_of(c->pairs[p], kind);
    if (any == NULL)
        return;
    const int columns = (int)c->n_nodes - 1;
    put(s, "<text x=\"20\" y=\"%d\" font-weight=\"bold\">%s</text>\n", s->y, any->name);
    s->y += 24;
    put_square(s, kind, true, LEFT);
    put_square(s, kind, false, LEFT + columns * CELL + GAP);
    for (int i = 0; i < columns; i++) {
        put(s, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 8, s->y + 22 + i * ROW + 18);
        put_name(s, c->nodes[i].name);
        put(s, "</text>\n");
    }
    s->y += 22 + columns * ROW + 36;
}

int tw_compare_matrix_svg(const compare_all *c, const char *path, tw_err *err)
{
    chart s = {.c = c, .b = TW_BUF(SVG_MAX), .y = TOP + 24};
    TW_CLEANUP(tw_buf_done) tw_buf whole = TW_BUF(SVG_MAX + 1024);
    s.width = LEFT + 2 * ((int)c->n_nodes - 1) * CELL + GAP + 20;
    for (int k = 0; k < TW_PATHS; k++)
        put_kind(&s, (enum tw_path_kind)k);
    int rc = s.rc;
    if (rc == 0)
        rc = tw_buf_printf(&whole,
                           "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                           "font-family=\"sans-serif\" font-size=\"13\">\n<style>text{fill:#24292f}"
                           "rect{fill:#0969da}@media(prefers-color-scheme:dark){text{fill:#e6edf3}"
                           "rect{fill:#58a6ff}}</style>\n<text x=\"20\" y=\"32\" font-size=\"18\">"
                           "%zu nodes</text>\n",
                           s.width, s.y, c->n_nodes);
    if (rc == 0 && s.b.len > 0)
        rc = tw_buf_append(&whole, s.b.data, s.b.len);
    if (rc == 0)
        rc = tw_buf_puts(&whole, "</svg>\n");
    tw_buf_done(&s.b);
    return rc == 0 ? tw_file_write(path, whole.data, whole.len, err)
                   : tw_err_set(err, rc, "%s: no memory for the chart", path);
}
