// The sequence diagram: a list of messages, each an arrow between two of the columns.

const PARTIES = ["miniprogram", "backend", "service", "redis", "wechat"];
const MOST_ROWS = 400;
const NEAR_END_PIXELS = 40;

/** Make an element: `make("p", {class: "note"}, "text", element)`. Text is only ever set as text. */
export function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A closed lock: fonts don't all have one. */
function lock() {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const attributes = { viewBox: "0 0 12 14", class: "lock", "aria-hidden": "true" };
  for (const [key, value] of Object.entries(attributes)) drawing.setAttribute(key, value);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M1 6h10v7H1zM3 6V4a3 3 0 0 1 6 0v2H7.5V4a1.5 1.5 0 0 0-3 0v2z");
  drawing.append(path);
  return drawing;
}

/** A command of Redis without the hashes in its keys, which the details have. */
function shortened(title) {
  return title.replace(/(wxlogin:(?:limit:\w+|\w+):).*/, "$1…");
}

/** Text that is broken after a colon, where it has to be, rather than within a word. */
function breakable(text) {
  return text.split(/(?<=:)/).flatMap((part) => [part, make("wbr", {})]).slice(0, -1);
}

export class Diagram {
  constructor(list, words) {
    this.list = list;
    this.words = words;
    this.rows = []; // {at, draw, element}, in the order of their times
  }

  /** Draw a message where its time puts it: what several processes tell may arrive in another order. */
  add(message) {
    this.#insert(message.at, () => this.#row(message));
  }

  /** Begin a step with what was pressed. */
  addStep(at, titleOf) {
    this.list.scrollTop = this.list.scrollHeight;
    this.#insert(at, () => make("li", { class: "step" }, make("h3", {}, titleOf(this.words))));
  }

  clear() {
    this.rows = [];
    this.list.replaceChildren();
  }

  /** Draw all of it anew, in another language. */
  speak(words) {
    this.words = words;
    for (const row of this.rows) {
      const drawn = row.draw();
      const isOpen = row.element.querySelector("details")?.open;
      if (isOpen) drawn.querySelector("details").open = true;
      row.element.replaceWith(drawn);
      row.element = drawn;
    }
  }

  #insert(at, draw) {
    let index = this.rows.length;
    while (index > 0 && this.rows[index - 1].at > at) index -= 1;
    const row = { at, draw, element: draw() };
    const follows = this.#isAtEnd();
    this.list.insertBefore(row.element, this.rows[index]?.element ?? null);
    this.rows.splice(index, 0, row);
    if (this.rows.length > MOST_ROWS) this.rows.shift().element.remove();
    if (follows) this.list.scrollTop = this.list.scrollHeight;
  }

  /** Who has scrolled up reads, and is not to be taken away from it. */
  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PIXELS;
  }

  #row(message) {
    if (message.kind === "note") return make("li", { class: "note" }, make("p", {}, this.words.noteEnded));
    const data = { "data-from": message.from, "data-to": message.to, "data-kind": message.kind };
    const summary = make("summary", {}, this.#route(message), this.#arrow(message));
    return make("li", { class: message.stays.length ? "message stays" : "message", ...data },
      make("details", {}, summary, this.#details(message)));
  }

  /** Who says it to whom: for those who don't see the columns. */
  #route({ from, to }) {
    return make("span", { class: "route" }, `${this.words[from]} ${this.words.to} ${this.words[to]}: `);
  }

  #arrow(message) {
    const [from, to] = [PARTIES.indexOf(message.from), PARTIES.indexOf(message.to)];
    const arrow = make("span", { class: `arrow ${from < to ? "right" : "left"}` },
      make("span", { class: "title" }, ...breakable(shortened(message.title))), this.#gloss(message), this.#mark(message));
    const [first, last] = [Math.min(from, to), Math.max(from, to)];
    arrow.style.setProperty("grid-column", `${first + 1} / ${last + 2}`);
    arrow.style.setProperty("--columns", last - first + 1);
    return arrow;
  }

  /** What a key of Redis is about. */
  #gloss({ title, to }) {
    const kind = to === "redis" ? /wxlogin:(limit:\w+|\w+)/.exec(title)?.[1] : undefined;
    return kind in this.words.glosses ? make("span", { class: "gloss" }, ` ${this.words.glosses[kind]}`) : null;
  }

  #mark({ stays }) {
    if (!stays.length) return null;
    return make("span", { class: "mark" }, lock(), this.#names(stays), make("span", { class: "hidden" }, ` ${this.words.stays}`));
  }

  #names(stays) {
    return stays.map((name) => this.words.names[name] ?? name).join(", ");
  }

  #details({ content, stays }) {
    const parts = Object.entries(content).map(([name, value]) => make("div", {}, make("h4", {}, name),
      make("pre", { tabindex: "0" }, ...this.#lines(value, stays))));
    const locked = stays.length ? make("p", { class: "locked" }, lock(), `${this.#names(stays)}: ${this.words.stays}`) : null;
    return make("div", { class: "content" }, locked, ...(parts.length ? parts : [make("p", {}, this.words.nothing)]));
  }

  /** A value as text, its fields that stay on the servers marked. */
  #lines(value, stays) {
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    return text.split("\n").flatMap((line) => {
      const isMarked = stays.some((name) => line.trimStart().startsWith(`"${name}"`));
      return [isMarked ? make("mark", {}, line) : line, "\n"];
    });
  }
}
