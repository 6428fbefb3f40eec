import { clock } from "/static/parts.js";

// Words in the text that they are of: what stands between them stays. make: an element for each word.
export function withWords(text, words, make) {
  const parts = [];
  let at = 0;
  for (const word of words) {
    const found = text.indexOf(word.word, at);
    if (found < 0) continue;
    parts.push(text.slice(at, found), make(word));
    at = found + word.word.length;
  }
  return [...parts, text.slice(at)];
}

// The words of a recording: a click plays from there, and what is said is lit while it plays.
export class Words {
  constructor(player) {
    this.player = player;
    this.clear();
    for (const name of ["play", "seeked"]) player.addEventListener(name, () => this.follow());
  }

  clear() {
    this.words = [];
    this.light(null);
  }

  // In place of an element's text, from which the words are.
  show(place, text, words) {
    place.replaceChildren(...withWords(text, words, (word) => this.button(word)));
  }

  button(word) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "word";
    button.textContent = word.word;
    button.title = clock(word.start);
    button.addEventListener("click", () => {
      this.player.currentTime = word.start;
      this.player.play();
    });
    this.words.push({ ...word, button });
    return button;
  }

  follow() {
    cancelAnimationFrame(this.frame);
    this.light(this.at(this.player.currentTime));
    if (!this.player.paused) this.frame = requestAnimationFrame(() => this.follow());
  }

  // The last word that has begun by then, while it is said: an hour has ten thousand.
  at(seconds) {
    let low = 0;
    let high = this.words.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.words[middle].start <= seconds) low = middle + 1;
      else high = middle;
    }
    const word = this.words[low - 1];
    return word && seconds <= Math.max(word.end, word.start + 0.08) ? word.button : null;
  }

  light(button) {
    if (button === this.lit) return;
    this.lit?.classList.remove("lit");
    button?.classList.add("lit");
    this.lit = button;
  }
}
