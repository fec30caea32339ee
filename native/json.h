/* JSON, read strictly by RFC 8259 from bytes that are UTF-8 already. What is not, or is nested too deeply, is refused:
   the functions give false, and nothing is said of why. */
#ifndef MILLRACE_JSON_H
#define MILLRACE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH = 64, JSON_MEMBERS = 1024 };

/* What is left to read. */
typedef struct {
    const uint8_t *at, *end;
} Json;

/* What stands between the quotes of a string; whether something in it is escaped. */
typedef struct {
    const uint8_t *from, *to;
    bool escaped;
} JsonText;

/* A member of an object that is being written: where it stands in what was written. */
typedef struct {
    uint64_t prefix;
    const uint8_t *key;
    uint32_t key_length, place;
    const uint8_t *from, *to;
} JsonMember;

/* Where canonical JSON is written. It is never longer than what is read, so that there is room for it where there is
   room for that. `spare` has room for as much; `members` for JSON_MEMBERS, of which `used` are. */
typedef struct {
    uint8_t *at;
    uint8_t *spare;
    JsonMember *members;
    size_t used;
} JsonWriter;

static inline void json_blank(Json *json) {
    while (json->at < json->end &&
           (*json->at == ' ' || *json->at == '\n' || *json->at == '\t' || *json->at == '\r'))
        json->at++;
}

/* The next token is this one letter; it is read, and blanks behind it. */
static inline bool json_token(Json *json, uint8_t wanted) {
    if (json->at == json->end || *json->at != wanted) return false;
    json->at++;
    json_blank(json);
    return true;
}

static inline bool json_begins(const Json *json, uint8_t wanted) {
    return json->at < json->end && *json->at == wanted;
}

/* The string that begins here. */
bool json_string(Json *json, JsonText *text);

/* The value that begins here is passed over. */
bool json_skip(Json *json, int depth);

/* The value that begins here is written in canonical form: keys sorted by code point, of equal ones the last, no
   blanks, nothing escaped that need not be, numbers as they stand there. */
bool json_canonical(Json *json, JsonWriter *writer, int depth);

/* What a string says, as UTF-8: where it ends. It is never longer than the string. */
uint8_t *json_unescaped(const JsonText *text, uint8_t *to);

/* A string in canonical form, quotes included: where it ends. */
uint8_t *json_quoted(const JsonText *text, uint8_t *to);

#endif
