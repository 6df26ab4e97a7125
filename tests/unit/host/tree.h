/* SPDX-License-Identifier: Apache-2.0 */
/* A recorded machine as one file, made into a folder of /tmp for the readers:
 *
 *    path = text        \n, \t and \xNN are bytes; the text ends with a line end
 *    path =*            a program
 *    path -> target     a link
 *    # comment */
#ifndef TWINAX_TESTS_HOST_TREE_H
#define TWINAX_TESTS_HOST_TREE_H

typedef struct tree {
    char root[64];
} tree;

/* Fails the test when it cannot. file: below tests/data/host. */
void tree_make(tree *t, const char *file);
/* One more file in it. */
void tree_put(const tree *t, const char *path, const char *text);
void tree_remove(tree *t);

#endif
