export const element = (id) => document.getElementById(id);

// What the server can do, as far as the page knows by now.
export const server = { wordTimestamps: false, speakers: false, corrects: false };

export function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

export function settings() {
  return { language: element("language").value, context: element("context").value.trim() };
}

// What becomes of the text: `corrected` is written as well, and then looked at by a language model.
export function wording() {
  const wanted = element("wording").value;
  return { text_format: wanted === "recognized" ? "recognized" : "written", correct: String(wanted === "corrected") };
}

export function complain(message) {
  element("error").textContent = message;
  element("error").hidden = !message;
}
