/* SPDX-License-Identifier: Apache-2.0 */
/* Of what names people, machines and places nothing survives; what a check looks at does. */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "host/facts_scrub.h"
#include "tree.h"

static tw_facts f; /* too large for a stack */

/* Two boxes whose every text could give somebody away. */
static const char record_text[] =
    "{\"schema\":1,\"source\":\"read on Halo-One.example.org\",\"nodes\":["
    "{\"name\":\"halo-one\",\"ssh\":\"alice@halo-one.example.org\",\"ip\":\"192.168.100.1\","
    "\"facts\":{"
    "\"os\":{\"id\":\"fedora\",\"kernel\":\"6.18.5.1-200.fc43\",\"boot_id\":"
    "\"941a4c0e-6edf-4ba6-88ad-cb7b67081663\",\"cmdline\":\"BOOT_IMAGE=/v "
    "root=UUID=c0ffee00-1111-2222"
    "-3333-444455556666 ro iommu=pt pci=realloc amdgpu.gttsize=126976 secret.key=hunter2 "
    "ip=8.8.4.4 -- --token=swordfish\"},"
    "\"board\":{\"vendor\":\"Framework\",\"bios_version\":\"1.2.3.4\"},"
    "\"user\":{\"name\":\"alice\",\"home\":\"/var/home/alice\",\"uid\":1000,\"file_groups\":"
    "[\"alice\",\"rdma\",\"acme-staff\"]},"
    "\"net\":{\"host\":\"halo-one\",\"interfaces\":[{\"name\":\"enx18c04dabcdef\",\"addresses\":"
    "[\"81.2.69.142/24\",\"192.168.1.10/24\",\"2a02:908:1:2:1ac0:4dff:feab:cdef/64\","
    "\"fe80::1ac0:4dff:feab:cdef/64\",\"fd12:3456:789a::1/64\",\"::1/128\"]}]},"
    "\"nics\":[{\"name\":\"enx18c04dabcdef\",\"mac\":\"18:c0:4d:ab:cd:ef\",\"mac_local\":false,"
    "\"firmware\":\"4.91 0x800214b5 1.3.90.9\",\"profile\":\"MyHomeWifi\",\"profile_file\":"
    "\"/etc/NetworkManager/system-connections/MyHomeWifi.nmconnection\",\"zone\":\"acme-office\","
    "\"gids\":[\"0 RoCE v2 fe80::1ac0:4dff:feab:cdef\",\"1 RoCE v2 192.168.100.1\"],"
    "\"module\":{\"serial\":\"SN123456\",\"part\":\"QSFP-100G\"}}],"
    "\"thunderbolt\":{\"devices\":[{\"id\":\"0-1\",\"peer\":true,\"device\":\"bobs-laptop\"}]},"
    "\"routes\":{\"ssh_from\":\"81.2.69.200\",\"list\":[{\"to\":\"192.168.100.2\",\"neighbour\":"
    "\"02:11:22:33:44:55\"}]},"
    "\"ssh\":{\"keys\":[{\"path\":\"/var/home/alice/.ssh/id_ed25519\",\"type\":\"ssh-ed25519\"}]},"
    "\"left\":[{\"of\":\"vllm\",\"what\":\"vllm serve /data/m --api-key sk-verysecret\"}],"
    "\"model\":{\"path\":\"/data/customers/acme/Qwen3\",\"id\":\"\"},"
    "\"session\":{\"linger\":true}}},"
    "{\"name\":\"fedora\",\"facts\":{\"os\":{\"id\":\"fedora\"},\"net\":{\"host\":\"fedora\"},"
    "\"nics\":[{\"name\":\"eth0\",\"mac\":\"b4:96:91:0a:0b:0c\"}]}}],"
    "\"config\":{\"key\":\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJk3dGhpc2lzbm90YWtleQ== "
    "alice@halo-one\"},"
    "\"proofs\":{\"halo-one\":{\"to\":\"fedora\",\"said\":\"HALO-ONE: 81.2.69.142:22 refused "
    "alice\"}}}";

static const char *const originals[] = {"halo",     "alice",   "example.org", "941a4c0e",
                                        "c0ffee00", "hunter2", "swordfish",   "8.8.4.4",
                                        "81.2.69",  "2a02",    "4dff:feab",   "18:c0",
                                        "18c04d",   "abcdef",  "3456",        "22:33",
                                        "96:91",    "0a:0b",   "SN123456",    "MyHome",
                                        "acme",     "bobs",    "verysecret",  "customers",
                                        "AAAAC3",   "JkIzd"};

/* What stays, or each check would judge another machine. */
static const char *const kept[] = {"\"id\": \"fedora\"",
                                   "6.18.5.1-200.fc43",
                                   "iommu=pt pci=realloc amdgpu.gttsize=126976",
                                   "\"ro ",
                                   "Framework",
                                   "1.2.3.4",
                                   "1.3.90.9",
                                   "192.168.100.1",
                                   "192.168.1.10/24",
                                   "::1/128",
                                   "fe80::",
                                   "QSFP-100G",
                                   "\"rdma\"",
                                   "ssh-ed25519",
                                   "vllm serve ...",
                                   "/models/Qwen3",
                                   "\"name\": \"box1\"",
                                   "\"host\": \"box2\"",
                                   "\"box1\": {",
                                   "1 RoCE v2 192.168.100.1"};

static json_t *load_record(void)
{
    json_error_t e;
    json_t *v = json_loads(record_text, 0, &e);
    if (v == NULL)
        fail_msg("%d: %s", e.column, e.text);
    return v;
}

static char *dump(const json_t *v)
{
    char *text = json_dumps(v, JSON_INDENT(1));
    assert_non_null(text);
    return text;
}

static void test_nothing_survives(void **state)
{
    (void)state;
    tw_err err = {0};
    TW_CLEANUP(tw_json_freep) json_t *v = load_record();
    assert_int_equal(tw_facts_scrub(v, &err), 0);
    TW_CLEANUP(tw_mem_freep) char *text = dump(v);
    for (size_t i = 0; i < TW_ARRAY_LEN(originals); i++)
        if (strcasestr(text, originals[i]) != NULL)
            fail_msg("%s is still there:\n%s", originals[i], strcasestr(text, originals[i]));
    for (size_t i = 0; i < TW_ARRAY_LEN(kept); i++)
        if (strstr(text, kept[i]) == NULL)
            fail_msg("%s has gone:\n%s", kept[i], text);
}

/* The same thing is the same again: a MAC and its interface, an address in two places. */
static void test_the_same_stays_the_same(void **state)
{
    (void)state;
    tw_err err = {0};
    TW_CLEANUP(tw_json_freep) json_t *v = load_record();
    assert_int_equal(tw_facts_scrub(v, &err), 0);
    const json_t *node = json_array_get(json_object_get(v, "nodes"), 0);
    assert_int_equal(tw_facts_parse(json_object_get(node, "facts"), &f, &err), 0);
    assert_string_equal(f.net.ifs[0].name, f.nics[0].name);
    assert_string_equal(f.user.name, "user1");
    assert_string_equal(f.user.home, "/var/home/user1");
    assert_string_equal(f.user.file_groups[0], "user1");
    assert_string_equal(f.user.file_groups[2], "group1");
    assert_true(strncmp(f.nics[0].mac, "00:00:00", 8) == 0);
    assert_true(strncmp(f.routes.v[0].neighbour, "02:00:00", 8) == 0); /* it is local still */
    assert_true(strstr(f.nics[0].gids[0], f.net.ifs[0].addrs[3].ip) != NULL);
    assert_string_equal(f.nics[0].module.serial, "");
    assert_string_equal(f.os.boot_id, "");
}

/* Once more changes nothing that matters: no name of ours is taken for another's. */
static void test_twice(void **state)
{
    (void)state;
    tw_err err = {0};
    TW_CLEANUP(tw_json_freep) json_t *v = load_record();
    assert_int_equal(tw_facts_scrub(v, &err), 0);
    TW_CLEANUP(tw_mem_freep) char *once = dump(v);
    assert_int_equal(tw_facts_scrub(v, &err), 0);
    TW_CLEANUP(tw_mem_freep) char *twice = dump(v);
    size_t i = 0;
    while (once[i] != '\0' && once[i] == twice[i])
        i++;
    if (once[i] != twice[i])
        fail_msg("once: %.60s\ntwice: %.60s", once + i, twice + i);
}

/* A recorded machine keeps what is judged. */
static void test_recorded(void **state)
{
    (void)state;
    tw_err err = {0};
    tree t;
    tree_make(&t, "strix_e810.tree");
    int rc = tw_facts_read(&(tw_facts_opts){.root = t.root, .containers = true}, &f, &err);
    tree_remove(&t);
    assert_int_equal(rc, 0);
    TW_CLEANUP(tw_json_freep) json_t *v = tw_facts_print(&f);
    assert_int_equal(tw_facts_scrub(v, &err), 0);
    TW_CLEANUP(tw_mem_freep) char *text = dump(v);
    static const char *const gone[] = {"alice", "halo", "b4:96", "18:2b", "1a2b", "3cff", "bob"};
    for (size_t i = 0; i < TW_ARRAY_LEN(gone); i++)
        if (strstr(text, gone[i]) != NULL)
            fail_msg("%s is still there", strstr(text, gone[i]));
    static tw_facts again;
    assert_int_equal(tw_facts_parse(v, &again, &err), 0);
    assert_memory_equal(&f.gpus, &again.gpus, sizeof f.gpus);
    assert_memory_equal(&f.firewall, &again.firewall, sizeof f.firewall);
    assert_memory_equal(&f.mem, &again.mem, sizeof f.mem);
    assert_memory_equal(&f.rdma, &again.rdma, sizeof f.rdma);
    assert_memory_equal(&f.container, &again.container, sizeof f.container);
    assert_string_equal(again.nics[1].firmware, "4.91 0x800214b5 1.3909.0");
    assert_string_equal(again.nics[1].profile, "rdma0");
}

static void test_no_memory(void **state)
{
    (void)state;
    unsigned n_failed = 0;
    for (uint64_t at = 1; at < 3000; at += 61) {
        tw_err err = {0};
        TW_CLEANUP(tw_json_freep) json_t *v = load_record();
        tw_mem_fail_at(at);
        int rc = tw_facts_scrub(v, &err);
        tw_mem_fail_at(0);
        assert_true(rc == 0 || rc == -ENOMEM);
        n_failed += rc != 0;
    }
    assert_true(n_failed > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_survives),
                                       cmocka_unit_test(test_the_same_stays_the_same),
                                       cmocka_unit_test(test_twice),
                                       cmocka_unit_test(test_recorded),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
