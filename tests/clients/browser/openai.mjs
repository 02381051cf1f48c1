// The `openai` package over WebRTC: the page's own server hands the offer on, so that the page needs no key at all.
import { OpenAIRealtimeWebRTC } from './openai/realtime/webrtc.mjs';
import { record, Voice } from './sound.mjs';

/** Ask the page's own server for something. */
async function ask(what, body = '') {
  const response = await fetch(what, { method: 'POST', body });
  if (!response.ok) throw new Error(`${what}: ${response.status} ${await response.text()}`);
  return response.text();
}

/** The person breaks in upon the greeting, and asks for something that needs a tool; then the server hangs up. */
async function exchanged() {
  const voice = new Voice();
  const rtc = new OpenAIRealtimeWebRTC();
  const player = new Audio();
  player.autoplay = true;
  let recording;
  rtc.peerConnection.addEventListener('track', ({ track }) => {
    const stream = new MediaStream([track]);
    player.srcObject = stream; // Chromium decodes nothing that nobody plays
    recording = record(stream);
  });
  rtc.peerConnection.addTrack(voice.stream.getAudioTracks()[0]);

  const seen = [];
  const calls = [];
  const waiting = new Map();
  const next = (type) => new Promise((resolve) => waiting.set(type, resolve));
  rtc.onEvent((event) => {
    seen.push(event.type);
    waiting.get(event.type)?.(event);
    waiting.delete(event.type);
    if (event.type === 'response.function_call_arguments.done') {
      calls.push(event.arguments);
      const item = { type: 'function_call_output', call_id: event.call_id, output: '{"sky":"blue"}' };
      rtc.send({ type: 'conversation.item.create', item });
    } else if (event.type === 'response.done' && event.response.output[0]?.type === 'function_call') {
      rtc.send({ type: 'response.create' });
    }
  });
  const created = next('session.created');
  await rtc.connect({ exchangeSdp: (offer) => ask('exchange', offer) });
  await created;

  const played = await recording;
  rtc.send({ type: 'response.create' });
  await played.loud(800);
  const truncated = next('conversation.item.truncated');
  const stopped = next('output_audio_buffer.stopped');
  await voice.speak('weather');
  const cut = await truncated;
  await stopped;
  await played.quiet(200);

  const closed = new Promise((resolve) =>
    rtc.onConnectionEvent((event) => event.type === 'closed' && resolve(event.reason)),
  );
  await ask('hangup');
  return { cut: cut.audio_end_ms, calls, seen, closed: await closed, audio: played.base64() };
}

Object.assign(window, { exchanged });
