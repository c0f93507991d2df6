// Asks a server with OpenAI's own npm package and prints what it made of it as JSON: node openai.mjs FOLDER BASE_URL MODEL EMBEDDING_MODEL
// FOLDER is where the package is installed.
import { createRequire } from 'node:module';

const [folder, baseURL, model, embeddingModel] = process.argv.slice(2);
const { OpenAI } = createRequire(`${folder}/`)('openai');
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0, timeout: 60_000 });
const messages = [{ role: 'system', content: '짧게' }, { role: 'user', content: '안녕' }];
const how = { model, messages, seed: 7, max_tokens: 40 };
const schema = {
  type: 'object',
  properties: { title: { type: 'string' }, days: { type: 'integer', minimum: 1, maximum: 30 } },
  required: ['title', 'days'],
  additionalProperties: false,
};

const refused = async (asking) => {
  try {
    await asking;
  } catch (error) {
    return [error.constructor.name, error.status, error.code];
  }
  return null;
};

const streamed = async () => {
  let [text, usage] = ['', null];
  const stream = await client.chat.completions.create({ ...how, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? '';
    usage = chunk.usage ?? usage;
  }
  return { text, completion_tokens: usage.completion_tokens };
};

const left = async () => {
  const stream = await client.chat.completions.create({ ...how, max_tokens: 4000, stream: true });
  for await (const _ of stream) break;
  stream.controller.abort();
};

const whole = await client.chat.completions.create(how);
const format = { type: 'json_schema', json_schema: { name: 'challenge', strict: true, schema } };
const structured = await client.chat.completions.create({ ...how, max_tokens: 200, response_format: format });
const embedded = await client.embeddings.create({ model: embeddingModel, input: ['하나', '둘'] });
const models = [];
for await (const one of client.models.list()) models.push(one.id);
await left();
console.log(JSON.stringify({
  models,
  text: whole.choices[0].message.content,
  streamed: await streamed(),
  helped: await client.chat.completions.stream(how).finalContent(),
  structured: JSON.parse(structured.choices[0].message.content),
  dimension: embedded.data[0].embedding.length,
  refused: [
    await refused(client.chat.completions.create({ ...how, model: 'gpt-4o' })),
    await refused(client.chat.completions.create({ ...how, temperature: 5 })),
  ],
}));
