/* What every file of the native library shares. Plain C11 without Python's headers: `ctypes` calls it, and lets go of
   Python's lock meanwhile. Functions are pure, over buffers that the caller owns; what they cannot do in full they answer
   with "not mine", and Python does it, whose way is the reference (docs/decisions/0018-native.md). */
#ifndef MILLRACE_H
#define MILLRACE_H

/* Everything else stays inside: the library is compiled with -fvisibility=hidden. */
#define EXPORT __attribute__((visibility("default")))

/* What Python and C agree on: one more whenever a function's arguments or their meaning change, here and in
   src/millrace/data/native.py. */
#define MILLRACE_NATIVE_ABI 2

EXPORT int millrace_native_abi(void);

#endif
