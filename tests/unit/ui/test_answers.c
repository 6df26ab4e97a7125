/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ui/answers.h"

static void status(void **state)
{
    static const char text[] =
        "{\"schema\":1,\"state\":\"ready\",\"model\":\"/data/demo\",\"url\":\"http://"
        "127.0.0.1:8000\","
        "\"since\":5,\"end\":\"\",\"serve\":{\"engine\":\"native\",\"health\":\"ok\",\"uptime_s\":"
        "7.5,"
        "\"requests\":{\"running\":1,\"waiting\":2,\"at_once\":4},\"ctx\":8192,"
        "\"speed\":{\"generated_tok_s\":14.5,\"generated_tok_s_since_start\":15,\"generated_"
        "tokens\":9},"
        "\"ranks\":[{\"rank\":0,\"node\":\"a\",\"pid\":12,\"rss_bytes\":1000,\"celsius\":64},"
        "{\"rank\":1,\"node\":\"b\",\"age_s\":12,\"link\":{\"transport\":\"rdma\",\"device\":"
        "\"irdma0\","
        "\"mtu\":4096,\"tx_bytes\":5}}]}}";
    tw_ui_status s;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_ui_status_parse(text, sizeof text - 1, &s, &err), 0);
    assert_string_equal(s.state, "ready");
    assert_string_equal(s.model, "demo"); /* a folder by its last part */
    assert_true(s.has_serve);
    assert_int_equal(s.waiting, 2);
    assert_int_equal(s.n_ranks, 2);
    assert_true(s.tok_s > 14.4 && s.tok_s < 14.6);
    assert_true(s.ranks[0].celsius > 63.9 && s.ranks[0].watts < 0 && s.ranks[1].rss_bytes < 0);
    assert_string_equal(s.ranks[1].link, "rdma irdma0, mtu 4096");
    assert_string_equal(s.ranks[0].link, "");
    assert_int_equal(tw_ui_status_parse("{\"state\":\"none\"}", 16, &s, &err), 0);
    assert_string_equal(s.state, "none");
    assert_false(s.has_serve);
}

/* Whatever a newer or a broken one says: no answer, or numbers that are none of harm. */
static void odd_answers(void **state)
{
    static const char *const bad[] = {"", "[]", "7", "{", "{\"state\":", "null"};
    static const char odd[] =
        "{\"state\":7,\"model\":null,\"serve\":{\"ranks\":[7,{\"rank\":-1,\"pid\":1e300},null],"
        "\"requests\":[],\"ctx\":-5,\"speed\":\"fast\"}}";
    tw_ui_status s;
    tw_ui_plan p;
    tw_ui_here h;
    tw_ui_checks c = {.v = NULL};
    tw_err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(tw_ui_status_parse(bad[i], strlen(bad[i]), &s, &err) < 0);
        assert_true(tw_ui_plan_parse(bad[i], strlen(bad[i]), &p, &err) < 0);
        assert_true(tw_ui_here_parse(bad[i], strlen(bad[i]), &h, &err) < 0);
        assert_true(tw_ui_checks_parse(bad[i], strlen(bad[i]), &c, &err) < 0);
    }
    assert_int_equal(tw_ui_status_parse(odd, sizeof odd - 1, &s, &err), 0);
    assert_int_equal(s.n_ranks, 3);
    assert_int_equal(s.ranks[1].pid, 0);
    assert_int_equal(s.ctx, 0);
    assert_int_equal(tw_ui_status_parse(NULL, 0, &s, &err) < 0, 1);
}

static void here(void **state)
{
    static const char text[] =
        "{\"host\":\"b\",\"ranks\":[{\"pid\":77,\"rss_bytes\":5,\"up_s\":1.5,"
        "\"from\":\"192.168.77.1\"}]}";
    tw_ui_here h;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_ui_here_parse(text, sizeof text - 1, &h, &err), 0);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.v[0].pid, 77);
    assert_string_equal(h.v[0].from, "192.168.77.1");
}

static void doctor(void **state)
{
    static const char text[] =
        "{\"nodes\":[{\"name\":\"a\",\"reached\":true},{\"name\":\"b\",\"reached\":false,\"why\":"
        "\"no route\"}],"
        "\"checks\":[{\"id\":\"net.address\",\"title\":\"Address\",\"node\":\"a\",\"status\":"
        "\"fail\","
        "\"found\":\"none\",\"mend\":\"twinax setup\"},{\"id\":\"x\",\"status\":\"na\"},"
        "{\"id\":\"y\",\"status\":\"of another version\"}]}";
    tw_ui_checks c = {.v = NULL};
    tw_err err = {0};
    (void)state;
    for (int i = 0; i < 2; i++) { /* asked again, into the same */
        assert_int_equal(tw_ui_checks_parse(text, sizeof text - 1, &c, &err), 0);
        assert_int_equal(c.n_nodes, 2);
        assert_true(c.nodes[0].reached && !c.nodes[1].reached);
        assert_string_equal(c.nodes[1].why, "no route");
        assert_int_equal(c.n, 3);
        assert_int_equal(c.v[0].grade, TW_UI_FAILS);
        assert_int_equal(c.v[1].grade, TW_UI_NOT_ASKED);
        assert_int_equal(c.v[2].grade, TW_UI_NOT_ASKED);
    }
    tw_ui_checks_done(&c);
}

static void plan(void **state)
{
    static const char text[] =
        "{\"tp\":2,\"max_ctx\":2048,\"limited_by\":\"memory of "
        "b\",\"splits\":[{\"tp\":1,\"allowed\":0,"
        "\"why\":\"no\"},{\"tp\":2,\"allowed\":true,\"decode_tok_s\":5.5}],\"nodes\":["
        "{\"node\":\"a\",\"needs_bytes\":10,\"available_bytes\":100,\"ranks_sharing\":1},"
        "{\"node\":\"b\",\"needs_bytes\":10,\"available_bytes\":60,\"ranks_sharing\":2},"
        "{\"node\":\"c\",\"needs_bytes\":10,\"why\":\"not asked\"}]}";
    tw_ui_plan p;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_ui_plan_parse(text, sizeof text - 1, &p, &err), 0);
    assert_true(p.allowed);
    assert_int_equal(p.max_ctx, 2048);
    assert_true(p.needs_bytes > 9 && p.available_bytes > 29 && p.available_bytes < 31);
}

static void pull(void **state)
{
    static const char nodes[] =
        "{\"event\":\"progress\",\"nodes\":[{\"node\":\"a\",\"done_bytes\":5,\"total_bytes\":10,"
        "\"net_bytes_s\":5e6,\"peer_bytes_s\":7e6},{\"node\":\"b\",\"total_bytes\":0,"
        "\"error\":\"its disk is full\"}]}";
    tw_ui_progress p = {.n = 0};
    char text[160];
    (void)state;
    assert_int_equal(
        tw_ui_pull_parse("{\"event\":\"progress\",\"done_bytes\":25,\"total_bytes\":100,"
                         "\"bytes_s\":5e6}",
                         &p, text, sizeof text),
        TW_UI_PULL_PROGRESS);
    assert_int_equal(p.n, 1);
    assert_true(p.v[0].share > 0.24 && p.v[0].share < 0.26);
    assert_string_equal(p.v[0].name, "");
    assert_string_equal(p.v[0].text, "25 B of 100 B, 5.0 MB/s");
    assert_int_equal(tw_ui_pull_parse(nodes, &p, text, sizeof text), TW_UI_PULL_PROGRESS);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.v[0].text, "5 B of 10 B, 5.0 MB/s, peers 7.0 MB/s");
    assert_string_equal(p.v[1].name, "b");
    assert_string_equal(p.v[1].text, "its disk is full");
    assert_int_equal(tw_ui_pull_parse("{\"event\":\"note\",\"node\":\"b\",\"text\":\"asks\"}", &p,
                                      text, sizeof text),
                     TW_UI_PULL_SAYS);
    assert_string_equal(text, "b: asks");
    assert_int_equal(tw_ui_pull_parse("{\"event\":\"done\",\"model\":\"o/m\",\"files\":3,"
                                      "\"total_bytes\":9,\"path\":\"/p\"}",
                                      &p, text, sizeof text),
                     TW_UI_PULL_SAYS);
    assert_string_equal(text, "o/m: whole and verified, 3 files, 9 B, 0 B of it fetched: /p");
    assert_int_equal(tw_ui_pull_parse("/a/folder", &p, text, sizeof text), TW_UI_PULL_OTHER);
    assert_int_equal(tw_ui_pull_parse("{\"x\":1}", &p, text, sizeof text), TW_UI_PULL_OTHER);
    assert_int_equal(p.n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(status), cmocka_unit_test(odd_answers),
                                       cmocka_unit_test(here),   cmocka_unit_test(doctor),
                                       cmocka_unit_test(plan),   cmocka_unit_test(pull)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
