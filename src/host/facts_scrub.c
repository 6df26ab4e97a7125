/* SPDX-License-Identifier: Apache-2.0 */
#include "host/facts_scrub.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "host/facts_file.h"
#include "host/facts_scrub_text.h"

/* What a key's value needs beside what every text gets. */
enum key_kind {
    KEY_PLAIN,
    KEY_VERSION, /* numbers with dots that are no addresses */
    KEY_GONE,
    KEY_CMDLINE,
    KEY_COMMAND, /* of a process: arguments may be anything */
    KEY_GROUP,
    KEY_ZONE,
};

static enum key_kind kind_of(const char *key)
{
    static const struct {
        const char *key;
        enum key_kind kind;
    } known[] = {{"version", KEY_VERSION},
                 {"version_id", KEY_VERSION},
                 {"pretty_name", KEY_VERSION},
                 {"kernel", KEY_VERSION},
                 {"newest_kernel", KEY_VERSION},
                 {"bios_version", KEY_VERSION},
                 {"firmware", KEY_VERSION},
                 {"rdma_firmware", KEY_VERSION},
                 {"driver_version", KEY_VERSION},
                 {"vbios", KEY_VERSION},
                 {"podman", KEY_VERSION},
                 {"docker", KEY_VERSION},
                 {"toolbox", KEY_VERSION},
                 {"distrobox", KEY_VERSION},
                 {"ray", KEY_VERSION},
                 {"vllm", KEY_VERSION},
                 {"rocm", KEY_VERSION},
                 {"serial", KEY_GONE},
                 {"boot_id", KEY_GONE},
                 {"cmdline", KEY_CMDLINE},
                 {"persistent", KEY_CMDLINE},
                 {"persistent_default", KEY_CMDLINE},
                 {"next", KEY_CMDLINE},
                 {"what", KEY_COMMAND},
                 {"groups", KEY_GROUP},
                 {"file_groups", KEY_GROUP},
                 {"group", KEY_GROUP},
                 {"zone", KEY_ZONE},
                 {"default_zone", KEY_ZONE}};
    for (size_t i = 0; i < TW_ARRAY_LEN(known); i++)
        if (strcmp(key, known[i].key) == 0)
            return known[i].kind;
    return KEY_PLAIN;
}

static bool is_in(const char *const *list, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], word) == 0)
            return true;
    return false;
}

static int put_group(tw_scrub *s, const char *text, tw_buf *out)
{
    static const char *const usual[] = {
        "root",    "adm",      "wheel", "sudo",   "admin",           "video",
        "render",  "rdma",     "kvm",   "docker", "libvirt",         "users",
        "plugdev", "dialout",  "cdrom", "audio",  "netdev",          "input",
        "lpadmin", "lxd",      "disk",  "tty",    "systemd-journal", "bluetooth",
        "floppy",  "dip",      "games", "lp",     "staff",           "nogroup",
        "mock",    "wireshark"};
    bool number = text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
    if (number || is_in(usual, TW_ARRAY_LEN(usual), text))
        return tw_buf_puts(out, text);
    for (size_t i = 0; i < s->n_names; i++) /* a user's own group */
        if (strcmp(s->names[i].from, text) == 0)
            return tw_buf_puts(out, s->names[i].to);
    return tw_buf_printf(out, "group%zu", tw_scrub_place(&s->groups, text));
}

static int put_zone(tw_scrub *s, const char *text, tw_buf *out)
{
    static const char *const usual[] = {"public",
                                        "trusted",
                                        "internal",
                                        "external",
                                        "home",
                                        "work",
                                        "dmz",
                                        "drop",
                                        "block",
                                        "libvirt",
                                        "docker",
                                        "nm-shared",
                                        "FedoraWorkstation",
                                        "FedoraServer"};
    return is_in(usual, TW_ARRAY_LEN(usual), text)
               ? tw_buf_puts(out, text)
               : tw_buf_printf(out, "zone%zu", tw_scrub_place(&s->zones, text));
}

/* The program and its first word. */
static int put_command(tw_scrub *s, const char *text, tw_buf *out)
{
    char start[128];
    size_t n = strcspn(text, " ");
    n += text[n] == ' ' ? 1 + strcspn(text + n + 1, " ") : 0;
    tw_text_set(start, sizeof start, "%.*s", (int)TW_MIN(n, sizeof start - 1), text);
    int rc = tw_scrub_text(s, start, false, out);
    return rc == 0 && text[n] != '\0' ? tw_buf_puts(out, " ...") : rc;
}

static json_t *scrub_value(tw_scrub *s, const char *key, const json_t *v);

static json_t *scrub_string(tw_scrub *s, const char *key, const char *text)
{
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(TW_SCRUB_TEXT_MAX);
    enum key_kind kind = kind_of(key);
    int rc = 0;
    switch (kind) {
    case KEY_GONE:
        return json_string("");
    case KEY_CMDLINE:
        rc = tw_scrub_cmdline(text, &out);
        break;
    case KEY_COMMAND:
        rc = put_command(s, text, &out);
        break;
    case KEY_GROUP:
        rc = put_group(s, text, &out);
        break;
    case KEY_ZONE:
        rc = put_zone(s, text, &out);
        break;
    case KEY_PLAIN:
    case KEY_VERSION:
        rc = tw_scrub_text(s, text, kind == KEY_VERSION, &out);
        break;
    }
    if (rc != 0)
        return NULL;
    return json_string(out.data != NULL ? out.data : "");
}

static json_t *scrub_object(tw_scrub *s, const char *of, const json_t *v)
{
    json_t *out = json_object();
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)v, key, member)
    {
        TW_CLEANUP(tw_buf_done) tw_buf name = TW_BUF(TW_SCRUB_TEXT_MAX);
        /* Only of facts.model is the path a person's; keys of proofs may be hosts. */
        bool path = strcmp(of, "model") == 0 && strcmp(key, "path") == 0 && json_is_string(member);
        const char *base = path ? strrchr(json_string_value(member), '/') : NULL;
        json_t *to = base != NULL ? json_sprintf("/models%s", base) : scrub_value(s, key, member);
        int rc = tw_scrub_text(s, key, true, &name);
        if (rc != 0 || kind_of(key) == KEY_GONE)
            json_decref(to);
        else
            rc = json_object_set_new(out, name.data != NULL ? name.data : "", to);
        if (rc != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static json_t *scrub_array(tw_scrub *s, const char *key, const json_t *v)
{
    json_t *out = json_array();
    size_t i;
    json_t *element;
    json_array_foreach(v, i, element)
    {
        if (json_array_append_new(out, scrub_value(s, key, element)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static json_t *scrub_value(tw_scrub *s, const char *key, const json_t *v)
{
    if (json_is_string(v))
        return scrub_string(s, key, json_string_value(v));
    if (json_is_object(v))
        return scrub_object(s, key, v);
    return json_is_array(v) ? scrub_array(s, key, v) : json_copy((json_t *)(uintptr_t)v);
}

/* ---- names ---- */

static const char *text_at(const json_t *o, const char *a, const char *b)
{
    const json_t *v = b != NULL ? json_object_get(json_object_get(o, a), b) : json_object_get(o, a);
    return json_is_string(v) ? json_string_value(v) : "";
}

static void add_user(tw_scrub *s, const char *name)
{
    char to[32];
    if (name[0] == '\0' || strcmp(name, "root") == 0)
        return;
    tw_text_set(to, sizeof to, "user%zu", tw_scrub_place(&s->users, name));
    tw_scrub_add_name(s, name, to);
}

static void add_host(tw_scrub *s, const char *name, const char *to)
{
    char bare[80];
    const char *at = strchr(name, '@');
    if (at != NULL) {
        tw_text_set(bare, sizeof bare, "%.*s", (int)TW_MIN((size_t)(at - name), sizeof bare - 1),
                    name);
        add_user(s, bare);
        name = at + 1;
    }
    if (strspn(name, "0123456789abcdefABCDEF.:%[]") == strlen(name))
        return; /* an address */
    tw_scrub_add_name(s, name, to);
    tw_text_set(bare, sizeof bare, "%.*s", (int)TW_MIN(strcspn(name, "."), sizeof bare - 1), name);
    tw_scrub_add_name(s, bare, to);
}

/* A profile's name may be a radio network's; what we and distributions make may stay. */
static void add_profiles(tw_scrub *s, const json_t *nics)
{
    size_t i;
    json_t *n;
    json_array_foreach(nics, i, n)
    {
        char to[32];
        const char *name = text_at(n, "profile", NULL), *own = text_at(n, "name", NULL);
        if (name[0] == '\0' || strcmp(name, own) == 0 || strstr(name, "twinax") != NULL ||
            strstr(name, "netplan") != NULL || strncmp(name, "Wired connection", 16) == 0 ||
            strcmp(name, "rdma0") == 0 || strcmp(name, "thunderbolt0") == 0)
            continue;
        tw_text_set(to, sizeof to, "profile%zu", tw_scrub_place(&s->profiles, name));
        tw_scrub_add_name(s, name, to);
    }
}

/* The kernel tells a cable's other end our host name. */
static void add_cable_ends(tw_scrub *s, const json_t *devices)
{
    size_t i;
    json_t *d;
    json_array_foreach(devices, i, d)
    {
        if (json_is_true(json_object_get(d, "peer")))
            tw_scrub_add_name(s, text_at(d, "device", NULL), "peer");
    }
}

static void collect(tw_scrub *s, const json_t *node, size_t i)
{
    char to[16];
    const json_t *f = json_object_get(node, "facts");
    f = f != NULL ? f : node;
    tw_text_set(to, sizeof to, "box%zu", i + 1);
    add_host(s, text_at(node, "name", NULL), to);
    add_host(s, text_at(node, "ssh", NULL), to);
    add_host(s, text_at(f, "net", "host"), to);
    add_user(s, text_at(f, "user", "name"));
    add_profiles(s, json_object_get(f, "nics"));
}

/* Names too common to be looked for everywhere still go where they stand as names. */
static int set_names(json_t *node, size_t i)
{
    char to[16];
    json_t *f = json_object_get(node, "facts"), *net = json_object_get(f != NULL ? f : node, "net");
    tw_text_set(to, sizeof to, "box%zu", i + 1);
    int rc = 0;
    if (f != NULL)
        rc = json_object_set_new(node, "name", json_string(to));
    if (f != NULL && json_object_get(node, "ssh") != NULL &&
        strcmp(text_at(node, "ssh", NULL), "local") != 0)
        rc = rc != 0 ? rc : json_object_set_new(node, "ssh", json_string(to));
    if (json_object_get(net, "host") != NULL)
        rc = rc != 0 ? rc : json_object_set_new(net, "host", json_string(to));
    return rc;
}

int tw_facts_scrub(json_t *record, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_scrub *s = tw_mem_calloc(1, sizeof *s);
    if (s == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to scrub a record");
    const json_t *nodes = json_object_get(record, "nodes");
    size_t n = json_is_array(nodes) ? json_array_size(nodes) : 1;
    for (size_t i = 0; i < n; i++)
        collect(s, json_is_array(nodes) ? json_array_get(nodes, i) : record, i);
    for (size_t i = 0; i < n; i++) {
        const json_t *node = json_is_array(nodes) ? json_array_get(nodes, i) : record;
        const json_t *f = json_object_get(node, "facts");
        add_cable_ends(s, json_object_get(json_object_get(f != NULL ? f : node, "thunderbolt"),
                                          "devices"));
    }
    TW_CLEANUP(tw_json_freep) json_t *clean = scrub_value(s, "", record);
    nodes = json_object_get(clean, "nodes");
    int rc = clean == NULL;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = set_names(json_is_array(nodes) ? json_array_get(nodes, i) : clean, i);
    if (rc != 0 || json_object_clear(record) != 0 || json_object_update(record, clean) != 0)
        return tw_err_set(err, -ENOMEM, "no memory to scrub a record");
    return 0;
}
