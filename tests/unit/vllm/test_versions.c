/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes say of their versions, and when they may not differ; where an old Ray may listen. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "vllm/door.h"
#include "vllm/versions.h"

static const char *const nodes[] = {"box1", "box2", "box3"};
static const tw_vllm_place box = {.where = TW_VLLM_IN_CONTAINER, .name = "vllm"};
static const char good[] =
    "some warning\n\ntwinax-versions {\"python\":\"3.12.4\",\"ray\":\"2.60.0\",\"vllm\":\"0.32.0\","
    "\"torch\":\"2.9.0+rocm7.0\",\"hip\":\"7.0.1\",\"cuda\":\"\",\"rccl\":\"1.0.70001\",\"nccl\":"
    "\"\",\"more\":7}\n";

static tw_vllm_versions versions(void)
{
    tw_vllm_versions v;
    tw_vllm_versions_parse(good, sizeof good - 1, &v);
    assert_true(v.is_known);
    return v;
}

static void they_are_read_and_printed(void **state)
{
    const tw_vllm_versions v = versions();
    (void)state;
    assert_string_equal(v.python, "3.12.4");
    assert_string_equal(v.torch, "2.9.0+rocm7.0");
    TW_CLEANUP(tw_json_freep) json_t *o = tw_vllm_versions_print("box1", &v);
    assert_string_equal(tw_json_text_at(o, "node"), "box1");
    assert_string_equal(tw_json_text_at(o, "rccl"), "1.0.70001");
    assert_null(json_object_get(o, "cuda"));
    assert_null(json_object_get(o, "why"));
}

/* Its last line says why there is none; another machine's words stay printable. */
static void no_answer_says_why(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {{"", "it said nothing"},
               {"hold: cannot start sh\n", "hold: cannot start sh"},
               {"one\nno /opt/venv/bin/vllm\n\n", "no /opt/venv/bin/vllm"},
               {"twinax-versions {}\n", "twinax-versions {}"},
               {"twinax-versions [1]\n", "twinax-versions [1]"},
               {"twinax-versions {\"python\":3}\n", "twinax-versions {\"python\":3}"},
               {"a\tb\x1b[31m\xc3\n", "a?b?[31m?"}};
    tw_vllm_versions v;
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        tw_vllm_versions_parse(bad[i].text, strlen(bad[i].text), &v);
        assert_false(v.is_known);
        assert_string_equal(v.why, bad[i].why);
    }
    tw_vllm_versions_parse(NULL, 0, &v);
    assert_false(v.is_known);
}

static void expect(tw_vllm_versions *v, const char *says)
{
    tw_err err = {0};
    const int rc = tw_vllm_versions_agree(nodes, v, 3, &box, &err);
    assert_int_equal(rc, says != NULL ? -ELIBBAD : 0);
    if (says != NULL)
        assert_non_null(strstr(err.msg, says));
}

static void what_breaks_is_named(void **state)
{
    const tw_vllm_versions v = versions();
    (void)state;
    tw_vllm_versions three[] = {v, v, v};
    expect(three, NULL);
    strcpy(three[1].python, "3.12.11"); /* Ray minds the minor one alone */
    strcpy(three[1].hip, "7.0.2");
    expect(three, NULL);
    strcpy(three[2].ray, "2.60.1");
    expect(three, "box3: Ray 2.60.1, wanted 2.60.0 as on box1: twinax toolbox refresh");
    three[2] = v;
    strcpy(three[1].python, "3.1.4");
    expect(three, "box2: Python 3.1.4, wanted 3.12.4");
    three[1] = v;
    strcpy(three[2].torch, "2.9.0+rocm6.4");
    expect(three, "box3: torch 2.9.0+rocm6.4");
    three[2] = v;
    strcpy(three[1].vllm, "0.31.0");
    expect(three, "box2: vLLM 0.31.0");
}

static void what_is_not_known_differs_from_nothing(void **state)
{
    const tw_vllm_versions v = versions();
    (void)state;
    tw_vllm_versions three[] = {v, {.is_known = false}, v};
    expect(three, NULL);
    three[0] = (tw_vllm_versions){.is_known = false};
    expect(three, NULL);
}

static void ray_has_a_door_since_2_52(void **state)
{
    static const struct {
        const char *ray;
        bool has;
    } rays[] = {{"2.51.1", false}, {"2.52.0", true}, {"2.9.3", false}, {"3.0.0", true},
                {"1.13.0", false}, {"", true},       {"nightly", true}};
    tw_vllm_versions v = versions();
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(rays); i++) {
        strcpy(v.ray, rays[i].ray);
        assert_int_equal(tw_vllm_versions_ray_has_door(&v), rays[i].has);
    }
}

static void a_cable_of_its_own(void **state)
{
    tw_facts *f = calloc(1, sizeof *f);
    char why[200];
    (void)state;
    assert_non_null(f);
    f->net.n_ifs = 1;
    tw_net_if *i = &f->net.ifs[0];
    strcpy(i->name, "enp1s0");
    i->kind = TW_NET_ETHERNET;
    i->n_addrs = 1;
    strcpy(i->addrs[0].ip, "192.168.100.1");
    i->addrs[0].family = 4;
    i->addrs[0].prefix = 30;
    assert_true(tw_vllm_link_is_dedicated(f, "192.168.100.1", why, sizeof why));
    i->addrs[0].prefix = 24;
    assert_false(tw_vllm_link_is_dedicated(f, "192.168.100.1", why, sizeof why));
    assert_non_null(strstr(why, "enp1s0 has a subnet /24"));
    i->kind = TW_NET_THUNDERBOLT;
    assert_true(tw_vllm_link_is_dedicated(f, "192.168.100.1", why, sizeof why));
    strcpy(f->routes.default_interface, "enp1s0");
    assert_false(tw_vllm_link_is_dedicated(f, "192.168.100.1", why, sizeof why));
    assert_non_null(strstr(why, "default route"));
    assert_false(tw_vllm_link_is_dedicated(f, "10.0.0.1", why, sizeof why));
    assert_non_null(strstr(why, "no interface has 10.0.0.1"));
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_read_and_printed),
        cmocka_unit_test(no_answer_says_why),
        cmocka_unit_test(what_breaks_is_named),
        cmocka_unit_test(what_is_not_known_differs_from_nothing),
        cmocka_unit_test(ray_has_a_door_since_2_52),
        cmocka_unit_test(a_cable_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
