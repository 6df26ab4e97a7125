/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAI API as data: request bodies into structs, responses and errors into text.
 * Tool definitions go to the chat template; the text of tool calls that a model writes is not
 * parsed, it comes back as content. What would change the answer and is not supported (logprobs,
 * logit_bias, response_format, ...) is refused by name; other unknown fields are ignored.
 * Must not know HTTP, sockets or the engine. */
#ifndef TWINAX_FMT_OPENAI_H
#define TWINAX_FMT_OPENAI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"

enum {
    TW_OPENAI_BODY_MAX = 16 << 20,
    TW_OPENAI_STOPS_MAX = 16,
    TW_OPENAI_CHOICES_MAX = 128 /* prompts times n */
};

enum tw_openai_kind { TW_OPENAI_CHAT, TW_OPENAI_TEXT };

/* What the client gets instead of an answer. */
typedef struct tw_openai_fail {
    int status;       /* HTTP */
    const char *type; /* static text, as are code; NULL prints null */
    const char *code;
    char param[64]; /* "": null */
    char msg[400];
} tw_openai_fail;

/* Fills *f and returns -EINVAL. param may be NULL. */
TW_PRINTF(6, 7)
int tw_openai_fail_set(tw_openai_fail *f, int status, const char *type, const char *code,
                       const char *param, const char *fmt, ...);

enum tw_openai_set {
    TW_OPENAI_TEMPERATURE = 1,
    TW_OPENAI_TOP_P = 2,
    TW_OPENAI_MIN_P = 4,
    TW_OPENAI_TOP_K = 8,
    TW_OPENAI_SEED = 16,
    TW_OPENAI_PRESENCE = 32,
    TW_OPENAI_FREQUENCY = 64,
    TW_OPENAI_REPETITION = 128
};

/* text or, where text is NULL, ids */
typedef struct tw_openai_prompt {
    const char *text;
    size_t n_text;
    uint32_t *ids; /* [n_ids] */
    size_t n_ids;
} tw_openai_prompt;

typedef struct tw_openai_request {
    enum tw_openai_kind kind;
    const char *model; /* NULL: not named */
    bool stream, include_usage, ignore_eos;
    uint32_t n;          /* choices per prompt */
    uint32_t max_tokens; /* 0: to the end of the context */
    unsigned set;        /* tw_openai_set: which of these were given */
    double temperature, top_p, min_p, presence_penalty, frequency_penalty, repetition_penalty;
    uint32_t top_k;
    uint64_t seed;
    const char *stops[TW_OPENAI_STOPS_MAX];
    size_t n_stops;
    tw_buf messages; /* chat: JSON text; text parts are joined, arguments of tool calls decoded */
    tw_buf tools;    /* chat: JSON text, empty when there are none */
    tw_buf kwargs;   /* chat: chat_template_kwargs, JSON text, empty when there are none */
    tw_openai_prompt *prompts; /* text: [n_prompts] */
    size_t n_prompts;
    json_t *root; /* strings above lie in it */
    tw_arena arena;
} tw_openai_request;

/* 0, or -EINVAL with *fail filled. *ret must be given to tw_openai_request_done in both cases. */
TW_MUST_CHECK int tw_openai_parse(enum tw_openai_kind kind, const char *body, size_t n,
                                  tw_openai_request *ret, tw_openai_fail *fail);
void tw_openai_request_done(tw_openai_request *r);

/* What all parts of one answer share. */
typedef struct tw_openai_head {
    enum tw_openai_kind kind;
    const char *id, *model;
    uint64_t created_s;
    bool include_usage;
} tw_openai_head;

typedef struct tw_openai_usage {
    uint64_t n_prompt, n_generated;
} tw_openai_usage;

typedef struct tw_openai_choice {
    const char *text;
    size_t n_text;
    const char *finish; /* "stop", "length" */
} tw_openai_choice;

/* JSON texts. All return 0 or the buffer's error. */
TW_MUST_CHECK int tw_openai_print_fail(tw_buf *b, const tw_openai_fail *f);
TW_MUST_CHECK int tw_openai_print_answer(tw_buf *b, const tw_openai_head *h,
                                         const tw_openai_choice *choices, size_t n_choices,
                                         const tw_openai_usage *usage);
/* One chunk of a stream. first: the role comes with it (chat). finish NULL: more is to come. */
TW_MUST_CHECK int tw_openai_print_chunk(tw_buf *b, const tw_openai_head *h, size_t i_choice,
                                        bool first, const tw_openai_choice *delta);
TW_MUST_CHECK int tw_openai_print_usage_chunk(tw_buf *b, const tw_openai_head *h,
                                              const tw_openai_usage *usage);
TW_MUST_CHECK int tw_openai_print_model(tw_buf *b, const char *name, uint64_t created_s,
                                        uint32_t ctx, bool as_list);

#endif
