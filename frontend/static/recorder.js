// Runs on the audio thread: float samples at 16 kHz to 16-bit chunks of 100 ms.
class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.chunk = new Int16Array(1600);
    this.used = 0;
  }

  process(inputs) {
    const channel = inputs[0][0];
    if (!channel) return true;
    for (const sample of channel) {
      this.chunk[this.used++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.used === this.chunk.length) {
        this.port.postMessage(this.chunk.slice());
        this.used = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
