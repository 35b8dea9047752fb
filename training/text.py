"""Maps text to token ids, like the classifier at the edge.

Input: any string. Outputs: the normalised string, its ids, and whether the ids were cut.
`crates/classifier/src/tokenizer.rs` mirrors this file, and the golden rows test that both agree.
Normalisation changes only URLs and white space, because emoji, case and slang carry emotion.
"""

import re
import unicodedata

from tokenizers import Tokenizer

TOKENS_MAX = 128
"""Maximum length of an input in tokens, including `<s>` and `</s>`."""

LABELS = ["joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral", "frustration"]
"""The core-8, in the order of every score array."""

# Exactly Unicode's White_Space property. Python's own `\s` and `str.split` also match U+001C-001F.
SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_URL = re.compile(rf"(?<![0-9A-Za-z])(?:[hH][tT][tT][pP][sS]?://|[wW][wW][wW]\.)[^{SPACE}]+")
_SPACES = re.compile(rf"[{SPACE}]+")
_WORD = re.compile(r"[^\W_]+")


def normalise(text: str) -> str:
    """Replaces each URL by `[URL]`, folds white space to one space, and trims it."""
    return _SPACES.sub(" ", _URL.sub("[URL]", text)).strip(" ")


def words(text: str) -> list[str]:
    """Returns the words in lower case, split at apostrophes, for the shared-words check."""
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


class Encoder:
    """The base tokenizer with the project's maximum length."""

    def __init__(self, file: str):
        self.tokenizer = Tokenizer.from_file(file)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.end = self.tokenizer.token_to_id("</s>")

    def encode(self, text: str, tokens_max: int = TOKENS_MAX) -> tuple[list[int], bool]:
        """Returns the ids of a normalised text, and whether `tokens_max` cut them."""
        ids = self.tokenizer.encode(text).ids
        return self._cut(ids, tokens_max)

    def encode_all(self, texts: list[str], tokens_max: int = TOKENS_MAX) -> list[list[int]]:
        """Returns the ids of each normalised text, cut to `tokens_max`."""
        return [self._cut(e.ids, tokens_max)[0] for e in self.tokenizer.encode_batch(texts)]

    def _cut(self, ids: list[int], tokens_max: int) -> tuple[list[int], bool]:
        if len(ids) <= tokens_max:
            return ids, False
        return [*ids[: tokens_max - 1], self.end], True
