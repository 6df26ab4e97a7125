/* SPDX-License-Identifier: Apache-2.0 */
/* Processor, leftovers, logins, containers, SELinux. */
#include <inttypes.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

CHECK(cpu_level)
{
    const tw_facts_cpu *p = &c->f->cpu;
    if (p->name[0] == '\0')
        return tw_check_na(c, "the processor is unknown");
    if (p->level == 0) {
        tw_check_found(c, "%s, %u cores", p->name, p->n_cores);
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%s, %u cores, x86-64-v%u", p->name, p->n_cores, p->level);
    if (p->level >= 3)
        return TW_CHECK_OK;
    tw_check_wanted(c,
                    "AVX2 (x86-64-v3): without it the native engine computes in plain C, slowly");
    tw_check_mend(c, "in a virtual machine pass the host's processor through (cpu host)");
    return TW_CHECK_WARN;
}

CHECK(cpu_governor)
{
    const tw_facts_cpu *p = &c->f->cpu;
    if (p->governor[0] == '\0')
        return tw_check_na(c, "the frequency is not governed here");
    tw_check_found(c, "%s%s%s%s%s", p->governor, p->scaling_driver[0] != '\0' ? ", driver " : "",
                   p->scaling_driver, p->preference[0] != '\0' ? ", preference " : "",
                   p->preference);
    /* These drivers call their own dynamic way "powersave". */
    const bool dynamic =
        strstr(p->scaling_driver, "pstate") != NULL || strstr(p->scaling_driver, "epp") != NULL;
    const bool slow = strcmp(p->governor, "powersave") == 0 && !dynamic;
    const bool saving = dynamic && strcmp(p->preference, "power") == 0;
    if (!slow && !saving)
        return TW_CHECK_OK;
    if (c->f->os.laptop == TW_YES && c->w->n_nodes == 1)
        return TW_CHECK_OK; /* its battery is its owner's */
    tw_check_wanted(c, slow ? "schedutil or performance: powersave stays at the lowest clock"
                            : "balance_performance");
    if (slow)
        tw_check_mend(c, "echo schedutil | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/"
                         "scaling_governor");
    else
        tw_check_mend(c, "echo balance_performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/"
                         "energy_performance_preference");
    return TW_CHECK_WARN;
}

CHECK(host_leftovers)
{
    uint64_t bytes = 0;
    char pids[96] = "";
    size_t n_pids = 0;
    for (size_t i = 0; i < c->f->n_left; i++) {
        size_t len = strlen(pids);
        bytes += c->f->left[i].bytes;
        if (c->f->left[i].kind == TW_LEFT_PROCESS && c->f->left[i].pid > 1) {
            snprintf(pids + len, sizeof pids - len, " %u", c->f->left[i].pid);
            n_pids++;
        }
    }
    if (c->f->n_left == 0) {
        tw_check_found(c, "nothing of an earlier run");
        return TW_CHECK_OK;
    }
    const tw_facts_left *first = &c->f->left[0];
    tw_check_found(c, "%zu of a run that goes on or was left, %.3g GiB; %s: %.80s%s", c->f->n_left,
                   (double)bytes / TW_GIB, first->of, first->what, c->f->n_left > 1 ? ", ..." : "");
    tw_check_wanted(c, "none: they hold memory, ports and queue pairs");
    char quoted[256];
    if (n_pids > 0)
        tw_check_mend(c, "twinax down; or kill%s", pids);
    else
        tw_check_mend(c, "rm %s", tw_check_quote(first->what, quoted, sizeof quoted));
    return TW_CHECK_WARN;
}

CHECK(host_linger)
{
    const tw_facts_session *s = &c->f->session;
    if (s->linger == TW_UNKNOWN || (c->f->user.uid.known && c->f->user.uid.v == 0))
        return tw_check_na(c, "not needed, or unknown");
    tw_check_found(c, s->linger == TW_YES ? "services of this user outlive its logins"
                                          : "services of this user end with its last login");
    if (s->linger == TW_YES)
        return TW_CHECK_OK;
    tw_check_found(c, "services of this user end with its last login; `twinax up` then says so");
    tw_check_wanted(c, "lingering, when the cluster is to stay up");
    tw_check_mend(c, "sudo loginctl enable-linger \"$USER\"");
    return TW_CHECK_WARN;
}

CHECK(host_sleep)
{
    const tw_facts_session *s = &c->f->session;
    if (s->can_suspend != TW_YES)
        return tw_check_na(c, "this machine does not suspend, or it is unknown");
    tw_check_found(c, s->inhibitors == TW_NO ? "it may fall asleep while it serves: no logind"
                                             : "a serving node keeps it awake by an inhibitor");
    if (s->inhibitors != TW_NO)
        return TW_CHECK_OK;
    tw_check_wanted(c, "awake while serving");
    tw_check_mend(c, "sudo systemctl mask sleep.target suspend.target");
    return TW_CHECK_WARN;
}

CHECK(host_denials)
{
    const tw_facts_security *s = &c->f->security;
    if (s->selinux[0] == '\0' && s->n_denials == 0)
        return tw_check_na(c, "no SELinux");
    if (s->n_denials == 0) {
        tw_check_found(c, "SELinux %s, no recent denial of ours", s->selinux);
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%zu recent denials, the last: %.140s", s->n_denials,
                   s->denials[s->n_denials - 1]);
    tw_check_wanted(c, "none of our programs denied");
    tw_check_mend(c,
                  "sudo restorecon -RFv /usr/local/bin ~/.local; what stays: sudo ausearch -m avc "
                  "-ts recent | audit2allow -M twinax-local && sudo semodule -i twinax-local.pp");
    return TW_CHECK_WARN;
}

CHECK(host_sudo)
{
    const tw_facts_user *u = &c->f->user;
    if (u->uid.known && u->uid.v == 0) {
        tw_check_found(c, "root");
        return TW_CHECK_OK;
    }
    if (u->sudo == TW_UNKNOWN || u->sudo_group == TW_UNKNOWN)
        return tw_check_na(c, "unknown");
    if (u->sudo == TW_YES && u->sudo_group == TW_YES) {
        tw_check_found(c, "%s may use sudo: setup can change this host", u->name);
        return TW_CHECK_OK;
    }
    tw_check_found(c, u->sudo == TW_NO ? "sudo is not installed: setup changes nothing here"
                                       : "this user is in no group that may use sudo");
    return TW_CHECK_OK; /* only setup needs it, and says so itself */
}

/* ---- the container of vllm ---- */

CHECK(container_runtime)
{
    const tw_facts_container *k = &c->f->container;
    const char *tool = k->toolbox[0] != '\0'     ? "toolbox"
                       : k->distrobox[0] != '\0' ? "distrobox"
                                                 : "";
    if (k->podman[0] == '\0' && k->docker[0] == '\0') {
        tw_check_found(c, "neither podman nor docker");
        tw_check_wanted(c, "podman, and toolbox or distrobox");
        tw_mend_packages(c, "podman toolbox", "podman distrobox");
        return TW_CHECK_FAIL;
    }
    tw_check_found(c, "%s %s%s%s", k->podman[0] != '\0' ? "podman" : "docker",
                   k->podman[0] != '\0' ? k->podman : k->docker, tool[0] != '\0' ? ", " : "", tool);
    if (tool[0] == '\0') {
        tw_check_wanted(c, "toolbox or distrobox beside it");
        tw_mend_packages(c, "toolbox", "distrobox");
        return TW_CHECK_WARN;
    }
    if (k->rootless_ready != TW_NO || (c->f->user.uid.known && c->f->user.uid.v == 0))
        return TW_CHECK_OK;
    tw_check_wanted(c, "ranges in /etc/subuid and /etc/subgid for rootless containers");
    tw_check_mend(c,
                  "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \"$USER\"");
    return TW_CHECK_WARN;
}

CHECK(container_image)
{
    const tw_facts_container *k = &c->f->container;
    if (k->asked != TW_YES)
        return tw_check_na(c, "containers were not looked at");
    for (size_t i = 0; i < k->n_boxes; i++)
        if (k->boxes[i].vllm[0] != '\0' || strstr(k->boxes[i].image, "vllm") != NULL) {
            tw_check_found(c, "%s: vllm %s, Ray %s", k->boxes[i].name,
                           k->boxes[i].vllm[0] != '\0' ? k->boxes[i].vllm : "?",
                           k->boxes[i].ray[0] != '\0' ? k->boxes[i].ray : "?");
            return TW_CHECK_OK;
        }
    tw_check_found(c, "no container with vllm among %zu", k->n_boxes);
    tw_check_wanted(c, "the vllm toolbox");
    tw_check_mend(c, "twinax toolbox refresh");
    return TW_CHECK_FAIL;
}
