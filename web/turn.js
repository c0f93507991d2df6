// A turn: one question, one stream, one answer. stream.js has its connection, chat.js the page around it.
'use strict';

const BUSY = ['connecting', 'waiting', 'writing', 'reconnecting'];
const CALM = 400; // ms after a change in which a tap is the second of two, and meant what was there before

let turn = null; // the newest question with its answer; only this one can be running

function ask(request, sentence) {
  const base = server();
  if (!base.startsWith('http')) return openSettings(TEXT.noServer);
  if (turn && elapsed() < CALM) return; // a double click
  if (isBusy()) stop();
  if (turn?.phase === 'failed' && !turn.text) turn.element.remove();
  turn = newTurn(request, sentence);
  el('log').append(turn.element);
  el('welcome').hidden = true;
  showTalk();
  location.hash = '#chat';
  showView();
  setPhase('connecting');
  follow();
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
    source: null,
    url: null, // what is connected to, or will be when the page is in view again
    opened: false,
    paused: false,
    resumed: false, // connected anew since the last event
    askedAgain: false, // the server no longer had the answer
    attempts: 0, // to connect again since the last event
    unlocked: false, // a key that was stored has been shown to the server once
    startedAt: performance.now(),
    changedAt: performance.now(), // when it began or ended
    firstTextAt: null, // ms after startedAt
  };
}

function addText(text) {
  turn.firstTextAt ??= elapsed();
  if (!turn.text) clearCards();
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

/** What an answer had written that is written anew. */
function clearCards() {
  turn.cards.forEach(({ element }) => element.remove());
  turn.cards = [];
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

function showFacts({ challenges, degraded, sources = [], grounding }) {
  const find = (selector) => turn.answer.querySelector(selector);
  find('.degraded').hidden = !degraded;
  find('.degraded').textContent = degraded ? TEXT.degraded : '';
  // A document that became a challenge is on the page already.
  const shown = challenges.map(({ title }) => title);
  const others = sources.filter(({ title }) => !shown.includes(title));
  const chosen = grounding === 'select' && challenges.length > 0;
  const label = sources.length ? (chosen ? TEXT.selected : TEXT.sources)(sources.length) : '';
  find('.chosen').textContent = others.length ? '' : label;
  find('.sources').hidden = others.length === 0;
  find('.sources summary').textContent = label;
  for (const { title } of others) {
    find('.sources ul').append(Object.assign(document.createElement('li'), { textContent: title }));
  }
  find('.sources').addEventListener('toggle', follow);
  find('.facts').hidden = !degraded && sources.length === 0;
}

function end(phase, message = '') {
  turn.source?.close();
  clearTimeout(silence);
  turn.changedAt = performance.now();
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
  if (stream) fetch(new URL(`../streams/${stream}`, turn.url), { method: 'DELETE' }).catch(() => {});
}

function isBusy() {
  return turn !== null && BUSY.includes(turn.phase);
}

/** Whether a tap can be meant for what is on the page now. */
function isCalm() {
  return turn === null || performance.now() - turn.changedAt > CALM;
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
