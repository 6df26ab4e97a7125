/* SPDX-License-Identifier: Apache-2.0 */
/* Plans for machines that are not here, against tests/data/toolbox/NAME.txt (TW_REGEN=1 writes them
 * anew), and what a node cannot have, with the mend. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "host/toolbox_do.h"
#include "host/toolbox_plan.h"
#include "os/file.h"

enum { TEXT_MAX = 64 * 1024 };

#define DIGEST  "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define OLD_ID  "2222222222222222222222222222222222222222222222222222222222222222"
#define NEW_ID  "3333333333333333333333333333333333333333333333333333333333333333"
#define RCCL_ID "4444444444444444444444444444444444444444444444444444444444444444"

static tw_toolbox_look *look;
static tw_toolbox_want want;

static void add_device(const char *path, const char *group)
{
    tw_toolbox_device *d = &look->devices[look->n_devices++];
    snprintf(d->path, sizeof d->path, "%s", path);
    snprintf(d->group, sizeof d->group, "%s", group);
    d->usable = true;
}

/* A user's machine with the guide's devices; group: "" where everybody may open them. */
static void machine(const char *os, const char *group)
{
    *look = (tw_toolbox_look){.podman = "5.2.3",
                              .runtime = "crun",
                              .machine = "x86_64",
                              .user = "me",
                              .graph_root = "/data/containers",
                              .free_bytes = UINT64_C(400000000000),
                              .shm_bytes = UINT64_C(64) << 30,
                              .memlock_hard = {TW_BYTES_UNLIMITED, true}};
    snprintf(look->os, sizeof look->os, "%s", os);
    if (strcmp(os, "ubuntu") == 0)
        snprintf(look->os_like, sizeof look->os_like, "debian");
    add_device("/dev/kfd", group);
    add_device("/dev/dri", group);
    add_device("/dev/infiniband", "");
}

static void has(const char *toolbox, const char *distrobox)
{
    snprintf(look->toolbox, sizeof look->toolbox, "%s", toolbox);
    snprintf(look->distrobox, sizeof look->distrobox, "%s", distrobox);
}

static tw_toolbox_image *image(const char *id, const char *name, const char *digest)
{
    tw_toolbox_image *m = &look->images[look->n_images++];
    *m = (tw_toolbox_image){.bytes = UINT64_C(25000000000), .n_names = name != NULL};
    snprintf(m->id, sizeof m->id, "%s", id);
    if (name != NULL)
        snprintf(m->names[0], sizeof m->names[0], "%s", name);
    if (digest != NULL)
        snprintf(m->digests[m->n_digests++], sizeof m->digests[0], "%s", digest);
    return m;
}

static tw_toolbox_box *container(const char *name, const char *id, const char *made_by)
{
    tw_toolbox_box *b = &look->boxes[look->n_boxes++];
    *b = (tw_toolbox_box){.created_s = 1769000000, .state = "exited"};
    snprintf(b->name, sizeof b->name, "%s", name);
    snprintf(b->image_id, sizeof b->image_id, "%s", id);
    snprintf(b->made_by, sizeof b->made_by, "%s", made_by);
    return b;
}

static void wish(const char *box)
{
    tw_err err = {0};
    want = (tw_toolbox_want){.box = box,
                             .stamp = "20261122-203005",
                             .image_bytes = UINT64_C(9870000000),
                             .arch = "amd64"};
    assert_int_equal(tw_toolbox_ref_parse(TW_TOOLBOX_REPO "@" DIGEST, &want.ref, &err), 0);
    snprintf(want.ref.tag, sizeof want.ref.tag, "latest");
}

static json_t *plan_of(void)
{
    tw_err err = {0};
    json_t *plan = NULL;
    if (tw_toolbox_plan("box2", look, &want, &plan, &err) != 0)
        fail_msg("%s", err.msg);
    return plan;
}

static void check_golden(const char *name)
{
    char path[600];
    tw_err err = {0};
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TEXT_MAX), wanted = TW_BUF(TEXT_MAX);
    TW_CLEANUP(tw_json_freep) json_t *plan = plan_of();
    assert_int_equal(tw_toolbox_plan_text(plan, &text, &err), 0);
    snprintf(path, sizeof path, "%s/toolbox/%s.txt", getenv("TW_TEST_DATA"), name);
    if (getenv("TW_REGEN") != NULL)
        assert_int_equal(tw_file_write(path, text.data, text.len, &err), 0);
    if (tw_file_read(path, &wanted, &err) != 0)
        fail_msg("%s", err.msg);
    assert_string_equal(text.data, wanted.data);
}

/* ---- goldens ---- */

static void fedora_first_time(void **state)
{
    (void)state;
    machine("fedora", "");
    has("0.3", "");
    wish("vllm-therock-gfx1151");
    check_golden("fedora43-toolbox-first");
}

/* Made by the guide's script; it runs, and was changed. */
static void fedora_refresh(void **state)
{
    (void)state;
    machine("fedora", "");
    has("0.3", "1.8");
    image(OLD_ID, TW_TOOLBOX_REPO ":latest", NULL);
    tw_toolbox_box *b = container("vllm", OLD_ID, "toolbox");
    snprintf(b->state, sizeof b->state, "running");
    snprintf(b->change, sizeof b->change, "/usr/bin/vim");
    b->n_changes = 3;
    wish("vllm");
    check_golden("fedora43-toolbox-refresh");
}

static void fedora_distrobox(void **state)
{
    (void)state;
    machine("fedora", "");
    has("", "1.8");
    wish("vllm-therock-gfx1151");
    check_golden("fedora43-distrobox-first");
}

static void fedora_no_cards(void **state)
{
    (void)state;
    machine("fedora", "");
    has("0.3", "");
    look->n_devices = 0;
    look->memlock_hard = tw_count_of(8 << 20);
    look->shm_bytes = UINT64_C(4) << 30;
    wish("vllm-therock-gfx1151");
    check_golden("fedora43-toolbox-no-cards");
}

/* /dev/kfd is for group render alone: toolbox could not open it. */
static void ubuntu_group_devices(void **state)
{
    (void)state;
    machine("ubuntu", "render");
    has("0.0.99", "1.7");
    wish("vllm-therock-gfx1151");
    check_golden("ubuntu2404-distrobox-render");
}

static void ubuntu_no_infiniband(void **state)
{
    (void)state;
    machine("ubuntu", "render");
    has("", "1.7");
    look->n_devices = 2;
    look->devices[1].usable = false;
    look->memlock_hard = tw_count_of(8 << 20);
    wish("vllm-therock-gfx1151");
    check_golden("ubuntu2404-distrobox-no-infiniband");
}

static void ubuntu_toolbox_no_cards(void **state)
{
    (void)state;
    machine("ubuntu", "");
    has("0.0.99", "");
    look->n_devices = 0;
    wish("vllm-therock-gfx1151");
    check_golden("ubuntu2404-toolbox-no-cards");
}

static void root_is_asked_for_no_groups(void **state)
{
    (void)state;
    machine("ubuntu", "render");
    has("", "1.7");
    look->root = look->may_raise = true;
    look->memlock_hard = tw_count_of(8 << 20);
    wish("vllm-therock-gfx1151");
    check_golden("ubuntu2404-root-distrobox");
}

static void rccl(void **state)
{
    (void)state;
    machine("fedora", "");
    has("0.3", "1.8");
    look->rccl_there = true;
    snprintf(look->rccl_sha256, sizeof look->rccl_sha256, RCCL_ID);
    wish("vllm");
    want.rccl_path = "/data/librccl.so.1";
    check_golden("fedora43-toolbox-rccl-before-pull");
    want.n_rccl = 2;
    snprintf(want.rccl[0], sizeof want.rccl[0], "/opt/rocm/lib/librccl.so.1.0");
    snprintf(want.rccl[1], sizeof want.rccl[1], "/opt/venv/lib/librccl.so.1");
    check_golden("fedora43-toolbox-rccl");
    want.with = "distrobox";
    check_golden("fedora43-distrobox-rccl");
    look->rccl_there = false;
    tw_err err = {0};
    json_t *plan = NULL;
    assert_int_equal(tw_toolbox_plan("box2", look, &want, &plan, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "same place on every node"));
}

static void rollback(void **state)
{
    (void)state;
    const char *stamp = NULL;
    machine("fedora", "");
    has("0.3", "");
    image(OLD_ID, "localhost/twinax/vllm:20260801-101500", NULL);
    image(NEW_ID, "localhost/twinax/vllm:20261001-090000", DIGEST);
    container("vllm", NEW_ID, "toolbox");
    wish("vllm");
    want.rollback = true;
    want.ref.digest[0] = '\0';
    assert_ptr_equal(tw_toolbox_find_back(look, "vllm", TW_TOOLBOX_REPO, NULL, &stamp),
                     &look->images[0]);
    want.stamp = stamp;
    check_golden("fedora43-rollback");
}

/* ---- nothing to do ---- */

static size_t n_steps(const json_t *plan)
{
    return json_array_size(json_object_get(plan, "fetch")) +
           json_array_size(json_object_get(plan, "swap"));
}

static void what_is_as_wanted_stays(void **state)
{
    (void)state;
    machine("ubuntu", "render");
    has("0.0.99", "1.7");
    tw_toolbox_image *m = image(NEW_ID, TW_TOOLBOX_REPO ":latest", DIGEST);
    snprintf(m->names[m->n_names++], sizeof m->names[0], "localhost/twinax/vllm:20261001-090000");
    tw_toolbox_box *b = container("vllm", NEW_ID, "distrobox");
    snprintf(b->state, sizeof b->state, "running");
    wish("vllm");
    TW_CLEANUP(tw_json_freep) json_t *other_flags = plan_of();
    assert_true(n_steps(other_flags) > 0);
    assert_int_equal(json_array_size(json_object_get(other_flags, "asks")), 1);
    snprintf(b->flags, sizeof b->flags,
             "--device=/dev/kfd,--device=/dev/dri,--device=/dev/infiniband,"
             "--group-add=keep-groups,--ulimit=memlock=-1:-1");
    TW_CLEANUP(tw_json_freep) json_t *same = plan_of();
    assert_int_equal(n_steps(same), 0);
    assert_true(json_is_true(json_object_get(same, "current")));
    assert_int_equal(json_array_size(json_object_get(same, "asks")), 0);
    snprintf(b->rccl, sizeof b->rccl, RCCL_ID); /* it has one that is not wanted any more */
    TW_CLEANUP(tw_json_freep) json_t *other_rccl = plan_of();
    assert_true(n_steps(other_rccl) > 0);
}

static void old_images_by_date(void **state)
{
    (void)state;
    tw_toolbox_old old[8];
    const char *stamp = NULL;
    machine("fedora", "");
    image(OLD_ID, "localhost/twinax/vllm:20260801-101500", NULL);
    image(NEW_ID, TW_TOOLBOX_REPO ":20261001-090000", NULL); /* kept by another's script */
    image(RCCL_ID, "localhost/twinax/other:20261101-090000", NULL);
    image(RCCL_ID "x", TW_TOOLBOX_REPO ":latest", NULL);
    container("vllm", OLD_ID, "toolbox");
    assert_int_equal(tw_toolbox_list_old(look, "vllm", TW_TOOLBOX_REPO, old, 8), 2);
    assert_string_equal(old[0].stamp, "20261001-090000");
    assert_false(old[0].used);
    assert_true(old[1].used);
    assert_null(tw_toolbox_find_back(look, "vllm", TW_TOOLBOX_REPO, NULL, &stamp));
    assert_ptr_equal(tw_toolbox_find_back(look, "vllm", TW_TOOLBOX_REPO, "20261001-090000", &stamp),
                     &look->images[1]);
    TW_CLEANUP(tw_json_freep)
    json_t *step = tw_toolbox_plan_remove(&look->images[1], "vllm", TW_TOOLBOX_REPO);
    const json_t *argv = json_object_get(step, "argv");
    assert_int_equal(json_array_size(argv), 3);
    assert_string_equal(json_string_value(json_array_get(argv, 2)),
                        TW_TOOLBOX_REPO ":20261001-090000");
}

/* ---- what cannot be ---- */

static void refused(int code, const char *says)
{
    tw_err err = {0};
    json_t *plan = NULL;
    const int rc = tw_toolbox_plan("box2", look, &want, &plan, &err);
    if (rc != code || strstr(err.msg, says) == NULL || strlen(err.msg) > 236)
        fail_msg("wanted %d, '%s'; found %d, '%s'", code, says, rc, err.msg);
}

static void usable(const char *os, const char *group)
{
    machine(os, group);
    has("0.3", "1.8");
    wish("vllm");
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    usable("fedora", "");
    look->podman[0] = '\0';
    refused(-ENOENT, "podman is not installed: sudo dnf install podman toolbox");
    look->ostree = true;
    refused(-ENOENT, "rpm-ostree install podman toolbox");
    usable("ubuntu", "");
    look->podman[0] = '\0';
    refused(-ENOENT, "sudo apt-get install podman podman-toolbox");
    usable("ubuntu", "");
    has("", "");
    refused(-ENOENT, "neither toolbox nor distrobox is installed: sudo apt-get install podman-");
    usable("ubuntu", "render");
    has("", "");
    refused(-ENOENT, "sudo apt-get install distrobox");
    has("0.0.99", "");
    refused(-EACCES, "/dev/kfd is for group render alone");
    want.with = "distrobox";
    refused(-ENOENT, "distrobox is not installed");
    has("0.0.99", "1.7");
    snprintf(look->runtime, sizeof look->runtime, "runc");
    refused(-EOPNOTSUPP, "the runtime runc cannot keep groups: sudo apt-get install crun");
    usable("fedora", "");
    look->no_subids = true;
    refused(-EPERM, "usermod --add-subuids");
}

static void what_does_not_fit_is_named(void **state)
{
    (void)state;
    usable("fedora", "");
    look->free_bytes = UINT64_C(12000000000);
    refused(-ENOSPC, "12.0 GB free; the image is 9.9 GB packed, and wants 29.6 GB");
    image(NEW_ID, TW_TOOLBOX_REPO ":latest", DIGEST); /* it is here: no room is wanted */
    json_decref(plan_of());
    usable("fedora", "");
    snprintf(look->machine, sizeof look->machine, "aarch64");
    refused(-ENOEXEC, "is made for amd64, this machine is arm64");
    usable("fedora", "");
    snprintf(look->trouble, sizeof look->trouble, "disk full");
    snprintf(look->says, sizeof look->says, "Error: mkdir /x: no space left on device");
    refused(-ENOSPC, "no space left on device");
    usable("fedora", "");
    want.rollback = true;
    refused(-ENOENT, "no image with the date 20261122-203005");
}

/* ---- over the wire ---- */

static void a_look_survives_json(void **state)
{
    (void)state;
    tw_err err = {0};
    usable("ubuntu", "render");
    image(NEW_ID, "localhost/twinax/vllm:20261001-090000", DIGEST);
    snprintf(container("vllm", NEW_ID, "toolbox")->change, 20, "/usr/bin/vim");
    TW_CLEANUP(tw_json_freep) json_t *v = tw_toolbox_look_print(look);
    TW_CLEANUP(tw_mem_freep) tw_toolbox_look *again = tw_mem_calloc(1, sizeof *again);
    assert_int_equal(tw_toolbox_look_parse(v, again, &err), 0);
    assert_memory_equal(again, look, sizeof *look);
    TW_CLEANUP(tw_json_freep) json_t *bad = json_pack("{s:s}", "images", "many");
    assert_true(tw_toolbox_look_parse(bad, again, &err) < 0);
}

/* ---- what is another's ---- */

static void write_program(const char *folder, const char *name, const char *script)
{
    char path[200];
    tw_err err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(tw_file_write(path, script, strlen(script), &err), 0);
    assert_int_equal(chmod(path, 0700), 0);
}

/* The swap of the plan for what was set up; *ret_removed: whether podman was told to remove it. */
static json_t *do_with_fakes(const char *podman, const char *toolbox, const tw_toolbox_face *face,
                             bool *ret_removed)
{
    char folder[] = "/tmp/twinax-test-XXXXXX", removed[200], path[4200];
    TW_CLEANUP(tw_json_freep) json_t *plan = plan_of();
    json_t *answer = NULL;
    tw_err err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(removed, sizeof removed, "%s/removed", folder);
    write_program(folder, "podman", podman);
    write_program(folder, "toolbox", toolbox);
    char *old_path = strdup(getenv("PATH"));
    snprintf(path, sizeof path, "%s:%s", folder, old_path);
    setenv("PATH", path, 1);
    const int rc = tw_toolbox_do(json_object_get(plan, "swap"), face, &answer, &err);
    setenv("PATH", old_path, 1);
    free(old_path);
    *ret_removed = unlink(removed) == 0;
    snprintf(path, sizeof path, "%s/podman", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/toolbox", folder);
    unlink(path);
    rmdir(folder);
    assert_int_equal(rc, 0);
    return answer;
}

/* It came while the image was pulled: a create that fails must not take it away. */
static void anothers_container_stays(void **state)
{
    (void)state;
    const tw_toolbox_face face = {.ctx = NULL};
    bool removed = false;
    machine("fedora", "");
    has("0.3", "");
    wish("box");
    TW_CLEANUP(tw_json_freep)
    json_t *answer =
        do_with_fakes("#!/bin/sh\n[ \"$1\" = rm ] && : >\"${0%/*}/removed\"\nexit 0\n",
                      "#!/bin/sh\necho 'Error: it exists' >&2\nexit 1\n", &face, &removed);
    const json_t *failed = json_object_get(answer, "failed");
    assert_non_null(failed);
    assert_false(removed);
    assert_string_equal(tw_json_text_at(failed, "id"), "vacant");
    assert_non_null(strstr(tw_json_text_at(failed, "says"), "container box has come in"));
}

static void note_line(void *ctx, const char *line)
{
    bool *heard = ctx;
    *heard = *heard || strstr(line, "its storage is busy") != NULL;
}

/* The new one is good: were it removed for the old one's sake, which is half gone, there would be
 * neither. */
static void the_old_one_does_not_go(void **state)
{
    (void)state;
    bool removed = false, heard = false;
    const tw_toolbox_face face = {.ctx = &heard, .line = note_line};
    machine("fedora", "");
    has("0.3", "");
    container("box", OLD_ID, "toolbox");
    wish("box");
    TW_CLEANUP(tw_json_freep)
    json_t *answer =
        do_with_fakes("#!/bin/sh\ncase \"$*\" in container*) exit 1;; *-before-*) [ $1 != rm ] || "
                      "{ echo 'Error: its storage is busy' >&2; exit 1; };; rm*) : "
                      ">\"${0%/*}/removed\";; esac\nexit 0\n",
                      "#!/bin/sh\necho twinax end\n", &face, &removed);
    assert_null(json_object_get(answer, "failed"));
    assert_false(removed);
    assert_true(heard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fedora_first_time),
        cmocka_unit_test(fedora_refresh),
        cmocka_unit_test(fedora_distrobox),
        cmocka_unit_test(fedora_no_cards),
        cmocka_unit_test(ubuntu_group_devices),
        cmocka_unit_test(ubuntu_no_infiniband),
        cmocka_unit_test(ubuntu_toolbox_no_cards),
        cmocka_unit_test(root_is_asked_for_no_groups),
        cmocka_unit_test(rccl),
        cmocka_unit_test(rollback),
        cmocka_unit_test(what_is_as_wanted_stays),
        cmocka_unit_test(old_images_by_date),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(what_does_not_fit_is_named),
        cmocka_unit_test(anothers_container_stays),
        cmocka_unit_test(the_old_one_does_not_go),
        cmocka_unit_test(a_look_survives_json),
    };
    look = tw_mem_calloc(1, sizeof *look);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tw_mem_free(look);
    return failed;
}
