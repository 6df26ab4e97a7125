/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded machines (tests/data/setup/NAME) and the plans for them, as text: plan.txt. TW_REGEN=1
 * writes them anew. And: the subnet, which link is chosen, what comes from the wire. */
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

#include "base/mem.h"
#include "base/scope.h"
#include "host/kernel_params.h"
#include "host/setup_plan.h"
#include "os/file.h"

enum { TEXT_MAX = 1 << 20 };

static json_t *load(const char *folder, const char *name)
{
    char path[600];
    tw_err err = {0};
    json_t *v = NULL;
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (tw_file_read(path, &text, &err) != 0 ||
        tw_json_parse(path, text.data, text.len, &v, &err) != 0)
        fail_msg("%s", err.msg);
    return v;
}

typedef struct machine {
    char folder[500];
    tw_facts *facts;
    tw_setup_seen seen;
    tw_setup_want want;
} machine;

static void open_machine(const char *name, machine *ret)
{
    tw_err err = {0};
    snprintf(ret->folder, sizeof ret->folder, "%s/setup/%s", getenv("TW_TEST_DATA"), name);
    TW_CLEANUP(tw_json_freep) json_t *facts = load(ret->folder, "facts.json");
    TW_CLEANUP(tw_json_freep) json_t *want = load(ret->folder, "want.json");
    ret->facts = tw_mem_calloc(1, sizeof *ret->facts);
    if (tw_facts_parse(facts, ret->facts, &err) != 0 ||
        tw_setup_want_parse(want, &ret->want, &err) != 0 ||
        tw_setup_see(ret->folder, NULL, ret->facts, &ret->seen, &err) != 0)
        fail_msg("%s: %s", name, err.msg);
    assert_true(ret->facts->source[0] != '\0');
}

static void close_machine(machine *m)
{
    tw_setup_seen_done(&m->seen);
    tw_mem_free(m->facts);
}

static json_t *plan_of(machine *m)
{
    tw_err err = {0};
    json_t *plan = NULL;
    if (tw_setup_plan(m->facts, &m->seen, &m->want, &plan, &err) != 0)
        fail_msg("%s", err.msg);
    return plan;
}

static void check_plan(const char *name)
{
    machine m;
    char path[600];
    tw_err err = {0};
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX), want = TW_BUF(TEXT_MAX);
    open_machine(name, &m);
    TW_CLEANUP(tw_json_freep) json_t *plan = plan_of(&m);
    assert_int_equal(tw_setup_plan_text(plan, &text, &err), 0);
    snprintf(path, sizeof path, "%s/plan.txt", m.folder);
    if (getenv("TW_REGEN") != NULL)
        assert_int_equal(tw_file_write(path, text.data, text.len, &err), 0);
    if (tw_file_read(path, &want, &err) != 0)
        fail_msg("%s", err.msg);
    if (strcmp(text.data, want.data) != 0)
        fail_msg("%s: another plan than plan.txt:\n%s", name, text.data);
    close_machine(&m);
}

static void test_golden(void **state)
{
    static const char *const names[] = {"fedora43",      "fedora43-profile",
                                        "ubuntu2404",    "debian12-ifupdown",
                                        "debian12-nm",   "debian12-kernel",
                                        "silverblue",    "systemd-boot",
                                        "lan-firewalld", "protected",
                                        "done"};
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(names); i++)
        check_plan(names[i]);
}

/* ---- idempotence: the files of a plan done, nothing is left to do to files ---- */

static void apply_files(machine *m, const json_t *plan)
{
    const json_t *step, *action;
    size_t i, k;
    json_array_foreach(json_object_get(plan, "steps"), i, step)
        json_array_foreach(json_object_get(step, "do"), k, action)
    {
        const char *path = json_string_value(json_object_get(action, "file"));
        if (path != NULL)
            json_object_set(m->seen.files, path, json_object_get(action, "after"));
    }
}

/* ---- without root ---- */

static bool has_step(const json_t *plan, const char *id)
{
    const json_t *step;
    size_t i;
    json_array_foreach(json_object_get(plan, "steps"), i, step)
    {
        if (strcmp(tw_json_text_at(step, "id"), id) == 0)
            return true;
    }
    return false;
}

static bool has_note(const json_t *plan, const char *begin, const char *end)
{
    const json_t *note;
    size_t i;
    json_array_foreach(json_object_get(plan, "notes"), i, note)
    {
        const char *text = json_string_value(note);
        if (strncmp(text, begin, strlen(begin)) == 0 && strstr(text, end) != NULL)
            return true;
    }
    return false;
}

/* What cannot be read is said, and not planned as if it were missing. */
static void check_unseen(const char *name, const char *step, const char *hidden)
{
    machine m;
    open_machine(name, &m);
    m.seen.as_root = false;
    TW_CLEANUP(tw_json_freep) json_t *seen = plan_of(&m);
    assert_true(has_step(seen, step));
    json_object_set_new(m.seen.files, hidden, json_null());
    TW_CLEANUP(tw_json_freep) json_t *plan = plan_of(&m);
    if (has_step(plan, step))
        fail_msg("%s: %s is planned though %s is hidden", name, step, hidden);
    assert_true(has_note(plan, step, "cannot be seen without root"));
    m.seen.as_root = true; /* then it is no text */
    TW_CLEANUP(tw_json_freep) json_t *as_root = plan_of(&m);
    assert_true(has_note(as_root, step, "is no text (UTF-8)"));
    close_machine(&m);
}

static void test_unseen(void **state)
{
    (void)state;
    check_unseen("fedora43", "firewall", "/etc/firewalld/zones"); /* the folder, 0750 */
    check_unseen("lan-firewalld", "firewall", "/etc/firewalld/zones");
    check_unseen("ubuntu2404", "firewall", "/etc/ufw/user.rules");
    check_unseen("ubuntu2404", "network", "/etc/netplan/90-twinax.yaml");
    check_unseen("ubuntu2404", "kernel", "/etc/default/grub");
    check_unseen("debian12-ifupdown", "network", "/etc/network/interfaces");
}

/* ---- what would do harm ---- */

/* Names of a ruleset go into a shell's script: one that is no plain name makes no step. */
static void test_nft_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"$(reboot)", "$name", "`id`", "a'b", "-a", "\"x\""};
    machine m;
    char text[300];
    open_machine("debian12-ifupdown", &m);
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof text,
                 "table inet %s {\n chain input {\n  type filter hook input priority 0; policy "
                 "drop;\n }\n}\n",
                 bad[i]);
        json_object_set_new(m.seen.files, "/etc/nftables.conf", json_string(text));
        TW_CLEANUP(tw_json_freep) json_t *plan = plan_of(&m);
        if (has_step(plan, "firewall"))
            fail_msg("%s: goes into a script", bad[i]);
        assert_true(has_note(plan, "nftables: ", "by hand"));
    }
    close_machine(&m);
}

/* In a unit's name '-' stands for '/'. */
static void test_unit_of_a_name_with_a_dash(void **state)
{
    (void)state;
    machine m;
    tw_err err = {0};
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX);
    open_machine("debian12-nm", &m);
    m.want.soft_roce = true;
    snprintf(m.want.nodes[m.want.self].interface, sizeof m.want.nodes[0].interface, "br-cable.1");
    TW_CLEANUP(tw_json_freep) json_t *plan = plan_of(&m);
    assert_int_equal(tw_setup_plan_text(plan, &text, &err), 0);
    assert_non_null(strstr(text.data, "BindsTo=sys-subsystem-net-devices-br\\x2dcable.1.device\n"));
    assert_non_null(strstr(text.data, "type rxe netdev br-cable.1\n"));
    close_machine(&m);
}

/* A card that could do it itself, had its driver been loaded, gets no RDMA in software. */
static void test_no_soft_roce_over_a_card(void **state)
{
    (void)state;
    machine m;
    open_machine("debian12-nm", &m);
    m.want.soft_roce = true;
    TW_CLEANUP(tw_json_freep) json_t *plan = plan_of(&m);
    assert_true(has_step(plan, "soft-roce"));
    for (size_t i = 0; i < m.facts->net.n_ifs; i++)
        snprintf(m.facts->net.ifs[i].driver, sizeof m.facts->net.ifs[i].driver, "ice");
    TW_CLEANUP(tw_json_freep) json_t *card = plan_of(&m);
    assert_false(has_step(card, "soft-roce"));
    assert_true(has_note(card, m.want.nodes[m.want.self].interface, "sudo modprobe irdma"));
    close_machine(&m);
}

static void test_address_elsewhere(void **state)
{
    (void)state;
    machine m;
    open_machine("fedora43", &m);
    const tw_setup_node *self = &m.want.nodes[m.want.self];
    tw_net_if *other = &m.facts->net.ifs[m.facts->net.n_ifs++];
    *other = (tw_net_if){.name = "other0", .n_addrs = 1};
    snprintf(other->addrs[0].ip, sizeof other->addrs[0].ip, "%s", self->ip);
    TW_CLEANUP(tw_json_freep) json_t *plan = plan_of(&m);
    assert_false(has_step(plan, "network"));
    assert_true(has_note(plan, self->ip, "is on other0 already"));
    close_machine(&m);
}

/* A line that is longer than what can be taken in would come back cut. */
static void test_long_kernel_line(void **state)
{
    (void)state;
    machine m;
    static char text[2 * TW_KERNEL_LINE_BYTES];
    open_machine("ubuntu2404", &m);
    size_t n = (size_t)snprintf(text, sizeof text, "GRUB_CMDLINE_LINUX=\"");
    while (n < TW_KERNEL_LINE_BYTES + 100)
        n += (size_t)snprintf(text + n, sizeof text - n, "a%zu ", n);
    snprintf(text + n, sizeof text - n, "\"\n");
    json_object_set_new(m.seen.files, "/etc/default/grub", json_string(text));
    TW_CLEANUP(tw_json_freep) json_t *plan = plan_of(&m);
    assert_false(has_step(plan, "kernel"));
    assert_true(has_note(plan, "/etc/default/grub: ", "by hand"));
    close_machine(&m);
}

/* A key that is yet to be made is told in words. */
static void test_later_key(void **state)
{
    (void)state;
    machine m;
    tw_err err = {0};
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX);
    open_machine("fedora43", &m);
    for (size_t i = 0; i < m.want.n; i++)
        m.want.nodes[i].key[0] = '\0';
    TW_CLEANUP(tw_json_freep) json_t *plan = plan_of(&m);
    assert_int_equal(tw_setup_plan_text(plan, &text, &err), 0);
    assert_null(strstr(text.data, "@key:"));
    assert_non_null(strstr(text.data, "+ (the public key that step ssh-key makes on "));
    close_machine(&m);
}

static void test_files_once(void **state)
{
    static const char *const names[] = {"ubuntu2404", "debian12-ifupdown", "systemd-boot",
                                        "fedora43-profile", "debian12-nm"};
    (void)state;
    for (size_t n = 0; n < TW_ARRAY_LEN(names); n++) {
        machine m;
        const json_t *step, *action;
        size_t i, k;
        open_machine(names[n], &m);
        TW_CLEANUP(tw_json_freep) json_t *plan = plan_of(&m);
        apply_files(&m, plan);
        TW_CLEANUP(tw_json_freep) json_t *again = plan_of(&m);
        json_array_foreach(json_object_get(again, "steps"), i, step)
            json_array_foreach(json_object_get(step, "do"), k,
                               action) if (json_object_get(action, "file") != NULL &&
                                           !json_equal(json_object_get(action, "before"),
                                                       json_object_get(action, "after")))
                fail_msg("%s: %s is edited a second time", names[n],
                         json_string_value(json_object_get(action, "file")));
        close_machine(&m);
    }
}

/* ---- the subnet and the link ---- */

static uint8_t prefix(enum tw_setup_link link, size_t n, const char *const *ips)
{
    tw_setup_want w = {.n = n, .link = link};
    for (size_t i = 0; i < n; i++)
        snprintf(w.nodes[i].ip, sizeof w.nodes[i].ip, "%s", ips[i]);
    return tw_setup_prefix(&w);
}

static void test_prefix(void **state)
{
    (void)state;
    static const char *const eight[] = {"192.168.100.1", "192.168.100.2", "192.168.100.3",
                                        "192.168.100.4", "192.168.100.5", "192.168.100.6",
                                        "192.168.100.7", "192.168.100.8"};
    static const int want[] = {0, 0, 30, 29, 29, 29, 29, 28, 28};
    for (size_t n = 2; n <= 8; n++)
        assert_int_equal(prefix(TW_SETUP_LINK_RDMA, n, eight), want[n]);
    assert_int_equal(prefix(TW_SETUP_LINK_THUNDERBOLT, 2, eight), 24);
    assert_int_equal(prefix(TW_SETUP_LINK_RDMA, 2, (const char *const[]){"10.0.0.2", "10.0.0.3"}),
                     29);
    assert_int_equal(prefix(TW_SETUP_LINK_RDMA, 2, (const char *const[]){"10.0.3.255", "10.0.4.0"}),
                     21);
    assert_int_equal(prefix(TW_SETUP_LINK_RDMA, 2, (const char *const[]){"10.0.0.1", "11.0.0.2"}),
                     0);
    assert_int_equal(prefix(TW_SETUP_LINK_RDMA, 2, (const char *const[]){"fd00::1", "fd00::2"}),
                     64);
}

static tw_net *net_with(const char *host, enum tw_net_kind kind, const char *cable, bool rdma)
{
    tw_net *n = tw_mem_calloc(1, sizeof *n);
    snprintf(n->host, sizeof n->host, "%s", host);
    n->n_ifs = 2;
    snprintf(n->ifs[0].name, 16, "eno1");
    n->ifs[0].kind = TW_NET_ETHERNET;
    n->ifs[0].default_route = n->ifs[0].carrier = true;
    assert_true(tw_net_addr_parse(strcmp(host, "a") == 0 ? "10.0.0.1/24" : "10.0.0.2/24",
                                  &n->ifs[0].addrs[0]));
    n->ifs[0].n_addrs = 1;
    snprintf(n->ifs[1].name, 16, "%s", cable);
    n->ifs[1].kind = kind;
    n->ifs[1].carrier = true;
    if (rdma)
        snprintf(n->ifs[1].rdma, 64, "irdma0");
    return n;
}

static void check_link(const char *transport, tw_net *a, tw_net *b, enum tw_setup_link link,
                       const char *interface, const char *ip)
{
    tw_setup_want w = {.n = 2};
    const tw_net *nets[] = {a, b};
    tw_err err = {0};
    snprintf(w.nodes[0].name, 64, "a");
    snprintf(w.nodes[1].name, 64, "b");
    int rc = tw_setup_want_complete(&w, transport, nets, &err);
    if (link == TW_SETUP_LINK_NONE)
        assert_int_not_equal(rc, 0);
    else {
        assert_int_equal(rc, 0);
        assert_int_equal(w.link, link);
        assert_string_equal(w.nodes[1].interface, interface);
        assert_string_equal(w.nodes[1].ip, ip);
    }
    tw_mem_free(a);
    tw_mem_free(b);
}

static void test_link(void **state)
{
    (void)state;
    check_link("auto", net_with("a", TW_NET_ETHERNET, "enp1", true),
               net_with("b", TW_NET_ETHERNET, "enp2", true), TW_SETUP_LINK_RDMA, "enp2",
               "192.168.100.2");
    check_link("auto", net_with("a", TW_NET_THUNDERBOLT, "thunderbolt0", false),
               net_with("b", TW_NET_THUNDERBOLT, "thunderbolt0", false), TW_SETUP_LINK_THUNDERBOLT,
               "thunderbolt0", "192.168.2.2");
    check_link("auto", net_with("a", TW_NET_ETHERNET, "enp1", true),
               net_with("b", TW_NET_ETHERNET, "enp2", false), TW_SETUP_LINK_LAN, "eno1",
               "10.0.0.2");
    check_link("rdma", net_with("a", TW_NET_ETHERNET, "enp1", true),
               net_with("b", TW_NET_ETHERNET, "enp2", false), TW_SETUP_LINK_NONE, "", "");
}

static void refuse(const char *text)
{
    tw_setup_want w;
    tw_err err = {0};
    TW_CLEANUP(tw_json_freep) json_t *v = json_loads(text, 0, NULL);
    assert_non_null(v);
    assert_int_not_equal(tw_setup_want_parse(v, &w, &err), 0);
    assert_int_not_equal(err.msg[0], 0);
}

static void test_hostile(void **state)
{
    (void)state;
    refuse("[]");
    refuse("{\"nodes\":[],\"self\":0}");
    refuse("{\"nodes\":[{\"name\":\"a\"}],\"self\":1}");
    refuse("{\"nodes\":[{\"name\":\"-a\"}],\"self\":0}");
    refuse("{\"nodes\":[{\"name\":\"a b\"}],\"self\":0}");
    refuse("{\"nodes\":[{\"name\":\"a\",\"interface\":\"../x\"}],\"self\":0}");
    refuse("{\"nodes\":[{\"name\":\"a\",\"interface\":\"e\\n[x]\"}],\"self\":0}");
    refuse("{\"nodes\":[{\"name\":\"a\",\"ip\":\"1.2.3\"}],\"self\":0}");
    refuse("{\"nodes\":[{\"name\":\"a\",\"key\":\"ssh-rsa A\\nssh-rsa B\"}],\"self\":0}");
    refuse("{\"nodes\":[{\"name\":\"a\",\"key\":\"command=x ssh-rsa B\"}],\"self\":0}");
    refuse("{\"nodes\":[{\"name\":\"a\"}],\"self\":0,\"link\":\"x\"}");
}

static void test_quote(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(1000);
    TW_CLEANUP(tw_json_freep) json_t *argv = json_pack("[s, s, s, s]", "a", "", "it's", "x=$y");
    assert_int_equal(tw_setup_quote(argv, &out), 0);
    assert_string_equal(out.data, "a '' 'it'\\''s' 'x=$y'");
}

/* A hostile node's plan cannot steer the terminal; what is missing is no crash. */
static void test_hostile_plan(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(10000);
    tw_err err = {0};
    TW_CLEANUP(tw_json_freep)
    json_t *plan =
        json_pack("{s:s, s:[{s:s, s:s, s:[{s:s, s:s}, {s:[s]}, {}]}, {}], s:[i]}", "node",
                  "a\x1b[2J", "steps", "id", "x\x1b]0;t\a", "title",
                  "t\x7f\xc2\x9b"
                  "31m\xe2\x80\xae",
                  "do", "file", "/etc/x", "after", "a\rb\n", "run", "\x1b[1A", "notes", 7);
    assert_non_null(plan);
    assert_int_equal(tw_setup_plan_text(plan, &out, &err), 0);
    for (size_t i = 0; i < out.len; i++)
        assert_true((unsigned char)out.data[i] >= 0x20 || out.data[i] == '\n');
    assert_null(memchr(out.data, 0x7f, out.len));
    assert_null(strstr(out.data, "\xc2\x9b"));
    assert_null(strstr(out.data, "\xe2\x80\xae"));
}

static void test_key(void **state)
{
    (void)state;
    assert_true(tw_setup_is_key(""));
    assert_true(tw_setup_is_key("ssh-ed25519 AAAA me@box"));
    assert_true(tw_setup_is_key("ssh-ed25519 AAAA j\xc3\xb6rg@box"));
    assert_true(tw_setup_is_key("ecdsa-sha2-nistp256 AAAA"));
    assert_false(tw_setup_is_key("ssh-ed25519"));
    assert_false(tw_setup_is_key("ssh-ed25519 AAAA\nssh-rsa BBBB"));
    assert_false(tw_setup_is_key("command=\"x\" ssh-ed25519 AAAA"));
    assert_false(tw_setup_is_key("@cert-authority * ssh-ed25519 AAAA"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden),
                                       cmocka_unit_test(test_unseen),
                                       cmocka_unit_test(test_later_key),
                                       cmocka_unit_test(test_nft_names),
                                       cmocka_unit_test(test_unit_of_a_name_with_a_dash),
                                       cmocka_unit_test(test_no_soft_roce_over_a_card),
                                       cmocka_unit_test(test_address_elsewhere),
                                       cmocka_unit_test(test_long_kernel_line),
                                       cmocka_unit_test(test_files_once),
                                       cmocka_unit_test(test_prefix),
                                       cmocka_unit_test(test_link),
                                       cmocka_unit_test(test_hostile),
                                       cmocka_unit_test(test_quote),
                                       cmocka_unit_test(test_hostile_plan),
                                       cmocka_unit_test(test_key)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
