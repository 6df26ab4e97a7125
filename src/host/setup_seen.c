/* SPDX-License-Identifier: Apache-2.0 */
#include "host/setup_seen.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "host/facts_file.h"
#include "host/setup_exec.h"
#include "host/setup_plan.h"
#include "os/file.h"

enum { SEEN_FILE_MAX = 256 * 1024, ANSWER_MAX = 64 * 1024, PROFILES_MAX = 32, FOLDER_MAX = 64 };
#define ANSWER_LIMIT_NS (10 * TW_NS_PER_S)

typedef struct seer {
    const char *root; /* NULL: this machine */
    tw_setup_seen *s;
    bool failed;
} seer;

/* ---- files ---- */

static void put(seer *r, json_t *object, const char *key, json_t *v)
{
    if (v == NULL || json_object_set_new(object, key, v) != 0)
        r->failed = true;
}

/* A text that is no UTF-8 cannot be edited as text: it counts as hidden. */
static void see_file(seer *r, const char *path)
{
    char full[1024];
    struct stat st;
    tw_err why;
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(SEEN_FILE_MAX);
    if (!tw_facts_path(r->root, path, full, sizeof full))
        return;
    if (stat(full, &st) != 0) {
        if (errno == EACCES)
            put(r, r->s->files, path, json_null());
        return;
    }
    if (!S_ISREG(st.st_mode))
        return;
    if (tw_file_read(full, &text, &why) != 0 || memchr(text.data, '\0', text.len) != NULL ||
        !tw_utf8_valid(text.data, text.len))
        put(r, r->s->files, path, json_null());
    else
        put(r, r->s->files, path, json_stringn(text.data != NULL ? text.data : "", text.len));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int keep_plain(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static void see_folder(seer *r, const char *folder)
{
    char full[1024], path[600];
    struct dirent **list = NULL;
    int n = tw_facts_path(r->root, folder, full, sizeof full)
                ? scandir(full, &list, keep_plain, by_name)
                : -1;
    if (n < 0 && errno == EACCES) /* what is in it is hidden, and whether it is there */
        put(r, r->s->files, folder, json_null());
    for (int i = 0; i < n; i++) {
        if (i < FOLDER_MAX) {
            snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
            see_file(r, path);
        }
        free(list[i]); /* budget: scandir allocates */
    }
    if (n >= 0)
        free(list); /* budget: scandir allocates */
}

static void see_home(seer *r)
{
    static const char *const names[] = {"authorized_keys", "known_hosts", "id_ed25519.pub",
                                        "id_ecdsa.pub", "id_rsa.pub"};
    char path[384];
    for (size_t i = 0; i < TW_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/.ssh/%s", r->s->home, names[i]);
        see_file(r, path);
    }
}

static void see_files(seer *r, const tw_facts *f)
{
    static const char *const files[] = {
        "/etc/default/grub",
        "/etc/kernel/cmdline",
        "/etc/network/interfaces",
        "/etc/nftables.conf",
        "/etc/sysconfig/nftables.conf",
        "/etc/ufw/user.rules",
        "/etc/ufw/user6.rules",
        "/etc/security/limits.d/90-twinax.conf",
        "/etc/systemd/system/user@.service.d/90-twinax.conf",
        "/etc/systemd/system/twinax-roce.service",
        "/etc/systemd/system/twinax-rxe.service",
        "/etc/udev/rules.d/90-twinax.rules",
        "/etc/modules-load.d/twinax.conf",
        "/etc/ssh/ssh_host_ed25519_key.pub",
        "/etc/ssh/ssh_host_ecdsa_key.pub",
        "/etc/ssh/ssh_host_rsa_key.pub",
    };
    static const char *const folders[] = {"/etc/default/grub.d",       "/etc/netplan",
                                          "/etc/network/interfaces.d", "/etc/systemd/network",
                                          "/etc/firewalld/zones",      "/boot/loader/entries",
                                          "/efi/loader/entries",       "/boot/efi/loader/entries"};
    for (size_t i = 0; i < TW_ARRAY_LEN(files); i++)
        see_file(r, files[i]);
    for (size_t i = 0; i < TW_ARRAY_LEN(folders); i++)
        see_folder(r, folders[i]);
    if (f->firewall.config[0] == '/')
        see_file(r, f->firewall.config);
    see_home(r);
}

/* ---- answers ---- */

static void ask(seer *r, const char *name, const char *const *argv)
{
    char path[200], full[1024];
    tw_err why;
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(ANSWER_MAX);
    snprintf(path, sizeof path, "/.answers/%s", name);
    if (r->root != NULL) {
        if (!tw_facts_path(r->root, path, full, sizeof full) ||
            tw_file_read(full, &text, &why) != 0)
            return;
    } else {
        (void)!tw_setup_exec(argv, ANSWER_LIMIT_NS, false, &text, NULL, NULL, &why);
    }
    if (text.data != NULL && tw_utf8_valid(text.data, text.len))
        put(r, r->s->answers, name, json_stringn(text.data, text.len));
}

static void ask_packages(seer *r, const tw_facts *f)
{
    enum tw_setup_packager p = tw_setup_packager_of(f);
    const char *argv[16] = {"rpm", "-q", "--qf", "%{NAME}\\n"};
    size_t n = 4;
    if (p == TW_SETUP_NO_PACKAGER)
        return;
    if (p == TW_SETUP_APT) {
        argv[0] = "dpkg-query";
        argv[1] = "-W";
        argv[2] = "-f";
        argv[3] = "${db:Status-Status} ${Package}\\n";
    }
    for (const char *const *name = tw_setup_packages(p); *name != NULL && n < 15; name++)
        argv[n++] = *name;
    ask(r, "packages", argv);
    if (p != TW_SETUP_APT || r->root != NULL)
        return;
    /* "installed NAME" -> "NAME"; what is half there does not count */
    char out[1024] = "";
    size_t n_out = 0;
    for (const char *line = tw_setup_seen_answer(r->s, "packages"); *line != '\0';) {
        size_t len = strcspn(line, "\n");
        if (strncmp(line, "installed ", 10) == 0 && n_out < sizeof out)
            n_out += (size_t)snprintf(out + n_out, sizeof out - n_out, "%.*s\n", (int)(len - 10),
                                      line + 10);
        line += len + (line[len] == '\n');
    }
    put(r, r->s->answers, "packages", json_string(out));
}

static void ask_nm(seer *r, const tw_facts *f)
{
    static const char *const list[] = {"nmcli",      "-t",   "-f", "UUID,TYPE,DEVICE,FILENAME,NAME",
                                       "connection", "show", NULL};
    static const char fields[] =
        "connection.interface-name,ipv4.method,ipv4.addresses,802-3-ethernet.mtu,"
        "ipv4.never-default,connection.zone,connection.autoconnect";
    if (!tw_facts_is_running(f, "NetworkManager"))
        return;
    ask(r, "nm-connections", list);
    unsigned n = 0;
    for (const char *line = tw_setup_seen_answer(r->s, "nm-connections");
         *line != '\0' && n < PROFILES_MAX;) {
        char uuid[40], name[64];
        const size_t n_uuid = TW_MIN(strcspn(line, ":\n"), sizeof uuid - 1);
        memcpy(uuid, line, n_uuid);
        uuid[n_uuid] = '\0';
        const char *const show[] = {"nmcli", "-g", fields, "connection", "show", uuid, NULL};
        const char *type = line + strcspn(line, ":\n");
        if (strncmp(type, ":802-3-ethernet:", 16) == 0) {
            snprintf(name, sizeof name, "nm-profile-%s", uuid);
            ask(r, name, show);
            n++;
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
}

/* ---- the user ---- */

static void see_groups(tw_setup_seen *s)
{
    gid_t list[128];
    int n = 128;
    size_t len = 1;
    snprintf(s->groups, sizeof s->groups, " ");
    if (getgrouplist(s->user, (gid_t)s->gid, list, &n) < 0)
        n = TW_MIN(n, 128);
    for (int i = 0; i < n && len < sizeof s->groups; i++) {
        struct group *g = getgrgid(list[i]);
        if (g != NULL)
            len += (size_t)snprintf(s->groups + len, sizeof s->groups - len, "%s ", g->gr_name);
    }
}

static int see_user(const char *user, tw_setup_seen *s, tw_err *err)
{
    const char *sudo = getenv("SUDO_USER");
    const bool by_sudo = geteuid() == 0 && sudo != NULL && sudo[0] != '\0';
    const char *name = user != NULL ? user : by_sudo ? sudo : NULL;
    errno = 0;
    struct passwd *p = name != NULL ? getpwnam(name) : getpwuid(geteuid());
    if (p == NULL)
        return tw_err_set(err, -ENOENT, "user %s: no such one in passwd",
                          name != NULL ? name : "(who runs this)");
    snprintf(s->user, sizeof s->user, "%s", p->pw_name);
    snprintf(s->home, sizeof s->home, "%s", p->pw_dir);
    s->uid = p->pw_uid;
    s->gid = p->pw_gid;
    s->as_root = geteuid() == 0;
    see_groups(s);
    return 0;
}

/* "NAME HOME UID GID as_root GROUP..." */
static int see_recorded_user(const char *root, tw_setup_seen *s, tw_err *err)
{
    char line[700];
    unsigned as_root = 0;
    int used = 0;
    if (!tw_facts_text(root, ".user", line, sizeof line) ||
        sscanf(line, "%63s %255s %u %u %u%n", s->user, s->home, &s->uid, &s->gid, &as_root,
               &used) != 5)
        return tw_err_set(err, -ENOENT, "%s/.user: want NAME HOME UID GID ROOT GROUP...", root);
    s->as_root = as_root != 0;
    snprintf(s->groups, sizeof s->groups, "%.500s ", line + used);
    return 0;
}

int tw_setup_see(const char *root, const char *user, const tw_facts *f, tw_setup_seen *ret,
                 tw_err *err)
{
    tw_setup_seen s = {.files = json_object(), .answers = json_object()};
    seer r = {.root = root, .s = &s};
    char recorded[1024];
    const bool is_recorded = root != NULL &&
                             tw_facts_path(root, ".user", recorded, sizeof recorded) &&
                             tw_file_exists(recorded);
    int rc = is_recorded ? see_recorded_user(root, &s, err) : see_user(user, &s, err);
    if (rc == 0 && (s.files == NULL || s.answers == NULL))
        rc = tw_err_set(err, -ENOMEM, "no memory for this host's files");
    if (rc == 0) {
        see_files(&r, f);
        ask_packages(&r, f);
        ask_nm(&r, f);
        if (r.failed)
            rc = tw_err_set(err, -ENOMEM, "no memory for this host's files");
    }
    if (rc != 0) {
        tw_setup_seen_done(&s);
        return rc;
    }
    *ret = s;
    return 0;
}

void tw_setup_seen_done(tw_setup_seen *s)
{
    json_decref(s->files);
    json_decref(s->answers);
    s->files = s->answers = NULL;
}

const char *tw_setup_seen_file(const tw_setup_seen *s, const char *path, bool *ret_hidden)
{
    const json_t *v = json_object_get(s->files, path);
    char folder[600];
    snprintf(folder, sizeof folder, "%.*s",
             (int)(strrchr(path, '/') != NULL ? strrchr(path, '/') - path : 0), path);
    if (ret_hidden != NULL)
        *ret_hidden =
            json_is_null(v) || (v == NULL && json_is_null(json_object_get(s->files, folder)));
    return json_string_value(v);
}

const char *tw_setup_seen_answer(const tw_setup_seen *s, const char *name)
{
    const char *text = json_string_value(json_object_get(s->answers, name));
    return text != NULL ? text : "";
}

bool tw_setup_seen_has_folder(const tw_setup_seen *s, const char *prefix)
{
    const char *path;
    json_t *v;
    json_object_foreach(s->files, path,
                        v) if (strncmp(path, prefix, strlen(prefix)) == 0) return true;
    return false;
}

bool tw_setup_seen_in_group(const tw_setup_seen *s, const char *group)
{
    char word[80];
    snprintf(word, sizeof word, " %s ", group);
    return strstr(s->groups, word) != NULL;
}
