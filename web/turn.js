// A turn: one question, one stream, one answer. chat.js has the page around it.
'use strict';

const BUSY = ['connecting', 'waiting', 'writing', 'reconnecting'];
const ATTEMPTS = 4; // after 1, 2, 4 and 8 s: within the time that the server keeps an answer for its reader

let turn = null; // the newest question with its answer; only this one can be running

function ask(request, sentence) {
  const base = server();
  if (!base.startsWith('http')) return openSettings(TEXT.noServer);
  if (isBusy()) stop();
  if (turn?.phase === 'failed' && !turn.text) turn.element.remove();
  turn = newTurn(request, sentence);
  el('log').append(turn.element);
  el('welcome').hidden = true;
  showTalk();
  location.hash = '#chat';
  showView();
  setPhase('connecting');
  turn.element.scrollIntoView({ block: 'nearest' });
  if (el('ask').offsetParent === null) el('stop').focus({ preventScroll: true });
  openStream(base);
}

function newTurn(request, sentence) {
  const element = copy('turn-template');
  element.querySelector('.asked').textContent = [request.summary, sentence].filter(Boolean).join('\n');
  return {
    request,
    element,
    answer: element.querySelector('.answer'),
    bubble: element.querySelector('.bubble'),
    cards: [],
    finished: 0, // cards whose typed event has come
    text: '', // the stream's texts joined
    lastId: '',
    opened: false,
    attempts: 0, // to connect again since the last event
    unlocked: false, // a key that was stored has been shown to the server once
    startedAt: performance.now(),
    firstTextAt: null, // ms after startedAt
  };
}

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
  turn.source = new EventSource(url);
  listen('open', () => {
    turn.opened = true;
    setPhase(turn.text ? 'writing' : 'waiting');
  });
  listen('progress', ({ message, data }) => setText(el('status'), TEXT.progress(message, data.position)));
  listen('challenge', ({ data }) => (typeof data === 'string' ? addText(data) : finishCard(data.challenges)));
  listen('close', ({ data }) => (data ? finish(data) : end('failed', TEXT.noResult)));
  listen('error', ({ message }) => end('failed', message));
}

function listen(name, onEvent) {
  const { source } = turn;
  const mine = turn;
  source.addEventListener(name, (event) => {
    if (turn !== mine || turn.source !== source || !isBusy()) return;
    recordRaw(event);
    if (name === 'open') return onEvent();
    // Only `error` has two meanings: the server's event has data, the browser's own has none.
    if (event.data === undefined) return connectionLost();
    turn.lastId = event.lastEventId;
    turn.attempts = 0;
    keepInView(() => onEvent(JSON.parse(event.data)));
  });
}

function connectionLost() {
  // EventSource reconnects by itself and goes on after the last id, so it must not be closed here.
  if (turn.source.readyState !== EventSource.CLOSED) setPhase('reconnecting');
  else if (turn.opened) refusedAgain();
  else refused();
}

/**
 * A refusal ends EventSource for good. Where it was a proxy's, whose server is away for a moment, an answer that had
 * begun need not end with it.
 */
async function refusedAgain() {
  const mine = turn;
  setPhase('reconnecting');
  const url = new URL('../../../health/live', mine.source.url);
  const lives = await fetch(url).then((response) => response.ok).catch(() => false);
  if (turn !== mine || !isBusy()) return;
  if (lives || mine.attempts >= ATTEMPTS) return refused();
  setTimeout(() => {
    if (turn === mine && isBusy()) connect(afterLast(mine.source.url, mine.lastId));
  }, 1000 * 2 ** mine.attempts++);
}

/** The same request, from behind the last event; before the first one its request id finds the answer. */
function afterLast(address, lastId) {
  const url = new URL(address);
  if (lastId) url.searchParams.set('lastEventId', lastId);
  return url;
}

/** EventSource doesn't tell why a server refused; what can be mended or named is asked for. */
async function refused() {
  const mine = turn;
  const unlocked = await unlock();
  if (turn !== mine || !isBusy()) return;
  if (unlocked && !mine.unlocked) {
    mine.unlocked = true;
    return connect(afterLast(mine.source.url, mine.lastId));
  }
  end('failed', unlocked === null ? TEXT.key.needed : TEXT.refused);
  const url = new URL('../../../health/ready', mine.source.url);
  const ready = await fetch(url).then((response) => response.json()).catch(() => null);
  if (ready?.data?.reasons?.includes('loading')) setText(mine.answer.querySelector('.notice'), TEXT.loading);
}

function addText(text) {
  turn.firstTextAt ??= elapsed();
  turn.text += text;
  showText(turn.text);
  if (turn.phase !== 'writing') setPhase('writing');
}

/** Shows `{recommend}\n\n1. {title}\n{description}\n\n2. …`, whole or cut off anywhere. */
function showText(text) {
  const [recommend, ...challenges] = text.split('\n\n');
  setText(turn.bubble, recommend.replace(/\n$/, ''));
  let writing = turn.bubble;
  challenges.forEach((written, i) => {
    const [, title = '', description = ''] = written.match(/^\d+\. ([^\n]*)\n?(.*)/) ?? [];
    const card = cardAt(i);
    setText(card.title, title);
    setText(card.description, description);
    writing = description ? card.description : card.title;
  });
  mark(writing);
}

/** Puts the caret behind the text that is being written. */
function mark(writing) {
  turn.answer.querySelector('.writing')?.classList.remove('writing');
  writing?.classList.add('writing');
}

function cardAt(i) {
  if (!turn.cards[i]) {
    const element = copy('card-template');
    element.querySelector('.marker').textContent = i + 1;
    element.querySelector('.card-number').textContent = TEXT.challenge(i + 1);
    turn.answer.querySelector('.cards').append(element);
    const part = (name) => element.querySelector(`.card-${name}`);
    turn.cards[i] = { element, title: part('title'), description: part('description'), label: part('label') };
  }
  return turn.cards[i];
}

function finishCard({ category, label }) {
  const card = cardAt(turn.finished++);
  card.element.classList.add('finished');
  card.element.dataset.category = category;
  card.label.textContent = label;
  mark(null);
}

function finish(result) {
  const expected = render(result);
  if (turn.text !== expected || shownText() !== expected) {
    // The object is what the answer is; a reader should not be left with less than that.
    console.error('The streamed text differs from the close event.', { streamed: turn.text, shown: shownText(), expected });
    showText(expected);
  }
  result.challenges.slice(turn.finished).forEach(finishCard);
  showFacts(result);
  end('done');
}

function render({ recommend, challenges }) {
  return recommend + challenges.map((c, i) => `\n\n${i + 1}. ${c.title}\n${c.description}`).join('');
}

function shownText() {
  return render({
    recommend: turn.bubble.textContent,
    challenges: turn.cards.map((c) => ({ title: c.title.textContent, description: c.description.textContent })),
  });
}

function showFacts({ degraded, sources = [], grounding }) {
  const find = (selector) => turn.answer.querySelector(selector);
  find('.degraded').hidden = !degraded;
  find('.degraded').textContent = degraded ? TEXT.degraded : '';
  find('.sources').hidden = sources.length === 0;
  find('.sources summary').textContent = (grounding === 'select' ? TEXT.selected : TEXT.sources)(sources.length);
  for (const { title } of sources) {
    find('.sources ul').append(Object.assign(document.createElement('li'), { textContent: title }));
  }
  find('.facts').hidden = !degraded && sources.length === 0;
}

function end(phase, message = '') {
  turn.source.close();
  turn.answer.setAttribute('aria-busy', 'false');
  mark(null);
  turn.bubble.hidden = !turn.text;
  const notice = turn.answer.querySelector('.notice');
  notice.hidden = !message;
  notice.textContent = message;
  setPhase(phase);
}

function stop() {
  end('stopped');
  const [stream] = turn.lastId.split(':');
  // Closing alone lets the server wait for a reader to return. Nothing here depends on the reply.
  if (stream) fetch(new URL(`../streams/${stream}`, turn.source.url), { method: 'DELETE' }).catch(() => {});
}

function isBusy() {
  return turn !== null && BUSY.includes(turn.phase);
}

function setPhase(phase) {
  const hadFocus = el('actions').contains(document.activeElement);
  turn.phase = phase;
  document.body.dataset.phase = phase;
  turn.element.dataset.phase = phase;
  setText(el('status'), TEXT.status[phase]);
  el('actions').hidden = false;
  el('stop').hidden = !isBusy();
  el('again').hidden = isBusy();
  el('other-category').hidden = isBusy();
  el('again').textContent = phase === 'failed' ? TEXT.retry : TEXT.again;
  // The button that was pressed may just have disappeared.
  if (hadFocus) el(isBusy() ? 'stop' : 'again').focus({ preventScroll: true });
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
