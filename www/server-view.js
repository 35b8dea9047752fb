// Sends the text to the server of this page when the user asks for it, and draws the response. Behind the gateway this is a
// caller's classify call, so the response can name the cohort. On the model worker it is `POST /v1/classify`.

import { element, milliseconds, percent, word, write } from "./answer-view.js";
import { at, put } from "./pointer.js";
import { strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */

/** How to make a classify call, from the gateway's `/health`. `text`, `user`, `label` and `confidence` are JSON pointers. */
/** @typedef {{ method: string, path: string, text: string, user: string | null, label: string | null, confidence: string | null }} Contract */
/** @typedef {{ status: number, cohort: string | null, label: string, confidence: number | null, took_ms: number, headers: [string, string][], body: string }} Said */

/** The classify call of the model worker. @type {Contract} */
const OWN = { method: "POST", path: "v1/classify", text: "/text", user: null, label: "/primary", confidence: "/confidence" };

/** The gateway serves this page below `ADMIN_PREFIX`, at `/playground/`. */
const behindGate = location.pathname.endsWith("/playground/");

const user = /** @type {HTMLInputElement} */ (element("user"));

/** Number of requests and resets so far. A response with an older number belongs to another text and is dropped. */
let asked = 0;
/** @type {Said | null} */
let said = null;
let failed = "";

/** @returns {Promise<Contract>} */
async function contract() {
  if (!behindGate) return OWN;
  const health = await (await fetch(new URL("../health", location.href))).json();
  if (!health.classify) throw new Error("the gateway has no classify call configured");
  return health.classify;
}

/** @param {string} text */
export async function ask(text) {
  forget();
  const mine = asked;
  const [found, why] = await answer(text);
  if (mine === asked) [said, failed] = [found, why];
}

/** The server's response to a text, or the error message. @param {string} text @returns {Promise<[Said | null, string]>} */
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
      // The page shows the body as text.
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

/** Clears the response, and drops the response to a request under way. */
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
