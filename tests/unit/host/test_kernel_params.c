/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "host/kernel_params.h"

#define GIB (UINT64_C(1) << 30)

static const char *merge(const tw_kernel_ask *ask, const char *line)
{
    static char out[TW_KERNEL_LINE_BYTES];
    tw_kernel_param v[TW_KERNEL_PARAMS_MAX];
    tw_err err = {0};
    size_t n = tw_kernel_params_judge(ask, line, v);
    assert_int_equal(tw_kernel_line_merge(line, v, n, out, sizeof out, &err), 0);
    return out;
}

static const tw_kernel_ask strix = {.installed_bytes = 128 * GIB,
                                    .unified_gpu = true,
                                    .rdma_card = true};

static void sizes_are_the_guides(void **state)
{
    (void)state;
    assert_int_equal(tw_kernel_gttsize_mib(128 * GIB), 126976);
    assert_int_equal(tw_kernel_pages_limit(128 * GIB), 32505856);
    assert_int_equal(tw_kernel_gttsize_mib(96 * GIB), 94208);
    assert_int_equal(tw_kernel_pages_limit(96 * GIB), 24117248);
    assert_int_equal(tw_kernel_gttsize_mib(64 * GIB), 61440);
    assert_int_equal(tw_kernel_pages_limit(64 * GIB), 15728640);
    for (uint64_t g = 1; g <= 1024; g++)
        assert_int_equal(tw_kernel_gttsize_mib(g * GIB) * 256, tw_kernel_pages_limit(g * GIB));
}

static void memory_is_guessed_up(void **state)
{
    (void)state;
    assert_int_equal(tw_kernel_installed(0, 0, 0), 0);
    assert_int_equal(tw_kernel_installed(96 * GIB, 62 * GIB, 0), 96 * GIB);
    assert_int_equal(tw_kernel_installed(0, 125 * GIB, GIB / 2), 128 * GIB);
    assert_int_equal(tw_kernel_installed(0, 31 * GIB, 96 * GIB), 128 * GIB);
    assert_int_equal(tw_kernel_installed(0, 62 * GIB, GIB / 2), 64 * GIB);
    assert_int_equal(tw_kernel_installed(0, 94 * GIB, GIB / 2), 96 * GIB);
    assert_int_equal(tw_kernel_installed(0, 15 * GIB, 0), 16 * GIB);
    assert_int_equal(tw_kernel_installed(0, UINT64_MAX, 1), 0);
}

static void a_fresh_line_gets_the_guides_words(void **state)
{
    (void)state;
    assert_string_equal(merge(&strix, "root=UUID=1 ro rhgb quiet"),
                        "root=UUID=1 ro rhgb quiet iommu=pt pci=realloc pcie_aspm=off "
                        "amdgpu.gttsize=126976 ttm.pages_limit=32505856");
    assert_string_equal(merge(&strix, ""), "iommu=pt pci=realloc pcie_aspm=off "
                                           "amdgpu.gttsize=126976 ttm.pages_limit=32505856");
    tw_kernel_ask ask = strix;
    ask.no_gttsize = true;
    ask.rdma_card = false;
    assert_string_equal(merge(&ask, "quiet"), "quiet iommu=pt ttm.pages_limit=32505856");
    assert_string_equal(merge(&(tw_kernel_ask){.rdma_card = true}, "quiet"),
                        "quiet iommu=pt pci=realloc pcie_aspm=off");
    assert_string_equal(merge(&(tw_kernel_ask){.installed_bytes = 128 * GIB}, "quiet"), "quiet");
}

static void what_is_there_stays(void **state)
{
    (void)state;
    tw_kernel_param v[TW_KERNEL_PARAMS_MAX];
    const char *off = "quiet amd_iommu=off pci=realloc pcie_aspm=off amdgpu.gttsize=126976 "
                      "ttm.pages_limit=32505856";
    assert_string_equal(merge(&strix, off), off);
    assert_int_equal(tw_kernel_params_judge(&strix, off, v), 5);
    assert_int_equal(v[0].state, TW_KERNEL_KEPT);
    assert_non_null(strstr(v[0].note, "amd_iommu=off"));
    assert_string_equal(merge(&strix, "  dyndbg=\"file a.c +p; x iommu=no\"  pci=noaer,realloc=on\t"
                                      "iommu=pt pcie_aspm=off amdgpu.gttsize=120000 "
                                      "ttm.pages_limit=30720000 "),
                        "  dyndbg=\"file a.c +p; x iommu=no\"  pci=noaer,realloc=on\t"
                        "iommu=pt pcie_aspm=off amdgpu.gttsize=120000 ttm.pages_limit=30720000 ");
}

static void what_is_wrong_is_mended_in_place(void **state)
{
    (void)state;
    assert_string_equal(merge(&strix, "iommu=nomerge pci=noaer pcie-aspm=force a "
                                      "amdgpu.gttsize=8192 b amdgpu.gttsize=16384 "
                                      "ttm.pages_limit=32505856 pci=nomsi"),
                        "iommu=nomerge,pt pci=nomsi,realloc pcie_aspm=off a "
                        "amdgpu.gttsize=126976 b ttm.pages_limit=32505856");
    /* Each alone would do; two limits of one thing must agree. */
    assert_non_null(strstr(merge(&strix, "amdgpu.gttsize=110000 ttm.pages_limit=30720000"),
                           "amdgpu.gttsize=126976 ttm.pages_limit=32505856"));
    /* All of the memory leaves nothing to the system. */
    assert_non_null(strstr(merge(&strix, "amdgpu.gttsize=131072 ttm.pages_limit=33554432"),
                           "amdgpu.gttsize=126976 ttm.pages_limit=32505856"));
}

static void a_line_that_cannot_be_is_refused(void **state)
{
    (void)state;
    char small[16];
    tw_kernel_param v[TW_KERNEL_PARAMS_MAX];
    tw_err err = {0};
    size_t n = tw_kernel_params_judge(&strix, "quiet", v);
    assert_int_equal(tw_kernel_line_merge("quiet", v, n, small, sizeof small, &err), -ENOSPC);
    assert_non_null(strstr(err.msg, "take words off"));
    assert_int_equal(tw_kernel_line_merge("a=\"b", v, n, small, sizeof small, &err), -EINVAL);
}

/* Whatever the line: merged once it is good, and a second time changes nothing. */
static void merging_is_idempotent(void **state)
{
    (void)state;
    static const char *const words[] = {"quiet",
                                        "iommu=pt",
                                        "iommu=soft",
                                        "iommu",
                                        "amd_iommu=off",
                                        "pci=",
                                        "pci=noaer",
                                        "pci",
                                        "pci=realloc=off",
                                        "pcie_aspm=force",
                                        "amdgpu.gttsize=1",
                                        "amdgpu.gttsize=126976",
                                        "ttm.pages_limit=x",
                                        "ttm.pages_limit=32505856",
                                        "a=\"b  c\"",
                                        "  ",
                                        "iommu=off,pt"};
    const char *env = getenv("TW_SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20261122;
    print_message("# seed %llu\n", (unsigned long long)seed);
    for (unsigned round = 0; round < 3000; round++) {
        char line[512] = "", once[TW_KERNEL_LINE_BYTES];
        for (unsigned i = 0; i < 6; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            size_t len = strlen(line);
            snprintf(line + len, sizeof line - len, "%s%s", i > 0 ? " " : "",
                     words[(seed >> 33) % TW_ARRAY_LEN(words)]);
        }
        snprintf(once, sizeof once, "%s", merge(&strix, line));
        assert_string_equal(merge(&strix, once), once);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_the_guides),
        cmocka_unit_test(memory_is_guessed_up),
        cmocka_unit_test(a_fresh_line_gets_the_guides_words),
        cmocka_unit_test(what_is_there_stays),
        cmocka_unit_test(what_is_wrong_is_mended_in_place),
        cmocka_unit_test(a_line_that_cannot_be_is_refused),
        cmocka_unit_test(merging_is_idempotent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
