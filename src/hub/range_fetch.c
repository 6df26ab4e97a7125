/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/range_fetch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "hub/fetch.h"
#include "hub/http.h"
#include "os/fd.h"

enum { ERROR_STATUS = 400, POLL_MS = 100, URL_BYTES = 8192 };
#define PAUSE_MAX_NS (300 * TW_NS_PER_S)

/* A unit that was asked for. */
typedef struct order {
    size_t unit;
    bool taken, forgotten;
} order;

typedef struct transfer {
    tw_hub_getter *g;
    CURL *h;
    bool runs, saw_body, whole_file, too_much;
    size_t unit;
    uint64_t from, bytes; /* of the unit: what was there, what is wanted */
    tw_hub_answer answer;
    tw_err why; /* of writing; code 0: none */
} transfer;

struct tw_hub_getter {
    tw_hub_getter_opts o;
    const tw_curl_lib *c;
    const tw_hub_map *map;
    CURLM *multi;
    transfer *transfers;
    unsigned n_transfers;
    char **store_urls; /* [map->n_files]: where the hub sent us; NULL: not known */
    unsigned n_failed; /* in a row, without a byte between them */
    uint64_t not_before_ns;
    pthread_t thread;
    bool has_thread;
    int wake_fd;
    pthread_mutex_t lock; /* of all below */
    order *orders;
    size_t n_orders, orders_cap;
    tw_hub_getter_news news;
    bool ends;
};

static void wake(tw_hub_getter *g)
{
    const uint64_t one = 1;
    (void)!write(g->wake_fd, &one, sizeof one);
}

/* ---- orders ---- */

int tw_hub_getter_order(tw_hub_getter *g, size_t unit, tw_err *err)
{
    int rc = 0;
    pthread_mutex_lock(&g->lock);
    if (g->n_orders == g->orders_cap) {
        const size_t cap = TW_MAX(2 * g->orders_cap, (size_t)64);
        order *v = tw_mem_realloc(g->orders, cap * sizeof *v);
        if (v == NULL)
            rc = tw_err_set(err, -ENOMEM, "no memory");
        else {
            g->orders = v;
            g->orders_cap = cap;
        }
    }
    if (rc == 0)
        g->orders[g->n_orders++] = (order){.unit = unit};
    pthread_mutex_unlock(&g->lock);
    wake(g);
    return rc;
}

void tw_hub_getter_forget(tw_hub_getter *g, size_t unit)
{
    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n_orders; i++)
        if (g->orders[i].unit == unit)
            g->orders[i].forgotten = true;
    pthread_mutex_unlock(&g->lock);
    wake(g);
}

void tw_hub_getter_look(tw_hub_getter *g, tw_hub_getter_news *ret)
{
    pthread_mutex_lock(&g->lock);
    *ret = g->news;
    pthread_mutex_unlock(&g->lock);
}

static void drop_order(tw_hub_getter *g, size_t unit)
{
    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n_orders; i++)
        if (g->orders[i].unit == unit) {
            memmove(&g->orders[i], &g->orders[i + 1], (g->n_orders - i - 1) * sizeof g->orders[0]);
            g->n_orders--;
            break;
        }
    pthread_mutex_unlock(&g->lock);
}

/* The first that nobody is at. */
static bool take_order(tw_hub_getter *g, size_t *ret_unit)
{
    bool found = false;
    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n_orders && !found; i++)
        if (!g->orders[i].taken && !g->orders[i].forgotten) {
            g->orders[i].taken = found = true;
            *ret_unit = g->orders[i].unit;
        }
    pthread_mutex_unlock(&g->lock);
    return found;
}

static void untake(tw_hub_getter *g, size_t unit)
{
    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n_orders; i++)
        if (g->orders[i].unit == unit)
            g->orders[i].taken = false;
    pthread_mutex_unlock(&g->lock);
}

static bool is_forgotten(tw_hub_getter *g, size_t unit)
{
    bool is = false;
    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n_orders; i++)
        is |= g->orders[i].unit == unit && g->orders[i].forgotten;
    pthread_mutex_unlock(&g->lock);
    return is;
}

static void say_waits(tw_hub_getter *g, const char *why, uint64_t ns)
{
    pthread_mutex_lock(&g->lock);
    if (why == NULL)
        g->news.waits[0] = '\0';
    else
        snprintf(g->news.waits, sizeof g->news.waits, "%s; again in %llu s", why,
                 (unsigned long long)((ns + TW_NS_PER_S - 1) / TW_NS_PER_S));
    pthread_mutex_unlock(&g->lock);
}

/* ---- what curl calls ---- */

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    transfer *t = arg;
    tw_hub_answer_note(&t->answer, p, size * n);
    return size * n;
}

/* The first bytes: are they those that were asked for? A whole file is, where it is one unit. */
static bool is_expected(transfer *t)
{
    curl_off_t status = 0;
    (void)t->g->c->getinfo(t->h, CURLINFO_RESPONSE_CODE, &status);
    t->answer.status = (int)status;
    const uint64_t size = t->g->map->list->v[t->g->map->file[t->unit]].size;
    if (status == 200 && (t->from != 0 || t->bytes != size)) {
        t->whole_file = true;
        return false;
    }
    return status == 200 || status == 206;
}

static size_t on_body(char *bytes, size_t size, size_t n_sized, void *arg)
{
    transfer *t = arg;
    tw_hub_getter *g = t->g;
    const size_t n = size * n_sized;
    if (!t->saw_body && !is_expected(t))
        return t->answer.status >= ERROR_STATUS ? n : 0; /* a page about the error: not wanted */
    t->saw_body = true;
    if (n > t->bytes - t->from) {
        t->too_much = true;
        return 0;
    }
    if (tw_hub_store_put(g->o.store, t->unit, bytes, n, &t->why) != 0)
        return 0;
    t->from += n;
    if (g->n_failed > 0)
        say_waits(g, NULL, 0);
    g->n_failed = 0;
    pthread_mutex_lock(&g->lock);
    g->news.bytes += n;
    pthread_mutex_unlock(&g->lock);
    return n;
}

/* ---- a transfer ---- */

/* ".../resolve/COMMIT/a%20b.json" */
static int make_url(const tw_hub_getter *g, const char *path, char out[URL_BYTES], tw_err *err)
{
    size_t at = (size_t)snprintf(out, URL_BYTES, "%s/%s/resolve/%s", g->o.place->endpoint,
                                 g->o.name->repo, g->o.commit);
    for (const char *p = path; at < URL_BYTES;) {
        const size_t n = strcspn(p, "/");
        char *part = g->c->escape(NULL, p, (int)n);
        if (part == NULL)
            return tw_err_set(err, -ENOMEM, "no memory");
        at += (size_t)snprintf(out + at, URL_BYTES - at, "/%s", part);
        g->c->free(part);
        if (p[n] == '\0')
            break;
        p += n + 1;
    }
    return at < URL_BYTES ? 0 : tw_err_set(err, -ENAMETOOLONG, "%.150s: too long a path", path);
}

static int begin(tw_hub_getter *g, transfer *t, size_t unit, tw_err *err)
{
    char url[URL_BYTES], range[64];
    const size_t file = g->map->file[unit];
    const uint64_t at = tw_hub_map_at(g->map, unit);
    uint64_t done = 0;
    if (!tw_hub_store_claim(g->o.store, unit, &done)) {
        drop_order(g, unit);
        g->o.on_unit(g->o.arg, unit,
                     tw_hub_store_done(g->o.store, unit) == tw_hub_map_bytes(g->map, unit));
        return 0;
    }
    *t = (transfer){.g = g, .h = t->h, .unit = unit, .from = done};
    t->bytes = tw_hub_map_bytes(g->map, unit);
    int rc = 0;
    if (g->store_urls[file] == NULL)
        rc = make_url(g, g->map->list->v[file].path, url, err);
    g->c->easy_reset(t->h);
    if (rc == 0)
        rc = tw_hub_http_setup(g->c, t->h, g->o.place,
                               g->store_urls[file] != NULL ? g->store_urls[file] : url, err);
    snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)(at + done),
             (unsigned long long)(at + t->bytes - 1));
    (void)g->c->setopt(t->h, CURLOPT_HEADERFUNCTION, on_header);
    (void)g->c->setopt(t->h, CURLOPT_HEADERDATA, t);
    (void)g->c->setopt(t->h, CURLOPT_WRITEFUNCTION, on_body);
    (void)g->c->setopt(t->h, CURLOPT_WRITEDATA, t);
    (void)g->c->setopt(t->h, CURLOPT_PRIVATE, t);
    if (done != 0 || t->bytes != g->map->list->v[file].size)
        (void)g->c->setopt(t->h, CURLOPT_RANGE, range);
    if (rc == 0 && g->c->multi_add(g->multi, t->h) != CURLM_OK)
        rc = tw_err_set(err, -ENOMEM, "libcurl takes no more transfers");
    t->runs = rc == 0;
    if (rc != 0)
        tw_hub_store_release(g->o.store, unit);
    return rc;
}

static void let_go(tw_hub_getter *g, transfer *t)
{
    (void)g->c->multi_remove(g->multi, t->h);
    t->runs = false;
    tw_hub_store_release(g->o.store, t->unit);
}

/* Where it came from in the end, when that is not the hub itself; else NULL. */
static const char *store_of(const transfer *t)
{
    const char *url = NULL;
    const char *endpoint = t->g->o.place->endpoint;
    const size_t n = strlen(endpoint);
    if (t->g->c->getinfo(t->h, CURLINFO_EFFECTIVE_URL, &url) != CURLE_OK || url == NULL ||
        (strncmp(url, endpoint, n) == 0 && url[n] == '/'))
        return NULL;
    return url;
}

/* err holds the cause, for when it was one time too many. */
static int wait_a_while(tw_hub_getter *g, transfer *t, const char *why, tw_err *err)
{
    const uint64_t ns = tw_hub_http_pause_ns(&t->answer, g->n_failed);
    /* What breaks off while all wait is the same trouble: connections end together. */
    g->n_failed += g->n_failed == 0 || tw_clock_now_ns() >= g->not_before_ns;
    if (g->n_failed > TW_HUB_RETRIES || ns > PAUSE_MAX_NS)
        return err->code != 0 ? err->code : tw_err_set(err, -EIO, "%s", why);
    /* Another transfer may have been told to wait longer. */
    g->not_before_ns = TW_MAX(g->not_before_ns, tw_clock_now_ns() + ns);
    say_waits(g, why, ns);
    return 0;
}

static int refused(tw_hub_getter *g, transfer *t, const char *store, tw_err *err)
{
    const size_t file = g->map->file[t->unit];
    const char *path = g->map->list->v[file].path;
    if (store != NULL && !tw_hub_answer_may_retry(&t->answer)) {
        tw_mem_free(g->store_urls[file]); /* its address has grown old: ask the hub for another */
        g->store_urls[file] = NULL;
        (void)!tw_err_set(err, -EIO, "%.80s: the store that the hub names answers %d", path,
                          t->answer.status);
        return wait_a_while(g, t, "the store refuses", err);
    }
    int rc = tw_hub_refused(g->o.place, g->o.name, path, &t->answer, err);
    if (!tw_hub_answer_may_retry(&t->answer))
        return rc;
    return wait_a_while(g, t,
                        t->answer.status == 429 ? "the hub wants fewer requests"
                                                : "the hub has trouble",
                        err);
}

static int broke_off(tw_hub_getter *g, transfer *t, CURLcode code, tw_err *err)
{
    const char *path = g->map->list->v[g->map->file[t->unit]].path;
    if (t->why.code != 0) {
        *err = t->why;
        return err->code;
    }
    if (t->whole_file)
        return tw_err_set(err, -EOPNOTSUPP,
                          "%.100s: this server gives whole files alone, which cannot be shared: "
                          "`twinax pull --local` on each machine",
                          path);
    if (t->too_much)
        return tw_err_set(err, -EPROTO, "%.100s: more bytes came than its listed size", path);
    if (tw_hub_http_failed(g->c, g->o.place, code, err))
        return err->code != 0 ? err->code : -EPROTO;
    t->answer.retry_after_s = 0;
    return wait_a_while(g, t, "the connection broke off", err);
}

static int end(tw_hub_getter *g, transfer *t, CURLcode code, tw_err *err)
{
    const size_t file = g->map->file[t->unit];
    const bool is_full = t->from == t->bytes;
    curl_off_t status = 0;
    int rc = 0;
    (void)g->c->getinfo(t->h, CURLINFO_RESPONSE_CODE, &status);
    t->answer.status = (int)status;
    const char *store = store_of(t);
    if (is_full && store != NULL && g->store_urls[file] == NULL)
        g->store_urls[file] = tw_mem_strdup(store); /* it serves the other ranges too */
    if (status >= ERROR_STATUS)
        rc = refused(g, t, store, err);
    else if (!is_full)
        rc = broke_off(g, t, code != CURLE_OK ? code : CURLE_PARTIAL_FILE, err);
    let_go(g, t);
    if (!is_full) {
        untake(g, t->unit);
        return rc;
    }
    drop_order(g, t->unit);
    g->o.on_unit(g->o.arg, t->unit, true);
    return 0;
}

/* ---- the thread ---- */

static int drive(tw_hub_getter *g, tw_err *err)
{
    int n_running = 0, n_left = 0, rc = 0;
    (void)g->c->multi_perform(g->multi, &n_running);
    for (CURLMsg *m; rc == 0 && (m = g->c->multi_info(g->multi, &n_left)) != NULL;) {
        transfer *t = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        const CURLcode code = m->data.result;
        (void)g->c->getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
        if (t != NULL && t->runs)
            rc = end(g, t, code, err);
    }
    return rc;
}

static int begin_some(tw_hub_getter *g, tw_err *err)
{
    int rc = 0;
    size_t unit;
    for (unsigned i = 0; i < g->n_transfers && rc == 0; i++)
        while (rc == 0 && !g->transfers[i].runs && take_order(g, &unit))
            rc = begin(g, &g->transfers[i], unit, err);
    return rc;
}

static void let_forgotten_go(tw_hub_getter *g)
{
    for (unsigned i = 0; i < g->n_transfers; i++)
        if (g->transfers[i].runs && is_forgotten(g, g->transfers[i].unit))
            let_go(g, &g->transfers[i]);
    pthread_mutex_lock(&g->lock);
    size_t n = 0;
    for (size_t i = 0; i < g->n_orders; i++)
        if (!g->orders[i].forgotten)
            g->orders[n++] = g->orders[i];
    g->n_orders = n;
    pthread_mutex_unlock(&g->lock);
}

static bool is_to_end(tw_hub_getter *g)
{
    pthread_mutex_lock(&g->lock);
    const bool ends = g->ends;
    pthread_mutex_unlock(&g->lock);
    return ends;
}

static void *get_all(void *arg)
{
    tw_hub_getter *g = arg;
    tw_err err = {0};
    int rc = 0;
    while (rc == 0 && !is_to_end(g)) {
        struct curl_waitfd waker = {.fd = g->wake_fd, .events = CURL_WAIT_POLLIN};
        uint64_t ignored;
        let_forgotten_go(g);
        if (tw_clock_now_ns() >= g->not_before_ns)
            rc = begin_some(g, &err);
        if (rc == 0)
            rc = drive(g, &err);
        if (rc == 0)
            (void)g->c->multi_poll(g->multi, &waker, 1, POLL_MS, NULL);
        (void)!read(g->wake_fd, &ignored, sizeof ignored);
    }
    for (unsigned i = 0; i < g->n_transfers; i++)
        if (g->transfers[i].runs)
            let_go(g, &g->transfers[i]);
    pthread_mutex_lock(&g->lock);
    if (rc != 0)
        g->news.why = err;
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

static int make(tw_hub_getter *g, tw_err *err)
{
    const unsigned n = g->o.n_connections != 0 ? g->o.n_connections : TW_HUB_CONNECTIONS;
    g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = g->wake_fd < 0 ? tw_err_set(err, -errno, "eventfd: %s", strerror(errno)) : 0;
    if (rc == 0)
        rc = tw_curl_get(&g->c, err);
    if (rc != 0)
        return rc;
    g->transfers = tw_mem_calloc(n, sizeof *g->transfers);
    g->store_urls = tw_mem_calloc(TW_MAX(g->map->n_files, 1u), sizeof *g->store_urls);
    g->multi = g->c->multi_init();
    if (g->transfers == NULL || g->store_urls == NULL || g->multi == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    for (; g->n_transfers < n; g->n_transfers++) {
        g->transfers[g->n_transfers].h = g->c->easy_init();
        if (g->transfers[g->n_transfers].h == NULL)
            return tw_err_set(err, -ENOMEM, "no memory");
    }
    return 0;
}

int tw_hub_getter_start(const tw_hub_getter_opts *o, tw_hub_getter **ret, tw_err *err)
{
    tw_hub_getter *g = tw_mem_calloc(1, sizeof *g);
    if (g == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    g->o = *o;
    g->map = tw_hub_store_map(o->store);
    pthread_mutex_init(&g->lock, NULL);
    int rc = make(g, err);
    if (rc == 0) {
        rc = -pthread_create(&g->thread, NULL, get_all, g);
        g->has_thread = rc == 0;
        if (rc != 0)
            (void)!tw_err_set(err, rc, "no thread to fetch with: %s", strerror(-rc));
    }
    if (rc != 0) {
        tw_hub_getter_stop(g);
        return rc;
    }
    *ret = g;
    return 0;
}

void tw_hub_getter_stop(tw_hub_getter *g)
{
    if (g == NULL)
        return;
    pthread_mutex_lock(&g->lock);
    g->ends = true;
    pthread_mutex_unlock(&g->lock);
    if (g->has_thread) {
        wake(g);
        pthread_join(g->thread, NULL);
    }
    for (unsigned i = 0; i < g->n_transfers; i++)
        g->c->easy_cleanup(g->transfers[i].h);
    if (g->multi != NULL)
        (void)g->c->multi_cleanup(g->multi);
    for (size_t i = 0; g->store_urls != NULL && i < g->map->n_files; i++)
        tw_mem_free(g->store_urls[i]);
    tw_mem_free(g->store_urls);
    tw_mem_free(g->transfers);
    tw_mem_free(g->orders);
    tw_fd_closep(&g->wake_fd);
    pthread_mutex_destroy(&g->lock);
    tw_mem_free(g);
}
