"""Draws lines for labelling by reading, writes the readers' batches and collects their answers.

`draw` writes `read/random.tsv`: the key of each line, never its text. A key is the SHA-256 of the normalised text. The source, and
the upstream id if the source has ids, say where to find the line again. `draw_thin` writes `read/thin.tsv`: random lines among
those that a source itself labels with a class that is rare in the random part. These lines belong to `real` too, but only for
figures of single classes, not for figures of the natural mix.

`pool` writes texts to `work/readings/pool.jsonl`, to be classified by the shipped model: `jeffrey classify --json --input-format
ndjson - < pool.jsonl > predictions.jsonl`. `draw_chosen` reads these predictions and writes `read/chosen.tsv`: lines of pairs to whose
two languages the model gives different labels, and lines with a low margin between the two highest scores. The model chooses only
which lines are read; no reader sees its labels. These lines are for training.

`draw_emotional` writes `read/emotional.tsv`: lines for training that are likely to show an emotion, by the source's label, or, for a
Tatoeba sentence, by such predictions. It leaves out lines that `hold_out` keeps from training. One pass reads these lines, and a
second one 320 of each language. `draw_questions` writes `read/questions.tsv`: questions of banking77, and GoEmotions rows labelled as
curiosity or confusion, read in the same way. `draw_plain` writes `read/plain.tsv`: questions and orders to an assistant, a house or a
bank, to measure.

The part `real` is sealed: it was drawn before any reading. Its lines and their twins stay out of training, and so do those of
`choices`, which is for settings (`hold_out.py`). `train` and the chosen lines are for training (`reading_rows.py`), and so is `pilot`,
after its test of the guide.

`batches` writes the input of the readers to `work/readings/`: numbers that do not identify a line, and texts, with mixed sources.
Up to 8 lines of a batch of 160 come twice, and 8 GoEmotions rows with labels by people are added. `collect` checks the answers and
adds them to `read/votes.tsv` or `read/single-votes.tsv`. `disputed` writes the lines on which the two passes differ, for a third
reader. `agreement` prints Cohen's kappa of the passes. The guide of the readers is `read/guide.md`.

Usage: `python -m training.readings STEP --data DIR`, with one of these names as STEP.
"""

import argparse
import csv
import gzip
import hashlib
import json
import random
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from . import sources
from .guard import Guard
from .stage import ROOT, WORK
from .text import LABELS, normalise

FOLDER = ROOT / "training" / "read"
RANDOM, THIN, CHOSEN, VOTES = (FOLDER / f"{name}.tsv" for name in ("random", "thin", "chosen", "votes"))
EMOTIONAL, QUESTIONS, PLAIN = (FOLDER / f"{name}.tsv" for name in ("emotional", "questions", "plain"))
SINGLE_VOTES = FOLDER / "single-votes.tsv"
"""Votes of the lines that one pass reads, apart from the others: `jeffrey` has `VOTES` inside and needs none of these."""
BATCHES = WORK / "readings"
SEED = 20261128
ANSWERS = [*LABELS, "unclear"]
SINGLE_PASS = ("emotional", "questions")
"""Parts whose lines are for training and read once."""

QUOTAS = {
    "fr": {"xed_fr": (525, 325, 200), "tatoeba_fr": (525, 275, 250), "home-assistant_fr": (150, 150, 0)},
    "en": {"goemotions_train": (225, 100, 125), "xed_en": (150, 70, 80), "tatoeba_en": (125, 50, 75),
           "banking77": (40, 20, 20), "clinc150": (30, 30, 0), "home-assistant_en": (30, 30, 0)},
}
"""Lines of each source for `real`, `choices` and `train`. home-assistant (all of plain_fr) and CLINC150 are never trained on."""
PARTS = ("real", "choices", "train")
PILOT = {"fr": {"xed_fr": 50, "tatoeba_fr": 50}, "en": {"goemotions_train": 40, "xed_en": 30, "tatoeba_en": 20, "banking77": 10}}

THIN_QUOTAS = {
    "fr": {"xed_fr": {"disgust": 200, "surprise": 200, "fear": 120, "sadness": 80}},
    "en": {"goemotions_train": {"disgust": 60, "surprise": 60, "fear": 50, "sadness": 60, "annoyance": 60, "anger": 30},
           "xed_en": {"disgust": 60, "surprise": 60, "fear": 50, "sadness": 50}},
}
"""Lines per source and per label of that source, for the classes that have fewer than forty rows in `real`."""

POOL = {"xed_fr": 12_500, "tatoeba": 40_000, "goemotions_train": 10_000, "xed_en": 10_000, "banking77": 5_000}
"""Lines of each source that the model classifies for `draw_chosen`; `tatoeba` counts pairs."""
DIFFERENT = {"fr": {"tatoeba_fr": 1700, "xed_fr": 700}, "en": {"tatoeba_en": 900, "xed_en": 300}}
"""Lines of each source whose translation gets another label."""
LOW_MARGIN = {"fr": {"xed_fr": 600, "tatoeba_fr": 600}, "en": {"goemotions_train": 300, "xed_en": 100, "tatoeba_en": 100, "banking77": 100}}
"""Lines of each source among the tenth with the lowest margin."""

_EMOTIONS = ("joy", "sadness", "anger", "fear", "surprise", "disgust", "frustration")
EMOTIONAL_QUOTAS = {
    "fr": {"xed_fr": {"joy": 1300, "sadness": 1200, "anger": 1700, "fear": 1100, "surprise": 1100, "disgust": 1100},
           "tatoeba_fr": dict.fromkeys(_EMOTIONS, 1100)},
    "en": {"xed_en": dict.fromkeys(("joy", "sadness", "anger", "fear", "surprise", "disgust"), 1050),
           "goemotions_train": {"joy": 300, "sadness": 900, "anger": 700, "fear": 600, "surprise": 700, "disgust": 500, "annoyance": 600,
                                "disappointment": 500, "admiration": 200, "disapproval": 300, "neutral": 700},
           "tatoeba_en": dict.fromkeys(_EMOTIONS, 110)},
}
"""Lines of each source by its own label, or for Tatoeba by a model's; all of them where there are fewer.

Tatoeba's were drawn twice: by the shipped model's predictions, and by those that a teacher gave alike to both sides of a pair.
"""

QUESTIONS_MAX = {"goemotions_train": 3_000, "banking77": 960}
"""Lines of GoEmotions labelled only as curiosity or confusion, and of banking77: questions, of which most are plain."""

PLAIN_QUOTAS = {"fr": {"home-assistant_fr": 150}, "en": {"clinc150": 270, "banking77": 280}}
"""Lines of what people ask an assistant, a house or a bank, to measure how often plain talk is read as emotion."""

BATCH, REPEATS, CONTROLS = 160, 8, 8
CHARACTERS_MAX = 400
"""Longer lines are left out: two lines in a thousand are longer, and few of these show one emotion."""


def key(text: str) -> str:
    """Returns the key of a normalised text: its SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def pools(data: Path) -> dict[str, list[tuple[str, str]]]:
    """Returns the lines of each source as (upstream id, normalised text), each text once, in the order of the files.

    Lines without a letter, and lines above `CHARACTERS_MAX`, are left out. The id is empty if the source has no ids. A repeated
    text has its first id and its last position.
    """
    found = {name: [(r["id"], r["text"]) for r in sources.labelled(data, name)]
             for name in ("goemotions_train", "xed_en", "xed_fr")}
    pairs = sources.pairs(data, "tatoeba_en_fr")
    found["tatoeba_en"] = [("", en) for en, _ in pairs]
    found["tatoeba_fr"] = [("", fr) for _, fr in pairs]
    for lang in ("en", "fr"):
        with gzip.open(data / f"plain_{lang}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                name = row["source"] if row["source"] in QUOTAS["en"] else f"{row['source']}_{lang}"
                found.setdefault(name, []).append(("", normalise(row["text"])))
    for name, rows in found.items():
        once = {text: (upstream, text) for upstream, text in reversed(rows) if 0 < len(text) <= CHARACTERS_MAX}
        found[name] = [row for row in reversed(once.values()) if any(c.isalpha() for c in row[1])]
    return found


def draw(data: Path) -> None:
    """Draws the random part once; raises `SystemExit` if the part exists, so that no line is drawn again."""
    if RANDOM.exists():
        raise SystemExit(f"{RANDOM} is sealed; another draw needs another file")
    chance = random.Random(SEED)
    rows, taken = [], set()
    lines = pools(data)
    for lang, quotas in QUOTAS.items():
        for source, counts in quotas.items():
            parts = [part for part, count in zip(PARTS, counts) for _ in range(count)]
            parts += ["pilot"] * PILOT[lang].get(source, 0)
            # Two sources can have the same text.
            free = [row for row in lines[source] if key(row[1]) not in taken]
            for part, (upstream, text) in zip(parts, chance.sample(free, len(parts)), strict=True):
                taken.add(key(text))
                rows.append((key(text), lang, source, upstream, part))
    FOLDER.mkdir(exist_ok=True)
    _write(RANDOM, ("key", "lang", "source", "id", "part"), sorted(rows))
    print(f"{len(rows)} lines:", dict(sorted(Counter((r[1], r[4]) for r in rows).items())))


def draw_thin(data: Path) -> None:
    """Draws the lines for rare classes once, by the sources' own labels and without any model; raises `SystemExit` if they exist."""
    if THIN.exists():
        raise SystemExit(f"{THIN} is sealed; another draw needs another file")
    chance = random.Random(SEED + 1)
    taken = {row["key"] for row in _read(RANDOM)}
    rows = []
    for lang, quotas in THIN_QUOTAS.items():
        for source, counts in quotas.items():
            lines = [r for r in sources.labelled(data, source) if len(r["text"]) <= CHARACTERS_MAX and any(c.isalpha() for c in r["text"])]
            for label, count in counts.items():
                free = {key(r["text"]): r for r in lines if label in r["labels"] and key(r["text"]) not in taken}
                for drawn_key in chance.sample(sorted(free), count):
                    taken.add(drawn_key)
                    rows.append((drawn_key, lang, source, free[drawn_key]["id"], "real-thin"))
    _write(THIN, ("key", "lang", "source", "id", "part"), sorted(rows))
    print(f"{len(rows)} lines:", dict(sorted(Counter(r[1:3] for r in rows).items())))


def pool(data: Path) -> None:
    """Writes the lines to classify, without drawn ones, each with its key as `id`."""
    chance = random.Random(SEED + 2)
    taken = {row["key"] for row in drawn_lines()}
    lines = {name: [text for _, text in rows if key(text) not in taken] for name, rows in pools(data).items() if name in POOL}
    lines["tatoeba"] = [pair for pair in sources.pairs(data, "tatoeba_en_fr") if not {key(pair[0]), key(pair[1])} & taken]
    chosen = {name: chance.sample(rows, min(POOL[name], len(rows))) for name, rows in sorted(lines.items())}
    texts = [text for name, rows in chosen.items() for row in rows for text in (row if name == "tatoeba" else [row])]
    texts += [text for pair in sources.pairs(data, "xed_pairs_en_fr") for text in pair if not {key(pair[0]), key(pair[1])} & taken]
    BATCHES.mkdir(parents=True, exist_ok=True)
    unique = {key(text): text for text in texts if len(text) <= CHARACTERS_MAX}
    with (BATCHES / "pool.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": k, "text": text}, ensure_ascii=False) + "\n" for k, text in unique.items())
    print(f"{len(unique)} lines to classify")


def draw_chosen(data: Path) -> None:
    """Draws lines for training by the model's predictions, once; raises `SystemExit` if they exist."""
    if CHOSEN.exists():
        raise SystemExit(f"{CHOSEN} is there; another draw needs another file")
    chance = random.Random(SEED + 3)
    with (BATCHES / "predictions.jsonl").open(encoding="utf-8") as file:
        top = {row["id"]: row["top2"] for row in map(json.loads, file)}
    taken = {row["key"] for row in drawn_lines()}
    sources_of = {name: dict((key(text), upstream) for upstream, text in rows) for name, rows in pools(data).items()}
    pairs = [tuple(map(key, pair)) for name in ("tatoeba_en_fr", "xed_pairs_en_fr") for pair in sources.pairs(data, name)]
    different = {k for pair in pairs if all(k in top for k in pair) and top[pair[0]][0][0] != top[pair[1]][0][0] for k in pair}
    rows = []
    for part, quotas in (("different", DIFFERENT), ("low-margin", LOW_MARGIN)):
        for lang, counts in quotas.items():
            for source, count in counts.items():
                free = sorted(k for k in sources_of[source] if k in top and k not in taken)
                if part == "low-margin":
                    free = sorted(free, key=lambda k: top[k][0][1] - top[k][1][1])[:len(free) // 10]
                else:
                    free = [k for k in free if k in different]
                for drawn_key in chance.sample(free, count):
                    taken.add(drawn_key)
                    rows.append((drawn_key, lang, source, sources_of[source][drawn_key], part))
    _write(CHOSEN, ("key", "lang", "source", "id", "part"), sorted(rows))
    print(f"{len(rows)} lines:", dict(sorted(Counter((r[1], r[4]) for r in rows).items())))


def draw_emotional(data: Path) -> None:
    """Draws lines for training that are likely to show an emotion, up to `EMOTIONAL_QUOTAS`, counting those drawn before."""
    chance = random.Random(SEED + 4)
    with (BATCHES / "predictions.jsonl").open(encoding="utf-8") as file:
        top = {row["id"]: row["top2"][0][0] for row in map(json.loads, file)}
    rows = [tuple(row.values()) for row in _read(EMOTIONAL)] if EMOTIONAL.exists() else []
    taken, before, guarded = {row["key"] for row in drawn_lines()}, {row[0] for row in rows}, _guard()
    likely: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for source in ("xed_fr", "xed_en", "goemotions_train"):
        for row in sources.labelled(data, source):
            for label in row["labels"]:
                likely[source, label][row["text"]] = row["id"]
    for pair in sources.pairs(data, "tatoeba_en_fr"):
        for source, text in zip(("tatoeba_en", "tatoeba_fr"), pair):
            likely[source, top.get(key(text), "")][text] = ""
    for lang, quotas in EMOTIONAL_QUOTAS.items():
        for source, counts in quotas.items():
            for label, count in counts.items():
                drawn = sum(key(text) in before for text in likely[source, label])
                free = _for_training(likely[source, label], taken, guarded)
                for upstream, text in chance.sample(free, max(0, min(count - drawn, len(free)))):
                    taken.add(key(text))
                    rows.append((key(text), lang, source, upstream, "emotional"))
    _write(EMOTIONAL, ("key", "lang", "source", "id", "part"), sorted(rows))
    print(f"{len(rows)} lines:", dict(sorted(Counter(r[1:3] for r in rows).items())))


def _guard() -> Guard:
    return Guard(tomllib.loads((ROOT / "training" / "settings.toml").read_text("utf-8"))["corpus"]["shared_words"])


def _for_training(lines: dict[str, str], taken: set[str], guarded: Guard) -> list[tuple[str, str]]:
    """Returns (upstream id, text) of the lines, from text to id, that are not drawn yet and that training may use."""
    return sorted((upstream, text) for text, upstream in lines.items()
                  if key(text) not in taken and len(text) <= CHARACTERS_MAX and any(c.isalpha() for c in text)
                  and not guarded.holds(text) and not guarded.resembles_frozen(text))


def draw_questions(data: Path) -> None:
    """Draws questions for training, once; raises `SystemExit` if they exist. banking77's leave the intents of `PLAIN` alone."""
    if QUESTIONS.exists():
        raise SystemExit(f"{QUESTIONS} is there; another draw needs another file")
    chance = random.Random(SEED + 7)
    drawn = drawn_lines()
    taken, guarded = {row["key"] for row in drawn}, _guard()
    intents = sources.intents(data)
    apart = {intents[row["key"]] for row in drawn if row["part"] == "plain" and row["source"] == "banking77"}
    asking = {r["text"]: r["id"] for r in sources.labelled(data, "goemotions_train")
              if r["labels"] and set(r["labels"]) <= {"curiosity", "confusion"}}
    likely = {"goemotions_train": asking,
              "banking77": {text: "" for _, text in pools(data)["banking77"] if intents[key(text)] not in apart}}
    rows = []
    for source, lines in likely.items():
        free = _for_training(lines, taken, guarded)
        rows += [(key(text), "en", source, upstream, "questions")
                 for upstream, text in chance.sample(free, min(QUESTIONS_MAX[source], len(free)))]
    _write(QUESTIONS, ("key", "lang", "source", "id", "part"), sorted(rows))
    print(f"{len(rows)} lines:", dict(Counter(r[2] for r in rows)))


def draw_plain(data: Path) -> None:
    """Draws lines of the plain sources once; raises `SystemExit` if they exist.

    Lines of banking77 come from intents of which no line is for training.
    """
    if PLAIN.exists():
        raise SystemExit(f"{PLAIN} is sealed; another draw needs another file")
    chance = random.Random(SEED + 5)
    drawn = drawn_lines()
    taken = {row["key"] for row in drawn}
    trained = {row["key"] for row in drawn if row["source"] == "banking77" and row["part"] not in ("real", "choices")}
    intents = sources.intents(data)
    apart = set(intents.values()) - {intents[k] for k in trained}
    lines = pools(data)
    rows = []
    for lang, counts in PLAIN_QUOTAS.items():
        for source, count in counts.items():
            free = sorted(text for _, text in lines[source]
                          if key(text) not in taken and (source != "banking77" or intents[key(text)] in apart))
            rows += [(key(text), lang, source, "", "plain") for text in chance.sample(free, count)]
    _write(PLAIN, ("key", "lang", "source", "id", "part"), sorted(rows))
    print(f"{len(rows)} lines:", dict(sorted(Counter(r[1:3] for r in rows).items())), f"{len(apart)} intents apart")


def drawn_lines(folder: Path = FOLDER) -> list[dict]:
    """Returns all drawn lines, with key, lang, source, id and part."""
    files = [folder / file.name for file in (RANDOM, THIN, CHOSEN, EMOTIONAL, QUESTIONS, PLAIN)]
    return [row for file in files if file.exists() for row in _read(file)]


def votes(folder: Path = FOLDER) -> dict[str, list[str]]:
    """Returns the answers of each key in the order of the passes."""
    found: dict[str, list[str]] = defaultdict(list)
    files = [folder / file.name for file in (VOTES, SINGLE_VOTES)]
    given = [vote for file in files if file.exists() for vote in _read(file)]
    for vote in sorted(given, key=lambda vote: int(vote["batch"].split("-")[2])):
        found[vote["key"]].append(vote["answer"])
    return dict(found)


def texts(data: Path, drawn: list[dict]) -> dict[str, str]:
    """Returns the texts of drawn lines by key; raises `SystemExit` if fewer than 95 % are found."""
    wanted = {row["key"] for row in drawn}
    found = {key(text): text for rows in pools(data).values() for _, text in rows if key(text) in wanted}
    print(f"found {len(found)} of {len(wanted)}")
    if len(found) < 0.95 * len(wanted):
        raise SystemExit("fewer than 95 % of the drawn lines: is DATA the folder they were drawn from?")
    return found


def voted_lines(data: Path, wanted: dict[str, Callable[[dict], bool]]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Returns texts and votes by the names in `wanted`: those of the drawn lines for which its function is true."""
    drawn = {name: [row for row in drawn_lines() if is_wanted(row)] for name, is_wanted in wanted.items()}
    text, answers = texts(data, [row for rows in drawn.values() for row in rows]), votes()
    keys = {name: [row["key"] for row in rows if row["key"] in text] for name, rows in drawn.items()}
    return {name: ([text[k] for k in found], [answers[k] for k in found]) for name, found in keys.items()}


def lines_to_choose_by(data: Path) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Returns texts and votes of the lines of `choices`, by language."""
    return voted_lines(data, {lang: lambda row, lang=lang: (row["part"], row["lang"]) == ("choices", lang) for lang in QUOTAS})


def batches(data: Path) -> None:
    """Writes the batches of both passes, each pass in its own random order; `map.json` lists the keys of a batch by number."""
    text = texts(data, drawn_lines())
    stages = {part: "full" for part in PARTS} | {"pilot": "pilot", "real-thin": "thin", "different": "chosen",
                                                 "low-margin": "chosen", "plain": "plain"}
    wanted = {}
    for stage in ("pilot", "full", "thin", "chosen", "plain"):
        for lang in QUOTAS:
            keys = [r["key"] for r in drawn_lines()
                    if r["lang"] == lang and stages.get(r["part"]) == stage and r["key"] in text]
            wanted |= {f"{stage}-{lang}-{turn}": keys for turn in (1, 2)}
    _write_batches(data, text, wanted)
    answered = votes()
    for part in SINGLE_PASS:
        for lang in QUOTAS:
            drawn = [r["key"] for r in drawn_lines() if (r["part"], r["lang"]) == (part, lang) and r["key"] in text]
            name, again = (f"{part}-{lang}-{turn}" for turn in (1, 2))
            _write_batches(data, text, {name: [k for k in drawn if k not in answered]}, _last_number(name))
            # A second pass over a few lines says how far two readers agree.
            known = sorted(k for k in drawn if k in answered)
            if known and not _last_number(again):
                _write_batches(data, text, {again: random.Random(SEED + 6).sample(known, 2 * BATCH)})


def disputed(data: Path) -> None:
    """Writes the lines on which the two passes differ, for a third reader, who does not see their answers."""
    lang_of = {row["key"]: row["lang"] for row in drawn_lines()}
    answers = defaultdict(list)
    for vote in _read(VOTES):
        answers[vote["key"]].append(vote["answer"])
    differ = sorted(k for k, given in answers.items() if len(given) == 2 and len(set(given)) == 2)
    text = texts(data, drawn_lines())
    for lang in QUOTAS:
        name = f"third-{lang}-3"
        _write_batches(data, text, {name: [k for k in differ if lang_of[k] == lang]}, _last_number(name))


def _last_number(name: str) -> int:
    """Returns the highest number of a batch of this name that has votes, which another batch of that number would replace."""
    given = [vote["batch"] for file in (VOTES, SINGLE_VOTES) for vote in _read(file)]
    return max((int(batch.rsplit("-", 1)[1]) for batch in given if batch.startswith(f"{name}-")), default=0)


def _write_batches(data: Path, text: dict[str, str], wanted: dict[str, list[str]], before: int = 0) -> None:
    """Writes batches of the keys under each name, `stage-language-pass`; the first number is `before` + 1."""
    people = [(r["id"], r["text"]) for r in sources.labelled(data, "goemotions_train")
              if r["core8"] and key(r["text"]) not in text and len(r["text"]) <= CHARACTERS_MAX]
    BATCHES.mkdir(parents=True, exist_ok=True)
    file = BATCHES / "map.json"
    numbers: dict[str, list[str]] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for name, keys in wanted.items():
        chance = random.Random(f"{SEED} {name.replace('-', ' ')}")
        order = chance.sample(keys, len(keys))
        for at in range(0, len(order), BATCH):
            own = order[at:at + BATCH]
            controls = chance.sample(people, CONTROLS)
            again = chance.sample(own, min(REPEATS, len(own)))
            rows = [(k, text[k]) for k in own] + [(f"control {u}", t) for u, t in controls]
            chance.shuffle(rows)
            # The repeated lines come at the end of the batch.
            rows += [(k, text[k]) for k in again]
            batch = f"{name}-{before + at // BATCH + 1:02}"
            # Readers may have this batch already, so it is not written again.
            if batch in numbers:
                continue
            numbers[batch] = [k for k, _ in rows]
            lines = [f"{number}\t{line}\n" for number, (_, line) in enumerate(rows, 1)]
            (BATCHES / f"{batch}.tsv").write_text("".join(lines), "utf-8")
    file.write_text(json.dumps(numbers), "utf-8")
    print(f"{len(numbers)} batches in {BATCHES.relative_to(ROOT)}")


def collect(data: Path) -> None:
    """Reads `work/readings/*.answers.tsv` (number, answer), checks the answers and writes them as votes.

    A batch with a missing or unknown answer is not taken. A batch that answers less than 85 % of its repeated lines alike is taken,
    and a message says that it must be read again.
    """
    numbers = json.loads((BATCHES / "map.json").read_text("utf-8"))
    people = {f"control {r['id']}": r["core8"] for r in sources.labelled(data, "goemotions_train")}
    alike = Counter()
    given = [tuple(vote.values()) for file in (VOTES, SINGLE_VOTES) if file.exists() for vote in _read(file)]
    given = [vote for vote in given if not (BATCHES / f"{vote[1]}.answers.tsv").exists()]
    for name, keys in sorted(numbers.items()):
        file = BATCHES / f"{name}.answers.tsv"
        if not file.exists():
            continue
        answers = dict(line.split("\t")[:2] for line in file.read_text("utf-8").splitlines() if line.strip())
        answers = {int(number): answer.strip() for number, answer in answers.items()}
        wrong = [n for n in range(1, len(keys) + 1) if answers.get(n) not in ANSWERS]
        if wrong:
            print(f"{name}: not taken: {len(wrong)} lines without one of the answers, the first {wrong[0]}")
            continue
        first, repeats = {}, []
        for number, k in enumerate(keys, 1):
            answer = answers[number]
            if k in first:
                repeats.append(first[k] == answer)
            elif k.startswith("control "):
                alike[people[k] == answer] += 1
                first[k] = answer
            else:
                first[k] = answer
                given.append((k, name, answer))
        agreed = sum(repeats) / len(repeats)
        if agreed < 0.85:
            print(f"{name}: {agreed:.0%} of its repeats alike: to be read again")
    single = sorted(vote for vote in given if vote[1].startswith(SINGLE_PASS))
    _write(SINGLE_VOTES, ("key", "batch", "answer"), single)
    _write(VOTES, ("key", "batch", "answer"), sorted(set(given) - set(single)))
    print(f"{len(given)} votes; {alike[True]} of {alike.total()} lines as people labelled them in GoEmotions")


def agreement(_: Path) -> None:
    """Prints Cohen's kappa of the two passes by stage and language, and for each label against all others.

    Also prints how often both passes agree on each label, by source.
    """
    drawn = {row["key"]: row for row in drawn_lines()}
    both: dict[tuple[str, str], dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for vote in _read(VOTES):
        stage, lang, turn, _batch = vote["batch"].split("-")
        both[stage, lang][vote["key"]][turn] = vote["answer"]
    for (stage, lang), found in sorted(both.items()):
        pairs = [(v["1"], v["2"]) for v in found.values() if len(v) == 2]
        if not pairs:
            continue
        print(f"{stage} {lang}: {len(pairs)} lines, alike {sum(a == b for a, b in pairs) / len(pairs):.3f}, kappa {kappa(pairs):.3f}")
        for label in ANSWERS:
            one = [(a == label, b == label) for a, b in pairs]
            print(f"  {label:12} {sum(a + b for a, b in one) / 2:6.1f} lines, kappa {kappa(one):.3f}")
        per_source = Counter((drawn[k]["source"], v["1"]) for k, v in found.items() if len(v) == 2 and v["1"] == v["2"])
        for source in sorted({s for s, _ in per_source}):
            print(f"  {source}:", {label: per_source[source, label] for label in ANSWERS if per_source[source, label]})


def kappas(parts: tuple[str, ...], folder: Path = FOLDER) -> dict[str, dict[str, float]]:
    """Returns Cohen's kappa of the first two passes for the lines of some parts, by language: of all labels, and of each one."""
    answers = votes(folder)
    found: dict[str, dict[str, float]] = {}
    for lang in QUOTAS:
        drawn = [answers[r["key"]] for r in drawn_lines(folder) if r["lang"] == lang and r["part"] in parts and r["key"] in answers]
        pairs = [(given[0], given[1]) for given in drawn if len(given) > 1]
        found[lang] = {"lines": len(pairs), "all": kappa(pairs)}
        found[lang] |= {label: kappa([(a == label, b == label) for a, b in pairs]) for label in ANSWERS}
    return found


def kappa(pairs: list[tuple]) -> float:
    """Returns Cohen's kappa (Cohen 1960, Educ. Psychol. Meas. 20:37-46); 1 if the agreement by chance is 1. Needs a pair."""
    count = len(pairs)
    seen = sum(a == b for a, b in pairs) / count
    left, right = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(left[label] * right[label] for label in left) / count**2
    return 1.0 if chance == 1 else (seen - chance) / (1 - chance)


def _read(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _write(path: Path, names: tuple, rows: list[tuple]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def main() -> None:
    """Runs the step that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = {"draw": draw, "draw_thin": draw_thin, "pool": pool, "draw_chosen": draw_chosen,
             "draw_emotional": draw_emotional, "draw_questions": draw_questions, "draw_plain": draw_plain, "batches": batches, "disputed": disputed, "collect": collect, "agreement": agreement}
    parser.add_argument("step", choices=steps)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    arguments = parser.parse_args()
    steps[arguments.step](arguments.data)


if __name__ == "__main__":
    main()
