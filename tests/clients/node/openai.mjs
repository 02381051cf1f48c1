// The `openai` package over WebSocket: a greeting, a spoken turn, a tool call, an interruption.
import OpenAI from 'openai';
import { OpenAIRealtimeWS as BetaWS } from 'openai/beta/realtime/ws';
import { OpenAIRealtimeWebSocket as BetaWebSocket } from 'openai/beta/realtime/websocket';
import { OpenAIRealtimeWS as GaWS } from 'openai/realtime/ws';
import { OpenAIRealtimeWebSocket as GaWebSocket } from 'openai/realtime/websocket';
import { converse } from './conversation.mjs';
import { task, tell } from './story.mjs';

const classes = { ga: { ws: GaWS, websocket: GaWebSocket }, beta: { ws: BetaWS, websocket: BetaWebSocket } };
const client = new OpenAI({ apiKey: task.key, baseURL: task.base, maxRetries: 0, dangerouslyAllowBrowser: true });

/** A client like the one in a browser: it holds a client secret, where the dialect has them. */
async function holder() {
  if (task.transport !== 'websocket' || task.dialect !== 'ga') return client;
  const minted = await client.realtime.clientSecrets.create({ session: { type: 'realtime', model: task.model } });
  tell('secret', { value: minted.value, session: minted.session });
  return client.withOptions({ apiKey: minted.value });
}

const rt = new classes[task.dialect][task.transport]({ model: task.model }, await holder());
await converse(rt);
