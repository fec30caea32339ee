/* Digests of many short texts. */
#ifndef MILLRACE_DIGESTS_H
#define MILLRACE_DIGESTS_H

#include <stddef.h>
#include <stdint.h>

enum { SHA_LANES = 8, SHA_BLOCK = 64, SHA_PADDING = 72 };

/* What SHA-256 has behind a text is written behind it: the number of blocks. `text` needs SHA_PADDING more bytes. */
size_t sha256_padded(uint8_t *text, size_t length);

/* SHA-256 (FIPS 180-4) of up to SHA_LANES texts that are padded, 32 bytes each, one behind the other. */
void sha256_many(const uint8_t *const *texts, const size_t *blocks, size_t count, uint8_t *digests);

/* BLAKE2b (RFC 7693) with a digest of eight bytes and no key. */
void blake2b_8(const uint8_t *text, size_t length, uint8_t *digest);

#endif
