// The files that the bench reads: the builds, the shipped model and the golden rows, with their sizes.
//
// BENCH_BUILD names another folder of builds (`build` for the test build). Without it, the bench reads the edge build.

import { readFileSync, readdirSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

import { FILES } from "../support/model-files.js";

export const BUILD = process.env.BENCH_BUILD ?? "build/edge";
/** Folder that the bench writes to. */
export const WORK = "build/bench";
export const MODEL = `models/${readFileSync("models/shipped", "utf8").trim()}`;
export const ENCODER = `${MODEL}/onnx/model_quantized.onnx`;
/** Fastest int8 form of the encoder in onnxruntime-web, chosen by `int8.js`. */
export const INT8 = `${WORK}/int8.onnx`;
/** Lengths of the timed texts, in tokens; the last is the longest input that the encoder reads. */
export const TOKEN_COUNTS = [8, 16, 32, 64, 128];

/** Returns a model's files in the order of the classifier's constructor. @param {string} folder */
export const modelFiles = (folder) => FILES.map((name) => `${folder}/${name}`);
export const MODEL_FILES = modelFiles(MODEL);

/** @typedef {{ id: string, text: string, ids: number[], label: string, scores: number[] | null }} Golden */

/** @returns {Golden[]} */
export function golden() {
  const lines = readFileSync("tests/data/golden.jsonl", "utf8").split("\n");
  return lines.filter(Boolean).map((line) => JSON.parse(line));
}

/** Loads the page's glue and the bytes of its module. */
export async function pageModule() {
  const glue = await import(pathToFileURL(resolve(BUILD, "browser/jeffrey_edge.js")).href);
  return { glue, bytes: readFileSync(`${BUILD}/browser/jeffrey_edge_bg.wasm`) };
}

/** Entry file of the model worker, written by `make workers`. */
export const MODEL_WORKER = `${BUILD}/model/index.js`;

/** Returns the sizes of modules and model files, in bytes. */
export function sizes() {
  const worker = readdirSync(`${BUILD}/model`).find((name) => name.endsWith(".wasm"));
  return {
    model_worker: size([`${BUILD}/model/${worker}`]),
    page_module: size([`${BUILD}/browser/jeffrey_edge_bg.wasm`]),
    model_files: size(MODEL_FILES),
    encoder: size([ENCODER]),
    ort_module: size(["node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"]),
  };
}

/** @param {string[]} files */
function size(files) {
  const all = files.map((file) => readFileSync(file));
  const sum = (/** @type {Buffer[]} */ buffers) => buffers.reduce((total, { length }) => total + length, 0);
  return { raw_bytes: sum(all), gzip_bytes: sum(all.map((bytes) => gzipSync(bytes, { level: 9 }))) };
}
