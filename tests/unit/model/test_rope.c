/* SPDX-License-Identifier: Apache-2.0 */
/* Frequencies against those that transformers 5.23 (torch, f32) printed: data/rope_freqs.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "fmt/json.h"
#include "model/config.h"
#include "os/file.h"

static uint32_t bits_of(float x)
{
    uint32_t v;
    memcpy(&v, &x, sizeof(v));
    return v;
}

/* Steps between two positive floats. */
static uint32_t ulps(float x, uint32_t want)
{
    uint32_t v = bits_of(x);
    return v > want ? v - want : want - v;
}

/* torch's vector pow and ours may round the power itself differently, 1 ulp each; a scaled
 * frequency is a few operations further. */
static void check_case(const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    char *text = json_dumps(json_object_get(row, "config"), 0);
    assert_non_null(text);
    tw_model_config c;
    tw_gen_config gen;
    tw_err err = {.code = 0};
    if (tw_model_config_parse("golden", text, strlen(text), NULL, 0, &c, &gen, &err) != 0)
        fail_msg("%s: %s", name, err.msg);
    tw_mem_free(text);
    const json_t *want = json_object_get(row, "freq_bits");
    assert_int_equal(json_array_size(want), c.head_dim / 2);
    float freq[256], scale = 0;
    tw_rope_freqs(&c, freq, &scale);
    uint32_t worst = 0, n_off = 0;
    for (uint32_t i = 0; i < c.head_dim / 2; i++) {
        uint32_t d = ulps(freq[i], (uint32_t)json_integer_value(json_array_get(want, i)));
        worst = TW_MAX(worst, d);
        n_off += d > 0;
    }
    printf("# %s: worst %u ulp, %u of %u differ\n", name, worst, n_off, c.head_dim / 2);
    assert_true(worst <= 2);
    double want_scale = json_number_value(json_object_get(row, "scale"));
    assert_true(fabs((double)scale - want_scale) <= 1e-7 * want_scale);
}

static void agrees_with_transformers(void **state)
{
    (void)state;
    char path[1024];
    const char *root = getenv("TW_SOURCE_ROOT");
    snprintf(path, sizeof(path), "%s/tests/unit/model/data/rope_freqs.json", root ? root : ".");
    TW_CLEANUP(tw_buf_done) tw_buf buf = TW_BUF(1 << 20);
    TW_CLEANUP(tw_json_freep) json_t *all = NULL;
    tw_err err = {.code = 0};
    if (tw_file_read(path, &buf, &err) != 0 ||
        tw_json_parse(path, buf.data, buf.len, &all, &err) != 0)
        fail_msg("%s", err.msg);
    assert_true(json_array_size(all) >= 9);
    for (size_t i = 0; i < json_array_size(all); i++)
        check_case(json_array_get(all, i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
