// A turn: one question and its answer, as they stand in the conversation.
import { Card } from './card.js';
import { copyOf, setText, tell } from './dom.js';
import { TEXT, fill } from './language.js';
import { follow } from './view.js';

/** What an answer's texts join to. */
export function render({ recommend, challenges }) {
  return recommend + challenges.map((c, i) => `\n\n${i + 1}. ${c.title}\n${c.description}`).join('');
}

export class Turn {
  element = copyOf('turn-template');
  phase = 'connecting';
  cards = [];
  finished = 0; // cards whose typed event has come
  text = ''; // the stream's texts joined
  stream = null;
  name = null; // of an answer that can be rated
  askedAgain = false; // the server no longer had the answer
  since = Date.now();
  restored = false; // it was answered before the page was loaded
  goesOn = false; // it was asked before that
  facts = null; // where the answer came from
  startedAt = performance.now();
  changedAt = this.startedAt; // when it began or ended
  firstTextAt = null; // ms after startedAt

  constructor(request, asked) {
    Object.assign(this, { request, asked });
    this.part('asked').textContent = asked;
  }

  part(name) {
    return this.element.querySelector(`.${name}`);
  }

  /** The code of what it offers. */
  get category() {
    return this.cards[0]?.challenge?.category;
  }

  get answer() {
    return this.part('answer');
  }

  get elapsed() {
    return Math.round(performance.now() - this.startedAt);
  }

  add(text) {
    this.firstTextAt ??= this.elapsed;
    this.text += text;
    this.show(this.text);
  }

  /** Shows `{recommend}\n\n1. {title}\n{description}\n\n2. …`, whole or cut off anywhere. */
  show(text) {
    const [recommend, ...challenges] = text.split('\n\n');
    setText(this.part('bubble'), recommend.replace(/\n$/, ''));
    let writing = this.part('bubble');
    challenges.forEach((written, i) => {
      const [, title = '', description = ''] = written.match(/^\d+\. ([^\n]*)\n?(.*)/) ?? [];
      writing = this.card(i).write(title, description);
    });
    this.mark(writing);
  }

  /** Puts the caret behind the text that is being written. */
  mark(writing) {
    this.part('writing')?.classList.remove('writing');
    writing?.classList.add('writing');
  }

  card(i) {
    if (!this.cards[i]) {
      this.cards[i] = new Card(i + 1);
      this.part('cards').append(this.cards[i].element);
    }
    return this.cards[i];
  }

  finishCard(challenge) {
    this.card(this.finished++).finish(challenge);
    this.mark(null);
  }

  /** Forgets what had been written of an answer that is written anew. */
  clear() {
    this.cards.forEach(({ element }) => element.remove());
    Object.assign(this, { cards: [], finished: 0, text: '' });
    this.part('bubble').textContent = '';
  }

  /** The object is what the answer is; a reader should not be left with less than that. */
  complete(result) {
    const expected = render(result);
    const shown = render({ recommend: this.part('bubble').textContent, challenges: this.cards });
    if (this.text !== expected || shown !== expected) {
      console.error('The streamed text differs from the close event.', { streamed: this.text, shown, expected });
      this.show(expected);
      this.text = expected;
    }
    result.challenges.slice(this.finished).forEach((challenge) => this.finishCard(challenge));
    for (const { title, minutes, proof } of result.sources ?? []) {
      this.cards.find((card) => card.title === title)?.know({ minutes, proof });
    }
    const { degraded, grounding, sources = [] } = result;
    this.facts = { degraded, grounding, sources: sources.map(({ title }) => ({ title })) };
    this.showFacts({ ...this.facts, challenges: result.challenges });
  }

  showFacts({ challenges, degraded, sources, grounding }) {
    this.part('degraded').hidden = !degraded;
    // A document that became a challenge is on the page already.
    const shown = challenges.map(({ title }) => title);
    const others = sources.filter(({ title }) => !shown.includes(title));
    const chosen = grounding === 'select' && challenges.length > 0;
    const label = sources.length ? fill(chosen ? TEXT.selected : TEXT.sources, { n: sources.length }) : '';
    this.part('chosen').textContent = others.length ? '' : label;
    this.part('sources').hidden = others.length === 0;
    this.element.querySelector('summary').textContent = label;
    const items = others.map(({ title }) => Object.assign(document.createElement('li'), { textContent: title }));
    this.element.querySelector('.sources ul').replaceChildren(...items);
    this.part('sources').addEventListener('toggle', () => follow(this.answer));
    this.part('facts').hidden = !degraded && sources.length === 0;
  }

  /** What is kept of it in the browser. */
  get exchange() {
    const { request, asked, text, cards, facts, name } = this;
    const challenges = cards.map(({ challenge }) => challenge);
    return { question: request.question, request, asked, text, challenges, facts, stream: name };
  }

  /** Shows what was asked and answered before; `unanswered` where there is no answer. */
  restore({ text, challenges = [], facts }, unanswered) {
    Object.assign(this, { text, restored: true });
    this.show(text);
    this.cards.forEach((card, i) => card.finish(challenges[i] ?? { title: card.title, description: card.description }));
    if (facts) this.showFacts({ challenges, ...facts });
    this.phase = text ? 'done' : 'stopped';
    this.end(text ? '' : unanswered);
  }

  end(notice) {
    this.changedAt = performance.now();
    this.answer.setAttribute('aria-busy', 'false');
    this.mark(null);
    this.part('bubble').hidden = !this.text;
    tell(this.part('notice'), notice);
  }
}
