// The page around an answer: choices, conversation, view. turn.js has the answer itself, stream.js its connection.
'use strict';

const TEXT = {
  missing: {
    location: '지내는 곳을 고르거나 적어 주세요.',
    workType: '일하는 방식을 고르거나 적어 주세요.',
    category: '카테고리를 하나 골라 주세요.',
  },
  challenge: (number) => `챌린지 ${number}`,
  talk: { empty: '글로 물어보기', begun: '받은 추천 보기' },
  tooLong: (limit, length) => `${limit.toLocaleString('ko')}자까지 적을 수 있어요. 지금은 ${length.toLocaleString('ko')}자예요.`,
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
  refusedWith: {
    404: '이 주소에는 Leafresh 서버가 없어요. 설정에서 서버 주소를 확인해 주세요.',
    502: '앞에 있는 프록시가 Leafresh 서버에 닿지 못했어요. 잠시 후 다시 시도해 주세요.',
    503: '서버가 지금은 요청을 받지 못해요. 잠시 후 다시 시도해 주세요.',
    504: '앞에 있는 프록시가 Leafresh 서버의 대답을 기다리다 그만뒀어요. 잠시 후 다시 시도해 주세요.',
  },
  wait: (seconds) => (seconds < 100 ? `${seconds}초 뒤에 다시 시도할 수 있어요.` : `${Math.ceil(seconds / 60)}분 뒤에 다시 시도할 수 있어요.`),
  silent: '서버가 너무 오래 대답하지 않아요. 잠시 후 다시 시도해 주세요.',
  slow: '서버의 대답을 기다리고 있어요…',
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

// What Safari says of the Enter that ends a composition; for it the composition is over by then.
const COMPOSED = 229;
const LONGEST = { own: 50, message: 1000 }; // characters, as the server counts them
const FIELDS = ['location', 'workType', 'category'];
const SESSION_KEY = 'leafresh.session';

const phone = matchMedia('(max-width: 899px)');

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

/** As the server counts: composed characters, not the units of UTF-16. */
function lengthOf(text) {
  return [...text.normalize('NFC')].length;
}

/** What is wrong with the length of a text, or nothing. */
function tooLong(text, limit) {
  return lengthOf(text) > limit ? TEXT.tooLong(limit, lengthOf(text)) : '';
}

/** What is sent and what people read, or null. */
function choice(field) {
  const radio = el(field).querySelector('input:checked');
  if (radio) return { value: radio.value, label: radio.nextElementSibling.textContent };
  const own = el(field).querySelector('.own')?.value.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return own ? { value: own, label: own } : null;
}

/** The request for the three choices, or null after telling what is missing or too long. */
function readChoices() {
  const chosen = FIELDS.map(choice);
  const wrong = chosen.map((one, i) => (one ? tooLong(one.value, LONGEST.own) : TEXT.missing[FIELDS[i]]));
  FIELDS.forEach((field, i) => setText(el(`${field}-error`), wrong[i]));
  const first = wrong.findIndex(Boolean);
  if (first >= 0) {
    el(FIELDS[first]).querySelector(chosen[first] ? '.own' : 'input').focus();
    return null;
  }
  return {
    path: 'ai/chatbot/recommendation/base-info',
    params: Object.fromEntries(FIELDS.map((field, i) => [field, chosen[i].value])),
    summary: chosen.map(({ label }) => label).join(' · '),
  };
}

/** What was typed, without what the server would refuse or cut off itself. */
function typed() {
  return el('message').value.replace(/\s+/gu, ' ').replace(/\p{Cc}/gu, '').trim();
}

/** Says that a text is too long as soon as it is, and cuts nothing. */
function checkMessage() {
  const problem = tooLong(typed(), LONGEST.message);
  setText(el('say-error'), problem);
  el('message').setAttribute('aria-invalid', String(problem !== ''));
  return problem === '';
}

/** What was typed, as a request; null when there is nothing, or too much. */
function readMessage() {
  const message = typed();
  if (!message || !checkMessage()) {
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
  el('forget-dialog').close();
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
    el(phone.matches ? 'conversation-title' : 'message').focus(); // the button is gone
  }
  el('actions').hidden = false;
  setText(el('status'), gone ? TEXT.forgotten : TEXT.notForgotten);
}

function showTalk() {
  el('back-to-chat').textContent = turn ? TEXT.talk.begun : TEXT.talk.empty;
  el('conversation-head').classList.toggle('unseen', !turn);
  el('forget').hidden = !turn;
}

// --- What is in view ---

/** A phone shows the choices or the conversation, so that its back button leads from one to the other. */
function showView() {
  const view = location.hash === '#chat' ? 'chat' : 'choose';
  if (document.body.dataset.view === view) return;
  document.body.dataset.view = view;
  if (!phone.matches) return;
  scrollTo(0, 0);
  if (view === 'chat' && turn) turn.element.scrollIntoView({ block: 'start' });
}

function chooseCategory() {
  location.hash = '#choose';
  showView();
  el('category').scrollIntoView({ block: 'center' });
  el('category').classList.add('attention');
  (el('category').querySelector('input:checked') ?? el('category').querySelector('input')).focus({ preventScroll: true });
}

/** How much of the answer is below what can be seen. */
function overflow() {
  const bottom = Math.min(el('dock').getBoundingClientRect().top, innerHeight);
  return turn.answer.getBoundingClientRect().bottom - bottom;
}

/** Brings the answer's end into view, but never moves its beginning out of it: there one starts to read. */
function follow() {
  const room = turn.answer.getBoundingClientRect().top - 12;
  const distance = Math.min(overflow() + 10, room);
  if (distance > 0) scrollBy(0, distance);
}

/** Follows the answer as it grows, but leaves alone who has scrolled up to read. */
function keepInView(change) {
  const following = overflow() < 48;
  change();
  if (following) follow();
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// --- Wiring ---

buildChoices(readCatalog());
wireSettings();
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
  checkMessage();
  el('message').focus({ preventScroll: true });
});
el('message').addEventListener('keydown', (event) => {
  // The first Enter of Korean input only ends the syllable.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === COMPOSED) return;
  event.preventDefault();
  el('say').requestSubmit();
});
el('forget').addEventListener('click', () => el('forget-dialog').showModal());
el('forget-keep').addEventListener('click', () => el('forget-dialog').close());
el('forget-yes').addEventListener('click', forget);
el('message').addEventListener('input', () => {
  if (el('say-error').textContent || el('message').value.length > LONGEST.message) checkMessage();
});
el('stop').addEventListener('click', () => { if (isCalm()) stop(); });
el('again').addEventListener('click', () => { if (isCalm()) ask(turn.request, TEXT.askedAgain); });
el('other-category').addEventListener('click', chooseCategory);
el('category').addEventListener('animationend', () => el('category').classList.remove('attention'));
el('raw-toggle').addEventListener('change', (event) => { el('raw').hidden = !event.target.checked; });
addEventListener('hashchange', showView);
document.addEventListener('visibilitychange', seenOrNot);
document.addEventListener('freeze', pause);
addEventListener('pagehide', pause);
addEventListener('pageshow', resume);
document.addEventListener('securitypolicyviolation', (event) => {
  if (turn && event.effectiveDirective === 'connect-src') end('failed', TEXT.blocked);
});
