// The page's elements, and what the browser keeps for it.
export const el = (id) => document.getElementById(id);
export const copyOf = (id) => el(id).content.firstElementChild.cloneNode(true);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows a text, or nothing at all of an element that has none. */
export function tell(element, text) {
  setText(element, text);
  element.hidden = !text;
}

export const storage = opened(() => localStorage);
export const tab = opened(() => sessionStorage);

function opened(open) {
  try {
    return open();
  } catch {
    return {}; // switched off: what is kept then lasts as long as the page
  }
}

/** What was kept under a name; `otherwise` where there is nothing, or nothing that can be read. */
export function kept(name, otherwise, place = storage) {
  try {
    return JSON.parse(place[name]) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function keep(name, value, place = storage) {
  try {
    place[name] = JSON.stringify(value);
  } catch {
    // Full, or switched off: it lasts as long as the page.
  }
}

let shown = 0; // the timer

/** Says something for a moment, above whatever is open. */
export function notify(text) {
  const toast = (document.querySelector('dialog[open]') ?? document).querySelector('.toast');
  setText(toast, text);
  clearTimeout(shown);
  shown = setTimeout(() => setText(toast, ''), 4000);
}
