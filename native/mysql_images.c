/* Where the values of rows of MySQL's binary log begin and end, as `located` of sources/mysql/log/locating.py finds them. */

#include <stdint.h>

#include "millrace.h"

/* Rows of like events: which columns are told in front and behind of a change; an image that is not there tells none. */
struct group {
    const uint8_t *told[2]; /* a byte for each column; NULL: there is no image */
};

struct event {
    int64_t start;
    int64_t end;
    int64_t group;
};

/* `fixed` bytes, or as many as the `prefix` bytes in front say. */
struct width {
    int32_t fixed;
    int32_t prefix;
};

/* By image, column and row; for what is not told they stay as they are. */
struct found {
    int64_t *start;
    int64_t *size;
    uint8_t *null;
    uint8_t *said;
    int64_t *event; /* of each row */
};

/* How many rows the events have, at most `rows` of which are written. -1: they do not end with the bytes. */
EXPORT int64_t millrace_mysql_locate(
    const uint8_t *bytes, int64_t size, const struct event *events, int64_t count, const struct group *groups,
    const struct width *widths, int64_t columns, int64_t rows, const struct found *found
) {
    int64_t row = 0;
    for (const struct event *event = events; event < events + count; event++) {
        int64_t at = event->start;
        const struct group *group = groups + event->group;
        while (at < event->end) {
            int64_t before = at;
            for (int image = 0; image < 2; image++) {
                const uint8_t *told = group->told[image];
                if (!told) continue;
                int64_t bits = at, number = 0;
                for (int64_t i = 0; i < columns; i++) number += told[i];
                at += (number + 7) / 8;
                if (at > size) return -1;
                number = 0;
                for (int64_t i = 0; i < columns; i++) {
                    if (!told[i]) continue;
                    int null = bytes[bits + (number >> 3)] >> (number & 7) & 1;
                    number++;
                    int64_t length = 0;
                    if (!null) {
                        int32_t prefix = widths[i].prefix;
                        if (size - at < prefix) return -1;
                        length = widths[i].fixed;
                        for (int32_t j = 0; j < prefix; j++) length |= (int64_t)bytes[at + j] << (8 * j);
                        at += prefix;
                    }
                    if (length > size - at) return -1;
                    if (row < rows) {
                        int64_t place = (image * columns + i) * rows + row;
                        found->start[place] = at;
                        found->size[place] = length;
                        found->null[place] = (uint8_t)null;
                        found->said[place] = 1;
                    }
                    at += length;
                }
            }
            if (at == before) return -1;
            if (row < rows) found->event[row] = event - events;
            row++;
        }
    }
    return row;
}
