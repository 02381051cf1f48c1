// What a page hears and says: pcm16, 24 kHz, mono.
const RATE = 24000;
export const context = new AudioContext({ sampleRate: RATE });

/**
 * A recording of a stream. `loud(ms)` waits until so much has been heard in all, `quiet(ms)` until nothing has been
 * heard for so long; `base64()` is what there is.
 */
export async function record(stream) {
  await context.audioWorklet.addModule('recorder.js');
  const node = new AudioWorkletNode(context, 'recorder');
  const blocks = [];
  const waiting = [];
  const heard = { loud: 0, quiet: 0 };
  node.port.onmessage = ({ data }) => {
    blocks.push(data);
    if (data.some((value) => Math.abs(value) > 0.01)) {
      heard.loud += data.length;
      heard.quiet = 0;
    } else {
      heard.quiet += data.length;
    }
    for (const { what, samples, resolve } of waiting) if (heard[what] >= samples) resolve();
  };
  context.createMediaStreamSource(stream).connect(node);
  const until = (what, ms) => new Promise((resolve) => waiting.push({ what, samples: (ms * RATE) / 1000, resolve }));
  return {
    loud: (ms) => until('loud', ms),
    quiet: (ms) => until('quiet', ms),
    base64() {
      const samples = blocks.flatMap((block) => Array.from(block, (value) => Math.round(value * 32767)));
      const bytes = new Uint8Array(new Int16Array(samples).buffer);
      let binary = '';
      for (const byte of bytes) binary += String.fromCharCode(byte);
      return btoa(binary);
    },
  };
}

/** A microphone into which phrases can be spoken. */
export class Voice {
  #way = context.createMediaStreamDestination();
  stream = this.#way.stream;

  constructor() {
    // A microphone never falls silent altogether: without a source the stream would stop.
    const room = new ConstantSourceNode(context, { offset: 0 });
    room.connect(this.#way);
    room.start();
  }

  async speak(phrase) {
    const sound = await (await fetch(`sounds/${phrase}.pcm`)).arrayBuffer();
    const samples = Float32Array.from(new Int16Array(sound), (value) => value / 32768);
    const buffer = context.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(samples, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#way);
    source.start();
  }
}
