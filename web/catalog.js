// What the server has put into the page.
import { el } from './dom.js';
import { TEXT } from './language.js';

export const { places, workTypes, categories, challengeUrl } = JSON.parse(el('catalog').textContent);

/** What people read of a choice, and of a category what belongs there. */
export function told({ code, label, description }) {
  const [name, about] = TEXT.terms?.[code] ?? [label, description];
  return { name, about };
}

/** Where a challenge is started in the operator's own app; null where there is none. */
export function startLink(challenge) {
  return challengeUrl?.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(challenge[name] ?? '')) ?? null;
}
