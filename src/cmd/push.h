/* SPDX-License-Identifier: Apache-2.0 */
/* `--push` and `--agent-path` as every command that connects to nodes has them. */
#ifndef TWINAX_CMD_PUSH_H
#define TWINAX_CMD_PUSH_H

#include "cluster/remote_push.h"
#include "cmd/option.h"

/* Entries of an option table of struct T, which has `const char *agent_path` and `bool push`. */
#define TW_AGENT_OPTIONS(T)                                                                        \
    {.name = "agent-path",                                                                         \
     .arg = "FILE",                                                                                \
     .help = "twinax on the other machines, when not on their PATH",                               \
     .type = TW_OPT_TEXT,                                                                          \
     .offset = offsetof(T, agent_path)},                                                           \
    {                                                                                              \
        .name = "push",                                                                            \
        .help = "copy twinax-node to ~/.local/bin of machines that lack this version of twinax",   \
        .type = TW_OPT_FLAG, .offset = offsetof(T, push)                                           \
    }

/* Draws on stderr where that is a terminal, and logs what was copied; NULL when !push. */
const tw_push_face *tw_push_face_of(bool push);

#endif
