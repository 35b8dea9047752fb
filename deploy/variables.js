// The variables of the gateway: one NAME=value per line. A file that cannot be right is refused before anything is deployed.

import { readFileSync } from "node:fs";
import { DeployError } from "./error.js";

/** Secrets that every gateway needs. */
export const SECRETS = ["JEFFREY_SIGNING_KEY", "JEFFREY_OVERRIDE_SIGNING_KEY", "JEFFREY_VIEWER_TOKEN", "JEFFREY_ADMIN_TOKEN"];
/** Names of all secrets, of which a variables file must not contain one. */
const SECRET_NAME = /^(JEFFREY_\w*(KEY|TOKEN|SECRET)|BUCKET_SALT)$/;
/** Returns the secrets that a gateway with these variables needs. @param {Map<string, string>} variables */
export const requiredSecrets = (variables) => [...SECRETS, ...(variables.get("SUBJECT_TRUST") === "secret" ? ["JEFFREY_SUBJECT_SECRET"] : [])];
/** A service binding, not a variable: the gateway of an earlier release as the legacy system. */
export const SERVICE = "LEGACY_SERVICE";

/** What the canary does about the legacy system's authentication. The gateway answers nothing by the model without it. */
const CANARY_AUTH_VALUES = {
  none_required: "the legacy system answers every caller of a classify route, so the canary may too",
  check: "the gateway asks the legacy system about the caller first: CANARY_AUTH_CHECK=METHOD /path",
  credentials_stay_stable: "a call with credentials stays stable; the canary answers only calls without",
};

/** Reads and checks the variables of a file. @param {string} path @param {string} name name of the file in messages */
export function readVariables(path, name) {
  let text;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    throw new DeployError(2, `${name} cannot be read: copy deploy/example.vars to it`);
  }
  const variables = parseVariables(text, name);
  const fault = findFault(variables);
  if (fault) throw new DeployError(2, `${name} ${fault}`);
  return variables;
}

/** Skips blank lines and lines that begin with `#`. @param {string} text @param {string} file @returns {Map<string, string>} */
function parseVariables(text, file) {
  const variables = new Map();
  for (const [index, line] of text.split("\n").entries()) {
    if (/^\s*(#.*)?$/.test(line)) continue;
    const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? [];
    if (name === undefined) throw new DeployError(2, `${file} line ${index + 1} is not NAME=value`);
    variables.set(name, value);
  }
  return variables;
}

/** Returns the first fault as the end of a sentence about the file; `undefined` if there is none. @param {Map<string, string>} variables */
function findFault(variables) {
  if (!variables.has("LEGACY_ORIGIN") && !variables.has(SERVICE)) return "has no LEGACY_ORIGIN: set the address of the legacy system, or LEGACY_SERVICE";
  const secret = [...variables.keys()].find((name) => SECRET_NAME.test(name));
  if (secret) return `has ${secret}: a secret is set with \`wrangler secret put\`, not in a file`;
  if (variables.get("JEFFREY_FAULT_INJECTION") === "on") return "has JEFFREY_FAULT_INJECTION=on: it lets any caller end the gateway, so it is for tests only";
  return findCanaryAuthFault(variables);
}

/** @param {Map<string, string>} variables */
function findCanaryAuthFault(variables) {
  const value = variables.get("CANARY_AUTH");
  if (value === undefined || !Object.hasOwn(CANARY_AUTH_VALUES, value)) {
    const choices = Object.entries(CANARY_AUTH_VALUES).map(([name, meaning]) => `  CANARY_AUTH=${name}: ${meaning}`);
    return `has ${value === undefined ? "no CANARY_AUTH" : `CANARY_AUTH=${value}`}: set who checks the callers that the canary answers\n${choices.join("\n")}`;
  }
  const check = variables.get("CANARY_AUTH_CHECK");
  if (value === "check" && !/^[A-Z]+ \/[^\s?#]*(\?[^\s#]*)?$/.test(check ?? "")) {
    return `has CANARY_AUTH=check and ${check === undefined ? "no CANARY_AUTH_CHECK" : `CANARY_AUTH_CHECK=${check}`}: set a method and a path of the legacy system, such as GET /me`;
  }
}
