// 👍 and 👎: the server keeps what somebody thinks of an answer with the conversation.
import { notify } from './dom.js';
import { keepRating, session } from './history.js';
import { TEXT } from './language.js';
import { server } from './settings.js';

/** Shows the buttons, for the answer of this name. */
export function askFeedback(buttons, name, rated) {
  buttons.hidden = false;
  const show = (rating) => {
    for (const button of buttons.children) button.ariaPressed = String(button.value === rating);
  };
  show(rated);
  buttons.addEventListener('click', async ({ target: { value, ariaPressed } }) => {
    if (!value) return;
    const rating = ariaPressed === 'true' ? null : value;
    const done = await send(name, rating);
    if (done) {
      show(rating);
      keepRating(name, rating);
    }
    notify(!done ? TEXT.notRated : rating ? TEXT.rated : TEXT.ratedNoMore);
  });
}

/** Whether the server took it. */
function send(name, rating) {
  const headers = { 'Content-Type': 'application/json' };
  const body = JSON.stringify({ sessionId: session(), rating });
  const url = new URL(`ai/chatbot/streams/${name}/feedback`, server());
  return fetch(url, { method: 'POST', headers, body }).then(({ ok }) => ok).catch(() => false);
}
