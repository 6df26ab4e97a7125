/* SPDX-License-Identifier: Apache-2.0 */
/* SIGINT and SIGTERM become a flag and a readable fd; SIGPIPE is ignored. */
#ifndef TWINAX_OS_SIGNAL_H
#define TWINAX_OS_SIGNAL_H

#include <stdbool.h>

void tw_signal_init(void);
bool tw_signal_asked_to_stop(void);
int tw_signal_fd(void); /* becomes readable when asked to stop */
/* Was heard: what undoes the work may wait for its own answers; true: had been asked. A later signal
 * counts again. */
bool tw_signal_take(void);

#endif
