export interface Rule {
  told: string;
  met: boolean;
}

/** What the server asks of a password, said while it is typed. The server has the last word. */
export function rules(password: string): Rule[] {
  return [
    { told: 'at least 8 characters', met: [...password].length >= 8 },
    { told: 'an upper-case letter', met: /\p{Lu}/u.test(password) },
    { told: 'a lower-case letter', met: /\p{Ll}/u.test(password) },
    { told: 'a digit', met: /\p{Nd}/u.test(password) },
    { told: 'a sign that is neither', met: /[^\p{L}\p{N}]/u.test(password) },
  ];
}
