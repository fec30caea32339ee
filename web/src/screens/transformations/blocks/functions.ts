/** The functions of formulas, for whoever writes one (docs/guides/transformations-blocks.md). */

export const FUNCTIONS: readonly (readonly [usage: string, told: string])[] = [
  ['LOWER(text)', 'in lower case'],
  ['UPPER(text)', 'in upper case'],
  ['TITLE(text)', 'Each Word So'],
  ['SNAKE_CASE(text)', 'words_like_this'],
  ['REPLACE(text, find, replace)', 'all occurrences'],
  ['SPLIT_FIELDS(text, delimiter)', 'its parts as fields'],
  ['SPLIT_ARRAY(text, delimiter)', 'its parts as an array'],
  ['STRING_TO_NUMBER(text, decimals)', 'a number; without decimals, all that the text has'],
  ['NUMBER_TO_STRING(number, format)', 'as "#,##0.00" or "plain"'],
  ['STRING_TO_DATE(text, format)', 'of "dd/MM/yyyy HH:mm"'],
  ['DATE_TO_STRING(date, format)', 'as "yyyy-MM-dd"'],
  ['ROUND(number, digits)', 'half up'],
  ['HASH(value, algorithm)', 'of "SHA-256", "MD5" …'],
  ['MASK(value)', 'each sign hidden'],
  ['PARSE_JSON(text)', 'the object or array that it says'],
];

/** What else a formula is made of. */
export const SIGNS: readonly (readonly [usage: string, told: string])[] = [
  ['price, address.city, `order-id`', 'fields by their names'],
  ['$self', 'the field that is changed'],
  ['"text", 12.5, true, $null', 'values'],
  ['+ - * / == != ! ( )', 'signs; + joins texts'],
];
