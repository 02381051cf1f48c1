// Talk over the gateway's relay: a WebSocket with JSON frames; audio is 16-bit PCM, 24 kHz, mono, base64.

const RATE = 24000;
const LEAD = 0.06; // seconds between the arrival of audio and its playing, when nothing is queued
const BACKLOG = 512 * 1024; // bytes that may wait to be sent; the microphone is not sent while there are more

// Plays what comes without gaps, and knows how much of each item has been heard.
class Player {
  #context;
  #output;
  #until = 0; // when all that was queued will have been played, by the context's clock
  #items = new Map(); // item id to the pieces of it that are queued or playing, and the ms before them
  #cleared = new Set();
  #onChange;

  constructor(context, output, onChange) {
    this.#context = context;
    this.#output = output;
    this.#onChange = onChange;
  }

  play(id, samples) {
    if (this.#cleared.has(id) || !samples.length) return;
    const buffer = this.#context.createBuffer(1, samples.length, RATE);
    const data = buffer.getChannelData(0);
    for (let i = 0; i < samples.length; i++) data[i] = samples[i] / 32768;
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#output);
    const start = Math.max(this.#until, this.#context.currentTime + LEAD);
    this.#until = start + buffer.duration;
    const item = this.#items.get(id) ?? { heard: 0, pieces: [] };
    this.#items.set(id, item);
    const piece = { source, start, duration: buffer.duration };
    item.pieces.push(piece);
    source.onended = () => {
      item.pieces = item.pieces.filter((each) => each !== piece);
      item.heard += piece.duration;
      if (!item.pieces.length && this.#items.get(id) === item) this.#onChange(this.playing);
    };
    source.start(start);
    this.#onChange(true);
  }

  get playing() {
    return [...this.#items.values()].some((item) => item.pieces.length);
  }

  // Drop all that is queued: what was cut (and `named`, if any of it was played), and the ms of it that were heard.
  clear(named) {
    const now = this.#context.currentTime - (this.#context.outputLatency || 0);
    const cut = [];
    for (const [id, item] of this.#items) {
      if (!item.pieces.length && id !== named) continue;
      let heard = item.heard;
      for (const { source, start, duration } of item.pieces) {
        source.onended = null;
        source.stop();
        heard += Math.max(0, Math.min(duration, now - start));
      }
      this.#cleared.add(id);
      cut.push({ item: id, played_ms: Math.floor(heard * 1000) });
    }
    this.#items.clear();
    this.#until = 0;
    this.#onChange(false);
    return cut;
  }
}

export async function open(session, { microphone, on }) {
  const { context, source } = contextFor(microphone);
  const output = new GainNode(context);
  output.connect(context.destination);
  const player = new Player(context, output, on.speaking);
  on.levels(analyser(source), analyser(output));

  await context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
  const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });

  const url = new URL(session.url, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  const send = (frame) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(frame));
  const interrupt = (named) => {
    const cut = player.clear(named);
    for (const each of cut) send({ type: "interrupt", ...each });
    return cut.length;
  };
  let over = false;

  const handlers = {
    ready: () => {
      capture.port.onmessage = ({ data }) => {
        if (socket.bufferedAmount < BACKLOG) send({ type: "audio", audio: encode(new Uint8Array(data)) });
      };
      source.connect(capture);
      on.live();
    },
    audio: ({ item, audio }) => player.play(item, decode(audio)),
    clear: ({ item }) => interrupt(item),
    transcript: ({ role, item, text, final }) => on.transcript(role, item, text, final),
    tool: ({ name, status }) => on.tool(name, status),
    error: ({ error }) => on.problem(error),
    ended: ({ reason }) => finish(reason),
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    handlers[frame.type]?.(frame);
  };
  socket.onclose = ({ code }) => {
    if (over) return;
    on.problem({
      source: "browser",
      code: "relay_lost",
      message: `The relay's connection was refused or lost (close code ${code}).`,
      hint: "Start again; if it happens at once, look whether a proxy in between passes WebSockets on.",
    });
    finish("lost");
  };

  function finish(reason) {
    if (over) return;
    over = true;
    capture.port.onmessage = null;
    socket.close();
    context.close();
    on.ended(reason);
  }

  return {
    say(text) {
      interrupt();
      send({ type: "text", text });
    },
    hush() {
      if (!interrupt()) send({ type: "interrupt", item: "", played_ms: 0 });
    },
    close() {
      send({ type: "end" });
      finish("end");
    },
  };
}

// Where the browser can give us the microphone at 24 kHz, it resamples better than we would.
function contextFor(microphone) {
  let context = new AudioContext({ sampleRate: RATE });
  try {
    return { context, source: context.createMediaStreamSource(microphone) };
  } catch {
    context.close();
    context = new AudioContext();
    return { context, source: context.createMediaStreamSource(microphone) };
  }
}

function analyser(node) {
  const made = new AnalyserNode(node.context, { fftSize: 512 });
  node.connect(made);
  return made;
}

function encode(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

function decode(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Int16Array(bytes.buffer, 0, bytes.length >> 1);
}
