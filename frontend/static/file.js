import { clock, complain, element, server, settings, wording } from "/static/parts.js";
import { Speakers } from "/static/speakers.js";
import { subtitles } from "/static/subtitles.js";
import { Words } from "/static/words.js";

// A dropped file to /v1/audio/transcriptions as a stream, and its events to a transcript.
export class FileTranscript {
  constructor() {
    const drop = element("drop");
    this.words = new Words(element("player"));
    this.speakers = new Speakers();
    element("file").addEventListener("change", (event) => event.target.files[0] && this.send(event.target.files[0]));
    for (const name of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files[0]) this.send(event.dataTransfer.files[0]);
      });
    }
    for (const button of element("downloads").querySelectorAll("button")) {
      button.addEventListener("click", () => this.download(button.dataset.format));
    }
  }

  async send(file) {
    this.aborter?.abort();
    this.aborter = new AbortController();
    this.segments = [];
    this.words.clear();
    this.speakers.clear();
    this.name = file.name.replace(/\.[^.]*$/, "");
    complain("");
    element("transcript").textContent = "";
    element("segments").replaceChildren();
    element("downloads").hidden = true;
    this.play(file);
    const form = new FormData();
    form.append("file", file);
    form.append("model", "whisper-1");
    form.append("stream", "true");
    form.append("timestamp_granularities[]", "segment");
    if (server.wordTimestamps) form.append("timestamp_granularities[]", "word");
    if (server.speakers) form.append("diarize", "true");
    const { language, context } = settings();
    if (language) form.append("language", language);
    if (context) form.append("prompt", context);
    for (const [name, value] of Object.entries(wording())) form.append(name, value);
    element("file-status").textContent = `Reading ${file.name}…`;
    const started = performance.now();
    try {
      const answer = await fetch("/v1/audio/transcriptions", { method: "POST", body: form, signal: this.aborter.signal });
      if (!answer.ok) throw new Error((await answer.json()).error.message);
      await this.listen(answer.body, started);
    } catch (error) {
      if (error.name === "AbortError") return;
      complain(error.message);
      element("file-status").textContent = "";
      element("progress").hidden = true;
    }
  }

  play(file) {
    const player = element("player");
    if (player.src) URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(file);
    player.hidden = false;
    const progress = element("progress");
    progress.hidden = false;
    progress.removeAttribute("value");
  }

  async listen(body, started) {
    let rest = "";
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      const parts = (rest + read.value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) this.show(JSON.parse(part.slice("data: ".length)), started);
    }
  }

  show(event, started) {
    if (event.type === "transcript.text.delta") {
      element("transcript").append(event.delta);
    } else if (event.type === "transcript.text.segment") {
      this.segments.push(event);
      this.line(event);
      const total = element("player").duration;
      if (Number.isFinite(total)) element("progress").value = Math.min(1, event.end / total);
    } else if (event.type === "transcript.text.words") {
      // Of the segment that came right before.
      const segment = this.segments.at(-1);
      segment.words = event.words;
      this.words.show(element("segments").lastElementChild.lastElementChild, segment.text, event.words);
    } else if (event.type === "transcript.text.done") {
      for (const { id, speaker } of event.speakers ?? []) this.spoken(id, speaker);
      element("progress").value = 1;
      const took = performance.now() - started;
      const time = took < 1000 ? `${Math.round(took)} ms` : `${(took / 1000).toFixed(1)} s`;
      element("file-status").textContent = event.text ? `Done in ${time}.` : "Nothing is said in it.";
      element("downloads").hidden = !event.text;
      element("karaoke").hidden = !this.words.words.length;
      if (event.correction_error) complain(`Not corrected: ${event.correction_error}`);
      this.text = event.text;
    } else if (event.type === "error") {
      throw new Error(event.error.message);
    }
  }

  // Who speaks is known best at the end.
  spoken(id, speaker) {
    const index = this.segments.findIndex((segment) => segment.id === id);
    if (index < 0) return;
    this.segments[index].speaker = speaker;
    const tag = element("segments").children[index].querySelector(".speaker");
    if (tag) this.speakers.mark(tag, speaker);
  }

  line(segment) {
    const line = document.createElement("li");
    const when = document.createElement("button");
    when.type = "button";
    when.textContent = clock(segment.start);
    when.setAttribute("aria-label", `Play from ${clock(segment.start)}`);
    when.addEventListener("click", () => {
      element("player").currentTime = segment.start;
      element("player").play();
    });
    const text = document.createElement("span");
    text.textContent = segment.text;
    line.append(when);
    if (server.speakers) line.append(this.speakers.tag(segment.speaker, element("segments")));
    line.append(text);
    element("segments").append(line);
  }

  named() {
    // Where one speaks alone, and has no name, it need not be said who.
    const told = new Set(this.segments.map(({ speaker }) => speaker)).size > 1 || this.speakers.names.size > 0;
    return this.segments.map((one) => ({ ...one, speaker: told && one.speaker && this.speakers.name(one.speaker) }));
  }

  // A line for each speaker's turn, where they are known.
  plain() {
    const turns = [];
    for (const { speaker, text } of this.named()) {
      if (turns.length && turns.at(-1).speaker === speaker) turns.at(-1).text += ` ${text}`;
      else turns.push({ speaker, text });
    }
    if (!turns.some(({ speaker }) => speaker)) return `${this.text}\n`;
    return turns.map(({ speaker, text }) => `${speaker ? `${speaker}: ` : ""}${text}\n`).join("");
  }

  download(format) {
    const link = document.createElement("a");
    const text = format === "txt" ? this.plain() : subtitles(this.named(), format);
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
    link.download = `${this.name}.${format === "karaoke" ? "karaoke.vtt" : format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}
