// The page: a text box, the classifier in its worker, and the answer; and a file of many texts. It keeps no text anywhere
// but in the box, and once the model is there it asks the network for nothing unless a button says so.

import { draw, element, percent, sentence } from "./answer-view.js";
import * as batchView from "./batch-view.js";
import * as serverView from "./server-view.js";
import { Classifier } from "./classifier.js";
import { examples, firstLanguage, strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */
/** @typedef {import("./classifier-worker.js").Reply} Reply */

// After the last answer, this long without another before it is read aloud: a pause in typing.
const ANNOUNCE_AFTER_MS = 800;

const box = /** @type {HTMLTextAreaElement} */ (element("text"));
const progress = /** @type {HTMLProgressElement} */ (element("progress"));
const chosen = /** @type {HTMLInputElement} */ (element("file"));
const asking = /** @type {HTMLButtonElement} */ (element("ask"));

/** @type {Language} */
let language = firstLanguage(location.search, navigator.languages);
/** @type {import("./answer-view.js").Shown | null} */
let shown = null;
/** @type {number | undefined} */
let announcing;

/**
 * @param {() => string} sentence made when it is read, in the language of that moment
 * @param {number} [delay]
 */
function announce(sentence, delay = ANNOUNCE_AFTER_MS) {
  clearTimeout(announcing);
  announcing = window.setTimeout(() => {
    element("announcement").textContent = sentence();
  }, delay);
}

/** @param {string} reason why the newest text has no answer; empty when it has one */
function refuse(reason) {
  const line = element("refusal");
  line.hidden = reason === "";
  line.textContent = reason && `${strings[language].refused} ${reason}`;
  line.dataset.reason = reason;
}

/** @param {import("./answer-view.js").Shown | null} next */
function show(next) {
  shown = next;
  draw(language, shown);
}

/** @param {"loading" | "ready" | "failed"} state */
function enter(state) {
  document.documentElement.dataset.state = state;
  element("loading").hidden = state !== "loading";
  element("failure").hidden = state !== "failed";
}

/** @param {Reply} reply */
function receive(reply) {
  switch (reply.kind) {
    case "progress":
      progress.value = reply.loaded / reply.total;
      element("progress-text").textContent = `${Math.floor(progress.value * 100)} %`;
      break;
    case "preparing":
      progress.removeAttribute("value");
      element("progress-text").textContent = "";
      element("loading-label").dataset.text = "preparing";
      element("loading-label").textContent = strings[language].preparing;
      break;
    case "ready":
      enter("ready");
      element("model").textContent = `${reply.model} ${reply.sha256.slice(0, 12)}`;
      element("model").title = reply.sha256;
      classify();
      if (box.value === "") announce(() => strings[language].ready, 0);
      // The first number that a page formats takes 15 ms: here nobody waits for it.
      setTimeout(() => percent(language, 0));
      break;
    case "failed":
      enter("failed");
      show(null);
      element("failure-reason").textContent = reply.reason;
      break;
    case "answer": {
      const { answer, reading, milliseconds } = reply;
      refuse("");
      show({ answer, reading, milliseconds });
      announce(() => sentence(language, answer));
      break;
    }
    case "refused":
      show(null);
      refuse(reply.reason);
      announce(() => `${strings[language].refused} ${reply.reason}`);
      break;
    case "rows":
    case "table":
    case "unread":
      batchView.take(reply);
      drawBatch();
      if (batchView.isDone()) announce(() => strings[language].batchDone, 0);
      break;
  }
}

/** How often the batch is drawn while its rows come. */
const DRAW_MS = 200;

/** @type {number | undefined} */
let drawing;

function drawBatch() {
  drawing ??= window.setTimeout(() => {
    drawing = undefined;
    batchView.draw(language);
  }, DRAW_MS);
}

/** @param {File | undefined} file */
function readFile(file) {
  if (!file) return;
  batchView.begin(file.name);
  drawBatch();
  classifier.batch(file);
}

async function askServer() {
  asking.disabled = true;
  await serverView.ask(box.value);
  asking.disabled = false;
  serverView.draw(language);
}

const classifier = new Classifier(receive);

function classify() {
  serverView.forget();
  serverView.draw(language);
  if (box.value !== "") {
    classifier.ask(box.value);
    return;
  }
  classifier.forget();
  clearTimeout(announcing);
  refuse("");
  show(null);
}

/** @param {string} text */
function fill(text) {
  box.value = text;
  classify();
}

function drawExamples() {
  const items = examples[language].map((text) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => fill(text));
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  element("examples").replaceChildren(...items);
}

/** @param {Language} next */
function speak(next) {
  language = next;
  const text = /** @type {Record<string, string>} */ (strings[language]);
  document.documentElement.lang = language;
  for (const part of document.querySelectorAll("[data-text]")) {
    part.textContent = text[/** @type {HTMLElement} */ (part).dataset.text ?? ""];
  }
  for (const part of document.querySelectorAll("[data-label]")) {
    const key = /** @type {HTMLElement} */ (part).dataset.label ?? "";
    if (key in text) part.setAttribute("aria-label", text[key]);
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    const pressed = /** @type {HTMLElement} */ (button).dataset.language === language;
    button.setAttribute("aria-pressed", String(pressed));
  }
  drawExamples();
  draw(language, shown);
  serverView.draw(language);
  batchView.draw(language);
  refuse(element("refusal").dataset.reason ?? "");
}

function load() {
  enter("loading");
  element("loading-label").dataset.text = "loading";
  element("loading-label").textContent = strings[language].loading;
  classifier.start();
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    speak(/** @type {HTMLElement} */ (button).dataset.language === "fr" ? "fr" : "en");
  });
}
box.addEventListener("input", classify);
element("clear").addEventListener("click", () => {
  fill("");
  box.focus();
});
element("tokens-view").addEventListener("toggle", () => draw(language, shown));
asking.addEventListener("click", askServer);
chosen.addEventListener("change", () => {
  readFile(chosen.files?.[0]);
  // The same file, changed meanwhile, may be chosen again.
  chosen.value = "";
});
element("batch-stop").addEventListener("click", () => classifier.stopBatch());
for (const [id, by] of /** @type {const} */ ([["batch-back", -1], ["batch-next", 1]])) {
  element(id).addEventListener("click", () => {
    batchView.turn(by);
    batchView.draw(language);
  });
}
// Anywhere on the page: a file that misses the field must not open in place of it.
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  readFile(event.dataTransfer?.files[0]);
});
element("retry").addEventListener("click", () => {
  load();
  box.focus();
});

// A task each, so that none is long; and none in the one that ends the reading of the page.
setTimeout(() => {
  speak(language);
  setTimeout(load);
});
