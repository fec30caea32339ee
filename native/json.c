#include "json.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t ONES = 0x0101010101010101u, HIGH = 0x8080808080808080u;

/* Whether some of eight bytes is a quote, a backslash or below a blank; now and then where a byte is not ASCII. */
static inline bool special(uint64_t word) {
    uint64_t quote = word ^ (ONES * '"'), slash = word ^ (ONES * '\\');
    return (((quote - ONES) & ~quote) | ((slash - ONES) & ~slash) | ((word - ONES * 0x20) & ~word)) & HIGH;
}

static int hex_digit(uint8_t letter) {
    if (letter >= '0' && letter <= '9') return letter - '0';
    letter |= 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* The number in the four letters at `at`, -1 where they are no hexadecimal digits. */
static int32_t hex_number(const uint8_t *at) {
    int32_t number = 0;
    for (int place = 0; place < 4; place++) {
        int digit = hex_digit(at[place]);
        if (digit < 0) return -1;
        number = number * 16 + digit;
    }
    return number;
}

/* The escape at `at`, which is a backslash: its length, 0 where it is none. A surrogate counts with its other half. */
static size_t escape_length(const uint8_t *at, const uint8_t *end) {
    if (end - at < 2) return 0;
    if (at[1] != 'u') return memchr("\"\\/bfnrt", at[1], 8) ? 2 : 0;
    if (end - at < 6) return 0;
    int32_t number = hex_number(at + 2);
    if (number < 0 || (number >= 0xDC00 && number < 0xE000)) return 0;
    if (number < 0xD800 || number >= 0xE000) return 6;
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u') return 0;
    number = hex_number(at + 8);
    return number >= 0xDC00 && number < 0xE000 ? 12 : 0;
}

bool json_string(Json *json, JsonText *text) {
    if (!json_begins(json, '"')) return false;
    const uint8_t *at = json->at + 1, *end = json->end;
    text->from = at;
    text->escaped = false;
    for (;;) {
        while (end - at >= 8) {
            uint64_t word;
            memcpy(&word, at, 8);
            if (special(word)) break;
            at += 8;
        }
        /* The special one is among the next eight; if it was none, the next round looks further. */
        const uint8_t *stop = end - at >= 8 ? at + 8 : end;
        while (at < stop && *at != '"' && *at != '\\' && *at >= 0x20) at++;
        if (at == end) return false;
        if (at == stop) continue;
        if (*at == '"') break;
        if (*at != '\\') return false;
        size_t length = escape_length(at, end);
        if (!length) return false;
        text->escaped = true;
        at += length;
    }
    text->to = at;
    json->at = at + 1;
    return true;
}

static inline bool is_digit(const uint8_t *at, const uint8_t *end) { return at < end && *at >= '0' && *at <= '9'; }

static bool skip_number(Json *json) {
    const uint8_t *at = json->at, *end = json->end;
    if (at < end && *at == '-') at++;
    if (!is_digit(at, end)) return false;
    if (*at == '0') at++;
    else
        while (is_digit(at, end)) at++;
    if (at < end && *at == '.') {
        if (!is_digit(++at, end)) return false;
        while (is_digit(at, end)) at++;
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        if (!is_digit(at, end)) return false;
        while (is_digit(at, end)) at++;
    }
    json->at = at;
    return true;
}

static bool skip_word(Json *json, const char *word, ptrdiff_t length) {
    if (json->end - json->at < length || memcmp(json->at, word, (size_t)length) != 0) return false;
    json->at += length;
    return true;
}

/* A value that is no string, object or list. */
static bool skip_plain(Json *json) {
    if (json_begins(json, 't')) return skip_word(json, "true", 4);
    if (json_begins(json, 'f')) return skip_word(json, "false", 5);
    if (json_begins(json, 'n')) return skip_word(json, "null", 4);
    return skip_number(json);
}

bool json_skip(Json *json, int depth) {
    JsonText text;
    if (json_begins(json, '"')) return json_string(json, &text);
    bool object = json_begins(json, '{');
    if (!object && !json_begins(json, '[')) return skip_plain(json);
    if (depth >= JSON_DEPTH) return false;
    json->at++;
    json_blank(json);
    uint8_t last = object ? '}' : ']';
    if (json_begins(json, last)) {
        json->at++;
        return true;
    }
    for (;;) {
        if (object) {
            if (!json_string(json, &text)) return false;
            json_blank(json);
            if (!json_token(json, ':')) return false;
        }
        if (!json_skip(json, depth + 1)) return false;
        json_blank(json);
        if (json_begins(json, last)) break;
        if (!json_token(json, ',')) return false;
    }
    json->at++;
    return true;
}

static uint8_t *write_utf8(uint8_t *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (uint8_t)code;
    } else if (code < 0x800) {
        *to++ = (uint8_t)(0xC0 | code >> 6);
        *to++ = (uint8_t)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *to++ = (uint8_t)(0xE0 | code >> 12);
        *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        *to++ = (uint8_t)(0x80 | (code & 0x3F));
    } else {
        *to++ = (uint8_t)(0xF0 | code >> 18);
        *to++ = (uint8_t)(0x80 | (code >> 12 & 0x3F));
        *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        *to++ = (uint8_t)(0x80 | (code & 0x3F));
    }
    return to;
}

/* The character that the escape at `*at` stands for; `*at` is behind it then. It was looked at by json_string. */
static uint32_t escaped_code(const uint8_t **at) {
    const uint8_t *escape = *at;
    *at += 2;
    switch (escape[1]) {
        case 'b': return '\b';
        case 'f': return '\f';
        case 'n': return '\n';
        case 'r': return '\r';
        case 't': return '\t';
        case 'u': break;
        default: return escape[1];
    }
    *at += 4;
    uint32_t code = (uint32_t)hex_number(escape + 2);
    if (code < 0xD800 || code >= 0xE000) return code;
    *at += 6;
    return 0x10000 + ((code - 0xD800) << 10) + ((uint32_t)hex_number(escape + 8) - 0xDC00);
}

static uint8_t *write_bytes(uint8_t *to, const uint8_t *from, const uint8_t *end) {
    memcpy(to, from, (size_t)(end - from));
    return to + (end - from);
}

uint8_t *json_unescaped(const JsonText *text, uint8_t *to) {
    if (!text->escaped) return write_bytes(to, text->from, text->to);
    for (const uint8_t *at = text->from; at < text->to;) {
        if (*at == '\\') to = write_utf8(to, escaped_code(&at));
        else *to++ = *at++;
    }
    return to;
}

static uint8_t *write_escaped(uint8_t *to, uint32_t code) {
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = "btn\0fr";
    if (code == '"' || code == '\\') {
        *to++ = '\\';
        *to++ = (uint8_t)code;
    } else if (code >= 0x20) {
        to = write_utf8(to, code);
    } else if (code >= '\b' && code <= '\r' && letters[code - '\b']) {
        *to++ = '\\';
        *to++ = (uint8_t)letters[code - '\b'];
    } else {
        memcpy(to, "\\u00", 4);
        to[4] = (uint8_t)hex[code >> 4];
        to[5] = (uint8_t)hex[code & 15];
        to += 6;
    }
    return to;
}

uint8_t *json_quoted(const JsonText *text, uint8_t *to) {
    *to++ = '"';
    if (!text->escaped) {
        to = write_bytes(to, text->from, text->to);
    } else {
        for (const uint8_t *at = text->from; at < text->to;) {
            if (*at == '\\') to = write_escaped(to, escaped_code(&at));
            else *to++ = *at++;
        }
    }
    *to++ = '"';
    return to;
}

static uint64_t key_prefix(const uint8_t *key, size_t length) {
    uint64_t prefix = 0;
    for (size_t place = 0; place < 8; place++) prefix = prefix << 8 | (place < length ? key[place] : 0);
    return prefix;
}

static int compare_keys(const JsonMember *one, const JsonMember *other) {
    if (one->prefix != other->prefix) return one->prefix < other->prefix ? -1 : 1;
    uint32_t both = one->key_length < other->key_length ? one->key_length : other->key_length;
    int found = memcmp(one->key, other->key, both);
    if (found) return found;
    return (one->key_length > other->key_length) - (one->key_length < other->key_length);
}

/* Equal keys stay in the order in which they came. */
static int compare_members(const void *one, const void *other) {
    const JsonMember *first = one, *second = other;
    int found = compare_keys(first, second);
    return found ? found : (first->place > second->place) - (first->place < second->place);
}

static void sort_members(JsonMember *members, size_t count) {
    if (count > 24) {
        qsort(members, count, sizeof *members, compare_members);
        return;
    }
    for (size_t place = 1; place < count; place++) {
        JsonMember member = members[place];
        size_t to = place;
        for (; to && compare_keys(&members[to - 1], &member) > 0; to--) members[to] = members[to - 1];
        members[to] = member;
    }
}

/* The members, which were written one behind the other as they came, are written anew in their order. */
static void put_in_order(JsonWriter *writer, JsonMember *members, size_t count) {
    uint8_t *begin = (uint8_t *)members[0].from;
    sort_members(members, count);
    memcpy(writer->spare, begin, (size_t)(writer->at - begin));
    uint8_t *to = begin;
    for (size_t place = 0; place < count; place++) {
        const JsonMember *member = &members[place];
        if (place + 1 < count) {
            /* Keys may be overwritten by now; the copies are not. */
            const JsonMember *next = member + 1;
            if (member->key_length == next->key_length && member->prefix == next->prefix &&
                !memcmp(writer->spare + (member->key - begin), writer->spare + (next->key - begin),
                        member->key_length))
                continue;
        }
        if (to != begin) *to++ = ',';
        const uint8_t *from = writer->spare + (member->from - begin);
        to = write_bytes(to, from, from + (member->to - member->from));
    }
    writer->at = to;
}

static bool canonical_object(Json *json, JsonWriter *writer, int depth) {
    *writer->at++ = '{';
    size_t first = writer->used;
    bool sorted = true;
    for (;;) {
        JsonText text;
        if (writer->used == JSON_MEMBERS || !json_string(json, &text)) return false;
        JsonMember *member = &writer->members[writer->used];
        member->from = writer->at;
        member->place = (uint32_t)writer->used;
        member->key = writer->at + 1;
        writer->at = json_quoted(&text, writer->at);
        member->key_length = (uint32_t)(writer->at - member->key - 1);
        /* Keys are compared as they are written: one in which something stays escaped would be out of order. */
        if (text.escaped && memchr(member->key, '\\', member->key_length)) return false;
        member->prefix = key_prefix(member->key, member->key_length);
        if (writer->used > first && compare_keys(member - 1, member) >= 0) sorted = false;
        writer->used++;
        *writer->at++ = ':';
        json_blank(json);
        if (!json_token(json, ':') || !json_canonical(json, writer, depth + 1)) return false;
        member->to = writer->at;
        json_blank(json);
        if (json_begins(json, '}')) break;
        if (!json_token(json, ',')) return false;
        *writer->at++ = ',';
    }
    if (!sorted) put_in_order(writer, writer->members + first, writer->used - first);
    writer->used = first;
    *writer->at++ = '}';
    json->at++;
    return true;
}

static bool canonical_list(Json *json, JsonWriter *writer, int depth) {
    *writer->at++ = '[';
    for (;;) {
        if (!json_canonical(json, writer, depth + 1)) return false;
        json_blank(json);
        if (json_begins(json, ']')) break;
        if (!json_token(json, ',')) return false;
        *writer->at++ = ',';
    }
    *writer->at++ = ']';
    json->at++;
    return true;
}

bool json_canonical(Json *json, JsonWriter *writer, int depth) {
    if (json_begins(json, '"')) {
        JsonText text;
        if (!json_string(json, &text)) return false;
        writer->at = json_quoted(&text, writer->at);
        return true;
    }
    bool object = json_begins(json, '{');
    if (!object && !json_begins(json, '[')) {
        const uint8_t *from = json->at;
        if (!skip_plain(json)) return false;
        writer->at = write_bytes(writer->at, from, json->at);
        return true;
    }
    if (depth >= JSON_DEPTH) return false;
    json->at++;
    json_blank(json);
    if (!json_begins(json, object ? '}' : ']'))
        return object ? canonical_object(json, writer, depth) : canonical_list(json, writer, depth);
    json->at++;
    *writer->at++ = object ? '{' : '[';
    *writer->at++ = object ? '}' : ']';
    return true;
}
