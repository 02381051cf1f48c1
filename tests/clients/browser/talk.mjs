// `@openai/agents-realtime` over WebRTC: the package's own bundle for browsers, as it is.
import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession, tool } from './bundle/openai-realtime-agents.mjs';
import { record, Voice } from './sound.mjs';

const cities = [];
const weather = tool({
  name: 'get_weather',
  description: 'The weather in a city',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
  strict: true,
  execute: async ({ city }) => {
    cities.push(city);
    return 'blue sky';
  },
});

/** A session that is connected, its events, and a recording of what it plays. */
async function connect(task, options = {}) {
  let recording;
  const changePeerConnection = async (peer) => {
    peer.addEventListener('track', (event) => (recording = record(new MediaStream([event.track]))));
    return peer;
  };
  const transport = new OpenAIRealtimeWebRTC({ ...options, changePeerConnection });
  const agent = new RealtimeAgent({ name: 'Receptionist', instructions: 'Be brief.', tools: [weather] });
  const audio = { input: { turnDetection: { type: 'server_vad', interruptResponse: true, createResponse: true } } };
  const session = new RealtimeSession(agent, { transport, model: task.model, config: { audio } });
  const seen = [];
  const waiting = [];
  session.on('error', (event) => waiting.splice(0).forEach(({ reject }) => reject(event.error)));
  session.on('transport_event', (event) => {
    seen.push(event.type);
    for (const entry of waiting.filter(({ type }) => type === event.type)) {
      waiting.splice(waiting.indexOf(entry), 1);
      entry.resolve(event);
    }
  });
  const next = (type) => new Promise((resolve, reject) => waiting.push({ type, resolve, reject }));
  await session.connect({ apiKey: task.key, url: task.url, model: task.model });
  return { session, transport, seen, next, recording: await recording };
}

/** The person says hello into the microphone of the machine, and hears the whole greeting. */
async function hello(task) {
  const { session, transport, seen, next, recording } = await connect(task);
  await next('output_audio_buffer.stopped');
  await recording.quiet(200);
  const told = { call: transport.callId, seen, audio: recording.base64() };
  session.close();
  return told;
}

/** The person breaks in upon the greeting, and asks for something that needs a tool. */
async function story(task) {
  const voice = new Voice();
  const { session, seen, next, recording } = await connect(task, { mediaStream: voice.stream });
  session.sendMessage('Please greet the caller.');
  await recording.loud(800);
  const cleared = next('output_audio_buffer.cleared');
  const truncated = next('conversation.item.truncated');
  const stopped = next('output_audio_buffer.stopped');
  await voice.speak('weather');
  await cleared;
  const cut = await truncated;
  await stopped;
  await recording.quiet(200);
  const told = { cut: cut.audio_end_ms, cities, seen, audio: recording.base64() };
  session.close();
  return told;
}

/** A key that is refused: what the person who wrote the page is told. */
async function refused(task) {
  try {
    await connect(task, { mediaStream: new Voice().stream });
  } catch (error) {
    return { message: String(error.message ?? error) };
  }
  return { message: '' };
}

Object.assign(window, { hello, story, refused });
