// The list of saved challenges.
import { Card } from './card.js';
import { el, setText } from './dom.js';
import { TEXT, fill } from './language.js';
import { replaceSaved, saved } from './saved.js';

let emptied = null; // what was there before all was taken away, until the list is closed

export function wireShelf() {
  el('saved-open').addEventListener('click', open);
  el('saved-empty').addEventListener('click', () => {
    const before = saved();
    replaceSaved(emptied ?? []);
    emptied = emptied ? null : before;
    show();
  });
  el('saved').addEventListener('close', () => {
    show();
    // The button that has opened it is gone with the last of them.
    if (el('saved-open').hidden) el('settings-open').focus();
  });
  document.addEventListener('saved', show);
  addEventListener('storage', show); // of another tab
  show();
}

function open() {
  emptied = null;
  const cards = saved().map((challenge, i) => {
    const card = new Card(i + 1);
    card.write(challenge.title, challenge.description);
    card.finish(challenge);
    return card.element;
  });
  // They stay until the list is opened again, so that what was taken away by mistake can be saved once more.
  el('saved-list').replaceChildren(...cards);
  show();
  el('saved').showModal();
}

function show() {
  const titles = new Set(saved().map(({ title }) => title));
  el('saved-open').hidden = titles.size === 0 && !el('saved').open;
  setText(el('saved-open'), fill(TEXT.savedCount, { n: titles.size }));
  setText(el('saved-status'), titles.size === 0 && el('saved').open ? TEXT.savedNone : '');
  setText(el('saved-empty'), emptied ? TEXT.undo : TEXT.savedEmpty);
  el('saved-empty').hidden = titles.size === 0 && !emptied;
  for (const body of document.querySelectorAll('.card-body')) {
    const pressed = titles.has(body.querySelector('.card-title').textContent);
    body.querySelector('.save').setAttribute('aria-pressed', String(pressed));
  }
}
