import { FileTranscript } from "/static/file.js";
import { LiveCaptions } from "/static/live.js";
import { element, server } from "/static/parts.js";

const LANGUAGES = {
  ar: "Arabic", yue: "Cantonese", zh: "Chinese", cs: "Czech", da: "Danish", nl: "Dutch", en: "English",
  fil: "Filipino", fi: "Finnish", fr: "French", de: "German", el: "Greek", hi: "Hindi", hu: "Hungarian",
  id: "Indonesian", it: "Italian", ja: "Japanese", ko: "Korean", mk: "Macedonian", ms: "Malay", fa: "Persian",
  pl: "Polish", pt: "Portuguese", ro: "Romanian", ru: "Russian", es: "Spanish", sv: "Swedish", th: "Thai",
  tr: "Turkish", vi: "Vietnamese",
};

for (const [code, name] of Object.entries(LANGUAGES)) {
  element("language").add(new Option(name, code));
}

// Where a chat endpoint is set.
function offerCorrection(roles) {
  if (!roles || server.corrects) return;
  server.corrects = true;
  element("wording").add(new Option("corrected", "corrected"));
}

async function watchServer() {
  try {
    const health = await (await fetch("/health")).json();
    server.wordTimestamps = health.word_timestamps === true;
    server.speakers = health.speakers === true;
    offerCorrection(health.wording?.correct);
    element("server").textContent = health.status === "ready" ? `${health.model}, ready` : health.status;
  } catch {
    element("server").textContent = "the server does not answer";
  }
  setTimeout(watchServer, 5000);
}

watchServer();
new LiveCaptions();
new FileTranscript();
