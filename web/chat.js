'use strict';

const TEXT = {
  missing: {
    location: '지내는 곳을 고르거나 적어 주세요.',
    workType: '일하는 방식을 고르거나 적어 주세요.',
    category: '주제를 하나 골라 주세요.',
  },
  challenge: (number) => `챌린지 ${number}`,
  talk: { empty: '글로 물어보기', begun: '받은 추천 보기' },
  forgotten: '대화를 지웠어요.',
  notForgotten: '대화를 지우지 못했어요. 잠시 후 다시 시도해 주세요.',
  asked: '이 조건에 맞는 챌린지를 추천해 주세요.',
  askedAgain: '다시 추천해 주세요.',
  status: {
    connecting: '연결하는 중…',
    waiting: '챌린지를 고르는 중…',
    writing: '추천을 쓰는 중…',
    reconnecting: '다시 연결하는 중…',
    done: '추천이 끝났어요.',
    stopped: '멈췄어요.',
    failed: '추천을 마치지 못했어요.',
  },
  progress: (message, position) => (position ? `${message} · ${position}번째` : message),
  again: '다시 추천',
  retry: '다시 시도',
  refused: '서버가 연결을 받지 않았습니다. 잠시 후 다시 시도해 주세요.',
  loading: '서버가 아직 모델을 불러오는 중입니다. 잠시 후 다시 시도해 주세요.',
  blocked: '이 페이지의 보안 정책이 다른 서버로의 연결을 막았습니다. 설정에서 서버 주소를 비우거나, 페이지를 다른 곳에서 열어 주세요.',
  noResult: '응답을 읽을 수 없습니다. 다시 시도해 주세요.',
  noServer: '파일로 연 페이지입니다. 연결할 서버 주소를 적고 적용을 눌러 주세요.',
  badAddress: 'http:// 또는 https://로 시작하는 주소를 적어 주세요. 예: http://localhost:8080',
  serverSaved: (address) => (address ? '이제 이 서버에 연결합니다.' : '이 페이지를 보낸 서버에 연결합니다.'),
  degraded: '미리 준비된 챌린지에서 골랐어요.',
  sources: (count) => `참고한 자료 ${count}건`,
  selected: (count) => `자료 ${count}건에서 골랐어요`,
  rawSummary: (count, first) => `${count}개 · 첫 글자까지 ${first === null ? '–' : `${first} ms`}`,
};

const coded = (entries) => Object.entries(entries).map(([code, label]) => ({ code, label }));
const BUILT_IN_CATALOG = {
  places: coded({ city: '도시', beach: '바닷가', mountain: '산', rural: '농촌' }),
  workTypes: coded({ office: '사무직', field: '현장직', sales: '영업직', remote: '재택근무' }),
  categories: coded({
    ZERO_WASTE: '제로웨이스트', PLOGGING: '플로깅', CARBON_FOOTPRINT: '탄소발자국', ENERGY_SAVING: '에너지 절약',
    UPCYCLING: '업사이클', MEDIA: '문화 공유', DIGITAL_CARBON: '디지털 탄소', VEGAN: '비건',
  }),
};

const FIELDS = ['location', 'workType', 'category'];
const BUSY = ['connecting', 'waiting', 'writing', 'reconnecting'];
const ATTEMPTS = 4; // after 1, 2, 4 and 8 s: within the time that the server keeps an answer for its reader
const SERVER_KEY = 'leafresh.server';
const SESSION_KEY = 'leafresh.session';

const el = (id) => document.getElementById(id);
const copy = (id) => el(id).content.firstElementChild.cloneNode(true);
const phone = matchMedia('(max-width: 899px)');
const storage = openStorage();
let turn = null; // the newest question with its answer; only this one can be running

// --- Choices ---

function readCatalog() {
  try {
    return JSON.parse(el('catalog').textContent);
  } catch {
    return BUILT_IN_CATALOG; // the placeholder is still there: no server has filled it
  }
}

function buildChoices({ places, workTypes, categories }) {
  addChips('location', places);
  addChips('workType', workTypes);
  addChips('category', categories);
  connectOwn('location');
  connectOwn('workType');
  FIELDS.forEach((field) => el(field).addEventListener('input', () => setText(el(`${field}-error`), '')));
  el('category').addEventListener('change', ({ target }) => {
    setText(el('category-hint'), categories.find(({ code }) => code === target.value).description ?? '');
  });
}

function addChips(field, items) {
  for (const { code, label } of items) {
    const chip = copy('chip-template');
    Object.assign(chip.querySelector('input'), { name: field, value: code });
    chip.querySelector('span').textContent = label;
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

/** What is sent and what people read, or null. */
function choice(field) {
  const radio = el(field).querySelector('input:checked');
  if (radio) return { value: radio.value, label: radio.nextElementSibling.textContent };
  const own = el(field).querySelector('.own')?.value.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return own ? { value: own, label: own } : null;
}

/** The request for the three choices, or null after telling which ones are missing. */
function readChoices() {
  const chosen = FIELDS.map(choice);
  FIELDS.forEach((field, i) => setText(el(`${field}-error`), chosen[i] ? '' : TEXT.missing[field]));
  const missing = FIELDS[chosen.indexOf(null)];
  if (missing) {
    el(missing).querySelector('input').focus();
    return null;
  }
  return {
    path: 'ai/chatbot/recommendation/base-info',
    params: Object.fromEntries(FIELDS.map((field, i) => [field, chosen[i].value])),
    summary: chosen.map(({ label }) => label).join(' · '),
  };
}

/** What was typed, as a request; null when there is nothing. */
function readMessage() {
  const message = el('message').value.replace(/\s+/gu, ' ').replace(/\p{Cc}/gu, '').trim();
  if (!message) {
    el('message').focus();
    return null;
  }
  return { path: 'ai/chatbot/recommendation/free-text', params: { message }, summary: message };
}

// --- The conversation ---

/** The server remembers a conversation under a name that only this browser knows. */
function session() {
  storage[SESSION_KEY] ??= [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');
  return storage[SESSION_KEY];
}

async function forget() {
  if (isBusy()) stop();
  const base = storage[SERVER_KEY] || document.baseURI;
  const gone = await fetch(new URL(`ai/chatbot/sessions/${session()}`, base), { method: 'DELETE' })
    .then((response) => response.ok).catch(() => false);
  if (gone) {
    delete storage[SESSION_KEY];
    el('log').replaceChildren();
    turn = null;
    document.body.dataset.phase = 'idle';
    el('welcome').hidden = false;
    el('stop').hidden = el('again').hidden = el('other-category').hidden = true;
    showTalk();
  }
  el('actions').hidden = false;
  setText(el('status'), gone ? TEXT.forgotten : TEXT.notForgotten);
}

function showTalk() {
  el('back-to-chat').textContent = turn ? TEXT.talk.begun : TEXT.talk.empty;
  el('forget').hidden = !turn;
}

// --- A turn: one question, one stream, one answer ---

function ask(request, sentence) {
  const base = storage[SERVER_KEY] || document.baseURI;
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
    startedAt: performance.now(),
    firstTextAt: null, // ms after startedAt
  };
}

function openStream(base) {
  const url = new URL(turn.request.path, base);
  // With an id of its own, a request that is repeated before its first event has come joins the
  // answer that is being written; without one the server would start a second.
  const requestId = crypto.getRandomValues(new Uint32Array(4)).join('-');
  url.search = new URLSearchParams({ ...turn.request.params, sessionId: session(), requestId, progress: 1 });
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

/** EventSource doesn't tell why a server refused; the commonest reason, a model that is still loading, can be asked. */
async function refused() {
  const mine = turn;
  end('failed', TEXT.refused);
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

// --- What is in view ---

/** A phone shows the choices or the conversation, so that its back button leads from one to the other. */
function showView() {
  const view = location.hash === '#chat' ? 'chat' : 'choose';
  if (document.body.dataset.view === view) return;
  document.body.dataset.view = view;
  if (phone.matches) scrollTo(0, view === 'chat' ? document.body.scrollHeight : 0);
}

function chooseCategory() {
  location.hash = '#choose';
  showView();
  el('category').scrollIntoView({ block: 'center' });
  el('category').classList.add('attention');
  (el('category').querySelector('input:checked') ?? el('category').querySelector('input')).focus({ preventScroll: true });
}

/** Follows the answer as it grows, but leaves alone who has scrolled up to read. */
function keepInView(change) {
  const overflow = () => turn.answer.getBoundingClientRect().bottom - el('actions').getBoundingClientRect().top;
  const following = overflow() < 48;
  change();
  const hidden = overflow();
  if (following && hidden > 0) scrollBy(0, hidden);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// --- Settings ---

function openStorage() {
  try {
    return localStorage;
  } catch {
    return {}; // switched off: the address then lasts as long as the page
  }
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
  }
  setText(el('server-message'), valid ? TEXT.serverSaved(input.value) : TEXT.badAddress);
}

function showServer() {
  const address = storage[SERVER_KEY] ?? '';
  el('server').value = address;
  el('server-badge').hidden = !address;
  el('server-badge').textContent = address && new URL(address).host;
}

function openSettings(message) {
  el('settings').showPopover?.();
  setText(el('server-message'), message);
  el('server').focus();
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

// --- Wiring ---

buildChoices(readCatalog());
showServer();
showTalk();
showView();

el('choices').addEventListener('submit', (event) => {
  event.preventDefault();
  const request = readChoices();
  if (request) ask(request, TEXT.asked);
});
el('say').addEventListener('submit', (event) => {
  event.preventDefault();
  const request = readMessage();
  if (!request) return;
  ask(request);
  if (turn?.request !== request) return; // there is no server to ask
  el('message').value = '';
  el('message').focus({ preventScroll: true });
});
el('message').addEventListener('keydown', (event) => {
  // The first Enter of Korean input only ends the syllable.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  el('say').requestSubmit();
});
el('forget').addEventListener('click', forget);
el('stop').addEventListener('click', stop);
el('again').addEventListener('click', () => ask(turn.request, TEXT.askedAgain));
el('other-category').addEventListener('click', chooseCategory);
el('category').addEventListener('animationend', () => el('category').classList.remove('attention'));
el('server-form').addEventListener('submit', saveServer);
el('raw-toggle').addEventListener('change', (event) => { el('raw').hidden = !event.target.checked; });
addEventListener('hashchange', showView);
document.addEventListener('securitypolicyviolation', (event) => {
  if (turn && event.effectiveDirective === 'connect-src') end('failed', TEXT.blocked);
});
