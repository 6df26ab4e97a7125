/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics: numbers for Prometheus, text format 0.0.4. Waits for nobody: the collectives' counters
 * are those that the engine told last. */
#include <inttypes.h>

#include "serve/server.h"

typedef struct metric {
    const char *name, *kind, *help;
    double value;
} metric;

static int put_metric(tw_buf *b, const metric *m)
{
    return tw_buf_printf(b, "# HELP twinax_%s %s\n# TYPE twinax_%s %s\ntwinax_%s %.17g\n", m->name,
                         m->help, m->name, m->kind, m->name, m->value);
}

static int put_links(tw_buf *b, const tw_engine_stats *st)
{
    int rc = tw_buf_puts(b, "# HELP twinax_link_bytes_total bytes between rank 0 and a rank\n"
                            "# TYPE twinax_link_bytes_total counter\n");
    for (unsigned r = 1; r < st->info.n_ranks && rc == 0; r++) {
        const tw_coll_peer_stats *p = &st->coll.peer[r];
        if (p->transport[0] == '\0')
            continue;
        rc = tw_buf_printf(
            b,
            "twinax_link_bytes_total{rank=\"%u\",transport=\"%s\",direction=\"out\"} %" PRIu64
            "\ntwinax_link_bytes_total{rank=\"%u\",transport=\"%s\",direction=\"in\"} %" PRIu64
            "\n",
            r, p->transport, p->tx_bytes, r, p->transport, p->rx_bytes);
    }
    return rc;
}

int tw_serve_metrics(tw_serve *s, tw_buf *b)
{
    tw_engine_stats st;
    tw_err ignored;
    tw_engine_get_stats(s->engine, 0, &st);
    const tw_engine_info *i = &st.info;
    const bool up = tw_engine_health(s->engine, &ignored) == 0;
    const metric metrics[] = {
        {"up", "gauge", "1 while the engine can serve", up},
        {"ranks", "gauge", "ranks of the group", i->n_ranks},
        {"requests_running", "gauge", "sequences in work", i->n_running},
        {"requests_waiting", "gauge", "sequences that wait for a slot", i->n_waiting},
        {"sequences_max", "gauge", "sequences at once", i->max_seqs},
        {"context_tokens", "gauge", "positions of a sequence", i->ctx},
        {"prompt_tokens_total", "counter", "prompt tokens computed", (double)i->n_prompt_tokens},
        {"generated_tokens_total", "counter", "tokens generated", (double)i->n_generated_tokens},
        {"steps_total", "counter", "steps of the engine", (double)i->n_steps},
        {"busy_seconds_total", "counter", "time inside steps", (double)st.busy_ns / 1e9},
        {"generated_tokens_per_second", "gauge", "of the last ten seconds",
         (double)st.n_generated_10s / 10},
        {"prompt_tokens_per_second", "gauge", "of the last ten seconds",
         (double)st.n_prompt_10s / 10},
        {"weight_bytes", "gauge", "weights of rank 0", (double)i->weight_bytes},
        {"kv_bytes", "gauge", "KV cache of rank 0", (double)i->kv_bytes},
        {"resident_bytes", "gauge", "memory of rank 0", (double)st.rss_bytes},
        {"exchange_wait_seconds_total", "counter", "rank 0 waiting for others",
         (double)st.coll.wait_ns / 1e9},
        {"heartbeat_late_seconds_max", "gauge", "how late rank 0's heartbeats were at most",
         (double)st.coll.beat_late_ns / 1e9},
    };
    int rc = 0;
    for (size_t k = 0; k < sizeof metrics / sizeof metrics[0] && rc == 0; k++)
        rc = put_metric(b, &metrics[k]);
    return rc == 0 && st.has_coll ? put_links(b, &st) : rc;
}
