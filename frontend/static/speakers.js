// Who speaks: a colour for each, and a name that a click changes wherever it stands.
export class Speakers {
  constructor() {
    this.clear();
  }

  clear() {
    this.names = new Map();
    this.colours = new Map();
  }

  name(label) {
    return this.names.get(label) ?? label;
  }

  // A tag that shows who speaks. place: the element before whose text it stands, which holds all other tags as well.
  tag(label, place) {
    const tag = document.createElement("button");
    tag.type = "button";
    tag.className = "speaker";
    tag.addEventListener("click", () => this.rename(tag, place));
    this.mark(tag, label);
    return tag;
  }

  // Show another speaker in a tag: it turned out so.
  mark(tag, label) {
    if (!this.colours.has(label)) this.colours.set(label, this.colours.size);
    tag.dataset.label = label;
    tag.hidden = !label;
    // Golden angle: neighbours are told apart however many there are.
    tag.style.setProperty("--hue", String((this.colours.get(label) * 137.5 + 210) % 360));
    tag.textContent = this.name(label);
    tag.title = "Rename";
  }

  rename(tag, place) {
    const { label } = tag.dataset;
    const field = document.createElement("input");
    field.value = this.name(label);
    field.maxLength = 40;
    field.className = "speaker-name";
    field.setAttribute("aria-label", `Name of speaker ${label}`);
    let done = false;
    const finish = (keep) => {
      if (done) return;
      done = true;
      if (keep && field.value.trim()) this.names.set(label, field.value.trim());
      field.replaceWith(tag);
      for (const other of place.querySelectorAll(".speaker")) this.mark(other, other.dataset.label);
      tag.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      // Or the key would click the tag that gets the focus.
      event.preventDefault();
      finish(event.key === "Enter");
    });
    field.addEventListener("blur", () => finish(true));
    tag.replaceWith(field);
    field.select();
  }
}
