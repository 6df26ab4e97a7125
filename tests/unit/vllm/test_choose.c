/* SPDX-License-Identifier: Apache-2.0 */
/* Which engine auto takes, on clusters that have everything, or lack one thing on one node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vllm/choose.h"

static tw_facts *facts[2];
static tw_vllm_candidate two[2];

static int make(void **state)
{
    static const char *const names[] = {"box1", "box2"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        tw_facts *f = facts[i] = calloc(1, sizeof *f);
        if (f == NULL)
            return -1;
        f->n_devs = 1;
        strcpy(f->devs[0].path, "/dev/kfd");
        f->devs[0].usable = TW_YES;
        f->n_gpus = 1;
        strcpy(f->gpus[0].gfx, "gfx1151");
        f->container.n_boxes = 2;
        strcpy(f->container.boxes[0].name, "fedora-toolbox-43");
        strcpy(f->container.boxes[1].name, "vllm");
        two[i] = (tw_vllm_candidate){.name = names[i],
                                     .facts = f,
                                     .has_vllm = true,
                                     .lacks = "a container vllm"};
    }
    return 0;
}

static int drop(void **state)
{
    (void)state;
    free(facts[0]);
    free(facts[1]);
    return 0;
}

static void expect(size_t n, bool vllm, const char *says)
{
    char why[300];
    assert_int_equal(tw_vllm_choose(two, n, why, sizeof why), vllm);
    assert_string_equal(why, says);
}

static void both_have_it(void **state)
{
    (void)state;
    expect(2, true, "every node has a ROCm GPU (gfx1151) and vLLM");
    expect(1, true, "there is a ROCm GPU (gfx1151) and vLLM");
    facts[0]->n_gpus = 0;
    expect(2, true, "every node has a ROCm GPU and vLLM");
}

static void one_lacks_the_container(void **state)
{
    (void)state;
    two[1].has_vllm = false;
    expect(2, false,
           "box2 lacks a container vllm (twinax toolbox refresh gets the container); a ROCm GPU is "
           "not used");
}

static void one_lacks_the_gpu(void **state)
{
    (void)state;
    facts[1]->n_devs = 0;
    expect(2, false, "box2 has no ROCm GPU (/dev/kfd); elsewhere a ROCm GPU is not used");
    facts[1]->n_devs = 1;
    facts[1]->devs[0].usable = TW_NO;
    expect(2, false,
           "box2: /dev/kfd cannot be opened by this user (twinax setup mends it); a ROCm GPU is "
           "not used");
}

static void nobody_has_one(void **state)
{
    (void)state;
    facts[0]->n_devs = facts[1]->n_devs = 0;
    expect(2, false, "box1 has no ROCm GPU (/dev/kfd)");
    expect(1, false, "box1 has no ROCm GPU (/dev/kfd)");
}

static void boxes_by_name(void **state)
{
    (void)state;
    assert_string_equal(tw_vllm_find_box(facts[0]), "vllm");
    assert_true(tw_vllm_has_box(facts[0], "fedora-toolbox-43"));
    assert_false(tw_vllm_has_box(facts[0], "vllm-therock"));
    strcpy(facts[0]->container.boxes[0].name, "vllm-therock-gfx1151");
    assert_string_equal(tw_vllm_find_box(facts[0]), "vllm-therock-gfx1151");
    facts[0]->container.n_boxes = 0;
    assert_null(tw_vllm_find_box(facts[0]));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(both_have_it),   CASE(one_lacks_the_container), CASE(one_lacks_the_gpu),
        CASE(nobody_has_one), CASE(boxes_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
