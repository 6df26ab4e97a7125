/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/ssh.h"

#define EXITED(code) ((code) << 8)

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"node2", "user@10.0.0.2", "fe80::1%eth0", "a-b"};
    static const char *const bad[] = {"", "-oProxyCommand=x", "a b", "a\nb", "a\x7f"};
    tw_err err = {0};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(tw_ssh_name_check(good[i], &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tw_ssh_name_check(bad[i], &err), -EINVAL);
}

static size_t find(const tw_ssh_command *c, const char *word)
{
    size_t i = 0;
    while (c->argv[i] != NULL && strcmp(c->argv[i], word) != 0)
        i++;
    assert_non_null(c->argv[i]);
    return i;
}

static void test_command(void **state)
{
    (void)state;
    tw_ssh_command c;
    tw_err err = {0};
    assert_int_equal(tw_ssh_command_make("node2", NULL, &c, &err), 0);
    assert_string_equal(c.argv[0], "ssh");
    assert_int_equal(find(&c, "node2"), find(&c, "--") + 1);
    find(&c, "BatchMode=yes");
    find(&c, "ConnectTimeout=10");
    assert_int_equal(strncmp(c.remote, "exec sh -c 'for t in twinax twinax-node ", 40), 0);
    assert_int_equal(strcspn(c.remote + 12, "'"), strlen(c.remote) - 13); /* quoted as one word */
    assert_ptr_equal(c.argv[find(&c, "node2") + 1], c.remote);
    assert_null(c.argv[find(&c, "node2") + 2]);
    assert_int_equal(tw_ssh_command_make("n", "/opt/it's $HOME/twinax", &c, &err), 0);
    assert_string_equal(c.remote, "exec '/opt/it'\\''s $HOME/twinax' agent");
    assert_int_equal(tw_ssh_command_make("n", "~/bin/it's", &c, &err), 0);
    assert_string_equal(c.remote, "exec \"$HOME\"/'bin/it'\\''s' agent");
    assert_int_equal(tw_ssh_words_make("n", "echo 1", &c, &err), 0);
    assert_string_equal(c.argv[find(&c, "n") + 1], "echo 1");
    char path[2000];
    memset(path, '\'', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(tw_ssh_command_make("n", path, &c, &err), -ENAMETOOLONG);
    assert_int_equal(tw_ssh_command_make("-n", NULL, &c, &err), -EINVAL);
}

static void check(int status, bool greeted, const char *says, int want, const char *words)
{
    tw_err err = {0};
    tw_ssh_end e = {.name = "node2", .says = says, .status = status, .greeted = greeted};
    assert_int_equal(tw_ssh_explain(&e, &err), want);
    assert_int_equal(err.code, want);
    assert_int_equal(strncmp(err.msg, "node2: ", 7), 0);
    if (strstr(err.msg, words) == NULL)
        fail_msg("'%s' lacks '%s'", err.msg, words);
    assert_null(strchr(err.msg, '\n'));
}

static void test_ends_are_told_apart(void **state)
{
    (void)state;
    check(EXITED(255), false,
          "ssh: Could not resolve hostname node2: Name or service not known\r\n", -EHOSTUNREACH,
          "name not found");
    check(EXITED(255), false, "ssh: connect to host node2 port 22: Connection refused\r\n",
          -ECONNREFUSED, "ssh refused");
    check(EXITED(255), false, "ssh: connect to host node2 port 22: Connection timed out\r\n",
          -ETIMEDOUT, "ssh timed out");
    check(EXITED(255), false, "ssh: connect to host node2 port 22: No route to host\r\n",
          -EHOSTUNREACH, "no route");
    check(EXITED(255), false,
          "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n...\nHost key verification "
          "failed.\r\n",
          -EKEYREJECTED, "ssh-keygen -R node2");
    check(EXITED(255), false, "No ED25519 host key is known.\r\nHost key verification failed.\r\n",
          -EKEYREJECTED, "not known yet");
    check(EXITED(255), false, "root@node2: Permission denied (publickey,password).\r\n", -EACCES,
          "ssh-copy-id node2");
    check(EXITED(255), false, "root@node2: Permission denied (publickey).\r\n", -EACCES,
          "your key is not known there: ssh-copy-id node2");
    check(EXITED(255), false, "root@node2: Permission denied (publickey,password).\r\n", -EACCES,
          "asks for a password");
    check(EXITED(255), false, "root@node2: Permission denied (gssapi,password).\r\n", -EACCES,
          "asks for a password");
    check(EXITED(255), false, "root@node2: Permission denied (publickey,keyboard-interactive).\r\n",
          -EACCES, "asks for a password or code");
    check(EXITED(255), false, "kex_exchange_identification: read: reset by peer\r\n", -ECONNRESET,
          "before it spoke");
    check(EXITED(255), false, "subsystem request failed\r\n", -EIO, "ssh failed: subsystem");
    check(EXITED(127), false,
          "twinax: looked in PATH (/usr/bin:/bin), /usr/local/bin, /root/.local/bin\n", -ENOENT,
          "no twinax there (looked in PATH (/usr/bin:/bin), /usr/local/bin, /root/.local/bin)");
    check(EXITED(127), false,
          "/x/twinax: error while loading shared libraries: libjansson.so.4: cannot open shared "
          "object file: No such file or directory\n",
          -ELIBACC, "lacks a library: install it, or --push a twinax-node: libjansson.so.4");
    check(EXITED(1), false, "sh: cannot create temp file: No space left on device\n", -ENOSPC,
          "its disk is full");
    check(EXITED(127), false, "bash: line 1: twinax: command not found\n", -ENOENT,
          "no twinax there");
    check(EXITED(126), false, "sh: 1: exec: twinax: Permission denied\n", -ENOEXEC,
          "cannot be executed");
    check(EXITED(2), false, "twinax: agent: no such command; see `twinax help`\n", -EPROTO,
          "another version");
    check(EXITED(1), false, "a\nwhy it failed\n\n", -EIO, "why it failed");
    check(EXITED(255), true, "client_loop: send disconnect: Broken pipe\r\n", -ECONNRESET,
          "the ssh connection broke");
    check(EXITED(1), true, "twinax agent: bad\n", -ECONNRESET, "its agent ended");
    check(9, true, "", -EPIPE, "signal 9");
    check(-1, false, "", -ETIMEDOUT, "no answer in time");
    check(-1, true, "", -ETIMEDOUT, "its agent does not answer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_command),
        cmocka_unit_test(test_ends_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
