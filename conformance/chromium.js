// Keeps what a page plays: every media stream that an element is given, and everything that reaches a loudspeaker by
// way of an audio context. It is handed to `callproofPlayed`, piece by piece. Runs before the page's own scripts.
(() => {
  function told(rate, samples) {
    const pcm = Int16Array.from(samples, (sample) => Math.max(-1, Math.min(1, sample)) * 32767);
    window.callproofPlayed(rate, btoa(String.fromCharCode(...new Uint8Array(pcm.buffer))));
  }

  function tap(context) {
    if (context.callproofTap) return context.callproofTap;
    const node = context.createScriptProcessor(4096, 1, 1);
    node.onaudioprocess = (event) => told(context.sampleRate, event.inputBuffer.getChannelData(0));
    context.callproofTap = node;
    connect.call(node, context.destination);
    return node;
  }

  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode && this !== this.context.callproofTap) {
      connect.call(this, tap(this.context));
    }
    return connect.call(this, target, ...rest);
  };

  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "srcObject");
  Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
    ...source,
    set(stream) {
      source.set.call(this, stream);
      if (stream instanceof MediaStream && stream.getAudioTracks().length) {
        const context = new AudioContext();
        connect.call(context.createMediaStreamSource(stream), tap(context));
      }
    },
  });
})();
