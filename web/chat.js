'use strict';

const TEXT = {
  own: '직접 입력',
  ownPlaceholder: { location: '예: 신도시 아파트', workType: '예: 카페 운영' },
  missing: {
    location: '지내는 곳을 고르거나 적어 주세요.',
    workType: '일하는 방식을 고르거나 적어 주세요.',
    category: '주제를 하나 골라 주세요.',
  },
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
  again: '다시 추천',
  retry: '다시 시도',
  refused: '서버가 연결을 받지 않았습니다. 잠시 후 다시 시도해 주세요.',
  blocked: '이 페이지의 보안 정책이 다른 서버로의 연결을 막았습니다. 설정에서 서버 주소를 비우거나, 페이지를 다른 곳에서 열어 주세요.',
  noResult: '응답을 읽을 수 없습니다. 다시 시도해 주세요.',
  noServer: '파일로 연 페이지입니다. 연결할 서버 주소를 적고 적용을 눌러 주세요.',
  badAddress: 'http:// 또는 https://로 시작하는 주소를 적어 주세요. 예: http://localhost:8080',
  badAddressParts: '주소에 아이디, 물음표(?), 샵(#)은 넣을 수 없습니다.',
  mixedContent: 'https 페이지에서는 https 주소에만 연결할 수 있습니다.',
  serverSaved: (host) => `이제 ${host} 서버에 연결합니다.`,
  serverCleared: '이 페이지를 보낸 서버에 연결합니다.',
  degraded: '미리 준비된 챌린지에서 골랐어요.',
  sources: (count) => `참고한 자료 ${count}건`,
  selected: (count) => `자료 ${count}건에서 골랐어요`,
  rawSummary: (count, first) => `${count}개 · 첫 글자까지 ${first === null ? '–' : `${first} ms`}`,
};

// Used when no server has filled in the catalogue (the page opened as a file).
const BUILT_IN_CATALOG = {
  categories: [
    { code: 'ZERO_WASTE', label: '제로웨이스트', description: '일회용품과 포장을 줄이고 다시 쓰는 실천' },
    { code: 'PLOGGING', label: '플로깅', description: '걷거나 달리면서 버려진 쓰레기를 줍는 실천' },
    { code: 'CARBON_FOOTPRINT', label: '탄소발자국', description: '일상에서 나오는 온실가스를 줄이는 실천' },
    { code: 'ENERGY_SAVING', label: '에너지 절약', description: '전기, 난방, 온수를 아껴 쓰는 실천' },
    { code: 'UPCYCLING', label: '업사이클', description: '버려질 물건에 새로운 쓸모를 만드는 실천' },
    { code: 'MEDIA', label: '문화 공유', description: '환경을 다룬 작품을 즐기고 나누는 실천' },
    { code: 'DIGITAL_CARBON', label: '디지털 탄소', description: '전자 기기를 쓰며 나오는 탄소를 줄이는 실천' },
    { code: 'VEGAN', label: '비건', description: '동물성 제품 대신 식물성을 고르는 실천' },
  ],
  places: [
    { code: 'city', label: '도시' }, { code: 'beach', label: '바닷가' },
    { code: 'mountain', label: '산' }, { code: 'rural', label: '농촌' },
  ],
  workTypes: [
    { code: 'office', label: '사무직' }, { code: 'field', label: '현장직' },
    { code: 'sales', label: '영업직' }, { code: 'remote', label: '재택근무' },
  ],
};

const FIELDS = ['location', 'workType', 'category'];
const BUSY = ['connecting', 'waiting', 'writing', 'reconnecting'];
const SERVER_KEY = 'leafresh.server';

const el = (id) => document.getElementById(id);
const copy = (id) => el(id).content.firstElementChild.cloneNode(true);
const phone = matchMedia('(max-width: 899px)');

let turn = null; // the newest question with its answer; only this one can be running
let server = loadServer(); // base URL chosen in the settings, '' for the page's own server

// --- Choices ---

function readCatalog() {
  try {
    return JSON.parse(el('catalog').textContent);
  } catch {
    return BUILT_IN_CATALOG;
  }
}

function buildChoices({ places, workTypes, categories }) {
  addChips('location', places);
  addChips('workType', workTypes);
  addChips('category', categories);
  addOwn('location');
  addOwn('workType');
  const descriptions = new Map(categories.map((c) => [c.code, c.description]));
  for (const field of FIELDS) {
    el(field).addEventListener('input', () => setText(el(`${field}-error`), ''));
  }
  el('category').addEventListener('change', (event) => {
    setText(el('category-hint'), descriptions.get(event.target.value) ?? '');
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

function addOwn(field) {
  const own = copy('own-template');
  own.placeholder = TEXT.ownPlaceholder[field];
  own.ariaLabel = `${el(field).querySelector('legend').textContent} ${TEXT.own}`;
  addChips(field, [{ code: '', label: TEXT.own }]);
  el(field).append(own);
  el(field).addEventListener('change', (event) => {
    if (event.target === own) return;
    own.hidden = event.target.value !== '';
    // Whoever walks through the chips with the arrow keys must not be pulled out of them.
    if (!own.hidden && !event.target.matches(':focus-visible')) own.focus();
  });
}

function choice(field) {
  const radio = el(field).querySelector('input:checked');
  if (!radio) return null;
  if (radio.value) return { value: radio.value, label: radio.nextElementSibling.textContent };
  const own = el(field).querySelector('.own').value.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return own ? { value: own, label: own } : null;
}

/** The three choices, or null after telling which ones are missing. */
function readChoices() {
  const chosen = FIELDS.map(choice);
  FIELDS.forEach((field, i) => setText(el(`${field}-error`), chosen[i] ? '' : TEXT.missing[field]));
  const missing = FIELDS[chosen.indexOf(null)];
  if (missing) {
    el(missing).querySelector('.own:not([hidden]), input:checked, input').focus();
    return null;
  }
  return {
    path: 'ai/chatbot/recommendation/base-info',
    params: Object.fromEntries(FIELDS.map((field, i) => [field, chosen[i].value])),
    summary: chosen.map((c) => c.label).join(' · '),
  };
}

// --- A turn: one question, one stream, one answer ---

function ask(request, sentence) {
  const base = server || ownServer();
  if (!base) return openSettings(TEXT.noServer);
  if (isBusy()) stop();
  if (turn?.phase === 'failed' && !turn.text) turn.element.remove();
  turn = newTurn(request, sentence);
  el('log').append(turn.element);
  el('welcome').hidden = true;
  el('back-to-chat').hidden = false;
  location.hash = '#chat';
  showView();
  setPhase('connecting');
  turn.element.scrollIntoView({ block: 'nearest' });
  if (el('ask').offsetParent === null) el('stop').focus({ preventScroll: true });
  openStream(base);
}

function newTurn(request, sentence) {
  const element = copy('turn-template');
  element.querySelector('.asked').textContent = `${request.summary}\n${sentence}`;
  return {
    request,
    element,
    answer: element.querySelector('.answer'),
    bubble: element.querySelector('.bubble'),
    cards: [],
    finished: 0, // cards whose typed event has come
    text: '', // the stream's texts joined
    phase: 'connecting',
    source: null,
    base: '',
    lastId: '',
    startedAt: performance.now(),
    firstTextAt: null,
  };
}

function openStream(base) {
  const url = new URL(turn.request.path, base);
  // With an id of its own, a request that is repeated before its first event has come joins the
  // answer that is being written; without one the server would start a second.
  const requestId = [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, '0')).join('');
  url.search = new URLSearchParams({ ...turn.request.params, requestId });
  clearRaw(url);
  turn.base = base;
  turn.source = new EventSource(url);
  turn.source.addEventListener('open', () => {
    recordRaw({ type: '(open)' });
    setPhase(turn.text ? 'writing' : 'waiting');
  });
  listen('challenge', ({ data }) => (typeof data === 'string' ? addText(data) : finishCard(data.challenges)));
  listen('close', ({ data }) => (data ? finish(data) : end('failed', TEXT.noResult)));
  listen('error', ({ message }) => end('failed', message), connectionLost);
}

/** `error` has two meanings: with data the server ended the answer, without data the connection broke. */
function listen(name, onEvent, onNoData) {
  turn.source.addEventListener(name, (event) => {
    recordRaw(event);
    if (event.data === undefined) return onNoData();
    turn.lastId = event.lastEventId;
    keepInView(() => onEvent(JSON.parse(event.data)));
  });
}

function connectionLost() {
  // EventSource reconnects by itself and goes on after the last id, so it must not be closed here.
  if (turn.source.readyState === EventSource.CLOSED) end('failed', TEXT.refused);
  else setPhase('reconnecting');
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
  setText(turn.bubble, recommend.trimEnd());
  let writing = turn.bubble;
  challenges.forEach((written, i) => {
    const number = `${i + 1}. `;
    const body = written.startsWith(number) ? written.slice(number.length) : number.startsWith(written) ? '' : written;
    const [title, description = ''] = body.split('\n');
    const card = cardAt(i);
    setText(card.title, title);
    setText(card.description, description);
    writing = description ? card.description : card.title;
  });
  turn.answer.querySelector('.writing')?.classList.remove('writing');
  writing.classList.add('writing');
}

function cardAt(i) {
  if (!turn.cards[i]) {
    const element = copy('card-template');
    element.querySelector('.marker').textContent = i + 1;
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
  card.label.hidden = false;
  turn.answer.querySelector('.writing')?.classList.remove('writing');
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
  find('.degraded').textContent = TEXT.degraded;
  find('.sources').hidden = sources.length === 0;
  find('.sources summary').textContent = (grounding === 'select' ? TEXT.selected : TEXT.sources)(sources.length);
  for (const { title } of sources) {
    find('.sources ul').append(Object.assign(document.createElement('li'), { textContent: title }));
  }
  find('.facts').hidden = !degraded && sources.length === 0;
}

function end(phase, message = '') {
  turn.source.close();
  turn.answer.ariaBusy = 'false';
  turn.answer.querySelector('.writing')?.classList.remove('writing');
  turn.bubble.hidden = !turn.bubble.textContent;
  const notice = turn.answer.querySelector('.notice');
  notice.hidden = !message;
  notice.textContent = message;
  setPhase(phase);
}

function stop() {
  end('stopped');
  const [stream] = turn.lastId.split(':');
  if (!stream) return;
  // Closing alone lets the server wait for a reader to return. Nothing depends on the reply.
  fetch(new URL(`ai/chatbot/streams/${stream}`, turn.base), { method: 'DELETE' }).catch(() => {});
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
  const view = location.hash === '#chat' && turn ? 'chat' : 'choose';
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

function ownServer() {
  return location.protocol.startsWith('http') ? new URL('.', location.href).href : '';
}

function loadServer() {
  try {
    return localStorage.getItem(SERVER_KEY) ?? '';
  } catch {
    return ''; // storage may be switched off; the address then lasts as long as the page
  }
}

/** The address as a base URL, or an Error that tells what is wrong with it. */
function parseServer(text) {
  if (!text) return '';
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!['http:', 'https:'].includes(url?.protocol)) throw new Error(TEXT.badAddress);
  if (url.username || url.search || url.hash) throw new Error(TEXT.badAddressParts);
  const local = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  if (location.protocol === 'https:' && url.protocol === 'http:' && !local) throw new Error(TEXT.mixedContent);
  return url.href.replace(/\/*$/, '/');
}

function saveServer(event) {
  event.preventDefault();
  try {
    server = parseServer(el('server').value.trim());
  } catch (error) {
    el('server').ariaInvalid = 'true';
    return setText(el('server-message'), error.message);
  }
  el('server').ariaInvalid = 'false';
  try {
    localStorage.setItem(SERVER_KEY, server);
  } catch { /* see loadServer */ }
  showServer();
  setText(el('server-message'), server ? TEXT.serverSaved(new URL(server).host) : TEXT.serverCleared);
}

function showServer() {
  el('server').value = server;
  el('server-badge').hidden = !server;
  el('server-badge').textContent = server && new URL(server).host;
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

function recordRaw({ type, lastEventId = '', data = '' }) {
  const row = document.createElement('li');
  const lost = type === 'error' && !data;
  const cells = { time: `${elapsed()} ms`, name: lost ? '(connection error)' : type, id: lost ? '' : lastEventId, data };
  for (const [name, value] of Object.entries(cells)) {
    row.append(Object.assign(document.createElement('span'), { className: `raw-${name}`, textContent: value }));
  }
  const list = el('raw-events');
  const following = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
  list.append(row);
  setText(el('raw-summary'), TEXT.rawSummary(list.childElementCount, turn.firstTextAt));
  if (following) list.scrollTop = list.scrollHeight;
}

// --- Wiring ---

buildChoices(readCatalog());
showServer();
showView();

el('choices').addEventListener('submit', (event) => {
  event.preventDefault();
  const request = readChoices();
  if (request) ask(request, TEXT.asked);
});
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
