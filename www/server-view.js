// Sends the text to the server of this page when the user asks for it, and draws the response. Behind the gateway this is a
// caller's classify call, so the response can name the cohort. On the model worker it is `POST /v1/classify`.

import { element, formatMilliseconds, formatPercent, displayName, write } from "./answer-view.js";
import { readPointer, writePointer } from "./pointer.js";
import { strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */

/** How to make a classify call, from the gateway's `/health`. `text`, `user`, `label` and `confidence` are JSON pointers. */
/** @typedef {{ method: string, path: string, text: string, user: string | null, label: string | null, confidence: string | null }} ClassifyEndpoint */
/** @typedef {{ status: number, cohort: string | null, label: string, confidence: number | null, took_ms: number, headers: [string, string][], body: string }} ServerResponse */

/** The classify call of the model worker. @type {ClassifyEndpoint} */
const MODEL_WORKER_ENDPOINT = { method: "POST", path: "v1/classify", text: "/text", user: null, label: "/primary", confidence: "/confidence" };

/** The gateway serves this page below `ADMIN_PREFIX`, at `/playground/`. */
const behindGateway = location.pathname.endsWith("/playground/");

const userInput = /** @type {HTMLInputElement} */ (element("user"));

/** Number of requests and resets so far. A response with an older number belongs to another text and is dropped. */
let requestNumber = 0;
/** @type {ServerResponse | null} */
let lastResponse = null;
let errorMessage = "";

/** @returns {Promise<ClassifyEndpoint>} */
async function fetchEndpoint() {
  if (!behindGateway) return MODEL_WORKER_ENDPOINT;
  const health = await (await fetch(new URL("../health", location.href))).json();
  if (!health.classify) throw new Error("the gateway has no classify call configured");
  return health.classify;
}

/** @param {string} text */
export async function classify(text) {
  reset();
  const thisRequest = requestNumber;
  const [response, error] = await requestPrediction(text);
  if (thisRequest === requestNumber) [lastResponse, errorMessage] = [response, error];
}

/** The server's response to a text, or the error message. @param {string} text @returns {Promise<[ServerResponse | null, string]>} */
async function requestPrediction(text) {
  try {
    const endpoint = await fetchEndpoint();
    const request = {};
    writePointer(request, endpoint.text, text);
    if (endpoint.user !== null && userInput.value !== "") writePointer(request, endpoint.user, userInput.value);
    const start = performance.now();
    const response = await fetch(new URL(endpoint.path, location.href), {
      method: endpoint.method,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
    });
    const body = await response.text();
    const took_ms = performance.now() - start;
    /** @type {unknown} */
    let json = null;
    try {
      json = JSON.parse(body);
    } catch {
      // The page shows the body as text.
    }
    const confidence = readPointer(json, endpoint.confidence);
    const result = {
      status: response.status,
      cohort: response.headers.get("x-jeffrey-cohort"),
      label: String(readPointer(json, endpoint.label) ?? ""),
      confidence: typeof confidence === "number" ? confidence : null,
      took_ms,
      headers: [...response.headers].sort(),
      body,
    };
    return [result, ""];
  } catch (error) {
    return [null, error instanceof Error ? error.message : String(error)];
  }
}

/** Clears the response, and ignores the response to a request in progress. */
export function reset() {
  requestNumber += 1;
  [lastResponse, errorMessage] = [null, ""];
}

/** @param {Language} language */
export function draw(language) {
  for (const id of ["user", "user-label"]) element(id).hidden = !behindGateway;
  element("server-refusal").hidden = errorMessage === "";
  write("server-refusal", errorMessage && `${strings[language].unreachable} ${errorMessage}`);
  element("server-answer").hidden = lastResponse === null;
  write("server-status", String(lastResponse?.status ?? ""));
  write("server-cohort", lastResponse?.cohort ?? "–");
  write("server-label-seen", lastResponse?.label ? displayName(language, lastResponse.label) : "–");
  const confidence = lastResponse?.confidence ?? null;
  write("server-confidence", confidence === null ? "–" : formatPercent(language, confidence));
  write("server-time", lastResponse ? formatMilliseconds(language, lastResponse.took_ms) : "–");
  write("server-body", lastResponse?.body ?? "");
  const rows = (lastResponse?.headers ?? []).map(([name, value]) => {
    const row = document.createElement("tr");
    const header = document.createElement("th");
    header.scope = "row";
    header.textContent = name;
    const cell = document.createElement("td");
    cell.textContent = value;
    row.append(header, cell);
    return row;
  });
  element("server-headers").replaceChildren(...rows);
}
