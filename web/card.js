// A challenge, as it stands in an answer or in the list of saved ones.
import { startLink, told } from './catalog.js';
import { copyOf, notify, setText, tell } from './dom.js';
import { TEXT, fill } from './language.js';
import { isSaved, toggle } from './saved.js';

export class Card {
  element = copyOf('card-template');
  challenge = null;

  constructor(number) {
    this.part('marker').textContent = number;
    this.part('card-number').textContent = fill(TEXT.challenge, { n: number });
    this.part('save').addEventListener('click', () => this.save());
    this.part('copy').addEventListener('click', () => this.copy());
    this.part('share').addEventListener('click', () => this.share());
    this.part('share').hidden = !navigator.share;
  }

  part(name) {
    return this.element.querySelector(`.${name}`);
  }

  get title() {
    return this.part('card-title').textContent;
  }

  get description() {
    return this.part('card-description').textContent;
  }

  /** Shows as much as is written, and says where the writing goes on. */
  write(title, description) {
    const [head, body] = [this.part('card-title'), this.part('card-description')];
    setText(head, title);
    setText(body, description);
    return description ? body : head;
  }

  finish(challenge) {
    this.element.classList.add('finished');
    this.element.dataset.category = challenge.category;
    this.part('card-label').textContent = told({ ...challenge, code: challenge.category }).name;
    this.part('card-actions').hidden = false;
    this.part('card-actions').setAttribute('aria-label', challenge.title);
    this.part('save').setAttribute('aria-pressed', String(isSaved(challenge)));
    const link = startLink(challenge);
    this.part('start').hidden = !link;
    if (link) this.part('start').href = link;
    this.know(challenge);
  }

  /** What only the end of an answer tells: how long it takes, and what a photo of it shows. */
  know({ minutes, proof, ...challenge }) {
    this.challenge = { ...this.challenge, ...challenge, minutes, proof };
    const [hours, rest] = [Math.floor(minutes / 60), minutes % 60];
    const time = [hours && fill(TEXT.hours, { n: hours }), rest && fill(TEXT.minutes, { n: rest })].filter(Boolean).join(' ');
    const facts = [time && fill(TEXT.takes, { time }), proof && fill(TEXT.proof, { proof })];
    tell(this.part('card-more'), facts.filter(Boolean).join(' · '));
  }

  save() {
    toggle(this.challenge);
    notify(isSaved(this.challenge) ? TEXT.savedNow : TEXT.savedNoMore);
  }

  async copy() {
    notify(await copied(`${this.title}\n${this.description}`) ? TEXT.copied : TEXT.notCopied);
  }

  share() {
    const { title, description } = this;
    const url = startLink(this.challenge) ?? undefined;
    // Whoever changes their mind has done nothing wrong.
    navigator.share({ title, text: `${title}\n${description}`, url }).catch(() => {});
  }
}

async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  // A page without TLS has no clipboard, but what is marked in it can be copied.
  const area = Object.assign(document.createElement('textarea'), { value: text, className: 'unseen' });
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}
