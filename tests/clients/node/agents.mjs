// `@openai/agents-realtime` over WebSocket: a greeting, a spoken turn, a tool call, an interruption.
import { RealtimeSession } from '@openai/agents-realtime';
import { agent, cities } from './receptionist.mjs';
import { fail, frames, task, tell } from './story.mjs';

const audio = { input: { format: task.format, turnDetection: task.turns }, output: { format: task.format } };
const session = new RealtimeSession(agent, { transport: 'websocket', model: task.model, config: { audio } });

let turn = { audio: [] };
let said, onAudio;
const interrupted = new Promise((resolve) => session.once('audio_interrupted', () => resolve()));
const statuses = [];
let cut;
const cancelled = new Promise((resolve) =>
  session.on('transport_event', (event) => {
    if (event.type === 'response.done') statuses.push(event.response.status);
    if (event.type === 'conversation.item.truncated') cut = event.audio_end_ms;
    if (cut !== undefined && statuses.includes('cancelled')) resolve({ statuses, heard_ms: cut });
  }),
);

/** What the model says, when all of it has come. */
function saying() {
  turn = { audio: [] };
  return new Promise((resolve) => (said = resolve));
}

function speak(phrase) {
  for (const frame of frames(phrase)) {
    session.sendAudio(frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.length));
  }
}

session.on('error', (event) => fail(event.error));
session.on('audio', (event) => {
  turn.audio.push(Buffer.from(event.data).toString('base64'));
  onAudio?.();
});
session.on('audio_stopped', () => said(turn));

await session.connect({ apiKey: task.key, url: `${task.ws}/realtime?model=${task.model}` });

let answer = saying();
session.sendMessage('Please greet the caller.');
tell('greeting', await answer);

answer = saying();
speak('what_time');
tell('turn', await answer);

answer = saying();
speak('weather');
tell('told', { ...(await answer), cities });

answer = saying();
onAudio = () => {
  onAudio = undefined;
  speak('stop_please');
};
speak('long_story');
await interrupted;
tell('interruption', await cancelled);
session.close();
