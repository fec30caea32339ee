"""What a guest process takes from itself before a user's code runs: privileges, files, system calls, memory.

Runs inside the guest, with the standard library alone. Every lock is one that cannot be opened again.
Sources: https://docs.kernel.org/userspace-api/seccomp_filter.html, https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from typing import Any

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_DUMPABLE, _PR_SET_PDEATHSIG, _PR_CAPBSET_DROP = 38, 22, 4, 1, 24
_SECCOMP_FILTER = 2
_EPERM = 1

# Names of system calls to their numbers; None: this machine's kernel family has none of that name.
# Sources: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h
_CALLS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67), "readv": (19, 65),
    "writev": (20, 66), "select": (23, None), "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233),
    "dup": (32, 23), "nanosleep": (35, 101), "getpid": (39, 172), "exit": (60, 93), "fcntl": (72, 25),
    "getcwd": (79, 17), "gettimeofday": (96, 169), "getrlimit": (97, 163), "getrusage": (98, 165),
    "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173),
    "sigaltstack": (131, 132), "gettid": (186, 178), "futex": (202, 98), "getdents64": (217, 61),
    "restart_syscall": (219, 128), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "exit_group": (231, 94), "openat": (257, 56), "newfstatat": (262, 79),
    "readlinkat": (267, 78), "pselect6": (270, 72), "ppoll": (271, 73), "set_robust_list": (273, 99),
    "dup3": (292, 24), "getrandom": (318, 278), "statx": (332, 291), "rseq": (334, 293), "poll": (7, None),
    "stat": (4, None), "lstat": (6, None), "open": (2, None), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, None), "uname": (63, 160), "sysinfo": (99, 179),
    "sched_getaffinity": (204, 123), "ioctl": (16, 29), "arch_prctl": (158, None), "time": (201, None),
}  # fmt: skip
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


class Unlockable(Exception):
    """A lock that was asked for does not hold on this machine."""


def lock(*, memory_bytes: int, readable: list[str], landlock: bool) -> None:
    """The process has no privileges, reads below ``readable`` alone, and makes few system calls. Raises Unlockable.

    ``landlock`` False: the file system around the process is its own already, and nothing else is seen in it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise Unlockable("the kernel does not know no_new_privs")
    _drop_capabilities(libc)
    _limit(memory_bytes)
    if landlock:
        _landlock(libc, readable)
    _seccomp(libc)


def _drop_capabilities(libc: Any) -> None:
    """capset to nothing, version 3."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    libc.capset(ctypes.byref(header), ctypes.byref(data))


# What a bare process has of its own already, and may map beside: libraries and the like.
_BARE_BYTES, _MAPPED_BYTES = 32 << 20, 512 << 20


def _limit(memory_bytes: int) -> None:
    """So much memory of its own, no files to write, no cores, few descriptors."""
    for what, most in (
        (resource.RLIMIT_DATA, _BARE_BYTES + memory_bytes),
        (resource.RLIMIT_AS, _MAPPED_BYTES + memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


# Landlock.

_LL_CREATE, _LL_ADD, _LL_RESTRICT = 444, 445, 446
_LL_READ = (1 << 2) | (1 << 3)  # read a file, read a folder
# What each version of the interface can forbid, for files; and binding and connecting by TCP from the fourth on.
_LL_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_LL_SCOPES = 0b11  # abstract sockets and signals, from the sixth version on


def landlock_version() -> int:
    """The version of the kernel's interface; 0 where there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(libc.syscall(_LL_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1)), 0)


def _landlock(libc: Any, readable: list[str]) -> None:
    version = landlock_version()
    if version < 1:
        raise Unlockable("the kernel has no Landlock")
    files = _LL_FILES[min(version, 5)]
    attributes = struct.pack("=QQQ", files, 0b11 if version >= 4 else 0, _LL_SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_LL_CREATE, ctypes.c_char_p(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        raise Unlockable(f"Landlock refused its rules ({os.strerror(ctypes.get_errno())})")
    for path in readable:
        try:
            found = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = _LL_READ if os.path.isdir(path) else 1 << 2  # noqa: PTH112  bare on purpose
        rule = struct.pack("=Qi", allowed & files, found)
        if libc.syscall(_LL_ADD, ruleset, ctypes.c_int(1), ctypes.c_char_p(rule), ctypes.c_uint32(0)) != 0:
            raise Unlockable(f"Landlock refused the rule for {path} ({os.strerror(ctypes.get_errno())})")
        os.close(found)
    if libc.syscall(_LL_RESTRICT, ruleset, ctypes.c_uint32(0)) != 0:
        raise Unlockable(f"Landlock did not hold ({os.strerror(ctypes.get_errno())})")
    os.close(ruleset)


# Seccomp: a program in the kernel's packet filter language that looks at architecture and number of each call.

_LOAD, _EQUAL, _GREATER, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | _EPERM, 0x80000000


def _seccomp(libc: Any) -> None:
    machine = platform.machine() if platform.machine() in _ARCHITECTURES else os.uname().machine
    if machine not in _ARCHITECTURES:
        raise Unlockable(f"system calls of {machine} are not known here")
    column, architecture = _ARCHITECTURES[machine]
    numbers = sorted({pair[column] for pair in _CALLS.values()} - {None})  # pyright: ignore[reportArgumentType]  no None is left
    code = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        # Calls of the other numbering (x32) are above this.
        (_GREATER, 0, 1, 0x40000000),
        (_RETURN, 0, 0, _REFUSE),
    ]
    for number in numbers:
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    code.append((_RETURN, 0, 0, _REFUSE))
    program = b"".join(struct.pack("=HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    made = Program(len(code), ctypes.cast(buffer, ctypes.c_void_p))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, ctypes.byref(made), 0, 0) != 0:
        raise Unlockable(f"the filter of system calls did not hold ({os.strerror(ctypes.get_errno())})")


def die_with_parent() -> None:
    """The process is killed when the one that started it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)
