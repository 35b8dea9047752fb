// Checks the terms in the pages, the help texts and the Rust comments. `.textlintrc.json` lists terms that this project
// once used, each with the term that replaces it.
// Usage: node tests/prose.js

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Folder of the extracted texts; each keeps the line numbers of its source. */
const WORK_FOLDER = "build/prose";
const BINARY = "target/debug/jeffrey";

const trackedFiles = execFileSync("git", ["ls-files", "*.md", "*.rs"], { encoding: "utf8" }).trim().split("\n");
const pages = trackedFiles.filter((path) => path.endsWith(".md") && !/^(models|training\/read)\//.test(path));
rmSync(WORK_FOLDER, { recursive: true, force: true });
const commentFiles = trackedFiles.filter((path) => path.endsWith(".rs")).map((path) => writeText(`${path}.md`, extractComments(readFileSync(path, "utf8"))));
const helpFiles = listCommands([]).map((path) => writeText(`${["help", ...path].join("-")}.txt`, readHelp(path)));

const { status } = spawnSync("node_modules/.bin/textlint", [...pages, ...commentFiles, ...helpFiles], { stdio: "inherit" });
console.log(`${pages.length} pages, ${commentFiles.length} files of comments, ${helpFiles.length} help texts`);
process.exit(status ?? 1);

/** Returns the comment lines of a Rust file as Markdown; every other line is empty. @param {string} code */
function extractComments(code) {
  return code.split("\n").map((line) => /^\s*\/\/[/!]? ?(.*)$/.exec(line)?.[1] ?? "").join("\n");
}

/** Returns the help text of a command. @param {string[]} path */
function readHelp(path) {
  return execFileSync(BINARY, [...path, "--help"], { encoding: "utf8" });
}

/** Returns `path` and every command and subcommand below it. @param {string[]} path @returns {string[][]} */
function listCommands(path) {
  const commandLines = /^Commands:\n((?: {2}.*\n)+)/m.exec(readHelp(path))?.[1] ?? "";
  const names = [...commandLines.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => name).filter((name) => name !== "help");
  return [path, ...names.flatMap((name) => listCommands([...path, name]))];
}

/** @param {string} name @param {string} text */
function writeText(name, text) {
  const path = join(WORK_FOLDER, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}
