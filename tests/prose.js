// Checks the terms in the pages, the help texts and the Rust comments. `.textlintrc.json` lists terms that this project
// once used, each with the term that replaces it.
// Usage: node tests/prose.js

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Extracted texts, with the line numbers of their sources. */
const WORK = "build/prose";
const BINARY = "target/debug/jeffrey";
/** Pages that `make acceptance` writes, with the terms of their commit. */
const RESULTS = ["docs/proof.md", "docs/soak.md"];

const tracked = execFileSync("git", ["ls-files", "*.md", "*.rs"], { encoding: "utf8" }).trim().split("\n");
const pages = tracked.filter((path) => path.endsWith(".md") && !RESULTS.includes(path) && !/^(models|training\/read)\//.test(path));
rmSync(WORK, { recursive: true, force: true });
const comments = tracked.filter((path) => path.endsWith(".rs")).map((path) => write(`${path}.md`, commentsOf(readFileSync(path, "utf8"))));
const helps = commands([]).map((path) => write(`${["help", ...path].join("-")}.txt`, help(path)));

const { status } = spawnSync("node_modules/.bin/textlint", [...pages, ...comments, ...helps], { stdio: "inherit" });
console.log(`${pages.length} pages, ${comments.length} files of comments, ${helps.length} help texts`);
process.exit(status ?? 1);

/** Returns the comment lines of a Rust file as Markdown; every other line is empty. @param {string} code */
function commentsOf(code) {
  return code.split("\n").map((line) => /^\s*\/\/[/!]? ?(.*)$/.exec(line)?.[1] ?? "").join("\n");
}

/** Returns the help text of a command. @param {string[]} path */
function help(path) {
  return execFileSync(BINARY, [...path, "--help"], { encoding: "utf8" });
}

/** Returns `path` and every command and subcommand below it. @param {string[]} path @returns {string[][]} */
function commands(path) {
  const listed = /^Commands:\n((?: {2}.*\n)+)/m.exec(help(path))?.[1] ?? "";
  const names = [...listed.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => name).filter((name) => name !== "help");
  return [path, ...names.flatMap((name) => commands([...path, name]))];
}

/** @param {string} name @param {string} text */
function write(name, text) {
  const path = join(WORK, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}
