// The events of an answer as they came, for developers.
import { el, setText } from './dom.js';
import { TEXT, fill } from './language.js';

export function clearRaw(url) {
  el('raw-events').replaceChildren();
  el('raw-url').textContent = `GET ${url}`;
  el('raw-summary').textContent = '';
}

/** Times are milliseconds since the answer was asked for; the first text's is null before it has come. */
export function recordRaw({ type, data, lastEventId }, time, firstText) {
  // `open` and the connection's own `error` are the browser's, not the stream's.
  const cells = data === undefined ? { name: `(${type})` } : { name: type, id: lastEventId, data };
  const row = document.createElement('li');
  for (const [name, value] of Object.entries({ time: `${time} ms`, ...cells })) {
    row.append(Object.assign(document.createElement('span'), { className: `raw-${name}`, textContent: value }));
  }
  const list = el('raw-events');
  const following = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
  list.append(row);
  if (following) list.scrollTop = list.scrollHeight;
  setText(el('raw-summary'), fill(TEXT.rawSummary, { n: list.childElementCount, ms: firstText ?? '–' }));
}
