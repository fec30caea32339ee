/* Rows of MySQL's text protocol and of its binary protocol, as columns of Arrow.
 *
 * Sources: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html
 *
 * Two passes over the same bytes: `scan` finds whole rows and how many bytes each column has, so that the caller makes
 * buffers of just that size; `fill` writes them. A value that is not written as servers write it makes its column odd:
 * the caller asks for the column's bytes, and Python decides. Both passes look at nothing behind the bytes' end. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "millrace.h"

/* What `scan` came upon. */
enum { MORE, FULL, END, ERROR, LONG, ORDER, BROKEN };
/* What `fill` makes of a column. */
enum { LEFT, BYTES, TEXT, INT16, INT32, INT64, DECIMAL, FLAG, BIT, DAY, MOMENT, CLOCK, DOUBLE };
/* How the values of a column come in the binary protocol: as in the text protocol; as whole numbers of so many bytes,
 * with UNSIGNED beside it where they have no sign; others. */
enum { LETTERS, WHOLE = 15, UNSIGNED = 16, REAL = 32, DATE, DATETIME, TIME };

#define HEAD 4
#define LONGEST 0xFFFFFF

struct scan {
    int64_t at;       /* behind the last whole row; at the packet that ended the scan */
    int64_t last;     /* the packet of the last row */
    int64_t rows;
    int32_t sequence; /* the number that the next packet must have */
    int32_t width;
};

struct column {
    uint8_t *valid;  /* bits, zeros before */
    void *values;    /* numbers; bits, zeros before; rows + 1 offsets of 32 bits */
    uint8_t *data;   /* of texts and bytes */
    int64_t room;    /* bytes of `data` */
    int32_t kind;
    int32_t digits;  /* of a decimal */
    int32_t scale;
    int32_t odd;     /* told by `fill`, as are the next two */
    int64_t nulls;
    int64_t zeros;   /* dates without a day, which are null */
};

struct value {
    const uint8_t *at;
    int64_t size;    /* -1: NULL */
};

/* The next value of a row that ends at `end`; 0 where it does not fit in. */
static inline int next(const uint8_t **place, const uint8_t *end, struct value *value) {
    const uint8_t *at = *place;
    if (at >= end) return 0;
    uint64_t size = *at++;
    if (size >= 0xFB) {
        if (size == 0xFB) {
            *value = (struct value){at, -1};
            *place = at;
            return 1;
        }
        if (size == 0xFF) return 0;
        int count = size == 0xFC ? 2 : size == 0xFD ? 3 : 8;
        if (end - at < count) return 0;
        size = 0;
        for (int i = 0; i < count; i++) size |= (uint64_t)at[i] << (8 * i);
        at += count;
    }
    if (size > (uint64_t)(end - at)) return 0;
    *value = (struct value){at, (int64_t)size};
    *place = at + size;
    return 1;
}

/* A row of which values are taken one by one. `wires`: how they come in the binary protocol; of the text protocol NULL. */
struct row {
    const uint8_t *at;
    const uint8_t *end;
    const uint8_t *nulls;
    const uint8_t *wires;
};

static int begun(struct row *row, const uint8_t *at, int64_t size, int32_t width, const uint8_t *wires) {
    *row = (struct row){at, at + size, at + 1, wires};
    if (!wires) return 1;
    /* A byte, and a bit of each value behind two others. */
    int64_t front = 1 + (width + 9) / 8;
    if (size < front || *at) return 0;
    row->at += front;
    return 1;
}

static inline int taken(struct row *row, int32_t place, struct value *value) {
    if (!row->wires) return next(&row->at, row->end, value);
    if (row->nulls[(place + 2) >> 3] >> ((place + 2) & 7) & 1) {
        *value = (struct value){row->at, -1};
        return 1;
    }
    uint8_t wire = row->wires[place];
    if (wire == LETTERS) return next(&row->at, row->end, value) && value->size >= 0;
    if (row->at == row->end) return 0;
    int64_t size = wire < REAL ? wire & WHOLE : wire == REAL ? 8 : *row->at++;
    if (size > row->end - row->at) return 0;
    /* What is zero at the end of a day or a time is left out. */
    if (wire == TIME && size && size != 8 && size != 12) return 0;
    if ((wire == DATE || wire == DATETIME) && size && size != 4 && size != 7 && size != 11) return 0;
    *value = (struct value){row->at, size};
    row->at += size;
    return 1;
}

static inline int64_t length(const uint8_t *head) {
    return head[0] | head[1] << 8 | (int64_t)head[2] << 16;
}

/* Whole rows from `scan->at` on, until they are `most` bytes. `sizes`: what the values of each column take, added up. */
EXPORT int32_t millrace_mysql_scan(
    const uint8_t *bytes, int64_t size, int64_t most, struct scan *scan, int64_t *sizes, const uint8_t *wires
) {
    for (;;) {
        if (scan->at >= most) return FULL;
        const uint8_t *head = bytes + scan->at;
        int64_t left = size - scan->at - HEAD;
        if (left < 0) return MORE;
        int64_t count = length(head);
        if (count == LONGEST) return head[3] == scan->sequence ? LONG : ORDER;
        if (left < count) return MORE;
        const uint8_t *at = head + HEAD;
        if (!count) return BROKEN;
        /* A server that is shut down numbers its last words from 0. */
        if (*at == 0xFF) return ERROR;
        if (head[3] != scan->sequence) return ORDER;
        /* Of this many bytes no value is so long that it begins so. The driver does not ask for ends of another form. */
        if (*at == 0xFE && count < 9) return END;
        struct row row;
        if (!begun(&row, at, count, scan->width, wires)) return BROKEN;
        struct value value;
        for (int32_t i = 0; i < scan->width; i++) {
            if (!taken(&row, i, &value)) return BROKEN;
            if (value.size > 0) sizes[i] += value.size;
        }
        if (row.at != row.end) return BROKEN;
        scan->last = scan->at;
        scan->at += HEAD + count;
        scan->rows++;
        scan->sequence = (scan->sequence + 1) & 0xFF;
    }
}

/* Texts. */

static int utf8(const uint8_t *at, const uint8_t *end) {
    while (at < end) {
        uint8_t first = *at++;
        if (first < 0x80) continue;
        int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
        if (first < 0xC2 || first > 0xF4 || end - at < more) return 0;
        /* Overlong forms, surrogates, and what is behind the last letter show in the second byte. */
        uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
        if (*at < low || *at > high) return 0;
        at++;
        for (int i = 1; i < more; i++) {
            if ((*at++ & 0xC0) != 0x80) return 0;
        }
    }
    return 1;
}

/* Copies, and says whether there is a byte of more than seven bits. */
static inline int copied(uint8_t *to, const uint8_t *from, int64_t size) {
    uint64_t all = 0, word;
    if (size >= 8) {
        int64_t i = 0;
        for (; i + 8 <= size; i += 8) {
            memcpy(&word, from + i, 8);
            memcpy(to + i, &word, 8);
            all |= word;
        }
        memcpy(&word, from + size - 8, 8);
        memcpy(to + size - 8, &word, 8);
        all |= word;
    } else {
        for (int64_t i = 0; i < size; i++) all |= to[i] = from[i];
    }
    return (all & 0x8080808080808080u) != 0;
}

/* Numbers. */

static inline int digit(uint8_t byte) { return (uint8_t)(byte - '0') < 10; }

static int whole(struct value value, int64_t least, int64_t most, int64_t *number) {
    const uint8_t *at = value.at, *end = at + value.size;
    int minus = at < end && *at == '-';
    at += minus;
    /* 19 digits are below 2 ** 64. */
    if (at == end || end - at > 19) return 0;
    uint64_t sum = 0;
    for (; at < end; at++) {
        if (!digit(*at)) return 0;
        sum = sum * 10 + (*at - '0');
    }
    if (sum > (uint64_t)most + (minus ? 1 : 0)) return 0;
    *number = minus ? (int64_t)(0 - sum) : (int64_t)sum;
    return *number >= least && *number <= most;
}

static int decimal(struct value value, int32_t digits, int32_t scale, uint8_t *to) {
    const uint8_t *at = value.at, *end = at + value.size;
    int minus = at < end && *at == '-';
    at += minus;
    if (end - at <= (scale ? scale + 1 : 0)) return 0;
    const uint8_t *point = scale ? end - scale - 1 : end;
    if (scale && *point != '.') return 0;
    unsigned __int128 sum = 0;
    uint64_t low = 0, weight = 1;
    int32_t significant = 0;
    for (; at < end; at++) {
        if (at == point) continue;
        if (!digit(*at)) return 0;
        significant += significant || *at != '0';
        if (significant > digits) return 0;
        low = low * 10 + (*at - '0');
        weight *= 10;
        /* As many digits as 64 bits surely have room for. */
        if (weight == 1000000000000000000u) {
            sum = sum * weight + low;
            low = 0;
            weight = 1;
        }
    }
    sum = sum * weight + low;
    if (minus) sum = 0 - sum;
    memcpy(to, &sum, 16);
    return 1;
}

/* Moments. */

static int two(const uint8_t *at) { return digit(at[0]) && digit(at[1]) ? (at[0] - '0') * 10 + at[1] - '0' : -1; }

static int without_day(struct value value) {
    const uint8_t *at = value.at;
    return value.size >= 10 &&
           (!memcmp(at, "0000", 4) || (at[5] == '0' && at[6] == '0') || (at[8] == '0' && at[9] == '0'));
}

/* Days since 1970. */
static int days_of(int year, int month, int date, int64_t *days) {
    static const uint8_t LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12 || date < 1 || year > 9999) return 0;
    int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (date > LENGTHS[month - 1] + (leap && month == 2)) return 0;
    /* Years that begin in March have their odd day at the end. */
    int from = year - (month < 3), since = month < 3 ? month + 9 : month - 3;
    *days = 365 * from + from / 4 - from / 100 + from / 400 + (153 * since + 2) / 5 + date - 1 - 719468;
    return 1;
}

/* The same of YYYY-MM-DD, which is ten bytes. */
static int day(const uint8_t *at, int64_t *days) {
    int century = two(at), year = two(at + 2);
    if (century < 0 || year < 0 || at[4] != '-' || at[7] != '-') return 0;
    return days_of(century * 100 + year, two(at + 5), two(at + 8), days);
}

/* Microseconds of HH:MM:SS, with up to six digits behind a point. */
static int clock_of(const uint8_t *at, int64_t size, int64_t *micros) {
    if (size < 8 || size == 9 || size > 15 || at[2] != ':' || at[5] != ':') return 0;
    int hours = two(at), minutes = two(at + 3), seconds = two(at + 6);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || seconds < 0 || seconds > 59) return 0;
    int64_t part = 0;
    if (size > 8) {
        if (at[8] != '.') return 0;
        for (int64_t i = 9; i < 15; i++) {
            if (i < size && !digit(at[i])) return 0;
            part = part * 10 + (i < size ? at[i] - '0' : 0);
        }
    }
    *micros = (hours * 3600 + minutes * 60 + seconds) * (int64_t)1000000 + part;
    return 1;
}

static int moment(struct value value, int64_t *micros) {
    int64_t days, within;
    if (value.size < 19 || (value.at[10] != ' ') || !day(value.at, &days)) return 0;
    if (!clock_of(value.at + 11, value.size - 11, &within)) return 0;
    *micros = days * (int64_t)86400000000 + within;
    return 1;
}

static inline void set(uint8_t *bits, int64_t place) { bits[place >> 3] |= (uint8_t)(1 << (place & 7)); }

/* One value that is not NULL; 0 where it is odd. */
static inline int put(struct column *column, int64_t row, struct value value) {
    int64_t number = 0;
    switch (column->kind) {
    case BYTES:
    case TEXT: {
        int32_t *offsets = column->values;
        int64_t start = offsets[row];
        if (value.size > column->room - start) return 0;
        uint8_t *to = column->data + start;
        if (copied(to, value.at, value.size) && column->kind == TEXT && !utf8(to, to + value.size)) return 0;
        offsets[row + 1] = (int32_t)(start + value.size);
        return 1;
    }
    case INT16:
        if (!whole(value, INT16_MIN, INT16_MAX, &number)) return 0;
        ((int16_t *)column->values)[row] = (int16_t)number;
        return 1;
    case INT32:
        if (!whole(value, INT32_MIN, INT32_MAX, &number)) return 0;
        ((int32_t *)column->values)[row] = (int32_t)number;
        return 1;
    case INT64:
        if (!whole(value, INT64_MIN, INT64_MAX, &number)) return 0;
        ((int64_t *)column->values)[row] = number;
        return 1;
    case DECIMAL:
        return decimal(value, column->digits, column->scale, (uint8_t *)column->values + 16 * row);
    case FLAG:
        if (value.size != 1 || (*value.at != '0' && *value.at != '1')) return 0;
        if (*value.at == '1') set(column->values, row);
        return 1;
    case BIT:
        if (value.size != 1) return 0;
        if (*value.at) set(column->values, row);
        return 1;
    case DAY:
        if (value.size != 10 || !day(value.at, &number)) return 0;
        ((int32_t *)column->values)[row] = (int32_t)number;
        return 1;
    case MOMENT:
        if (!moment(value, &number)) return 0;
        ((int64_t *)column->values)[row] = number;
        return 1;
    case CLOCK:
        if (!clock_of(value.at, value.size, &number)) return 0;
        ((int64_t *)column->values)[row] = number;
        return 1;
    default:
        return 0;
    }
}

/* Values of the binary protocol. */

/* Microseconds of three bytes, and of four more where there are any. */
static int binary_micros(const uint8_t *at, int with_part, int64_t *micros) {
    uint32_t part = 0;
    if (with_part) memcpy(&part, at + 3, 4);
    if (at[0] > 23 || at[1] > 59 || at[2] > 59 || part > 999999) return 0;
    *micros = (at[0] * 3600 + at[1] * 60 + at[2]) * (int64_t)1000000 + part;
    return 1;
}

static int binary_day(struct value value, int64_t *days) {
    return days_of(value.at[0] | value.at[1] << 8, value.at[2], value.at[3], days);
}

/* A date without a day, which may have no bytes at all. */
static int zero_date(struct value value, uint8_t wire) {
    if (wire == LETTERS) return without_day(value);
    if (wire != DATE && wire != DATETIME) return 0;
    return value.size < 4 || !(value.at[0] | value.at[1]) || !value.at[2] || !value.at[3];
}

/* What is no zero date has four bytes at least. */
static int binary_moment(struct value value, int64_t *micros) {
    int64_t days, within = 0;
    if (!binary_day(value, &days)) return 0;
    if (value.size > 4 && !binary_micros(value.at + 4, value.size > 7, &within)) return 0;
    *micros = days * (int64_t)86400000000 + within;
    return 1;
}

/* A time of a day: without a sign, and without days. */
static int binary_clock(struct value value, int64_t *micros) {
    *micros = 0;
    if (!value.size) return 1;
    uint32_t days;
    memcpy(&days, value.at + 1, 4);
    return !value.at[0] && !days && binary_micros(value.at + 5, value.size > 8, micros);
}

static __int128 number_of(struct value value, uint8_t wire) {
    uint64_t number = 0;
    for (int64_t i = 0; i < value.size; i++) number |= (uint64_t)value.at[i] << (8 * i);
    if (wire & UNSIGNED) return (__int128)number;
    int unused = (int)(64 - 8 * value.size);
    return (__int128)((int64_t)(number << unused) >> unused);
}

static int has_digits(__int128 number, int32_t digits) {
    __int128 most = 1;
    /* No more digits than 64 bits may have. */
    for (int32_t i = 0; i < digits && i < 20; i++) most *= 10;
    return number < most && number > -most;
}

static int put_number(struct column *column, int64_t row, __int128 number) {
    switch (column->kind) {
    case INT16:
        if (number < INT16_MIN || number > INT16_MAX) return 0;
        ((int16_t *)column->values)[row] = (int16_t)number;
        return 1;
    case INT32:
        if (number < INT32_MIN || number > INT32_MAX) return 0;
        ((int32_t *)column->values)[row] = (int32_t)number;
        return 1;
    case INT64:
        if (number < INT64_MIN || number > INT64_MAX) return 0;
        ((int64_t *)column->values)[row] = (int64_t)number;
        return 1;
    case DECIMAL:
        if (column->scale || !has_digits(number, column->digits)) return 0;
        memcpy((uint8_t *)column->values + 16 * row, &number, 16);
        return 1;
    case FLAG:
        if (number != 0 && number != 1) return 0;
        if (number) set(column->values, row);
        return 1;
    default:
        return 0;
    }
}

/* One value that is not NULL; 0 where it is odd, or of another kind than it comes. */
static inline int put_binary(struct column *column, int64_t row, struct value value, uint8_t wire) {
    int64_t number = 0;
    if (wire == LETTERS) return put(column, row, value);
    if (wire < REAL) return put_number(column, row, number_of(value, wire));
    switch (column->kind) {
    case DOUBLE:
        if (wire != REAL) return 0;
        memcpy((double *)column->values + row, value.at, 8);
        return 1;
    case DAY:
        if (wire != DATE || !binary_day(value, &number)) return 0;
        ((int32_t *)column->values)[row] = (int32_t)number;
        return 1;
    case MOMENT:
        if (wire != DATETIME || !binary_moment(value, &number)) return 0;
        ((int64_t *)column->values)[row] = number;
        return 1;
    case CLOCK:
        if (wire != TIME || !binary_clock(value, &number)) return 0;
        ((int64_t *)column->values)[row] = number;
        return 1;
    default:
        return 0;
    }
}

/* Columns of the rows that `scan` found in these bytes. How many rows there were, all of them where nothing is amiss. */
EXPORT int64_t millrace_mysql_fill(
    const uint8_t *bytes, int64_t size, int64_t rows, int32_t width, struct column *columns, const uint8_t *wires
) {
    const uint8_t *place = bytes, *behind = bytes + size;
    for (int64_t row = 0; row < rows; row++) {
        if (behind - place < HEAD || behind - place - HEAD < length(place)) return row;
        struct row values;
        if (!begun(&values, place + HEAD, length(place), width, wires)) return row;
        place = values.end;
        for (int32_t i = 0; i < width; i++) {
            struct column *column = columns + i;
            uint8_t wire = wires ? wires[i] : LETTERS;
            struct value value;
            if (!taken(&values, i, &value)) return row;
            if (column->kind == LEFT || column->odd) continue;
            int zero = (column->kind == DAY || column->kind == MOMENT) && value.size >= 0 && zero_date(value, wire);
            if (value.size < 0 || zero) {
                column->nulls++;
                column->zeros += zero;
                if (column->kind == BYTES || column->kind == TEXT) {
                    int32_t *offsets = column->values;
                    offsets[row + 1] = offsets[row];
                }
                continue;
            }
            if (put_binary(column, row, value, wire)) {
                set(column->valid, row);
            } else {
                column->odd = 1;
            }
        }
    }
    return rows;
}
