/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax doctor`: shared by its files. */
#ifndef TWINAX_CMD_DOCTOR_H
#define TWINAX_CMD_DOCTOR_H

#include "cluster/config.h"
#include "cmd/commands.h"
#include "host/check_record.h"

typedef struct doctor_opts {
    const char *nodes_list, *agent_path, *interface;
    const char *facts, *record, *source; /* files; what --record says of itself */
    const char *model;
    unsigned engine, transport; /* by tw_check_engine, tw_check_transport */
    bool has_engine, has_transport;
    bool json, fix, list, no_load, push;
    bool silent; /* nothing is printed: another command looks */
    int verbose;
} doctor_opts;

typedef struct doctor_results {
    size_t n;
    tw_check_result v[TW_CHECK_RESULTS_MAX];
} doctor_results;

/* Gathers, judges, and prints as o says. r and v: zeroed; tw_check_record_done(r) after. */
TW_MUST_CHECK int tw_doctor_examine(const doctor_opts *o, tw_check_record *r, doctor_results *v,
                                    tw_err *err);
/* The record's facts and proofs from a file, or from the machines themselves. */
TW_MUST_CHECK int tw_doctor_replay(const doctor_opts *o, tw_check_record *ret, tw_err *err);
TW_MUST_CHECK int tw_doctor_gather(const doctor_opts *o, tw_check_record *ret, tw_err *err);
TW_MUST_CHECK int tw_doctor_write_record(const doctor_opts *o, const tw_check_record *r,
                                         tw_err *err);

void tw_doctor_print(const doctor_opts *o, const tw_check_record *r, const doctor_results *v);
TW_MUST_CHECK int tw_doctor_print_json(const tw_check_record *r, const doctor_results *v,
                                       tw_err *err);
void tw_doctor_print_list(void); /* docs/doctor.md */
/* Has setup do what it knows; the exit code. */
int tw_doctor_fix(const doctor_opts *o, const doctor_results *v);

#endif
