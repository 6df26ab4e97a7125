/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "hub/cache.h"
#include "hub/fetch_item.h"
#include "hub/http.h"
#include "hub/sink.h"

enum { ERROR_STATUS = 400, OPEN_MAX = 16, BAD_MAX = 2, POLL_MS = 50 };
#define LOOK_NS      (2 * TW_NS_PER_MS)
#define RAMP_NS      (20 * TW_NS_PER_MS)
#define TOLD_NS      (100 * TW_NS_PER_MS)
#define LOCK_LOOK_NS (200 * TW_NS_PER_MS)
#define LOCK_MAX_NS  (1800 * TW_NS_PER_S)
#define PAUSE_MAX_NS (300 * TW_NS_PER_S)

typedef struct transfer {
    struct fetch *f;
    CURL *h;
    tw_hub_item *it; /* NULL: idle */
    size_t i_range;
    bool by_store, saw_body, whole_file; /* whole_file: ranges are not what this server does */
    bool wrong_size, is_other;
    tw_hub_answer answer;
    tw_hub_chunk chunk; /* what came and is not on its way to the disk */
} transfer;

typedef struct fetch {
    const tw_hub_fetch_opts *o;
    const tw_curl_lib *c;
    CURLM *multi;
    tw_hub_item *items;
    size_t n;
    transfer *transfers;
    unsigned n_transfers;
    tw_hub_sink sink;
    tw_hub_progress *p;
    unsigned n_failed; /* in a row, without a byte between them */
    uint64_t not_before_ns, told_ns, looked_ns;
    bool has_ended; /* a transfer, since files were looked at */
    /* More connections than one only help while this thread waits for bytes. */
    unsigned n_allowed;
    uint64_t ramp_ns, waited_ns; /* since ramp_ns */
    char waits[96];
    tw_err *err;
} fetch;

/* ---- what curl calls ---- */

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    transfer *t = arg;
    tw_hub_answer_note(&t->answer, p, size * n);
    /* A mirror that is out of step: its bytes would not have the hash that it listed. */
    t->is_other =
        t->answer.linked_etag[0] != '\0' && strcmp(t->answer.linked_etag, t->it->file->etag) != 0;
    return t->is_other ? 0 : size * n;
}

/* The first bytes: are they those that were asked for? */
static bool is_expected(transfer *t)
{
    curl_off_t status = 0;
    (void)t->f->c->getinfo(t->h, CURLINFO_RESPONSE_CODE, &status);
    t->answer.status = (int)status;
    const bool from_zero = t->i_range == 0 && t->it->got[0] == 0;
    if (status == 200 && !(from_zero && t->it->part.n_ranges == 1)) {
        t->whole_file = true;
        return false;
    }
    return status == 200 || status == 206;
}

static size_t on_body(char *bytes, size_t size, size_t n_sized, void *arg)
{
    transfer *t = arg;
    fetch *f = t->f;
    const size_t n = size * n_sized;
    if (!t->saw_body && !is_expected(t))
        return t->answer.status >= ERROR_STATUS ? n : 0; /* a page about the error: not wanted */
    t->saw_body = true;
    uint64_t *got = &t->it->got[t->i_range];
    if (n > tw_hub_part_range_size(&t->it->part, t->i_range) - *got) {
        t->wrong_size = true;
        return 0;
    }
    tw_hub_sink_put(&f->sink, &t->chunk, t->it, t->i_range, bytes, n);
    *got += n;
    f->n_failed = 0;
    f->p->done_bytes += n;
    f->p->fetched_bytes += n;
    return n;
}

/* ---- a transfer ---- */

/* ".../resolve/COMMIT/a%20b.json" */
static int make_url(const fetch *f, const tw_hub_item *it, char out[TW_HUB_URL_BYTES], tw_err *err)
{
    size_t at = (size_t)snprintf(out, TW_HUB_URL_BYTES, "%s/%s/resolve/%s", f->o->place->endpoint,
                                 f->o->name->repo, f->o->commit);
    for (const char *p = it->file->path; at < TW_HUB_URL_BYTES;) {
        const size_t n = strcspn(p, "/");
        char *part = f->c->escape(NULL, p, (int)n);
        if (part == NULL)
            return tw_err_set(err, -ENOMEM, "no memory");
        at += (size_t)snprintf(out + at, TW_HUB_URL_BYTES - at, "/%s", part);
        f->c->free(part);
        if (p[n] == '\0')
            break;
        p += n + 1;
    }
    return at < TW_HUB_URL_BYTES
               ? 0
               : tw_err_set(err, -ENAMETOOLONG, "%.150s: too long a path", it->file->path);
}

static int begin(fetch *f, transfer *t, tw_hub_item *it, size_t i_range)
{
    char url[TW_HUB_URL_BYTES], range[64];
    const tw_hub_part *p = &it->part;
    const uint64_t from = i_range * p->range_bytes;
    const uint64_t last = from + tw_hub_part_range_size(p, i_range) - 1;
    *t = (transfer){.f = f, .h = t->h, .i_range = i_range, .by_store = it->store_url != NULL};
    int rc = t->by_store ? 0 : make_url(f, it, url, f->err);
    if (rc != 0)
        return rc;
    f->c->easy_reset(t->h);
    rc = tw_hub_http_setup(f->c, t->h, f->o->place, t->by_store ? it->store_url : url, f->err);
    if (rc != 0)
        return rc;
    snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)(from + it->got[i_range]),
             (unsigned long long)last);
    const bool whole = it->no_ranges || (p->n_ranges == 1 && it->got[0] == 0);
    (void)f->c->setopt(t->h, CURLOPT_HEADERFUNCTION, on_header);
    (void)f->c->setopt(t->h, CURLOPT_HEADERDATA, t);
    (void)f->c->setopt(t->h, CURLOPT_WRITEFUNCTION, on_body);
    (void)f->c->setopt(t->h, CURLOPT_WRITEDATA, t);
    (void)f->c->setopt(t->h, CURLOPT_PRIVATE, t);
    if (!whole)
        (void)f->c->setopt(t->h, CURLOPT_RANGE, range);
    if (f->c->multi_add(f->multi, t->h) != CURLM_OK)
        return tw_err_set(f->err, -ENOMEM, "libcurl takes no more transfers");
    t->it = it;
    it->busy[i_range] = true;
    return 0;
}

/* Where it came from in the end, when that is not the hub itself; else NULL. */
static const char *store_of(const transfer *t)
{
    const char *url = NULL;
    const char *endpoint = t->f->o->place->endpoint;
    const size_t n = strlen(endpoint);
    if (t->f->c->getinfo(t->h, CURLINFO_EFFECTIVE_URL, &url) != CURLE_OK || url == NULL ||
        (strncmp(url, endpoint, n) == 0 && url[n] == '/'))
        return NULL;
    return url;
}

/* Where the hub sent us serves the other ranges too. */
static void note_store(transfer *t)
{
    const char *url = store_of(t);
    if (url != NULL && t->it->store_url == NULL)
        t->it->store_url = tw_mem_strdup(url);
}

static int wait_a_while(fetch *f, transfer *t, const char *why)
{
    const uint64_t ns = tw_hub_http_pause_ns(&t->answer, f->n_failed);
    /* What breaks off while all wait is the same trouble: connections end together. */
    f->n_failed += f->n_failed == 0 || tw_clock_now_ns() >= f->not_before_ns;
    if (f->n_failed > TW_HUB_RETRIES || ns > PAUSE_MAX_NS)
        return f->err != NULL && f->err->code != 0 ? f->err->code : -EIO;
    /* Another transfer may have been told to wait longer. */
    f->not_before_ns = TW_MAX(f->not_before_ns, tw_clock_now_ns() + ns);
    snprintf(f->waits, sizeof f->waits, "%s; again in %llu s", why,
             (unsigned long long)((ns + TW_NS_PER_S - 1) / TW_NS_PER_S));
    return 0;
}

/* The server gives only the whole: one range from the first byte. */
static int go_whole(fetch *f, tw_hub_item *it)
{
    for (unsigned i = 0; i < f->n_transfers; i++)
        if (f->transfers[i].it == it) {
            (void)f->c->multi_remove(f->multi, f->transfers[i].h);
            tw_hub_sink_flush(&f->sink, &f->transfers[i].chunk);
            f->transfers[i].it = NULL;
        }
    it->no_ranges = true;
    f->p->done_bytes -= tw_hub_item_got_bytes(it);
    tw_hub_sink_drain(&f->sink, it);
    tw_hub_sink_lock(&f->sink);
    const int rc = tw_hub_item_restart(it, TW_MAX(it->part.size, 1u), f->err);
    tw_hub_sink_unlock(&f->sink);
    return rc;
}

static int refused(fetch *f, transfer *t)
{
    tw_hub_item *it = t->it;
    if (store_of(t) != NULL && !tw_hub_answer_may_retry(&t->answer)) {
        tw_mem_free(it->store_url); /* its address has grown old: ask the hub for another */
        it->store_url = NULL;
        (void)!tw_err_set(f->err, -EIO, "%.80s: the store that the hub names answers %d",
                          it->file->path, t->answer.status);
        return wait_a_while(f, t, "the store refuses");
    }
    int rc = tw_hub_refused(f->o->place, f->o->name, it->file->path, &t->answer, f->err);
    if (!tw_hub_answer_may_retry(&t->answer))
        return rc;
    return wait_a_while(f, t,
                        t->answer.status == 429 ? "the hub wants fewer requests"
                                                : "the hub has trouble");
}

static int broke_off(fetch *f, transfer *t, CURLcode code)
{
    tw_hub_item *it = t->it;
    if (t->whole_file)
        return go_whole(f, it);
    if (t->wrong_size)
        return tw_err_set(f->err, -EPROTO, "%.100s: more bytes came than its listed size, %llu",
                          it->file->path, (unsigned long long)it->file->size);
    if (t->is_other)
        return tw_err_set(f->err, -EPROTO,
                          "%.80s: %.40s lists it as %.12s... and serves %.12s...: a mirror that is "
                          "out of step? try later, or another HF_ENDPOINT",
                          it->file->path, f->o->place->endpoint, it->file->etag,
                          t->answer.linked_etag);
    if (it->no_ranges && it->got[0] != 0) { /* it cannot go on in the middle */
        int rc = go_whole(f, it);
        if (rc != 0)
            return rc;
    }
    if (tw_hub_http_failed(f->c, f->o->place, code, f->err))
        return f->err != NULL && f->err->code != 0 ? f->err->code : -EPROTO;
    t->answer.retry_after_s = 0;
    return wait_a_while(f, t, "the connection broke off");
}

static int end(fetch *f, transfer *t, CURLcode code)
{
    tw_hub_item *it = t->it;
    curl_off_t status = 0;
    int rc = 0;
    (void)f->c->getinfo(t->h, CURLINFO_RESPONSE_CODE, &status);
    (void)f->c->multi_remove(f->multi, t->h);
    t->answer.status = (int)status;
    it->busy[t->i_range] = false;
    tw_hub_sink_flush(&f->sink, &t->chunk);
    const bool full = it->got[t->i_range] == tw_hub_part_range_size(&it->part, t->i_range);
    if (status >= ERROR_STATUS)
        rc = refused(f, t);
    else if (code != CURLE_OK)
        rc = broke_off(f, t, code);
    else if (full)
        note_store(t);
    else
        rc = broke_off(f, t, CURLE_PARTIAL_FILE);
    t->it = NULL;
    f->has_ended = true;
    return rc;
}

/* ---- files ---- */

static int link_it(fetch *f, const tw_hub_item *it)
{
    char snapshot[TW_HUB_PATH_BYTES];
    int rc = tw_hub_path(snapshot, f->err, "%s/snapshots/%s", f->o->folder, f->o->commit);
    return rc == 0 ? tw_hub_cache_link(snapshot, it->file, f->err) : rc;
}

static int open_item(fetch *f, tw_hub_item *it, uint64_t now)
{
    if (now < it->look_again_ns)
        return 0;
    tw_hub_sink_lock(&f->sink);
    int rc = tw_hub_item_open(it, f->o, f->err);
    if (rc == -EEXIST) /* another program brought it meanwhile */
        it->state = TW_HUB_ITEM_DONE;
    tw_hub_sink_unlock(&f->sink);
    if (rc == -EEXIST) {
        f->p->done_bytes += it->file->size;
        f->p->n_done++;
        return link_it(f, it);
    }
    if (rc == -EAGAIN) {
        it->wait_since_ns = it->wait_since_ns != 0 ? it->wait_since_ns : now;
        it->look_again_ns = now + LOCK_LOOK_NS;
        if (now - it->wait_since_ns > LOCK_MAX_NS)
            return tw_err_set(f->err, -EBUSY,
                              "%.100s: another program has held its lock for half an hour",
                              it->file->path);
        return 0;
    }
    if (rc == 0)
        f->p->done_bytes += tw_hub_part_done_bytes(&it->part);
    return rc;
}

/* All of it is there and hashed. */
static int finish_item(fetch *f, tw_hub_item *it)
{
    tw_hub_sink_lock(&f->sink);
    int rc = tw_hub_item_finish(it, f->o, f->err);
    if (rc == -EBADMSG && ++it->n_bad < BAD_MAX) {
        f->p->done_bytes -= it->file->size;
        rc = tw_hub_item_restart(it, it->part.range_bytes, f->err);
    } else if (rc == -EBADMSG) {
        tw_err ignored; /* what is known to be wrong is not gone on with another time */
        (void)!tw_hub_part_restart(&it->part, it->part.range_bytes, &ignored);
        it->state = TW_HUB_ITEM_DONE;
    } else {
        it->state = TW_HUB_ITEM_DONE;
        f->p->n_done += rc == 0;
    }
    if (it->state == TW_HUB_ITEM_DONE)
        tw_hub_item_close(it);
    tw_hub_sink_unlock(&f->sink);
    return rc;
}

/* Opens, begins and ends what can be; *ret_left: files that are not done. */
static int look_at_items(fetch *f, uint64_t now, size_t *ret_left)
{
    size_t n_open = 0;
    int rc = 0;
    *ret_left = 0;
    f->p->file = NULL;
    for (size_t i = 0; i < f->n && rc == 0; i++) {
        tw_hub_item *it = &f->items[i];
        if (it->state == TW_HUB_ITEM_WAITS && n_open < OPEN_MAX)
            rc = open_item(f, it, now);
        if (rc == 0 && it->state == TW_HUB_ITEM_OPEN &&
            atomic_load(&it->hashed) == it->file->size && !tw_hub_item_is_busy(it))
            rc = finish_item(f, it);
        n_open += it->state == TW_HUB_ITEM_OPEN;
        *ret_left += it->state != TW_HUB_ITEM_DONE;
        if (f->p->file == NULL && it->state == TW_HUB_ITEM_OPEN)
            f->p->file = it->file->path;
    }
    return rc;
}

static int begin_some(fetch *f)
{
    size_t i_item = 0, i_range = 0;
    int rc = 0;
    for (unsigned i = 0; i < f->n_allowed && rc == 0; i++) {
        if (f->transfers[i].it != NULL)
            continue;
        while (i_item < f->n && !(f->items[i_item].state == TW_HUB_ITEM_OPEN &&
                                  tw_hub_item_next(&f->items[i_item], &i_range)))
            i_item++;
        if (i_item == f->n)
            break;
        rc = begin(f, &f->transfers[i], &f->items[i_item], i_range);
    }
    return rc;
}

static int drive(fetch *f)
{
    int n_running = 0, n_left = 0, rc = 0;
    (void)f->c->multi_perform(f->multi, &n_running);
    for (CURLMsg *m; rc == 0 && (m = f->c->multi_info(f->multi, &n_left)) != NULL;) {
        transfer *t = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        const CURLcode code = m->data.result;
        (void)f->c->getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
        if (t != NULL && t->it != NULL)
            rc = end(f, t, code);
    }
    return rc;
}

static void tell(fetch *f, uint64_t now, bool anyway)
{
    const tw_hub_watch *w = f->o->watch;
    if (w == NULL || w->progress == NULL || (!anyway && now - f->told_ns < TOLD_NS))
        return;
    f->told_ns = now;
    f->p->waits = now < f->not_before_ns ? f->waits : NULL;
    if (f->p->waits == NULL && f->p->file == NULL && f->p->n_done < f->p->n_files)
        f->p->waits = "another program downloads it";
    w->progress(w->arg, f->p);
}

/* Twice as many connections when bytes were waited for most of the time: then the net, or who is at
 * its other end, is slower than we are. */
static void ramp(fetch *f, uint64_t now)
{
    if (now - f->ramp_ns < RAMP_NS)
        return;
    if (f->waited_ns > (now - f->ramp_ns) / 2)
        f->n_allowed = TW_MIN(2 * f->n_allowed, f->n_transfers);
    f->ramp_ns = now;
    f->waited_ns = 0;
}

/* What need not be done for every few bytes. */
static int look(fetch *f, uint64_t now, size_t *ret_left)
{
    const tw_hub_watch *w = f->o->watch;
    f->looked_ns = now;
    f->has_ended = false;
    if (w != NULL && w->should_stop != NULL && w->should_stop(w->arg))
        return tw_err_set(f->err, -EINTR, "stopped; what came is kept: the same command goes on");
    int rc = look_at_items(f, now, ret_left);
    ramp(f, now);
    if (rc == 0 && now >= f->not_before_ns)
        rc = begin_some(f);
    for (unsigned i = 0; i < f->n_transfers; i++)
        if (f->transfers[i].chunk.bytes != NULL &&
            now - f->transfers[i].chunk.begun_ns > TW_HUB_CHUNK_OLD_MS * TW_NS_PER_MS)
            tw_hub_sink_flush(&f->sink, &f->transfers[i].chunk);
    if (rc == 0 && atomic_load(&f->sink.rc) != 0)
        rc = tw_err_set(f->err, atomic_load(&f->sink.rc), "%s", f->sink.why.msg);
    tell(f, now, *ret_left == 0);
    return rc;
}

static int run(fetch *f)
{
    size_t n_left = 1;
    int rc = 0;
    f->ramp_ns = tw_clock_now_ns();
    while (rc == 0 && n_left > 0) {
        const uint64_t now = tw_clock_now_ns(), n_before = f->p->fetched_bytes;
        if (f->has_ended || now - f->looked_ns >= LOOK_NS)
            rc = look(f, now, &n_left);
        if (rc == 0)
            rc = drive(f);
        if (rc != 0 || n_left == 0 || f->p->fetched_bytes != n_before || f->has_ended)
            continue; /* where bytes came there may be more */
        const uint64_t t0 = tw_clock_now_ns();
        (void)f->c->multi_poll(f->multi, NULL, 0,
                               f->p->done_bytes < f->p->total_bytes ? POLL_MS : 1, NULL);
        f->waited_ns += tw_clock_now_ns() - t0;
    }
    return rc;
}

/* ---- all ---- */

static int make(fetch *f, const tw_hub_list *l)
{
    const unsigned n = f->o->n_connections != 0 ? f->o->n_connections : TW_HUB_CONNECTIONS;
    f->items = tw_mem_calloc(TW_MAX(l->n, 1u), sizeof *f->items);
    f->transfers = tw_mem_calloc(n, sizeof *f->transfers);
    f->multi = f->c->multi_init();
    if (f->items == NULL || f->transfers == NULL || f->multi == NULL)
        return tw_err_set(f->err, -ENOMEM, "no memory");
    for (size_t i = 0; i < l->n; i++) {
        bool twice = tw_hub_cache_has(f->o->folder, &l->v[i]);
        for (size_t k = 0; k < f->n && !twice; k++) /* the same bytes by two names */
            twice = strcmp(f->items[k].file->etag, l->v[i].etag) == 0;
        if (twice)
            continue;
        f->items[f->n++] =
            (tw_hub_item){.file = &l->v[i], .lock_fd = -1, .part = {.fd = -1, .ranges_fd = -1}};
    }
    for (; f->n_transfers < n; f->n_transfers++) {
        f->transfers[f->n_transfers].h = f->c->easy_init();
        if (f->transfers[f->n_transfers].h == NULL)
            return tw_err_set(f->err, -ENOMEM, "no memory");
    }
    return 0;
}

static void unmake(fetch *f)
{
    for (unsigned i = 0; i < f->n_transfers; i++) {
        if (f->transfers[i].it != NULL)
            (void)f->c->multi_remove(f->multi, f->transfers[i].h);
        f->c->easy_cleanup(f->transfers[i].h);
        tw_hub_sink_flush(&f->sink, &f->transfers[i].chunk);
    }
    if (f->multi != NULL)
        (void)f->c->multi_cleanup(f->multi);
    tw_hub_sink_stop(&f->sink);
    for (size_t i = 0; i < f->n; i++)
        tw_hub_item_close(&f->items[i]);
    tw_mem_free(f->transfers);
    tw_mem_free(f->items);
}

/* Those that were there, or are the same as another. */
static int link_all(fetch *f, const tw_hub_list *l)
{
    char snapshot[TW_HUB_PATH_BYTES];
    int rc = tw_hub_path(snapshot, f->err, "%s/snapshots/%s", f->o->folder, f->o->commit);
    for (size_t i = 0; i < l->n && rc == 0; i++)
        rc = tw_hub_cache_link(snapshot, &l->v[i], f->err);
    return rc;
}

int tw_hub_fetch(const tw_hub_fetch_opts *o, const tw_hub_list *l, tw_hub_progress *p, tw_err *err)
{
    tw_err own = {0};
    fetch f = {.o = o, .p = p, .n_allowed = 1, .err = err != NULL ? err : &own};
    int rc = tw_curl_get(&f.c, f.err);
    if (rc != 0)
        return rc;
    rc = make(&f, l);
    p->n_files = f.n;
    p->total_bytes = 0;
    for (size_t i = 0; i < f.n; i++)
        p->total_bytes += f.items[i].file->size;
    if (rc == 0)
        rc = tw_hub_sink_start(&f.sink, f.items, f.n, f.n_transfers, f.err);
    if (rc == 0)
        rc = run(&f);
    unmake(&f);
    p->file = p->waits = NULL;
    if (rc == 0)
        rc = link_all(&f, l);
    if (rc == 0)
        *f.err = (tw_err){0};
    return rc;
}
