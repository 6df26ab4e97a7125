/* SPDX-License-Identifier: Apache-2.0 */
/* Two groups of bars, latency and bandwidth, readable on light and dark pages. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "cmd/compare.h"
#include "os/file.h"

enum { WIDTH = 720, LEFT = 180, BAR_MAX = 400, ROW_HEIGHT = 30, TOP = 56, SVG_MAX = 64 * 1024 };

static int put_text(tw_buf *b, const char *text)
{
    int rc = 0;
    for (const char *c = text; *c != '\0' && rc == 0; c++)
        rc = *c == '<'   ? tw_buf_puts(b, "&lt;")
             : *c == '>' ? tw_buf_puts(b, "&gt;")
             : *c == '&' ? tw_buf_puts(b, "&amp;")
                         : tw_buf_append(b, c, 1);
    return rc;
}

static int put_bar(tw_buf *b, int y, const char *name, double share, const char *value)
{
    int width = (int)(share * BAR_MAX + 0.5), rc;
    width = TW_MAX(width, 2);
    rc = tw_buf_printf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 10, y + 15);
    rc = rc == 0 ? put_text(b, name) : rc;
    return rc == 0 ? tw_buf_printf(b,
                                   "</text><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"20\" "
                                   "rx=\"3\"/><text x=\"%d\" y=\"%d\">%s</text>\n",
                                   LEFT, y, width, LEFT + width + 8, y + 15, value)
                   : rc;
}

static double value_of(const compare_row *row, bool latency)
{
    return latency ? tw_compare_best_us(row, 0) : tw_compare_gbit(row);
}

static int put_group(tw_buf *b, const compare_report *r, bool latency, int *y)
{
    double most = 0;
    for (unsigned i = 0; i < r->n_rows; i++)
        if (r->rows[i].status == ROW_OK)
            most = TW_MAX(most, value_of(&r->rows[i], latency));
    int rc = tw_buf_printf(b, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", LEFT, *y,
                           latency ? "latency, us (shorter is better)"
                                   : "bandwidth, Gbit/s (longer is better)");
    *y += 12;
    for (unsigned i = 0; i < r->n_rows && rc == 0; i++) {
        const compare_row *row = &r->rows[i];
        char text[32];
        double v = value_of(row, latency);
        if (row->status != ROW_OK || most <= 0)
            continue;
        snprintf(text, sizeof text, "%.2f", v);
        rc = put_bar(b, *y, row->name, v / most, text);
        *y += ROW_HEIGHT;
    }
    *y += 30;
    return rc;
}

int tw_compare_write_svg(const compare_report *r, const char *path, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf body = TW_BUF(SVG_MAX);
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(SVG_MAX);
    int y = TOP + 30;
    int rc = put_group(&body, r, true, &y);
    rc = rc == 0 ? put_group(&body, r, false, &y) : rc;
    rc = rc == 0
             ? tw_buf_printf(&b,
                             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                             "font-family=\"sans-serif\" font-size=\"14\">\n<style>text{fill:"
                             "#24292f}rect{fill:#0969da}@media(prefers-color-scheme:dark){text{"
                             "fill:#e6edf3}rect{fill:#58a6ff}}</style>\n<text x=\"20\" y=\"32\" "
                             "font-size=\"18\">",
                             WIDTH, y)
             : rc;
    rc = rc == 0 ? put_text(&b, r->here->net.host) : rc;
    rc = rc == 0 ? tw_buf_puts(&b, " to ") : rc;
    rc = rc == 0 ? put_text(&b, r->there->name) : rc;
    rc = rc == 0 ? tw_buf_puts(&b, "</text>\n") : rc;
    rc = rc == 0 ? tw_buf_append(&b, body.data, body.len) : rc;
    rc = rc == 0 ? tw_buf_puts(&b, "</svg>\n") : rc;
    if (rc != 0)
        return tw_err_set(err, rc, "%s: no memory for the chart", path);
    return tw_file_write(path, b.data, b.len, err);
}
