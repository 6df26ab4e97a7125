/* SPDX-License-Identifier: Apache-2.0 */
/* What outlives a login, what may put the host to sleep, and its clock. */
#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include "base/clock.h"
#include "base/scope.h"
#include "host/facts_reader.h"

static tw_tri find_battery_use(tw_facts_reader *r)
{
    static const char folder[] = "sys/class/power_supply";
    bool battery = false, mains = false, online = false;
    tw_facts_names(r->root, folder, "", &r->names);
    for (size_t i = 0; i < r->names.n; i++) {
        char path[160], type[24];
        tw_text_set(path, sizeof path, "%s/%s/type", folder, r->names.v[i]);
        if (!tw_facts_text(r->root, path, type, sizeof type))
            continue;
        tw_text_set(path, sizeof path, "%s/%s/scope", folder, r->names.v[i]);
        if (tw_facts_exists(r->root, path))
            continue; /* a mouse's battery */
        tw_text_set(path, sizeof path, "%s/%s/online", folder, r->names.v[i]);
        battery = battery || strcmp(type, "Battery") == 0;
        mains = mains || strcmp(type, "Mains") == 0;
        online = online || (strcmp(type, "Mains") == 0 && tw_facts_number(r->root, path).v == 1);
    }
    return tw_tri_of(battery && mains && !online);
}

static void read_session(tw_facts_reader *r, tw_facts_session *s)
{
    char path[160], text[64];
    const tw_facts_user *u = &r->f->user;
    tw_text_set(path, sizeof path, "var/lib/systemd/linger/%s", u->name);
    s->linger = r->f->os.systemd == TW_YES && u->name[0] != '\0'
                    ? tw_tri_of(tw_facts_exists(r->root, path))
                    : TW_UNKNOWN;
    tw_text_set(path, sizeof path, "run/user/%u", (unsigned)u->uid.v);
    s->runtime_dir = tw_tri_of(tw_facts_exists(r->root, path));
    tw_text_set(path, sizeof path, "run/user/%u/systemd/private", (unsigned)u->uid.v);
    s->user_manager = tw_tri_of(tw_facts_exists(r->root, path));
    s->inhibitors = tw_tri_of(tw_facts_is_running(r->f, "systemd-logind") &&
                              tw_facts_has_tool(r->f, "systemd-inhibit"));
    if (tw_facts_text(r->root, "sys/power/state", text, sizeof text))
        s->can_suspend =
            tw_tri_of(tw_text_has_word(text, "mem") || tw_text_has_word(text, "freeze"));
    s->on_battery = find_battery_use(r);
}

static void read_time(tw_facts_reader *r, tw_facts_time *t)
{
    static const char *const services[] = {"chronyd", "chrony", "systemd-timesyncd", "ntpd",
                                           "ntpsec"};
    for (size_t i = 0; i < TW_ARRAY_LEN(services) && t->service[0] == '\0'; i++)
        if (tw_facts_is_running(r->f, services[i]))
            tw_text_set(t->service, sizeof t->service, "%s", services[i]);
    if (r->root != NULL)
        return;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) == 0)
        t->real_ns = (uint64_t)now.tv_sec * TW_NS_PER_S + (uint64_t)now.tv_nsec;
    struct timex x = {0}; /* modes 0: a look, no change */
    int state = adjtimex(&x);
    if (state < 0)
        return;
    t->synchronised = tw_tri_of(state != TIME_ERROR && (x.status & STA_UNSYNC) == 0);
    t->max_error_us = tw_count_of(x.maxerror > 0 ? (uint64_t)x.maxerror : 0);
}

void tw_reader_session(tw_facts_reader *r)
{
    read_session(r, &r->f->session);
    read_time(r, &r->f->time);
}
