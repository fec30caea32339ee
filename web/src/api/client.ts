/** Everything that the pages ask of the server goes through here. Types come from docs/reference/openapi.json. */
import createClient, { type Middleware } from 'openapi-fetch';
import type { components, paths } from './schema.gen';

export type Schemas = components['schemas'];
export type Fault = Schemas['Fault'];

/** An answer that is no success, in the words of the API. `status` 0: the server did not answer. */
export class Problem extends Error {
  readonly fault: Fault;

  constructor(
    readonly status: number,
    fault: Fault,
    readonly retryAfterS: number | null = null,
  ) {
    super(fault.message);
    // Within an answer, of one of several things, codes are written small.
    this.fault = { ...fault, code: fault.code.toUpperCase() };
  }

  get code(): string {
    return this.fault.code;
  }
}

/** Whoever is signed in proves with it that a change comes from this page. */
let csrf = '';

export function prove(token: string): void {
  csrf = token;
}

type Listener = (now: boolean) => void;
const listeners = new Set<Listener>();
let reachable = true;

/** Whether the server answered the last time that it was asked. */
export const reach = {
  get: () => reachable,
  subscribe(listener: Listener): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  set(now: boolean): void {
    if (now === reachable) return;
    reachable = now;
    for (const listener of listeners) listener(now);
  },
};

/** A text as one segment of a path: servers undo one round of escapes before they look for slashes. */
export function segment(text: string): string {
  const once = encodeURIComponent(text);
  return encodeURIComponent(/^\.+$/.test(once) ? once.replaceAll('.', '%2E') : once);
}

async function request(input: Request): Promise<Response> {
  if (input.method !== 'GET') input.headers.set('X-CSRF-Token', csrf);
  try {
    const answer = await fetch(input);
    reach.set(true);
    return answer;
  } catch (cause) {
    if (input.signal.aborted) throw cause;
    reach.set(false);
    throw new Problem(0, {
      code: 'UNREACHABLE',
      message: 'The server does not answer.',
      hint: 'Check that Millrace is running and that you are on its network. Nothing was lost.',
    });
  }
}

/** The problem that an answer tells of; answers of proxies in front have other bodies. */
async function problem(answer: Response): Promise<Problem> {
  const wait = Number(answer.headers.get('retry-after'));
  let fault: Fault;
  try {
    fault = ((await answer.json()) as Schemas['ProblemBody']).error;
  } catch {
    fault = {
      code: `HTTP_${answer.status}`,
      message: 'The answer of the server cannot be understood.',
      hint: 'Something between this page and Millrace may have answered in its place.',
    };
  }
  return new Problem(answer.status, fault, Number.isFinite(wait) && wait > 0 ? wait : null);
}

const refusals: Middleware = {
  async onResponse({ response }) {
    if (!response.ok) throw await problem(response);
  },
};

export const api = createClient<paths>({
  baseUrl: window.location.origin,
  fetch: request,
  pathSerializer: (path, values) =>
    path.replace(/\{(\w+)\}/g, (_, name: string) =>
      segment(String((values as Record<string, unknown>)[name])),
    ),
});
api.use(refusals);

/** The body of an answer. Refusals have been thrown before it. */
export async function body<T>(answer: Promise<{ data?: T }>): Promise<T> {
  return (await answer).data as T;
}

/** A file sent as the whole body of a request, for operations that take one. */
export async function send<T>(path: string, method: 'PUT' | 'POST', file: Blob): Promise<T> {
  const answer = await request(
    new Request(path, { method, body: file, headers: { 'Content-Type': 'application/octet-stream' } }),
  );
  if (!answer.ok) throw await problem(answer);
  return (await answer.json()) as T;
}
