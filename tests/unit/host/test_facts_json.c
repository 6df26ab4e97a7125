/* SPDX-License-Identifier: Apache-2.0 */
/* Facts as JSON: every member of every struct survives, and what others wrote is refused or cut. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "fmt/agent_frame.h"
#include "host/facts.h"
#include "host/facts_table.h"

static tw_facts one, two; /* too large for a stack */
static unsigned next;     /* each member gets a value of its own */

static void fill(const tw_table *t, char *to);

static void fill_element(const tw_field *f, char *p)
{
    double d = 0.5 + next++;
    tw_net_addr a;
    if (f->type == TW_FIELD_LIST)
        fill(f->table, p);
    else if (f->type == TW_FIELD_TEXT_LIST)
        snprintf(p, f->size_bytes, "t%u", next);
    else if (f->type == TW_FIELD_REAL_LIST)
        memcpy(p, &d, sizeof d);
    else {
        char text[32];
        snprintf(text, sizeof text, "fe80::%x/%u", next % 65536, next % 128);
        assert_true(tw_net_addr_parse(text, &a));
        memcpy(p, &a, sizeof a);
    }
}

static void fill_field(const tw_field *f, char *to)
{
    char *p = to + f->at;
    uint64_t v = 1 + next++ % 200;
    double d = 0.25 + next;
    tw_count c = tw_count_of(f->type == TW_FIELD_LIMIT ? TW_BYTES_UNLIMITED : next);
    switch (f->type) {
    case TW_FIELD_TEXT: /* to the last byte */
        memset(p, 'a' + (int)(next % 26), f->size_bytes - 1);
        break;
    case TW_FIELD_UINT:
        memcpy(p, &v, f->size_bytes);
        break;
    case TW_FIELD_REAL:
        memcpy(p, &d, sizeof d);
        break;
    case TW_FIELD_BOOL:
        *p = 1;
        break;
    case TW_FIELD_TRI:
        v = 1 + next % 2;
        memcpy(p, &v, f->size_bytes);
        break;
    case TW_FIELD_COUNT:
    case TW_FIELD_LIMIT:
        memcpy(p, &c, sizeof c);
        break;
    case TW_FIELD_ENUM:
        v = 1 + next % (f->n_names - 1);
        memcpy(p, &v, f->size_bytes);
        break;
    case TW_FIELD_OBJECT:
        fill(f->table, p);
        break;
    case TW_FIELD_LIST:
    case TW_FIELD_TEXT_LIST:
    case TW_FIELD_REAL_LIST:
    case TW_FIELD_ADDRESSES:
        memcpy(to + f->n_at, &f->max, sizeof f->max);
        for (size_t i = 0; i < f->max; i++)
            fill_element(f, p + i * f->size_bytes);
        break;
    }
}

static void fill(const tw_table *t, char *to)
{
    for (size_t i = 0; i < t->n_fields; i++)
        fill_field(&t->fields[i], to);
}

static void test_round_trip(void **state)
{
    (void)state;
    tw_err err = {0};
    memset(&one, 0, sizeof one);
    fill(&tw_facts_table, (char *)&one);
    TW_CLEANUP(tw_json_freep) json_t *v = tw_facts_print(&one);
    assert_non_null(v);
    /* All of it at its largest goes through one frame of an agent. */
    assert_true(json_dumpb(v, NULL, 0, JSON_COMPACT) < TW_AGENT_FRAME_MAX / 2);
    memset(&two, 0xff, sizeof two);
    assert_int_equal(tw_facts_parse(v, &two, &err), 0);
    TW_CLEANUP(tw_json_freep) json_t *again = tw_facts_print(&two);
    assert_true(json_equal(v, again));
    assert_memory_equal(&one, &two, sizeof one);
}

/* Nothing known is an empty object, and an empty object is nothing known. */
static void test_unknown(void **state)
{
    (void)state;
    tw_err err = {0};
    memset(&one, 0, sizeof one);
    TW_CLEANUP(tw_json_freep) json_t *v = tw_facts_print(&one);
    assert_int_equal(json_object_size(v), 0);
    assert_int_equal(tw_facts_parse(v, &two, &err), 0);
    assert_memory_equal(&one, &two, sizeof one);
}

/* ---- a member that no table names would be lost without a word ---- */

static void mark(const tw_table *t, char *map)
{
    for (size_t i = 0; i < t->n_fields; i++) {
        const tw_field *f = &t->fields[i];
        bool group = f->type == TW_FIELD_OBJECT && f->size_bytes == 0;
        if (group) {
            mark(f->table, map);
            continue;
        }
        memset(map + f->at, 1, f->size_bytes * (f->max > 0 ? f->max : 1));
        if (f->max > 0)
            memset(map + f->n_at, 1, sizeof(size_t));
    }
}

static void check_cover(const tw_table *t, size_t bytes)
{
    TW_CLEANUP(tw_mem_freep) char *map = tw_mem_calloc(1, bytes);
    assert_non_null(map);
    mark(t, map);
    for (size_t i = 0; i < bytes;) {
        size_t hole = 0;
        while (i + hole < bytes && map[i + hole] == 0)
            hole++;
        size_t end = (i + hole) % 8;
        if (hole >= 8 || (hole > 0 && end != 0 && !(end == 4 && hole < 4) && hole > 1))
            fail_msg("bytes %zu..%zu of a struct of %zu have no field", i, i + hole, bytes);
        i += hole + 1;
    }
    for (size_t i = 0; i < t->n_fields; i++) {
        const tw_field *f = &t->fields[i];
        if (f->table != NULL && f->size_bytes > 0)
            check_cover(f->table, f->size_bytes);
    }
}

static void test_no_member_forgotten(void **state)
{
    (void)state;
    check_cover(&tw_facts_table, sizeof(tw_facts));
}

static void check_names(const tw_table *t)
{
    for (size_t i = 0; i < t->n_fields; i++)
        for (size_t k = i + 1; k < t->n_fields; k++)
            assert_string_not_equal(t->fields[i].name, t->fields[k].name);
    for (size_t i = 0; i < t->n_fields; i++)
        if (t->fields[i].table != NULL)
            check_names(t->fields[i].table);
}

static void test_names_are_unique(void **state)
{
    (void)state;
    check_names(&tw_facts_table);
}

/* ---- another's word ---- */

static int parse_text(const char *text, tw_err *err)
{
    json_error_t e;
    TW_CLEANUP(tw_json_freep) json_t *v = json_loads(text, JSON_DECODE_ANY, &e);
    assert_non_null(v);
    return tw_facts_parse(v, &two, err);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "1",
        "{\"os\":[]}",
        "{\"os\":{\"id\":1}}",
        "{\"mem\":{\"total_bytes\":-1}}",
        "{\"mem\":{\"total_bytes\":1.5}}",
        "{\"mem\":{\"total_bytes\":\"unlimited\"}}",
        "{\"limits\":{\"memlock_soft\":\"much\"}}",
        "{\"heat\":{\"cpu_c\":1e300}}",
        "{\"gpus\":{}}",
        "{\"gpus\":[1]}",
        "{\"nics\":[{\"module\":{\"rx_mw\":[\"a\"]}}]}",
        "{\"ssh\":{\"port\":70000}}",
        "{\"tools\":[1]}",
        "{\"net\":{\"interfaces\":[{\"addresses\":[\"x\"]}]}}",
        "{\"cpu\":{\"avx512\":1}}",
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        tw_err err = {0};
        int rc = parse_text(bad[i], &err);
        if (rc >= 0 || strncmp(err.msg, "facts: ", 7) != 0)
            fail_msg("%s: %d %s", bad[i], rc, err.msg);
    }
    tw_err err = {0};
    assert_int_equal(parse_text("{\"gpus\":[{},{\"pci\":7}]}", &err), -EINVAL);
    assert_string_equal(err.msg, "facts: key gpus[1].pci is 7, want a text");
}

static void test_taken_and_cut(void **state)
{
    (void)state;
    tw_err err = {0};
    assert_int_equal(
        parse_text("{\"new\":1,\"os\":{\"id\":null,\"later\":{}},\"mem\":{\"swap_total_bytes\":0},"
                   "\"limits\":{\"memlock_soft\":\"unlimited\"},\"boot\":{\"kind\":\"lilo\"},"
                   "\"cpu\":{\"avx512\":false,\"name\":\"a\\u001b[2Jb\\u009bc\\u202ed\"},"
                   "\"user\":{\"name\":"
                   "\"\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9"
                   "\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9"
                   "\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\"}}",
                   &err),
        0);
    assert_true(two.mem.swap_total_bytes.known && two.mem.swap_total_bytes.v == 0);
    assert_false(two.mem.swap_free_bytes.known);
    assert_true(two.limits.memlock_soft.v == TW_BYTES_UNLIMITED);
    assert_int_equal(two.boot.kind, TW_BOOT_UNKNOWN);
    assert_int_equal(two.cpu.avx512, TW_NO);
    assert_int_equal(two.cpu.avx512_vnni, TW_UNKNOWN);
    assert_string_equal(two.cpu.name, "a?[2Jb?c?d");
    assert_int_equal(strlen(two.user.name), 62); /* no half character */
    char many[4096] = "{\"tools\":[\"a\"";
    for (int i = 0; i < 200; i++)
        strcat(many, ",\"b\"");
    strcat(many, "]}");
    assert_int_equal(parse_text(many, &err), 0);
    assert_int_equal(two.n_tools, TW_FACTS_TOOLS_MAX);
    assert_true(tw_facts_has_tool(&two, "a") && !tw_facts_has_tool(&two, "c"));
}

static void test_no_memory(void **state)
{
    (void)state;
    memset(&one, 0, sizeof one);
    fill(&tw_facts_table, (char *)&one);
    unsigned n_tries = 0, n_failed = 0;
    for (uint64_t at = 1; at < 4000; at += 97) {
        tw_mem_fail_at(at);
        json_t *v = tw_facts_print(&one);
        tw_mem_fail_at(0);
        n_tries++;
        n_failed += v == NULL;
        json_decref(v);
    }
    assert_int_equal(n_failed, n_tries); /* all of them are far from the last allocation */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_unknown),
                                       cmocka_unit_test(test_no_member_forgotten),
                                       cmocka_unit_test(test_names_are_unique),
                                       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_taken_and_cut),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
