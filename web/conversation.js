// The conversation: what is asked, and how far the newest answer is.
import { requestOf } from './choices.js';
import { el, setText } from './dom.js';
import { askFeedback } from './feedback.js';
import { forgetSession, keepRunning, recall, remember, running, session, sessionAddress } from './history.js';
import { TEXT, fill, language } from './language.js';
import { clearRaw, recordRaw } from './raw.js';
import { server, unlock } from './settings.js';
import { Stream, freshName } from './stream.js';
import { Turn } from './turn.js';
import { follow, keepInView, phone, showView } from './view.js';

const BUSY = ['connecting', 'waiting', 'writing', 'reconnecting'];
const CALM = 400; // ms after a change in which a tap is the second of two, and meant what was there before
const FRESH = 600_000; // ms in which what was asked before a reload is still wanted

let turns = [];
let turn = null; // the newest; only this one can be running

/** The newest turn, or null. */
export const newest = () => turn;

export const isBusy = () => turn !== null && BUSY.includes(turn.phase);

/** Whether a tap can be meant for what is on the page now. */
export const isCalm = () => turn === null || performance.now() - turn.changedAt > CALM;

/** Asks, unless this is a double click. Says whether it did. */
export function ask(request, sentence) {
  if (turn && turn.elapsed < CALM) return false;
  if (isBusy()) stop();
  if (turn && !turn.text && (turn.phase === 'failed' || turn.restored)) drop(turn);
  begin(new Turn(request, [request.summary, sentence].filter(Boolean).join('\n')));
  location.hash = '#chat';
  showView();
  setPhase('connecting');
  follow(turn.answer);
  if (el('ask').offsetParent === null) el('stop').focus({ preventScroll: true });
  open();
  return true;
}

function begin(newest) {
  turn = newest;
  turns.push(turn);
  el('log').append(turn.element);
  showTalk();
}

export function askAgain() {
  ask(turn.request, TEXT.askedAgain);
}

function open() {
  const url = new URL(turn.request.path, server());
  // With an id of its own, a request that is repeated before its first event has come joins the
  // answer that is being written; without one the server would start a second.
  const own = { sessionId: session(), requestId: freshName(), progress: 1, details: 1 };
  url.search = new URLSearchParams({ ...turn.request.params, ...own });
  listenTo(new Stream(url, heardBy(turn)));
}

function listenTo(stream) {
  clearRaw(stream.url);
  turn.stream = stream;
  leaveTrace();
  stream.connect();
}

/** What has to be known to go on after a reload. */
function leaveTrace() {
  const { request, asked, stream, since } = turn;
  keepRunning({ server: server(), request, asked, since, url: stream.url, name: stream.name });
}

/** What a stream tells its turn; the page follows what grows. */
function heardBy(mine) {
  const growing = (change) => keepInView(mine.answer, change);
  return {
    phase: setPhase,
    progress: ({ stage, position }, message) => {
      const text = TEXT.stage?.[stage] ?? message;
      setText(el('status'), position ? fill(TEXT.position, { stage: text, n: position }) : text);
    },
    text: (text) => growing(() => mine.add(text)),
    challenge: (challenge) => growing(() => mine.finishCard(challenge)),
    close: (result) => growing(() => {
      if (result) {
        mine.complete(result);
        // Nobody is asked what they think of help in distress, or of a refusal.
        if (result.remembered && result.grounding !== 'none') {
          mine.name = mine.stream.name;
          askFeedback(mine.part('rating'), mine.name);
        }
        const earlier = twin();
        if (earlier && [mine.text, ''].includes(earlier.text)) drop(earlier);
        remember(mine.exchange);
      }
      end(result ? 'done' : 'failed', result ? '' : TEXT.noResult);
    }),
    failed: (failure) => growing(() => failed(failure)),
    slow: () => setText(el('status'), TEXT.slow),
    event: (event) => recordRaw(event, mine.elapsed, mine.firstTextAt),
    named: leaveTrace,
    locked: unlock,
  };
}

/** What the server remembers of the question that is being answered since before a reload, if it does already. */
function twin() {
  const before = turns.at(-2);
  return turn.goesOn && before?.restored && before.request.question.normalize() === turn.request.question.normalize() ? before : null;
}

function drop(unwanted) {
  unwanted.element.remove();
  turns = turns.filter((one) => one !== unwanted);
}

/** An answer that the server no longer has, or gave up while nobody was there, is asked for once more. */
function failed({ status, message, wait }) {
  const lost = status === 410 || (status === 499 && turn.stream.resumed);
  const earlier = lost && twin();
  if (earlier?.text) {
    // It came to its end while nobody was there.
    drop(turn);
    turn = earlier;
    return end('done');
  }
  if (lost && !turn.askedAgain) {
    if (earlier) drop(earlier);
    turn.askedAgain = true;
    turn.clear();
    setPhase('reconnecting');
    return open();
  }
  // The server speaks Korean; and what it says of a path that it doesn't have tells nothing of the address.
  const said = language === 'ko' && status !== 404 && message;
  const text = said || TEXT.refusedWith[status] || TEXT.refused;
  const later = wait < 100 ? fill(TEXT.waitSeconds, { n: wait }) : fill(TEXT.waitMinutes, { n: Math.ceil(wait / 60) });
  end('failed', wait > 0 ? `${text} ${later}` : text);
}

export function end(phase, notice = '') {
  turn.stream?.close();
  turn.end(notice);
  keepRunning(null);
  setPhase(phase);
}

export function stop() {
  turn.stream.stop();
  end('stopped');
}

/** Shows what was said before, and goes on with what was being answered when the page was left. */
export async function restore() {
  const exchanges = await recall();
  const earlier = exchanges.map((exchange) => {
    const one = new Turn(exchange.request ?? requestOf(exchange.question), exchange.asked ?? exchange.question);
    one.restore(exchange, TEXT.unanswered);
    if (exchange.stream) askFeedback(one.part('rating'), exchange.stream, exchange.rating);
    return one;
  });
  el('log').prepend(...earlier.map(({ element }) => element));
  turns.unshift(...earlier);
  // Somebody was faster than the server.
  if (turn) return;
  const left = running();
  if (left?.server === server()) return goOn(left);
  if (!earlier.length) return;
  turn = earlier.at(-1);
  showTalk();
  setPhase(turn.phase);
  setText(el('status'), '');
  if (!phone.matches || location.hash === '#chat') turn.element.scrollIntoView({ block: 'start' });
}

function goOn({ request, asked, since, url, name }) {
  begin(new Turn(request, asked));
  Object.assign(turn, { since, goesOn: true, askedAgain: Date.now() - since > FRESH });
  setPhase('connecting');
  const stream = new Stream(url, heardBy(turn), name && `${name}:0`);
  stream.resumed = true;
  listenTo(stream);
  turn.element.scrollIntoView({ block: 'start' });
}

export async function forget() {
  if (isBusy()) stop();
  const gone = await fetch(sessionAddress(), { method: 'DELETE' }).then(({ ok }) => ok).catch(() => false);
  if (gone) {
    forgetSession();
    el('log').replaceChildren();
    turns = [];
    turn = null;
    document.body.dataset.phase = 'idle';
    showTalk();
    showActions();
    el(phone.matches ? 'conversation-title' : 'message').focus(); // the button is gone
  }
  el('actions').hidden = false;
  setText(el('status'), gone ? TEXT.forgotten : TEXT.notForgotten);
}

export function showTalk() {
  el('welcome').hidden = turn !== null;
  el('back-to-chat').textContent = turn ? TEXT.talk.begun : TEXT.talk.empty;
  el('conversation-head').classList.toggle('unseen', !turn);
  el('forget').hidden = !turn;
}

function setPhase(phase) {
  const focused = document.activeElement?.closest('.actions, .replies') && document.activeElement;
  turn.phase = phase;
  document.body.dataset.phase = phase;
  turn.element.dataset.phase = phase;
  const replied = phase === 'done' && !turn.cards.length;
  setText(el('status'), TEXT.status[replied ? 'replied' : phase]);
  el('actions').hidden = false;
  showActions();
  // The button that was pressed may just have disappeared.
  if (focused && focused.offsetParent === null) {
    (el('actions').querySelector('button:not([hidden])') ?? el('message')).focus({ preventScroll: true });
  }
}

/** The buttons for what can be done next. */
function showActions() {
  const over = turn !== null && !isBusy();
  el('stop').hidden = !isBusy();
  // Asking once more for what was no question brings the same reply.
  el('again').hidden = !over || (turn.phase === 'done' && !turn.cards.length);
  el('again').textContent = turn?.phase === 'failed' ? TEXT.retry : TEXT.again;
  el('other-category').hidden = !over;
  const offers = turns.filter(({ cards }) => cards.length);
  el('examples').hidden = isBusy() || offers.length > 0;
  el('replies').hidden = !over || !offers.length;
  el('back').hidden = !hasMoved(offers);
}

/** Whether the conversation has left the category that was chosen, or that it began with. */
function hasMoved(offers) {
  const chosen = offers.findLast(({ request }) => request.path.endsWith('base-info'));
  return (chosen ?? offers[0])?.category !== offers.at(-1)?.category;
}
