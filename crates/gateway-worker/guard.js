// Answers a request without wasm if the instance that was answering it dies.
//
// All input and output of a request goes through its `Call`, so JavaScript knows how far wasm came: what was read of the
// body, and whether the request went to the legacy system. A request that had not gone there is forwarded from here; the
// response to one that had is awaited, so none goes there twice. The caller of a fault gets the legacy system's answer.

import { errorResponse } from "../wasm-host/error-response.js";

/** @typedef {{ LEGACY?: { fetch: typeof fetch }, LEGACY_ORIGIN?: string, ADMIN_PREFIX?: string }} Env */
/** @typedef {{ waitUntil: (promise: Promise<unknown>) => void, passThroughOnException: () => void }} Context */
/** @typedef {Pick<ReturnType<typeof import("../wasm-host/recovery.js").createRecovery>, "runWasm" | "untilDeath">} Recovery */
/**
 * @typedef {object} WasmCalls
 * @property {(call: Call) => Promise<Response>} respond
 * @property {(call: Call, status: number, latency_ms: number) => Promise<void>} record_gateway_fault stores the event of a
 *   classify call that was answered without wasm
 */

/** Path prefix of the gateway's own endpoints unless `ADMIN_PREFIX` is set. */
const DEFAULT_ADMIN_PREFIX = "/_jeffrey";

/** Origin in the URL of a request to a legacy system behind a service binding. */
const BOUND_LEGACY_ORIGIN = "http://legacy";

/** Beginning of the names of the gateway's headers, none of which is forwarded. */
const GATEWAY_HEADER_PREFIX = "x-jeffrey-";

/** One request and how far its answer came. Wasm calls the methods. */
export class Call {
  /** The URL and the headers of the forwarded request. @type {{ url: string, headers: Headers } | null} */
  prepared = null;
  /** The bytes of the body, once wasm reads it. @type {Promise<Uint8Array<ArrayBuffer> | null> | null} */
  body = null;
  /** The legacy system's response, once the request went there. @type {Promise<Response> | null} */
  upstream = null;
  /** The last form of that response. @type {Response | null} */
  response = null;

  /** @param {Request} request @param {unknown} env @param {unknown} context @param {Recovery} recovery */
  constructor(request, env, context, recovery) {
    this.request = request;
    this.env = /** @type {Env} */ (env);
    this.context = /** @type {Context} */ (context);
    this.recovery = recovery;
  }

  /** Sets what is forwarded if wasm does not come to it. @param {string} url @param {Headers} headers */
  prepareForward(url, headers) {
    this.prepared = { url, headers };
  }

  /** Reads the request's body and keeps it; `null` if it is longer than `bytesMax`. @param {number} bytesMax */
  readBody(bytesMax) {
    this.body ??= readBytes(this.request.body, bytesMax);
    return this.body;
  }

  /** Sends a request to the legacy system: over `binding`, or over the network. @param {Request} request @param {Env["LEGACY"]} binding */
  sendUpstream(request, binding) {
    this.upstream = binding ? binding.fetch(request) : fetch(request);
    return this.upstream;
  }

  /** Keeps the response after its headers have changed: the former one's body has moved to it. @param {Response} response */
  keepResponse(response) {
    this.response = response;
  }

  /** Keeps the request alive until a promise of wasm ends, or the instance dies. @param {Promise<unknown>} promise */
  waitUntil(promise) {
    this.context.waitUntil(this.recovery.untilDeath(promise).catch(() => {}));
  }
}

/**
 * Answers a request by wasm, or without it if its instance dies or it throws.
 *
 * @param {Call} call
 * @param {WasmCalls} wasm
 */
export async function respond(call, wasm) {
  // If this module itself throws, the platform sends the request to the origin of its URL, if there is one.
  if (!isForGateway(call)) call.context.passThroughOnException();
  try {
    return await call.recovery.runWasm(() => wasm.respond(call));
  } catch {
    return answerWithoutWasm(call, wasm);
  }
}

/** @param {Call} call @param {WasmCalls} wasm */
async function answerWithoutWasm(call, wasm) {
  if (isForGateway(call)) return errorResponse(500, "gateway_fault", "the gateway failed while it answered this request");
  const startedAt = Date.now();
  let response;
  try {
    response = call.response ?? (await (call.upstream ?? forward(call)));
  } catch {
    response = errorResponse(502, "legacy_unreachable", "the legacy system could not be reached or sent an invalid response");
  }
  const { status } = response;
  const record = call.recovery.runWasm(() => wasm.record_gateway_fault(call, status, Date.now() - startedAt));
  call.context.waitUntil(record.catch(() => {}));
  return response;
}

/** Returns whether the path belongs to the gateway: such a request may hold a token of the gateway, so it is never forwarded. @param {Call} call */
function isForGateway({ request, env, prepared }) {
  if (prepared) return false;
  const { pathname } = new URL(request.url);
  const prefixes = [DEFAULT_ADMIN_PREFIX, ...(env.ADMIN_PREFIX ? [env.ADMIN_PREFIX] : [])];
  return prefixes.some((prefix) => pathname === prefix || pathname.startsWith(`${prefix}/`));
}

/** Forwards the request to the legacy system. @param {Call} call */
async function forward(call) {
  const { request, env } = call;
  const { url, headers } = call.prepared ?? defaultForward(request, env);
  const body = call.body ? await call.body : null;
  const outbound = body
    ? new Request(url, { method: request.method, headers, body, redirect: "manual" })
    : new Request(new Request(url, request), { headers, redirect: "manual" });
  return call.sendUpstream(outbound, env.LEGACY);
}

/** URL and headers of a forwarded request for which wasm prepared none: the caller's headers without the gateway's. @param {Request} request @param {Env} env */
function defaultForward(request, env) {
  const origin = env.LEGACY_ORIGIN ? env.LEGACY_ORIGIN.replace(/\/$/, "") : env.LEGACY && BOUND_LEGACY_ORIGIN;
  if (!origin) throw new Error("no legacy system");
  const { pathname, search } = new URL(request.url);
  const headers = new Headers(request.headers);
  for (const name of [...headers.keys()]) if (name.startsWith(GATEWAY_HEADER_PREFIX)) headers.delete(name);
  return { url: `${origin}${pathname}${search}`, headers };
}

/** @param {ReadableStream<Uint8Array> | null} stream @param {number} bytesMax */
async function readBytes(stream, bytesMax) {
  const chunks = [];
  let length = 0;
  if (stream) {
    for await (const chunk of stream) {
      length += chunk.byteLength;
      if (length > bytesMax) return null;
      chunks.push(chunk);
    }
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}
