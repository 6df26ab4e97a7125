# SPDX-License-Identifier: Apache-2.0
"""`make packages-test`: builds the packages and tries them in roots of their own.

The source archive twice: the same bytes. The .deb: lintian; installed, used and purged in a tree
that mmdebstrap makes (of this machine's own package lists): purge leaves no file that was not there.
The .rpm: rpmlint; installed into a root of its own by rpm --root, verified, erased. What cannot run
here is said, and is no failure. Last line: `N passed, N failed`. Minutes; wants root.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMIT_S = 1800
# What apt and dpkg themselves keep beside packages: lists, logs, caches, their own state.
NOT_OURS = re.compile(r"^(var/(cache|log|lib/(apt|dpkg|systemd/deb-systemd))/|etc/ld\.so\.cache$|tmp/|proc/|sys/|dev/|run/)")
ALLOWED_LINTIAN = ("initial-upload-closes-no-bugs",)


class Tally:
    passed, failed = 0, 0

    def step(self, name, run, *argv):
        try:
            why = run(*argv)
        except Skip as skip:
            print(f"skipped {name}: {skip}", flush=True)
            return None
        except (AssertionError, subprocess.SubprocessError, OSError) as wrong:
            self.failed += 1
            print(f"FAILED {name}: {wrong}", flush=True)
            return None
        self.passed += 1
        print(f"ok {name}", flush=True)
        return why if why is not None else True


class Skip(Exception):
    pass


def sh(*argv, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=LIMIT_S, check=False, **more)
    said = (done.stdout + done.stderr)[-3000:]
    assert done.returncode == 0, f"{' '.join(map(str, argv))}: exit {done.returncode}\n{said}"
    return done.stdout


def need(*programs):
    for p in programs:
        if not shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise Skip(f"{p} is not here")


# ---- source --------------------------------------------------------------------------------------


def dist(out):
    hashes = set()
    for name in "first", "second":
        tarball = pathlib.Path(sh(ROOT / "packaging" / "dist.sh", out / name).strip())
        hashes.add(hashlib.sha256(tarball.read_bytes()).hexdigest())
    assert len(hashes) == 1, "two archives of one commit differ"
    listed = sh("tar", "-tzf", tarball).splitlines()
    assert all(re.match(r"twinax-[0-9.]+/", x) for x in listed) and any(x.endswith("/meson.build") for x in listed)


# ---- Debian --------------------------------------------------------------------------------------


def build_deb(out):
    need("dh", "dpkg-buildpackage")
    sh(ROOT / "packaging" / "deb.sh", out)
    names = {p.name.split("_")[0]: p for p in out.glob("*.deb")}
    assert {"twinax", "libtwinax0", "libtwinax-dev"} <= set(names), names
    return names


def lint_deb(debs):
    need("lintian")
    for name in "twinax", "libtwinax0", "libtwinax-dev":
        said = sh("lintian", "--allow-root", "--suppress-tags", ",".join(ALLOWED_LINTIAN), debs[name])
        assert not re.search(r"^[EW]:", said, re.MULTILINE), said


def sources():
    """This machine's own, without what is signed by keys of others."""
    text = ""
    for f in [pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*")]:
        if f.exists() and ("debian" in f.name or "ubuntu" in f.name or f.name == "sources.list"):
            text += f.read_text() + "\n\n"
    return text


def tree_of(root):
    """{path: size, or where it leads} of all that is no one's business but packages'."""
    found = {}
    for folder, _, files in os.walk(root):
        rel = os.path.relpath(folder, root)
        for name in [*files, "."]:
            path = os.path.normpath(os.path.join(rel, name))
            if NOT_OURS.match(path) or NOT_OURS.match(path + "/"):
                continue
            full = os.path.join(root, path)
            found[path] = os.readlink(full) if os.path.islink(full) else "dir" if os.path.isdir(full) else os.path.getsize(full)
    return found


def chroot(root, *argv):
    return sh("unshare", "--mount", "sh", "-c", 'mount --bind /proc "$0/proc" && exec chroot "$0" "$@"', root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive",
              "LC_ALL=C.UTF-8", *argv)  # fmt: skip


def try_deb(debs, work):
    need("mmdebstrap", "chroot", "unshare")
    if os.geteuid() != 0:
        raise Skip("a tree of its own wants root")
    root = work / "tree"
    with open("/etc/os-release") as f:
        suite = dict(x.strip().split("=", 1) for x in f if "=" in x).get("VERSION_CODENAME", "bookworm")
    # All that twinax needs is there before: what is left after it is compared.
    needs = re.sub(r"\([^)]*\)", "", sh("dpkg-deb", "-f", debs["twinax"], "Depends"))
    needs = [n.split("|")[-1].strip() for n in needs.split(",")]
    sh("mmdebstrap", "--variant=apt", "--mode=root", f"--include={','.join(needs)},man-db,bash-completion", suite, root, "-",
       input=sources())  # fmt: skip
    (root / "deb").mkdir()
    shutil.copytree(ROOT / "models" / "demo", root / "demo")
    for name in "twinax", "libtwinax0", "libtwinax-dev":
        shutil.copy(debs[name], root / "deb")
    before = tree_of(root)
    ours = sorted(f"/deb/{p.name}" for p in (root / "deb").iterdir())
    chroot(root, "apt-get", "install", "-y", "--no-install-recommends", *ours)
    installed = set(tree_of(root)) - set(before)
    assert "usr/bin/twinax" in installed and "usr/share/man/man1/twinax-run.1.gz" in installed, sorted(installed)
    version = json.loads(chroot(root, "twinax", "version", "--json"))
    assert chroot(root, "twinax", "--version").startswith(f"twinax {version['version']} ")
    said = chroot(root, "twinax", "run", "/demo", "-p", "What is RoCE?", "-n", "16", "--temp", "0", "--threads", "1")
    assert len(said.strip()) > 10, said
    ids = ["--prompt-ids", "1,2,3", "-n", "8", "--temp", "0", "--ids", "--threads", "1"]
    assert chroot(root, "twinax", "run", "/demo", *ids) == chroot(root, "twinax", "run", "/demo", *ids, "--local", "--tp", "2")
    assert "twinax-run" in chroot(root, "man", "-w", "twinax-run") and chroot(root, "twinax-node", "version")
    offered = chroot(root, "bash", "-c", ". /usr/share/bash-completion/completions/twinax; COMP_LINE='twinax ru' COMP_POINT=9 "
                     "COMP_WORDS=(twinax ru) COMP_CWORD=1; _twinax; echo ${COMPREPLY[@]}")  # fmt: skip
    assert offered == "run\n", offered
    chroot(root, "rm", "-rf", "/root/.local", "/root/.cache")  # what a user's run may have made
    chroot(root, "apt-get", "remove", "-y", "twinax")
    chroot(root, "dpkg", "--purge", "twinax", "libtwinax-dev", "libtwinax0")
    after = tree_of(root)
    assert after == before, f"left: {sorted(set(after) - set(before))}, gone: {sorted(set(before) - set(after))}, changed: " \
        f"{[p for p in before if p in after and before[p] != after[p]]}"  # fmt: skip
    assert "twinax" not in chroot(root, "dpkg-query", "-W")


# ---- RPM -----------------------------------------------------------------------------------------


def build_rpm(out):
    need("rpmbuild")
    sh(ROOT / "packaging" / "rpm.sh", out)
    names = {re.sub(r"-[0-9].*", "", p.name): p for p in out.glob("*.rpm") if not p.name.endswith(".src.rpm")}
    assert {"twinax", "twinax-libs", "twinax-devel"} <= set(names), names
    return names


def lint_rpm(rpms):
    need("rpmlint")
    said = sh("rpmlint", "-c", ROOT / "packaging" / "rpmlint.toml", ROOT / "packaging" / "twinax.spec",
              *(rpms[n] for n in ("twinax", "twinax-libs", "twinax-devel")))  # fmt: skip
    assert re.search(r" 0 errors, 0 warnings", said), said


def try_rpm(rpms, work):
    need("rpm")
    root = work / "rpm-root"
    root.mkdir()
    every = [rpms[n] for n in ("twinax", "twinax-libs", "twinax-devel")]
    needs = sh("rpm", "-qpR", *every)
    assert "libcurl" in needs and "openssl-libs" in needs and "libjansson" in needs, needs
    sh("rpm", "--root", root, "--initdb")
    before = {p for p in tree_of(root) if not p.startswith("var/lib/rpm")}
    # Its dependencies are another distribution's: what is tried is the package itself.
    sh("rpm", "--root", root, "-i", "--nodeps", "--noscripts", *every)
    listed = sh("rpm", "--root", root, "-ql", "twinax").split()
    assert "/usr/bin/twinax" in listed and all((root / x.lstrip("/")).exists() for x in listed if "build-id" not in x)
    sh("rpm", "--root", root, "-V", "--nodeps", "twinax", "twinax-libs", "twinax-devel")
    assert sh(root / "usr" / "bin" / "twinax", "--version").startswith("twinax ")
    sh("rpm", "--root", root, "-e", "--nodeps", "--noscripts", "twinax", "twinax-libs", "twinax-devel")
    left = {p for p in tree_of(root) if not p.startswith(("var/lib/rpm", "usr/lib/sysimage"))} - before
    # Folders of the file system are a package of their own (filesystem), not here.
    left = {p for p in left if not (root / p).is_dir()}
    assert not left, f"left: {sorted(left)}"


def main():
    t = Tally()
    with tempfile.TemporaryDirectory(prefix="twinax-packages-") as folder:
        work = pathlib.Path(folder)
        t.step("source archive: the same bytes twice", dist, work)
        debs = t.step("deb: builds", build_deb, work / "deb")
        if debs:
            t.step("deb: lintian", lint_deb, debs)
            t.step("deb: installs, works, purge leaves nothing", try_deb, debs, work)
        rpms = t.step("rpm: builds", build_rpm, work / "rpm")
        if rpms:
            t.step("rpm: rpmlint", lint_rpm, rpms)
            t.step("rpm: installs into a root of its own, verifies, erases", try_rpm, rpms, work)
    print(f"{t.passed} passed, {t.failed} failed")
    return 1 if t.failed or not t.passed else 0


if __name__ == "__main__":
    sys.exit(main())
