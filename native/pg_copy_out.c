/* Rows of an Arrow record batch as the rows of PostgreSQL's binary COPY.
   Source: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"; each type's receiving function. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "millrace.h"

/* As in src/millrace/destinations/postgres/copying.py. */
enum kind { BOOLEAN, INT8, INT16, FIXED32, FIXED64, DAY, MOMENT, BYTES, JSONB, DECIMAL128, DECIMAL256 };

struct column {
    int32_t kind;
    int32_t scale;           /* of a decimal: digits behind the point */
    int64_t offset;          /* of the first row in the buffers */
    int64_t bytes;           /* how long `values` is */
    const uint8_t *validity; /* a bit for each row, or nothing where no row is NULL */
    const uint8_t *values;
    const uint8_t *ends; /* of values of any length: 32-bit offsets into `values` */
};

/* PostgreSQL counts from the year 2000. */
#define DAYS_TO_2000 10957
#define MICROS_TO_2000 INT64_C(946684800000000)

/* Digits to the base of 10,000, of 256 bits and up to three zeros behind. */
#define GROUPS 24
#define LIMBS 9
#define LONGEST (4 + 8 + 2 * GROUPS)

static uint8_t *put16(uint8_t *out, uint16_t value) {
    value = __builtin_bswap16(value);
    memcpy(out, &value, 2);
    return out + 2;
}

static uint8_t *put32(uint8_t *out, uint32_t value) {
    value = __builtin_bswap32(value);
    memcpy(out, &value, 4);
    return out + 4;
}

static uint8_t *put64(uint8_t *out, uint64_t value) {
    value = __builtin_bswap64(value);
    memcpy(out, &value, 8);
    return out + 8;
}

static uint16_t get16(const uint8_t *from) {
    uint16_t value;
    memcpy(&value, from, 2);
    return value;
}

static uint32_t get32(const uint8_t *from) {
    uint32_t value;
    memcpy(&value, from, 4);
    return value;
}

static uint64_t get64(const uint8_t *from) {
    uint64_t value;
    memcpy(&value, from, 8);
    return value;
}

static bool bit(const uint8_t *bits, int64_t at) { return bits[at >> 3] >> (at & 7) & 1; }

/* Bytes that a value of this kind takes in `values`; 0 where that differs. */
static int64_t width(int32_t kind) {
    switch (kind) {
    case INT8: return 1;
    case INT16: return 2;
    case FIXED32:
    case DAY: return 4;
    case FIXED64:
    case MOMENT: return 8;
    case DECIMAL128: return 16;
    case DECIMAL256: return 32;
    default: return 0;
    }
}

/* Whether row `at` of the buffers lies within them. */
static bool within(const struct column *column, int64_t at) {
    if (column->kind == BOOLEAN) return at >> 3 < column->bytes;
    int64_t wide = width(column->kind);
    if (wide) return at < column->bytes / wide;
    int32_t begin = (int32_t)get32(column->ends + 4 * at), end = (int32_t)get32(column->ends + 4 * at + 4);
    /* JSONB has a byte in front, and the length is 32 bits with a sign. */
    return begin >= 0 && begin <= end && end <= column->bytes && end - begin < INT32_MAX;
}

static uint64_t divided(uint32_t *limbs, int count, uint32_t by) {
    uint64_t rest = 0;
    for (int i = count - 1; i >= 0; i--) {
        rest = rest << 32 | limbs[i];
        limbs[i] = (uint32_t)(rest / by);
        rest %= by;
    }
    return rest;
}

/* Groups of four digits, the last ones first; what is left of `value` is none. */
static int grouped(const uint8_t *value, int words, bool negative, uint32_t zeros, uint16_t *groups) {
    uint32_t limbs[LIMBS] = {0};
    uint64_t carry = negative;
    for (int i = 0; i < words; i++) {
        uint32_t word = get32(value + 4 * i);
        carry += negative ? (uint32_t)~word : word;
        limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        carry += (uint64_t)limbs[i] * zeros;
        limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    int count = 0, used = LIMBS;
    while (used > 0 && !limbs[used - 1]) used--;
    /* Four groups at a time while there is more than a machine word. */
    while (used > 2) {
        uint32_t rest = (uint32_t)divided(limbs, used, 100000000);
        groups[count++] = (uint16_t)(rest % 10000);
        groups[count++] = (uint16_t)(rest / 10000);
        while (used > 0 && !limbs[used - 1]) used--;
    }
    for (uint64_t left = (uint64_t)limbs[1] << 32 | limbs[0]; left; left /= 10000) groups[count++] = left % 10000;
    return count;
}

static uint8_t *put_decimal(uint8_t *out, const uint8_t *value, int words, int32_t scale) {
    static const uint32_t powers[] = {1, 10, 100, 1000};
    uint16_t groups[GROUPS];
    bool negative = value[4 * words - 1] >> 7;
    int zeros = (4 - scale % 4) % 4, fraction = (scale + zeros) / 4;
    int count = grouped(value, words, negative, powers[zeros], groups), last = 0;
    while (count && !groups[count - 1]) count--;
    while (last < count && !groups[last]) last++;
    out = put32(out, (uint32_t)(8 + 2 * (count - last)));
    out = put16(out, (uint16_t)(count - last));
    out = put16(out, (uint16_t)(count ? count - fraction - 1 : 0));
    out = put16(out, negative ? 0x4000 : 0);
    out = put16(out, (uint16_t)scale);
    for (int i = count - 1; i >= last; i--) out = put16(out, groups[i]);
    return out;
}

static uint8_t *put_bytes(uint8_t *out, const struct column *column, int64_t at) {
    int32_t begin = (int32_t)get32(column->ends + 4 * at), length = (int32_t)get32(column->ends + 4 * at + 4) - begin;
    if (column->kind == JSONB) {
        out = put32(out, (uint32_t)length + 1);
        *out++ = 1; /* the version of the format */
    } else {
        out = put32(out, (uint32_t)length);
    }
    /* Without any bytes there may be no buffer either. */
    if (length) memcpy(out, column->values + begin, (size_t)length);
    return out + length;
}

/* The value behind its length; nothing where PostgreSQL has no such value. */
static uint8_t *put(uint8_t *out, const struct column *column, int64_t at) {
    const uint8_t *values = column->values;
    int32_t day;
    int64_t moment;
    switch (column->kind) {
    case BOOLEAN:
        out = put32(out, 1);
        *out++ = bit(values, at);
        return out;
    case INT8: return put16(put32(out, 2), (uint16_t)(int8_t)values[at]);
    case INT16: return put16(put32(out, 2), get16(values + 2 * at));
    case FIXED32: return put32(put32(out, 4), get32(values + 4 * at));
    case FIXED64: return put64(put32(out, 8), get64(values + 8 * at));
    case DAY:
        if (__builtin_sub_overflow((int32_t)get32(values + 4 * at), DAYS_TO_2000, &day)) return NULL;
        /* The ends of the range mean infinity there. */
        return day == INT32_MIN || day == INT32_MAX ? NULL : put32(put32(out, 4), (uint32_t)day);
    case MOMENT:
        if (__builtin_sub_overflow((int64_t)get64(values + 8 * at), MICROS_TO_2000, &moment)) return NULL;
        return moment == INT64_MIN || moment == INT64_MAX ? NULL : put64(put32(out, 8), (uint64_t)moment);
    case BYTES:
    case JSONB: return put_bytes(out, column, at);
    case DECIMAL128: return put_decimal(out, values + 16 * at, 4, column->scale);
    case DECIMAL256: return put_decimal(out, values + 32 * at, 8, column->scale);
    default: return NULL;
    }
}

/* Rows from `first` on into `out`, as many as have room; `next` is the first that had none. The bytes that were written;
   -1 where a value is none of PostgreSQL's, or does not lie in its buffers. */
EXPORT int64_t millrace_pg_copy_out(const struct column *columns, int32_t count, int64_t first, int64_t rows,
                                    uint8_t *out, int64_t room, int64_t *next) {
    uint8_t *to = out;
    int64_t row = first;
    for (; row < rows; row++) {
        /* The longest that any row is but for its text. */
        int64_t longest = 2 + (int64_t)count * LONGEST;
        for (int32_t i = 0; i < count; i++) {
            const struct column *column = &columns[i];
            int64_t at = column->offset + row;
            if (!within(column, at)) return -1;
            if (column->ends) longest += (int32_t)get32(column->ends + 4 * at + 4) - (int32_t)get32(column->ends + 4 * at);
        }
        if (longest > room - (to - out)) break;
        to = put16(to, (uint16_t)count);
        for (int32_t i = 0; i < count; i++) {
            const struct column *column = &columns[i];
            int64_t at = column->offset + row;
            if (column->validity && !bit(column->validity, at)) {
                to = put32(to, UINT32_MAX);
            } else if (!(to = put(to, column, at))) {
                return -1;
            }
        }
    }
    *next = row;
    return to - out;
}
