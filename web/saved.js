// Challenges that somebody keeps in this browser.
import { keep, kept } from './dom.js';

const SAVED_KEY = 'leafresh.saved';

/** The newest first. */
export const saved = () => kept(SAVED_KEY, []);

/** A title is told in different words, and stays the same challenge. */
const same = (one) => (other) => one.title === other.title;

export const isSaved = (challenge) => saved().some(same(challenge));

export function toggle(challenge) {
  const others = saved().filter((one) => !same(challenge)(one));
  replaceSaved(isSaved(challenge) ? others : [challenge, ...others]);
}

/** Whoever shows them hears a `saved` event of the document. */
export function replaceSaved(list) {
  keep(SAVED_KEY, list);
  document.dispatchEvent(new Event('saved'));
}
