import { clock, complain, element, server, settings, wording } from "/static/parts.js";
import { Speakers } from "/static/speakers.js";
import { withWords } from "/static/words.js";

// A word that tells its time to whoever points at it.
function timed(word) {
  const part = document.createElement("span");
  part.className = "timed";
  part.title = `${clock(word.start)} to ${clock(word.end)}`;
  part.textContent = word.word;
  return part;
}

// The microphone to /ws/transcribe, and its events to captions.
export class LiveCaptions {
  constructor() {
    this.button = element("microphone");
    this.speakers = new Speakers();
    this.button.addEventListener("click", () => (this.socket ? this.stop() : this.start()));
    element("flush").addEventListener("click", () => this.command({ action: "flush" }));
    element("settings").addEventListener("change", () => this.command({ action: "config", ...settings(), ...wording() }));
    element("settings").addEventListener("submit", (event) => event.preventDefault());
  }

  async start() {
    complain("");
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
      // The browser resamples to what the model hears.
      this.audio = new AudioContext({ sampleRate: 16000 });
      await this.audio.audioWorklet.addModule("/static/recorder.js");
    } catch (error) {
      complain(`The microphone cannot be used: ${error.message}`);
      this.release();
      return;
    }
    this.sent = [];
    this.samples = 0;
    this.lines = new Map();
    this.tags = new Map();
    this.uncorrected = new Map();
    this.speakers.clear();
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/transcribe`);
    this.socket.onopen = () => {
      // When each word was said is told behind a final, where the server knows it.
      const words = server.wordTimestamps ? { word_timestamps: "event" } : {};
      const speakers = server.speakers ? { speakers: "event" } : {};
      this.command({ action: "config", partial_interval_ms: 300, ...words, ...speakers, ...settings(), ...wording() });
      this.connect();
    };
    this.socket.onmessage = (message) => this.show(JSON.parse(message.data));
    this.socket.onclose = (event) => this.closed(event);
    this.button.textContent = "Stop the microphone";
    this.button.setAttribute("aria-pressed", "true");
    element("flush").disabled = false;
  }

  connect() {
    const source = this.audio.createMediaStreamSource(this.stream);
    this.recorder = new AudioWorkletNode(this.audio, "recorder", { numberOfOutputs: 0 });
    this.recorder.port.onmessage = ({ data }) => {
      if (this.socket?.readyState !== WebSocket.OPEN) return;
      this.socket.send(data.buffer);
      this.samples += data.length;
      // When each sample was sent, for the latency of what comes back.
      this.sent.push([this.samples, performance.now()]);
      let peak = 0;
      for (const sample of data) peak = Math.max(peak, Math.abs(sample));
      element("level").value = peak / 32768;
    };
    source.connect(this.recorder);
  }

  command(fields) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(fields));
  }

  stop() {
    // What was said last still gets its final: the server closes after it.
    this.command({ action: "end" });
    this.release();
  }

  release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.audio?.close();
    this.stream = this.audio = null;
    element("level").value = 0;
  }

  show(event) {
    if (event.type === "partial") {
      element("stable").textContent = event.stable;
      element("unstable").textContent = event.unstable;
      this.measure(event.end_sample);
    } else if (event.type === "final") {
      element("stable").textContent = element("unstable").textContent = "";
      if (event.text) this.caption(event);
    } else if (event.type === "words") {
      const text = this.lines.get(event.utterance);
      text?.replaceChildren(...withWords(text.textContent, event.words, timed));
      this.lines.delete(event.utterance);
    } else if (event.type === "corrected") {
      // Words have the times of the text that was said first.
      const text = this.uncorrected.get(event.utterance);
      if (text && !event.correction_error) text.textContent = event.text;
      this.uncorrected.delete(event.utterance);
      this.lines.delete(event.utterance);
    } else if (event.type === "speaker") {
      // Of an utterance that has just ended, or of an earlier one that is somebody else's, as it turns out.
      const tag = this.tags.get(event.utterance);
      if (tag) this.speakers.mark(tag, event.speaker);
    } else if (event.type === "error") {
      complain(event.message);
    }
  }

  measure(sample) {
    while (this.sent.length && this.sent[0][0] < sample) this.sent.shift();
    if (this.sent.length) {
      element("latency").textContent = `${Math.round(performance.now() - this.sent[0][1])} ms after the sound`;
    }
  }

  caption(event) {
    const line = document.createElement("li");
    const when = document.createElement("time");
    when.textContent = clock(event.start);
    const text = document.createElement("span");
    text.textContent = event.text;
    line.append(when);
    if (event.speaker_follows) {
      const tag = this.speakers.tag("", element("captions"));
      this.tags.set(event.utterance, tag);
      line.append(tag);
    }
    line.append(text);
    if (event.words_follow) this.lines.set(event.utterance, text);
    if (event.correction_follows) this.uncorrected.set(event.utterance, text);
    line.lang = event.language ?? "";
    element("captions").append(line);
    line.scrollIntoView({ block: "nearest" });
  }

  closed(event) {
    this.release();
    this.socket = null;
    this.button.textContent = "Start the microphone";
    this.button.setAttribute("aria-pressed", "false");
    element("flush").disabled = true;
    if (event.code !== 1000) complain(`The connection was closed (${event.code}). Try again.`);
  }
}
