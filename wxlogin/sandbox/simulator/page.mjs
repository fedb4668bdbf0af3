// The page: it puts the phone beside the diagram.

import { Diagram, make } from "./diagram.mjs";
import { createPhone } from "./phone.mjs";
import { LANGUAGES, firstLanguage } from "./words.mjs";

const PREFIX = "simulator:";
const element = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];

/** A browser's storage, for this page's things apart from others'; if the browser has none, until the page is left. */
function storageOf(browser) {
  const memory = new Map();
  const attempt = (work, otherwise) => {
    try {
      return work();
    } catch {
      return otherwise();
    }
  };
  return {
    getItem: (key) => attempt(() => browser().getItem(PREFIX + key), () => memory.get(key) ?? null),
    setItem: (key, value) => attempt(() => browser().setItem(PREFIX + key, value), () => memory.set(key, value)),
  };
}

class Page {
  constructor({ service, last, now, sees_redis: seesRedis }) {
    this.storage = storageOf(() => localStorage);
    this.ahead = now - Date.now() / 1000; // the sandbox's clock, which the messages' times are of
    this.phone = createPhone({ service, storage: this.storage });
    this.language = firstLanguage(this.storage.getItem("language"), navigator.languages);
    this.diagram = new Diagram(element("messages"), this.words);
    this.outcome = null;
    this.turning = Promise.resolve();
    element("unseen").hidden = seesRedis;
    this.last = last;
    this.listen();
    this.speak(this.language);
    this.connect();
  }

  get words() {
    return LANGUAGES[this.language];
  }

  /** Have the diagram draw the messages that come after the last one; not while nobody looks: a browser has six connections. */
  listen() {
    this.source?.close();
    if (document.hidden) return;
    this.source = new EventSource(`simulator/messages?after=${this.last}`);
    this.source.onmessage = ({ data, lastEventId }) => {
      this.last = lastEventId;
      this.diagram.add(JSON.parse(data));
    };
    this.source.onopen = () => this.note(false);
    this.source.onerror = () => this.note(true);
  }

  note(isLost) {
    if (isLost === this.isLost) return;
    this.isLost = isLost;
    element("hint").dataset.word = isLost ? "unconnected" : "hint";
    element("hint").textContent = this.words[element("hint").dataset.word];
  }

  connect() {
    for (const button of all("[data-action]")) button.addEventListener("click", () => this.press(button.dataset.action));
    for (const box of all("[data-switch]")) {
      box.checked = false; // a browser may remember it
      box.addEventListener("change", () => this.turn(box));
    }
    for (const button of all("[data-language]")) button.addEventListener("click", () => this.choose(button.dataset.language));
    element("clear").addEventListener("click", () => this.diagram.clear());
    document.addEventListener("visibilitychange", () => this.listen());
    addEventListener("pagehide", () => this.phone.leave());
    addEventListener("pageshow", ({ persisted }) => { if (persisted) location.reload(); });
  }

  async press(name) {
    if (this.isBusy) return;
    this.setBusy(true);
    this.diagram.addStep(Date.now() / 1000 + this.ahead, (words) => words[name]);
    this.show({ name });
    await this.turning;
    this.show(await this.phone.press(name).then((value) => ({ name, value, isDone: true }), (error) => ({ name, error })));
    this.setBusy(false);
  }

  /** Turn a switch; a button that is pressed before the sandbox knows waits for that. */
  async turn(box) {
    box.setAttribute("aria-busy", "true");
    const told = this.turning.then(() => this.phone.turn(box.dataset.switch, box.checked));
    this.turning = told.catch((error) => {
      box.checked = !box.checked;
      this.show({ error });
    });
    await this.turning;
    box.setAttribute("aria-busy", "false");
  }

  /** While something is under way, buttons do nothing, and keep the focus. */
  setBusy(isBusy) {
    this.isBusy = isBusy;
    for (const button of all("[data-action]")) button.setAttribute("aria-disabled", isBusy);
  }

  show(outcome) {
    this.outcome = outcome;
    element("result").replaceChildren(...(outcome ? this.#result(outcome) : []));
    element("state").textContent = this.words[this.phone.hasSession() ? "loggedIn" : "loggedOut"];
    element("state").classList.toggle("on", this.phone.hasSession());
  }

  #result({ name, value, error, isDone }) {
    if (error) return this.#problem(error);
    if (!isDone) return [make("p", {}, this.words.working)];
    const said = make("p", { class: "good" }, this.words.results[name]);
    return value ? [said, make("pre", { tabindex: "0" }, JSON.stringify(value, null, 2))] : [said];
  }

  #problem(error) {
    const help = this.words.errors[error.code];
    return [make("p", { class: "bad" }, `${this.words.failed}: `, make("code", {}, error.code ?? "error")),
      make("p", {}, error.message), ...(help ? [make("p", { class: "help" }, help)] : [])];
  }

  choose(language) {
    this.storage.setItem("language", language);
    this.speak(language);
  }

  speak(language) {
    this.language = language;
    document.documentElement.lang = language;
    document.title = `wxlogin ${this.words.title}`;
    for (const each of all("[data-word]")) each.textContent = this.words[each.dataset.word];
    for (const each of all("[data-language]")) each.setAttribute("aria-pressed", each.dataset.language === language);
    this.diagram.speak(this.words);
    this.show(this.outcome);
  }
}

const answer = await fetch("simulator/configuration");
new Page(await answer.json());
