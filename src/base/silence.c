/* SPDX-License-Identifier: Apache-2.0 */
#include "base/silence.h"

#include "base/scope.h"

void tw_silence_look(tw_silence *s, uint64_t limit_ns, uint64_t due_ns, uint64_t now_ns)
{
    if (due_ns >= now_ns || now_ns - due_ns < TW_SILENCE_LATE_NS)
        return;
    const uint64_t usual = s->heard_ns + limit_ns + limit_ns / 12, moment = now_ns + limit_ns / 3;
    s->excused_ns = TW_MAX(s->excused_ns, TW_MAX(usual, moment));
}

uint64_t tw_silence_end(const tw_silence *s, uint64_t limit_ns)
{
    return TW_MAX(s->heard_ns + limit_ns, s->excused_ns);
}
