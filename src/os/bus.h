/* SPDX-License-Identifier: Apache-2.0 */
/* Maps of files by their names. A page that the disk cannot give, or that was cut off its file, is a
 * SIGBUS for whoever touches it, wherever that is: no call can return an error. So the process ends
 * there, but says which file it was. */
#ifndef TWINAX_OS_BUS_H
#define TWINAX_OS_BUS_H

#include <stdbool.h>
#include <stddef.h>

/* For a program's main, once; end: _exit. From now on such a fault ends it with 1 and one line on stderr, as
 * nothing else here does; a SIGBUS elsewhere ends it as before. */
void tw_bus_init(void (*end)(int status));

/* These bytes are path's. is_cache: the file can be made anew, and is removed where it fails. One map
 * too many, or a path too long, stays unknown. */
void tw_bus_add(const void *p, size_t n_bytes, const char *path, bool is_cache);
/* Before it is unmapped; p may be unknown. */
void tw_bus_remove(const void *p);

#endif
