/* SPDX-License-Identifier: Apache-2.0 */
/* What toolbox reads of others: names of images, manifests, podman's JSON, complaints and bars, a
 * container's own answer. */
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
#include "base/str.h"
#include "host/toolbox_probe.h"
#include "host/toolbox_progress.h"
#include "host/toolbox_say.h"

#define HEX "1111111111111111111111111111111111111111111111111111111111111111"
#define ID  "2222222222222222222222222222222222222222222222222222222222222222"

/* ---- names ---- */

static void names_of_images(void **state)
{
    (void)state;
    static const struct {
        const char *text, *repo, *tag, *digest;
    } good[] = {
        {"docker.io/kyuz0/x:latest", "docker.io/kyuz0/x", "latest", ""},
        {"kyuz0/x", "docker.io/kyuz0/x", "latest", ""},
        {"alpine", "docker.io/library/alpine", "latest", ""},
        {"127.0.0.1:5000/x", "127.0.0.1:5000/x", "latest", ""},
        {"localhost/x:1.2_B", "localhost/x", "1.2_B", ""},
        {"quay.io/a/b/c@sha256:" HEX, "quay.io/a/b/c", "", "sha256:" HEX},
        {"quay.io/a:dev@sha256:" HEX, "quay.io/a", "dev", "sha256:" HEX},
    };
    static const char *const bad[] = {"",    "Docker.io/x", "-x",   "x:",    "x:-a", "/x", "x/",
                                      "a b", "x@sha256:12", "x;ls", "x:a b", "x:$a", "x@y"};
    tw_toolbox_ref r;
    tw_err err;
    for (size_t i = 0; i < TW_ARRAY_LEN(good); i++) {
        assert_int_equal(tw_toolbox_ref_parse(good[i].text, &r, &err), 0);
        assert_string_equal(r.repo, good[i].repo);
        assert_string_equal(r.tag, good[i].tag);
        assert_string_equal(r.digest, good[i].digest);
    }
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++)
        if (tw_toolbox_ref_parse(bad[i], &r, &err) != -EINVAL)
            fail_msg("'%s' is a name", bad[i]);
    char longest[400];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(tw_toolbox_ref_parse(longest, &r, &err), -EINVAL);
}

static void names_of_containers(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a..b", "-a", "a-", "A", "a b", "a/b", "a--b", "a_.b"};
    tw_err err;
    assert_int_equal(tw_toolbox_name_check("vllm-therock-gfx1151_2.x", &err), 0);
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++)
        assert_int_equal(tw_toolbox_name_check(bad[i], &err), -EINVAL);
}

static void stamps(void **state)
{
    (void)state;
    char out[TW_TOOLBOX_STAMP_BYTES];
    tw_toolbox_stamp_print(1795379405, out);
    assert_string_equal(out, "20261122-203005");
    assert_true(tw_toolbox_stamp_is_good(out));
    assert_false(tw_toolbox_stamp_is_good("20261122-20300"));
    assert_false(tw_toolbox_stamp_is_good("latest"));
    assert_string_equal(tw_toolbox_stamp_of("localhost/twinax/a:20261122-203005", "a",
                                            "docker.io/x"),
                        out);
    assert_string_equal(tw_toolbox_stamp_of("docker.io/x:20261122-203005", "a", "docker.io/x"),
                        out);
    assert_null(tw_toolbox_stamp_of("localhost/twinax/ab:20261122-203005", "a", "docker.io/x"));
    assert_null(tw_toolbox_stamp_of("docker.io/x:latest", "a", "docker.io/x"));
}

/* ---- manifests ---- */

static void manifests(void **state)
{
    (void)state;
    static const char list[] =
        "{\"manifests\":[{\"digest\":\"sha256:" ID "\",\"platform\":{\"architecture\":\"arm64\","
        "\"os\":\"linux\"}},{\"digest\":\"sha256:" HEX
        "\",\"platform\":{\"architecture\":\"amd64\","
        "\"os\":\"linux\"}},{\"digest\":\"sha256:" ID
        "\",\"platform\":{\"architecture\":\"unknown\","
        "\"os\":\"unknown\"}}]}";
    static const char one[] = "{\"layers\":[{\"size\":1000},{\"size\":23}]}";
    tw_toolbox_manifest m;
    tw_err err;
    assert_int_equal(tw_toolbox_manifest_parse("x", list, sizeof list - 1, "amd64", &m, &err), 0);
    assert_true(m.is_list);
    assert_string_equal(m.digest, "sha256:" HEX);
    assert_string_equal(m.has, "arm64, amd64");
    assert_int_equal(tw_toolbox_manifest_parse("x", list, sizeof list - 1, "riscv64", &m, &err), 0);
    assert_string_equal(m.digest, "");
    assert_int_equal(tw_toolbox_manifest_parse("x", one, sizeof one - 1, "amd64", &m, &err), 0);
    assert_false(m.is_list);
    assert_int_equal(m.bytes, 1023);
    static const char *const bad[] = {"", "{}", "[]", "{\"layers\":[{\"size\":-1}]}",
                                      "{\"layers\":[{\"size\":9223372036854775807}]}"};
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++)
        assert_true(tw_toolbox_manifest_parse("x", bad[i], strlen(bad[i]), "amd64", &m, &err) < 0);
    assert_string_equal(tw_toolbox_arch_of("x86_64"), "amd64");
    assert_string_equal(tw_toolbox_arch_of("aarch64"), "arm64");
}

/* ---- podman ---- */

static void podmans_json(void **state)
{
    (void)state;
    static const char info[] = "{\"host\":{\"ociRuntime\":{\"name\":\"crun\"}},\"store\":{"
                               "\"graphRoot\":\"/g\"},\"version\":{\"Version\":\"4.3.1\"}}";
    static const char images[] =
        "[{\"Id\":\"" ID "\",\"Names\":[\"a:1\",\"b@sha256:" HEX
        "\"],\"RepoDigests\":[\"a@sha256:" HEX "\",\"b@sha256:" HEX
        "\"],\"Size\":5,\"Created\":7},{\"Id\":\"" ID "\"},{\"Id\":\"no hex\"}]";
    static const char boxes[] =
        "[{\"Names\":[\"t\"],\"ImageID\":\"" ID "\",\"Image\":\"a:1\",\"State\":\"running\","
        "\"Created\":9,\"Labels\":{\"com.github.containers.toolbox\":\"true\"}},"
        "{\"Names\":[\"d\"],\"Labels\":{\"manager\":\"distrobox\",\"twinax.flags\":\"f\"}},"
        "{\"Names\":[\"other\"],\"Labels\":null},{\"Names\":[\"mine\"],\"Labels\":null},{}]";
    TW_CLEANUP(tw_mem_freep) tw_toolbox_look *l = tw_mem_calloc(1, sizeof *l);
    tw_err err;
    assert_int_equal(tw_toolbox_take_info(info, sizeof info - 1, l, &err), 0);
    assert_string_equal(l->runtime, "crun");
    assert_string_equal(l->graph_root, "/g");
    assert_int_equal(tw_toolbox_take_images(images, sizeof images - 1, l, &err), 0);
    assert_int_equal(l->n_images, 1);
    assert_int_equal(l->images[0].n_names, 1);
    assert_int_equal(l->images[0].n_digests, 1);
    assert_ptr_equal(tw_toolbox_find_digest(l, "sha256:" HEX), &l->images[0]);
    assert_int_equal(tw_toolbox_take_boxes(boxes, sizeof boxes - 1, "mine", l, &err), 0);
    assert_int_equal(l->n_boxes, 3);
    assert_string_equal(l->boxes[0].made_by, "toolbox");
    assert_string_equal(l->boxes[1].flags, "f");
    assert_string_equal(l->boxes[2].name, "mine");
    assert_true(tw_toolbox_take_boxes("[", 1, NULL, l, &err) < 0);
}

/* What is cut from a long line is still UTF-8: it goes into JSON. */
static void long_complaints(void **state)
{
    (void)state;
    for (unsigned odd = 0; odd < 2; odd++) {
        char says[1200], line[300];
        size_t n = (size_t)snprintf(says, sizeof says, "Error: ");
        for (; n < 1000; n += 2)
            memcpy(says + n, "\xc3\xa9", 2);
        snprintf(says + n, sizeof says - n, "%s", odd ? "!" : "");
        tw_toolbox_pick_line(says, line, sizeof line);
        assert_true(strlen(line) > 290);
        assert_true(tw_utf8_valid(line, strlen(line)));
    }
}

/* Whoever has many: the one that is asked for is seen all the same, else it would not be put aside. */
static void many_containers(void **state)
{
    (void)state;
    TW_CLEANUP(tw_mem_freep) tw_toolbox_look *l = tw_mem_calloc(1, sizeof *l);
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(64 * 1024);
    tw_err err;
    assert_int_equal(tw_buf_puts(&b, "["), 0);
    for (int i = 0; i < TW_TOOLBOX_BOXES_MAX + 3; i++)
        assert_int_equal(
            tw_buf_printf(&b, "{\"Names\":[\"d%d\"],\"Labels\":{\"manager\":\"distrobox\"}},", i),
            0);
    assert_int_equal(tw_buf_puts(&b, "{\"Names\":[\"mine\"],\"Labels\":null}]"), 0);
    assert_int_equal(tw_toolbox_take_boxes(b.data, b.len, "mine", l, &err), 0);
    assert_int_equal(l->n_boxes, TW_TOOLBOX_BOXES_MAX);
    assert_non_null(tw_toolbox_find_box(l, "mine"));
    assert_non_null(tw_toolbox_find_box(l, "d0"));
}

static void a_containers_changes(void **state)
{
    (void)state;
    tw_toolbox_box b = {.name = "x"};
    tw_toolbox_take_diff("C /usr\nC /usr/bin\nA /usr/bin/toolbox\nA /etc/passwd-\nA /run/host\n",
                         &b);
    assert_int_equal(b.n_changes, 0);
    tw_toolbox_take_diff("A /etc/twinax-rccl-" HEX "\nA /usr/bin/vim\nD /opt/x\nA \nA", &b);
    assert_int_equal(b.n_changes, 2);
    assert_string_equal(b.change, "/usr/bin/vim");
    assert_string_equal(b.rccl, HEX);
}

/* Each as podman 4.3, skopeo 1.9 or toolbox 0.0.99 wrote it. */
static void complaints(void **state)
{
    (void)state;
    static const struct {
        const char *says;
        enum tw_toolbox_trouble is;
    } v[] = {
        {"Error: initializing source docker://127.0.0.1:1/a:b: pinging container registry "
         "127.0.0.1:1: Get \"https://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection "
         "refused",
         TW_TOOLBOX_UNREACHABLE},
        {"dial tcp: lookup nohost.invalid on 10.0.0.1:53: no such host", TW_TOOLBOX_UNREACHABLE},
        {"http: server gave HTTP response to HTTPS client", TW_TOOLBOX_UNTRUSTED},
        {"reading manifest nothere in r/a: manifest unknown: manifest unknown", TW_TOOLBOX_UNKNOWN},
        {"reading manifest x in docker.io/a: errors:\ndenied: requested access to the resource is "
         "denied\nunauthorized: authentication required",
         TW_TOOLBOX_DENIED},
        {"toomanyrequests: You have reached your pull rate limit", TW_TOOLBOX_TOO_MANY},
        {"Error: writing blob: storing blob to file \"/var/tmp/storage1/1\": write "
         "/var/tmp/storage1/1: no space left on device",
         TW_TOOLBOX_FULL},
        {"Error: no image found in manifest list for architecture arm64, variant \"v8\", OS linux",
         TW_TOOLBOX_ARCH},
        {"Error: writing blob: Digest did not match, expected sha256:1, got sha256:2",
         TW_TOOLBOX_DIGEST},
        {"Error: cannot set up namespace using \"/usr/bin/newuidmap\": exit status 1",
         TW_TOOLBOX_ROOTLESS},
        {"Error: crun: setrlimit `RLIMIT_MEMLOCK`: Operation not permitted", TW_TOOLBOX_MEMLOCK},
        {"Error: stat /dev/kfd: no such file or directory", TW_TOOLBOX_DEVICE},
        {"Error: something else", TW_TOOLBOX_OTHER},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(v); i++) {
        char line[300];
        tw_err err = {0};
        if (tw_toolbox_trouble_of(v[i].says) != v[i].is)
            fail_msg("'%s' is %s", v[i].says,
                     tw_toolbox_trouble_name(tw_toolbox_trouble_of(v[i].says)));
        tw_toolbox_pick_line(v[i].says, line, sizeof line);
        assert_true(tw_toolbox_explain("box2: pull", v[i].is, line, &err) < 0);
        assert_non_null(strstr(err.msg, "box2: pull: "));
        assert_int_equal(tw_toolbox_trouble_find(tw_toolbox_trouble_name(v[i].is)), v[i].is);
    }
    char line[60];
    tw_toolbox_pick_line("a\n\033[31m Error: b\033[0m\nlast\n", line, sizeof line);
    assert_string_equal(line, " Error: b");
    tw_toolbox_pick_line("", line, sizeof line);
    assert_string_equal(line, "");
}

/* ---- bars ---- */

static void bars(void **state)
{
    (void)state;
    TW_CLEANUP(tw_mem_freep) tw_toolbox_progress *p = tw_mem_calloc(1, sizeof *p);
    static const char drawn[] =
        "Trying to pull x...\r\n\033[2K\rCopying blob 0a1b2c [=>--] 1.0MiB / 4.0MiB | 3.1 MiB/s\r\n"
        "Copying blob ffff00 [>---] 512.0KiB / 1.0GiB\r\n\033[2A\033[J"
        "Copying blob 0a1b2c [==>-] 2.5MiB / 4.0MiB\r\nCopying blob ffff00 done  \r\n"
        "Copying config 12 done\r\nError: no\r\n";
    uint64_t done, total;
    for (size_t i = 0; i < sizeof drawn - 1; i++) /* in whatever pieces */
        tw_toolbox_progress_feed(p, drawn + i, 1);
    tw_toolbox_progress_sum(p, &done, &total);
    assert_int_equal(p->n_blobs, 2);
    assert_int_equal(done, (5u << 19) + (1u << 30));
    assert_int_equal(total, (4u << 20) + (1u << 30));
    assert_string_equal(p->last, "Error: no");
    static const char huge[] = "Copying blob ffff01 [] 1.0GiB / 999999999999GiB\n"; /* no number */
    tw_toolbox_progress_feed(p, huge, sizeof huge - 1);
    assert_int_equal(p->blobs[2].total_bytes, 0);
    for (unsigned i = 0; i < 400; i++) { /* no more than there is room for */
        char line[80];
        int n = snprintf(line, sizeof line, "Copying blob %x [] 1.0GiB / 1e99GiB\n", 0x10000u + i);
        tw_toolbox_progress_feed(p, line, (size_t)n);
    }
    assert_int_equal(p->n_blobs, TW_TOOLBOX_BLOBS_MAX);
}

/* ---- a container's answer ---- */

static void answers(void **state)
{
    (void)state;
    TW_CLEANUP(tw_mem_freep) tw_toolbox_probed *p = tw_mem_calloc(1, sizeof *p);
    TW_CLEANUP(tw_json_freep) json_t *devices = json_pack("[s, s]", "/dev/kfd", "/dev/dri");
    char line[200];
    tw_err err;
    tw_toolbox_probe_parse("a banner\ntwinax machine x86_64\ntwinax memlock unlimited\n"
                           "twinax open /dev/kfd\ntwinax shut /dev/infiniband/uverbs0\n"
                           "twinax torch 0 2.9.1+rocm7.14\ntwinax rocm 7.14.0\n"
                           "twinax rccl no /opt/lib/librccl.so.1\ntwinax rccl yes ../x\n"
                           "twinax rccl yes /a b\ntwinax end\n",
                           p);
    assert_true(p->answered && p->memlock_unlimited);
    assert_int_equal(p->n_rccl, 1);
    assert_int_equal(tw_toolbox_rccl_supports(p), TW_YES); /* by its version */
    assert_int_equal(tw_toolbox_probe_judge(p, devices, &err), 0);
    tw_toolbox_probe_print(p, line, sizeof line);
    assert_string_equal(line, "torch 2.9.1+rocm7.14, ROCm 7.14.0, RCCL runs on gfx1151, memlock "
                              "unlimited, 1 device");
    tw_toolbox_probe_parse("twinax shut /dev/dri/renderD128\ntwinax torch none\ntwinax end\n", p);
    assert_int_equal(tw_toolbox_probe_judge(p, devices, &err), -EACCES);
    assert_non_null(strstr(err.msg, "/dev/dri/renderD128"));
    tw_toolbox_probe_parse("twinax torch 1 ImportError: undefined symbol: ncclCommResume\n"
                           "twinax rocm 7.2\ntwinax rccl no /l.so\ntwinax end\n",
                           p);
    assert_int_equal(tw_toolbox_rccl_supports(p), TW_NO);
    assert_int_equal(tw_toolbox_probe_judge(p, devices, &err), -EIO);
    assert_non_null(strstr(err.msg, "ncclCommResume"));
    tw_toolbox_probe_parse("twinax torch none\n", p);
    assert_int_equal(tw_toolbox_probe_judge(p, devices, &err), -EIO);
    assert_int_equal(tw_toolbox_rccl_supports(p), TW_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_images), cmocka_unit_test(names_of_containers),
        cmocka_unit_test(stamps),          cmocka_unit_test(manifests),
        cmocka_unit_test(podmans_json),    cmocka_unit_test(a_containers_changes),
        cmocka_unit_test(many_containers), cmocka_unit_test(long_complaints),
        cmocka_unit_test(complaints),      cmocka_unit_test(bars),
        cmocka_unit_test(answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
