// The connection of an answer: opened, lost, found again, paused while nobody looks.

const ATTEMPTS = 6; // after 1, 2, 4 … 32 s: within the time that the server keeps an answer for its reader
// ms without a word from the server. An answer may take 240 s, and a lost one is kept for 120.
export const LIMITS = { hint: 10_000, connecting: 40_000, waiting: 270_000, writing: 270_000, reconnecting: 150_000 };
// ms. A hidden tab takes one of the six connections that a browser has to a server; a glance elsewhere ends nothing.
export const AWAY = { closes: 3000, distrusts: 10_000, since: null };

/** Random, 128 bits: names a request or a conversation. */
export function freshName() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * `heard` has a function for all that comes: `progress`, `text`, `challenge`, `close`, `failed` (status 0: nobody answers), `slow`,
 * `phase`, `named` when its name is known, `event` for each of the browser's events; and `locked`, which gets a key.
 */
export class Stream {
  source = null;
  opened = false;
  ended = false;
  paused = false;
  resumed = false; // connected anew since the last event
  attempts = 0; // to connect again since the last event
  unlocked = false; // a key that was stored has been shown to the server once
  phase = 'connecting';
  silence = 0; // the timer

  constructor(url, heard, lastId = '') {
    Object.assign(this, { url: String(url), heard, lastId });
  }

  /** The answer's name, as soon as it is known. */
  get name() {
    return this.lastId.split(':')[0];
  }

  /** From behind the last event on; before the first one the request's own id finds the answer. */
  get address() {
    return this.lastId ? `${this.url}&lastEventId=${encodeURIComponent(this.lastId)}` : this.url;
  }

  connect() {
    if (this.paused) return;
    this.source?.close();
    this.source = new EventSource(this.address);
    this.listen('open', () => this.enter(this.began ? 'writing' : 'waiting'));
    this.listen('progress', ({ message, data }) => this.heard.progress(data, message));
    this.listen('challenge', ({ data }) => {
      this.began = true;
      if (typeof data !== 'string') return this.heard.challenge(data.challenges);
      if (this.phase !== 'writing') this.enter('writing');
      this.heard.text(data);
    });
    this.listen('close', ({ data }) => {
      this.close();
      this.heard.close(data);
    });
    this.listen('error', (failure) => this.fail(failure));
    this.watchSilence();
  }

  listen(name, onEvent) {
    const { source } = this;
    source.addEventListener(name, (event) => {
      if (this.source !== source || this.paused || this.ended) return;
      this.heard.event(event);
      // Only `error` has two meanings: the server's event has data, the browser's own has none.
      if (name !== 'open' && event.data === undefined) return this.lost();
      this.watchSilence();
      if (name === 'open') {
        this.opened = true;
        return onEvent();
      }
      const before = this.name;
      this.lastId = event.lastEventId;
      if (this.name !== before) this.heard.named();
      this.attempts = 0;
      onEvent(JSON.parse(event.data));
      this.resumed = false;
    });
  }

  enter(phase) {
    this.phase = phase;
    this.heard.phase(phase);
  }

  /** Nothing is heard any more. */
  close() {
    this.ended = true;
    this.source?.close();
    clearTimeout(this.silence);
  }

  fail(failure) {
    this.close();
    this.heard.failed(failure);
  }

  /** Closing alone lets the server wait for a reader to return. Nothing here depends on the reply. */
  stop() {
    this.close();
    if (this.name) fetch(new URL(`../streams/${this.name}`, this.url), { method: 'DELETE' }).catch(() => {});
  }

  // --- A connection that is lost, or refused ---

  lost() {
    this.resumed = true;
    // EventSource reconnects by itself and goes on after the last id, so it must not be closed here.
    if (this.source.readyState !== EventSource.CLOSED) this.reconnecting();
    else if (this.opened) this.refusedAgain();
    else this.refused();
  }

  reconnecting() {
    if (this.phase === 'reconnecting') return;
    this.enter('reconnecting');
    this.watchSilence();
  }

  connectAgain() {
    this.resumed = true;
    this.connect();
  }

  /**
   * A refusal ends EventSource for good. Where it was a proxy's, whose server is away for a moment, an answer that had
   * begun need not end with it.
   */
  async refusedAgain() {
    this.reconnecting();
    const lives = await fetch(new URL('../../../health/live', this.url)).then(({ ok }) => ok).catch(() => false);
    if (this.ended) return;
    if (lives || this.attempts >= ATTEMPTS) return this.refused();
    setTimeout(() => {
      if (!this.ended) this.connectAgain();
    }, 1000 * 2 ** this.attempts++);
  }

  /** EventSource doesn't tell why a server refused: the request is made once more to hear it. */
  async refused() {
    const refusal = await hearRefusal(this.address);
    if (this.ended) return;
    if (refusal.status === 401) {
      const unlocked = await this.heard.locked();
      if (this.ended) return;
      if (!unlocked || this.unlocked) return this.fail({ status: unlocked === null ? 401 : undefined });
      this.unlocked = true;
      return this.connectAgain();
    }
    // It was refused for a moment only.
    if (refusal.status === 200 && this.attempts++ < ATTEMPTS) return this.connectAgain();
    this.fail(refusal);
  }

  // --- A server that says nothing ---

  watchSilence() {
    clearTimeout(this.silence);
    if (this.ended || this.paused) return;
    const { hint } = LIMITS;
    this.silence = setTimeout(() => {
      if (this.phase === 'connecting') this.heard.slow();
      this.silence = setTimeout(() => this.fail({ status: 408 }), Math.max(LIMITS[this.phase] - hint, 0));
    }, hint);
  }

  // --- A page that nobody sees ---

  /** The server parks the answer, and keeps it for a while. */
  pause() {
    if (this.ended || this.paused) return;
    this.paused = true;
    this.source?.close();
    clearTimeout(this.silence);
  }

  resume() {
    if (!this.paused) return;
    this.paused = false;
    if (this.ended) return;
    this.enter('reconnecting');
    this.connectAgain();
  }
}

/** The status, or 0, and what people read of it. An answer that begins is let go: its request id finds it again. */
async function hearRefusal(address) {
  const abort = new AbortController();
  const headers = { Accept: 'text/event-stream' };
  const response = await fetch(address, { headers, signal: abort.signal }).catch(() => null);
  if (!response) return { status: 0 };
  const { status } = response;
  if (status === 200) {
    abort.abort();
    return { status };
  }
  const said = await response.json().catch(() => null); // a proxy's page is no JSON
  return { status, message: said?.message, wait: Number(response.headers.get('Retry-After')) };
}

/** Lets the stream that `current` gives go while nobody sees the page. */
export function pauseUnseen(current) {
  let leaving = 0;
  const pause = () => {
    clearTimeout(leaving);
    current()?.pause();
  };
  const resume = () => {
    clearTimeout(leaving);
    current()?.resume();
  };
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      AWAY.since = Date.now();
      leaving = setTimeout(pause, AWAY.closes);
      return;
    }
    // A page that was frozen had no time to close; what it holds may be dead without having heard so.
    if (AWAY.since !== null && Date.now() - AWAY.since > AWAY.distrusts) pause();
    AWAY.since = null;
    resume();
  });
  document.addEventListener('freeze', pause);
  addEventListener('pagehide', pause);
  addEventListener('pageshow', resume);
}
