// Tests the pages: every relative link leads to a file, and every command, flag and target that they show exists.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

const BINARY = "target/debug/jeffrey";

const pages = execFileSync("git", ["ls-files", "*.md"], { encoding: "utf8" }).trim().split("\n").filter((path) => !path.startsWith("training/read/"));
const readPage = (/** @type {string} */ path) => readFileSync(path, "utf8");

/** The anchors that GitHub gives the headings of a page. @param {string} text */
function headingAnchors(text) {
  const headings = [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, title]) => title);
  return headings.map((title) => title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-"));
}

/** The lines of all code blocks, continuation lines joined. @param {string} text */
function codeLines(text) {
  const blocks = [...text.matchAll(/^```\w*\n([\s\S]*?)^```/gm)].map(([, block]) => block.replace(/\\\n\s*/g, " "));
  return blocks.join("\n").split("\n").map((line) => line.replace(/^\$ /, "").trim());
}

/** The arguments of each `jeffrey` in a shell line, up to a pipe, a redirection or a comment. @param {string} line */
function jeffreyCommands(line) {
  const commands = [...line.matchAll(/(?:^|[|;&] *)(?:target\/(?:release|debug)\/)?jeffrey ([^|;&<>#]*)/g)];
  return commands.map(([, argumentText]) => [...argumentText.matchAll(/"[^"]*"|'[^']*'|\S+/g)].map(([argument]) => argument.replace(/^["']|["']$/g, "")));
}

test("every relative link of a page leads to a file, and its anchor to a heading", () => {
  /** @type {string[]} */
  const broken = [];
  for (const page of pages) {
    const text = readPage(page).replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "");
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path, anchor] = link.split("#");
      const file = path ? normalize(join(dirname(page), path)) : page;
      if (!existsSync(file)) broken.push(`${page}: ${link}`);
      else if (anchor && file.endsWith(".md") && !headingAnchors(readPage(file)).includes(anchor)) broken.push(`${page}: ${link} (no such heading)`);
    }
  }
  assert.deepEqual(broken, []);
});

test("every command and flag of `jeffrey` on a page exists", () => {
  let count = 0;
  for (const page of pages) {
    for (const line of codeLines(readPage(page))) {
      for (const args of jeffreyCommands(line)) {
        count += 1;
        // With `--help` the binary runs no command, but still refuses unknown commands and flags.
        const { status, stderr } = spawnSync(BINARY, [...args.filter((argument) => argument !== "--help"), "--help"], { encoding: "utf8", input: "" });
        assert.equal(status, 0, `${page}: ${line}\n${stderr}`);
      }
    }
  }
  assert.ok(count > 20, `only ${count} commands were found`);
});

test("every target of `make` on a page exists", () => {
  const targets = new Set([...readPage("Makefile").matchAll(/^([a-z][\w-]*):/gm)].map(([, name]) => name));
  for (const page of pages) {
    for (const line of codeLines(readPage(page))) {
      const makeArguments = /^make ([^#|;&]*)/.exec(line)?.[1].trim().split(/\s+/) ?? [];
      for (const target of makeArguments.filter((argument) => argument !== "" && !/[=-]/.test(argument[0] ?? "") && !argument.includes("="))) {
        assert.ok(targets.has(target), `${page}: make ${target}`);
      }
    }
  }
});
