/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/scope.h"
#include "cmd/keep.h"
#include "cmd/out.h"
#include "cmd/plan.h"
#include "model/model.h"

static const tw_budget_rank *largest(const tw_budget *b)
{
    const tw_budget_rank *best = &b->ranks[0];
    for (unsigned i = 1; i < b->n_ranks; i++)
        if (b->ranks[i].total > best->total)
            best = &b->ranks[i];
    return best;
}

static void print_head(const tw_plan_report *r)
{
    const tw_model_config *c = tw_model_get_config(r->model);
    const tw_budget *b = &r->budgets[0];
    printf("%s: %s, %u layers of %u, %u heads, %u KV heads of %u, ffn %u, vocabulary %u\n",
           tw_model_name(r->model), c->family, c->n_layers, c->d_model, c->n_heads, c->n_kv_heads,
           c->head_dim, c->ffn, c->vocab);
    printf("asked for: context %u, %u sequences at once, %u prompt tokens a step\n\n", b->ctx,
           b->max_seqs, b->chunk);
}

static void print_split(const tw_plan_report *r, unsigned i)
{
    const tw_budget *b = &r->budgets[i];
    const tw_budget_speed *s = &r->speeds[i];
    char total[24], weights[24], kv[24], work[24];
    if (!b->allowed) {
        printf("%c%-3u no: %s\n", i == r->i_chosen ? '*' : ' ', b->n_ranks, b->why);
        return;
    }
    const tw_budget_rank *most = largest(b);
    tw_out_bytes((double)(most->total + TW_PLAN_BESIDE_BYTES), total);
    tw_out_bytes((double)most->weights, weights);
    tw_out_bytes((double)most->kv, kv);
    tw_out_bytes((double)(most->work + most->arrays), work);
    printf("%c%-3u %10s %10s %10s %10s %8.0f %% %8.2fx %12.1f %12.1f\n",
           i == r->i_chosen ? '*' : ' ', b->n_ranks, total, weights, kv, work, 100 * b->imbalance,
           b->kv_copies, s->decode_tok_s, s->prefill_tok_s);
}

static void print_limits(const tw_plan_report *r)
{
    const tw_budget_speed *s = &r->speeds[r->i_chosen];
    char moment[32];
    tw_keep_moment(r->peak.measured_s, moment);
    printf("\nthis machine: reads %.1f GB/s, %.0f GFLOP/s with %u threads (measured %s)\n",
           r->peak.peak.read_gb_s, r->peak.peak.fma_gflops, r->peak.peak.n_threads, moment);
    if (r->has_trial)
        printf("its layers, tried here (%u of %u): %.2f ms a token, %.1f ms a chunk of %u\n",
               r->trial.n_layers, r->budgets[0].n_layers, r->trial.decode_ms, r->trial.prefill_ms,
               r->trial.chunk);
    else
        printf("its layers were not tried here, typical speed is taken: %s\n", r->why_no_trial);
    tw_keep_moment(r->link.measured_s, moment);
    if (r->link.measured_s != 0)
        printf("link: %s, %.0f us, %.1f Gbit/s (measured %s by `twinax compare`)\n", r->link.name,
               r->link.latency_us, r->link.gbit_s, moment);
    else
        printf("link: %s, %.0f us, %.1f Gbit/s (typical of its class: `twinax compare` measures "
               "it)\n",
               r->link.name, r->link.latency_us, r->link.gbit_s);
    if (!r->budgets[r->i_chosen].allowed)
        return;
    printf("a token of decode: %.2f ms reading, %.2f ms exchanging; a chunk of prefill: %.1f ms "
           "computing, %.1f ms exchanging\n",
           s->decode_read_ms, s->decode_exchange_ms, s->prefill_compute_ms, s->prefill_exchange_ms);
    printf("decode is limited by %s\nprefill is limited by %s\n", r->decode_binds,
           r->prefill_binds);
}

/* Whose numbers are not its own, and why. */
static void print_notes(const tw_plan_report *r)
{
    for (unsigned i = 0; i < r->args->tp; i++) {
        const tw_plan_node *k = &r->nodes[i];
        char moment[32];
        tw_keep_moment(k->peak.measured_s, moment);
        if (!k->has_peak)
            printf("%s: speed is taken to be like this machine's%s%s\n", k->name,
                   k->why[0] != '\0' ? ": " : "", k->why);
        else if (k->is_memory)
            printf("%s: speed is as it was measured %s: %s\n", k->name, moment, k->why);
    }
}

static void print_nodes(const tw_plan_report *r)
{
    const tw_budget *b = &r->budgets[r->i_chosen];
    printf("\n%-16s %4s %12s %12s %8s %9s %12s\n", "NODE", "RANK", "NEEDS", "AVAILABLE", "GB/s",
           "GFLOP/s", "MAX CONTEXT");
    for (unsigned i = 0; i < b->n_ranks; i++) {
        const tw_plan_node *k = &r->nodes[i];
        char needs[24], has[24];
        tw_out_bytes((double)(b->ranks[i].total + TW_PLAN_BESIDE_BYTES), needs);
        tw_out_bytes((double)(k->available_bytes / TW_MAX(k->n_sharing, 1u)), has);
        const tw_peak *p = k->has_peak ? &k->peak.peak : &r->peak.peak;
        printf("%-16s %4u %12s %12s %8.1f %9.0f", k->name, i, needs, k->has_memory ? has : "?",
               p->read_gb_s, p->fma_gflops);
        if (k->has_memory)
            printf(" %12u\n", k->max_ctx);
        else
            printf("  %s\n", k->why);
    }
    print_notes(r);
    if (r->max_ctx > 0)
        printf("\nlargest context with %u sequences: %u, limited by %s\n", b->max_seqs, r->max_ctx,
               r->binds);
    else
        printf("\nit does not fit: not even a context of 64; limited by %s\n", r->binds);
}

void tw_plan_print(const tw_plan_report *r)
{
    print_head(r);
    printf(" %-3s %10s %10s %10s %10s %10s %9s %12s %12s\n", "TP", "A NODE", "WEIGHTS", "KV",
           "WORK", "IMBALANCE", "KV KEPT", "DECODE", "PREFILL");
    printf(" %-3s %10s %10s %10s %10s %10s %9s %12s %12s\n", "", "", "", "", "", "", "", "tok/s",
           "tok/s");
    for (unsigned i = 0; i < TW_BUDGET_SPLITS; i++)
        print_split(r, i);
    printf(
        "* asked for. A node takes weights, KV and work of its rank, and %u MiB beside: program, "
        "tokenizer, connections.\n",
        (unsigned)(TW_PLAN_BESIDE_BYTES >> 20));
    print_limits(r);
    if (r->budgets[r->i_chosen].allowed)
        print_nodes(r);
}

/* ---- JSON ---- */

static json_t *split_json(const tw_budget *b, const tw_budget_speed *s)
{
    if (!b->allowed)
        return json_pack("{s:i, s:b, s:s}", "tp", (int)b->n_ranks, "allowed", 0, "why", b->why);
    json_t *ranks = json_array();
    for (unsigned i = 0; i < b->n_ranks; i++) {
        const tw_budget_rank *k = &b->ranks[i];
        json_array_append_new(ranks,
                              json_pack("{s:i, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:i}", "rank",
                                        (int)i, "weight_bytes", (json_int_t)k->weights, "kv_bytes",
                                        (json_int_t)k->kv, "work_bytes",
                                        (json_int_t)(k->work + k->arrays), "total_bytes",
                                        (json_int_t)k->total, "heads", (int)k->shard.n_heads,
                                        "kv_heads", (int)k->shard.n_kv, "ffn", (int)k->shard.n_ffn,
                                        "vocabulary", (int)k->shard.n_vocab));
    }
    return json_pack("{s:i, s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "tp",
                     (int)b->n_ranks, "allowed", 1, "imbalance", b->imbalance, "kv_copies",
                     b->kv_copies, "decode_tok_s", s->decode_tok_s, "prefill_tok_s",
                     s->prefill_tok_s, "decode_read_ms", s->decode_read_ms, "decode_exchange_ms",
                     s->decode_exchange_ms, "prefill_compute_ms", s->prefill_compute_ms,
                     "prefill_exchange_ms", s->prefill_exchange_ms, "ranks", ranks);
}

static json_t *speed_json(const tw_plan_node *k)
{
    return json_pack("{s:f, s:f, s:i, s:I, s:b}", "read_gb_s", k->peak.peak.read_gb_s, "fma_gflops",
                     k->peak.peak.fma_gflops, "threads", (int)k->peak.peak.n_threads, "measured",
                     (json_int_t)k->peak.measured_s, "answered", (int)!k->is_memory);
}

static json_t *nodes_json(const tw_plan_report *r)
{
    json_t *list = json_array();
    const tw_budget *b = &r->budgets[r->i_chosen];
    for (unsigned i = 0; i < b->n_ranks && b->allowed; i++) {
        const tw_plan_node *k = &r->nodes[i];
        json_t *v = json_pack("{s:s, s:i, s:I}", "node", k->name, "rank", (int)i, "needs_bytes",
                              (json_int_t)(b->ranks[i].total + TW_PLAN_BESIDE_BYTES));
        if (k->has_memory)
            (void)json_object_update_new(v,
                                         json_pack("{s:I, s:i, s:i}", "available_bytes",
                                                   (json_int_t)k->available_bytes, "ranks_sharing",
                                                   (int)k->n_sharing, "max_ctx", (int)k->max_ctx));
        if (k->why[0] != '\0')
            json_object_set_new(v, "why", json_string(k->why));
        if (k->has_peak) /* else it is taken to be like this machine */
            json_object_set_new(v, "speed", speed_json(k));
        json_array_append_new(list, v);
    }
    return list;
}

static json_t *trial_json(const tw_plan_report *r)
{
    if (!r->has_trial)
        return json_pack("{s:s}", "why_not", r->why_no_trial);
    return json_pack("{s:i, s:i, s:f, s:f}", "layers", (int)r->trial.n_layers, "depth",
                     (int)r->trial.depth, "decode_ms", r->trial.decode_ms, "prefill_ms",
                     r->trial.prefill_ms);
}

json_t *tw_plan_json(const tw_plan_report *r)
{
    const tw_budget *b = &r->budgets[0];
    json_t *splits = json_array();
    for (unsigned i = 0; i < TW_BUDGET_SPLITS; i++)
        json_array_append_new(splits, split_json(&r->budgets[i], &r->speeds[i]));
    return json_pack("{s:i, s:s, s:s, s:i, s:i, s:i, s:i, s:o, s:o, s:{s:f, s:f, s:i, s:I}, "
                     "s:{s:s, s:f, s:f, s:I}, s:o, s:i, s:s, s:s, s:s, s:I, s:b}",
                     "schema", 1, "model", tw_model_name(r->model), "id", tw_model_id(r->model),
                     "ctx", (int)b->ctx, "max_seqs", (int)b->max_seqs, "chunk", (int)b->chunk, "tp",
                     (int)r->args->tp, "splits", splits, "nodes", nodes_json(r), "machine",
                     "read_gb_s", r->peak.peak.read_gb_s, "fma_gflops", r->peak.peak.fma_gflops,
                     "threads", (int)r->peak.peak.n_threads, "measured",
                     (json_int_t)r->peak.measured_s, "link", "name", r->link.name, "latency_us",
                     r->link.latency_us, "gbit_s", r->link.gbit_s, "measured",
                     (json_int_t)r->link.measured_s, "trial", trial_json(r), "max_ctx",
                     (int)r->max_ctx, "limited_by", r->binds, "decode_limited_by", r->decode_binds,
                     "prefill_limited_by", r->prefill_binds, "beside_bytes",
                     (json_int_t)TW_PLAN_BESIDE_BYTES, "assumed_nodes", (int)r->is_assumed);
}
