// Makes texts of an exact number of tokens, and texts that may take longest.

import { TOKEN_COUNTS } from "./files.js";

/** Longest text that the classifier accepts, in bytes of UTF-8. */
const BYTES_MAX = 64 * 1024;

const WORDS = `Je suis furieux, c’est inadmissible : le colis est arrivé ouvert, personne ne répond au téléphone
et le remboursement promis lundi n’est toujours pas là. I waited an hour on the line, then they hung up on me,
so please tell me who can help, because I am tired and sad and a bit afraid of losing the money I saved.
Merci quand même à la dame du magasin, elle a été gentille et drôle, et ma fille était ravie de la surprise !`.split(/\s+/);

/** Short endings, for when the next word has too many tokens. */
const ENDS = [" !", " ?", ".", " a", " là", "!"];

/**
 * Returns one text for each of `TOKEN_COUNTS`. A count includes the special tokens.
 * @param {(text: string) => number} count
 */
export function textsByTokens(count) {
  return TOKEN_COUNTS.map((tokens) => ({ tokens, text: textOf(tokens, count) }));
}

/** @param {number} tokens @param {(text: string) => number} count */
function textOf(tokens, count) {
  let text = "";
  for (let next = 0; count(text) < tokens; next += 1) {
    const longer = `${text} ${WORDS[next % WORDS.length]}`.trim();
    const fitting = [longer, ...ENDS.map((end) => text + end)].find((candidate) => {
      const found = count(candidate);
      return found <= tokens && found > count(text);
    });
    if (fitting === undefined) throw new Error(`no text of exactly ${tokens} tokens found`);
    text = fitting;
  }
  return text;
}

/** Returns texts of up to 64 KiB, each slow for a different reason. */
export function slowTexts() {
  return [
    { kind: "one long word", text: letters(BYTES_MAX, Infinity) },
    { kind: "one letter repeated", text: filled("x") },
    { kind: "many short words", text: filled("a ") },
    { kind: "words of 500 letters", text: letters(BYTES_MAX, 500) },
    { kind: "combining marks on one letter", text: `e${filled("\u0301").slice(1)}` },
    { kind: "combining marks out of order", text: `e${filled("\u0301\u0323").slice(2)}` },
    { kind: "accents decomposed", text: filled("e\u0301") },
    { kind: "emoji joined", text: filled("👨\u200d👩\u200d👧\u200d👦\u200d") },
    { kind: "emoji families", text: filled("👨\u200d👩\u200d👧\u200d👦") },
    { kind: "Hangul syllables", text: filled("각") },
    { kind: "Hangul jamo", text: filled("\u1112\u1161\u11ab") },
    { kind: "one character that becomes eighteen", text: filled("ﷺ") },
    { kind: "control characters", text: filled("\u0001 ") },
    { kind: "URLs", text: filled("http://a ") },
    { kind: "negated anger", text: filled("pas furieux ") },
    { kind: "white space", text: filled(" \u3000") },
  ];
}

/** @param {string} piece */
function filled(piece) {
  return piece.repeat(Math.floor(BYTES_MAX / Buffer.byteLength(piece)));
}

/** Returns pseudo-random letters, the same in every run, with a space after each `word` of them. @param {number} length @param {number} word */
function letters(length, word) {
  let random = 42;
  let text = "";
  while (text.length < length) {
    // The generator of Numerical Recipes; any generator with a fixed seed would do.
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    text += text.length % (word + 1) === word ? " " : String.fromCharCode(97 + ((random >>> 16) % 26));
  }
  return text;
}
