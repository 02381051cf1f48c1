// `@openai/agents-realtime` takes a call over SIP: it is accepted, greeted, interrupted, helped by a tool, and hung up.
import OpenAI from 'openai';
import { OpenAIRealtimeSIP, RealtimeSession } from '@openai/agents-realtime';
import { agent, cities } from './receptionist.mjs';
import { fail, task, tell } from './story.mjs';

const options = { model: task.model };
const client = new OpenAI({ apiKey: task.key, baseURL: task.base, maxRetries: 0 });
await client.realtime.calls.accept(task.call, await OpenAIRealtimeSIP.buildInitialConfig(agent, options));

const session = new RealtimeSession(agent, { ...options, transport: new OpenAIRealtimeSIP() });
session.on('error', (event) => fail(event.error));
const next = (type) =>
  new Promise((resolve) => session.on('transport_event', (event) => event.type === type && resolve(event)));
const truncated = next('conversation.item.truncated');
const stopped = next('output_audio_buffer.stopped');
await session.connect({ apiKey: task.key, callId: task.call, url: `${task.ws}/realtime?call_id=${task.call}` });
session.sendMessage('Please greet the caller.');
tell('interruption', { heard_ms: (await truncated).audio_end_ms });
await stopped;
tell('told', { cities });
const closed = new Promise((resolve) => session.transport.on('connection_change', resolve));
await client.realtime.calls.hangup(task.call);
tell('closed', { state: await closed });
