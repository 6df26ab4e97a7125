#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""OpenMPI's and gloo's all-reduce between the same two addresses as `twinax bench coll`, which starts
this with --peers while its ranks keep their network namespaces. Rank 1 runs in the namespace of
--netns-of PID. What is not installed is said and left out."""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

CORES_MAX = 4096
MPI_PROGRAM = r"""
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    for (int a = 1; a + 1 < argc; a += 2) {
        int bytes = atoi(argv[a]), n = atoi(argv[a + 1]);
        float *x = calloc(1, bytes), *y = calloc(1, bytes);
        double *t = malloc(n * sizeof *t);
        for (int i = -5; i < n; i++) {
            if (i % 50 == 0)
                MPI_Barrier(MPI_COMM_WORLD);
            double t0 = MPI_Wtime();
            MPI_Allreduce(x, y, bytes / 4, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
            if (i >= 0)
                t[i] = MPI_Wtime() - t0;
        }
        for (int i = 0; rank == 0 && i < n; i++)
            printf("%d %.9f\n", bytes, t[i]);
        free(x), free(y), free(t);
    }
    MPI_Finalize();
    return 0;
}
"""


def sizes_of(text):
    unit = {"": 1, "K": 1 << 10, "M": 1 << 20}
    return [int(n) * unit[u] for n, u in re.findall(r"(\d+)([KM]?)", text)]


def rounds_of(size):
    return max(7, min(2000, int(0.5e9 / (3e4 + size * 2))))


def in_namespace(pid):
    return ["nsenter", f"--net=/proc/{pid}/ns/net"] if pid else []


def other_address(args):
    """Rank 1's: the only global or link-scope IPv4 address of its namespace."""
    if not args.netns_of:
        return args.address
    out = subprocess.run([*in_namespace(args.netns_of), "ip", "-j", "-4", "addr"], check=True,
                         capture_output=True, text=True).stdout
    found = [(a["local"], link["ifname"]) for link in json.loads(out) for a in link["addr_info"]
             if not a["local"].startswith("127.")]
    return found[0][0]


def interface_of(address, pid=None):
    out = subprocess.run([*in_namespace(pid), "ip", "-j", "-4", "addr"], check=True, capture_output=True,
                         text=True).stdout
    return next(link["ifname"] for link in json.loads(out) for a in link["addr_info"]
                if a["local"] == address)


def pin(rank):
    os.sched_setaffinity(0, {int(cpu(rank))})


def cpu(rank):
    """The rank that starts this is pinned to a core of its own: its peers may use every core."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(CORES_MAX))
    every = sorted(os.sched_getaffinity(0))  # what the kernel lets us have of them
    os.sched_setaffinity(0, mine)
    return str(every[rank % len(every)])


def bound(*argv):
    """Ends when we do, whatever ends us: an interrupted run leaves no peer behind."""
    return ["setpriv", "--pdeathsig", "KILL", *argv]


# ---- OpenMPI -------------------------------------------------------------------------------------


def run_mpi(args, sizes, tmp):
    os.environ["PATH"] += ":/usr/lib64/openmpi/bin"  # Fedora's, where no module is loaded
    if not shutil.which("mpicc") or not shutil.which("mpirun"):
        raise RuntimeError("mpicc and mpirun are not installed (openmpi-bin, libopenmpi-dev)")
    source, program = os.path.join(tmp, "mpi.c"), os.path.join(tmp, "mpi")
    with open(source, "w", encoding="utf-8") as f:
        f.write(MPI_PROGRAM)
    subprocess.run(["mpicc", "-O2", "-o", program, source], check=True)
    work = [str(v) for s in sizes for v in (s, rounds_of(s))]
    net = f"{args.address.rsplit('.', 1)[0]}.0/24"
    tcp = ["--mca", "btl", "tcp,self", "--mca", "pml", "ob1", "--mca", "btl_tcp_if_include", net]
    shm = ["--mca", "btl", "vader,self", "--mca", "pml", "ob1"]
    command = [*bound("mpirun"), "--allow-run-as-root", "--host", "localhost:2", "--bind-to", "none",
               "--mca", "mpi_yield_when_idle", "0",
               *(tcp if args.netns_of or args.transport == "tcp" else shm),
               "--mca", "ptl_tcp_if_include", net, "--mca", "oob_tcp_if_include", net,
               "-np", "1", *bound("taskset", "-c", cpu(0), program, *work),
               ":", "-np", "1", *bound(*in_namespace(args.netns_of), "taskset", "-c", cpu(1), program, *work)]
    env = os.environ | {"PMIX_MCA_ptl_tcp_if_include": net, "OMPI_MCA_btl_base_warn_component_unused": "0", "TMPDIR": tmp}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=env)
    if done.returncode != 0:
        raise RuntimeError(" ".join((done.stderr or done.stdout).split())[:300])
    times = {}
    for line in done.stdout.splitlines():
        size, seconds = line.split()
        times.setdefault(int(size), []).append(float(seconds) * 1e6)
    return times


# ---- gloo ----------------------------------------------------------------------------------------


def gloo_rank(rank, address, port, interface, sizes):
    """Runs as a process of its own."""
    os.environ["GLOO_SOCKET_IFNAME"] = interface
    pin(rank)
    import datetime

    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    store = dist.TCPStore(address, port, 2, rank == 0, timeout=datetime.timedelta(seconds=60))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    for size in sizes:
        x = torch.zeros(size // 4)
        samples = []
        for i in range(-3, min(rounds_of(size), 500)):
            if i % 50 == 0:
                dist.barrier()
            t0 = time.perf_counter_ns()
            dist.all_reduce(x)
            if i >= 0:
                samples.append((time.perf_counter_ns() - t0) / 1e3)
        if rank == 0:
            print(json.dumps({"bytes": size, "us": samples}), flush=True)
    dist.destroy_process_group()


def run_gloo(args, sizes, _tmp):
    probe = subprocess.run([sys.executable, "-c", "import torch.distributed as d; assert d.is_gloo_available()"],
                           capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise RuntimeError("torch with gloo is not importable; name a python in TWINAX_PEER_PYTHON")
    port = str(20000 + os.getpid() % 20000)
    me = [sys.executable, os.path.abspath(__file__), "--address", args.address, "--sizes", args.sizes]
    theirs = interface_of(other_address(args), args.netns_of)
    with subprocess.Popen(bound(*in_namespace(args.netns_of), *me, "--gloo-rank", "1", "--port", port,
                                "--interface", theirs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as second:
        try:
            first = subprocess.run(bound(*me, "--gloo-rank", "0", "--port", port, "--interface",
                                         interface_of(args.address)), capture_output=True, text=True,
                                   timeout=600, check=False)
            second.wait(timeout=60)
        finally:
            second.kill()
    if first.returncode != 0:
        raise RuntimeError(" ".join(first.stderr.split())[-300:])
    return {d["bytes"]: d["us"] for d in map(json.loads, first.stdout.splitlines())}


# ---- report --------------------------------------------------------------------------------------


def report(args, name, times):
    for size, us in times.items():
        us.sort()
        p50, p99 = statistics.median(us), us[int(0.99 * (len(us) - 1))]
        if args.json:
            print(json.dumps({"test": "coll_all_reduce", "impl": name, "bytes": size, "ranks": 2,
                              "samples": len(us), "min_us": us[0], "p50_us": p50, "p99_us": p99,
                              "alg_gb_s": size / p50 / 1e3}), flush=True)
        else:
            print(f"{name:10} {size:9} B {p50:10.2f} {p99:10.2f}   best {us[0]:.2f}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--address", required=True)
    p.add_argument("--sizes", required=True)
    p.add_argument("--json", action="store_true")
    p.add_argument("--table", action="store_true")
    p.add_argument("--transport", default="auto")
    p.add_argument("--netns-of")
    p.add_argument("--gloo-rank", type=int)
    p.add_argument("--port", type=int)
    p.add_argument("--interface")
    args = p.parse_args()
    sizes = [s for s in sizes_of(args.sizes) if s % 4 == 0]
    if args.gloo_rank is not None:
        gloo_rank(args.gloo_rank, args.address, args.port, args.interface, sizes)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of every `finally`
    with tempfile.TemporaryDirectory() as tmp:
        for name, run in (("openmpi", run_mpi), ("gloo", run_gloo)):
            try:
                report(args, name, run(args, sizes, tmp))
            except (RuntimeError, OSError, subprocess.SubprocessError) as why:
                print(f"{name}: left out: {why}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
