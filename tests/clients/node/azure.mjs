// `AzureOpenAI` of the `openai` package over WebSocket: the conversation of openai.mjs, with a deployment.
import { AzureOpenAI } from 'openai';
import { OpenAIRealtimeWS as BetaWS } from 'openai/beta/realtime/ws';
import { OpenAIRealtimeWebSocket as BetaWebSocket } from 'openai/beta/realtime/websocket';
import { OpenAIRealtimeWS as GaWS } from 'openai/realtime/ws';
import { OpenAIRealtimeWebSocket as GaWebSocket } from 'openai/realtime/websocket';
import { converse } from './conversation.mjs';
import { task } from './story.mjs';

const classes = { ga: { ws: GaWS, websocket: GaWebSocket }, beta: { ws: BetaWS, websocket: BetaWebSocket } };
const credential = task.token ? { azureADTokenProvider: async () => task.token } : { apiKey: task.key };
const client = new AzureOpenAI({
  endpoint: task.endpoint,
  apiVersion: task.version,
  deployment: task.model,
  maxRetries: 0,
  ...credential,
});

await converse(await classes[task.dialect][task.transport].azure(client));
