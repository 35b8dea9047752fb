// The playground: it classifies the text in the box, or a file of texts, in a worker. It keeps texts in memory only. After
// the model is loaded it sends a request only when the user presses a button.

import { draw, element, percent, sentence } from "./answer-view.js";
import * as batchView from "./batch-view.js";
import * as serverView from "./server-view.js";
import { Classifier } from "./classifier.js";
import { examples, firstLanguage, strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */
/** @typedef {import("./classifier-worker.js").Reply} Reply */

// A screen reader gets an answer after this pause without a newer one, so that typing does not interrupt it.
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
 * @param {() => string} sentence called after the delay, so that it uses the language of that moment
 * @param {number} [delay]
 */
function announce(sentence, delay = ANNOUNCE_AFTER_MS) {
  clearTimeout(announcing);
  announcing = window.setTimeout(() => {
    element("announcement").textContent = sentence();
  }, delay);
}

/** @param {string} reason why the newest text was not classified; empty if it was */
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
      // Formatting the first number of a page takes 15 ms, so do it before the user waits for it.
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

/** Milliseconds between two updates of the batch while rows arrive. */
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
  // Clear the field, so that choosing the same file again sends an event.
  chosen.value = "";
});
element("batch-stop").addEventListener("click", () => classifier.stopBatch());
for (const [id, by] of /** @type {const} */ ([["batch-back", -1], ["batch-next", 1]])) {
  element(id).addEventListener("click", () => {
    batchView.turn(by);
    batchView.draw(language);
  });
}
// The whole page accepts a drop, because the browser would otherwise open a file dropped beside the field.
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  readFile(event.dataTransfer?.files[0]);
});
element("retry").addEventListener("click", () => {
  load();
  box.focus();
});

// Each step has its own task, so that no task is long and the parsing of the page ends first.
setTimeout(() => {
  speak(language);
  setTimeout(load);
});
