// The microphone, in an audio worklet: frames of 30 ms, 16-bit PCM, 24 kHz, mono.

const RATE = 24000;
const FRAME = 720;

class Capture extends AudioWorkletProcessor {
  #step = sampleRate / RATE; // input samples for each output sample; 1 where the browser gives us 24 kHz
  #sum = 0;
  #weight = 0;
  #frame = new Int16Array(FRAME);
  #length = 0;

  process([input]) {
    for (const sample of input[0] ?? []) this.#take(sample);
    return true;
  }

  // Each output sample is the mean of the input that it covers: a sample on the border counts for both sides of it.
  #take(sample) {
    let left = 1;
    while (this.#weight + left >= this.#step) {
      const part = this.#step - this.#weight;
      this.#put((this.#sum + part * sample) / this.#step);
      this.#sum = this.#weight = 0;
      left -= part;
    }
    this.#sum += left * sample;
    this.#weight += left;
  }

  #put(value) {
    this.#frame[this.#length++] = Math.round(Math.max(-1, Math.min(1, value)) * 32767);
    if (this.#length < FRAME) return;
    this.port.postMessage(this.#frame.buffer, [this.#frame.buffer]);
    this.#frame = new Int16Array(FRAME);
    this.#length = 0;
  }
}

registerProcessor("capture", Capture);
