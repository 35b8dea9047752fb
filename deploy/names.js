// Names of the Workers and queues of one environment, and of the model worker of one release. Two environments, suffixes or
// releases never share a name.

import { createHash } from "node:crypto";
import { DeployError } from "./error.js";

const MODEL_PREFIX = "jeffrey-model-";
/** Longest name of a Worker: a label of a host name (RFC 1035, section 2.3.4). */
const WORKER_NAME_MAX = 63;
/** Hexadecimal digits of the hash. Not eight: a release that ends in a date stays readable. */
const HASH_DIGITS = 10;
/**
 * Suffixes that would give the names of something else: `staging` those of the staging environment, `dead` that of the
 * dead-letter queue; `production` would only mislead.
 */
const RESERVED_SUFFIXES = ["staging", "production", "dead"];
/** The same rule as `ReleaseName::parse` in src/rollout/bucket.rs. */
const RELEASE_NAME = /^[A-Za-z0-9._-]{1,64}$/;

export const QUEUES = ["jeffrey-events", "jeffrey-events-dead"];

/** Returns the end of all names: empty, or a dash and letters, digits and dashes. @param {"staging" | "production"} env @param {string} suffix the option `--suffix` */
export function nameSuffix(env, suffix) {
  if (!/^[a-z0-9]{0,20}$/.test(suffix)) throw new DeployError(2, `--suffix of ${suffix} is not up to 20 lower-case letters or digits`);
  if (RESERVED_SUFFIXES.includes(suffix)) throw new DeployError(2, `--suffix of ${suffix} is reserved: other Workers or queues have these names`);
  return (env === "production" ? "" : `-${env}`) + (suffix && `-${suffix}`);
}

/**
 * Returns the name of a release's model worker: `jeffrey-model-RELEASE`, then two dashes before a suffix, because a release
 * may itself end in `-staging`. A Worker's name has only lower-case letters, digits and single dashes here, so a release with
 * anything else, or too long, gets a hash of its exact name. So does one that ends like a hash.
 * @param {string} release @param {string} suffix from {@link nameSuffix}
 */
export function modelWorkerName(release, suffix) {
  if (!RELEASE_NAME.test(release)) throw new DeployError(2, `RELEASE of ${JSON.stringify(release)} is not 1 to 64 letters, digits, dashes, dots and underscores`);
  const end = suffix && `-${suffix}`;
  const longest = WORKER_NAME_MAX - MODEL_PREFIX.length - end.length;
  const isPlain = /^[a-z0-9]+(-[a-z0-9]+)*$/.test(release) && release.length <= longest;
  if (isPlain && !new RegExp(`(^|-)[0-9a-f]{${HASH_DIGITS}}$`).test(release)) return MODEL_PREFIX + release + end;
  const readable = release.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, longest - HASH_DIGITS - 1).replace(/^-|-$/g, "");
  const hash = createHash("sha256").update(release).digest("hex").slice(0, HASH_DIGITS);
  return MODEL_PREFIX + (readable && `${readable}-`) + hash + end;
}

/** Whether a Worker is a model worker of this environment and suffix. @param {string} name @param {string} suffix */
export function isModelWorker(name, suffix) {
  if (!name.startsWith(MODEL_PREFIX)) return false;
  const dashes = name.indexOf("--");
  return (dashes < 0 ? "" : name.slice(dashes + 1)) === suffix;
}
