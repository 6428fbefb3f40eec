import { clock, complain, element, settings } from "/static/parts.js";

// A dropped file to /v1/audio/transcriptions as a stream, and its events to a transcript.
export class FileTranscript {
  constructor() {
    const drop = element("drop");
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
    const { language, context } = settings();
    if (language) form.append("language", language);
    if (context) form.append("prompt", context);
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
    } else if (event.type === "transcript.text.done") {
      element("progress").value = 1;
      const took = performance.now() - started;
      const time = took < 1000 ? `${Math.round(took)} ms` : `${(took / 1000).toFixed(1)} s`;
      element("file-status").textContent = event.text ? `Done in ${time}.` : "Nothing is said in it.";
      element("downloads").hidden = !event.text;
      this.text = event.text;
    } else if (event.type === "error") {
      throw new Error(event.error.message);
    }
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
    line.append(when, segment.text);
    element("segments").append(line);
  }

  download(format) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([this.as(format)], { type: "text/plain;charset=utf-8" }));
    link.download = `${this.name}.${format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  as(format) {
    if (format === "txt") return `${this.text}\n`;
    const point = format === "srt" ? "," : ".";
    const time = (seconds) => {
      const whole = Math.round(seconds * 1000);
      const part = (unit, size) => String(Math.floor(whole / unit) % size).padStart(2, "0");
      const rest = String(whole % 1000).padStart(3, "0");
      return `${part(3600000, 100)}:${part(60000, 60)}:${part(1000, 60)}${point}${rest}`;
    };
    const cues = this.segments.map(({ start, end, text }, index) => {
      const number = format === "srt" ? `${index + 1}\n` : "";
      return `${number}${time(start)} --> ${time(end)}\n${text}\n`;
    });
    return (format === "vtt" ? "WEBVTT\n\n" : "") + cues.join("\n");
  }
}
