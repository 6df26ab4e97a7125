/* SPDX-License-Identifier: Apache-2.0 */
/* What counts from the next login on: how much memory may be locked, and which devices opened. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "host/setup_plan.h"

enum { TEXT_MAX = 64 * 1024, RW_OTHERS = 06, RW_GROUP = 060 };

static bool wants_rdma(const tw_setup_maker *m)
{
    return m->w->link == TW_SETUP_LINK_RDMA || m->w->soft_roce;
}

/* A GPU that ROCm can use: without one the GPU engine is not what runs here. */
static bool has_rocm(const tw_setup_maker *m)
{
    for (size_t i = 0; i < m->f->n_gpus; i++)
        if (m->f->gpus[i].gfx[0] != '\0')
            return true;
    return false;
}

static bool is_so(const tw_setup_maker *m, const char *path, const char *text)
{
    const char *now = tw_setup_seen_file(m->s, path, NULL);
    return now != NULL && strcmp(now, text) == 0;
}

static bool is_unlimited(const tw_setup_maker *m)
{
    const tw_facts_limits *l = &m->f->limits;
    return l->memlock_hard.known && l->memlock_hard.v == TW_BYTES_UNLIMITED &&
           l->memlock_soft.v == TW_BYTES_UNLIMITED;
}

void tw_setup_plan_memlock(tw_setup_maker *m)
{
    static const char limits[] = "/etc/security/limits.d/90-twinax.conf";
    static const char unit[] = "/etc/systemd/system/user@.service.d/90-twinax.conf";
    static const char unit_text[] = "# Made by `twinax setup`; `twinax setup --undo` removes it.\n"
                                    "[Service]\n"
                                    "LimitMEMLOCK=infinity\n";
    char text[400];
    if (!wants_rdma(m) && !(m->w->vllm && has_rocm(m)))
        return;
    snprintf(text, sizeof text,
             "# Made by `twinax setup`; `twinax setup --undo` removes it.\n"
             "%s soft memlock unlimited\n"
             "%s hard memlock unlimited\n",
             m->s->user, m->s->user);
    const bool by_login = is_so(m, limits, text) || is_unlimited(m);
    const bool by_unit = m->f->os.systemd != TW_YES || is_so(m, unit, unit_text) ||
                         (m->f->limits.memlock_user_manager.known &&
                          m->f->limits.memlock_user_manager.v == TW_BYTES_UNLIMITED);
    if ((by_login && by_unit) || tw_setup_is_unseen(m, "memlock", limits))
        return;
    tw_setup_begin(m, "memlock", TW_SETUP_ROOT | TW_SETUP_LOGIN, "memory that may be locked",
                   "RDMA pins its buffers; the usual limit of a few MiB makes registering memory "
                   "fail. A login's children take it from limits.d, those of the user's systemd "
                   "(`twinax up --install`) from user@.service.");
    if (!by_login)
        tw_setup_file(m, limits, 0644, text, NULL);
    if (by_unit)
        return;
    tw_setup_file(m, unit, 0644, unit_text, NULL);
    tw_setup_cmd(m, "systemctl", "daemon-reload", NULL);
    tw_setup_settle(m, "systemctl", "daemon-reload", NULL);
}

/* ---- devices and groups ---- */

static bool is_gpu(const char *path)
{
    return strcmp(path, "/dev/kfd") == 0 || strncmp(path, "/dev/dri/", 9) == 0;
}

static bool is_wanted(const tw_setup_maker *m, const char *path)
{
    if (is_gpu(path))
        return m->w->vllm && strstr(path, "card") == NULL;
    return wants_rdma(m) && strncmp(path, "/dev/infiniband/", 16) == 0;
}

/* The device is root's alone: no group to join. */
static bool is_closed(const tw_facts_dev *d)
{
    return (d->mode & RW_OTHERS) != RW_OTHERS &&
           ((d->mode & RW_GROUP) != RW_GROUP || strcmp(d->group, "root") == 0);
}

static bool group_exists(const tw_setup_maker *m, const char *name)
{
    for (size_t i = 0; i < m->f->user.n_system_groups; i++)
        if (strcmp(m->f->user.system_groups[i], name) == 0)
            return true;
    return false;
}

static void plan_rules(tw_setup_maker *m, bool gpu, bool rdma)
{
    static const char path[] = "/etc/udev/rules.d/90-twinax.rules";
    char text[600];
    snprintf(text, sizeof text, "# Made by `twinax setup`; `twinax setup --undo` removes it.\n%s%s",
             gpu ? "KERNEL==\"kfd\", GROUP=\"render\", MODE=\"0660\"\n"
                   "SUBSYSTEM==\"drm\", KERNEL==\"renderD*\", GROUP=\"render\", MODE=\"0660\"\n"
                 : "",
             rdma ? "SUBSYSTEM==\"infiniband_verbs\", GROUP=\"rdma\", MODE=\"0660\"\n"
                    "KERNEL==\"rdma_cm\", GROUP=\"rdma\", MODE=\"0660\"\n"
                  : "");
    if (is_so(m, path, text))
        return;
    tw_setup_begin(m, "devices", TW_SETUP_ROOT, "who may open the devices",
                   "%s%s%s root's alone now; a group may open them then.",
                   gpu ? "/dev/kfd and the render node" : "", gpu && rdma ? ", and " : "",
                   rdma ? "/dev/infiniband" : " are");
    if (rdma && !group_exists(m, "rdma")) {
        tw_setup_cmd(m, "groupadd", "--system", "rdma", NULL);
        tw_setup_undo(m, "groupdel", "rdma", NULL);
    }
    if (gpu && !group_exists(m, "render")) {
        tw_setup_cmd(m, "groupadd", "--system", "render", NULL);
        tw_setup_undo(m, "groupdel", "render", NULL);
    }
    tw_setup_file(m, path, 0644, text, NULL);
    tw_setup_cmd(m, "udevadm", "control", "--reload", NULL);
    tw_setup_cmd(m, "udevadm", "trigger", "--action=change", NULL);
    tw_setup_settle(m, "udevadm", "control", "--reload", NULL);
    tw_setup_settle(m, "udevadm", "trigger", "--action=change", NULL);
    for (size_t i = 0; i < 4; i++) {
        static const char *const files[] = {"/etc/group", "/etc/group-", "/etc/gshadow",
                                            "/etc/gshadow-"};
        tw_setup_touch(m, files[i]);
    }
}

typedef struct group_list {
    size_t n;
    const char *v[8];
} group_list;

static void need(tw_setup_maker *m, group_list *g, const char *group)
{
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->v[i], group) == 0)
            return;
    if (g->n < TW_ARRAY_LEN(g->v) && !tw_setup_seen_in_group(m->s, group))
        g->v[g->n++] = group;
}

static void join(tw_setup_maker *m, const group_list *g)
{
    char list[300] = "";
    size_t n = 0;
    for (size_t i = 0; i < g->n && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? "," : "", g->v[i]);
    tw_setup_begin(m, "groups", TW_SETUP_ROOT | TW_SETUP_LOGIN, "groups that open the devices",
                   "%s is not in %s, whose members may open the GPU and RDMA devices.", m->s->user,
                   list);
    tw_setup_cmd(m, "usermod", "-aG", list, m->s->user, NULL);
    for (size_t i = 0; i < g->n; i++)
        tw_setup_undo(m, "gpasswd", "-d", m->s->user, g->v[i], NULL);
    for (size_t i = 0; i < 4; i++) {
        static const char *const files[] = {"/etc/group", "/etc/group-", "/etc/gshadow",
                                            "/etc/gshadow-"};
        tw_setup_touch(m, files[i]);
    }
}

void tw_setup_plan_groups(tw_setup_maker *m)
{
    bool gpu = false, rdma = false;
    group_list g = {0};
    if (m->s->uid == 0)
        return;
    for (size_t i = 0; i < m->f->n_devs; i++) {
        const tw_facts_dev *d = &m->f->devs[i];
        if (!is_wanted(m, d->path) || (d->mode & RW_OTHERS) == RW_OTHERS)
            continue;
        if (is_closed(d)) {
            gpu = gpu || is_gpu(d->path);
            rdma = rdma || !is_gpu(d->path);
            need(m, &g, is_gpu(d->path) ? "render" : "rdma");
        } else {
            need(m, &g, d->group);
        }
    }
    if (m->w->vllm && has_rocm(m) &&
        group_exists(m, "video")) /* older images open the display node too */
        need(m, &g, "video");
    if (gpu || rdma)
        plan_rules(m, gpu, rdma);
    if (g.n > 0)
        join(m, &g);
}
