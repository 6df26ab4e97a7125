#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building and testing twinax needs from the distribution's own packages, and only
# what is missing. Says what it will do; asks for sudo only then. Silent and instant otherwise.
set -euo pipefail

usage()
{
    cat <<'TEXT'
usage: tools/deps.sh [--test|--dev|--package] [--check|--dry-run|--list] [--manager apt|dnf]
  (nothing)   what the build needs
  --test      and what the tests need
  --dev       and what lint, sanitizers and fuzzing need, an sshd and containers (tests that want
              them skip), and what bench compares with
  --package   what the build and making packages need
  --check     install nothing; exit 1 and name what is missing
  --dry-run   print the commands that would be run
  --list      print the whole mapping: probe, apt package, dnf package
  --manager   apt or dnf instead of the one that is found
TEXT
}

# set | probe | apt packages | dnf packages. A probe is pc:MODULE, cmd:A[,B] (one is enough) or
# fn:FUNCTION below.
table()
{
    cat <<'TEXT'
build|cmd:gcc,clang|gcc libc6-dev|gcc
build|fn:has_libc|libc6-dev|glibc-devel
build|cmd:meson|meson|meson
build|cmd:ninja|ninja-build|ninja-build
build|cmd:pkg-config|pkg-config|pkgconf-pkg-config
build|pc:libmicrohttpd|libmicrohttpd-dev|libmicrohttpd-devel
build|pc:jansson|libjansson-dev|jansson-devel
build|pc:libpcre2-8|libpcre2-dev|pcre2-devel
build|pc:libutf8proc|libutf8proc-dev|utf8proc-devel
build|pc:inih|libinih-dev|inih-devel
build|pc:ncursesw|libncurses-dev|ncurses-devel
build|pc:libcrypto|libssl-dev|openssl-devel
build|pc:libcurl|libcurl4-openssl-dev|libcurl-devel
build|pc:libibverbs|libibverbs-dev|rdma-core-devel
test|pc:cmocka|libcmocka-dev|libcmocka-devel
build|cmd:python3|python3|python3
test|fn:has_venv|python3-venv|python3-pip
test|cmd:flock|util-linux|util-linux-core
test|cmd:unshare|util-linux|util-linux-core
test|cmd:nm|binutils|binutils
test|cmd:openssl|openssl|openssl
test|cmd:tc|iproute2|iproute-tc
test|cmd:ssh|openssh-client|openssh-clients
test|cmd:ssh-keygen|openssh-client|openssh
build|cmd:ip|iproute2|iproute
test|fn:has_sshd|openssh-server|openssh-server
test|cmd:ssh|openssh-client|openssh-clients
test|fn:has_tc|iproute2|iproute-tc
dev|cmd:tmux|tmux|tmux
dev|cmd:gcc|gcc|gcc
dev|fn:has_gcc_sanitizers|gcc|libasan libubsan libtsan
dev|cmd:aarch64-linux-gnu-gcc|gcc-aarch64-linux-gnu libc6-dev-arm64-cross|gcc-aarch64-linux-gnu
dev|cmd:qemu-aarch64|qemu-user|qemu-user
dev|cmd:g++|g++|gcc-c++
dev|cmd:cmake|cmake|cmake
dev|cmd:clang|clang|clang
dev|fn:has_clang_runtime|libclang-rt-dev|compiler-rt
dev|cmd:clang-format,clang-format-14|clang-format|clang-tools-extra
dev|cmd:shellcheck|shellcheck|ShellCheck
dev|cmd:nm|binutils|binutils
dev|cmd:git|git|git
dev|cmd:sshd|openssh-server|openssh-server
package|fn:has_deb_tools|debhelper dpkg-dev lintian mmdebstrap|debhelper dpkg-dev
package|cmd:rpmbuild|rpm|rpm-build
package|cmd:rpmlint|rpmlint|rpmlint
package|cmd:cpio|cpio|cpio
dev|cmd:groff|groff|groff
dev|cmd:man|man-db|man-db
dev|cmd:mandoc|mandoc|mandoc
dev|cmd:zsh|zsh|zsh
dev|cmd:fish|fish|fish
dev|cmd:podman|podman|podman
dev|cmd:crun|crun|crun
dev|cmd:runc|runc|runc
dev|cmd:newuidmap|uidmap|shadow-utils
dev|cmd:toolbox|podman-toolbox|toolbox
dev|cmd:distrobox|distrobox|distrobox
dev|cmd:skopeo|skopeo|skopeo
dev|cmd:docker-registry,registry|docker-registry|docker-distribution
dev|cmd:capsh|libcap2-bin|libcap
dev|cmd:dbus-daemon|dbus-daemon|dbus-daemon
dev|cmd:iperf3|iperf3|iperf3
dev|cmd:sockperf|sockperf|sockperf
dev|fn:has_mpi|openmpi-bin libopenmpi-dev|openmpi openmpi-devel
TEXT
}

has_libc()
{
    [ -e /usr/include/stdio.h ]
}

has_venv()
{
    python3 -c 'import ensurepip, venv' 2>/dev/null
}

has_sshd()
{
    command -v sshd >/dev/null || [ -x /usr/sbin/sshd ]
}

has_tc()
{
    command -v tc >/dev/null || [ -x /usr/sbin/tc ] || [ -x /sbin/tc ]
}

# For Debian's packages; another distribution makes RPMs alone.
has_deb_tools()
{
    command -v dpkg-query >/dev/null || return 0
    command -v dh >/dev/null && command -v dpkg-buildpackage >/dev/null &&
        command -v lintian >/dev/null && command -v mmdebstrap >/dev/null
}

# Fedora keeps it off PATH, in a module.
has_mpi()
{
    PATH=$PATH:/usr/lib64/openmpi/bin command -v mpicc >/dev/null &&
        PATH=$PATH:/usr/lib64/openmpi/bin command -v mpirun >/dev/null
}

# A compiler prints the full path of a file that it has, else the bare name.
has_gcc_sanitizers()
{
    local f
    for f in libasan libubsan libtsan; do
        case $(gcc -print-file-name=$f.so 2>/dev/null) in */*) ;; *) return 1 ;; esac
    done
}

has_clang_runtime()
{
    local f
    for f in "libclang_rt.fuzzer-$(uname -m).a" libclang_rt.fuzzer.a; do
        [ -e "$(clang -print-file-name="$f" 2>/dev/null)" ] && return 0
    done
    compgen -G "$(clang -print-resource-dir 2>/dev/null)/lib/*/libclang_rt.fuzzer*.a" >/dev/null
}

has()
{
    local name
    case $1 in
    pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
    cmd:*)
        for name in $(tr , ' ' <<<"${1#cmd:}"); do
            PATH=$PATH:/usr/sbin:/sbin command -v "$name" >/dev/null && return 0 # ip, tc, sshd
        done
        return 1
        ;;
    fn:*) "${1#fn:}" ;;
    esac
}

wanted_sets=" build "
flag=
action=install
manager=
while [ $# -gt 0 ]; do
    case $1 in
    --test) wanted_sets=" build test " && flag=$1 ;;
    --dev) wanted_sets=" build test dev " && flag=$1 ;;
    --package) wanted_sets=" build package " && flag=$1 ;;
    --check) action=check ;;
    --dry-run) action=dry-run ;;
    --list) action=list ;;
    --manager) manager=${2-} && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done

if [ "$action" = list ]; then
    table | sed 's/|/ | /g'
    exit 0
fi

if [ -z "$manager" ]; then
    for m in apt-get dnf; do
        command -v $m >/dev/null && manager=${m%-get} && break
    done
fi
case $manager in apt | dnf | '') ;; *) usage >&2 && exit 2 ;; esac

# One pkg-config call answers for all libraries in the usual case that all are there.
all_modules=$(table | while IFS='|' read -r set probe _; do
    case "$wanted_sets:$probe" in *" $set "*:pc:*) echo "${probe#pc:}" ;; esac
done)
# shellcheck disable=SC2086
pkg-config --exists $all_modules 2>/dev/null && modules_known=yes || modules_known=no

missing=
packages=
while IFS='|' read -r set probe apt dnf; do
    case $wanted_sets in *" $set "*) ;; *) continue ;; esac
    case $probe:$modules_known in pc:*:yes) continue ;; esac
    has "$probe" && continue
    missing="$missing ${probe#*:}"
    [ "$manager" = dnf ] && names=$dnf || names=$apt
    for name in $names; do
        case " $packages " in *" $name "*) ;; *) packages="$packages $name" ;; esac
    done
done < <(table)
missing=${missing# }
packages=${packages# }

[ -n "$missing" ] || exit 0

echo "twinax needs, and this machine lacks: ${missing//has_/}"
if [ -z "$manager" ]; then
    echo "neither apt-get nor dnf is here: install these by hand" >&2
    exit 1
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo "
    # Nobody is there to type a password.
    [ -t 0 ] && [ -z "${CI-}" ] || as_root="sudo -n "
fi
if [ "$manager" = apt ]; then
    commands=("${as_root}env DEBIAN_FRONTEND=noninteractive apt-get update -q"
        "${as_root}env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages")
else
    commands=("${as_root}dnf install -y --setopt=install_weak_deps=False $packages")
fi
for c in "${commands[@]}"; do
    echo "  $c"
done
case $action in
dry-run) exit 0 ;;
check)
    echo "tools/deps.sh${flag:+ $flag} installs them" >&2
    exit 1
    ;;
esac

if [ -n "$as_root" ] && ! command -v sudo >/dev/null; then
    echo "this needs root and sudo is not here: run the commands above as root" >&2
    exit 1
fi
for c in "${commands[@]}"; do
    # Words of these commands never contain spaces.
    # shellcheck disable=SC2086
    $c || case $c in
    *update*) echo "the package lists could not be refreshed, trying with the old ones" >&2 ;;
    *) echo "failed: $c" >&2 && exit 1 ;;
    esac
done
# What the packages did not bring is named, and is a failure.
# shellcheck disable=SC2086
exec "$0" $flag --check
