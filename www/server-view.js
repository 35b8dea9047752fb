// What the server of this page answers to the same text, asked on request alone. Behind the gate that is what callers
// get, with their cohort; at the model worker it is the model's own interface.

import { element, milliseconds, percent, word, write } from "./answer-view.js";
import { at, put } from "./pointer.js";
import { strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */

/** How a call is made, as the gate's health says it; pointers are those of RFC 6901. */
/** @typedef {{ method: string, path: string, text: string, user: string | null, label: string | null, confidence: string | null }} Contract */
/** @typedef {{ status: number, cohort: string | null, label: string, confidence: number | null, took_ms: number, headers: [string, string][], body: string }} Said */

/** The model worker's own interface. @type {Contract} */
const OWN = { method: "POST", path: "v1/classify", text: "/text", user: null, label: "/primary", confidence: "/confidence" };

/** The gate serves this page below its prefix. */
const behindGate = location.pathname.endsWith("/playground/");

const user = /** @type {HTMLInputElement} */ (element("user"));

/** Counts what was asked and forgotten: an answer that comes later than that is another text's. */
let asked = 0;
/** @type {Said | null} */
let said = null;
let failed = "";

/** @returns {Promise<Contract>} */
async function contract() {
  if (!behindGate) return OWN;
  const health = await (await fetch(new URL("../health", location.href))).json();
  if (!health.classify) throw new Error("the gate knows of no classify call");
  return health.classify;
}

/** @param {string} text */
export async function ask(text) {
  forget();
  const mine = asked;
  const [found, why] = await answer(text);
  if (mine === asked) [said, failed] = [found, why];
}

/** What the server says to it, or why it does not. @param {string} text @returns {Promise<[Said | null, string]>} */
async function answer(text) {
  try {
    const call = await contract();
    const request = {};
    put(request, call.text, text);
    if (call.user !== null && user.value !== "") put(request, call.user, user.value);
    const start = performance.now();
    const response = await fetch(new URL(call.path, location.href), {
      method: call.method,
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
      // Shown as it is.
    }
    const confidence = at(json, call.confidence);
    const said = {
      status: response.status,
      cohort: response.headers.get("x-jeffrey-cohort"),
      label: String(at(json, call.label) ?? ""),
      confidence: typeof confidence === "number" ? confidence : null,
      took_ms,
      headers: [...response.headers].sort(),
      body,
    };
    return [said, ""];
  } catch (error) {
    return [null, error instanceof Error ? error.message : String(error)];
  }
}

/** Forgets what was said of another text. */
export function forget() {
  asked += 1;
  [said, failed] = [null, ""];
}

/** @param {Language} language */
export function draw(language) {
  for (const id of ["user", "user-label"]) element(id).hidden = !behindGate;
  element("server-refusal").hidden = failed === "";
  write("server-refusal", failed && `${strings[language].unreachable} ${failed}`);
  element("server-answer").hidden = said === null;
  write("server-status", String(said?.status ?? ""));
  write("server-cohort", said?.cohort ?? "–");
  write("server-label-seen", said?.label ? word(language, said.label) : "–");
  const confidence = said?.confidence ?? null;
  write("server-confidence", confidence === null ? "–" : percent(language, confidence));
  write("server-time", said ? milliseconds(language, said.took_ms) : "–");
  write("server-body", said?.body ?? "");
  const rows = (said?.headers ?? []).map(([name, value]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const cell = document.createElement("td");
    cell.textContent = value;
    row.append(head, cell);
    return row;
  });
  element("server-headers").replaceChildren(...rows);
}
