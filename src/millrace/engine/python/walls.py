"""Runs inside a new process: makes a file system, a network and a process table of its own, then becomes the guest.

Standard library alone. Used where bubblewrap is not installed.
Sources: https://man7.org/linux/man-pages/man7/namespaces.7.html, https://man7.org/linux/man-pages/man2/pivot_root.2.html
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def enclose(readable: list[str]) -> None:
    """The process sees ``readable``, read-only under their own paths, and nothing else; raises OSError.

    It is the first process of a process table of its own. Its parent, which stays outside of that, waits for it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group, host = os.getuid(), os.getgid(), os.getppid()
    _done(libc.unshare(_NEWUSER | _NEWNS | _NEWCGROUP | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")
    _mount(libc, None, "/", None, _MS_REC | _MS_PRIVATE)
    # What lies below the folder that is covered is still reached by descriptors that were opened before.
    opened = {path: os.open(path, os.O_PATH) for path in readable}
    root = "/tmp"  # noqa: S108  a folder that every machine has; it is covered, not written to
    _mount(libc, "tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV)
    for path, descriptor in opened.items():
        _bind(libc, f"/proc/self/fd/{descriptor}", root + path)
        os.close(descriptor)
    os.chdir(root)
    os.mkdir("old")  # noqa: PTH102  bare on purpose
    number = _PIVOT_ROOT[os.uname().machine]
    _done(libc.syscall(number, b".", b"old"), "pivot_root")
    os.chdir("/")
    _done(libc.umount2(b"/old", _MNT_DETACH), "umount")
    os.rmdir("/old")  # noqa: PTH106  bare on purpose
    _mount(libc, None, "/", None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    child = os.fork()
    if child:
        # Whoever kills the host does not tell us; the guest goes with this process.
        libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)
        if os.getppid() != host:
            os._exit(1)
        _, status = os.waitpid(child, 0)
        os._exit(0 if status == 0 else 1)


def _bind(libc: Any, source: str, target: str) -> None:
    if os.path.isdir(source):  # noqa: PTH112  bare on purpose
        os.makedirs(target, exist_ok=True)  # noqa: PTH103  bare on purpose
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120  bare on purpose
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o444))
    _mount(libc, source, target, None, _MS_BIND | _MS_REC)
    # A bind mount becomes read-only only when it is mounted once more. What the mount it comes from forbids stays so.
    flags = os.statvfs(target).f_flag & (_MS_NOSUID | _MS_NODEV | 8 | 1024 | 2048)
    _mount(libc, None, target, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | flags)


def _mount(libc: Any, source: str | None, target: str, kind: str | None, flags: int) -> None:
    answer = libc.mount(
        source and source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), None
    )
    _done(answer, f"mount {target}")


def _done(answer: int, what: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123  bare on purpose
        file.write(text)


if __name__ == "__main__":
    sys.exit("this is the beginning of a guest, not a command")
