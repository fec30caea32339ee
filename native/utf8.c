#include "utf8.h"

#include <string.h>

static inline bool follows(uint8_t byte) { return (byte & 0xC0) == 0x80; }

/* The length of the character at `at`, 0 where there is none. */
static size_t character(const uint8_t *at, size_t left) {
    uint8_t first = at[0];
    if (first < 0x80) return 1;
    if (first < 0xC2 || first > 0xF4) return 0;
    if (left < 2 || !follows(at[1])) return 0;
    if (first < 0xE0) return 2;
    if (left < 3 || !follows(at[2])) return 0;
    if (first == 0xE0 && at[1] < 0xA0) return 0; /* could be shorter */
    if (first == 0xED && at[1] >= 0xA0) return 0; /* surrogates */
    if (first < 0xF0) return 3;
    if (left < 4 || !follows(at[3])) return 0;
    if (first == 0xF0 && at[1] < 0x90) return 0; /* could be shorter */
    if (first == 0xF4 && at[1] >= 0x90) return 0; /* beyond the last character */
    return 4;
}

bool is_utf8(const uint8_t *at, size_t length) {
    const uint8_t *end = at + length;
    while (at < end) {
        while (end - at >= 32) {
            uint64_t words[4];
            memcpy(words, at, sizeof words);
            if ((words[0] | words[1] | words[2] | words[3]) & 0x8080808080808080u) break;
            at += 32;
        }
        const uint8_t *stop = end - at > 32 ? at + 32 : end;
        while (at < stop) {
            size_t size = character(at, (size_t)(end - at));
            if (!size) return false;
            at += size;
        }
    }
    return true;
}
