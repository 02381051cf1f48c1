// Hands every block of sound to the page as it comes.
class Recorder extends AudioWorkletProcessor {
  process([input]) {
    if (input.length > 0) this.port.postMessage(input[0].slice());
    return true;
  }
}
registerProcessor('recorder', Recorder);
