// The playground: it classifies the text in the box, or a file of texts, in a worker. It keeps texts in memory only. After
// the model is loaded it sends a request only when the user presses a button.

import { drawPrediction, element, formatPercent, describePrediction } from "./answer-view.js";
import * as batchView from "./batch-view.js";
import * as serverView from "./server-view.js";
import { Classifier } from "./classifier.js";
import { examples, detectLanguage, strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */
/** @typedef {import("./classifier-worker.js").Reply} Reply */

// A screen reader gets a prediction after this pause without a newer one, so that typing does not interrupt it.
const ANNOUNCE_AFTER_MS = 800;

const textBox = /** @type {HTMLTextAreaElement} */ (element("text"));
const progressBar = /** @type {HTMLProgressElement} */ (element("progress"));
const fileInput = /** @type {HTMLInputElement} */ (element("file"));
const serverButton = /** @type {HTMLButtonElement} */ (element("ask"));

/** @type {Language} */
let language = detectLanguage(location.search, navigator.languages);
/** @type {import("./answer-view.js").ClassifyResult | null} */
let result = null;
/** @type {number | undefined} */
let announceTimer;

/**
 * @param {() => string} getText called after the delay, so that it uses the language of that moment
 * @param {number} [delay]
 */
function announce(getText, delay = ANNOUNCE_AFTER_MS) {
  clearTimeout(announceTimer);
  announceTimer = window.setTimeout(() => {
    element("announcement").textContent = getText();
  }, delay);
}

/** @param {string} reason why the newest text was not classified; empty if it was */
function showRefusal(reason) {
  const line = element("refusal");
  line.hidden = reason === "";
  line.textContent = reason && `${strings[language].refused} ${reason}`;
  line.dataset.reason = reason;
}

/** @param {import("./answer-view.js").ClassifyResult | null} next */
function showResult(next) {
  result = next;
  drawPrediction(language, result);
}

/** @param {"loading" | "ready" | "failed"} state */
function setState(state) {
  document.documentElement.dataset.state = state;
  element("loading").hidden = state !== "loading";
  element("failure").hidden = state !== "failed";
}

/** @param {Reply} reply */
function handleReply(reply) {
  switch (reply.kind) {
    case "progress":
      progressBar.value = reply.loaded / reply.total;
      element("progress-text").textContent = `${Math.floor(progressBar.value * 100)} %`;
      break;
    case "preparing":
      progressBar.removeAttribute("value");
      element("progress-text").textContent = "";
      element("loading-label").dataset.text = "preparing";
      element("loading-label").textContent = strings[language].preparing;
      break;
    case "ready":
      setState("ready");
      element("model").textContent = `${reply.model} ${reply.sha256.slice(0, 12)}`;
      element("model").title = reply.sha256;
      classifyText();
      if (textBox.value === "") announce(() => strings[language].ready, 0);
      // Formatting the first number of a page takes 15 ms, so do it before the user waits for it.
      setTimeout(() => formatPercent(language, 0));
      break;
    case "failed":
      setState("failed");
      showResult(null);
      element("failure-reason").textContent = reply.reason;
      break;
    case "answer": {
      const { prediction, analysis, milliseconds } = reply;
      showRefusal("");
      showResult({ prediction, analysis, milliseconds });
      announce(() => describePrediction(language, prediction));
      break;
    }
    case "refused":
      showResult(null);
      showRefusal(reply.reason);
      announce(() => `${strings[language].refused} ${reply.reason}`);
      break;
    case "rows":
    case "table":
    case "unread":
      batchView.handleReply(reply);
      drawBatch();
      if (batchView.isDone()) announce(() => strings[language].batchDone, 0);
      break;
  }
}

/** Milliseconds between two updates of the batch while rows arrive. */
const DRAW_MS = 200;

/** @type {number | undefined} */
let drawTimer;

function drawBatch() {
  drawTimer ??= window.setTimeout(() => {
    drawTimer = undefined;
    batchView.draw(language);
  }, DRAW_MS);
}

/** @param {File | undefined} file */
function classifyFile(file) {
  if (!file) return;
  batchView.reset(file.name);
  drawBatch();
  classifier.classifyFile(file);
}

async function classifyOnServer() {
  serverButton.disabled = true;
  await serverView.classify(textBox.value);
  serverButton.disabled = false;
  serverView.draw(language);
}

const classifier = new Classifier(handleReply);

function classifyText() {
  serverView.reset();
  serverView.draw(language);
  if (textBox.value !== "") {
    classifier.classify(textBox.value);
    return;
  }
  classifier.cancel();
  clearTimeout(announceTimer);
  showRefusal("");
  showResult(null);
}

/** @param {string} text */
function setText(text) {
  textBox.value = text;
  classifyText();
}

function drawExamples() {
  const items = examples[language].map((text) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => setText(text));
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  element("examples").replaceChildren(...items);
}

/** @param {Language} next */
function setLanguage(next) {
  language = next;
  const text = /** @type {Record<string, string>} */ (strings[language]);
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) {
    node.textContent = text[/** @type {HTMLElement} */ (node).dataset.text ?? ""];
  }
  for (const node of document.querySelectorAll("[data-label]")) {
    const key = /** @type {HTMLElement} */ (node).dataset.label ?? "";
    if (key in text) node.setAttribute("aria-label", text[key]);
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    const pressed = /** @type {HTMLElement} */ (button).dataset.language === language;
    button.setAttribute("aria-pressed", String(pressed));
  }
  drawExamples();
  drawPrediction(language, result);
  serverView.draw(language);
  batchView.draw(language);
  showRefusal(element("refusal").dataset.reason ?? "");
}

function load() {
  setState("loading");
  element("loading-label").dataset.text = "loading";
  element("loading-label").textContent = strings[language].loading;
  classifier.start();
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    setLanguage(/** @type {HTMLElement} */ (button).dataset.language === "fr" ? "fr" : "en");
  });
}
textBox.addEventListener("input", classifyText);
element("clear").addEventListener("click", () => {
  setText("");
  textBox.focus();
});
element("tokens-view").addEventListener("toggle", () => drawPrediction(language, result));
serverButton.addEventListener("click", classifyOnServer);
fileInput.addEventListener("change", () => {
  classifyFile(fileInput.files?.[0]);
  // Clear the field, so that choosing the same file again sends an event.
  fileInput.value = "";
});
element("batch-stop").addEventListener("click", () => classifier.stopBatch());
for (const [id, delta] of /** @type {const} */ ([["batch-back", -1], ["batch-next", 1]])) {
  element(id).addEventListener("click", () => {
    batchView.movePage(delta);
    batchView.draw(language);
  });
}
// The whole page accepts a drop, because the browser would otherwise open a file dropped outside the field.
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  classifyFile(event.dataTransfer?.files[0]);
});
element("retry").addEventListener("click", () => {
  load();
  textBox.focus();
});

// Each step has its own task, so that no task is long and the parsing of the page ends first.
setTimeout(() => {
  setLanguage(language);
  setTimeout(load);
});
