"""What scripts may try in order to get out. Each is the body of `attempt(p)`; what it brings back is its prize.

An attempt that ends in an exception, a timeout or a dead process failed. One that returns something brought back a
prize, unless that is None, or SET, which sends the event on as the attempt left it. What else the scripts have is in
`test_escapes.SCRIPT`: `HOST` says what there is to win, `NR` picks the number of a system call for this machine,
`ANSWER` writes an answer in the guest's place, and `FIELD` one that sets a field.
"""

from __future__ import annotations

# Where no wall stands, these bring something back: proof that the attempts are real.
WIN_WITHOUT_A_WALL: dict[str, str] = {
    "reads a file of the host": """
        return open(HOST['secret']).read()
    """,
    "reads the host's users": """
        return open('/etc/passwd').read()
    """,
    "lists a folder of the host": """
        import os
        return os.listdir(HOST['folder'])
    """,
    "writes a file": """
        open(HOST['written'], 'w').write('x')
        return 'written'
    """,
    "writes beside itself": """
        open(HOST['written2'], 'w').write('x')
        return 'written'
    """,
    "makes a folder": """
        import os
        os.mkdir(HOST['made'])
        return 'made'
    """,
    "removes a file": """
        import os
        os.unlink(HOST['removed'])
        return 'removed'
    """,
    "makes a link to a file of the host": """
        import os
        os.symlink(HOST['secret'], HOST['link'])
        return 'linked'
    """,
    "reads the command lines of others": """
        import os
        return open('/proc/%d/cmdline' % HOST['victim']).read()
    """,
    "reads its own memory map": """
        return open('/proc/self/maps').read()[:100]
    """,
    "connects by TCP": """
        import socket
        s = socket.create_connection(('127.0.0.1', HOST['port']), 1)
        s.send(b'out')
        return 'connected'
    """,
    "sends by UDP": """
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        return s.sendto(b'out', ('127.0.0.1', HOST['port']))
    """,
    "connects to a socket in a folder": """
        import socket
        s = socket.socket(socket.AF_UNIX)
        s.connect(HOST['socket'])
        return 'connected'
    """,
    "connects to an abstract socket": """
        import socket
        s = socket.socket(socket.AF_UNIX)
        s.connect('\\0' + HOST['abstract'])
        return 'connected'
    """,
    "makes a pair of sockets": """
        import socket
        return repr(socket.socketpair())
    """,
    "listens": """
        import socket
        s = socket.socket()
        s.bind(('127.0.0.1', 0))
        s.listen()
        return 'listening'
    """,
    "starts a program": """
        import subprocess
        return subprocess.check_output(['/bin/echo', 'out'])
    """,
    "starts a shell": """
        import os
        return os.system('true') == 0 or None
    """,
    "forks": """
        import os
        n = os.fork()
        if n == 0: os._exit(0)
        os.waitpid(n, 0)
        return n
    """,
    "starts a thread": """
        import threading
        found = []
        t = threading.Thread(target=found.append, args=(1,))
        t.start()
        t.join()
        return found or None
    """,
    "signals a process of the host": """
        import os
        os.kill(HOST['victim'], 15)
        return 'sent'
    """,
    "asks after a process of the host": """
        import os
        os.kill(HOST['victim'], 0)
        return 'it is there'
    """,
    "signals by ctypes": """
        return libc().kill(HOST['victim'], 15) == 0 or None
    """,
    "makes memory that runs, and a file of it": """
        import os
        return os.memfd_create('x')
    """,
    "makes a pipe": """
        import os
        return os.pipe()
    """,
    "makes an epoll": """
        import select
        return select.epoll().fileno()
    """,
    "sets a timer that signals": """
        import signal
        signal.setitimer(signal.ITIMER_REAL, 100)
        return 'set'
    """,
}

# These would hurt without a wall, need what not every machine has, or bring nothing back by themselves.
NEVER_WIN: dict[str, str] = {
    "walks to a loader by dunders": """
        for c in ().__class__.__base__.__subclasses__():
            if c.__name__ == 'FileLoader': return c('x', HOST['secret']).get_data(HOST['secret'])
        raise LookupError
    """,
    "loads code of the host by name": """
        import importlib.util as u
        s = u.spec_from_file_location('x', HOST['module'])
        m = u.module_from_spec(s)
        s.loader.exec_module(m)
        return m.x
    """,
    "imports the product": """
        import millrace.control
        return repr(millrace.control)
    """,
    "finds the product's packages": """
        import pyarrow
        return repr(pyarrow)
    """,
    "reads variables": """
        import os
        return {k: v for k, v in os.environ.items() if k not in ('LC_ALL', 'PWD')} or None
    """,
    "finds open descriptors": """
        import os
        found = []
        for n in range(3, 300):
            try: found.append((n, os.fstat(n)))
            except OSError: pass
        return found or None
    """,
    "reads devices": """
        return open('/dev/mem', 'rb').read(1)
    """,
    "reads the kernel's memory": """
        return open('/proc/kcore', 'rb').read(1)
    """,
    "makes a device": """
        import os
        os.mknod('/mem', 0o020666, os.makedev(1, 1))
        return open('/mem', 'rb').read(1)
    """,
    "climbs out of its root": """
        import os
        os.chdir('../' * 40)
        return [n for n in os.listdir('.') if n in ('work', 'root', 'home', 'etc')]
    """,
    "changes its root": """
        import os
        os.chroot('.')
        return 'changed'
    """,
    "mounts": """
        return libc().mount(b'none', b'/', b'proc', 0, None) == 0 or None
    """,
    "unmounts": """
        return libc().umount2(b'/', 2) == 0 or None
    """,
    "opens by a handle": """
        import ctypes
        return libc().syscall(NR(304, 265), -100, ctypes.create_string_buffer(64), 0) >= 0 or None
    """,
    "becomes root": """
        import os
        os.setresuid(0, 0, 0)
        os.setgroups([0])
        return 'root'
    """,
    "takes capabilities": """
        import ctypes
        h = (ctypes.c_uint32 * 2)(0x20080522, 0)
        d = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
        return libc().capset(h, d) == 0 or None
    """,
    "takes its locks off": """
        return libc().prctl(22, 0, 0, 0, 0) == 0 or None
    """,
    "outlives its parent": """
        return libc().prctl(1, 0, 0, 0, 0) == 0 or None
    """,
    "traces its parent": """
        return libc().ptrace(16, 1, 0, 0) == 0 or None
    """,
    "is traced": """
        return libc().ptrace(0, 0, 0, 0) == 0 or None
    """,
    "writes into the memory of others": """
        import ctypes
        return libc().syscall(NR(311, 271), HOST['victim'], 0, 0, 0, 0, 0) >= 0 or None
    """,
    "signals all": """
        import os
        os.kill(-1, 9)
        return 'sent'
    """,
    "signals its own group": """
        import os
        os.killpg(0, 9)
        return 'sent'
    """,
    "stops itself": """
        import os
        os.kill(os.getpid(), 19)
        return 'went on'
    """,
    "forks without end": """
        import os
        while True: os.fork()
    """,
    "clones by ctypes": """
        return libc().syscall(NR(56, 220), 17, 0, 0, 0, 0) >= 0 or None
    """,
    "clones by the newer call": """
        import ctypes
        return libc().syscall(435, ctypes.create_string_buffer(88), 88) >= 0 or None
    """,
    "runs code of its own making": """
        import ctypes, mmap, platform
        if platform.machine() != 'x86_64': raise LookupError
        m = mmap.mmap(-1, 4096, prot=7)
        # mov eax, 41; mov edi, 2; mov esi, 1; xor edx, edx; syscall; ret: socket(AF_INET, SOCK_STREAM, 0)
        m.write(bytes.fromhex('b829000000bf02000000be0100000031d20f05c3'))
        f = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
        return f() >= 0 or None
    """,
    "calls in the way of 32 bits": """
        import ctypes, mmap, platform
        if platform.machine() != 'x86_64': raise LookupError
        m = mmap.mmap(-1, 4096, prot=7)
        # mov eax, 20; int 0x80; ret: getpid of i386
        m.write(bytes.fromhex('b814000000cd80c3'))
        f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
        return f() > 0 or None
    """,
    "loads a program of bpf": """
        import ctypes
        return libc().syscall(NR(321, 280), 0, ctypes.create_string_buffer(72), 72) >= 0 or None
    """,
    "reads where no memory is": """
        import ctypes
        return ctypes.string_at(0)
    """,
    "wrecks its own stack": """
        import ctypes
        ctypes.memset(id(p) - 64, 255, 1 << 16)
        import gc
        gc.collect()
        return None
    """,
    "unpickles a program": """
        import pickle
        return pickle.loads(b"cos\\nsystem\\n(S'touch " + HOST['written'].encode() + b"'\\ntR.") == 0 or None
    """,
    "leaves by sys.exit": """
        import sys
        sys.exit(0)
    """,
    "leaves by os._exit": """
        import os
        os._exit(0)
    """,
    "aborts": """
        import os
        os.abort()
    """,
    "leaves a function for its end": """
        import atexit, os
        atexit.register(os._exit, 7)
        raise SystemExit
    """,
    "loops": """
        while True: pass
    """,
    "loops and catches all": """
        while True:
            try:
                while True: pass
            except BaseException: pass
    """,
    "sleeps": """
        import time
        time.sleep(1000)
    """,
    "waits for what never comes": """
        import sys, os
        return os.read(0, 1) or None
    """,
    "reads the host's next words": """
        import os
        while True: os.read(0, 1 << 16)
    """,
    "matches a costly pattern": """
        import re
        return re.match(r'(a+)+$', 'a' * 64 + 'b')
    """,
    "computes a huge number": """
        return (10 ** 10 ** 8) % 7 and None
    """,
    "writes a huge number": """
        return str(1 << (1 << 40)) and None
    """,
    "makes a huge text": """
        return len('x' * (1 << 34)) and 'big'
    """,
    "fills its memory by and by": """
        found = []
        while True: found.append('x' * (1 << 20) + str(len(found)))
    """,
    "maps memory by and by": """
        import mmap
        found = []
        while True: found.append(mmap.mmap(-1, 1 << 24)); found[-1].write(b'x' * (1 << 24))
    """,
    "nests too deep": """
        def f(n): return f(n + 1)
        return f(0)
    """,
    "nests too deep for C": """
        import sys
        sys.setrecursionlimit(1 << 30)
        def f(n): return [f(n + 1)]
        return f(0)
    """,
    "nests its answer too deep": """
        a = []
        for _ in range(200_000): a = [a]
        p['deep'] = a
        return SET
    """,
    "answers with itself inside": """
        d = {}
        d['d'] = d
        p['d'] = d
        return SET
    """,
    "answers with much": """
        p['much'] = ['x' * (1 << 20)] * 200
        return SET
    """,
    "answers with an object": """
        p['o'] = object()
        return SET
    """,
    "answers with a type of its own": """
        class S(str):
            def __str__(self): import time; time.sleep(1000)
        p['s'] = S('x')
        return SET
    """,
    "answers with 10,001 events": """
        return CHILDREN(10_001)
    """,
    "closes our pipe": """
        import os
        os.close(1)
        return SET
    """,
    "closes our other pipe": """
        import os
        os.close(0)
        os.close(1)
        return SET
    """,
    "writes nonsense into our pipe": """
        import os
        os.write(1, b'\\xff' * 100_000)
        return SET
    """,
    "writes an answer of its own": """
        ANSWER(b'{"plain":0,"groups":[],"failed":[],"dropped":7,"printed":[],"sections":[12]}', bytes(12))
    """,
    "writes an answer with rows that were not sent": """
        ANSWER(b'{"plain":0,"groups":[],"failed":[],"dropped":0,"printed":[],"sections":[12]}', b'\\xff' * 12)
    """,
    "writes an answer with texts that end beyond it": """
        FIELD(b'"texts"', [12, 4], b'\\x00\\x00\\x00\\x10' + bytes(8) + b'abcd')
    """,
    "writes an answer that is no JSON": """
        import os
        t = b'cos\\nsystem\\n.'
        os.write(1, len(t).to_bytes(8, 'little') + t)
        os._exit(0)
    """,
    "writes an answer that nests": """
        import os
        t = b'[' * 1_000_000
        os.write(1, len(t).to_bytes(8, 'little'))
        while t: t = t[os.write(1, t):]
        import time
        time.sleep(1000)
    """,
    "asks for columns in the guest's place": """
        import os
        os.write(1, (4).to_bytes(8, 'little') + b'more')
        return SET
    """,
    "asks for columns without end": """
        import os
        while True: os.write(1, (4).to_bytes(8, 'little') + b'more')
    """,
    "writes without end": """
        import os
        os.write(1, (1 << 20).to_bytes(8, 'little'))
        while True: os.write(1, b' ')
    """,
    "writes a little, again and again": """
        import os, time
        os.write(1, (1 << 20).to_bytes(8, 'little'))
        while True: os.write(1, b' '); time.sleep(0.1)
    """,
    "promises more than it may send": """
        import os
        os.write(1, b'\\xff' * 8)
        import time
        time.sleep(1000)
    """,
    "prints without end": """
        while True: print('x' * 1000)
    """,
    "turns the watch back": """
        import gc, time
        views = [o for o in gc.get_objects() if type(o).__name__ == 'Work']
        n = 0
        while True:
            n += 1
            time.sleep(0.01)
            for v in views: v._progress[0] = n % 3
    """,
    "turns the watch on": """
        import gc, time
        views = [o for o in gc.get_objects() if type(o).__name__ == 'Work']
        n = 0
        while True:
            n += 1
            time.sleep(0.01)
            for v in views: v._progress[0] = n
    """,
    "patches what answers": """
        import json, sys
        main = sys.modules['__main__']
        main._write = lambda *a: None
        json.dumps = None
        return SET
    """,
    "becomes a program": """
        import os
        os.execv('/bin/sh', ['sh', '-c', 'echo out >&2; touch ' + HOST['written']])
    """,
    "asks for the kernel's log": """
        return libc().syscall(NR(103, 116), 10, None, 0) >= 0 or None
    """,
    "makes namespaces": """
        return libc().unshare(0x10000000) == 0 or None
    """,
    "opens a process by number": """
        return libc().syscall(434, HOST['victim'], 0) >= 0 or None
    """,
    "asks for a name of the machine that it sets": """
        import os
        return libc().syscall(NR(272, 97), 0x04000000) == 0 or None
    """,
    "sleeps through a userfault": """
        return libc().syscall(NR(323, 282), 0x80001) >= 0 or None
    """,
    "sets up a ring": """
        import ctypes
        return libc().syscall(425, 4, ctypes.create_string_buffer(120)) >= 0 or None
    """,
    "changes its user": """
        import os
        os.setuid(os.getuid())
        return os.getuid() + 1
    """,
    "calls by the numbers of another kernel": """
        return libc().syscall(0x40000000 + 39) > 0 or None
    """,
    "raises its limits": """
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return 'raised'
    """,
    "makes a key": """
        import ctypes
        return libc().syscall(NR(250, 219), 0, -1, 0, 0, 0) != -1 or None
    """,
    "reads the variables of its parent": """
        import os
        return open(f'/proc/{os.getppid()}/environ', 'rb').read()[:10]
    """,
    "signals by a group": """
        import os
        os.killpg(os.getpgid(HOST['victim']), 15)
        return 'sent'
    """,
    "changes its priority": """
        import os
        return os.nice(1)
    """,
    "pins itself to a processor": """
        import os
        os.sched_setaffinity(0, {0})
        return 'pinned'
    """,
    "watches files": """
        return libc().inotify_init() >= 0 or None
    """,
}
