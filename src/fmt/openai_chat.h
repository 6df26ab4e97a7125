/* SPDX-License-Identifier: Apache-2.0 */
/* Between openai.c and openai_chat.c only. */
#ifndef TWINAX_FMT_OPENAI_CHAT_H
#define TWINAX_FMT_OPENAI_CHAT_H

#include "fmt/openai.h"

const char *tw_openai_type_name(const json_t *v);
int tw_openai_bad_type(tw_openai_fail *f, const char *param, const json_t *v, const char *wanted);
int tw_openai_bad_value(tw_openai_fail *f, const char *param, const char *wanted);

/* messages and tools of a chat request: checked, made into what templates expect, printed. */
int tw_openai_parse_chat(tw_openai_request *ret, tw_openai_fail *f);

#endif
