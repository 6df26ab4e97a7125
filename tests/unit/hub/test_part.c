/* SPDX-License-Identifier: Apache-2.0 */
/* A part that was left goes on with what it counted; what does not fit begins anew. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "base/clock.h"
#include "hub/part.h"
#include "os/file.h"

#define ETAG "ce013625030ba8dba906f756967f9e9ca394464a"

static char folder[] = "/tmp/twinax-part-XXXXXX";

static int make(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int unmake(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void goes_on(void **state)
{
    tw_hub_part p;
    tw_err err = {0};
    char blob[128];
    (void)state;
    assert_int_equal(tw_hub_part_open(folder, ETAG, 10, 4, &p, &err), 0);
    assert_int_equal(p.n_ranges, 3);
    assert_int_equal(tw_hub_part_range_size(&p, 2), 2);
    assert_int_equal(tw_hub_part_put(&p, 1, "4567", 4, &err), 0);
    assert_int_equal(tw_hub_part_put(&p, 0, "01", 2, &err), 0);
    assert_int_equal(tw_hub_part_front(&p), 2);
    tw_hub_part_close(&p);
    assert_int_equal(tw_hub_part_open(folder, ETAG, 10, 5, &p, &err), 0); /* its own range stays */
    assert_int_equal(p.range_bytes, 4);
    assert_int_equal(tw_hub_part_done_bytes(&p), 6);
    assert_int_equal(tw_hub_part_put(&p, 0, "23", 2, &err), 0);
    assert_int_equal(tw_hub_part_front(&p), 8);
    assert_int_equal(tw_hub_part_put(&p, 2, "89", 2, &err), 0);
    assert_int_equal(tw_hub_part_front(&p), 10);
    snprintf(blob, sizeof blob, "%s/blob", folder);
    assert_int_equal(tw_hub_part_finish(&p, blob, &err), 0);
    tw_buf text = TW_BUF(100);
    assert_int_equal(tw_file_read(blob, &text, &err), 0);
    assert_string_equal(text.data, "0123456789");
    tw_buf_done(&text);
    assert_int_equal(unlink(blob), 0);
}

static void begins_anew(void **state)
{
    tw_hub_part p;
    tw_err err = {0};
    char path[128];
    (void)state;
    assert_int_equal(tw_hub_part_open(folder, ETAG, 10, 4, &p, &err), 0);
    assert_int_equal(tw_hub_part_put(&p, 0, "0123", 4, &err), 0);
    tw_hub_part_close(&p);
    assert_int_equal(tw_hub_part_open(folder, ETAG, 11, 4, &p, &err), 0); /* another size */
    assert_int_equal(tw_hub_part_done_bytes(&p), 0);
    assert_int_equal(tw_hub_part_put(&p, 0, "0123", 4, &err), 0);
    tw_hub_part_close(&p);
    snprintf(path, sizeof path, "%s/" ETAG ".twinax.ranges", folder);
    assert_int_equal(truncate(path, 30), 0); /* counts cut off */
    assert_int_equal(tw_hub_part_open(folder, ETAG, 11, 4, &p, &err), 0);
    assert_int_equal(tw_hub_part_done_bytes(&p), 0);
    tw_hub_part_close(&p);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/" ETAG ".twinax.incomplete", folder);
    assert_int_equal(unlink(path), 0);
}

/* As after a kill -9: what an older one counts is read while that one still is open. */
static void counts_are_not_old(void **state)
{
    tw_hub_part p, other;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_hub_part_open(folder, ETAG, 10, 4, &p, &err), 0);
    assert_int_equal(tw_hub_part_put(&p, 0, "0123", 4, &err), 0); /* full: at once */
    assert_int_equal(tw_hub_part_open(folder, ETAG, 10, 4, &other, &err), 0);
    assert_int_equal(tw_hub_part_done_bytes(&other), 4);
    tw_hub_part_close(&other);
    const uint64_t t0 = tw_clock_now_ns();
    assert_int_equal(tw_hub_part_put(&p, 1, "4", 1, &err), 0);
    while (tw_clock_now_ns() - t0 <= TW_HUB_PART_SAVE_MS * TW_NS_PER_MS)
        ;
    assert_int_equal(tw_hub_part_put(&p, 1, "5", 1, &err), 0);
    assert_int_equal(tw_hub_part_open(folder, ETAG, 10, 4, &other, &err), 0);
    assert_int_equal(tw_hub_part_done_bytes(&other), 6);
    tw_hub_part_close(&other);
    assert_int_equal(tw_hub_part_restart(&p, 4, &err), 0);
    assert_int_equal(unlink(p.path), 0);
    assert_int_equal(unlink(p.ranges_path), 0);
    tw_hub_part_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(goes_on), cmocka_unit_test(begins_anew),
                                       cmocka_unit_test(counts_are_not_old)};
    return cmocka_run_group_tests_name("hub_part", tests, make, unmake);
}
