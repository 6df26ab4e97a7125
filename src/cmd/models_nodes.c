/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/models_nodes.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/out.h"
#include "cmd/pull_model.h"
#include "cmd/push.h"
#include "cmd/setup.h"
#include "fmt/json.h"
#include "hub/name.h"

enum { SHOW_US = 200 * 1000 };
#define LIST_LIMIT_NS   (60 * TW_NS_PER_S)
#define VERIFY_LIMIT_NS (24 * 3600 * TW_NS_PER_S)
#define REMOVE_LIMIT_NS (600 * TW_NS_PER_S)

typedef struct one_node {
    struct all_nodes *all;
    const char *name;
    tw_remote *remote; /* NULL: not had */
    json_t *models;    /* NULL: not known */
    pthread_t thread;
    bool has_thread, has_ended;
    uint64_t done_bytes, total_bytes;
    tw_err err;
} one_node;

typedef struct all_nodes {
    const tw_models_opts *o;
    const char *text;
    size_t n;
    one_node v[TW_NODES_MAX];
    pthread_mutex_t lock; /* of stdout, and of what threads tell */
} all_nodes;

static const char *text_of(const json_t *m, const char *key)
{
    const char *s = json_string_value(json_object_get(m, key));
    return s != NULL ? s : "";
}

static uint64_t number_of(const json_t *m, const char *key)
{
    const json_int_t n = json_integer_value(json_object_get(m, key));
    return n > 0 ? (uint64_t)n : 0;
}

static void print_object(json_t *v)
{
    (void)!json_dumpf(v, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(v);
}

bool tw_models_is_it(const char *text, const char *repo, const char *commit, const char *refs)
{
    tw_hub_name name;
    tw_err ignored;
    if (text == NULL)
        return true;
    if (tw_hub_name_parse(text, &name, &ignored) != 0 || strcmp(name.repo, repo) != 0)
        return false;
    const size_t k = strlen(name.revision);
    if (strchr(text, '@') == NULL || (k >= 7 && strncmp(commit, name.revision, k) == 0))
        return true;
    for (const char *r = refs; *r != '\0';) {
        const size_t len = strcspn(r, ",");
        if (len == k && strncmp(r, name.revision, k) == 0)
            return true;
        r += len + (r[len] == ',' ? 2 : 0);
    }
    return false;
}

static bool is_asked(const all_nodes *all, const json_t *m)
{
    return tw_models_is_it(all->text, text_of(m, "model"), text_of(m, "commit"),
                           text_of(m, "refs"));
}

/* ---- connecting ---- */

static void failed(one_node *n, const tw_err *why)
{
    if (n->err.code == 0)
        n->err = *why;
    fprintf(stderr, "%s\n", why->msg); /* it names its node */
}

static void open_all(all_nodes *all, const tw_nodes *nodes)
{
    const tw_push_face *push = tw_push_face_of(all->o->push);
    tw_err why = {0};
    for (size_t i = 0; i < nodes->n; i++) {
        const tw_node_spec *s = &nodes->v[i];
        const char *path = i > 0 && s->agent_path[0] != '\0' ? s->agent_path : NULL;
        all->v[i] = (one_node){.all = all, .name = s->name};
        if (tw_remote_start(i == 0 ? "local" : s->ssh, path, &all->v[i].remote, &why) != 0)
            failed(&all->v[i], &why);
    }
    for (size_t i = 0; i < nodes->n; i++) {
        one_node *n = &all->v[i];
        TW_CLEANUP(tw_json_freep) json_t *got = NULL;
        if (n->remote == NULL)
            continue;
        int rc = tw_remote_push_greet(i > 0 ? push : NULL, n->remote, &why);
        rc = tw_remote_push_mend(i > 0 ? push : NULL, n->name, nodes->v[i].ssh, rc, &n->remote,
                                 &why);
        if (rc == 0)
            rc = tw_remote_call(n->remote, "models", json_pack("{s:s}", "do", "list"),
                                LIST_LIMIT_NS, &got, &why);
        json_t *models = json_object_get(got, "models");
        if (rc == 0 && json_is_array(models))
            n->models = json_incref(models);
        else
            failed(n, &why);
    }
}

static void close_all(all_nodes *all)
{
    for (size_t i = 0; i < all->n; i++)
        tw_remote_part(all->v[i].remote);
    for (size_t i = 0; i < all->n; i++) {
        tw_remote_close(all->v[i].remote);
        json_decref(all->v[i].models);
    }
    pthread_mutex_destroy(&all->lock);
}

/* ---- list ---- */

static const json_t *find(const one_node *n, const char *repo, const char *commit)
{
    for (size_t i = 0; i < json_array_size(n->models); i++) {
        const json_t *m = json_array_get(n->models, i);
        if (strcmp(text_of(m, "model"), repo) == 0 &&
            (commit == NULL || strcmp(text_of(m, "commit"), commit) == 0))
            return m;
    }
    return NULL;
}

/* "org/name", or with what tells it from others. */
static void print_name(const json_t *m, char *out, size_t out_bytes)
{
    const char *refs = text_of(m, "refs");
    if (strcmp(refs, "main") == 0)
        snprintf(out, out_bytes, "%s", text_of(m, "model"));
    else if (refs[0] != '\0' && strchr(refs, ',') == NULL)
        snprintf(out, out_bytes, "%s@%s", text_of(m, "model"), refs);
    else
        snprintf(out, out_bytes, "%s@%.12s", text_of(m, "model"), text_of(m, "commit"));
}

static const char *state_of(const json_t *m)
{
    if (!json_is_true(json_object_get(m, "whole")))
        return "not whole";
    return json_is_true(json_object_get(m, "weights")) ? "whole" : "no weights";
}

/* One model as one node has it, or has not. */
static void list_one(const all_nodes *all, const one_node *n, const json_t *key, bool first)
{
    const json_t *m = find(n, text_of(key, "model"), text_of(key, "commit"));
    const json_t *other = m == NULL ? find(n, text_of(key, "model"), NULL) : NULL;
    char name[400] = "", size[16] = "", why[220];
    if (all->o->json) {
        json_t *v = json_copy((json_t *)(uintptr_t)(m != NULL ? m : key));
        json_object_set_new(v, "node", json_string(n->name));
        json_object_set_new(v, "here", json_boolean(m != NULL));
        if (m == NULL) {
            json_object_set_new(v, "whole", json_false());
            json_object_set_new(v, "bytes", json_integer(0));
            json_object_set_new(v, "why",
                                json_string(other != NULL ? "another revision is there"
                                                          : "it is not there"));
        }
        print_object(v);
        return;
    }
    if (first)
        print_name(key, name, sizeof name);
    if (m != NULL)
        tw_pull_size(number_of(m, "bytes"), size);
    const char *because = m != NULL ? text_of(m, "why") : "";
    if (n->models == NULL)
        snprintf(why, sizeof why, "?");
    else if (m == NULL)
        snprintf(why, sizeof why, "-%s%.12s", other != NULL ? " has another revision: " : "",
                 other != NULL ? text_of(other, "commit") : "");
    else
        snprintf(why, sizeof why, "%s%s%.190s", state_of(m), because[0] != '\0' ? ": " : "",
                 because);
    printf("%-40s %-14s %9s  %s\n", name, n->name, size, why);
}

static int compare_keys(const void *a, const void *b)
{
    const json_t *x = *(const json_t *const *)a, *y = *(const json_t *const *)b;
    const int c = strcmp(text_of(x, "model"), text_of(y, "model"));
    return c != 0 ? c : strcmp(text_of(x, "commit"), text_of(y, "commit"));
}

static int list(all_nodes *all, tw_err *err)
{
    size_t n = 0, n_all = 0;
    for (size_t i = 0; i < all->n; i++)
        n_all += json_array_size(all->v[i].models);
    TW_CLEANUP(tw_mem_freep) const json_t **keys = tw_mem_calloc(TW_MAX(n_all, 1u), sizeof *keys);
    if (keys == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    for (size_t i = 0; i < all->n; i++)
        for (size_t k = 0; k < json_array_size(all->v[i].models); k++)
            keys[n++] = json_array_get(all->v[i].models, k);
    qsort(keys, n, sizeof *keys, compare_keys);
    if (n > 0 && !all->o->json)
        printf("%-40s %-14s %9s  %s\n", "model", "node", "size", "state");
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && compare_keys(&keys[i], &keys[i - 1]) == 0)
            continue;
        for (size_t k = 0; k < all->n; k++)
            list_one(all, &all->v[k], keys[i], k == 0);
    }
    if (n == 0)
        fprintf(stderr, "no models on these nodes: `twinax pull ORG/NAME` gets one\n");
    return 0;
}

/* ---- verify ---- */

static void on_event(void *ctx, const json_t *event)
{
    one_node *n = ctx;
    pthread_mutex_lock(&n->all->lock);
    n->done_bytes = TW_MAX(n->done_bytes, number_of(event, "bytes"));
    pthread_mutex_unlock(&n->all->lock);
}

/* Lock held. */
static void print_verified(one_node *n, const json_t *m, const json_t *got)
{
    const json_t *bad = json_object_get(got, "bad");
    char name[400], size[16];
    size_t n_bad = 0;
    print_name(m, name, sizeof name);
    tw_pull_size(number_of(m, "bytes"), size);
    for (size_t i = 0; i < json_array_size(bad); i++) {
        const json_t *b = json_array_get(bad, i);
        n_bad += strcmp(text_of(b, "state"), "unknown") != 0;
        if (n->all->o->json)
            print_object(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "node", n->name, "model",
                                   text_of(m, "model"), "commit", text_of(m, "commit"), "file",
                                   text_of(b, "file"), "state", text_of(b, "state"), "why",
                                   text_of(b, "why")));
        else
            printf("%s: %s: %s: %s: %s\n", n->name, name, text_of(b, "file"), text_of(b, "state"),
                   text_of(b, "why"));
    }
    const bool whole = json_is_true(json_object_get(m, "whole"));
    if (n->all->o->json)
        print_object(json_pack("{s:s, s:s, s:s, s:I, s:I, s:b}", "node", n->name, "model",
                               text_of(m, "model"), "commit", text_of(m, "commit"), "files",
                               (json_int_t)number_of(m, "files"), "bad", (json_int_t)n_bad, "good",
                               n_bad == 0 && whole));
    else if (n_bad == 0 && whole)
        printf("%s: %s: good: %zu files, %s\n", n->name, name, (size_t)number_of(got, "files"),
               size);
    if (n_bad > 0 && n->err.code == 0)
        (void)!tw_err_set(
            &n->err, -EBADMSG,
            "%s: %.100s: %zu of its files are not as they were: `twinax pull --verify "
            "%.80s` fetches those again",
            n->name, name, n_bad, name);
    else if (!whole && n->err.code == 0)
        (void)!tw_err_set(&n->err, -EAGAIN, "%s: %.100s: %.80s: `twinax pull` gets them", n->name,
                          name, text_of(m, "why"));
}

static void *verify_node(void *arg)
{
    one_node *n = arg;
    uint64_t before = 0;
    tw_remote_on_event(n->remote, on_event, n);
    for (size_t i = 0; i < json_array_size(n->models); i++) {
        const json_t *m = json_array_get(n->models, i);
        TW_CLEANUP(tw_json_freep) json_t *got = NULL;
        tw_err why = {0};
        if (!is_asked(n->all, m))
            continue;
        int rc = tw_remote_call(n->remote, "models",
                                json_pack("{s:s, s:s, s:s, s:b}", "do", "verify", "model",
                                          text_of(m, "model"), "commit", text_of(m, "commit"),
                                          "quick", n->all->o->quick),
                                VERIFY_LIMIT_NS, &got, &why);
        pthread_mutex_lock(&n->all->lock);
        before += number_of(m, "bytes");
        n->done_bytes = before;
        if (rc == 0)
            print_verified(n, m, got);
        else
            failed(n, &why);
        pthread_mutex_unlock(&n->all->lock);
        if (rc == -ECANCELED || rc == -ECONNRESET || rc == -ETIMEDOUT)
            break;
    }
    pthread_mutex_lock(&n->all->lock);
    n->has_ended = true;
    pthread_mutex_unlock(&n->all->lock);
    return NULL;
}

static bool show(all_nodes *all)
{
    bool any = false;
    pthread_mutex_lock(&all->lock);
    const bool tty = isatty(STDERR_FILENO) && !all->o->json;
    if (tty)
        fputs("\r\033[K", stderr);
    for (size_t i = 0; i < all->n; i++) {
        const one_node *n = &all->v[i];
        any = any || (n->has_thread && !n->has_ended);
        if (tty && n->has_thread && n->total_bytes > 0)
            fprintf(stderr, "%s %.0f %%  ", n->name,
                    100.0 * (double)n->done_bytes / (double)n->total_bytes);
    }
    if (tty && !any)
        fputs("\r\033[K", stderr);
    fflush(stderr);
    pthread_mutex_unlock(&all->lock);
    return any;
}

static size_t count_asked(all_nodes *all)
{
    size_t n_all = 0;
    for (size_t i = 0; i < all->n; i++)
        for (size_t k = 0; k < json_array_size(all->v[i].models); k++)
            if (is_asked(all, json_array_get(all->v[i].models, k))) {
                all->v[i].total_bytes += number_of(json_array_get(all->v[i].models, k), "bytes");
                n_all++;
            }
    return n_all;
}

static void verify(all_nodes *all)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].models != NULL)
            all->v[i].has_thread =
                pthread_create(&all->v[i].thread, NULL, verify_node, &all->v[i]) == 0;
    while (show(all))
        usleep(SHOW_US);
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].has_thread)
            pthread_join(all->v[i].thread, NULL);
}

/* ---- rm ---- */

/* What goes, one line each; or it goes. *ret_freed grows. */
static void each_to_remove(all_nodes *all, bool now, uint64_t *ret_freed)
{
    for (size_t i = 0; i < all->n; i++)
        for (size_t k = 0; k < json_array_size(all->v[i].models); k++) {
            const json_t *m = json_array_get(all->v[i].models, k);
            TW_CLEANUP(tw_json_freep) json_t *got = NULL;
            char name[400], size[16];
            tw_err why = {0};
            if (!is_asked(all, m))
                continue;
            print_name(m, name, sizeof name);
            tw_pull_size(number_of(m, "bytes"), size);
            if (!now)
                fprintf(stderr, "%s: %s: %s, in %s\n", all->v[i].name, name, size,
                        text_of(m, "path"));
            else if (tw_remote_call(all->v[i].remote, "models",
                                    json_pack("{s:s, s:s, s:s}", "do", "rm", "model",
                                              text_of(m, "model"), "commit", text_of(m, "commit")),
                                    REMOVE_LIMIT_NS, &got, &why) != 0)
                failed(&all->v[i], &why);
            *ret_freed += number_of(got, "freed_bytes");
        }
}

static int remove_all(all_nodes *all, tw_err *err)
{
    char size[16];
    uint64_t freed = 0;
    each_to_remove(all, false, &freed);
    if (!all->o->yes && !isatty(STDIN_FILENO))
        return tw_err_set(err, -EPERM, "nothing is removed without consent: --yes gives it");
    if (!all->o->yes && !tw_setup_says_yes("remove? [y/N] "))
        return tw_err_set(err, -ECANCELED, "nothing was removed");
    each_to_remove(all, true, &freed);
    tw_pull_size(freed, size);
    if (all->o->json)
        print_object(json_pack("{s:s, s:I}", "model", all->text, "freed_bytes", (json_int_t)freed));
    else
        printf("%s freed\n", size);
    return 0;
}

int tw_models_nodes(enum tw_models_verb verb, const tw_models_opts *o, const tw_nodes *nodes,
                    const char *text, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) all_nodes *all = tw_mem_calloc(1, sizeof *all);
    int rc = 0;
    if (all == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    *all = (all_nodes){.o = o, .text = text, .n = nodes->n};
    pthread_mutex_init(&all->lock, NULL);
    open_all(all, nodes);
    const size_t n_asked = count_asked(all);
    if (text != NULL && n_asked == 0)
        rc = tw_err_set(err, -ENOENT, "%.100s is in the cache of none of these nodes", text);
    else if (verb == TW_MODELS_LIST)
        rc = list(all, err);
    else if (verb == TW_MODELS_VERIFY)
        verify(all);
    else
        rc = remove_all(all, err);
    for (size_t i = 0; i < all->n && rc == 0; i++)
        if (all->v[i].err.code != 0) {
            *err = all->v[i].err;
            rc = err->code;
        }
    close_all(all);
    return rc == 0 ? tw_out_flush(err) : rc;
}
