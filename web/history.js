// What was said before: the server remembers a conversation, and the browser keeps a copy of what is shown of it.
import { keep, kept, storage, tab } from './dom.js';
import { server } from './settings.js';
import { freshName } from './stream.js';

const SESSION_KEY = 'leafresh.session';
const COPY_KEY = 'leafresh.conversation';
const RUNNING_KEY = 'leafresh.running';
// Questions with their answers, and ms after the last of them: as the server keeps them.
const KEPT = { exchanges: 10, time: 30 * 86_400_000 };

/** The server remembers a conversation under a name that only this browser knows. */
export function session() {
  storage[SESSION_KEY] ??= freshName();
  return storage[SESSION_KEY];
}

export const sessionAddress = () => new URL(`ai/chatbot/sessions/${session()}`, server());

/** Forgets the conversation, here. */
export function forgetSession() {
  for (const name of [SESSION_KEY, COPY_KEY]) delete storage[name];
  keepRunning(null);
}

/** `exchanges`: what was asked, and the answer if there is one, oldest first. `readable`: the server has let them be read. */
function copy() {
  const found = kept(COPY_KEY, {});
  const ours = found.server === server() && Date.now() - found.at < KEPT.time;
  return ours ? found : { readable: false, exchanges: [] };
}

function keepCopy(changes) {
  keep(COPY_KEY, { ...copy(), ...changes, server: server(), at: Date.now() });
}

/** Keeps a question with its answer beside the server's memory, which has their words only, and may not be read everywhere. */
export function remember(exchange) {
  keepCopy({ exchanges: [...copy().exchanges, exchange].slice(-KEPT.exchanges) });
}

export function keepRating(stream, rating) {
  keepCopy({ exchanges: copy().exchanges.map((one) => (one.stream === stream ? { ...one, rating } : one)) });
}

/** The answer that this tab waits for, so that it can go on after a reload; null: none. */
export function keepRunning(running) {
  keep(RUNNING_KEY, running, tab);
}

export const running = () => kept(RUNNING_KEY, null, tab);

/** The conversation so far: the server's words, with what the browser knows of them; where those can't be read, its copy. */
export async function recall() {
  if (!(SESSION_KEY in storage)) return [];
  const own = copy();
  const response = await fetch(sessionAddress()).catch(() => null);
  const said = await response?.json().catch(() => null);
  if (response?.ok && said) {
    const exchanges = paired(said.data.turns).map((one) => own.exchanges.findLast((known) => isSame(known, one)) ?? one);
    keepCopy({ readable: true, exchanges });
    return exchanges;
  }
  // It could be read once: it has been deleted elsewhere, or has expired.
  if (response?.status === 404 && own.readable) {
    forgetSession();
    return [];
  }
  return own.exchanges;
}

/** Questions and answers one by one, as questions with their answers. */
function paired(turns) {
  const exchanges = [];
  for (const { role, text } of turns) {
    if (role === 'user') exchanges.push({ question: text, text: '' });
    else if (exchanges.length) exchanges.at(-1).text = text;
  }
  return exchanges;
}

function isSame(known, other) {
  return known.question.normalize() === other.question.normalize() && known.text === other.text;
}
