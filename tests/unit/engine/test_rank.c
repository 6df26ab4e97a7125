/* SPDX-License-Identifier: Apache-2.0 */
/* A rank 0 that lies: rank 1 ends with an error that names the lie, whatever it is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../model/tiny.h"
#include "base/scope.h"
#include "engine/rank.h"
#include "world.h"

enum { V = 512, CTX = 100, CHUNK = 32, SEQS = 3, MAX_BYTES = 4096 };

static char dir[256];

static int make_model(void **state)
{
    (void)state;
    const struct tw_tiny t = {.vocab = V, .seed = 3};
    int rc = tw_tiny_dir(dir, sizeof(dir));
    return rc == 0 ? tw_tiny_write(dir, &t) : rc;
}

static int drop_model(void **state)
{
    (void)state;
    tw_tiny_remove(dir);
    return 0;
}

/* A plan as rank 0 would send it, then one lie; wanted: what the error must say. */
struct lie {
    const char *wanted;
    uint32_t drop_slot, admit_slot, n_prompt, feed_slot, n_feed, token;
    uint64_t step;
    bool twice;            /* two admissions of the slot */
    bool no_admit;         /* feeds a slot that nobody has */
    size_t n_cut, n_extra; /* bytes taken from the end, added to it */
    /* or a true plan and a false vote */
    bool votes;
    uint32_t vote_id, vote_n, vote_rows;
};

struct fraud {
    world_rank *r;
    const struct lie *lie;
};

static size_t encode(const struct lie *l, uint8_t *out)
{
    static uint32_t tokens[CTX];
    tw_plan p;
    if (tw_plan_init(&p, SEQS, NULL) != 0)
        return 0;
    const tw_seq_params params = {.n_prompt = l->n_prompt,
                                  .max_tokens = 4,
                                  .top_p = 1,
                                  .repetition_penalty = 1};
    p.head = (tw_plan_head){.step = l->step, .n_drop = 1, .n_admit = l->no_admit ? 0 : 1};
    p.drops[0] = l->drop_slot;
    p.admits[0] = p.admits[1] = (tw_plan_admit){.slot = l->admit_slot, .params = params};
    p.head.n_admit += l->twice;
    tokens[1] = l->token;
    p.feeds[0] = (tw_plan_feed){.slot = l->feed_slot, .n_tokens = l->n_feed, .tokens = tokens};
    p.head.n_feed = l->n_feed != 0;
    size_t n = tw_plan_encode(&p, out);
    tw_plan_done(&p);
    return n - l->n_cut + l->n_extra;
}

static int vote_falsely(tw_rank *r, const struct lie *l, tw_err *err)
{
    int rc = tw_rank_apply(r, true, err);
    if (rc == 0)
        rc = tw_forward_run(&r->fwd, &r->batch, err);
    if (rc != 0)
        return rc;
    const size_t row = tw_row_wire_bytes(&r->seqs[0]), bytes = sizeof(tw_vote_head) + row;
    const tw_vote_head head = {.step = r->step, .n_rows = l->vote_rows};
    tw_row_best best = {.n = l->vote_n, .best[0] = {.z = 1e30f, .id = l->vote_id}};
    memcpy(r->votes, &head, sizeof(head));
    memcpy(r->votes + sizeof(head), &best, row);
    return tw_coll_all_gather(r->coll, r->votes, bytes, r->votes, err);
}

/* Rank 0: loads like an honest one, tells one lie, and leaves when rank 1 has left. */
static void *fraud_main(void *arg)
{
    struct fraud *f = arg;
    static tw_rank rank;
    uint8_t bytes[MAX_BYTES] = {0}, plan_bytes[MAX_BYTES];
    tw_err err = {0};
    const tw_engine_opts o = world_rank_opts(f->r);
    int rc = world_meet(f->r);
    if (rc == 0)
        rc = tw_rank_init(&rank, f->r->model, f->r->coll, &o, &err);
    if (rc == 0) {
        const size_t n = encode(f->lie, bytes);
        rc = tw_coll_plan_send(f->r->coll, bytes, n, &err);
        memcpy(plan_bytes, bytes, n);
        if (rc == 0 && f->lie->votes)
            rc = tw_plan_decode(&rank.plan, plan_bytes, n, SEQS, CHUNK, &err);
        if (rc == 0 && f->lie->votes)
            rc = vote_falsely(&rank, f->lie, &err);
        while (rc == 0) /* ends with rank 1's end */
            rc = tw_coll_health(f->r->coll, &err);
        tw_rank_done(&rank);
    }
    world_leave(f->r);
    return NULL;
}

static void expect_refusal(const struct lie *l)
{
    world w = {.model_path = dir,
               .n_ranks = 2,
               .opts = {.ctx = CTX, .chunk = CHUNK, .max_seqs = SEQS}};
    assert_int_equal(world_prepare(&w), 0);
    struct fraud f = {.r = &w.ranks[0], .lie = l};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fraud_main, &f), 0);
    world_rank *r = &w.ranks[1];
    int rc = world_meet(r);
    const tw_engine_opts o = world_rank_opts(r);
    if (rc == 0)
        rc = tw_engine_open(r->model, r->coll, &o, &r->engine, &r->err);
    if (rc != 0)
        fail_msg("rank 1: %s", r->err.msg);
    tw_err err = {0};
    uint64_t id;
    const tw_request none = {.n_prompt = 0};
    assert_int_equal(tw_engine_submit(r->engine, &none, &id, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "rank 0"));
    rc = tw_engine_serve_rank(r->engine, &err);
    world_leave(r);
    pthread_join(thread, NULL);
    if (strstr(err.msg, l->wanted) == NULL)
        fail_msg("wanted \"%s\", got \"%s\"", l->wanted, err.msg);
    assert_int_equal(rc, l->n_extra > MAX_BYTES / 4 ? -EMSGSIZE : -EPROTO);
}

#define HONEST .n_prompt = 6, .n_feed = 6

static void test_false_plans(void **state)
{
    (void)state;
    static const struct lie lies[] = {
        {"drops slot 3 of 3", HONEST, .drop_slot = 3},
        {"admits slot 77 of 3", HONEST, .admit_slot = 77},
        {"feeds 6 tokens to slot 4294967295", HONEST, .feed_slot = UINT32_MAX},
        {"feeds 6 tokens to slot 2, which wants 0", HONEST, .feed_slot = 2},
        {"feeds 6 tokens to slot 0, which wants 0", HONEST, .no_admit = true},
        {"feeds 7 tokens to slot 0, which wants 6", .n_prompt = 6, .n_feed = 7},
        {"feeds 33 tokens", .n_prompt = 50, .n_feed = CHUNK + 1},
        {"token 512 is outside the vocabulary of 512", HONEST, .token = V},
        {"token 4294967295 is outside", HONEST, .token = UINT32_MAX},
        {"is for step 5, wanted 0", HONEST, .step = 5},
        {"admits 6 tokens into slot 1, which is taken", HONEST, .admit_slot = 1, .twice = true},
        {"admits 100 tokens", .n_prompt = CTX, .n_feed = 1},
        {"admits 0 tokens", .n_prompt = 0, .n_feed = 1},
        {"ends inside the tokens of slot 0", HONEST, .n_cut = 4},
        {"is cut", .n_prompt = 6, .n_cut = 8},
        {"has 4 too many", HONEST, .n_extra = 4},
        {"", HONEST, .n_extra = 2000},
    };
    for (unsigned i = 0; i < TW_ARRAY_LEN(lies); i++)
        expect_refusal(&lies[i]);
}

static void test_false_votes(void **state)
{
    (void)state;
    static const struct lie lies[] = {
        {"rank 0 voted for token 512, outside", HONEST, .votes = true, .vote_n = 1, .vote_id = V,
         .vote_rows = 1},
        {"rank 0 sent 4000000000 candidates, wanted 1", HONEST, .votes = true, .vote_n = 4000000000,
         .vote_rows = 1},
        {"rank 0 voted on 2 rows of step 0, wanted 1 of 0", HONEST, .votes = true, .vote_n = 1,
         .vote_rows = 2},
    };
    for (unsigned i = 0; i < TW_ARRAY_LEN(lies); i++)
        expect_refusal(&lies[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_false_plans),
        cmocka_unit_test(test_false_votes),
    };
    return cmocka_run_group_tests(tests, make_model, drop_model);
}
