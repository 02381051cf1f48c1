// Speaking with this machine's microphone: mu-law of 8 kHz, sent to the call over a WebSocket.

import { toast } from "./dom.js";

let running = null;

function end() {
  if (running === null) return;
  const { socket, context, stream, button } = running;
  running = null;
  socket.close();
  context.close();
  for (const track of stream.getTracks()) track.stop();
  button.setAttribute("aria-pressed", "false");
}

/** Begin to speak in a call, or stop. */
export async function microphone(call, button) {
  if (running !== null || call === null) {
    end();
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: false } });
  } catch (error) {
    toast(`There is no microphone: ${error.message}`, true);
    return;
  }
  const context = new AudioContext();
  await context.audioWorklet.addModule("/page/encoder.js");
  const encoder = new AudioWorkletNode(context, "callproof-encoder", { numberOfOutputs: 0 });
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/calls/${call.sid}/microphone`);
  encoder.port.onmessage = (event) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(event.data);
  };
  socket.onclose = (event) => {
    if (running?.socket === socket) {
      if (event.reason) toast(event.reason);
      end();
    }
  };
  context.createMediaStreamSource(stream).connect(encoder);
  running = { socket, context, stream, button };
  button.setAttribute("aria-pressed", "true");
}
