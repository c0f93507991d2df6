// Settings: which server is asked, with which key. Both are kept in the browser.
import { el, setText, storage, tab } from './dom.js';
import { TEXT } from './language.js';

const SERVER_KEY = 'leafresh.server';
const POPOVER = 'popover' in HTMLElement.prototype; // Safari 16 has none

let onKey = () => {};

/** `unlocked` is called when a key has been found right. */
export function wireSettings(unlocked) {
  onKey = unlocked;
  // A browser without popovers would show it always, so it is hidden until it is known what the browser has.
  el('settings').hidden = !POPOVER;
  if (!POPOVER) el('settings-open').addEventListener('click', () => showSettings(el('settings').hidden));
  el('server-form').addEventListener('submit', saveServer);
  el('key-form').addEventListener('submit', saveKey);
  showServer();
  showStoredKey();
}

function showSettings(open) {
  if (!POPOVER) el('settings').hidden = !open;
  else if (open) el('settings').showPopover();
  else el('settings').hidePopover();
}

/** The server that is asked: the page's own unless another is set. */
export function server() {
  return storage[SERVER_KEY] || new URL('.', document.baseURI).href;
}

function saveServer(event) {
  event.preventDefault();
  const input = el('server');
  input.value = input.value.trim();
  const valid = input.validity.valid; // an http or https address without user, query and fragment, or nothing
  input.setAttribute('aria-invalid', String(!valid));
  if (valid) {
    storage[SERVER_KEY] = input.value.replace(/[^/]$/, '$&/'); // a base URL ends in a slash
    showServer();
    showStoredKey();
  }
  setText(el('server-message'), !valid ? TEXT.badAddress : input.value ? TEXT.serverSet : TEXT.serverOwn);
}

function showServer() {
  const address = storage[SERVER_KEY] ?? '';
  el('server').value = address;
  el('server-badge').hidden = !address;
  el('server-badge').textContent = address && new URL(address).host;
}

// --- The key, for servers that want one ---

/**
 * EventSource can't send a key, so the server gives a cookie for one. True: it has a cookie now that it hadn't;
 * null: it wants a key that isn't there.
 */
export async function unlock() {
  const key = tab[keyName()];
  const status = await showKey(key);
  if (status !== 401) return Boolean(key) && status === 204;
  delete tab[keyName()];
  askForKey(new URL(server()).origin === location.origin ? TEXT.key.ask : TEXT.key.elsewhere);
  return null;
}

/** Where the server's key is kept: one that was given to a server is no other server's business. */
function keyName() {
  return `leafresh.key@${new URL(server()).origin}`;
}

function showStoredKey() {
  const key = tab[keyName()] ?? '';
  el('key-form').hidden = !key;
  el('key').value = key;
}

/** The status with which the server takes a key, or 0. */
function showKey(key) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  return fetch(new URL('auth/cookie', server()), { method: 'POST', headers }).then(({ status }) => status).catch(() => 0);
}

function askForKey(message) {
  el('key-form').hidden = false;
  showSettings(true);
  setText(el('key-message'), message);
  el('key').focus();
}

async function saveKey(event) {
  event.preventDefault();
  const key = el('key').value.trim();
  // Headers hold visible ASCII only; no key is anything else.
  const status = /^[!-~]+$/.test(key) ? await showKey(key) : 401;
  const right = status === 204;
  el('key').setAttribute('aria-invalid', String(status === 401));
  setText(el('key-message'), right ? TEXT.key.saved : status === 401 ? TEXT.key.wrong : TEXT.refusedWith[0]);
  if (!right) return;
  tab[keyName()] = key;
  showSettings(false);
  onKey();
}
