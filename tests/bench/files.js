// The files that the bench reads: the builds, the shipped model and the golden rows, with their sizes.
//
// BENCH_BUILD names another folder of builds (`build` for the test build). Without it, the bench reads the edge build.

import { readFileSync, readdirSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

import { FILES } from "../support/model-files.js";

export const BUILD_FOLDER = process.env.BENCH_BUILD ?? "build/edge";
/** Folder that the bench writes to. */
export const WORK_FOLDER = "build/bench";
export const MODEL_FOLDER = `models/${readFileSync("models/shipped", "utf8").trim()}`;
export const ENCODER = `${MODEL_FOLDER}/onnx/model_quantized.onnx`;
/** Fastest int8 form of the encoder in onnxruntime-web, chosen by `int8.js`. */
export const INT8_ENCODER = `${WORK_FOLDER}/int8.onnx`;
/** Lengths of the timed texts, in tokens; the last is the longest input that the encoder reads. */
export const TOKEN_COUNTS = [8, 16, 32, 64, 128];

/** Returns a model's files in the order of the classifier's constructor. @param {string} folder */
export const modelFiles = (folder) => FILES.map((name) => `${folder}/${name}`);
export const MODEL_FILES = modelFiles(MODEL_FOLDER);

/** @typedef {{ id: string, text: string, ids: number[], label: string, scores: number[] | null }} GoldenRow */

/** @returns {GoldenRow[]} */
export function readGoldenRows() {
  const lines = readFileSync("tests/data/golden.jsonl", "utf8").split("\n");
  return lines.filter(Boolean).map((line) => JSON.parse(line));
}

/** Loads the page's glue and the bytes of its module. */
export async function loadPageModule() {
  const glue = await import(pathToFileURL(resolve(BUILD_FOLDER, "browser/jeffrey_edge.js")).href);
  return { glue, bytes: readFileSync(`${BUILD_FOLDER}/browser/jeffrey_edge_bg.wasm`) };
}

/** Entry file of the model worker, written by `make workers`. */
export const MODEL_WORKER = `${BUILD_FOLDER}/model/index.js`;

/** Returns the sizes of modules and model files, in bytes. */
export function measureSizes() {
  const wasmName = readdirSync(`${BUILD_FOLDER}/model`).find((name) => name.endsWith(".wasm"));
  return {
    model_worker: totalSize([`${BUILD_FOLDER}/model/${wasmName}`]),
    page_module: totalSize([`${BUILD_FOLDER}/browser/jeffrey_edge_bg.wasm`]),
    model_files: totalSize(MODEL_FILES),
    encoder: totalSize([ENCODER]),
    ort_module: totalSize(["node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"]),
  };
}

/** @param {string[]} files */
function totalSize(files) {
  const contents = files.map((file) => readFileSync(file));
  const totalLength = (/** @type {Buffer[]} */ buffers) => buffers.reduce((total, { length }) => total + length, 0);
  return { raw_bytes: totalLength(contents), gzip_bytes: totalLength(contents.map((bytes) => gzipSync(bytes, { level: 9 }))) };
}
