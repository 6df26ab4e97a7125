/* SPDX-License-Identifier: Apache-2.0 */
/* Reaching each other, and the clocks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

CHECK(node_reached)
{
    const tw_check_node *n = &c->w->nodes[c->i];
    char quoted[300];
    if (n->facts != NULL) {
        if (n->facts->source[0] != '\0')
            tw_check_found(c, "recorded: %s", n->facts->source);
        else
            tw_check_found(c, "%s",
                           c->w->n_nodes == 1 || strcmp(n->ssh, "local") == 0 ? "this machine"
                                                                              : "by ssh");
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%s", n->why[0] != '\0' ? n->why : "no answer");
    tw_check_wanted(c, "an agent that answers by ssh");
    if (strstr(n->why, "--push") != NULL)
        tw_check_mend(c, "twinax doctor --push copies twinax-node there");
    else
        tw_check_mend(c, "ssh %s twinax version, and mend what it says",
                      tw_check_quote(n->ssh[0] != '\0' ? n->ssh : n->name, quoted, sizeof quoted));
    c->r->step = strstr(n->why, "ermission") != NULL ? TW_STEP_SSH : NULL;
    return TW_CHECK_FAIL;
}

static void mend_back(tw_check_ctx *c, enum tw_proof_ssh cause)
{
    const char *node = c->w->nodes[c->i].name;
    switch (cause) {
    case TW_SSH_KEY_CHANGED:
        tw_check_mend(c,
                      "somebody else answers by the head's name, or it was reinstalled: compare on "
                      "the head: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; then on %s: "
                      "ssh-keygen -R HEAD; twinax setup --only ssh-trust puts the new key in",
                      node);
        return;
    case TW_SSH_KEY_UNKNOWN:
        tw_check_mend(
            c,
            "twinax setup --only ssh-trust, or on %s: ssh HEAD true, and compare the key: "
            "on the head: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            node);
        return;
    case TW_SSH_OTHER:
    case TW_SSH_DENIED:
    case TW_SSH_CAUSES:
        tw_check_mend(c, "on %s: ssh-keygen -t ed25519 (when there is no key), ssh-copy-id HEAD",
                      node);
        return;
    }
}

CHECK(ssh_back)
{
    const tw_proofs *p = c->w->proofs;
    if (c->i == 0 || p == NULL || c->i >= p->n_nodes || p->nodes[c->i].ssh_back == TW_UNKNOWN)
        return tw_check_na(c, c->i == 0 ? "the head itself" : "not tried");
    if (p->nodes[c->i].ssh_back == TW_YES) {
        tw_check_found(c, "the head is reached without a password");
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%s",
                   p->nodes[c->i].ssh_back_why[0] != '\0' ? p->nodes[c->i].ssh_back_why
                                                          : "the head is not reached");
    tw_check_wanted(c,
                    "ssh to the head without a password: Ray and copying of models go both ways");
    mend_back(c, p->nodes[c->i].ssh_back_cause);
    c->r->step = TW_STEP_SSH;
    return c->w->config.engine == TW_CHECK_ENGINE_VLLM ? TW_CHECK_FAIL : TW_CHECK_WARN;
}

CHECK(ssh_server)
{
    if (c->f->ssh.server == TW_UNKNOWN || strcmp(c->w->nodes[c->i].ssh, "local") == 0)
        return tw_check_na(c, "not needed, or unknown");
    tw_check_found(c, c->f->ssh.server == TW_YES ? "a server listens" : "no server listens");
    if (c->f->ssh.server == TW_YES)
        return TW_CHECK_OK;
    tw_check_wanted(c, "sshd running");
    if (tw_check_family_of(c->f) == TW_FAMILY_DEBIAN)
        tw_check_mend(c, "sudo apt install openssh-server");
    else
        tw_check_mend(c, "sudo systemctl enable --now sshd");
    return c->i == 0 ? TW_CHECK_WARN : TW_CHECK_FAIL;
}

CHECK(ssh_keys)
{
    if (c->f->ssh.agent_only == TW_UNKNOWN)
        return tw_check_na(c, "keys are unknown");
    if (c->f->ssh.agent_only == TW_NO) {
        tw_check_found(c, "keys are files, or none are needed");
        return TW_CHECK_OK;
    }
    tw_check_found(c, "keys are only in the ssh-agent of this login");
    tw_check_wanted(c, "a key file for what runs after logout (up, ranks that are replaced)");
    tw_check_mend(c, "ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519, and ssh-copy-id to each node");
    c->r->step = "ssh-key";
    return TW_CHECK_WARN;
}

CHECK(time_clock)
{
    const tw_proofs *p = c->w->proofs;
    if (c->i == 0 || p == NULL || c->i >= p->n_nodes || p->nodes[c->i].clock != TW_YES)
        return tw_check_na(c, c->i == 0 ? "the head's own clock" : "not measured");
    const double ahead = p->nodes[c->i].clock_ahead_s, off = fabs(ahead);
    if (off < 1)
        tw_check_found(c, "%.3g ms %s the head's (+- %.2g ms)", off * 1000,
                       ahead >= 0 ? "ahead of" : "behind", p->nodes[c->i].round_trip_ms / 2);
    else
        tw_check_found(c, "%.4g s %s the head's", off, ahead >= 0 ? "ahead of" : "behind");
    if (off <= 0.5 + p->nodes[c->i].round_trip_ms / 2000)
        return TW_CHECK_OK;
    tw_check_wanted(c,
                    "less than 0.5 s: logs of two nodes are read side by side, TLS wants the date");
    tw_check_mend(c, "sudo timedatectl set-ntp true");
    return off > 60 ? TW_CHECK_FAIL : TW_CHECK_WARN;
}

CHECK(time_sync)
{
    const tw_facts_time *t = &c->f->time;
    if (t->synchronised == TW_UNKNOWN)
        return tw_check_na(c, "whether the clock is kept is unknown");
    tw_check_found(c, "%s%s%s", t->synchronised == TW_YES ? "kept" : "not kept",
                   t->service[0] != '\0' ? " by " : "", t->service);
    if (t->synchronised == TW_YES || c->f->os.virtual_machine[0] != '\0' ||
        c->f->os.inside_container[0] != '\0')
        return TW_CHECK_OK; /* a guest's clock is its host's affair */
    tw_check_wanted(c, "kept by chronyd or systemd-timesyncd");
    tw_check_mend(c, "sudo timedatectl set-ntp true");
    return TW_CHECK_WARN;
}
