// Makes texts of an exact number of tokens, and texts that may take longest.

import { TOKEN_COUNTS } from "./files.js";

/** Longest text that the classifier accepts, in bytes of UTF-8. */
const BYTES_MAX = 64 * 1024;

const WORDS = `Je suis furieux, c’est inadmissible : le colis est arrivé ouvert, personne ne répond au téléphone
et le remboursement promis lundi n’est toujours pas là. I waited an hour on the line, then they hung up on me,
so please tell me who can help, because I am tired and sad and a bit afraid of losing the money I saved.
Merci quand même à la dame du magasin, elle a été gentille et drôle, et ma fille était ravie de la surprise !`.split(/\s+/);

/** Short endings, for when the next word has too many tokens. */
const ENDINGS = [" !", " ?", ".", " a", " là", "!"];

/**
 * Returns one text for each of `TOKEN_COUNTS`. A count includes the special tokens.
 * @param {(text: string) => number} countTokens
 */
export function makeTextsByTokens(countTokens) {
  return TOKEN_COUNTS.map((tokens) => ({ tokens, text: makeText(tokens, countTokens) }));
}

/** @param {number} tokens @param {(text: string) => number} countTokens */
function makeText(tokens, countTokens) {
  let text = "";
  for (let wordIndex = 0; countTokens(text) < tokens; wordIndex += 1) {
    const longer = `${text} ${WORDS[wordIndex % WORDS.length]}`.trim();
    const nextText = [longer, ...ENDINGS.map((ending) => text + ending)].find((candidate) => {
      const candidateTokens = countTokens(candidate);
      return candidateTokens <= tokens && candidateTokens > countTokens(text);
    });
    if (nextText === undefined) throw new Error(`no text of exactly ${tokens} tokens found`);
    text = nextText;
  }
  return text;
}

/** Returns texts of up to 64 KiB, each slow for a different reason. */
export function slowTexts() {
  return [
    { kind: "one long word", text: randomLetters(BYTES_MAX, Infinity) },
    { kind: "one letter repeated", text: repeatToLimit("x") },
    { kind: "many short words", text: repeatToLimit("a ") },
    { kind: "words of 500 letters", text: randomLetters(BYTES_MAX, 500) },
    { kind: "combining marks on one letter", text: `e${repeatToLimit("\u0301").slice(1)}` },
    { kind: "combining marks out of order", text: `e${repeatToLimit("\u0301\u0323").slice(2)}` },
    { kind: "accents decomposed", text: repeatToLimit("e\u0301") },
    { kind: "emoji joined", text: repeatToLimit("👨\u200d👩\u200d👧\u200d👦\u200d") },
    { kind: "emoji families", text: repeatToLimit("👨\u200d👩\u200d👧\u200d👦") },
    { kind: "Hangul syllables", text: repeatToLimit("각") },
    { kind: "Hangul jamo", text: repeatToLimit("\u1112\u1161\u11ab") },
    { kind: "one character that becomes eighteen", text: repeatToLimit("ﷺ") },
    { kind: "control characters", text: repeatToLimit("\u0001 ") },
    { kind: "URLs", text: repeatToLimit("http://a ") },
    { kind: "negated anger", text: repeatToLimit("pas furieux ") },
    { kind: "white space", text: repeatToLimit(" \u3000") },
  ];
}

/** @param {string} piece */
function repeatToLimit(piece) {
  return piece.repeat(Math.floor(BYTES_MAX / Buffer.byteLength(piece)));
}

/** Returns pseudo-random letters, the same in every run, with a space after every `wordLength` of them. @param {number} length @param {number} wordLength */
function randomLetters(length, wordLength) {
  let randomState = 42;
  let text = "";
  while (text.length < length) {
    // The generator of Numerical Recipes; any generator with a fixed seed would do.
    randomState = (Math.imul(randomState, 1664525) + 1013904223) >>> 0;
    text += text.length % (wordLength + 1) === wordLength ? " " : String.fromCharCode(97 + ((randomState >>> 16) % 26));
  }
  return text;
}
