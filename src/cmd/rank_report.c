/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/rank_report.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/clock.h"
#include "base/scope.h"
#include "cluster/life_awake.h"
#include "cluster/life_heat.h"
#include "os/sys.h"

enum { LINE_MAX_BYTES = 900 }; /* an agent cuts lines at 1,024 */

static struct {
    const char *name;
    json_t *(*make)(void);
} more;

static tw_life_awake awake; /* ends with the process */

json_t *tw_rank_report_make(void)
{
    char host[64] = "";
    tw_life_proc me = {0};
    tw_life_heat heat;
    (void)gethostname(host, sizeof host - 1);
    (void)tw_life_proc_read(getpid(), &me);
    tw_life_heat_read(NULL, &heat);
    json_t *v = json_pack("{s:s, s:i, s:I, s:I, s:I}", "host", host, "pid", (int)me.pid, "start",
                          (json_int_t)me.start, "rss_bytes", (json_int_t)tw_sys_rss_bytes(),
                          "rss_peak_bytes", (json_int_t)tw_sys_rss_peak_bytes());
    if (v != NULL && heat.has_celsius)
        json_object_set_new(v, "celsius", json_real(heat.celsius));
    if (v != NULL && heat.has_watts)
        json_object_set_new(v, "watts", json_real(heat.watts));
    return v;
}

void tw_rank_report_add(const char *name, json_t *(*make)(void))
{
    more.name = name;
    more.make = make;
}

static void say(void)
{
    TW_CLEANUP(tw_json_freep) json_t *v = tw_rank_report_make();
    if (v != NULL && more.make != NULL)
        (void)json_object_set_new(v, more.name, more.make());
    char line[LINE_MAX_BYTES + 16] = TW_RANK_REPORT_MARK;
    const size_t n_mark = strlen(line);
    size_t n = v != NULL ? json_dumpb(v, line + n_mark, LINE_MAX_BYTES - n_mark,
                                      JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(4))
                         : 0;
    if (n == 0 || n > LINE_MAX_BYTES - n_mark)
        return;
    line[n_mark + n] = '\n';
    (void)!write(STDOUT_FILENO, line, n_mark + n + 1);
}

static void *report(void *arg)
{
    const unsigned ms = *(const unsigned *)arg;
    tw_life_sleep sleep = {.known = false};
    for (;;) {
        uint64_t slept = tw_life_sleep_now(&sleep);
        if (slept > 0)
            tw_log(TW_LOG_WARN, "rank", "this machine slept for %.1f s", (double)slept / 1e9);
        say();
        nanosleep(&(struct timespec){(time_t)(ms / 1000), (int)(ms % 1000) * 1000 * 1000}, NULL);
    }
    return NULL;
}

int tw_rank_report_start(unsigned interval_ms, tw_err *err)
{
    static unsigned ms;
    char why[240];
    pthread_t thread;
    sigset_t all, old;
    ms = interval_ms;
    if (tw_life_awake_hold(&awake, false, why, sizeof why))
        tw_log(TW_LOG_INFO, "rank", "this laptop does not sleep while it serves");
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&thread, NULL, report, &ms);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return tw_err_set(err, -rc, "no thread to report with: %s", strerror(rc));
    pthread_detach(thread);
    return 0;
}
