/* SPDX-License-Identifier: Apache-2.0 */
#include "host/toolbox_plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_field.h"
#include "host/toolbox_flags.h"
#include "host/toolbox_probe.h"
#include "host/toolbox_say.h"

#define GIB             (UINT64_C(1) << 30)
#define SHM_WANTED      (8 * GIB)
#define STOP_GRACE_TEXT "10"

enum { OLD_MAX = TW_TOOLBOX_IMAGES_MAX };

/* One plan being made. */
typedef struct maker {
    const tw_toolbox_look *l;
    const tw_toolbox_want *w;
    json_t *plan;
    const char *with;
    const tw_toolbox_box *box;               /* that is there; NULL: none */
    const tw_toolbox_image *image;           /* the wanted one, if it is here */
    char ref[TW_TOOLBOX_REF_BYTES + 130];    /* what the container is made of, by name */
    char source[TW_TOOLBOX_REF_BYTES + 130]; /* what is pulled */
    bool failed;                             /* out of memory */
} maker;

static void push(maker *m, const char *list, json_t *v)
{
    if (v == NULL || json_array_append_new(json_object_get(m->plan, list), v) != 0)
        m->failed = true;
}

static void put(maker *m, json_t *o, const char *key, json_t *v)
{
    if (v == NULL || json_object_set_new(o, key, v) != 0)
        m->failed = true;
}

static void say(maker *m, const char *list, const char *fmt, ...) TW_PRINTF(3, 4);
static void say(maker *m, const char *list, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    push(m, list, json_string(text));
}

static json_t *words_of(maker *m, const char *first, va_list ap)
{
    json_t *argv = json_array();
    for (const char *word = first; word != NULL; word = va_arg(ap, const char *))
        if (json_array_append_new(argv, json_string(word)) != 0)
            m->failed = true;
    return argv;
}

/* A step of fetch or swap; the words of its command, NULL at the end. Borrowed. */
static json_t *step(maker *m, const char *list, const char *id, const char *title, const char *word,
                    ...) __attribute__((sentinel));
static json_t *step(maker *m, const char *list, const char *id, const char *title, const char *word,
                    ...)
{
    va_list ap;
    va_start(ap, word);
    json_t *argv = words_of(m, word, ap);
    va_end(ap);
    json_t *v = json_pack("{s:s, s:s, s:o}", "id", id, "title", title, "argv", argv);
    push(m, list, v);
    return v;
}

static void undo(maker *m, json_t *v, const char *word, ...) __attribute__((sentinel));
static void undo(maker *m, json_t *v, const char *word, ...)
{
    va_list ap;
    va_start(ap, word);
    put(m, v, "undo", words_of(m, word, ap));
    va_end(ap);
}

/* ---- what this node cannot have ---- */

static bool is_like(const tw_toolbox_look *l, const char *id)
{
    return strcmp(l->os, id) == 0 || strstr(l->os_like, id) != NULL;
}

static const char *installer(const tw_toolbox_look *l)
{
    return l->ostree                                      ? "rpm-ostree install"
           : is_like(l, "debian") || is_like(l, "ubuntu") ? "sudo apt-get install"
           : is_like(l, "fedora") || is_like(l, "rhel")   ? "sudo dnf install"
                                                          : "install";
}

static int check_podman(const tw_toolbox_look *l, tw_err *err)
{
    const bool apt = is_like(l, "debian") || is_like(l, "ubuntu");
    if (l->podman[0] == '\0')
        return tw_err_set(err, -ENOENT, "podman is not installed: %s podman %s", installer(l),
                          apt ? "podman-toolbox" : "toolbox");
    if (l->no_subids)
        return tw_toolbox_explain("podman", TW_TOOLBOX_ROOTLESS, "", err);
    if (l->trouble[0] != '\0')
        return tw_toolbox_explain("podman", tw_toolbox_trouble_find(l->trouble), l->says, err);
    return 0;
}

/* The first device that only a group may open: root, and everybody's devices, have none. */
static const tw_toolbox_device *find_group_only(const tw_toolbox_look *l)
{
    for (size_t i = 0; i < l->n_devices && !l->root; i++)
        if (l->devices[i].group[0] != '\0')
            return &l->devices[i];
    return NULL;
}

static int pick_tool(maker *m, tw_err *err)
{
    const tw_toolbox_look *l = m->l;
    const tw_toolbox_device *d = find_group_only(l);
    const bool has_toolbox = l->toolbox[0] != '\0', has_distrobox = l->distrobox[0] != '\0';
    const char *made_by = m->box != NULL ? m->box->made_by : "";
    const bool apt = is_like(l, "debian") || is_like(l, "ubuntu");
    const char *package = apt ? "podman-toolbox" : "toolbox";
    m->with = m->w->with;
    if (m->with != NULL && !(strcmp(m->with, "toolbox") == 0 ? has_toolbox : has_distrobox))
        return tw_err_set(err, -ENOENT, "%s is not installed: %s %s", m->with, installer(l),
                          strcmp(m->with, "toolbox") == 0 ? package : "distrobox");
    if (m->with == NULL && !has_toolbox && !has_distrobox)
        return tw_err_set(err, -ENOENT, "neither toolbox nor distrobox is installed: %s %s",
                          installer(l), d != NULL ? "distrobox" : package);
    if (m->with == NULL && made_by[0] != '\0' && d == NULL &&
        (strcmp(made_by, "toolbox") == 0 ? has_toolbox : has_distrobox))
        m->with = made_by;
    if (m->with == NULL)
        m->with = has_toolbox && (d == NULL || !has_distrobox) ? "toolbox" : "distrobox";
    if (d == NULL || strcmp(m->with, "distrobox") == 0) {
        if (d != NULL && has_toolbox && m->w->with == NULL)
            say(m, "notes",
                "with distrobox: %s is for group %s alone, and toolbox has no way to keep groups",
                d->path, d->group);
        return 0;
    }
    return tw_err_set(err, -EACCES,
                      "%s is for group %s alone, and toolbox cannot keep groups: %s distrobox "
                      "(--with distrobox), or a udev rule with MODE=\"0666\"",
                      d->path, d->group, installer(l));
}

static int check_groups(const maker *m, tw_err *err)
{
    const tw_toolbox_device *d = find_group_only(m->l);
    if (d != NULL && strcmp(m->l->runtime, "crun") != 0)
        return tw_err_set(
            err, -EOPNOTSUPP,
            "%s is for group %s alone, and the runtime %s cannot keep groups: %s crun", d->path,
            d->group, m->l->runtime[0] != '\0' ? m->l->runtime : "?", installer(m->l));
    return 0;
}

static int check_image(const maker *m, tw_err *err)
{
    const char *arch = tw_toolbox_arch_of(m->l->machine);
    const uint64_t bytes = m->w->image_bytes;
    if (m->w->arch[0] != '\0' && strcmp(m->w->arch, arch) != 0)
        return tw_err_set(err, -ENOEXEC, "%s is made for %s, this machine is %s: see --image",
                          m->ref, m->w->arch, arch);
    /* The layers travel compressed; unpacked they are two to three times that. */
    if (m->image == NULL && bytes > 0 && m->l->free_bytes > 0 && m->l->free_bytes / 2 < bytes)
        return tw_err_set(err, -ENOSPC,
                          "%s has %.1f GB free; the image is %.1f GB packed, and wants %.1f GB: "
                          "make room (twinax toolbox list; refresh --remove-old)",
                          m->l->graph_root, (double)m->l->free_bytes * 1e-9, (double)bytes * 1e-9,
                          3e-9 * (double)bytes);
    if (m->w->rccl_path != NULL && !m->l->rccl_there)
        return tw_err_set(err, -ENOENT,
                          "--rccl %s: not there; it has to be at the same place on every node",
                          m->w->rccl_path);
    return 0;
}

/* ---- what is said ---- */

static void note_limits(maker *m)
{
    const tw_toolbox_look *l = m->l;
    const bool unlimited =
        l->may_raise || (l->memlock_hard.known && l->memlock_hard.v == TW_BYTES_UNLIMITED);
    if (!unlimited && l->memlock_hard.known)
        say(m, "notes",
            "memory that may be locked is limited to %llu KiB here, and so in the container: "
            "twinax "
            "setup --only memlock, then log in anew and refresh",
            (unsigned long long)l->memlock_hard.v / 1024);
    if (l->shm_bytes > 0 && l->shm_bytes < SHM_WANTED)
        say(m, "notes",
            "/dev/shm, which the container shares, has %.1f GiB; Ray and vLLM want 8: mount -o "
            "remount,size=16G /dev/shm",
            (double)l->shm_bytes / (double)GIB);
    if (l->n_devices == 0 || strcmp(l->devices[0].path, "/dev/kfd") != 0)
        say(m, "notes", "no /dev/kfd: no GPU that ROCm knows is here");
    for (size_t i = 0; i < l->n_devices; i++)
        if (!l->devices[i].usable)
            say(m, "notes", "%s may not be opened by %s (group %s): twinax setup --only groups",
                l->devices[i].path, l->user[0] != '\0' ? l->user : "this user",
                l->devices[i].group[0] != '\0' ? l->devices[i].group : "?");
    if (strcmp(m->with, "toolbox") == 0)
        say(m, "notes",
            "toolbox takes no flags: it shares all of /dev, /dev/shm and this login's limits");
}

static void ask_consent(maker *m)
{
    const tw_toolbox_box *b = m->box;
    if (b == NULL)
        return;
    if (strcmp(b->state, "running") == 0)
        say(m, "asks", "container %s is running: what runs in it ends", b->name);
    if (b->n_changes > 0)
        say(m, "asks", "%u file%s in container %s %s not the image's (such as %s): lost with it",
            b->n_changes, b->n_changes == 1 ? "" : "s", b->name, b->n_changes == 1 ? "is" : "are",
            b->change);
    if (b->made_by[0] == '\0')
        say(m, "asks", "container %s was made by neither toolbox nor distrobox: it is replaced",
            b->name);
}

/* ---- the steps ---- */

static void plan_fetch(maker *m)
{
    const tw_toolbox_want *w = m->w;
    char title[80] = "pull the image";
    if (m->image == NULL) {
        if (w->image_bytes > 0)
            snprintf(title, sizeof title, "pull the image (%.2f GB)",
                     (double)w->image_bytes * 1e-9);
        json_t *v = step(m, "fetch", "pull", title, "podman", "pull", m->source, NULL);
        put(m, v, "progress", json_true());
    }
    if (w->ref.tag[0] != '\0' && w->ref.digest[0] != '\0' &&
        (m->image == NULL || !tw_toolbox_image_has_name(m->image, m->ref)))
        step(m, "fetch", "name", "name it as the registry does", "podman", "tag", m->source, m->ref,
             NULL);
}

static void plan_keep(maker *m)
{
    const tw_toolbox_want *w = m->w;
    char name[TW_TOOLBOX_REF_BYTES], stamp[TW_TOOLBOX_STAMP_BYTES];
    json_t *v;
    const tw_toolbox_image *old =
        m->box != NULL ? tw_toolbox_find_image(m->l, m->box->image_id) : NULL;
    if (old != NULL && old != m->image &&
        tw_toolbox_image_stamp(old, w->box, w->ref.repo) == NULL) {
        tw_toolbox_stamp_print((int64_t)m->box->created_s, stamp);
        tw_toolbox_stamp_name(w->box, stamp, name, sizeof name);
        v = step(m, "swap", "keep", "keep the image that is in use, for rollback", "podman", "tag",
                 old->id, name, NULL);
        undo(m, v, "podman", "untag", name, name, NULL);
    }
    if (!w->rollback &&
        (m->image == NULL || tw_toolbox_image_stamp(m->image, w->box, w->ref.repo) == NULL)) {
        tw_toolbox_stamp_name(w->box, w->stamp, name, sizeof name);
        v = step(m, "swap", "stamp", "stamp the new one with the date", "podman", "tag", m->ref,
                 name, NULL);
        undo(m, v, "podman", "untag", name, name, NULL);
    }
}

static void plan_aside(maker *m, const char *aside)
{
    const char *box = m->w->box;
    json_t *v;
    if (m->box == NULL)
        return;
    if (strcmp(m->box->state, "running") == 0) {
        v = step(m, "swap", "stop", "stop the container", "podman", "stop", "--time",
                 STOP_GRACE_TEXT, box, NULL);
        undo(m, v, "podman", "start", box, NULL);
    }
    v = step(m, "swap", "aside", "put the container aside", "podman", "rename", box, aside, NULL);
    undo(m, v, "podman", "rename", aside, box, NULL);
}

/* Between the look and now an image was pulled, for hours perhaps. A create that fails is undone by
 * removing what has that name: it must not be another's. */
static const char vacant[] =
    "if podman container exists \"$1\"; then\n"
    "  echo \"Error: container $1 has come in since it was looked for: once more\" >&2\n"
    "  exit 1\n"
    "fi\n";

static void plan_create(maker *m)
{
    const tw_toolbox_want *w = m->w;
    const bool toolbox = strcmp(m->with, "toolbox") == 0;
    char flags[TW_TOOLBOX_FLAGS_BYTES];
    json_t *v;
    step(m, "swap", "vacant", "see that its name is free", "sh", "-c", vacant, "sh", w->box, NULL);
    if (toolbox) {
        v = step(m, "swap", "create", "make the container", "toolbox", "create", "--image", m->ref,
                 w->box, NULL);
    } else {
        tw_toolbox_flags_print(m->l, w, true, " ", flags, sizeof flags);
        v = step(m, "swap", "create", "make the container", "distrobox", "create", "--yes",
                 "--image", m->ref, "--name", w->box, "--additional-flags", flags, NULL);
    }
    undo(m, v, "podman", "rm", "--force", w->box, NULL);
    for (size_t i = 0; toolbox && w->rccl_path != NULL && i < TW_MAX(w->n_rccl, (size_t)1); i++) {
        char to[260];
        snprintf(to, sizeof to, "%s:%s", w->box,
                 w->n_rccl > 0 ? w->rccl[i] : TW_TOOLBOX_RCCL_LATER);
        step(m, "swap", "rccl", "put the custom librccl in", "podman", "cp", w->rccl_path, to,
             NULL);
    }
}

/* The container is to open what this user may open outside. */
static json_t *usable_devices(const maker *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->l->n_devices; i++)
        if (m->l->devices[i].usable)
            json_array_append_new(list, json_string(m->l->devices[i].path));
    return list;
}

static void plan_check(maker *m)
{
    static const char title[] = "look inside: torch, RCCL, devices, limits";
    const char *box = m->w->box, *user = m->l->user[0] != '\0' ? m->l->user : "root";
    json_t *v;
    if (strcmp(m->with, "toolbox") == 0) {
        v = step(m, "swap", "check", title, "toolbox", "run", "--container", box, "sh", "-c",
                 tw_toolbox_probe, NULL);
    } else {
        /* Its first start installs what it wants. It reads a command's words twice (1.4): a script
         * does not come through. */
        step(m, "swap", "start", "start the container; the first time takes a while", "distrobox",
             "enter", "--no-tty", "--name", box, "--", "true", NULL);
        v = step(m, "swap", "check", title, "podman", "exec", "--user", user, box, "sh", "-c",
                 tw_toolbox_probe, NULL);
    }
    put(m, v, "report", json_true());
    put(m, v, "judge", usable_devices(m));
    if (m->w->rccl_path != NULL && strcmp(m->with, "toolbox") == 0) {
        char mark[120];
        snprintf(mark, sizeof mark, TW_TOOLBOX_RCCL_MARK "%s", m->l->rccl_sha256);
        step(m, "swap", "mark", "say in it which librccl it has", "podman", "exec", "--user",
             "root", box, "touch", mark, NULL);
    }
    v = step(m, "swap", "halt", "stop it until it is wanted", "podman", "stop", "--time", "2", box,
             NULL);
    put(m, v, "may_fail", json_true());
}

static bool is_current(const maker *m)
{
    char flags[TW_TOOLBOX_FLAGS_BYTES];
    const tw_toolbox_box *b = m->box;
    const char *rccl = m->w->rccl_path != NULL ? m->l->rccl_sha256 : "";
    if (b == NULL || m->image == NULL || strcmp(b->image_id, m->image->id) != 0 ||
        strcmp(b->made_by, m->with) != 0 || strcmp(b->rccl, rccl) != 0)
        return false;
    tw_toolbox_flags_print(m->l, m->w, false, ",", flags, sizeof flags);
    return strcmp(m->with, "toolbox") == 0 || strcmp(b->flags, flags) == 0;
}

static void plan_steps(maker *m)
{
    char aside[TW_TOOLBOX_NAME_BYTES + 32], now[TW_TOOLBOX_STAMP_BYTES];
    const bool current = is_current(m);
    if (!m->w->rollback)
        plan_fetch(m);
    put(m, m->plan, "current", json_boolean(current));
    if (current) {
        if (!m->w->rollback && tw_toolbox_image_stamp(m->image, m->w->box, m->w->ref.repo) == NULL)
            plan_keep(m);
        return;
    }
    snprintf(now, sizeof now, "%.15s", m->w->stamp);
    snprintf(aside, sizeof aside, "%.63s-before-%s", m->w->box, now);
    ask_consent(m);
    plan_keep(m);
    plan_aside(m, aside);
    plan_create(m);
    plan_check(m);
    if (m->box == NULL)
        return;
    json_t *v = step(m, "swap", "drop", "remove the one that was put aside", "podman", "rm",
                     "--force", aside, NULL);
    put(m, v, "may_fail", json_true()); /* the new one is good, this one perhaps half gone */
}

static void name_image(maker *m)
{
    const tw_toolbox_want *w = m->w;
    const char *digest = w->ref.digest;
    snprintf(m->source, sizeof m->source, "%s%s%s", w->ref.repo, digest[0] != '\0' ? "@" : ":",
             digest[0] != '\0' ? digest : w->ref.tag);
    if (w->rollback) {
        tw_toolbox_stamp_name(w->box, w->stamp, m->ref, sizeof m->ref);
        m->image = tw_toolbox_find_named(m->l, m->ref);
        if (m->image == NULL) { /* kept by another's script, beside the image */
            snprintf(m->ref, sizeof m->ref, "%s:%s", w->ref.repo, w->stamp);
            m->image = tw_toolbox_find_named(m->l, m->ref);
        }
        return;
    }
    tw_toolbox_ref_print(&w->ref, m->ref, sizeof m->ref);
    m->image = digest[0] != '\0'                  ? tw_toolbox_find_digest(m->l, digest)
               : tw_toolbox_ref_is_local(&w->ref) ? tw_toolbox_find_named(m->l, m->ref)
                                                  : NULL;
}

static int check_all(maker *m, tw_err *err)
{
    int rc = check_podman(m->l, err);
    if (rc == 0)
        rc = pick_tool(m, err);
    if (rc == 0)
        rc = check_groups(m, err);
    if (rc == 0)
        rc = check_image(m, err);
    if (rc == 0 && m->w->rollback && m->image == NULL)
        rc = tw_err_set(err, -ENOENT,
                        "no image with the date %s is kept here: twinax toolbox list shows them",
                        m->w->stamp);
    if (rc == 0 && m->image == NULL && tw_toolbox_ref_is_local(&m->w->ref))
        rc = tw_err_set(err, -ENOENT,
                        "%s is not here, and no registry has it: podman save %s | ssh NODE podman "
                        "load",
                        m->ref, m->ref);
    return rc;
}

/* Only the image knows; the container would not do, it may have another librccl. */
json_t *tw_toolbox_plan_inspect(const tw_toolbox_look *l, const tw_toolbox_want *w)
{
    maker m = {.l = l, .w = w};
    name_image(&m);
    json_t *argv = json_pack("[s, s, s, s, s, s, s, s]", "podman", "run", "--rm", "--network=host",
                             "--entrypoint=sh", m.ref, "-c", tw_toolbox_probe);
    return json_pack("{s:s, s:s, s:o, s:b}", "id", "inspect", "title",
                     "ask the image for its librccl", "argv", argv, "report", 1);
}

int tw_toolbox_plan(const char *node, const tw_toolbox_look *l, const tw_toolbox_want *w,
                    json_t **ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep)
    json_t *plan = json_pack("{s:i, s:s, s:[], s:[], s:[], s:[]}", "schema", 1, "node", node,
                             "fetch", "swap", "notes", "asks");
    maker m = {.l = l, .w = w, .plan = plan, .box = tw_toolbox_find_box(l, w->box)};
    name_image(&m);
    int rc = plan != NULL ? check_all(&m, err) : tw_err_set(err, -ENOMEM, "no memory for a plan");
    if (rc != 0)
        return rc;
    put(&m, plan, "box", json_string(w->box));
    put(&m, plan, "with", json_string(m.with));
    put(&m, plan, "image", json_string(m.ref));
    put(&m, plan, "digest", json_string(w->ref.digest));
    plan_steps(&m);
    note_limits(&m);
    if (m.failed)
        return tw_err_set(err, -ENOMEM, "no memory for a plan");
    *ret = plan;
    plan = NULL;
    return 0;
}
