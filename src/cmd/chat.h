/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax run` without a prompt: a question a line on stdin, answered with what was said before. */
#ifndef TWINAX_CMD_CHAT_H
#define TWINAX_CMD_CHAT_H

#include "cmd/node.h"

/* Until stdin ends or ctrl-C at the prompt. */
TW_MUST_CHECK int tw_chat(tw_node *n, tw_err *err);

#endif
