/** The secret part of the link that opened this page. What follows # is sent to no server. */
export const tokenHere = (): string => window.location.hash.slice(1);
