export const element = (id) => document.getElementById(id);

// What the server can do, as far as the page knows by now.
export const server = { wordTimestamps: false, speakers: false };

export function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

export function settings() {
  return { language: element("language").value, context: element("context").value.trim() };
}

export function complain(message) {
  element("error").textContent = message;
  element("error").hidden = !message;
}
