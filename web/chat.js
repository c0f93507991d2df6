// The page around an answer: choices, conversation, view, settings. turn.js has the answer itself.
'use strict';

const TEXT = {
  missing: {
    location: '지내는 곳을 고르거나 적어 주세요.',
    workType: '일하는 방식을 고르거나 적어 주세요.',
    category: '카테고리를 하나 골라 주세요.',
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
  refused: '서버가 연결을 받지 않았어요. 잠시 후 다시 시도해 주세요.',
  loading: '서버가 아직 모델을 불러오는 중이에요. 잠시 후 다시 시도해 주세요.',
  blocked: '이 페이지의 보안 정책이 다른 서버로 가는 연결을 막았어요. 설정에서 서버 주소를 비우거나, 페이지를 다른 곳에서 열어 주세요.',
  noResult: '응답을 읽을 수 없어요. 다시 시도해 주세요.',
  noServer: '파일로 연 페이지예요. 연결할 서버 주소를 적고 적용을 눌러 주세요.',
  badAddress: 'http:// 또는 https://로 시작하는 주소를 적어 주세요. 예: http://localhost:8080',
  serverSaved: (address) => (address ? '이제 이 서버에 연결해요.' : '이 페이지를 보낸 서버에 연결해요.'),
  key: {
    needed: 'API 키가 있어야 쓸 수 있는 서버예요. 설정에 키를 적어 주세요.',
    ask: '이 서버를 쓰려면 키가 필요해요. 운영하는 사람에게 받은 키를 적어 주세요.',
    wrong: '맞지 않는 키예요. 다시 확인해 주세요.',
    saved: '키를 확인했어요. 이 탭을 닫을 때까지 기억해요.',
    offline: '서버에 연결하지 못했어요. 잠시 후 다시 시도해 주세요.',
    elsewhere: '키는 그 서버가 보낸 페이지에서만 쓸 수 있어요. 서버 주소를 브라우저에서 바로 열어 주세요.',
  },
  degraded: '모델이 쓰지 못한 부분은 준비해 둔 챌린지로 채웠어요.',
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
const SERVER_KEY = 'leafresh.server';
const SESSION_KEY = 'leafresh.session';
const API_KEY = 'leafresh.key';

const el = (id) => document.getElementById(id);
const copy = (id) => el(id).content.firstElementChild.cloneNode(true);
const phone = matchMedia('(max-width: 899px)');
const storage = openStorage(() => localStorage);
const tab = openStorage(() => sessionStorage); // a key shouldn't outlive its tab

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
  const gone = await fetch(new URL(`ai/chatbot/sessions/${session()}`, server()), { method: 'DELETE' })
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
  const overflow = () => turn.answer.getBoundingClientRect().bottom - el('dock').getBoundingClientRect().top;
  const following = overflow() < 48;
  change();
  const hidden = overflow();
  if (following && hidden > 0) scrollBy(0, hidden);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// --- Settings ---

function openStorage(open) {
  try {
    return open();
  } catch {
    return {}; // switched off: what is kept then lasts as long as the page
  }
}

/** The server that is asked: the page's own unless another is set. */
function server() {
  return storage[SERVER_KEY] || document.baseURI;
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

// --- The key, for servers that want one ---

/**
 * EventSource can't send a key, so the server gives a cookie for one. True: it has a cookie now that it hadn't;
 * null: it wants a key that isn't there.
 */
async function unlock() {
  const key = tab[API_KEY];
  const status = await showKey(key);
  if (status !== 401) return Boolean(key) && status === 204;
  delete tab[API_KEY];
  askForKey(new URL(server()).origin === location.origin ? TEXT.key.ask : TEXT.key.elsewhere);
  return null;
}

/** The status with which the server takes a key, or 0. */
function showKey(key) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  return fetch(new URL('auth/cookie', server()), { method: 'POST', headers }).then(({ status }) => status).catch(() => 0);
}

function askForKey(message) {
  el('key-form').hidden = false;
  el('settings').showPopover?.();
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
  setText(el('key-message'), right ? TEXT.key.saved : status === 401 ? TEXT.key.wrong : TEXT.key.offline);
  if (!right) return;
  tab[API_KEY] = key;
  el('settings').hidePopover?.();
  if (turn?.phase === 'failed') ask(turn.request, TEXT.askedAgain);
}

// --- Wiring ---

buildChoices(readCatalog());
showServer();
showTalk();
showView();
el('key-form').hidden = !tab[API_KEY];
el('key').value = tab[API_KEY] ?? '';

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
el('key-form').addEventListener('submit', saveKey);
el('raw-toggle').addEventListener('change', (event) => { el('raw').hidden = !event.target.checked; });
addEventListener('hashchange', showView);
document.addEventListener('securitypolicyviolation', (event) => {
  if (turn && event.effectiveDirective === 'connect-src') end('failed', TEXT.blocked);
});
