/* By this number Python knows whether the library is of its own version. */
#include "millrace.h"

int millrace_native_abi(void) { return MILLRACE_NATIVE_ABI; }
