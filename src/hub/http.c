/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/scope.h"
#include "twinax/version.h"

enum { CONNECT_S = 15, REDIRECTS = 8, BUFFER_BYTES = 512 << 10, PAUSE_MAX_S = 300 };
#define FIRST_PAUSE_NS (250 * TW_NS_PER_MS)
#define GET_LIMIT_S    300

static CURLcode set_number(const tw_curl_lib *c, CURL *h, CURLoption o, curl_off_t v)
{
    return c->setopt(h, o, v);
}

static bool is_endpoints(const tw_hub_place *p, const char *url)
{
    const size_t n = strlen(p->endpoint);
    return strncmp(url, p->endpoint, n) == 0 && url[n] == '/';
}

static bool trust(const tw_curl_lib *c, CURL *h, const tw_hub_place *p)
{
    if (p->ca_file[0] == '\0')
        return true;
    if (p->ca_is_folder)
        return c->setopt(h, CURLOPT_CAPATH, p->ca_file) == CURLE_OK &&
               c->setopt(h, CURLOPT_CAINFO, (char *)NULL) == CURLE_OK;
    return c->setopt(h, CURLOPT_CAINFO, p->ca_file) == CURLE_OK;
}

/* libcurl reads the environment itself, all but HTTP_PROXY, which a web server's client could set for
 * a CGI program. We are none, and Python's tools read it. */
static bool set_proxy(const tw_curl_lib *c, CURL *h, const char *url)
{
    const char *proxy = getenv("HTTP_PROXY"), *lower = getenv("http_proxy");
    if (strncmp(url, "http://", 7) != 0 || lower != NULL || proxy == NULL || proxy[0] == '\0')
        return true;
    return c->setopt(h, CURLOPT_PROXY, proxy) == CURLE_OK;
}

int tw_hub_http_setup(const tw_curl_lib *c, CURL *h, const tw_hub_place *p, const char *url,
                      tw_err *err)
{
    const char *schemes = strncmp(p->endpoint, "https:", 6) == 0 ? "https" : "http,https";
    const bool good =
        c->setopt(h, CURLOPT_URL, url) == CURLE_OK &&
        c->setopt(h, CURLOPT_PROTOCOLS_STR, schemes) == CURLE_OK &&
        c->setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, schemes) == CURLE_OK &&
        c->setopt(h, CURLOPT_USERAGENT, "twinax/" TW_VERSION) == CURLE_OK &&
        set_number(c, h, CURLOPT_FOLLOWLOCATION, 1) == CURLE_OK &&
        set_number(c, h, CURLOPT_MAXREDIRS, REDIRECTS) == CURLE_OK &&
        set_number(c, h, CURLOPT_NOSIGNAL, 1) == CURLE_OK &&
        set_number(c, h, CURLOPT_CONNECTTIMEOUT, CONNECT_S) == CURLE_OK &&
        set_number(c, h, CURLOPT_LOW_SPEED_LIMIT, 1) == CURLE_OK &&
        set_number(c, h, CURLOPT_LOW_SPEED_TIME, (curl_off_t)p->stall_s) == CURLE_OK &&
        /* Ranges run beside each other on connections of their own, not in one window. */
        set_number(c, h, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) == CURLE_OK &&
        set_number(c, h, CURLOPT_BUFFERSIZE, BUFFER_BYTES) == CURLE_OK && trust(c, h, p) &&
        set_proxy(c, h, url);
    bool with_token = true;
    if (p->token[0] != '\0' && is_endpoints(p, url))
        with_token = set_number(c, h, CURLOPT_HTTPAUTH, (curl_off_t)CURLAUTH_BEARER) == CURLE_OK &&
                     c->setopt(h, CURLOPT_XOAUTH2_BEARER, p->token) == CURLE_OK;
    if (good && with_token)
        return 0;
    return tw_err_set(err, -ENOSYS, "libcurl is too old: 7.85 or later is wanted");
}

bool tw_hub_http_failed(const tw_curl_lib *c, const tw_hub_place *p, CURLcode code, tw_err *err)
{
    switch ((int)code) { /* not all of curl's */
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        (void)!tw_err_set(
            err, -EPROTO,
            "%.80s: its certificate is not trusted here (%s): a proxy's own? name its "
            "CA in CURL_CA_BUNDLE",
            p->endpoint, c->easy_text(code));
        return true;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        (void)!tw_err_set(err, -EHOSTUNREACH,
                          "%.80s: its name cannot be resolved: is this machine online? "
                          "(HF_ENDPOINT, https_proxy)",
                          p->endpoint);
        return false;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_TOO_MANY_REDIRECTS:
        (void)!tw_err_set(err, -EPROTO, "%.80s: %s", p->endpoint, c->easy_text(code));
        return true;
    default:
        (void)!tw_err_set(err, -EIO, "%.80s: %s", p->endpoint, c->easy_text(code));
        return false;
    }
}

uint64_t tw_hub_http_pause_ns(const tw_hub_answer *a, unsigned n_failed)
{
    if (a->retry_after_s != 0)
        return a->retry_after_s * TW_NS_PER_S;
    return FIRST_PAUSE_NS << TW_MIN(n_failed, 6u);
}

/* ---- one text ---- */

typedef struct get {
    tw_hub_answer answer;
    tw_buf *out;
    bool (*should_stop)(void *arg);
    void *arg;
    int rc;
} get;

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    get *g = arg;
    tw_hub_answer_note(&g->answer, p, size * n);
    return size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    get *g = arg;
    g->rc = tw_buf_append(g->out, p, size * n);
    return g->rc == 0 ? size * n : 0;
}

static bool is_stopped(const get *g)
{
    return g->should_stop != NULL && g->should_stop(g->arg);
}

static int on_tick(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return is_stopped(arg) ? 1 : 0;
}

/* One try. *ret_again: another may help. */
static int try_once(const tw_curl_lib *c, const tw_hub_place *p, const char *url, get *g,
                    bool *ret_again, tw_err *err)
{
    CURL *h = c->easy_init();
    curl_off_t status = 0;
    *ret_again = false;
    if (h == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    tw_buf_reset(g->out);
    g->answer = (tw_hub_answer){.status = 0};
    int rc = tw_hub_http_setup(c, h, p, url, err);
    if (rc == 0) {
        (void)c->setopt(h, CURLOPT_HEADERFUNCTION, on_header);
        (void)c->setopt(h, CURLOPT_HEADERDATA, g);
        (void)c->setopt(h, CURLOPT_WRITEFUNCTION, on_body);
        (void)c->setopt(h, CURLOPT_WRITEDATA, g);
        (void)c->setopt(h, CURLOPT_XFERINFOFUNCTION, on_tick);
        (void)c->setopt(h, CURLOPT_XFERINFODATA, g);
        (void)set_number(c, h, CURLOPT_NOPROGRESS, 0);
        (void)set_number(c, h, CURLOPT_TIMEOUT, GET_LIMIT_S);
        (void)c->setopt(h, CURLOPT_ACCEPT_ENCODING, "");
        const CURLcode code = c->perform(h);
        (void)c->getinfo(h, CURLINFO_RESPONSE_CODE, &status);
        g->answer.status = (int)status;
        if (code == CURLE_ABORTED_BY_CALLBACK)
            rc = tw_err_set(err, -EINTR, "stopped");
        else if (g->rc != 0)
            rc = tw_err_set(err, g->rc, "%.80s: too long an answer", p->endpoint);
        else if (code != CURLE_OK) {
            *ret_again = !tw_hub_http_failed(c, p, code, err);
            rc = -EIO;
        }
    }
    c->easy_cleanup(h);
    return rc;
}

static int pause_for(const get *g, uint64_t ns, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + ns;
    while (tw_clock_now_ns() < until) {
        const struct timespec t = {.tv_nsec = 50 * 1000 * 1000};
        if (is_stopped(g))
            return tw_err_set(err, -EINTR, "stopped");
        (void)nanosleep(&t, NULL);
    }
    return 0;
}

int tw_hub_http_get(const tw_hub_place *p, const tw_hub_name *name, const char *url,
                    bool (*should_stop)(void *arg), void *arg, tw_buf *out, tw_err *err)
{
    const tw_curl_lib *c;
    get g = {.out = out, .should_stop = should_stop, .arg = arg};
    int rc = tw_curl_get(&c, err);
    if (rc != 0)
        return rc;
    for (unsigned n = 0;; n++) {
        bool again = false;
        rc = try_once(c, p, url, &g, &again, err);
        if (rc == 0 && g.answer.status == 200)
            return 0;
        if (rc == 0) {
            rc = tw_hub_refused(p, name, NULL, &g.answer, err);
            again = tw_hub_answer_may_retry(&g.answer);
        }
        const uint64_t pause = tw_hub_http_pause_ns(&g.answer, n);
        if (!again || n + 1 == TW_HUB_RETRIES || pause > PAUSE_MAX_S * TW_NS_PER_S)
            return err != NULL && err->code != 0 ? err->code : rc;
        rc = pause_for(&g, pause, err);
        if (rc != 0)
            return rc;
    }
}
