// What is in view.
import { el } from './dom.js';

export const phone = matchMedia('(max-width: 899px)');

/** A phone shows the choices or the conversation, so that its back button leads from one to the other. */
export function showView(newest) {
  const view = location.hash === '#chat' ? 'chat' : 'choose';
  if (document.body.dataset.view === view) return;
  document.body.dataset.view = view;
  if (!phone.matches) return;
  scrollTo(0, 0);
  if (view === 'chat') newest?.scrollIntoView({ block: 'start' });
}

/** How much of an answer is below what can be seen. */
function overflow(answer) {
  const bottom = Math.min(el('dock').getBoundingClientRect().top, innerHeight);
  return answer.getBoundingClientRect().bottom - bottom;
}

/** Brings an answer's end into view, but never moves its beginning out of it: there one starts to read. */
export function follow(answer) {
  const room = answer.getBoundingClientRect().top - 12;
  const distance = Math.min(overflow(answer) + 10, room);
  if (distance > 0) scrollBy(0, distance);
}

/** Follows an answer as it grows, but leaves alone who has scrolled up to read. */
export function keepInView(answer, change) {
  const following = overflow(answer) < 48;
  change();
  if (following) follow(answer);
}
