/* SPDX-License-Identifier: Apache-2.0 */
/* How a download gets on, shown to people and to programs. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cmd/pull_model.h"
#include "fmt/json.h"
#include "os/signal.h"

enum { BAR = 20, JSON_MS = 500, LINE_S = 10 };

void tw_pull_show_init(tw_pull_show *s, const char *name, bool json)
{
    *s = (tw_pull_show){.name = name, .json = json, .tty = isatty(STDERR_FILENO) != 0};
}

void tw_pull_size(uint64_t bytes, char out[16])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double v = (double)bytes;
    unsigned i = 0;
    while (v >= 999.5 && i + 1 < TW_ARRAY_LEN(units)) {
        v /= 1000;
        i++;
    }
    snprintf(out, 16, i == 0 ? "%.0f %s" : "%.3g %s", v, units[i]);
}

static void print_left(double s, char out[32])
{
    if (s < 0 || s > 360000)
        snprintf(out, 32, "?");
    else if (s < 100)
        snprintf(out, 32, "%.0f s", s);
    else
        snprintf(out, 32, "%u min", (unsigned)((s + 59) / 60));
}

static void print_json(const tw_pull_show *s, const tw_hub_progress *p, double rate)
{
    TW_CLEANUP(tw_json_freep)
    json_t *v = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f}", "event", "progress", "model",
                          s->name, "done_bytes", (json_int_t)p->done_bytes, "total_bytes",
                          (json_int_t)p->total_bytes, "fetched_bytes", (json_int_t)p->fetched_bytes,
                          "files_done", (json_int_t)p->n_done, "files", (json_int_t)p->n_files,
                          "bytes_s", rate);
    if (p->waits != NULL)
        (void)!json_object_set_new(v, "waits", json_string(p->waits));
    (void)!json_dumpf(v, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    (void)!fflush(stdout); /* the end looks at stdout as a whole */
}

static void draw(tw_pull_show *s, const tw_hub_progress *p, double rate)
{
    char bar[BAR + 1], done[16], total[16], speed[16], left[32];
    const double share = p->total_bytes > 0 ? (double)p->done_bytes / (double)p->total_bytes : 1;
    memset(bar, '.', BAR);
    memset(bar, '#', (size_t)(share * BAR));
    bar[BAR] = '\0';
    tw_pull_size(p->done_bytes, done);
    tw_pull_size(p->total_bytes, total);
    tw_pull_size((uint64_t)rate, speed);
    print_left(rate > 0 ? (double)(p->total_bytes - p->done_bytes) / rate : -1, left);
    if (s->tty && p->waits != NULL)
        fprintf(stderr, "\r\033[K[%s] %s of %s, %.45s", bar, done, total, p->waits);
    else if (s->tty)
        fprintf(stderr, "\r\033[K[%s] %s of %s, %s/s, %s left", bar, done, total, speed, left);
    else
        fprintf(stderr, "%s: %s of %s, %s/s, %s left%s%s\n", s->name, done, total, speed, left,
                p->waits != NULL ? ", " : "", p->waits != NULL ? p->waits : "");
    fflush(stderr);
    s->drawn = s->tty;
}

void tw_pull_show_progress(void *show, const tw_hub_progress *p)
{
    tw_pull_show *s = show;
    const uint64_t now = tw_clock_now_ns();
    if (!s->has_begun) {
        s->has_begun = true;
        s->begun_ns = now;
        s->told_ns = s->tty || s->json ? 0 : now; /* short ones need no line */
        s->begun_bytes = p->done_bytes;
    }
    const uint64_t every = s->json  ? JSON_MS * TW_NS_PER_MS
                           : s->tty ? 100 * TW_NS_PER_MS
                                    : LINE_S * TW_NS_PER_S;
    if (s->told_ns != 0 && now - s->told_ns < every)
        return;
    s->told_ns = now;
    const double t = (double)(now - s->begun_ns) / 1e9;
    const uint64_t n = p->done_bytes > s->begun_bytes ? p->done_bytes - s->begun_bytes : 0;
    const double rate = t > 0 ? (double)n / t : 0;
    if (s->json)
        print_json(s, p, rate);
    else
        draw(s, p, rate);
}

void tw_pull_show_end(tw_pull_show *s)
{
    if (s->drawn)
        fputs("\r\033[K", stderr);
    s->drawn = false;
}

bool tw_pull_should_stop(void *show)
{
    (void)show;
    return tw_signal_asked_to_stop();
}
