/* SPDX-License-Identifier: Apache-2.0 */
/* The judgement: over the recorded machines, over what one changed fact must change, and over facts
 * drawn at random. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "host/check_inside.h"
#include "host/check_record.h"
#include "host/setup_left.h"
#include "host/setup_plan.h"
#include "os/file.h"

enum { FILE_MAX = 4 << 20 };

static tw_check_record record;
static tw_check_result results[TW_CHECK_RESULTS_MAX];
static size_t n_results;

static int make_results(void **state)
{
    (void)state;
    memset(&record, 0, sizeof record);
    return 0;
}

static int drop_record(void **state)
{
    (void)state;
    tw_check_record_done(&record);
    return 0;
}

static void load(const char *name)
{
    char path[512];
    tw_err err = {0};
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(FILE_MAX);
    snprintf(path, sizeof path, "%s/doctor/%s.json", getenv("TW_TEST_DATA"), name);
    tw_check_record_done(&record);
    assert_int_equal(tw_file_read(path, &b, &err), 0);
    if (tw_check_record_parse(path, b.data, b.len, &record, &err) != 0)
        fail_msg("%s", err.msg);
}

static void run(void)
{
    n_results = tw_checks_run(&record.world, results, TW_CHECK_RESULTS_MAX);
}

static const tw_check_result *find(const char *id, size_t node)
{
    for (size_t i = 0; i < n_results; i++)
        if (strcmp(results[i].check->id, id) == 0 && results[i].node == node)
            return &results[i];
    fail_msg("no result of %s for node %zu", id, node);
    return NULL;
}

static void want(const char *id, size_t node, enum tw_check_status status)
{
    const tw_check_result *r = find(id, node);
    if (r->status != status)
        fail_msg("%s of node %zu is %s, wanted %s: %s", id, node, tw_check_status_name(r->status),
                 tw_check_status_name(status), r->found);
}

static void want_mend(const char *id, size_t node, const char *part)
{
    const tw_check_result *r = find(id, node);
    if (strstr(r->mend, part) == NULL)
        fail_msg("%s of node %zu: \"%s\" is not in its mend: %s", id, node, part, r->mend);
}

/* ---- the table ---- */

static void ids_are_unique_and_ordered(void **state)
{
    (void)state;
    bool pairs = false;
    assert_true(tw_check_count() >= 60);
    for (size_t i = 0; i < tw_check_count(); i++) {
        const tw_check *k = &tw_check_table[i];
        assert_non_null(k->run);
        assert_true(k->title[0] != '\0' && strlen(k->about) > 20);
        assert_true(strchr(k->about, '|') == NULL); /* a Markdown table */
        pairs = pairs || k->scope != TW_CHECK_NODE;
        assert_true(!pairs || k->scope != TW_CHECK_NODE);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(k->id, tw_check_table[j].id);
    }
}

/* ---- judgement ---- */

static void nobody_asked_is_no_failure(void **state)
{
    (void)state;
    load("laptop-wifi");
    run();
    assert_int_equal(tw_checks_worst(results, n_results), TW_CHECK_OK);
    want("rdma.device", 0, TW_CHECK_NA);
    want("gpu.present", 0, TW_CHECK_NA);
    /* The same laptop asked for what it has not. */
    record.world.config.engine = TW_CHECK_ENGINE_VLLM;
    record.world.config.transport = TW_CHECK_BY_RDMA;
    run();
    want("rdma.device", 0, TW_CHECK_FAIL);
    want("gpu.present", 0, TW_CHECK_FAIL);
    want_mend("gpu.present", 0, "--engine native");
}

static void auto_only_warns(void **state)
{
    (void)state;
    load("strix128-e810-fresh");
    record.world.n_nodes = 1;
    record.world.nodes[0].ip[0] = record.world.nodes[0].interface[0] = '\0';
    record.world.proofs = NULL;
    record.world.config = (tw_check_config){0};
    run();
    assert_int_equal(tw_checks_worst(results, n_results), TW_CHECK_WARN);
    want("kernel.gtt", 0, TW_CHECK_WARN);
    want("rdma.mode", 0, TW_CHECK_WARN);
    want("nic.mtu", 0, TW_CHECK_WARN);
}

static void kernel_and_memory(void **state)
{
    (void)state;
    load("strix128-e810-good");
    tw_facts *f = record.facts[0];
    run();
    want("kernel.version", 0, TW_CHECK_OK);
    snprintf(f->os.kernel, sizeof f->os.kernel, "6.16.8-100.fc42.x86_64");
    run();
    want("kernel.version", 0, TW_CHECK_FAIL);
    record.world.config.engine = TW_CHECK_ENGINE_NATIVE;
    run();
    want("kernel.version", 0, TW_CHECK_OK);
    want("kernel.gtt", 0, TW_CHECK_NA);
    want("kernel.iommu", 0, TW_CHECK_OK);
    record.world.config.engine = TW_CHECK_ENGINE_VLLM;
    snprintf(f->os.kernel, sizeof f->os.kernel, "6.16.9");
    snprintf(f->os.cmdline, sizeof f->os.cmdline,
             "amd_iommu=off pci=realloc pcie_aspm=off amdgpu.gttsize=126976 "
             "ttm.pages_limit=32505856");
    run();
    want("kernel.version", 0, TW_CHECK_OK);
    want("kernel.iommu", 0, TW_CHECK_OK);
    assert_non_null(strstr(find("kernel.iommu", 0)->found, "is yours and stays"));
    f->limits.memlock_child = tw_count_of(8 << 20);
    run();
    want("memory.memlock", 0, TW_CHECK_FAIL);
    f->limits.memlock_cap = TW_YES;
    run();
    want("memory.memlock", 0, TW_CHECK_OK);
}

static void mends_are_the_distributions(void **state)
{
    (void)state;
    load("strix128-e810-fresh");
    tw_facts *f = record.facts[0];
    run();
    want_mend("kernel.gtt", 0,
              "grubby --update-kernel=ALL --args=\"iommu=pt pci=realloc pcie_aspm=off "
              "amdgpu.gttsize=126976 ttm.pages_limit=32505856\"");
    want_mend("rdma.library", 0, "dnf install rdma-core");
    want_mend("rdma.mode", 0, "enable_roce value true");
    want_mend("nic.firmware", 0, "NVM Update Tool");
    f->boot.kind = TW_BOOT_RPM_OSTREE;
    f->os.is_ostree = TW_YES;
    run();
    want_mend("kernel.gtt", 0, "rpm-ostree kargs --append-if-missing=iommu=pt");
    want_mend("rdma.library", 0, "rpm-ostree install");
    f->boot.kind = TW_BOOT_GRUB;
    f->os.is_ostree = TW_NO;
    snprintf(f->os.id, sizeof f->os.id, "debian");
    f->nics[0].owner = TW_OWNER_NETPLAN;
    f->firewall.kind = TW_FIREWALL_UFW;
    run();
    want_mend("kernel.gtt", 0, "update-grub");
    want_mend("rdma.library", 0, "apt install rdma-core");
    want_mend("nic.mtu", 0, "netplan set ethernets.enp194s0np0.mtu=9000");
    want_mend("net.firewall", 0, "ufw allow in on enp194s0np0");
    f->nics[0].owner = TW_OWNER_IFUPDOWN;
    run();
    want_mend("nic.mtu", 0, "/etc/network/interfaces");
    /* A link that others use too is never trusted as a whole. */
    f->firewall.kind = TW_FIREWALL_FIREWALLD;
    f->net.ifs[1].default_route = true;
    run();
    want_mend("net.firewall", 0, "--add-source=192.168.100.2");
}

static void growth_names_port_and_end(void **state)
{
    (void)state;
    load("wrong-gid");
    run();
    want("cable.load", 0, TW_CHECK_FAIL);
    assert_non_null(strstr(find("cable.load", 0)->found, "rx_crc +37 at enp194s0np0 of box2"));
    record.proofs->loads[0][1].ends[1].grown[0].by = 0;
    record.proofs->loads[0][1].ends[1].n_grown = 0;
    run();
    want("cable.load", 0, TW_CHECK_OK);
}

static void one_dead_node_of_eight(void **state)
{
    (void)state;
    size_t n_failed = 0;
    load("eight-one-dead");
    run();
    for (size_t i = 0; i < n_results; i++)
        n_failed += results[i].status == TW_CHECK_FAIL;
    assert_int_equal(n_failed, 1);
    want("node.reached", 5, TW_CHECK_FAIL);
    for (size_t i = 0; i < 8; i++)
        if (i != 5)
            want("rdma.gid", i, TW_CHECK_OK);
}

/* ---- any record ---- */

static bool is_setups(const char *step)
{
    for (const char *const *s = tw_setup_step_ids; *s != NULL; s++)
        if (strcmp(step, *s) == 0)
            return true;
    return false;
}

static void check_all(void)
{
    for (size_t i = 0; i < n_results; i++) {
        const tw_check_result *r = &results[i];
        assert_true(r->found[0] != '\0');
        const bool bad = r->status >= TW_CHECK_WARN;
        if (bad && (r->mend[0] == '\0' || strstr(r->mend, "see docs/doctor.md") != NULL))
            fail_msg("%s is %s without a mend: %s", r->check->id, tw_check_status_name(r->status),
                     r->found);
        assert_true(bad || r->mend[0] == '\0');
        if (r->step != NULL && !is_setups(r->step))
            fail_msg("%s: setup has no step %s", r->check->id, r->step);
        for (const char *c = r->mend; *c != '\0'; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
    TW_CLEANUP(tw_json_freep)
    json_t *v = tw_check_results_print(&record.world, results, n_results);
    assert_non_null(v);
}

static uint64_t seed;

static uint64_t draw(uint64_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return n == 0 ? 0 : (seed >> 33) % n;
}

static json_t *draw_text(void)
{
    static const char *const texts[] = {"",
                                        "?",
                                        "ACTIVE",
                                        "powersave",
                                        "iwarp",
                                        "ice",
                                        "rdma_rxe",
                                        "a b",
                                        "x'; rm -rf /",
                                        "-",
                                        "\"",
                                        "6.1",
                                        "4294967296.0",
                                        "RoCE v1",
                                        "trusted",
                                        "enp194s0np0",
                                        "none",
                                        "dhcp"};
    return json_string(texts[draw(TW_ARRAY_LEN(texts))]);
}

/* One value anywhere in v becomes another one of its type, or goes. */
static void spoil(json_t *v, unsigned depth)
{
    if (json_is_object(v) && json_object_size(v) > 0) {
        void *at = json_object_iter(v);
        for (uint64_t k = draw(json_object_size(v)); k > 0; k--)
            at = json_object_iter_next(v, at);
        const char *key = json_object_iter_key(at);
        json_t *old = json_object_iter_value(at);
        if ((json_is_object(old) || json_is_array(old)) && depth < 8 && draw(12) != 0) {
            spoil(old, depth + 1);
            return;
        }
        char name[64];
        snprintf(name, sizeof name, "%s", key);
        if (draw(3) == 0)
            json_object_del(v, name);
        else if (json_is_string(old))
            json_object_set_new(v, name, draw_text());
        else if (json_is_boolean(old))
            json_object_set_new(v, name, json_boolean(!json_is_true(old)));
        else if (json_is_integer(old))
            json_object_set_new(v, name,
                                json_integer((json_int_t)(draw(3) == 0 ? 0 : draw(UINT32_MAX))));
    } else if (json_is_array(v) && json_array_size(v) > 0) {
        size_t i = draw(json_array_size(v));
        json_t *old = json_array_get(v, i);
        if (json_is_string(old))
            json_array_set_new(v, i, draw_text());
        else
            spoil(old, depth + 1);
    }
}

static unsigned n_judged;

static void try_spoilt(const char *path, const json_t *whole, unsigned n_changes)
{
    TW_CLEANUP(tw_json_freep) json_t *v = json_deep_copy(whole);
    tw_err err = {0};
    for (unsigned i = 0; i < n_changes; i++) {
        json_t *nodes = json_object_get(v, "nodes");
        json_t *node = json_array_get(nodes, draw(json_array_size(nodes)));
        json_t *facts = json_object_get(node, "facts");
        spoil(facts != NULL && draw(5) != 0 ? facts : v, 0);
    }
    char *text = json_dumps(v, 0);
    assert_non_null(text);
    tw_check_record_done(&record);
    if (tw_check_record_parse(path, text, strlen(text), &record, &err) == 0) {
        record.world.config.engine = (enum tw_check_engine)draw(3);
        record.world.config.transport = (enum tw_check_transport)draw(3);
        run();
        check_all();
        n_judged++;
    } else {
        assert_true(err.msg[0] != '\0');
    }
    tw_mem_free(text);
}

/* The id is of names and sizes: a flipped bit of the weights is seen where both were hashed. */
static void other_bytes_of_the_same_model(void **state)
{
    (void)state;
    load("strix128-e810-good");
    assert_true(record.world.n_nodes == 2);
    for (size_t i = 0; i < 2; i++) {
        snprintf(record.facts[i]->model.path, sizeof record.facts[i]->model.path, "/m");
        snprintf(record.facts[i]->model.id, sizeof record.facts[i]->model.id, "a1b2c3");
        snprintf(record.facts[i]->model.content, sizeof record.facts[i]->model.content, "ff00%zu",
                 i);
    }
    run();
    assert_int_equal(find("same.model", 0)->status, TW_CHECK_FAIL);
    assert_non_null(strstr(find("same.model", 0)->found, "ff000 and ff001"));
    assert_non_null(strstr(find("same.model", 0)->mend, "models verify"));
    snprintf(record.facts[1]->model.content, sizeof record.facts[1]->model.content, "ff000");
    run();
    assert_int_equal(find("same.model", 0)->status, TW_CHECK_OK);
    assert_non_null(strstr(find("same.model", 0)->found, "the same bytes"));
    record.facts[1]->model.content[0] = '\0'; /* not hashed there */
    run();
    assert_int_equal(find("same.model", 0)->status, TW_CHECK_OK);
    assert_null(strstr(find("same.model", 0)->found, "the same bytes"));
}

static void random_facts_never_crash(void **state)
{
    (void)state;
    char folder[400];
    const char *env = getenv("TW_SEED");
    seed = env != NULL ? strtoull(env, NULL, 0) : 20261122;
    print_message("# seed %llu\n", (unsigned long long)seed);
    snprintf(folder, sizeof folder, "%s/doctor", getenv("TW_TEST_DATA"));
    DIR *d = opendir(folder);
    assert_non_null(d);
    size_t n_files = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name);
        char path[700];
        tw_err err = {0};
        if (len < 6 || strcmp(e->d_name + len - 5, ".json") != 0)
            continue;
        n_files++;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(FILE_MAX);
        TW_CLEANUP(tw_json_freep) json_t *v = NULL;
        assert_int_equal(tw_file_read(path, &b, &err), 0);
        assert_int_equal(tw_json_parse(path, b.data, b.len, &v, &err), 0);
        for (unsigned round = 0; round < 60; round++)
            try_spoilt(e->d_name, v, 1 + (unsigned)draw(40));
    }
    closedir(d);
    assert_true(n_files >= 8);
    print_message("# %u of %zu judged\n", n_judged, 60 * n_files);
    assert_true(n_judged > 10 * n_files); /* the others are no records any more */
}

static void a_record_is_written_as_it_is_read(void **state)
{
    (void)state;
    tw_err err = {0};
    load("mismatch");
    run();
    TW_CLEANUP(tw_json_freep)
    json_t *before = tw_check_results_print(&record.world, results, n_results);
    TW_CLEANUP(tw_json_freep) json_t *v = tw_check_record_print(&record);
    char *text = json_dumps(v, 0);
    tw_check_record_done(&record);
    assert_int_equal(tw_check_record_parse("again", text, strlen(text), &record, &err), 0);
    tw_mem_free(text);
    run();
    TW_CLEANUP(tw_json_freep)
    json_t *after = tw_check_results_print(&record.world, results, n_results);
    assert_true(json_equal(before, after));
}

/* Another's words are printed: neither controls (of one byte or of two) nor what turns the direction
 * of writing gets to a terminal. */
static void texts_of_a_record_cannot_steer_a_terminal(void **state)
{
    (void)state;
    static const char text[] = "{\"nodes\":[{\"name\":\"a\\u009b31mb\\u202ec\"}],"
                               "\"proofs\":{\"nodes\":[{\"ssh_back\":false,"
                               "\"ssh_back_why\":\"x\\u001b[2Jy\\u0085z\"}]}}";
    tw_err err = {0};
    tw_check_record_done(&record);
    if (tw_check_record_parse("r", text, sizeof text - 1, &record, &err) != 0)
        fail_msg("%s", err.msg);
    assert_string_equal(record.world.nodes[0].name, "a?31mb?c");
    assert_string_equal(record.proofs->nodes[0].ssh_back_why, "x?[2Jy?z");
    tw_check_record_done(&record);
}

static void what_is_no_record_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{",
        "{}",
        "{\"nodes\":[]}",
        "{\"nodes\":[1]}",
        "{\"nodes\":{}}",
        "{\"schema\":99,\"nodes\":[{}]}",
        "{\"nodes\":[{\"facts\":3}]}",
        "{\"config\":{\"engine\":\"magic\"},\"nodes\":[{}]}",
        "{\"nodes\":[{}],\"proofs\":3}",
        "{\"nodes\":[{}],\"proofs\":{\"nodes\":[{}],\"ways\":[{\"from\":7}]}}",
        "{\"nodes\":[{},{},{},{},{},{},{},{},{}]}"};
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        tw_err err = {0};
        tw_check_record_done(&record);
        if (tw_check_record_parse("bad", bad[i], strlen(bad[i]), &record, &err) == 0)
            fail_msg("taken: %s", bad[i]);
        assert_true(err.msg[0] != '\0');
    }
}

/* A step is named only where setup has one that does it. */
static void a_module_of_a_card_is_no_step(void **state)
{
    (void)state;
    load("strix128-e810-good");
    record.world.config.transport = TW_CHECK_BY_RDMA;
    tw_facts *f = record.facts[0];
    for (size_t i = 0; i < f->net.n_ifs; i++)
        f->net.ifs[i].rdma[0] = '\0';
    f->n_modules = 0;
    run();
    want("rdma.device", 0, TW_CHECK_FAIL);
    want_mend("rdma.device", 0, "sudo modprobe irdma");
    assert_null(find("rdma.device", 0)->step);
}

/* ---- after setup ---- */

/* A failure with a step is setup's, unless it waits for a reboot or a login, or was not asked for. */
static void what_setup_should_have_mended(void **state)
{
    (void)state;
    static const tw_check gtt = {.id = "kernel.gtt"}, lock = {.id = "memory.memlock"},
                          ports = {.id = "net.ports"}, reboot = {.id = "kernel.reboot"};
    static const tw_check_world world = {.n_nodes = 2,
                                         .nodes = {{.name = "a", .ssh = "a"},
                                                   {.name = "b", .ssh = "b"}}};
    tw_check_result v[] = {
        {.check = &gtt, .node = 1, .status = TW_CHECK_FAIL, .step = "kernel"},
        {.check = &lock, .node = 0, .status = TW_CHECK_FAIL, .step = "memlock"},
        {.check = &lock, .node = 1, .status = TW_CHECK_FAIL, .step = "memlock"},
        {.check = &ports, .node = 0, .peer = 1, .status = TW_CHECK_FAIL, .step = "firewall"},
        {.check = &ports, .node = 1, .status = TW_CHECK_FAIL},                     /* by hand */
        {.check = &ports, .node = 1, .status = TW_CHECK_WARN, .step = "network"}}; /* no failure */
    tw_setup_after after = {.world = &world, .v = v, .n = TW_ARRAY_LEN(v)};
    tw_setup_left left;
    tw_setup_left_find(&after, &left);
    assert_string_equal(left.failed, "b: kernel.gtt (kernel), b: memory.memlock (memlock), "
                                     "a: net.ports (firewall)");
    assert_string_equal(left.waits, "a: memory.memlock (next login)");
    assert_int_equal(left.n_failed, 3);
    after.only = "ssh-key,memlock";
    tw_setup_left_find(&after, &left);
    assert_string_equal(left.failed, "b: memory.memlock (memlock)");
    after.only = "kernel";
    after.reboot_due = (const bool[]){false, true};
    tw_setup_left_find(&after, &left);
    assert_string_equal(left.failed, "");
    assert_string_equal(left.waits, "b: kernel.gtt (next boot)");
    after.reboot_due = NULL; /* doctor itself knows */
    v[5] = (tw_check_result){.check = &reboot, .node = 1, .status = TW_CHECK_WARN};
    tw_setup_left_find(&after, &left);
    assert_int_equal(left.n_failed, 0);
    assert_int_equal(left.n_reboots, 1);
    v[5].node = 0; /* of another node */
    tw_setup_left_find(&after, &left);
    assert_int_equal(left.n_failed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_unique_and_ordered),
        cmocka_unit_test(nobody_asked_is_no_failure),
        cmocka_unit_test(auto_only_warns),
        cmocka_unit_test(kernel_and_memory),
        cmocka_unit_test(mends_are_the_distributions),
        cmocka_unit_test(growth_names_port_and_end),
        cmocka_unit_test(one_dead_node_of_eight),
        cmocka_unit_test(other_bytes_of_the_same_model),
        cmocka_unit_test(random_facts_never_crash),
        cmocka_unit_test(a_record_is_written_as_it_is_read),
        cmocka_unit_test(a_module_of_a_card_is_no_step),
        cmocka_unit_test(what_setup_should_have_mended),
        cmocka_unit_test(texts_of_a_record_cannot_steer_a_terminal),
        cmocka_unit_test(what_is_no_record_is_refused),
    };
    return cmocka_run_group_tests(tests, make_results, drop_record);
}
