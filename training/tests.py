"""Tests the parts of the training that need neither data nor a model: `python -m unittest training.tests`.

The texts are the sentences of `tests/data/read/`, written for the project, with keys and votes as
in `training/read/`.
"""

import gzip
import hashlib
import json
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np

from . import guard, likeness, protocols, reading_rows, readings, sources, voted
from .stage import ROOT
from .text import LABELS, normalise

READ = ROOT / "tests" / "data" / "read"


def packed(folder: str) -> Path:
    """Writes the sentences into a folder as the data files are, and returns its path."""
    for file in (READ / "lines").iterdir():
        (Path(folder) / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    return Path(folder)


class ReadLines(unittest.TestCase):
    """Which read lines are found, leave training, or become rows."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data = packed(folder.name)
        self.drawn = readings.drawn_lines(READ)
        self.texts = readings.texts(self.data, self.drawn)

    def test_texts_have_the_keys_of_the_golden_file(self):
        rows = [json.loads(line) for line in (READ / "keys.jsonl").read_text("utf-8").split("\n") if line]
        self.assertGreaterEqual(len(rows), 15)
        for row in rows:
            with self.subTest(row["text"]):
                self.assertEqual(normalise(row["text"]), row["normalised"])
                self.assertEqual(readings.key(normalise(row["text"])), row["key"])

    def test_all_lines_are_found(self):
        self.assertEqual(len(self.texts), 21)
        self.assertEqual(set(self.texts), {row["key"] for row in self.drawn})

    def test_fewer_than_95_percent_are_refused(self):
        (self.data / "xed_en.jsonl.gz").write_bytes(gzip.compress(b""))
        # 20 of 21 are enough.
        self.assertEqual(len(readings.texts(self.data, self.drawn)), 20)
        (self.data / "plain_fr.jsonl.gz").write_bytes(gzip.compress(b""))
        with self.assertRaises(SystemExit):
            readings.texts(self.data, self.drawn)

    def test_lines_that_measure_or_choose_leave_training(self):
        apart = reading_rows.apart_texts(self.drawn, self.texts)
        self.assertEqual({lang: len(texts) for lang, texts in apart.items()}, {"en": 8, "fr": 9})
        self.assertIn("Passe-moi le sel, s'il te plaît.", apart["fr"])  # choices
        self.assertIn("Cette odeur me donne envie de vomir.", apart["fr"])  # real-thin
        self.assertNotIn("Ça fait trois fois que ça plante, j'en ai marre.", apart["fr"])  # train

    def test_no_training_row_is_apart(self):
        rows = reading_rows.training_rows(self.drawn, readings.votes(READ), self.texts, 0.5, {}, {})
        apart = {text for texts in reading_rows.apart_texts(self.drawn, self.texts).values() for text in texts}
        self.assertEqual(len(rows), 3)
        self.assertFalse({row["text"] for row in rows} & apart)
        for row in rows:
            self.assertEqual((row["source"], row["weight"], row["teacher"]), ("read", 0.5, True))
            self.assertAlmostEqual(sum(row["target"]), 1)

    def test_a_read_row_keeps_a_share_of_its_source_label(self):
        drawn = [{"key": name, "part": "emotional", "lang": "en", "source": source}
                 for name, source in (("a", "xed_en"), ("b", "goemotions_train"), ("c", "tatoeba_en"), ("d", "xed_en"))]
        joy, neutral = ([float(label == name) for label in LABELS] for name in ("joy", "neutral"))
        texts = {row["key"]: row["key"] for row in drawn}
        votes = {row["key"]: ["neutral"] for row in drawn}
        rows = reading_rows.training_rows(drawn, votes, texts, 1.0, {"a": joy, "b": joy, "c": joy}, {"xed_en": 0.25, "goemotions_train": 0.5})
        found = [(row["target"][LABELS.index("joy")], row["target"][LABELS.index("neutral")]) for row in rows]
        self.assertEqual(found, [(0.25, 0.75), (0.5, 0.5), (0.0, 1.0), (0.0, 1.0)])

    def test_the_last_epochs_see_each_read_and_written_row_and_a_part_of_goemotions(self):
        names = ("read", "written", "goemotions_train", "xed_fr")
        rows = [{"source": name, "text": str(n)} for name in names for n in range(400)]
        counts = Counter(row["source"] for row in reading_rows.last_rows(rows, 0.25, 7))
        self.assertEqual((counts["read"], counts["written"], counts["xed_fr"]), (400, 400, 0))
        self.assertTrue(60 < counts["goemotions_train"] < 140, counts)
        self.assertEqual(reading_rows.last_rows(rows, 0.0, 7), rows[:800])

    def test_the_parts_of_the_sealed_files_are_known(self):
        parts = {row["part"] for row in readings.drawn_lines()}
        self.assertEqual(parts, {*reading_rows.APART, *reading_rows.TRAINED, "plain"})

    def test_votes_come_in_the_order_of_the_passes(self):
        votes = readings.votes(READ)
        by_text = {self.texts[key]: answers for key, answers in votes.items()}
        self.assertEqual(by_text["The update still won't install after two hours, I'm done."],
                         ["anger", "frustration", "frustration"])


    def test_a_translation_has_the_target_of_its_read_side(self):
        read = [{"text": "J'en ai marre !", "target": [1.0], "lang": "fr", "source": "read", "weight": 2.0, "teacher": True}]
        pairs = [("I'm fed up!", "J'en ai marre !"), ("I'm fed up!", "Ras le bol !"), ("Enough!", "J'en ai marre !")]
        rows = reading_rows.carried_rows(pairs, read)
        self.assertEqual([(r["text"], r["lang"], r["target"], r["weight"]) for r in rows],
                         [("I'm fed up!", "en", [1.0], 2.0), ("Enough!", "en", [1.0], 2.0)])
        both = [*read, {**read[0], "text": "I'm fed up!", "lang": "en"}]
        self.assertEqual([r["text"] for r in reading_rows.carried_rows(pairs, both)], ["Ras le bol !", "Enough!"])


class Protocols(unittest.TestCase):
    """Figures under other protocols."""

    def scores(self, *names):
        """Returns probabilities whose highest is that of each name, 0.65, and 0.05 elsewhere."""
        return np.array([[0.65 if label == name else 0.05 for label in LABELS] for name in names])

    def test_frustration_is_anger_to_ekman_and_disappointment_sadness(self):
        scores = self.scores("frustration", "anger", "frustration", "joy")
        labels = [["annoyance"], ["disapproval"], ["disappointment"], ["joy", "anger"]]
        found = protocols.ekman_seven(scores, labels)
        self.assertEqual(found["rows"], 3)
        # Anger: two of three right, both found, 0.8. Sadness: never found. The mean is over both.
        self.assertAlmostEqual(found["macro_f1"], 0.4)

    def test_a_closed_six_ignores_neutral_and_frustration(self):
        scores = self.scores("neutral", "frustration")
        scores[0, LABELS.index("fear")] = scores[1, LABELS.index("disgust")] = 0.1
        truth = np.array([LABELS.index("fear"), LABELS.index("disgust")])
        self.assertEqual(protocols.closed_six(scores, truth), 1.0)

    def test_pairs_agree_overall_and_where_a_side_is_emotional(self):
        found = protocols.pair_agreement(self.scores("neutral", "neutral", "joy", "joy"),
                                         self.scores("neutral", "anger", "neutral", "joy"))
        self.assertEqual(found["same_label"], 0.5)
        self.assertEqual((found["emotional_pairs"], found["same_label_of_emotional"]), (3, 1 / 3))

    def test_either_label_of_a_mixed_sentence_is_right(self):
        rows = [{"register": "mixed", "core8": "joy", "either": ["joy", "sadness"]}, {"register": "irony", "core8": "anger"}]
        self.assertEqual(protocols.by_register(self.scores("sadness", "joy"), rows), {"irony": 0.0, "mixed": 1.0})

    def test_a_threshold_is_the_lowest_that_keeps_the_precision(self):
        joy = LABELS.index("joy")
        scores = np.full((50, 8), 0.01)
        scores[:, joy] = np.linspace(0.99, 0.5, 50)
        truth = np.full(50, joy)
        truth[30:] = LABELS.index("anger")
        found = protocols.thresholds(scores, truth)["joy"]
        # 30 right of the first 37 are 0.81, of the first 38 0.79.
        self.assertEqual(found["predictions"], 37)
        self.assertEqual(found["found"], 1.0)
        self.assertIsNone(protocols.thresholds(scores, truth)["anger"])

    def test_the_error_of_the_most_confident_part_comes_first(self):
        scores = self.scores(*["joy"] * 10)
        scores[:5, LABELS.index("joy")] = 0.9
        truth = np.full(10, LABELS.index("joy"))
        truth[5:] = LABELS.index("fear")
        errors = [part["error"] for part in protocols.risk_coverage(scores, truth)]
        self.assertEqual((errors[0], errors[4], errors[9]), (0.0, 0.0, 0.5))

    def test_the_excess_of_a_calibrated_model_is_about_0_and_of_a_sure_one_its_error(self):
        draw = np.random.default_rng(3)
        scores = draw.dirichlet(np.full(8, 0.6), 4000)
        truth = np.array([draw.choice(8, p=row) for row in scores])
        self.assertLess(abs(protocols.calibration_excess(scores, truth, 1)), 0.01)
        self.assertGreater(protocols.calibration_error(scores, truth), 0.004)
        sure = scores ** 3 / (scores ** 3).sum(1, keepdims=True)
        self.assertGreater(protocols.calibration_excess(sure, truth, 1), 0.1)

    def test_plain_lines_count_if_their_votes_are_one(self):
        votes = [["neutral", "neutral"], ["neutral", "neutral"], ["fear", "fear"], ["joy", "neutral"], ["unclear", "unclear"]]
        found = protocols.plain(self.scores("neutral", "joy", "anger", "joy", "joy"), votes)
        self.assertEqual(found, {"neutral": 2, "neutral_called_emotional": 0.5, "emotional": 1, "emotional_found": 1.0})


class Targets(unittest.TestCase):
    """Soft targets from votes."""

    def test_a_label_has_its_share_of_the_votes(self):
        found = dict(zip(LABELS, reading_rows.target(["joy", "fear", "joy"])))
        self.assertAlmostEqual(found["joy"], 2 / 3)
        self.assertAlmostEqual(found["fear"], 1 / 3)
        self.assertEqual(reading_rows.target(["anger", "anger"])[LABELS.index("anger")], 1.0)

    def test_an_unclear_vote_is_spread_evenly(self):
        self.assertEqual(reading_rows.target(["unclear", "unclear"]), [1 / 8] * 8)
        found = reading_rows.target(["joy", "unclear"])
        self.assertAlmostEqual(found[0], 9 / 16)
        self.assertAlmostEqual(sum(found), 1)

    def test_other_answers_and_no_answer_are_refused(self):
        for answers in (["glee"], []):
            with self.assertRaises(ValueError):
                reading_rows.target(answers)


class Twins(unittest.TestCase):
    """Lines that leave training because another line does."""

    def test_the_other_side_and_its_other_translations_leave(self):
        with tempfile.TemporaryDirectory() as folder:
            pairs = sources.pairs(packed(folder), "tatoeba_en_fr")
        sealed = {guard.key("Le train de Nantes part à huit heures.")}
        held = guard.with_translations(sealed, pairs)
        for text in ("The train to Nantes leaves at eight o'clock.", "The train to Nantes departs at eight.",
                     "Le train pour Nantes part à 8 heures."):
            self.assertIn(guard.key(text), held, text)
        for text in ("We painted the fence green.", "Nous avons peint la clôture en vert."):
            self.assertNotIn(guard.key(text), held, text)

    def test_another_spelling_has_the_same_key(self):
        self.assertEqual(guard.key("Stay behind me , I hear someone !"), guard.key("stay behind me, I hear someone"))
        self.assertNotEqual(guard.key("!?"), guard.key("…"))

    def test_near_lines_are_found_in_every_block(self):
        chance = np.random.default_rng(1)
        lines = chance.normal(size=(9000, 16))
        lines /= np.linalg.norm(lines, axis=1, keepdims=True)
        apart = lines[[3, 4500, 8999]]
        found = likeness.near(lines, apart, 0.85)
        expected = [i for i in range(len(lines)) if max(lines[i] @ a for a in apart) >= 0.85]
        self.assertEqual(found.tolist(), expected)
        self.assertTrue({3, 4500, 8999} <= set(expected))
        self.assertEqual(likeness.near(lines, apart[:0], 0.85).tolist(), [])


class Guarded(unittest.TestCase):
    """Checks by hash and by shared words."""

    def test_a_held_out_text_is_refused_in_any_spelling(self):
        with tempfile.TemporaryDirectory() as folder:
            hashes = Path(folder) / "hashes.txt"
            hashes.write_text(guard.key("The library closes at noon on Saturdays.") + "\n")
            with mock.patch.object(guard, "HASHES", hashes):
                found = guard.Guard(4)
        self.assertTrue(found.holds("the library closes at noon on saturdays"))
        with self.assertRaises(guard.HeldOut):
            found.refuse(["We painted the fence green.", "The library closes at noon, on Saturdays!"])
        found.refuse(["We painted the fence green."])

    def test_the_error_does_not_name_the_text(self):
        with tempfile.TemporaryDirectory() as folder:
            hashes = Path(folder) / "hashes.txt"
            hashes.write_text(guard.key("geheimnis") + "\n")
            with mock.patch.object(guard, "HASHES", hashes), self.assertRaises(guard.HeldOut) as caught:
                guard.Guard(4).refuse(["Geheimnis"])
        self.assertNotIn("eheimnis", str(caught.exception))

    def test_five_shared_words_are_found_and_four_are_not(self):
        row = json.loads(guard.register_files()[0].read_text("utf-8").split("\n")[0])
        first = row["text"].split()
        registers = guard.Sequences(5, guard.register_files())
        self.assertTrue(registers.shares(row["text"]), row)
        self.assertTrue(registers.shares("Zyx " + " ".join(first[:6]).upper() + " zyx"))
        self.assertFalse(registers.shares("Zyx one zyx two zyx three zyx four"))
        self.assertFalse(registers.shares("zyx"))


class Splits(unittest.TestCase):
    """The committed files of keys and votes."""

    def test_no_line_has_two_parts(self):
        keys = [row["key"] for row in readings.drawn_lines()]
        self.assertEqual(len(keys), len(set(keys)))

    def test_every_drawn_line_has_two_votes_or_one_to_train_on(self):
        votes = readings.votes()
        for row in readings.drawn_lines():
            self.assertGreaterEqual(len(votes[row["key"]]), 1 if row["part"] in readings.SINGLE_PASS else 2)

    def test_a_key_is_a_sha256_and_no_text(self):
        digest = hashlib.sha256("a".encode()).hexdigest()
        self.assertEqual(readings.key("a"), digest)
        for row in readings.drawn_lines():
            self.assertRegex(row["key"], "^[0-9a-f]{64}$")


class VotedFigures(unittest.TestCase):
    """Figures on lines with votes, by hand."""

    def test_only_undisputed_lines_count(self):
        scores = np.full((5, 8), 0.01)
        neutral, joy, fear = (LABELS.index(name) for name in ("neutral", "joy", "fear"))
        for line, label in enumerate((neutral, joy, joy, neutral, fear)):
            scores[line, label] = 0.9
        votes = [["neutral", "neutral"], ["neutral", "neutral"], ["joy", "joy"], ["joy", "fear", "joy"], ["unclear", "unclear"]]
        found = voted.figures(scores, votes)
        # Two neutral lines, of which one is called joy, and one of joy.
        self.assertEqual((found["rows"], found["neutral_recall"], found["emotional_called_neutral"]), (3, 0.5, 0.0))
        self.assertAlmostEqual(found["accuracy"], 2 / 3)
        self.assertAlmostEqual(found["macro_f1"], 2 / 3)

    def test_the_sweep_keeps_lines_of_one_score_on_one_side(self):
        scores = np.zeros((11, 8))
        scores[:, LABELS.index("neutral")] = [0.9, 0.5, 0.5, 0.2, 0.1, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1]
        votes = [["neutral", "neutral"]] * 5 + [["joy", "joy"]] * 6
        # At 0.8 one of six emotional lines is lost, at 0.5 two would be.
        self.assertEqual(voted.figures(scores, votes)["neutral_recall_at_20_lost"], 0.2)

    def test_one_kind_of_lines_is_refused(self):
        with self.assertRaises(ValueError):
            voted.figures(np.ones((1, 8)), [["joy", "joy"]])


if __name__ == "__main__":
    unittest.main()
