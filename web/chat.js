// The page comes to life: what each button and field does.
import { buildChoices, checkMessage, checkWhileTyping, chooseCategory, readChoices, readMessage, requestOf } from './choices.js';
import { ask, askAgain, end, forget, isBusy, isCalm, newest, restore, showTalk, stop } from './conversation.js';
import { el } from './dom.js';
import { TEXT, translatePage } from './language.js';
import { wireSettings } from './settings.js';
import { wireShelf } from './shelf.js';
import { pauseUnseen } from './stream.js';
import { showView } from './view.js';

// What Safari says of the Enter that ends a composition; for it the composition is over by then.
const COMPOSED = 229;

translatePage();
buildChoices();
wireSettings(() => {
  if (newest()?.phase === 'failed') askAgain();
});
wireShelf();
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
  if (!request || !ask(request)) return;
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
el('message').addEventListener('input', checkWhileTyping);
el('forget').addEventListener('click', () => el('forget-dialog').showModal());
el('forget-yes').addEventListener('click', forget);
el('stop').addEventListener('click', () => { if (isCalm()) stop(); });
el('again').addEventListener('click', () => { if (isCalm()) askAgain(); });
el('other-category').addEventListener('click', () => {
  location.hash = '#choose';
  showView();
  chooseCategory();
});
document.addEventListener('click', ({ target }) => {
  const { say } = target.dataset;
  if (say && isCalm()) ask(requestOf(say));
});
el('raw-toggle').addEventListener('change', ({ target }) => { el('raw').hidden = !target.checked; });
addEventListener('hashchange', () => showView(newest()?.element));
document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
  if (isBusy() && effectiveDirective === 'connect-src') end('failed', TEXT.blocked);
});
pauseUnseen(() => newest()?.stream);
document.body.dataset.phase = 'idle';
history.scrollRestoration = 'manual'; // restoring says what is in view
restore();
