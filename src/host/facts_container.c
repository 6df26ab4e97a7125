/* SPDX-License-Identifier: Apache-2.0 */
/* Container tools; their images by podman's own storage files, their boxes by the tools' JSON: only
 * they know. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "host/facts_container.h"
#include "os/fd.h"

enum { TOOLS_LIMIT_S = 3 };

/* "podman version 5.2.3" -> "5.2.3"; "?" while nobody asked. */
static void read_version(tw_facts_reader *r, const char *tool, uint64_t deadline_ns, char out[24])
{
    const char *const argv[] = {tool, "--version", NULL};
    if (!tw_facts_has_tool(r->f, tool))
        return;
    tw_text_set(out, 24, "?");
    if (r->root != NULL || !r->o->containers ||
        !tw_reader_ask(argv, deadline_ns, r->work, sizeof r->work))
        return;
    const char *number = strpbrk(r->work, "0123456789");
    if (number != NULL)
        tw_text_set(out, 24, "%.*s", (int)TW_MIN(strcspn(number, " ,\n"), 23u), number);
}

static bool has_line_of(tw_facts_reader *r, const char *path, const char *user)
{
    char *rest = r->work, *line;
    if (user[0] == '\0' || !tw_reader_text(r, path))
        return false;
    while ((line = tw_text_line(&rest)) != NULL)
        if (strncmp(line, user, strlen(user)) == 0 && line[strlen(user)] == ':')
            return true;
    return false;
}

static tw_tri may_use_docker(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/docker.sock"};
    TW_CLEANUP(tw_fd_closep)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (void *)&to, sizeof to) == 0)
        return fd < 0 ? TW_UNKNOWN : TW_YES;
    return tw_tri_of(errno == EAGAIN || errno == EINPROGRESS);
}

void tw_reader_container(tw_facts_reader *r)
{
    tw_facts_container *c = &r->f->container;
    const char *user = r->f->user.name;
    uint64_t deadline_ns = tw_clock_now_ns() + TOOLS_LIMIT_S * TW_NS_PER_S;
    c->asked = tw_tri_of(r->o->containers);
    read_version(r, "podman", deadline_ns, c->podman);
    read_version(r, "docker", deadline_ns, c->docker);
    read_version(r, "toolbox", deadline_ns, c->toolbox);
    read_version(r, "distrobox", deadline_ns, c->distrobox);
    if (c->podman[0] != '\0')
        c->rootless_ready =
            tw_tri_of(has_line_of(r, "etc/subuid", user) && has_line_of(r, "etc/subgid", user));
    if (c->docker[0] != '\0' && r->root == NULL)
        c->docker_usable = may_use_docker();
    if (!r->o->containers)
        return;
    tw_container_read_storage(r);
    if (r->root != NULL)
        return;
    if (c->podman[0] != '\0')
        tw_container_ask_podman(r, deadline_ns);
    if (c->docker_usable == TW_YES)
        tw_container_ask_docker(r, deadline_ns);
}
