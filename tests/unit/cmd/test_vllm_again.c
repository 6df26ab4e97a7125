/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/scope.h"
#include "cmd/vllm_again.h"

enum { SERVED_NS = 1000 };

static void tells(tw_vllm_again *g, const char *state)
{
    TW_CLEANUP(tw_json_freep) json_t *v = tw_vllm_again_status(g);
    assert_string_equal(tw_json_text_at(v, "state"), state);
}

static bool crash(tw_vllm_again *g, uint64_t served_ns)
{
    tw_err err = {.code = -EIO, .msg = "vllm serve has ended"};
    uint64_t wait_ns = 0;
    tw_vllm_again_end(g, true, served_ns);
    return tw_vllm_again_take(g, served_ns, &err, &wait_ns);
}

static void test_as_often_as_asked(void **state)
{
    tw_vllm_again g;
    (void)state;
    tw_vllm_again_init(&g, 2);
    assert_true(crash(&g, SERVED_NS));
    assert_true(crash(&g, 0)); /* its second life never served */
    assert_false(crash(&g, SERVED_NS));
    assert_true(tw_vllm_again_has_crashed(&g));
    tw_vllm_again_done(&g);
}

static void test_a_healthy_hour(void **state)
{
    tw_vllm_again g;
    (void)state;
    tw_vllm_again_init(&g, 1);
    assert_true(crash(&g, SERVED_NS));
    assert_true(crash(&g, TW_VLLM_HEALTHY_NS));
    assert_false(crash(&g, SERVED_NS));
    tw_vllm_again_done(&g);
}

/* Who asks while it ends is not told of a start that will not be. */
static void test_what_is_told(void **state)
{
    tw_vllm_again g;
    (void)state;
    tw_vllm_again_init(&g, 1);
    tw_vllm_again_end(&g, false, SERVED_NS);
    tells(&g, "ending");
    tw_vllm_again_end(&g, true, 0); /* it never was ready */
    tells(&g, "ending");
    assert_true(crash(&g, SERVED_NS));
    tells(&g, "restarting");
    tw_vllm_again_end(&g, true, SERVED_NS); /* none is left */
    tells(&g, "ending");
    tw_vllm_again_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_often_as_asked),
        cmocka_unit_test(test_a_healthy_hour),
        cmocka_unit_test(test_what_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
