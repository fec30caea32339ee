/* Whether bytes are UTF-8 (RFC 3629). */
#ifndef MILLRACE_UTF8_H
#define MILLRACE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool is_utf8(const uint8_t *at, size_t length);

#endif
