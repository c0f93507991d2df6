// Reads a stream with the npm package `eventsource` and prints what it got as JSON: node eventsource.mjs FOLDER URL
// FOLDER is where the package is installed. It reconnects by itself, as a browser does.
import { createRequire } from 'node:module';

const [folder, url] = process.argv.slice(2);
const { EventSource } = createRequire(`${folder}/`)('eventsource');
const events = [];
let opened = 0;
const source = new EventSource(url);
const end = (how) => {
  source.close();
  console.log(JSON.stringify({ events, opened, how }));
};
const keep = ({ type, data, lastEventId }) => events.push({ type, id: lastEventId, data });
source.addEventListener('open', () => { opened += 1; });
source.addEventListener('challenge', keep);
source.addEventListener('close', (event) => { keep(event); end('close'); });
source.addEventListener('error', (event) => {
  if (event.data !== undefined) { keep(event); end('error'); } else if (source.readyState === EventSource.CLOSED) end('refused');
});
