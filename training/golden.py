"""Writes `tests/data/golden.jsonl`: the results in Python, which every host must reproduce.

Input: the exported model. Output: rows of text, token ids, label and scores, before any tie-break.
`crates/classifier/tests/golden.rs` requires the same ids and labels, and scores within 1e-3. All
texts are written or generated here; no text comes from the data. A row whose two best scores differ
by less than `GAP_MIN` is dropped, because rounding could change its label.
"""

import json
import random
import unicodedata

from .runtime import Runtime, head_scores, read_json
from .stage import ROOT, Run
from .text import LABELS, normalise

FILE = ROOT / "tests" / "data" / "golden.jsonl"
GAP_MIN = 1e-3
ROWS_MIN = 520

_EN = """I passed the exam, I could dance all night!
We finally got the keys to our first flat and everyone cried happy tears.
Your present made my whole week, thank you so much.
My grandmother died on Sunday and the house feels empty.
I miss him every single evening.
Nobody remembered my birthday, again.
How dare you talk to my daughter like that!
You lied to my face, get out of my office.
I am livid about this invoice.
There is someone walking around downstairs and I am alone.
I can't sleep before the operation, what if I don't wake up?
Please check the brakes, that noise scares me.
Wait, you two are married? Since when?
I did not expect the parcel to arrive in one day!
No way, the cat opened the door by itself.
There was a hair in my soup and another one on the spoon.
The bathroom smells of old fish, I nearly threw up.
What he did to that dog makes me sick.
The meeting starts at nine in room four.
Please find the report attached.
The shop is closed on Mondays.
Third time I fill in this form and it still says error.
I have been on hold for an hour, this is getting old.
The app logs me out every five minutes, seriously.
Oh great, another update that breaks the printer.
not happy at all with the new seats
I'm not angry, I'm just tired of repeating myself.
lol that's the best thing ever
omg u scared me so bad
ugh whatever, fix it pls
It was fine, I guess.
Could you tell me where the station is?
The kids laughed until they fell off the sofa.
I would rather not talk about the funeral.
If this train is late once more I will scream.
She jumped when the balloon burst.
He keeps chewing with his mouth open, gross.
Water boils at a hundred degrees.
So proud of our little team!
My hands were shaking when the doctor called.""".splitlines()

_FR = """J'ai réussi mon permis, je saute partout !
On a enfin les clés de l’appartement, quel bonheur.
Ton cadeau m'a fait chaud au cœur, merci mille fois.
Ma grand-mère est partie dimanche, la maison est vide.
Il me manque tous les soirs.
Personne n’a pensé à mon anniversaire, encore une fois.
Comment osez-vous parler ainsi à ma fille !
Tu m'as menti en face, sors de mon bureau.
Cette facture me met hors de moi.
Quelqu’un marche en bas et je suis seule.
Je ne dors plus avant l’opération, et si je ne me réveillais pas ?
Vérifiez les freins, ce bruit me fait peur.
Attends, vous êtes mariés ? Depuis quand ?
Je ne pensais pas recevoir le colis en un jour !
C'est pas vrai, le chat a ouvert la porte tout seul.
Il y avait un cheveu dans ma soupe et un autre sur la cuillère.
La salle de bains sent le vieux poisson, j'ai failli vomir.
Ce qu’il a fait à ce chien me donne la nausée.
La réunion commence à neuf heures en salle quatre.
Veuillez trouver le rapport ci-joint.
Le magasin est fermé le lundi.
Troisième fois que je remplis ce formulaire et toujours une erreur.
Une heure que j’attends au téléphone, ça commence à bien faire.
L'appli me déconnecte toutes les cinq minutes, sérieux.
Super, encore une mise à jour qui casse l’imprimante.
pas content du tout des nouveaux sièges
Je ne suis pas fâché, juste las de me répéter.
mdr c'est le truc le plus drôle du monde
oh la la tu m'as fait trop peur
pfff bref, répare ça stp
C'était bien, enfin je crois.
Pourriez-vous m’indiquer la gare ?
Les enfants ont ri jusqu'à tomber du canapé.
Je préfère ne pas parler de l'enterrement.
Si ce train est encore en retard, je hurle.
Elle a sursauté quand le ballon a éclaté.
Il mâche la bouche ouverte, beurk.
L'eau bout à cent degrés.
Trop fière de notre petite équipe !
Mes mains tremblaient quand le médecin a appelé.""".splitlines()

_WORDS = {
    "en": """garden yellow slowly bridge I hate waiting happy river window afraid never morning
             disgusting bread surprised again broken sister train why always furious lonely paper
             laugh under mountain ticket sorry quickly winter""".split(),
    "fr": """jardin jaune lentement pont je déteste attendre heureux rivière fenêtre peur jamais
             matin dégoûtant pain étonné encore cassé sœur train pourquoi toujours furieux seul
             papier rire sous montagne billet désolé vite l’hiver""".split(),
}
_LENGTHS = [*range(1, 33), 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 160, 250]
"""Numbers of words in the texts of the length ladder; the last ones exceed 128 tokens."""

_ODD = [
    "ﬁn de la ﬀaire, œuvre et Æsir", "Ｉ ａｍ ｆｕｌｌ ｗｉｄｔｈ！", "ｱｲｳ half width",
    "zero\u200bwidth\u200cjoin\u200der\u2060done", "soft\u00adhy\u00adphen", "\ufeffBOM at the start",
    "BOM\ufeffinside", "no\u00a0break\u202fnarrow\u2007figure", "C’est bien\u202f! Oui\u00a0: «\u00a0oui\u00a0»",
    "line\u2028sep\u2029para", "next\u0085line", "ogham\u1680space", "mongolian\u180evowel",
    "👩‍👩‍👧‍👦 family", "👍🏽 skin 👋🏿", "🇫🇷🇨🇦 flags", "🏳️‍🌈🏴‍☠️", "❤️ and ❤ and ♥︎", "😂😂😂😂😂", "😡",
    "😭 pourquoi", "🤢🤮", "1️⃣2️⃣#️⃣", "🧑🏻‍🚀🧑🏾‍🚒", "☹️ :( :-( ;) :D xD <3", "¯\\_(ツ)_/¯", "(╯°□°)╯︵ ┻━┻",
    "مرحبا أنا سعيد", "שלום אני עצוב", "\u202eright to left\u202c", "mixed عربي english",
    "안녕하세요 기쁘다", "\u1112\u1161\u11ab\u1100\u1173\u11af", "我很生气", "日本語のテキスト", "ｶﾞギ゛ガ",
    "Я злюсь", "Είμαι λυπημένος", "ฉันมีความสุข", "नमस्ते दुनिया", "தமிழ்", "ქართული", "አማርኛ",
    "Z̷̛͍a̸l̵g̶o̷ ẗ̸̡e̴x̷t̶", "e\u0301\u0302\u0303\u0304\u0305", "\u0301 starts combined", "a\u0328\u0301 A\u030a",
    "q\u0307\u0323 q\u0323\u0307", "𝐁𝐨𝐥𝐝 𝑖𝑡𝑎𝑙𝑖𝑐 𝔉𝔯𝔞𝔨𝔱𝔲𝔯 𝟙𝟚𝟛", "ⓒⓘⓡⓒⓛⓔⓓ ①②③", "ᴛɪɴʏ ᶜᵃᵖˢ ₁₂₃", "½ ¾ ⅓ ²³", "㎏ ㏂ ㍿ ㊙",
    "№ ™ © ® ℃ Ω Å K", "İstanbul ıIiİ", "ß ẞ ſ", "ŉ ǆ ǅ", "…‥․", "‼⁇⁈⁉", "–—―‒", "“”„‟«»‹›'‘’‚‛", "′″‴",
    "!!!!!!!!!!!!!!!!", "????!?!?!?!?", "..........", ".", "?", "!", ",", "-", "_", "▁", "▁▁ meta ▁", "<s>", "</s> end",
    "<pad> <unk> <mask>", "[URL]", "[NAME] is here", "\\n \\t \\u0041", "\"quoted\" 'single'", "{\"json\": true}",
    "<b>html</b> &amp; &#39;", "a" * 60, "pneumonoultramicroscopicsilicovolcanoconiosis",
    "anticonstitutionnellement " * 3, "noooooooooooooooooooo", "x" * 700, "ha" * 90, "1234567890 " * 4,
    "3,14 1.618 1 000 000 €", "£5 $6 ¥7 ₿8 ₹9", "+33 6 12 34 56 78", "someone@example.org", "@handle #hashtag",
    "C:\\path\\file", "\ue000 private use \uf8ff", "\ufffd replacement", "\U0010ffff last", "\ufdd0 non character",
    "\U000e0041 tag", "𓀀𓂀 hieroglyphs", "𝄞 music", "🀄🂡", "⠓⠑⠇⠇⠕", "☃☂☕", "←↑→↓⇒", "∀x∈ℝ: x²≥0", "─│┌┐█▓", "\u3000ideographic\u3000",
    "＂＇（）［］", "〈〉《》「」", "۱۲۳ ٤٥٦ १२३", "ℌ𝔢𝔩𝔩𝔬", "ﷺ", "ﬃ ﬄ ﬅ ﬆ", "Ǆ ǲ ĳ Ĳ", "a\u034fb", "\u2066isolate\u2069",
    "variation\ufe0e\ufe0f selectors", "\u0e33 \u0eb3", "각각 각\u11a8", "カ\u3099", "\u09c7\u09be", "\u0f71\u0f72\u0f80",
]

_URLS = [
    "see https://example.org/a?b=c#d now", "http://example.org", "www.example.org is down again",
    "WWW.EXAMPLE.ORG/SHOUT", "HtTpS://MiXeD.example", "(https://example.org)", "xhttps://glued.example",
    "9www.glued.example", "éhttps://accent.example", "_www.underscore.example", "https://", "www.", "www. space",
    "https:// space", "deux https://a.example https://b.example", "https://a.example\u00a0after", "https://a.example\u2003x",
    "https://a.example\u001cx", "https://a.example\u200bx", "httpss://no.example", "http:/one.example", "voir www.exemple.fr!!!",
    "ftp://other.example", "https://émoji.example/😀 wow", "wwww.four.example", "awww.so cute", "-www.dash.example",
]

_EMPTY = ["", " ", "\t\r\n", "\u00a0\u202f\u3000", "\u2028\u2029", "\u0085\u1680\u2000"]


def texts(seed: int) -> list[tuple[str, str, str]]:
    """Returns every text as (id, language, text); `und` marks a text without a single language."""
    draw = random.Random(seed)
    out = []

    def add(kind: str, lang: str, found) -> None:
        out.extend((f"{kind}-{lang}-{number:03}", lang, text) for number, text in enumerate(found, 1))

    for lang, plain in (("en", _EN), ("fr", _FR)):
        add("plain", lang, plain)
        add("ladder", lang, (" ".join(draw.choices(_WORDS[lang], k=n)) for n in _LENGTHS))
        add("upper", lang, (t.upper() for t in plain[::3]))
        add("bare", lang, (_bare(t) for t in plain[1::3]))
        add("nfd", lang, (unicodedata.normalize("NFD", t) for t in plain[2::3]))
        add("drawn-out", lang, (t.replace("e", "eeee") for t in plain[::8]))
        add("spaced", lang, ("  " + t.replace(" ", draw.choice(["  ", "\t", "\n", "\u2009"])) + "\r\n"
                             for t in plain[1::8]))
        add("wide", lang, ("".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t)
                           for t in plain[3::8]))
        add("joined", lang, (" ".join(draw.sample(plain, k)) for k in (2, 3, 5, 8, 13, 20)))
        add("emoji", lang, (t + " " + draw.choice("😀😢😡😱😮🤢😐😤") for t in plain[4::4]))
    add("mixed", "und", (f"{a} {b}" for a, b in zip(draw.sample(_EN, 10), draw.sample(_FR, 10))))
    add("odd", "und", _ODD)
    add("url", "und", _URLS)
    add("control", "und", (f"I am{chr(c)}so happy{chr(c)}" for c in [*range(0x20), 0x7F, 0x80, 0x9F]))
    add("space", "und", (f"so{c}sad" for c in "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u205f"))
    add("fuzz", "und", (_random_text(draw) for _ in range(160)))
    add("empty", "und", _EMPTY)
    return out


def _bare(text: str) -> str:
    """Returns the text in lower case, without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))


def _random_text(draw: random.Random) -> str:
    """Returns 1 to 90 code points of one to four Unicode ranges; no surrogates."""
    spans = [(0x20, 0x7E), (0xA0, 0x17F), (0, 0x2FF), (0x300, 0x36F), (0x370, 0x1FFF), (0x2000, 0x2BFF),
             (0x3000, 0xD7FF), (0xE000, 0xFFFF), (0x1F300, 0x1FAFF), (0x10000, 0x10FFFF)]
    few = draw.sample(spans, draw.randint(1, 4))
    return "".join(chr(draw.randint(*draw.choice(few))) for _ in range(draw.randint(1, draw.choice([8, 30, 90]))))


def run(run: Run) -> None:
    """Writes the golden rows of the exported model; raises `ValueError` below `ROWS_MIN` rows."""
    model = ROOT / "models" / run.id
    runtime = Runtime(model / "onnx" / "model_quantized.onnx", str(model / "tokenizer.json"))
    head = read_json(model / "head.json")
    rows, dropped = [], 0
    for name, lang, text in texts(run.seed):
        row = {"id": name, "lang": lang, "text": text}
        plain = normalise(text)
        if plain:
            ids, cut = runtime.encoder.encode(plain)
            scores = head_scores(head, runtime.embed_ids(ids))
            second, first = sorted(scores)[-2:]
            if first - second < GAP_MIN:
                dropped += 1
                continue
            rows.append({**row, "ids": ids, "truncated": cut, "label": LABELS[int(scores.argmax())],
                         "scores": [round(float(s), 6) for s in scores]})
        else:
            rows.append({**row, "ids": [], "truncated": False, "label": "neutral", "scores": None})
    if len(rows) < ROWS_MIN:
        raise ValueError(f"only {len(rows)} golden rows, {ROWS_MIN} are needed")
    # JSON escapes all characters outside ASCII: some readers take a raw U+2028 or U+0085 as a line end.
    with FILE.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    print(f"golden: {len(rows)} rows, {dropped} dropped for a gap below {GAP_MIN}, "
          f"{sum(r['truncated'] for r in rows)} truncated")
