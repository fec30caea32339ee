/* Rows of PostgreSQL's binary COPY as the buffers of Arrow columns.
 *
 * Format: https://www.postgresql.org/docs/current/sql-copy.html (binary), values as the server's *_send functions write
 * them. libpq hands over one message after the other, by the function that the caller names, so that encryption,
 * keepalives and errors stay libpq's. All buffers are the caller's. What is not as expected here ends the reading: the
 * caller says so, and no row is lost in silence. */

#include <stdint.h>
#include <string.h>

#include "millrace.h"

enum kind { BIT, WIDTH_2, WIDTH_4, WIDTH_8, DAY, MOMENT, BYTES, JSONB, UUID, NUMBER, DECIMAL };
enum answer { FULL = 0, ENDED = 1, ROOM = 2, FOREIGN = 3 };

/* One column. `values`: of BYTES to NUMBER the offsets, of the others the values themselves. `room`: bytes of `text`. */
struct pg_column {
    int32_t kind, scale;
    uint8_t *valid;
    uint8_t *values;
    uint8_t *text;
    int64_t room;
    int64_t odd; /* numbers that no decimal is */
};

/* The reading, from one call to the next. `wanting`: the column that lacks room, and how much it needs in all. */
struct pg_copy {
    void *connection;
    int (*get)(void *connection, char **message, int wait_not);
    void (*release)(void *message);
    char *message;
    int32_t size, at;
    int32_t columns, wanting;
    int64_t needed;
    int64_t rows, most_rows, bytes, most_bytes;
    int32_t begun, over;
};

static uint16_t u16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static uint32_t u32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
static uint64_t u64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}

/* NUMERIC: count of digits, weight of the first, sign, digits behind the point; digits to the base 10,000. */
struct number {
    const uint8_t *digits;
    int32_t count, weight, scale;
    uint16_t sign;
};
enum { MINUS = 0x4000, NAN_ = 0xC000, PLUS_INFINITY = 0xD000, MINUS_INFINITY = 0xF000 };

static int number_of(const uint8_t *p, int32_t size, struct number *n) {
    if (size < 8) return 0;
    n->count = u16(p);
    n->weight = (int16_t)u16(p + 2);
    n->sign = u16(p + 4);
    n->scale = u16(p + 6);
    n->digits = p + 8;
    if (size != 8 + 2 * n->count || n->scale > 0x3FFF) return 0;
    for (int32_t i = 0; i < n->count; i++)
        if (u16(n->digits + 2 * i) > 9999) return 0;
    return n->sign == 0 || n->sign == MINUS || n->sign == NAN_ || n->sign == PLUS_INFINITY || n->sign == MINUS_INFINITY;
}

static uint32_t group_of(const struct number *n, int32_t place) {
    int32_t i = n->weight - place; /* place: the power of 10,000 */
    return i >= 0 && i < n->count ? u16(n->digits + 2 * i) : 0;
}

static int64_t most_letters(const struct number *n) {
    return 8 + 4 * (int64_t)(n->weight > 0 ? n->weight : 0) + 4 + n->scale + 4;
}

/* In plain notation, with as many digits behind the point as the server would write. */
static int64_t number_text(const struct number *n, uint8_t *out) {
    uint8_t *p = out;
    if (n->sign == NAN_) return memcpy(out, "nan", 3), 3;
    if (n->sign == PLUS_INFINITY) return memcpy(out, "inf", 3), 3;
    if (n->sign == MINUS_INFINITY) return memcpy(out, "-inf", 4), 4;
    if (n->sign == MINUS) *p++ = '-';
    if (n->weight < 0) *p++ = '0';
    for (int32_t place = n->weight; place >= 0; place--) {
        uint32_t v = group_of(n, place);
        int leading = place == n->weight;
        if (!leading || v >= 1000) *p++ = (uint8_t)('0' + v / 1000);
        if (!leading || v >= 100) *p++ = (uint8_t)('0' + v / 100 % 10);
        if (!leading || v >= 10) *p++ = (uint8_t)('0' + v / 10 % 10);
        *p++ = (uint8_t)('0' + v % 10);
    }
    if (n->scale > 0) {
        *p++ = '.';
        uint8_t *end = p + n->scale;
        for (int32_t place = -1; p < end; place--) {
            uint32_t v = group_of(n, place);
            *p++ = (uint8_t)('0' + v / 1000);
            *p++ = (uint8_t)('0' + v / 100 % 10);
            *p++ = (uint8_t)('0' + v / 10 % 10);
            *p++ = (uint8_t)('0' + v % 10);
        }
        p = end;
    }
    return p - out;
}

/* A decimal of 128 bits with `scale` digits behind the point. 0 where it does not fit, which its type rules out. */
static int number_decimal(const struct number *n, int32_t scale, uint8_t *out, int64_t *odd) {
    unsigned __int128 v = 0;
    const unsigned __int128 most = ((unsigned __int128)1 << 127) - 1;
    if (n->sign != 0 && n->sign != MINUS) {
        *odd += 1;
        v = (unsigned __int128)1 << 127; /* no decimal of 38 digits */
        memcpy(out, &v, 16);
        return n->sign == NAN_;
    }
    if (n->weight > 9) return 0;
    int32_t last = n->weight - n->count + 1; /* the place of the last digit */
    int32_t places = -((scale + 3) / 4);     /* that of the last one that the scale has room for */
    for (int32_t place = last; place < places; place++)
        if (group_of(n, place) != 0) return 0;
    for (int32_t place = n->weight; place >= places; place--) {
        uint32_t group = group_of(n, place), times = 10000;
        if (place == places && scale % 4 != 0) {
            uint32_t beyond = scale % 4 == 1 ? 1000 : scale % 4 == 2 ? 100 : 10;
            if (group % beyond != 0) return 0;
            group /= beyond;
            times /= beyond;
        }
        if (v > (most - group) / times) return 0;
        v = v * times + group;
    }
    /* A number that is 0 in front of its first digit has no groups there. */
    if (n->sign == MINUS) v = -v;
    memcpy(out, &v, 16);
    return 1;
}

static void uuid_text(const uint8_t *p, uint8_t *out) {
    static const char digit[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
        *out++ = (uint8_t)digit[p[i] >> 4];
        *out++ = (uint8_t)digit[p[i] & 15];
    }
}

/* Seconds of the days from 1970 to 2000, where the server counts from. Infinities wrap around, to before it all. */
static const uint32_t DAYS = 10957;
static const uint64_t MICROS = 946684800000000;

/* One value into its place. `used`: bytes of text in front of it, and then with it. */
static enum answer put(struct pg_copy *copy, struct pg_column *c, int32_t column, const uint8_t *p, int32_t size,
                       int64_t *used) {
    int64_t row = copy->rows;
    struct number n;
    int64_t wanted = 0;
    switch (c->kind) {
    case BIT:
        if (size != 1) return FOREIGN;
        if (*p) c->values[row >> 3] |= (uint8_t)(1 << (row & 7));
        break;
    case WIDTH_2: {
        if (size != 2) return FOREIGN;
        uint16_t v = u16(p);
        memcpy(c->values + 2 * row, &v, 2);
        break;
    }
    case WIDTH_4:
    case DAY: {
        if (size != 4) return FOREIGN;
        uint32_t v = u32(p) + (c->kind == DAY ? DAYS : 0);
        memcpy(c->values + 4 * row, &v, 4);
        break;
    }
    case WIDTH_8:
    case MOMENT: {
        if (size != 8) return FOREIGN;
        uint64_t v = u64(p) + (c->kind == MOMENT ? MICROS : 0);
        memcpy(c->values + 8 * row, &v, 8);
        break;
    }
    case DECIMAL:
        if (!number_of(p, size, &n) || !number_decimal(&n, c->scale, c->values + 16 * row, &c->odd)) return FOREIGN;
        break;
    case JSONB: /* behind the number of its version */
        if (size < 1 || *p != 1) return FOREIGN;
        p++, size--;
        wanted = size;
        break;
    case BYTES:
        wanted = size;
        break;
    case UUID:
        if (size != 16) return FOREIGN;
        wanted = 36;
        break;
    case NUMBER:
        if (!number_of(p, size, &n)) return FOREIGN;
        wanted = most_letters(&n);
        break;
    default:
        return FOREIGN;
    }
    if (wanted > c->room - *used) {
        copy->wanting = column;
        copy->needed = *used + wanted;
        return *used + wanted > INT32_MAX ? FOREIGN : ROOM;
    }
    uint8_t *out = c->text + *used;
    if (c->kind == UUID)
        uuid_text(p, out);
    else if (c->kind == NUMBER)
        wanted = number_text(&n, out);
    else if (wanted)
        memcpy(out, p, (size_t)wanted);
    *used += wanted;
    c->valid[row >> 3] |= (uint8_t)(1 << (row & 7));
    return FULL;
}

/* The row at `copy->at`. Where it lacks room, nothing of it counts, and it is read again. */
static enum answer row_of(struct pg_copy *copy, struct pg_column *columns) {
    const uint8_t *p = (const uint8_t *)copy->message + copy->at, *end = (const uint8_t *)copy->message + copy->size;
    int64_t row = copy->rows, bytes = 0;
    p += 2;
    for (int32_t i = 0; i < copy->columns; i++) {
        struct pg_column *c = &columns[i];
        if (end - p < 4) return FOREIGN;
        int32_t size = (int32_t)u32(p), before = 0;
        int varies = c->kind >= BYTES && c->kind <= NUMBER;
        p += 4;
        if (varies) memcpy(&before, c->values + 4 * row, 4);
        int64_t used = before;
        if (size >= 0) {
            if (end - p < size) return FOREIGN;
            enum answer how = put(copy, c, i, p, size, &used);
            if (how != FULL) return how;
            p += size;
        } else if (size != -1) {
            return FOREIGN;
        }
        if (varies) {
            int32_t after = (int32_t)used;
            memcpy(c->values + 4 * (row + 1), &after, 4);
            bytes += used - before + 4;
        } else {
            bytes += 8;
        }
    }
    copy->at = (int32_t)(p - (const uint8_t *)copy->message);
    copy->rows++;
    copy->bytes += bytes;
    return FULL;
}

/* Reads rows until enough are there (FULL), a column lacks room (ROOM), libpq has no more, by its end or an error
 * (ENDED), or something comes that is not what was asked for (FOREIGN). */
EXPORT int millrace_pg_copy(struct pg_copy *copy, struct pg_column *columns) {
    static const char signature[11] = "PGCOPY\n\377\r\n";
    for (;;) {
        if (copy->message == NULL) {
            copy->size = copy->get(copy->connection, &copy->message, 0);
            copy->at = 0;
            if (copy->size < 0) {
                copy->message = NULL;
                return ENDED;
            }
        }
        if (!copy->begun) {
            const uint8_t *p = (const uint8_t *)copy->message;
            /* No flags, and nothing of a later version behind. */
            if (copy->size < 19 || memcmp(p, signature, 11) || u32(p + 11) || u32(p + 15)) return FOREIGN;
            copy->at = 19;
            copy->begun = 1;
        }
        while (copy->at < copy->size) {
            if (copy->rows >= copy->most_rows || copy->bytes >= copy->most_bytes) return FULL;
            if (copy->over || copy->size - copy->at < 2) return FOREIGN;
            int32_t fields = (int16_t)u16((const uint8_t *)copy->message + copy->at);
            if (fields == -1) {
                copy->over = 1;
                copy->at += 2;
                continue;
            }
            if (fields != copy->columns) return FOREIGN;
            enum answer how = row_of(copy, columns);
            if (how != FULL) return how;
        }
        copy->release(copy->message);
        copy->message = NULL;
    }
}

/* What the server remarks goes nowhere; libpq would write it to the standard error. */
EXPORT void millrace_pg_quiet(void *_, const char *__) {
    (void)_;
    (void)__;
}
