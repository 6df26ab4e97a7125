/* SPDX-License-Identifier: Apache-2.0 */
#include "host/setup_hand.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "fmt/agent_frame.h"
#include "host/facts_file.h"
#include "host/setup_do.h"
#include "host/setup_plan.h"
#include "os/fd.h"
#include "os/file.h"

enum { READ_BYTES = 16 * 1024, FACTS_MAX = 4 << 20 };

typedef struct hand {
    int in_fd, out_fd;
    const char *root;
    tw_buf in;
    tw_setup_site site;
    bool gone; /* nobody reads any more */
} hand;

typedef int (*hand_op)(hand *h, const json_t *request, json_t **ret, tw_err *err);

static void send_frame(hand *h, const json_t *v)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_AGENT_FRAME_MAX + 64);
    tw_err ignored;
    if (h->gone || tw_agent_frame_put(&b, v, &ignored) != 0)
        return;
    for (size_t at = 0; at < b.len;) {
        ssize_t n = write(h->out_fd, b.data + at, b.len - at);
        if (n < 0 && errno != EINTR) {
            h->gone = true;
            return;
        }
        at += n > 0 ? (size_t)n : 0;
    }
}

static void tell_line(void *ctx, const char *line)
{
    TW_CLEANUP(tw_json_freep) json_t *v = json_pack("{s:s, s:s}", "event", "line", "line", line);
    if (v != NULL)
        send_frame(ctx, v);
}

/* ---- what there is ---- */

/* The sections of .facts.json in place of what is true here. */
static int replace_facts(const char *path, tw_facts *f, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(FACTS_MAX);
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    TW_CLEANUP(tw_json_freep) json_t *all = tw_facts_print(f);
    int rc = tw_file_read(path, &text, err);
    if (rc == 0)
        rc = tw_json_parse(path, text.data, text.len, &v, err);
    if (rc == 0 && json_object_update(all, v) != 0)
        rc = tw_err_set(err, -ENOMEM, "no memory for the facts");
    return rc != 0 ? rc : tw_facts_parse(all, f, err);
}

static int read_facts(const hand *h, const tw_setup_want *w, tw_facts *ret, tw_err *err)
{
    char path[1024];
    tw_facts_opts o = {.interface = w->nodes[w->self].interface};
    for (size_t i = 0; i < w->n; i++)
        if (i != w->self && w->nodes[i].ip[0] != '\0')
            o.peers[o.n_peers++] = w->nodes[i].ip;
    int rc = tw_facts_read(&o, ret, err);
    if (rc == 0 && h->root != NULL && tw_facts_path(h->root, ".facts.json", path, sizeof path) &&
        tw_file_exists(path))
        rc = replace_facts(path, ret, err);
    return rc;
}

static void first_line(const char *text, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%.*s", (int)TW_MIN(strcspn(text, "\r\n"), out_bytes - 1), text);
}

static const char *find_file(const tw_setup_seen *s, const char *folder, const char *const *names)
{
    char path[384];
    for (; *names != NULL; names++) {
        snprintf(path, sizeof path, "%s/%s", folder, *names);
        const char *text = tw_setup_seen_file(s, path, NULL);
        if (text != NULL)
            return text;
    }
    return "";
}

static int do_keys(hand *h, const json_t *request, json_t **ret, tw_err *err)
{
    static const char *const own[] = {"id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub", NULL};
    static const char *const hosts[] = {"ssh_host_ed25519_key.pub", "ssh_host_ecdsa_key.pub",
                                        "ssh_host_rsa_key.pub", NULL};
    char key[TW_SETUP_KEY_BYTES], host_key[TW_SETUP_KEY_BYTES], folder[300], boot[64];
    tw_setup_seen s = {0};
    TW_CLEANUP(tw_mem_freep) tw_facts *f = tw_mem_calloc(1, sizeof *f);
    (void)request;
    if (f == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts");
    int rc = tw_setup_see(h->root, NULL, f, &s, err); /* no facts: files and user only */
    if (rc != 0)
        return rc;
    snprintf(folder, sizeof folder, "%s/.ssh", s.home);
    first_line(find_file(&s, folder, own), key, sizeof key);
    first_line(find_file(&s, "/etc/ssh", hosts), host_key, sizeof host_key);
    (void)tw_facts_text(h->root, "proc/sys/kernel/random/boot_id", boot, sizeof boot);
    *ret = json_pack("{s:s, s:s, s:s, s:s, s:b}", "user", s.user, "key", key, "host_key", host_key,
                     "boot_id", boot, "root", geteuid() == 0);
    tw_setup_seen_done(&s);
    return *ret != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for a reply");
}

static int do_plan(hand *h, const json_t *request, json_t **ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_facts *f = tw_mem_calloc(1, sizeof *f);
    TW_CLEANUP(tw_mem_freep) tw_setup_want *w = tw_mem_calloc(1, sizeof *w);
    tw_setup_seen s = {0};
    json_t *plan = NULL;
    if (f == NULL || w == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts");
    int rc = tw_setup_want_parse(json_object_get(request, "want"), w, err);
    if (rc == 0)
        rc = read_facts(h, w, f, err);
    if (rc == 0)
        rc = tw_setup_see(h->root, NULL, f, &s, err);
    if (rc == 0)
        rc = tw_setup_plan(f, &s, w, &plan, err);
    tw_setup_seen_done(&s);
    if (rc != 0)
        return rc;
    *ret = json_pack("{s:o}", "plan", plan);
    return *ret != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for a plan");
}

/* ---- what is done ---- */

static int do_hello(hand *h, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "setup-hand", .prefix = "", .v = request, .err = err};
    const char *ssh = tw_json_text(&o, "ssh_connection", "");
    (void)h;
    if (o.rc != 0)
        return o.rc;
    if (ssh[0] != '\0')
        (void)setenv("SSH_CONNECTION", ssh, 1);
    *ret = json_pack("{s:b}", "root", geteuid() == 0);
    return 0;
}

static int do_mend(hand *h, const json_t *request, json_t **ret, tw_err *err)
{
    unsigned n = 0;
    (void)request;
    int rc = tw_setup_mend(&h->site, &n, err);
    if (rc == 0)
        *ret = json_pack("{s:i}", "n", (int)n);
    return rc;
}

static int do_apply(hand *h, const json_t *request, json_t **ret, tw_err *err)
{
    json_int_t n = 0;
    int rc = tw_setup_apply(&h->site, json_object_get(request, "step"), &n, err);
    if (rc == 0)
        *ret = json_pack("{s:I}", "n", n);
    return rc;
}

static int do_confirm(hand *h, const json_t *request, json_t **ret, tw_err *err)
{
    const json_int_t n = json_integer_value(json_object_get(request, "n"));
    (void)ret;
    return json_is_true(json_object_get(request, "undone"))
               ? tw_setup_confirm_undo(&h->site, n, err)
               : tw_setup_confirm(&h->site, n, err);
}

static int do_undo(hand *h, const json_t *request, json_t **ret, tw_err *err)
{
    (void)request;
    return tw_setup_undo_last(&h->site, ret, err);
}

static int do_status(hand *h, const json_t *request, json_t **ret, tw_err *err)
{
    (void)request;
    return tw_setup_status(&h->site, ret, err);
}

static int do_reboot(hand *h, const json_t *request, json_t **ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *words = json_pack("[s, s]", "systemctl", "reboot");
    (void)request;
    (void)ret;
    return tw_setup_words(&h->site, words, err);
}

static const struct op {
    const char *name;
    hand_op run;
} ops[] = {{"hello", do_hello}, {"keys", do_keys},     {"plan", do_plan},
           {"mend", do_mend},   {"apply", do_apply},   {"confirm", do_confirm},
           {"undo", do_undo},   {"status", do_status}, {"reboot", do_reboot}};

static void answer(hand *h, const json_t *v, const tw_agent_request *r)
{
    TW_CLEANUP(tw_json_freep) json_t *out = NULL;
    tw_err why = {0};
    int rc = -ENOSYS;
    size_t i = 0;
    while (i < TW_ARRAY_LEN(ops) && strcmp(ops[i].name, r->op) != 0)
        i++;
    if (i < TW_ARRAY_LEN(ops))
        rc = ops[i].run(h, v, &out, &why);
    else
        tw_err_set(&why, rc, "setup-hand does not know '%s'", r->op);
    if (rc != 0) {
        json_decref(out);
        out = json_pack("{s:b, s:i, s:s}", "ok", 0, "code", rc, "error", why.msg);
    } else {
        out = out != NULL ? out : json_object();
        json_object_set_new(out, "ok", json_true());
    }
    json_object_set_new(out, "id", json_integer((json_int_t)r->id));
    if (out != NULL)
        send_frame(h, out);
}

static int take_frames(hand *h, tw_err *err)
{
    for (;;) {
        TW_CLEANUP(tw_json_freep) json_t *v = NULL;
        tw_agent_request r;
        size_t used = 0;
        int rc = tw_agent_frame_take(h->in.data, h->in.len, &v, &used, err);
        if (rc != 0)
            return rc == -EAGAIN ? 0 : rc;
        tw_buf_drop(&h->in, used);
        rc = tw_agent_request_read(v, &r, err);
        if (rc != 0)
            return rc;
        answer(h, v, &r);
    }
}

/* Commands of the administrator, which a plain ssh session may lack on its PATH; messages that do
 * not depend on the language; no questions. */
static void set_environment(void)
{
    char path[4096];
    const char *old = getenv("PATH");
    snprintf(path, sizeof path, "%s%s/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
             old != NULL ? old : "", old != NULL && old[0] != '\0' ? ":" : "");
    (void)setenv("PATH", path, 1);
    (void)setenv("LC_ALL", "C", 1);
    (void)setenv("DEBIAN_FRONTEND", "noninteractive", 1);
}

/* A step that has begun is finished, whoever goes. */
static void ignore_signals(void)
{
    static const int signals[] = {SIGHUP, SIGTERM, SIGINT, SIGPIPE};
    struct sigaction none = {.sa_handler = SIG_IGN};
    for (size_t i = 0; i < TW_ARRAY_LEN(signals); i++)
        (void)sigaction(signals[i], &none, NULL);
}

int tw_setup_hand_run(int in_fd, int out_fd, const char *root, tw_err *err)
{
    hand h = {.in_fd = in_fd,
              .out_fd = out_fd,
              .root = root,
              .in = TW_BUF(TW_AGENT_FRAME_MAX + 2 * READ_BYTES)};
    ignore_signals();
    set_environment();
    int rc = tw_setup_site_init(root, &h.site, err);
    if (rc != 0)
        return rc;
    h.site.on_line = tell_line;
    h.site.ctx = &h;
    h.gone = write(out_fd, TW_AGENT_GREETING, sizeof TW_AGENT_GREETING - 1) !=
             (ssize_t)sizeof TW_AGENT_GREETING - 1;
    while (rc == 0 && !h.gone) {
        if (tw_buf_reserve(&h.in, READ_BYTES) != 0)
            break;
        ssize_t n = read(in_fd, h.in.data + h.in.len, READ_BYTES);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        h.in.len += n > 0 ? (size_t)n : 0;
        rc = take_frames(&h, err);
    }
    tw_setup_site_done(&h.site);
    tw_buf_done(&h.in);
    return rc;
}

int tw_setup_hand_timer(unsigned n, unsigned revert_s, const char *root, tw_err *err)
{
    tw_setup_site site;
    TW_CLEANUP(tw_fd_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    ignore_signals();
    set_environment();
    for (int fd = 0; fd <= 2 && null >= 0; fd++)
        (void)dup2(null, fd);
    int rc = tw_setup_site_init(root, &site, err);
    if (rc != 0)
        return rc;
    if (revert_s != 0)
        site.revert_s = revert_s;
    rc = tw_setup_timer(&site, n, err);
    tw_setup_site_done(&site);
    return rc;
}
