// An audio worklet: whatever rate the microphone has, out come pieces of 20 ms of mu-law at 8 kHz (ITU-T G.711).

const RATE = 8000;
const FRAME = 160;

function encode(sample) {
  let magnitude = Math.min(8158, Math.abs(Math.round(sample * 8191))) + 33;
  let segment = 0;
  for (let rest = magnitude >> 6; rest; rest >>= 1) segment += 1;
  magnitude = (magnitude >> (segment + 1)) & 0x0f;
  return ~((sample < 0 ? 0x80 : 0) | (segment << 4) | magnitude) & 0xff;
}

class Encoder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.frame = new Uint8Array(FRAME);
    this.filled = 0;
    this.sum = 0;
    this.count = 0;
    this.due = 0;
  }

  process([input]) {
    // The mean of the samples that make up one: enough of a filter for a voice.
    for (const sample of input[0] ?? []) {
      this.sum += sample;
      this.count += 1;
      this.due += RATE;
      if (this.due < sampleRate) continue;
      this.due -= sampleRate;
      this.frame[this.filled] = encode(this.sum / this.count);
      this.sum = this.count = 0;
      this.filled += 1;
      if (this.filled === FRAME) {
        this.port.postMessage(this.frame.slice().buffer);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("callproof-encoder", Encoder);
