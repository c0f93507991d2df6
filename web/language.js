// The language of the page: the chosen one, or the browser's. Answers are Korean in any.
import { el, storage } from './dom.js';

const LANGUAGE_KEY = 'leafresh.language';
const KNOWN = ['ko', 'en'];

const wanted = [storage[LANGUAGE_KEY], ...navigator.languages.map((tag) => tag.slice(0, 2))];
export const language = wanted.find((one) => KNOWN.includes(one)) ?? 'ko';
export const { TEXT } = await import(`./texts.${language}.js`);

/** A text with its gaps filled. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (gap, name) => values[name] ?? gap);
}

/** Puts the texts of another language in place of those that stand in the page. */
export function translatePage() {
  el('language').value = language;
  el('language').addEventListener('change', ({ target }) => {
    storage[LANGUAGE_KEY] = target.value;
    location.reload();
  });
  document.documentElement.lang = language;
  const templates = [...document.querySelectorAll('template')].map(({ content }) => content);
  const all = (selector) => [document, ...templates].flatMap((part) => [...part.querySelectorAll(selector)]);
  const put = (texts = {}, write) => {
    for (const [selector, text] of Object.entries(texts)) all(selector).forEach((element) => write(element, text));
  };
  put(TEXT.page, (element, text) => { element.textContent = text; });
  put(TEXT.labels, (element, text) => element.setAttribute('aria-label', text));
  put(TEXT.hints, (element, text) => { element.placeholder = text; });
}
