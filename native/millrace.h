/* What every file of the native library shares. Plain C11 without Python's headers: `ctypes` calls it, and lets go of
   Python's lock meanwhile. Functions are pure, over buffers that the caller owns; what they cannot do in full they answer
   with "not mine", and Python does it, whose way is the reference (docs/decisions/0018-native.md). */
#ifndef MILLRACE_H
#define MILLRACE_H

/* Everything else stays inside: the library is compiled with -fvisibility=hidden. */
#define EXPORT __attribute__((visibility("default")))

/* The number of these sources, by which Python knows its own library (tools/native.py, which gives MILLRACE_NATIVE_ABI). */
EXPORT int millrace_native_abi(void);

#endif
