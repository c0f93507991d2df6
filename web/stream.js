// The connection of a turn: opened, lost, found again, paused while nobody looks.
'use strict';

const ATTEMPTS = 6; // after 1, 2, 4 … 32 s: within the time that the server keeps an answer for its reader
// ms without a word from the server. An answer may take 240 s, and a lost one is kept for 120.
const LIMITS = { hint: 10_000, connecting: 40_000, waiting: 270_000, writing: 270_000, reconnecting: 150_000 };
// ms. A hidden tab takes one of the six connections that a browser has to a server; a glance elsewhere ends nothing.
const AWAY = { closes: 3000, distrusts: 10_000 };

let silence = 0; // the timer
let leaving = 0; // the timer
let hiddenSince = null;

function openStream(base) {
  const url = new URL(turn.request.path, base);
  // With an id of its own, a request that is repeated before its first event has come joins the
  // answer that is being written; without one the server would start a second.
  const requestId = crypto.getRandomValues(new Uint32Array(4)).join('-');
  url.search = new URLSearchParams({ ...turn.request.params, sessionId: session(), requestId, progress: 1, details: 1 });
  clearRaw(url);
  connect(url);
}

function connect(url) {
  turn.url = String(url);
  if (turn.paused) return;
  turn.source = new EventSource(url);
  listen('open', () => {
    turn.opened = true;
    setPhase(turn.text ? 'writing' : 'waiting');
  });
  listen('progress', ({ message, data }) => setText(el('status'), TEXT.progress(message, data.position)));
  listen('challenge', ({ data }) => (typeof data === 'string' ? addText(data) : finishCard(data.challenges)));
  listen('close', ({ data }) => (data ? finish(data) : end('failed', TEXT.noResult)));
  listen('error', failed);
  watchSilence();
}

function listen(name, onEvent) {
  const { source } = turn;
  const mine = turn;
  source.addEventListener(name, (event) => {
    if (turn !== mine || turn.source !== source || turn.paused || !isBusy()) return;
    recordRaw(event);
    // Only `error` has two meanings: the server's event has data, the browser's own has none.
    if (name !== 'open' && event.data === undefined) return connectionLost();
    watchSilence();
    if (name === 'open') return onEvent();
    turn.lastId = event.lastEventId;
    turn.attempts = 0;
    keepInView(() => onEvent(JSON.parse(event.data)));
    turn.resumed = false;
  });
}

/** An answer that the server no longer has, or gave up while nobody was there, is asked for once more. */
function failed({ status, message }) {
  const lost = status === 410 || (status === 499 && turn.resumed);
  if (!lost || turn.askedAgain) return end('failed', message);
  turn.source.close();
  Object.assign(turn, { askedAgain: true, text: '', finished: 0, lastId: '', opened: false });
  setPhase('reconnecting');
  openStream(new URL('../../../', turn.url));
}

function connectionLost() {
  turn.resumed = true;
  // EventSource reconnects by itself and goes on after the last id, so it must not be closed here.
  if (turn.source.readyState !== EventSource.CLOSED) reconnecting();
  else if (turn.opened) refusedAgain();
  else refused();
}

function reconnecting() {
  if (turn.phase === 'reconnecting') return;
  setPhase('reconnecting');
  watchSilence();
}

/**
 * A refusal ends EventSource for good. Where it was a proxy's, whose server is away for a moment, an answer that had
 * begun need not end with it.
 */
async function refusedAgain() {
  const mine = turn;
  reconnecting();
  const url = new URL('../../../health/live', mine.url);
  const lives = await fetch(url).then((response) => response.ok).catch(() => false);
  if (turn !== mine || !isBusy()) return;
  if (lives || mine.attempts >= ATTEMPTS) return refused();
  setTimeout(() => {
    if (turn === mine && isBusy()) connectAgain();
  }, 1000 * 2 ** mine.attempts++);
}

/** The same request, from behind the last event; before the first one its request id finds the answer. */
function connectAgain() {
  const url = new URL(turn.url);
  if (turn.lastId) url.searchParams.set('lastEventId', turn.lastId);
  turn.source?.close();
  turn.resumed = true;
  connect(url);
}

/** EventSource doesn't tell why a server refused: the request is made once more to hear it. */
async function refused() {
  const mine = turn;
  const refusal = await hearRefusal(mine.url);
  if (turn !== mine || !isBusy()) return;
  if (refusal.status === 401) {
    const unlocked = await unlock();
    if (turn !== mine || !isBusy()) return;
    if (!unlocked || mine.unlocked) return end('failed', unlocked === null ? TEXT.key.needed : TEXT.refused);
    mine.unlocked = true;
    return connectAgain();
  }
  // It was refused for a moment only.
  if (refusal.status === 200 && mine.attempts++ < ATTEMPTS) return connectAgain();
  end('failed', refusal.text);
}

/** The status, or 0, and what people read of it. An answer that begins is let go: its request id finds it again. */
async function hearRefusal(address) {
  const abort = new AbortController();
  const headers = { Accept: 'text/event-stream' };
  const response = await fetch(address, { headers, signal: abort.signal }).catch(() => null);
  if (!response) return { status: 0, text: TEXT.key.offline };
  const { status } = response;
  if (status === 200) {
    abort.abort();
    return { status, text: TEXT.refused };
  }
  const said = await response.json().catch(() => null); // a proxy's page is no JSON
  const text = (status !== 404 && said?.message) || TEXT.refusedWith[status] || TEXT.refused;
  const seconds = Number(response.headers.get('Retry-After'));
  return { status, text: seconds > 0 ? `${text} ${TEXT.wait(seconds)}` : text };
}

// --- A server that says nothing ---

function watchSilence() {
  clearTimeout(silence);
  if (!isBusy() || turn.paused) return;
  const mine = turn;
  const { hint } = LIMITS;
  silence = setTimeout(() => {
    if (turn !== mine || !isBusy()) return;
    if (turn.phase === 'connecting') setText(el('status'), TEXT.slow);
    silence = setTimeout(() => {
      if (turn === mine && isBusy()) end('failed', TEXT.silent);
    }, Math.max(LIMITS[turn.phase] - hint, 0));
  }, hint);
}

// --- A page that nobody sees ---

/** The server parks the answer, and keeps it for a while. */
function pause() {
  clearTimeout(leaving);
  if (!isBusy() || turn.paused) return;
  turn.paused = true;
  turn.source?.close();
  clearTimeout(silence);
}

function resume() {
  clearTimeout(leaving);
  if (!turn?.paused) return;
  turn.paused = false;
  if (!isBusy()) return;
  setPhase('reconnecting');
  connectAgain();
}

function seenOrNot() {
  if (document.hidden) {
    hiddenSince = Date.now();
    leaving = setTimeout(pause, AWAY.closes);
    return;
  }
  // A page that was frozen had no time to close; what it holds may be dead without having heard so.
  if (hiddenSince !== null && Date.now() - hiddenSince > AWAY.distrusts) pause();
  hiddenSince = null;
  resume();
}

// --- Raw events ---

function elapsed() {
  return Math.round(performance.now() - turn.startedAt);
}

function clearRaw(url) {
  el('raw-events').replaceChildren();
  el('raw-url').textContent = `GET ${url}`;
  el('raw-summary').textContent = '';
}

function recordRaw({ type, data, lastEventId }) {
  // `open` and the connection's own `error` are the browser's, not the stream's.
  const cells = data === undefined ? { name: `(${type})` } : { name: type, id: lastEventId, data };
  const row = document.createElement('li');
  for (const [name, value] of Object.entries({ time: `${elapsed()} ms`, ...cells })) {
    row.append(Object.assign(document.createElement('span'), { className: `raw-${name}`, textContent: value }));
  }
  const list = el('raw-events');
  const following = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
  list.append(row);
  if (following) list.scrollTop = list.scrollHeight;
  setText(el('raw-summary'), TEXT.rawSummary(list.childElementCount, turn.firstTextAt));
}
