/* SPDX-License-Identifier: Apache-2.0 */
/* Two machines add their vectors. On the first one: ./allreduce ITS-OWN-ADDRESS
 * It prints what to run on the second. cc allreduce.c $(pkg-config --cflags --libs twinax) */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <twinax/coll.h>

enum { N = 1 << 20 };
static int listen_on(const char *address, const char *self, const uint8_t *token)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1 ||
        bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        exit((perror(address), 1));
    printf("on the other machine, within 5 minutes:\n  TWINAX_TOKEN=");
    for (int i = 0; i < TW_TOKEN_BYTES; i++)
        printf("%02x", token[i]);
    printf(" %s %s %u\n", self, address, ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    const char *hex = getenv("TWINAX_TOKEN");
    uint8_t token[TW_TOKEN_BYTES] = {0};
    if (argc < 2 || argc > 3 || (argc == 3 && hex == NULL))
        return fprintf(stderr, "usage: %s ADDRESS [PORT, with TWINAX_TOKEN set]\n", argv[0]), 2;
    tw_coll_opts o = {.rank = argc == 3, .n_ranks = 2, .token = token, .listen_fd = -1};
    o.address = argv[1];
    o.rendezvous_ns = 300ull * 1000000000;
    for (int i = 0; o.rank == 1 && i < TW_TOKEN_BYTES; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &token[i]) != 1)
            return fprintf(stderr, "TWINAX_TOKEN: wanted 64 hex digits\n"), 2;
    if (o.rank == 1)
        o.port = (uint16_t)atoi(argv[2]);
    else if (getrandom(token, sizeof token, 0) == sizeof token)
        o.listen_fd = listen_on(argv[1], argv[0], token);
    tw_coll *c = NULL;
    tw_err err = {0};
    int rc = tw_coll_open(&o, &c, &err);
    float *x = rc == 0 ? tw_coll_alloc(c, N * sizeof *x) : NULL;
    for (int i = 0; x != NULL && i < N; i++)
        x[i] = (float)(o.rank + 1) * (float)i;
    if (x == NULL || tw_coll_all_reduce(c, x, N, &err) != 0)
        return fprintf(stderr, "rank %u: %s\n", o.rank, err.msg), 1;
    tw_coll_stats s;
    tw_coll_get_stats(c, &s);
    printf("rank %u: x[1000] = %g, by %s\n", o.rank, x[1000], s.peer[!o.rank].transport);
    rc = x[1000] == 3000 ? 0 : 1;
    tw_coll_close(c);
    return rc;
}
