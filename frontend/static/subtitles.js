import { withWords } from "/static/words.js";

function time(seconds, point) {
  const whole = Math.round(seconds * 1000);
  const part = (unit, size) => String(Math.floor(whole / unit) % size).padStart(2, "0");
  const rest = String(whole % 1000).padStart(3, "0");
  return `${part(3600000, 100)}:${part(60000, 60)}:${part(1000, 60)}${point}${rest}`;
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// Each word with the time from which on it is said; times inside of a cue rise, and lie within it.
function sung({ start, end, text, words = [] }) {
  let at = start;
  const parts = withWords(text, words, (word) => {
    const tag = word.start > at && word.start < end ? `<${time(word.start, ".")}>` : "";
    at = Math.max(at, word.start);
    return tag + escaped(word.word);
  });
  return parts.map((part, index) => (index % 2 ? part : escaped(part))).join("");
}

// Segments ({start, end, text, words, speaker}) as srt, vtt, or karaoke: WebVTT with the times of words.
export function subtitles(segments, format) {
  if (format === "srt") {
    return segments
      .map(({ start, end, text, speaker }, index) => {
        const said = speaker ? `${speaker}: ${text}` : text;
        return `${index + 1}\n${time(start, ",")} --> ${time(end, ",")}\n${said}\n`;
      })
      .join("\n");
  }
  const cues = segments.map((one) => {
    const text = format === "karaoke" ? sung(one) : escaped(one.text);
    const voice = one.speaker ? `<v ${escaped(one.speaker)}>` : "";
    return `${time(one.start, ".")} --> ${time(one.end, ".")}\n${voice}${text}\n`;
  });
  return `WEBVTT\n\n${cues.join("\n")}`;
}
