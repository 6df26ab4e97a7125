/* SPDX-License-Identifier: Apache-2.0 */
/* What setup says and asks. A password is read from the terminal itself, without echo. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/setup.h"
#include "os/fd.h"
#include "os/secret.h"
#include "os/signal.h"

enum { PASSWORD_MAX = 512 };

static void tell(void *ctx, const char *node, enum tw_setup_word what, const char *text)
{
    static const char *const words[] = {
        [TW_SETUP_BEGINS] = "",         [TW_SETUP_LINE] = "  | ",    [TW_SETUP_DONE] = "done: ",
        [TW_SETUP_FAILED] = "FAILED: ", [TW_SETUP_WAITS] = "waits ", [TW_SETUP_SAYS] = "note: "};
    const setup_face *f = ctx;
    text = text != NULL ? text : "?";
    if (f->quiet && what != TW_SETUP_FAILED)
        return;
    /* An error names its node itself. */
    const size_t n = strlen(node);
    if (what == TW_SETUP_FAILED && strncmp(text, node, n) == 0 && text[n] == ':')
        text += n + 1 + (text[n + 1] == ' ');
    FILE *out = f->quiet ? stderr : stdout;
    fprintf(out, "%s: %s", node, words[what]);
    for (; *text != '\0'; text++) /* another's words */
        putc((unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text, out);
    putc('\n', out);
    fflush(out);
}

bool tw_setup_can_ask(void)
{
    return isatty(STDIN_FILENO) == 1;
}

/* One line from fd, a byte at a time: what comes behind it is not ours. Ctrl-C ends it. */
static bool read_line(int fd, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (;;) {
        char c;
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
                              {.fd = tw_signal_fd(), .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return false;
        if (tw_signal_asked_to_stop())
            return false;
        if (p[0].revents == 0)
            continue;
        ssize_t got = read(fd, &c, 1);
        if (got == 0 || (got < 0 && errno != EINTR))
            return false;
        if (got < 0)
            continue;
        if (c == '\n')
            break;
        if (n + 1 < out_bytes)
            out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

bool tw_setup_ask(const char *question, char *out, size_t out_bytes)
{
    out[0] = '\0';
    if (!tw_setup_can_ask())
        return false;
    fputs(question, stdout);
    fflush(stdout);
    return read_line(STDIN_FILENO, out, out_bytes);
}

bool tw_setup_consents(const char *question)
{
    char line[16];
    return tw_setup_ask(question, line, sizeof line) && strcmp(line, "yes") == 0;
}

bool tw_setup_says_yes(const char *question)
{
    char line[16] = "";
    fputs(question, stderr);
    return read_line(STDIN_FILENO, line, sizeof line) && (line[0] == 'y' || line[0] == 'Y');
}

static char *ask_password(void *ctx, const char *node, bool wrong)
{
    struct termios before, quiet;
    char text[PASSWORD_MAX];
    char *copy = NULL;
    (void)ctx;
    TW_CLEANUP(tw_fd_closep) int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || tcgetattr(fd, &before) != 0)
        return NULL;
    tw_secret_guard(); /* no core file, no debugger */
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    if (tcsetattr(fd, TCSAFLUSH, &quiet) != 0)
        return NULL;
    fprintf(stderr, "%s%s: sudo password (not stored): ", wrong ? "wrong. " : "", node);
    fflush(stderr);
    const bool good = read_line(fd, text, sizeof text);
    (void)tcsetattr(fd, TCSAFLUSH, &before);
    fputc('\n', stderr);
    if (good)
        copy = tw_mem_strdup(text);
    explicit_bzero(text, sizeof text);
    return copy;
}

tw_setup_face tw_setup_face_of(setup_face *f)
{
    return (tw_setup_face){.ctx = f, .tell = tell, .ask_password = ask_password};
}
