/* SPDX-License-Identifier: Apache-2.0 */
/* Plain structs as JSON by tables: one line a member says its name, type and place, and from it come
 * print, parse and bounds. What is unknown (zero, empty) is not printed. Must not know what any
 * member means. */
#ifndef TWINAX_HOST_FACTS_FIELD_H
#define TWINAX_HOST_FACTS_FIELD_H

#include <stddef.h>

#include "fmt/json.h"

enum tw_field_type {
    TW_FIELD_TEXT,
    TW_FIELD_UINT, /* 1, 2, 4 or 8 bytes */
    TW_FIELD_REAL,
    TW_FIELD_BOOL,
    TW_FIELD_TRI,
    TW_FIELD_COUNT,
    TW_FIELD_LIMIT, /* a count whose TW_BYTES_UNLIMITED is a word */
    TW_FIELD_ENUM,  /* names[0] is the default and not printed */
    TW_FIELD_OBJECT,
    TW_FIELD_LIST,      /* of objects */
    TW_FIELD_TEXT_LIST, /* of texts of one size */
    TW_FIELD_REAL_LIST,
    TW_FIELD_ADDRESSES /* tw_net_addr, "192.168.1.5/24" */
};

typedef struct tw_table tw_table;

typedef struct tw_field {
    const char *name;
    enum tw_field_type type;
    size_t at, size_bytes;    /* of the member; of one element of a list */
    size_t n_at, max;         /* lists: where the size_t is, and how many fit */
    const tw_table *table;    /* of an object or a list of them */
    const char *const *names; /* [n_names] of an enum */
    size_t n_names;
} tw_field;

struct tw_table {
    const tw_field *fields;
    size_t n_fields;
};

/* NULL when out of memory. */
json_t *tw_table_print(const tw_table *t, const void *from);
/* Into a zeroed struct. prefix: "", or "nics[2]." for messages. */
TW_MUST_CHECK int tw_table_parse(const tw_table *t, const char *prefix, const json_t *v, void *to,
                                 tw_err *err);
/* In place, as the way through JSON would leave it: texts as tw_field_text makes them, no number
 * beyond INT64_MAX. */
void tw_table_clean(const tw_table *t, void *v);
/* No control of one byte or two, nothing that turns the direction of writing. */
bool tw_field_is_printable(uint32_t cp);
/* Another's word that will be printed: no control characters, no half characters; cut to fit. */
void tw_field_text(const char *from, char *out, size_t out_bytes);

#define TW_F_TEXT(T, m)                                                                            \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_TEXT, TW_AT_(T, m)                                            \
    }
#define TW_AT_(T, m) .at = offsetof(T, m), .size_bytes = sizeof(((T *)0)->m)
#define TW_F_UINT(T, m)                                                                            \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_UINT, TW_AT_(T, m)                                            \
    }
#define TW_F_REAL(T, m)                                                                            \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_REAL, TW_AT_(T, m)                                            \
    }
#define TW_F_BOOL(T, m)                                                                            \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_BOOL, TW_AT_(T, m)                                            \
    }
#define TW_F_TRI(T, m)                                                                             \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_TRI, TW_AT_(T, m)                                             \
    }
#define TW_F_COUNT(T, m)                                                                           \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_COUNT, TW_AT_(T, m)                                           \
    }
#define TW_F_LIMIT(T, m)                                                                           \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_LIMIT, TW_AT_(T, m)                                           \
    }
#define TW_F_OBJECT(T, m, t)                                                                       \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_OBJECT, TW_AT_(T, m), .table = &(t)                           \
    }
/* A group of T's own members under one name. */
#define TW_F_GROUP(key, t)                                                                         \
    {                                                                                              \
        .name = (key), .type = TW_FIELD_OBJECT, .at = 0, .table = &(t)                             \
    }
#define TW_F_ENUM(T, m, list)                                                                      \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_ENUM, TW_AT_(T, m), .names = (list),                          \
        .n_names = sizeof(list) / sizeof((list)[0])                                                \
    }
#define TW_LIST_(T, m, n_m)                                                                        \
    .at = offsetof(T, m), .size_bytes = sizeof(((T *)0)->m[0]), .n_at = offsetof(T, n_m),          \
    .max = sizeof(((T *)0)->m) / sizeof(((T *)0)->m[0])
#define TW_F_LIST(T, key, m, n_m, t)                                                               \
    {                                                                                              \
        .name = (key), .type = TW_FIELD_LIST, TW_LIST_(T, m, n_m), .table = &(t)                   \
    }
#define TW_F_TEXTS(T, m, n_m)                                                                      \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_TEXT_LIST, TW_LIST_(T, m, n_m)                                \
    }
#define TW_F_REALS(T, m, n_m)                                                                      \
    {                                                                                              \
        .name = #m, .type = TW_FIELD_REAL_LIST, TW_LIST_(T, m, n_m)                                \
    }
#define TW_F_ADDRESSES(T, key, m, n_m)                                                             \
    {                                                                                              \
        .name = (key), .type = TW_FIELD_ADDRESSES, TW_LIST_(T, m, n_m)                             \
    }
#define TW_TABLE(name_, ...)                                                                       \
    static const tw_field name_##_fields[] = {__VA_ARGS__};                                        \
    static const tw_table name_ = {name_##_fields, sizeof name_##_fields / sizeof name_##_fields[0]}
/* For one that a header declares. */
#define TW_TABLE_SHARED(name_, ...)                                                                \
    static const tw_field name_##_fields[] = {__VA_ARGS__};                                        \
    const tw_table name_ = {name_##_fields, sizeof name_##_fields / sizeof name_##_fields[0]}

#endif
