// What a person chooses or types, as requests.
import { categories, places, told, workTypes } from './catalog.js';
import { copyOf, el, setText } from './dom.js';
import { TEXT, fill } from './language.js';

const LONGEST = { own: 50, message: 1000 }; // characters, as the server counts them
const FIELDS = ['location', 'workType', 'category'];

export function buildChoices() {
  addChips('location', places);
  addChips('workType', workTypes);
  addChips('category', categories);
  connectOwn('location');
  connectOwn('workType');
  FIELDS.forEach((field) => el(field).addEventListener('input', () => setText(el(`${field}-error`), '')));
  el('category').addEventListener('change', ({ target }) => {
    setText(el('category-hint'), told(categories.find(({ code }) => code === target.value)).about);
  });
  for (const { name, about } of categories.map(told)) {
    const [term, text] = ['dt', 'dd'].map((kind) => document.createElement(kind));
    [term.textContent, text.textContent] = [name, about];
    el('categories').querySelector('dl').append(term, text);
  }
  el('categories-open').addEventListener('click', () => el('categories').showModal());
}

function addChips(field, items) {
  for (const item of items) {
    const chip = copyOf('chip-template');
    Object.assign(chip.querySelector('input'), { name: field, value: item.code });
    chip.querySelector('input').dataset.label = item.label;
    chip.querySelector('span').textContent = told(item).name;
    el(field).querySelector('.chips').append(chip);
  }
}

/** What is typed and what is chosen from the chips exclude each other. */
function connectOwn(field) {
  const own = el(field).querySelector('.own');
  const radios = el(field).querySelectorAll('input[type="radio"]');
  own.addEventListener('input', () => radios.forEach((radio) => { radio.checked = false; }));
  radios.forEach((radio) => radio.addEventListener('change', () => { own.value = ''; }));
}

/** What is wrong with the length of a text, or nothing. The server counts composed characters, not the units of UTF-16. */
function tooLong(text, limit) {
  const { length } = [...text.normalize('NFC')];
  return length > limit ? fill(TEXT.tooLong, { limit: limit.toLocaleString(), length: length.toLocaleString() }) : '';
}

/** What is sent, what people read, and what the server calls it; or null. */
function choice(field) {
  const radio = el(field).querySelector('input:checked');
  if (radio) return { value: radio.value, name: radio.nextElementSibling.textContent, label: radio.dataset.label };
  const own = el(field).querySelector('.own')?.value.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return own ? { value: own, name: own, label: own } : null;
}

/** The request for the three choices, or null after telling what is missing or too long. */
export function readChoices() {
  const chosen = FIELDS.map(choice);
  const wrong = chosen.map((one, i) => (one ? tooLong(one.value, LONGEST.own) : TEXT.missing[FIELDS[i]]));
  FIELDS.forEach((field, i) => setText(el(`${field}-error`), wrong[i]));
  const first = wrong.findIndex(Boolean);
  if (first >= 0) {
    el(FIELDS[first]).querySelector(chosen[first] ? '.own' : 'input').focus();
    return null;
  }
  const all = (part) => chosen.map((one) => one[part]).join(' · ');
  return {
    path: 'ai/chatbot/recommendation/base-info',
    params: Object.fromEntries(FIELDS.map((field, i) => [field, chosen[i].value])),
    summary: all('name'),
    question: all('label'), // as the server remembers it
  };
}

export function requestOf(message) {
  return { path: 'ai/chatbot/recommendation/free-text', params: { message }, summary: message, question: message };
}

/** What was typed, without what the server would refuse or cut off itself. */
function typed() {
  return el('message').value.replace(/\s+/gu, ' ').replace(/\p{Cc}/gu, '').trim();
}

/** Says that a text is too long as soon as it is, and cuts nothing. */
export function checkMessage() {
  const problem = tooLong(typed(), LONGEST.message);
  setText(el('say-error'), problem);
  el('message').setAttribute('aria-invalid', String(problem !== ''));
  return problem === '';
}

export function checkWhileTyping() {
  if (el('say-error').textContent || el('message').value.length > LONGEST.message) checkMessage();
}

/** What was typed, as a request; null when there is nothing, or too much. */
export function readMessage() {
  const message = typed();
  if (message && checkMessage()) return requestOf(message);
  el('message').focus();
  return null;
}

export function chooseCategory() {
  const category = el('category');
  category.scrollIntoView({ block: 'center' });
  category.classList.add('attention');
  category.addEventListener('animationend', () => category.classList.remove('attention'), { once: true });
  (category.querySelector('input:checked') ?? category.querySelector('input')).focus({ preventScroll: true });
}
