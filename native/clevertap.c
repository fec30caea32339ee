/* A page of CleverTap's Get Events API becomes columns: texts, identity and state of each row, in one pass.

   `sources/clevertap/mapper.py` says what the columns are, and is what this must agree with. Here are only pages in
   which every record can be a row and nothing is odd; all others are "not mine", and are mapped there. */
#include <string.h>

#include "digests.h"
#include "json.h"
#include "millrace.h"
#include "utf8.h"

enum { NOT_MINE = -1, TS_DIGITS = 14, MOST_BYTES = 1 << 30 };

/* Fields of profiles that are mapped where it is asked for: what they say as text, the last two as JSON. */
enum { EXTRAS = 12, EXTRA_TEXTS = 10 };
static const char *const EXTRA[EXTRAS] = {"platform", "email", "phone", "name", "push_token", "os_version",
                                          "app_version", "make", "model", "sdk_version", "all_identities", "events"};

/* A column of texts as Arrow lays them out; `there` has a bit for each row that has one. */
typedef struct {
    uint8_t *data;
    int32_t *offsets;
    uint8_t *there;
    int64_t missing;
} Texts;

/* What the caller gives, and finds filled. Each column has room for `most` rows, and as many bytes as the page; `spare`
   and `session` for the page and 64 more; `texts` for the page, and SHA_LANES event names with 256 more each. */
typedef struct {
    int64_t most;
    /* Whether there are extra columns. */
    int64_t whole;
    int64_t *digits;
    uint8_t *hashes, *state;
    Texts objects, identities, events, sessions, sources, profiles;
    uint8_t *texts, *spare, *session;
    /* Where the list of records begins and ends in the page. */
    int64_t records_from, records_to;
    Texts extras[EXTRAS];
} ClevertapPage;

typedef struct {
    const uint8_t *from, *to;
} Span;

enum { DEVICE = 1, IDENTITY = 2, DATA = 4, FIRST_EXTRA = 8 };
enum { PROFILE = 1, TS = 2, EVENT = 4, SESSION = 8, SOURCE = 16 };

/* One record. A span of a value that is not there is empty. */
typedef struct {
    JsonText device, source_text;
    Span identity, data, event, session, extras[EXTRAS];
    int64_t ts;
    int fields, profile;
} Record;

typedef struct {
    Json json;
    JsonWriter writer;
    ClevertapPage *page;
    Span event_name;
    int64_t rows;
    /* Rows whose texts wait to be hashed. */
    const uint8_t *texts[SHA_LANES];
    size_t blocks[SHA_LANES], waiting;
    /* Session properties come in runs of equal ones: those before, in canonical form, and what they say of the source. */
    Span session, session_canonical, session_source;
} Mapping;

static size_t length_of(Span span) { return (size_t)(span.to - span.from); }

static bool equals(Span span, const char *word) {
    return length_of(span) == strlen(word) && !memcmp(span.from, word, length_of(span));
}

static bool is_null(Span span) { return equals(span, "null"); }

static uint8_t *put(uint8_t *to, Span span) {
    memcpy(to, span.from, length_of(span));
    return to + length_of(span);
}

static Span literal(const char *word) {
    return (Span){(const uint8_t *)word, (const uint8_t *)word + strlen(word)};
}

/* The next member's key, which must not be escaped; behind it stands its value. */
static bool read_key(Json *json, Span *key) {
    JsonText text;
    if (!json_string(json, &text) || text.escaped) return false;
    *key = (Span){text.from, text.to};
    json_blank(json);
    return json_token(json, ':');
}

/* Behind a member's value: whether there are more. */
static bool read_more(Json *json, bool *more) {
    json_blank(json);
    *more = !json_begins(json, '}');
    return json_token(json, *more ? ',' : '}');
}

static bool read_value(Json *json, Span *value) {
    value->from = json->at;
    if (!json_skip(json, 0)) return false;
    value->to = json->at;
    return true;
}

/* A key that comes twice is odd. */
static bool first_time(int *fields, int field) {
    bool first = !(*fields & field);
    *fields |= field;
    return first;
}

/* The place of an extra field, EXTRAS where it is none. */
static int extra_place(Span key) {
    int place = 0;
    while (place < EXTRAS && !equals(key, EXTRA[place])) place++;
    return place;
}

static bool read_extra(Json *json, Span key, Record *record) {
    Span value;
    if (!read_value(json, &value)) return false;
    int place = extra_place(key);
    if (place == EXTRAS) return true;
    if (!is_null(value)) record->extras[place] = value;
    return first_time(&record->profile, FIRST_EXTRA << place);
}

static bool read_profile(Json *json, Record *record, bool whole) {
    bool more = true;
    if (!json_token(json, '{') || json_begins(json, '}')) return false;
    while (more) {
        Span key, value;
        if (!read_key(json, &key)) return false;
        if (equals(key, "objectId")) {
            if (!first_time(&record->profile, DEVICE) || !json_string(json, &record->device)) return false;
        } else if (equals(key, "identity")) {
            if (!first_time(&record->profile, IDENTITY) || !read_value(json, &record->identity)) return false;
        } else if (equals(key, "profileData")) {
            if (!first_time(&record->profile, DATA) || !read_value(json, &record->data)) return false;
        } else if (whole ? !read_extra(json, key, record) : !read_value(json, &value)) {
            return false;
        }
        if (!read_more(json, &more)) return false;
    }
    return (record->profile & DEVICE) && record->device.from < record->device.to;
}

static bool read_ts(Json *json, int64_t *ts) {
    Span value;
    if (!read_value(json, &value) || length_of(value) != TS_DIGITS || *value.from == '0') return false;
    *ts = 0;
    for (const uint8_t *at = value.from; at < value.to; at++) {
        if (*at < '0' || *at > '9') return false;
        *ts = *ts * 10 + (*at - '0');
    }
    return true;
}

/* The properties of the event, written in canonical form behind its name at once. Null means none. */
static bool read_event(Mapping *mapping, Record *record) {
    Json *json = &mapping->json;
    Span value;
    if (json_begins(json, 'n')) return read_value(json, &value);
    record->event.from = json->at;
    mapping->writer.used = 0;
    if (!json_canonical(json, &mapping->writer, 0)) return false;
    record->event.to = json->at;
    return true;
}

static bool read_record(Mapping *mapping, Record *record) {
    Json *json = &mapping->json;
    bool more = true;
    if (!json_token(json, '{') || json_begins(json, '}')) return false;
    while (more) {
        Span key, value;
        if (!read_key(json, &key)) return false;
        if (equals(key, "profile")) {
            if (!first_time(&record->fields, PROFILE) || !read_profile(json, record, mapping->page->whole)) return false;
        } else if (equals(key, "ts")) {
            if (!first_time(&record->fields, TS) || !read_ts(json, &record->ts)) return false;
        } else if (equals(key, "event_props")) {
            if (!first_time(&record->fields, EVENT) || !read_event(mapping, record)) return false;
        } else if (equals(key, "session_props")) {
            if (!first_time(&record->fields, SESSION) || !read_value(json, &record->session)) return false;
        } else if (equals(key, "session_source")) {
            if (!first_time(&record->fields, SOURCE)) return false;
            if (!json_begins(json, '"')) {
                if (!read_value(json, &value) || !is_null(value)) return false;
            } else if (!json_string(json, &record->source_text)) {
                return false;
            }
        } else if (!read_value(json, &value)) {
            return false;
        }
        if (!read_more(json, &more)) return false;
    }
    return (record->fields & (PROFILE | TS)) == (PROFILE | TS);
}

/* What session properties say, unless they are those of the row before. */
static bool know_session(Mapping *mapping, Span session) {
    if (length_of(session) == length_of(mapping->session) && mapping->session.from &&
        !memcmp(session.from, mapping->session.from, length_of(session)))
        return true;
    mapping->session = session;
    mapping->session_source = (Span){NULL, NULL};
    if (is_null(session)) {
        mapping->session_canonical = literal("{}");
        return true;
    }
    JsonWriter writer = mapping->writer;
    writer.at = mapping->page->session;
    writer.used = 0;
    Json json = {session.from, session.to};
    if (!json_canonical(&json, &writer, 0)) return false;
    mapping->session_canonical = (Span){mapping->page->session, writer.at};
    json = (Json){session.from, session.to};
    if (!json_token(&json, '{') || json_begins(&json, '}')) return true;
    for (bool more = true; more;) {
        Span key, value;
        if (!read_key(&json, &key) || !read_value(&json, &value)) return false;
        if (equals(key, "session_source")) mapping->session_source = is_null(value) ? (Span){NULL, NULL} : value;
        json_blank(&json);
        more = json_begins(&json, ',');
        if (more && !json_token(&json, ',')) return false;
    }
    return true;
}

/* What a row has in a column ends here; a row that has nothing ends where it began. */
static void text_ends(Texts *texts, int64_t row, const uint8_t *end, bool there) {
    texts->offsets[row + 1] = (int32_t)(end - texts->data);
    if ((row & 7) == 0) texts->there[row >> 3] = 0;
    if (there) texts->there[row >> 3] |= (uint8_t)(1 << (row & 7));
    else texts->missing++;
}

static uint8_t *text_begins(const Texts *texts, int64_t row) { return texts->data + texts->offsets[row]; }

static void add_span(Texts *texts, int64_t row, Span span) {
    text_ends(texts, row, put(text_begins(texts, row), span), true);
}

/* A value as text: what a string says, and of all else its JSON. Nothing, where there is no value. */
static bool add_value(Texts *texts, int64_t row, Span value) {
    uint8_t *to = text_begins(texts, row);
    if (value.from && *value.from == '"') {
        Json json = {value.from, value.to};
        JsonText text;
        if (!json_string(&json, &text)) return false;
        to = json_unescaped(&text, to);
    } else if (value.from) {
        to = put(to, value);
    }
    text_ends(texts, row, to, value.from != NULL);
    return true;
}

static bool add_extras(ClevertapPage *page, int64_t row, const Record *record) {
    for (int place = 0; place < EXTRAS; place++) {
        Span value = record->extras[place];
        if (place >= EXTRA_TEXTS && value.from) add_span(&page->extras[place], row, value);
        else if (!add_value(&page->extras[place], row, value)) return false;
    }
    return true;
}

/* An identity is a string, or a whole number of which there is one spelling only. */
static bool is_identity(Span value) {
    if (!value.from || *value.from == '"') return true;
    if (*value.from == '-' && value.from[1] == '0') return false;
    if (length_of(value) > 18) return false;
    for (const uint8_t *at = value.from + (*value.from == '-'); at < value.to; at++)
        if (*at < '0' || *at > '9') return false;
    return true;
}

static void hash_waiting(Mapping *mapping) {
    uint8_t *to = mapping->page->hashes + 32 * (mapping->rows - (int64_t)mapping->waiting);
    sha256_many(mapping->texts, mapping->blocks, mapping->waiting, to);
    mapping->waiting = 0;
    mapping->writer.at = mapping->page->texts;
}

static Span text_of(const Texts *texts, int64_t row) {
    return (Span){texts->data + texts->offsets[row], texts->data + texts->offsets[row + 1]};
}

/* A short hash of what the identity leaves out; `spare` is free now. */
static void add_state(Mapping *mapping, const Record *record) {
    ClevertapPage *page = mapping->page;
    int64_t row = mapping->rows;
    Span identity = text_of(&page->identities, row);
    uint8_t *to = put(page->spare, identity);
    if (record->identity.from && identity.from == identity.to) *to++ = 0xff;
    *to++ = '\x1f';
    to = put(to, text_of(&page->profiles, row));
    *to++ = '\x1f';
    to = put(to, text_of(&page->sources, row));
    for (int place = 0; page->whole && place < EXTRAS; place++) {
        *to++ = record->extras[place].from ? '\x1f' : '\x1e';
        to = put(to, text_of(&page->extras[place], row));
    }
    blake2b_8(page->spare, (size_t)(to - page->spare), page->state + 8 * row);
}

/* The rest of the text that is hashed: of an Identity of mapper.py, keys in the order of the alphabet. */
static void add_identity(Mapping *mapping, const Record *record, uint8_t *begin) {
    uint8_t *to = mapping->writer.at;
    to = put(to, literal(",\"objectId\":"));
    to = json_quoted(&record->device, to);
    to = put(to, literal(",\"session_props\":"));
    to = put(to, mapping->session_canonical);
    to = put(to, literal(",\"ts\":"));
    int64_t rest = record->ts;
    for (int place = TS_DIGITS - 1; place >= 0; place--, rest /= 10) to[place] = (uint8_t)('0' + rest % 10);
    to += TS_DIGITS;
    *to++ = '}';
    size_t length = (size_t)(to - begin);
    mapping->texts[mapping->waiting] = begin;
    mapping->blocks[mapping->waiting] = sha256_padded(begin, length);
    mapping->writer.at = begin + SHA_BLOCK * mapping->blocks[mapping->waiting];
    mapping->waiting++;
}

static bool add_row(Mapping *mapping) {
    ClevertapPage *page = mapping->page;
    int64_t row = mapping->rows;
    if (row == page->most) return false;
    Record record = {.data = literal("{}"), .event = literal("{}"), .session = literal("null")};
    uint8_t *begin = mapping->writer.at, *event;
    mapping->writer.at = put(mapping->writer.at, literal("{\"event_name\":"));
    mapping->writer.at = put(mapping->writer.at, mapping->event_name);
    mapping->writer.at = event = put(mapping->writer.at, literal(",\"event_props\":"));
    if (!read_record(mapping, &record)) return false;
    if (mapping->writer.at == event) mapping->writer.at = put(event, record.event);
    if (is_null(record.data)) record.data = literal("{}");
    if (record.identity.from && is_null(record.identity)) record.identity = (Span){NULL, NULL};
    if (!is_identity(record.identity) || !know_session(mapping, record.session)) return false;
    page->digits[row] = record.ts;
    text_ends(&page->objects, row, json_unescaped(&record.device, text_begins(&page->objects, row)), true);
    if (!add_value(&page->identities, row, record.identity)) return false;
    add_span(&page->events, row, record.event);
    if (is_null(record.session)) text_ends(&page->sessions, row, text_begins(&page->sessions, row), false);
    else add_span(&page->sessions, row, record.session);
    if (record.source_text.from < record.source_text.to)
        text_ends(&page->sources, row, json_unescaped(&record.source_text, text_begins(&page->sources, row)), true);
    else if (!add_value(&page->sources, row, mapping->session_source)) return false;
    add_span(&page->profiles, row, record.data);
    if (page->whole && !add_extras(page, row, &record)) return false;
    add_state(mapping, &record);
    add_identity(mapping, &record, begin);
    mapping->rows++;
    if (mapping->waiting == SHA_LANES) hash_waiting(mapping);
    return true;
}

static bool read_records(Mapping *mapping) {
    Json *json = &mapping->json;
    mapping->page->records_from = -1;
    if (!json_token(json, '[')) return false;
    if (json_begins(json, ']')) return true;
    for (;;) {
        if (!add_row(mapping)) return false;
        json_blank(json);
        if (json_begins(json, ']')) break;
        if (!json_token(json, ',')) return false;
    }
    if (mapping->waiting) hash_waiting(mapping);
    return true;
}

/* The rows of a page; NOT_MINE where it must be mapped elsewhere. `event_name` is the event's name as canonical JSON. */
EXPORT int64_t clevertap_page(const uint8_t *body, int64_t length, const uint8_t *event_name, int64_t name_length,
                              ClevertapPage *page) {
    if (length > MOST_BYTES || !is_utf8(body, (size_t)length)) return NOT_MINE;
    JsonMember members[JSON_MEMBERS];
    Mapping mapping = {
        .json = {body, body + length},
        .writer = {.at = page->texts, .spare = page->spare, .members = members},
        .page = page,
        .event_name = {event_name, event_name + name_length},
    };
    Texts *const columns[] = {&page->objects, &page->identities, &page->events,
                              &page->sessions, &page->sources, &page->profiles};
    for (int place = 0; place < 6; place++) columns[place]->offsets[0] = 0;
    for (int place = 0; page->whole && place < EXTRAS; place++) page->extras[place].offsets[0] = 0;
    Json *json = &mapping.json;
    bool more = true, found = false;
    json_blank(json);
    if (!json_token(json, '{') || json_begins(json, '}')) return NOT_MINE;
    while (more) {
        Span key, value;
        if (!read_key(json, &key)) return NOT_MINE;
        if (equals(key, "records")) {
            const uint8_t *from = json->at;
            if (found || !read_records(&mapping)) return NOT_MINE;
            found = true;
            json->at++;
            page->records_from = from - body;
            page->records_to = json->at - body;
        } else if (!read_value(json, &value)) {
            return NOT_MINE;
        }
        if (!read_more(json, &more)) return NOT_MINE;
    }
    return found && json->at == json->end ? mapping.rows : NOT_MINE;
}
