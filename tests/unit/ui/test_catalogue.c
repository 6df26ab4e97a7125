/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ui/catalogue.h"

static const char text[] =
    "# models\n"
    "org/a | 8.03B | bf16=16060522496 int4=5.5G | gated | native vllm | a note\r\n"
    "\n"
    "  /data/my model | | bf16=2K | open | native |\n"
    "org/c\n";

static int parse(tw_ui_catalogue *c, const char *p, tw_err *err)
{
    return tw_ui_catalogue_parse("cat.txt", p, strlen(p), c, err);
}

static void reads(void **state)
{
    tw_ui_catalogue c = {.n = 0};
    tw_err err = {0};
    (void)state;
    assert_int_equal(parse(&c, text, &err), 0);
    assert_int_equal(c.n, 3);
    const tw_ui_model *m = tw_ui_catalogue_find(&c, "org/a");
    assert_non_null(m);
    assert_string_equal(m->params, "8.03B");
    assert_int_equal(m->n_sizes, 2);
    assert_string_equal(m->sizes[1].dtype, "int4");
    assert_int_equal(m->sizes[0].bytes, 16060522496);
    assert_int_equal(m->sizes[1].bytes, 5500000000);
    assert_true(m->gated && m->is_known);
    assert_int_equal(m->engines, TW_UI_NATIVE | TW_UI_VLLM);
    assert_string_equal(m->note, "a note");
    m = tw_ui_catalogue_find(&c, "/data/my model");
    assert_non_null(m);
    assert_true(tw_ui_model_is_folder(m->name) && !m->gated);
    assert_int_equal(tw_ui_model_bytes(m), 2000);
    m = tw_ui_catalogue_find(&c, "org/c");
    assert_non_null(m);
    assert_int_equal(m->engines, 0);
    assert_int_equal(tw_ui_model_bytes(m), 0);
    assert_null(tw_ui_catalogue_find(&c, "org/none"));
    tw_ui_catalogue_done(&c);
}

/* A user's file comes later: its lines win, and may take others out. */
static void overlays(void **state)
{
    tw_ui_catalogue c = {.n = 0};
    tw_err err = {0};
    (void)state;
    assert_int_equal(parse(&c, text, &err), 0);
    assert_int_equal(parse(&c, "org/a | 9B | | open | vllm | mine\n- org/c\n-org/never\n", &err),
                     0);
    assert_int_equal(c.n, 2);
    const tw_ui_model *m = tw_ui_catalogue_find(&c, "org/a");
    assert_string_equal(m->params, "9B");
    assert_int_equal(m->n_sizes, 0);
    assert_false(m->gated);
    assert_ptr_equal(m, &c.v[0]); /* in its old place */
    tw_ui_catalogue_done(&c);
}

static void refuses(void **state)
{
    static const struct {
        const char *line, *word;
    } bad[] = {{"name", "wanted org/name"},
               {"a/b/c | | | |", "wanted org/name"},
               {"org/a b", "wanted org/name"},
               {"org/a | | bf16 | |", "wanted DTYPE=BYTES"},
               {"org/a | | bf16=x | |", "wanted DTYPE=BYTES"},
               {"org/a | | bf16=-1 | |", "wanted DTYPE=BYTES"},
               {"org/a | | bf16=9e99 | |", "wanted DTYPE=BYTES"},
               {"org/a | | a=1 b=2 c=3 d=4 e=5 | |", "at most four"},
               {"org/a | | | closed |", "open or gated"},
               {"org/a | | | open | gpu", "native or vllm"},
               {"org/a | 8 billion and more |", "a short text"},
               {"org/a | | | | | | one more", "six at most"}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tw_ui_catalogue c = {.n = 0};
        tw_err err = {0};
        char lines[256];
        snprintf(lines, sizeof lines, "# one\norg/good\n%s\n", bad[i].line);
        assert_true(parse(&c, lines, &err) < 0);
        assert_non_null(strstr(err.msg, "cat.txt:3: "));
        if (strstr(err.msg, bad[i].word) == NULL)
            fail_msg("'%s' says: %s", bad[i].line, err.msg);
        assert_int_equal(c.n, 1); /* what came before it counts */
        tw_ui_catalogue_done(&c);
    }
}

static void has_ends(void **state)
{
    tw_ui_catalogue c = {.n = 0};
    tw_err err = {0};
    char name[32], line[2000];
    (void)state;
    for (int i = 0; i < TW_UI_MODELS_MAX; i++) {
        snprintf(name, sizeof name, "org/m%d\n", i);
        assert_int_equal(parse(&c, name, &err), 0);
    }
    assert_true(parse(&c, "org/more\n", &err) < 0);
    assert_non_null(strstr(err.msg, "more than 400"));
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    assert_true(parse(&c, line, &err) < 0);
    tw_ui_catalogue_done(&c);
}

static void notes_the_cache(void **state)
{
    static const char models[] =
        "{\"model\":\"org/a\",\"bytes\":5,\"whole\":false,\"weights\":true}\n"
        "{\"model\":\"org/new\",\"commit\":\"1\",\"bytes\":7,\"whole\":true,\"weights\":true}\n"
        "{\"model\":\"org/new\",\"commit\":\"2\",\"bytes\":1,\"whole\":false,\"weights\":true}\n"
        "{\"model\":\"org/tokenizer\",\"bytes\":1,\"whole\":true,\"weights\":false}\n"
        "no json\n{\"model\":7}\n{\"model\":\"\\u001b[2J/x\",\"weights\":true}";
    tw_ui_catalogue c = {.n = 0};
    tw_err err = {0};
    (void)state;
    assert_int_equal(parse(&c, text, &err), 0);
    tw_ui_catalogue_note_cache(&c, models, sizeof models - 1);
    assert_int_equal(c.n, 4);
    const tw_ui_model *a = tw_ui_catalogue_find(&c, "org/a");
    const tw_ui_model *new = tw_ui_catalogue_find(&c, "org/new");
    assert_true(a->is_here && !a->is_whole);
    assert_int_equal(tw_ui_model_bytes(a), 16060522496);
    assert_non_null(new);
    assert_true(new->is_whole && !new->is_known);
    assert_int_equal(tw_ui_model_bytes(new), 7);
    tw_ui_catalogue_note_cache(&c, "", 0); /* removed meanwhile */
    assert_false(tw_ui_catalogue_find(&c, "org/new")->is_here);
    tw_ui_catalogue_done(&c);
}

/* Of several nodes: here is what all of them have. */
static void notes_nodes(void **state)
{
    static const char models[] = "{\"model\":\"o/"
                                 "all\",\"commit\":\"1\",\"node\":\"a\",\"here\":true,\"bytes\":5,"
                                 "\"whole\":true,\"weights\":true}\n"
                                 "{\"model\":\"o/"
                                 "all\",\"commit\":\"1\",\"node\":\"b\",\"here\":true,\"bytes\":5,"
                                 "\"whole\":true,\"weights\":true}\n"
                                 "{\"model\":\"o/"
                                 "one\",\"commit\":\"1\",\"node\":\"a\",\"here\":true,\"bytes\":5,"
                                 "\"whole\":true,\"weights\":true}\n"
                                 "{\"model\":\"o/"
                                 "one\",\"commit\":\"1\",\"node\":\"b\",\"here\":false,\"bytes\":0,"
                                 "\"whole\":false,\"weights\":true}\n"
                                 "{\"model\":\"o/"
                                 "one\",\"commit\":\"2\",\"node\":\"a\",\"here\":false,\"bytes\":0,"
                                 "\"whole\":false,\"weights\":true}\n"
                                 "{\"model\":\"o/"
                                 "one\",\"commit\":\"2\",\"node\":\"b\",\"here\":true,\"bytes\":5,"
                                 "\"whole\":true,\"weights\":true}\n";
    tw_ui_catalogue c = {.n = 0};
    (void)state;
    tw_ui_catalogue_note_cache(&c, models, sizeof models - 1);
    assert_int_equal(c.n, 2);
    assert_true(tw_ui_catalogue_find(&c, "o/all")->is_whole);
    const tw_ui_model *one = tw_ui_catalogue_find(&c, "o/one");
    assert_true(one->is_here && !one->is_whole);
    assert_int_equal(one->here_bytes, 5);
    tw_ui_catalogue_done(&c);
}

/* What is installed is good, whole, and has the guide's two. */
static void installed(void **state)
{
    tw_ui_catalogue c = {.n = 0};
    tw_err err = {0};
    char path[1024], file[32768];
    (void)state;
    snprintf(path, sizeof path, "%s/data/catalogue.txt", getenv("TW_SOURCE_ROOT"));
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(file, 1, sizeof file, f);
    fclose(f);
    if (tw_ui_catalogue_parse("catalogue.txt", file, n, &c, &err) != 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < c.n; i++)
        assert_true(c.v[i].n_sizes > 0 && c.v[i].engines != 0 && c.v[i].params[0] != '\0');
    const tw_ui_model *llama = tw_ui_catalogue_find(&c, "meta-llama/Meta-Llama-3.1-8B-Instruct");
    const tw_ui_model *gemma = tw_ui_catalogue_find(&c, "google/gemma-2-27b-it");
    assert_true(llama != NULL && llama->gated && gemma != NULL && gemma->gated);
    tw_ui_catalogue_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads),
                                       cmocka_unit_test(overlays),
                                       cmocka_unit_test(refuses),
                                       cmocka_unit_test(has_ends),
                                       cmocka_unit_test(notes_the_cache),
                                       cmocka_unit_test(notes_nodes),
                                       cmocka_unit_test(installed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
