/* SPDX-License-Identifier: Apache-2.0 */
#include "host/toolbox_look.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "host/facts_field.h"
#include "host/setup_exec.h"
#include "host/toolbox_say.h"
#include "os/file.h"
#include "os/sha256.h"

enum { OUT_MAX = 8 << 20, SAYS_MAX = 64 * 1024, CAP_SYS_RESOURCE_BIT = 24 };
#define ASK_LIMIT_NS (30 * TW_NS_PER_S)

/* ---- as JSON ---- */

/* clang-format off */
TW_TABLE(image_table,
    TW_F_TEXT(tw_toolbox_image, id),
    TW_F_UINT(tw_toolbox_image, bytes),
    TW_F_UINT(tw_toolbox_image, created_s),
    TW_F_TEXTS(tw_toolbox_image, names, n_names),
    TW_F_TEXTS(tw_toolbox_image, digests, n_digests));

TW_TABLE(box_table,
    TW_F_TEXT(tw_toolbox_box, name),
    TW_F_TEXT(tw_toolbox_box, image_id),
    TW_F_TEXT(tw_toolbox_box, image),
    TW_F_TEXT(tw_toolbox_box, state),
    TW_F_TEXT(tw_toolbox_box, made_by),
    TW_F_TEXT(tw_toolbox_box, flags),
    TW_F_TEXT(tw_toolbox_box, rccl),
    TW_F_UINT(tw_toolbox_box, created_s),
    TW_F_UINT(tw_toolbox_box, n_changes),
    TW_F_TEXT(tw_toolbox_box, change));

TW_TABLE(device_table,
    TW_F_TEXT(tw_toolbox_device, path),
    TW_F_TEXT(tw_toolbox_device, group),
    TW_F_BOOL(tw_toolbox_device, usable));

TW_TABLE(look_table,
    TW_F_TEXT(tw_toolbox_look, os),
    TW_F_TEXT(tw_toolbox_look, os_like),
    TW_F_TEXT(tw_toolbox_look, machine),
    TW_F_TEXT(tw_toolbox_look, user),
    TW_F_BOOL(tw_toolbox_look, ostree),
    TW_F_TEXT(tw_toolbox_look, podman),
    TW_F_TEXT(tw_toolbox_look, toolbox),
    TW_F_TEXT(tw_toolbox_look, distrobox),
    TW_F_TEXT(tw_toolbox_look, skopeo),
    TW_F_TEXT(tw_toolbox_look, runtime),
    TW_F_TEXT(tw_toolbox_look, graph_root),
    TW_F_UINT(tw_toolbox_look, free_bytes),
    TW_F_UINT(tw_toolbox_look, shm_bytes),
    TW_F_BOOL(tw_toolbox_look, root),
    TW_F_BOOL(tw_toolbox_look, no_subids),
    TW_F_BOOL(tw_toolbox_look, may_raise),
    TW_F_LIMIT(tw_toolbox_look, memlock_hard),
    TW_F_LIST(tw_toolbox_look, "devices", devices, n_devices, device_table),
    TW_F_LIST(tw_toolbox_look, "images", images, n_images, image_table),
    TW_F_LIST(tw_toolbox_look, "boxes", boxes, n_boxes, box_table),
    TW_F_BOOL(tw_toolbox_look, rccl_there),
    TW_F_TEXT(tw_toolbox_look, rccl_sha256),
    TW_F_TEXT(tw_toolbox_look, trouble),
    TW_F_TEXT(tw_toolbox_look, says));
/* clang-format on */

json_t *tw_toolbox_look_print(const tw_toolbox_look *l)
{
    return tw_table_print(&look_table, l);
}

int tw_toolbox_look_parse(const json_t *v, tw_toolbox_look *ret, tw_err *err)
{
    *ret = (tw_toolbox_look){.root = false};
    return tw_table_parse(&look_table, "", v, ret, err);
}

/* ---- what the facts say ---- */

/* /dev/dri and /dev/infiniband are passed as folders: they are as open as what they hold. */
static void add_device(const tw_facts *f, const char *path, const char *prefix, tw_toolbox_look *l)
{
    tw_toolbox_device d = {.usable = true};
    bool found = false;
    for (size_t i = 0; i < f->n_devs; i++) {
        const tw_facts_dev *v = &f->devs[i];
        if (strncmp(v->path, prefix, strlen(prefix)) != 0)
            continue;
        found = true;
        d.usable = d.usable && v->usable != TW_NO;
        if ((v->mode & 06) != 06 && d.group[0] == '\0')
            snprintf(d.group, sizeof d.group, "%s", v->group[0] != '\0' ? v->group : "?");
    }
    if (!found)
        return;
    snprintf(d.path, sizeof d.path, "%s", path);
    l->devices[l->n_devices++] = d;
}

static void take_version(const tw_facts *f, const char *tool, char out[24])
{
    snprintf(out, 24, "%s", tw_facts_has_tool(f, tool) ? "?" : "");
}

void tw_toolbox_take_facts(const tw_facts *f, tw_toolbox_look *l)
{
    snprintf(l->os, sizeof l->os, "%s", f->os.id);
    snprintf(l->os_like, sizeof l->os_like, "%s", f->os.id_like);
    snprintf(l->machine, sizeof l->machine, "%s", f->os.machine);
    snprintf(l->user, sizeof l->user, "%s", f->user.name);
    l->ostree = f->os.is_ostree == TW_YES;
    l->root = f->user.uid.known && f->user.uid.v == 0;
    l->no_subids = !l->root && f->container.rootless_ready == TW_NO;
    l->memlock_hard = f->limits.memlock_hard;
    take_version(f, "podman", l->podman);
    take_version(f, "toolbox", l->toolbox);
    take_version(f, "distrobox", l->distrobox);
    take_version(f, "skopeo", l->skopeo);
    l->n_devices = 0;
    add_device(f, "/dev/kfd", "/dev/kfd", l);
    add_device(f, "/dev/dri", "/dev/dri/renderD", l);
    add_device(f, "/dev/infiniband", "/dev/infiniband/", l);
}

/* ---- what podman says ---- */

static bool has_cap_sys_resource(void)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(SAYS_MAX);
    tw_err ignored;
    unsigned long long caps = 0;
    if (tw_file_read("/proc/self/status", &b, &ignored) != 0)
        return false;
    const char *line = strstr(b.data, "CapEff:");
    return line != NULL && sscanf(line, "CapEff: %llx", &caps) == 1 &&
           (caps >> CAP_SYS_RESOURCE_BIT & 1) != 0;
}

/* 0 with its stdout; a failure is kept in l. */
static int ask_podman(const tw_toolbox_ask *ask, const char *const *argv, tw_buf *out,
                      tw_toolbox_look *l, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf says = TW_BUF(SAYS_MAX);
    const tw_exec_job j = {.argv = argv,
                           .limit_ns = ASK_LIMIT_NS,
                           .out = out,
                           .says = &says,
                           .should_stop = ask->should_stop,
                           .ctx = ask->ctx};
    tw_buf_reset(out);
    int rc = tw_exec_run(&j, err);
    if (rc != 0) {
        const char *text = says.data != NULL && says.len > 0 ? says.data : err->msg;
        snprintf(l->trouble, sizeof l->trouble, "%s",
                 tw_toolbox_trouble_name(tw_toolbox_trouble_of(text)));
        tw_toolbox_pick_line(text, l->says, sizeof l->says);
    }
    return rc == 0 && out->data == NULL ? tw_buf_puts(out, "") : rc;
}

static int look_at_box(const tw_toolbox_ask *ask, tw_toolbox_look *l, tw_buf *out, tw_err *err)
{
    for (size_t i = 0; ask->changes && i < l->n_boxes; i++) {
        if (strcmp(l->boxes[i].name, ask->box) != 0)
            continue;
        const char *const argv[] = {"podman", "container", "diff", ask->box, NULL};
        int rc = ask_podman(ask, argv, out, l, err);
        if (rc == 0)
            tw_toolbox_take_diff(out->data, &l->boxes[i]);
        return rc;
    }
    return 0;
}

static int look_at_podman(const tw_toolbox_ask *ask, tw_toolbox_look *l, tw_err *err)
{
    static const char *const info[] = {"podman", "info", "--format", "json", NULL};
    static const char *const images[] = {"podman",   "images", "--all", "--no-trunc",
                                         "--format", "json",   NULL};
    static const char *const boxes[] = {"podman",   "ps",   "--all", "--no-trunc",
                                        "--format", "json", NULL};
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(OUT_MAX);
    struct statvfs v;
    int rc = ask->again ? 0 : ask_podman(ask, info, &out, l, err);
    if (rc == 0 && !ask->again)
        rc = tw_toolbox_take_info(out.data, out.len, l, err);
    if (rc == 0)
        rc = ask_podman(ask, images, &out, l, err);
    if (rc == 0)
        rc = tw_toolbox_take_images(out.data, out.len, l, err);
    if (rc == 0)
        rc = ask_podman(ask, boxes, &out, l, err);
    if (rc == 0)
        rc = tw_toolbox_take_boxes(out.data, out.len, ask->box, l, err);
    if (rc == 0)
        rc = look_at_box(ask, l, &out, err);
    if (rc == 0 && statvfs(l->graph_root, &v) == 0)
        l->free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return rc;
}

static int hash_rccl(const char *path, tw_toolbox_look *l, tw_err *err)
{
    TW_CLEANUP(tw_map_close) tw_map m = {.p = NULL};
    uint8_t hash[TW_SHA256_BYTES];
    tw_sha256 s;
    if (!tw_file_exists(path) || tw_file_is_dir(path))
        return 0;
    int rc = tw_map_open(path, &m, err);
    if (rc != 0)
        return rc;
    tw_sha256_init(&s);
    tw_sha256_add(&s, m.p, m.size_bytes);
    tw_sha256_end(&s, hash);
    tw_sha256_print(hash, l->rccl_sha256);
    l->rccl_there = true;
    return 0;
}

static int look_at_host(const tw_toolbox_ask *ask, tw_toolbox_look *ret, tw_err *err)
{
    const tw_facts_opts o = {.containers = false};
    TW_CLEANUP(tw_mem_freep) tw_facts *f = tw_mem_calloc(1, sizeof *f);
    struct statvfs v;
    if (f == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts");
    int rc = tw_facts_read(&o, f, err);
    if (rc != 0)
        return rc;
    *ret = (tw_toolbox_look){.root = false};
    tw_toolbox_take_facts(f, ret);
    ret->may_raise = has_cap_sys_resource();
    if (statvfs("/dev/shm", &v) == 0)
        ret->shm_bytes = (uint64_t)v.f_blocks * v.f_frsize;
    if (ask->rccl_path != NULL)
        rc = hash_rccl(ask->rccl_path, ret, err);
    return rc;
}

int tw_toolbox_look_read(const tw_toolbox_ask *ask, tw_toolbox_look *ret, tw_err *err)
{
    tw_err why = {0};
    int rc = ask->again ? 0 : look_at_host(ask, ret, err);
    if (rc != 0 || ret->podman[0] == '\0')
        return rc;
    ret->n_images = ret->n_boxes = 0;
    ret->trouble[0] = ret->says[0] = '\0';
    rc = look_at_podman(ask, ret, &why);
    if (rc == -ECANCELED)
        return tw_err_set(err, rc, "%s", why.msg);
    if (rc != 0 && ret->trouble[0] == '\0') {
        snprintf(ret->trouble, sizeof ret->trouble, "%s",
                 tw_toolbox_trouble_name(TW_TOOLBOX_OTHER));
        snprintf(ret->says, sizeof ret->says, "%s", why.msg);
    }
    return 0;
}
