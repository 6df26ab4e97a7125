/* SPDX-License-Identifier: Apache-2.0 */
/* The table, the details and, on a terminal, the bars. */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/scope.h"
#include "cmd/compare.h"

enum { BAR_CELLS = 40 };

typedef struct printer {
    bool tty, colour, utf8;
} printer;

static printer new_printer(void)
{
    const char *no = getenv("NO_COLOR");
    printer p = {.tty = isatty(STDOUT_FILENO)};
    p.colour = p.tty && (no == NULL || no[0] == '\0');
    (void)setlocale(LC_CTYPE, "");
    p.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    (void)setlocale(LC_CTYPE, "C");
    return p;
}

static const char *paint(const printer *p, enum tw_verdict_level l)
{
    static const char *const codes[] = {"\x1b[32m", "\x1b[33m", "\x1b[31m", ""};
    return p->colour ? codes[l] : "";
}

void tw_compare_latency_text(double us, char *out, size_t n)
{
    if (us >= 1000)
        snprintf(out, n, "%.2f ms", us / 1000);
    else
        snprintf(out, n, us < 10 ? "%.2f us" : "%.1f us", us);
}

static void device_text(const compare_row *row, char *out, size_t n)
{
    if (!row->has_path)
        snprintf(out, n, "-");
    else if (row->kind == TW_PATH_RDMA)
        snprintf(out, n, "%s", row->got.device[0] != '\0' ? row->got.device : row->path.here->rdma);
    else
        snprintf(out, n, "%s%s%.12s%s", row->path.here->name,
                 row->path.here->driver[0] != '\0' ? " (" : "", row->path.here->driver,
                 row->path.here->driver[0] != '\0' ? ")" : "");
}

static void print_row(const compare_row *row)
{
    char device[80], lat[24];
    if (row->status != ROW_OK) {
        printf("%-21s %s: %s\n", row->name, row->status == ROW_MISSING ? "not there" : "failed",
               row->reason);
        return;
    }
    device_text(row, device, sizeof device);
    tw_compare_latency_text(tw_compare_best_us(row, 0), lat, sizeof lat);
    printf("%-21s %-26s %12s %9.2f Gbit/s\n", row->name, device, lat, tw_compare_gbit(row));
}

static void print_sizes(const compare_row *row)
{
    static const char *const names[TW_PROBE_SIZES] = {"2 B",    "8 KiB",  "16 KiB",
                                                      "20 KiB", "48 KiB", "1 MiB"};
    static const char *const waits[TW_PROBE_WAITS] = {"spinning", "sleeping"};
    printf("  %-22s", "half round trip, us");
    for (int i = 0; i < TW_PROBE_SIZES; i++)
        printf(" %13s", names[i]);
    for (int w = 0; w < TW_PROBE_WAITS; w++) {
        printf("\n    %-20s", waits[w]);
        for (int i = 0; i < TW_PROBE_SIZES; i++) {
            const tw_probe_lat *l = &row->got.lat[w][i];
            char cell[32];
            snprintf(cell, sizeof cell, l->p50_us < 1000 ? "%.1f/%.1f" : "%.0f/%.0f", l->p50_us,
                     l->p99_us);
            printf(" %13s", l->n > 0 ? cell : "-");
        }
    }
    printf("   p50/p99\n");
}

static void print_proof(const compare_row *row)
{
    if (row->got.counted_bytes == 0 || row->got.moved_bytes == 0)
        return;
    double share = (double)row->got.counted_bytes / (double)row->got.moved_bytes;
    printf("  proof: %s counted %.1f MB for our %.1f MB%s\n", row->path.here->name,
           (double)row->got.counted_bytes / 1e6, (double)row->got.moved_bytes / 1e6,
           share < 0.9 ? ": THE BYTES WENT ANOTHER WAY (both addresses on one machine, or routes)"
                       : "");
}

static void print_cross(const compare_row *row)
{
    if (row->has_cross && row->kind == TW_PATH_RDMA)
        printf("  perftest: ib_write_lat %.2f us, ib_write_bw %.2f Gbit/s\n", row->cross.lat_us,
               row->cross.to_gbit);
    else if (row->has_cross)
        printf("  iperf3: %.2f Gbit/s to the peer, %.2f from it (ours: %.2f, %.2f)\n",
               row->cross.to_gbit, row->cross.from_gbit, row->got.to_gbit, row->got.from_gbit);
    if (row->cross_note[0] != '\0')
        printf("  cross-check: %s\n", row->cross_note);
}

static void print_details(const compare_report *r, const compare_row *row, const printer *p)
{
    const tw_path *q = &row->path;
    compare_decode d = tw_compare_decode(r->n_layers, r->d_model, row);
    printf("\n%s: %s %s (MTU %u) -> %s %s (MTU %u)%s\n", row->name, q->here->name, q->here_ip,
           q->here->mtu, q->there->name, q->there_ip, q->there->mtu,
           q->here->mtu != q->there->mtu ? "  MTUs differ!" : "");
    print_sizes(row);
    printf("  %-22s to the peer %.2f, from it %.2f, both at once %.2f + %.2f\n",
           "bandwidth, Gbit/s", row->got.to_gbit, row->got.from_gbit, row->got.both_to_gbit,
           row->got.both_from_gbit);
    print_proof(row);
    print_cross(row);
    printf("  decode: %u exchanges a token x %.1f us (%.1f KiB) = %.2f ms: %.0f tok/s at most by "
           "this link\n",
           d.n_exchanges, d.us, (double)d.bytes / 1024, d.ms_a_token, d.most_tok_s);
    printf("  verdict: %s%s%s: %s\n", paint(p, row->verdict.level),
           tw_verdict_name(row->verdict.level), p->colour ? "\x1b[0m" : "", row->verdict.text);
}

static void print_bar(const printer *p, const char *name, double share, const char *value)
{
    int n = (int)(share * BAR_CELLS + 0.5);
    printf("  %-21s ", name);
    for (int i = 0; i < BAR_CELLS; i++)
        fputs(i >= TW_MAX(n, 1) ? " " : p->utf8 ? "\xe2\x96\x88" : "#", stdout);
    printf(" %s\n", value);
}

static void print_bars(const compare_report *r, const printer *p)
{
    double most_gbit = 0, most_us = 0;
    char text[32];
    for (unsigned i = 0; i < r->n_rows; i++) {
        const compare_row *row = &r->rows[i];
        if (row->status != ROW_OK)
            continue;
        most_gbit = TW_MAX(most_gbit, tw_compare_gbit(row));
        most_us = TW_MAX(most_us, tw_compare_best_us(row, 0));
    }
    if (most_gbit <= 0 || most_us <= 0)
        return;
    printf("\nlatency (shorter is better)\n");
    for (unsigned i = 0; i < r->n_rows; i++) {
        double us = tw_compare_best_us(&r->rows[i], 0);
        tw_compare_latency_text(us, text, sizeof text);
        if (r->rows[i].status == ROW_OK)
            print_bar(p, r->rows[i].name, us / most_us, text);
    }
    printf("bandwidth (longer is better)\n");
    for (unsigned i = 0; i < r->n_rows; i++) {
        double gbit = tw_compare_gbit(&r->rows[i]);
        snprintf(text, sizeof text, "%.2f Gbit/s", gbit);
        if (r->rows[i].status == ROW_OK)
            print_bar(p, r->rows[i].name, gbit / most_gbit, text);
    }
}

void tw_compare_print(const compare_report *r)
{
    printer p = new_printer();
    bool any = false;
    printf("=== Network comparison: %s -> %s (%s) ===\n\n", r->here->net.host, r->there->name,
           r->via);
    printf("%-21s %-26s %12s %16s\n", "Path", "Device", "Latency", "Bandwidth");
    for (int i = 0; i < 78; i++)
        putchar('-');
    putchar('\n');
    for (unsigned i = 0; i < r->n_rows; i++)
        print_row(&r->rows[i]);
    for (unsigned i = 0; i < r->n_rows; i++) {
        if (r->rows[i].status != ROW_OK)
            continue;
        any = true;
        print_details(r, &r->rows[i], &p);
    }
    if (p.tty)
        print_bars(r, &p);
    if (any)
        printf("\nLatency: half a round trip of 2 bytes, p50, the better way to wait (ping shows a "
               "whole one).\nBandwidth: payload of the slower way, 1 Gbit = 10^9 bits.%s\n",
               r->opts->model == NULL
                   ? "\nDecode: a model of 48 layers and 4096 wide; --model takes yours."
                   : "");
}
