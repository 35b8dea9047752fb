"""Generates French and English sentences with names of persons, and sentences full of look-alikes.

    names.py names > tests/data/masking/names.jsonl
    names.py look-alikes > tests/data/masking/look-alikes.txt

Names come from 20 locales of Faker. The mask's list (crates/mask/names/build.py) has no name of the last four,
so they show what shape and context find. Each line of the first file is {"text", "spans", "cued", "locale"} with
positions in bytes of UTF-8; `cued` tells whether a word announces the name. The same seed and version of
Faker (tests/requirements.txt) give the same lines.
"""

import json
import random
import sys

from faker import Faker

SEED = 20261130
DRAWN = random.Random(SEED)
pick = DRAWN.choice
LOCALES = ["fr_FR", "fr_CA", "fr_BE", "en_US", "en_GB", "en_IN", "en_NG", "en_KE", "es_ES", "es_MX", "pt_BR", "it_IT",
           "de_DE", "nl_NL", "pl_PL", "tr_TR", "is_IS", "lt_LT", "et_EE", "sl_SI"]
SENTENCES = 1_500
CUED_SHARE = 0.7

# {f} is a first name, {l} a surname, {n} both; {t} a first name in small letters.
CUED = [
    "Je m'appelle {n} et je n'ai toujours rien reçu.", "Je m'appelle {f}, j'ai peur de demain.", "Mon nom est {n}, dossier en cours.",
    "Bonjour, ici {n}, je rappelle pour la fuite.", "C'est {n} au téléphone, rappelez-moi.", "Moi c'est {f}, enchantée !",
    "Mme {l} m'a encore raccroché au nez.", "M. {l} n'est jamais venu.", "Monsieur {n} refuse de signer.", "Le Dr {l} a été formidable.",
    "Madame {l}, vous êtes un ange.", "Cher {f}, merci pour tout.", "Chère {f}, tu me manques.", "Bonjour {f}, où est mon colis ?",
    "Salut {f} ! Tu viens ?", "Demandez {n} à l'accueil.", "Contactez {n} avant midi.", "À l'attention de {n}",
    "Merci de votre réponse.\nCordialement,\n{n}", "Bien à vous.\nCordialement,\n{f}", "Je suis {n}, la voisine du dessus.",
    "Mon mari {f} est à l'hôpital.", "Ma sœur {f} ne me parle plus.", "Mon chef {n} hurle toute la journée.",
    "Nom : {n}", "Signé : {n}", "On a volé le sac d'une dame nommée {n}.", "Le livreur, un certain monsieur {l}, a menti.",
    "c'est {t}, t'es où ?", "je m'appelle {t} et j'en peux plus", "moi c'est {t}", "coucou {t}, ça va ?", "Me {l} plaidera demain.",
    "My name is {n} and I want a refund.", "My name is {f}, I'm so tired of this.", "Hi, this is {n}, calling about my order.",
    "This is {n} speaking.", "I'm {n} from the third floor.", "Mr. {l} never showed up.", "Mrs {l} shouted at my kids.",
    "Ms. {l} was so kind to us.", "Dr. {l} saved my life.", "Dear {f}, I miss you so much.", "Dear {n}, thank you for everything.",
    "Hi {f}, any news?", "Hello {f}! Great job today.", "Please ask for {n} at the desk.", "Call me {f}.", "Attn: {n}",
    "Thanks for your help.\nKind regards,\n{n}", "See you soon.\nLove,\n{f}", "Signed, {n}", "My husband {f} is in hospital.",
    "My boss {n} fired me by text.", "My daughter {f} starts school today!", "My friend {f} lied to me.", "Name: {n}",
    "A man named {n} stole my bike.", "it's {t}, pick up", "hi i'm {t}", "hey {t}, are you ok?", "my name is {t} and i need help",
    "Uncle {f} is coming for dinner.", "Officer {l} was rude to me.",
]
UNCUED = [
    "{n} m'a trahi, je ne lui pardonnerai jamais.", "J'ai parlé avec {n} hier soir.", "Hier, {f} est partie sans un mot.",
    "J'ai vu {f} pleurer dans le bus.", "On attend {f} depuis une heure.", "Le cadeau de {f} est arrivé cassé.",
    "{f} et {f} se marient en juin !", "Personne ne croit {n}.", "Tu as des nouvelles de {f} ?", "La réunion avec {n} était un enfer.",
    "{n} lied to me and I can't stop crying.", "I talked to {n} about it last night.", "Yesterday {f} left without a word.",
    "I saw {f} crying on the bus.", "We have been waiting for {f} for an hour.", "The gift from {f} came broken.",
    "{f} and {f} are getting married!", "Nobody believes {n}.", "Any news from {f}?", "The meeting with {n} was hell.",
    "I hate that {f} was right.", "Je déteste que {f} ait raison.", "Why did {n} do this to us?", "Pourquoi {n} nous fait ça ?",
]
# Slots of the look-alikes: names that are places, months, words, works and brands.
SLOTS = {
    "place": "Paris Florence Charlotte Victoria Austin Sydney Georgia Virginia Chelsea Brooklyn Savannah Valencia Lourdes Nancy".split(),
    "month": "May June April August".split(),
    "mois": "avril mai juin août".split(),
    "word": "mark bill hope grace rose joy will grant chase drew dawn faith frank rich art gene".split(),
    "Word": "Mark Bill Hope Grace Rose Joy Will Grant Chase Faith".split(),
    "mot": "claire rose grâce aimée victoire blanche pierre marine olive prune violette colombe désirée constant clément".split(),
    "Mot": "Grâce Victoire Rose Pierre Claire Marine Blanche".split(),
    "king": ["Louis XIV", "Henri IV", "Henry VIII", "Elizabeth II", "Charles III", "François Ier"],
    "street": ["rue Victor Hugo", "avenue Jean Jaurès", "place Charles de Gaulle", "lycée Louis Pasteur", "gare Saint-Charles", "stade Pierre-Mauroy"],
    "number": ["12", "305", "4 812", "73"],
    "code": ["AB-12-CD", "X4-7712", "T1000", "B12", "A320", "WH-1000XM4"],
    "day": "Monday Tuesday Friday Sunday".split(),
}
LOOK_ALIKES = [
    "I love {place} in {month}.", "We fly to {place} on {day}.", "{place} is cold in {month}.", "The train to {place} is late again.",
    "I can't {word} this as done.", "The {Word} was a surprise.", "The {Word} Act passed on {day}.", "Please {word} it before {day}.",
    "{month} is my favourite month.", "See you in {month}!", "In {month} we moved to {place}.", "May I ask why?", "Will it ever end?",
    "Nous partons à {place} en {mois}.", "{place} est magnifique en {mois}.", "L'eau est {mot} ce matin.", "Quelle {mot} journée !",
    "{Mot} ! On a gagné.", "{Mot} à vous, tout va bien.", "La {mot} du jardin est fanée.", "Il pleut sur {place} depuis le 3 {mois}.",
    "{king} était un roi.", "{king} was a king.", "On se retrouve {street}.", "La manif part de la {street}." , "J'habite près de la {street}.",
    "Réunion le 12 {mois} 2024 à {number} personnes.", "The {code} broke after {number} days.", "Le modèle {code} est en rupture.",
    "Commande {number} du 3 {mois}, toujours rien.", "Code erreur {number} sur la {code}.", "Page {number}, chapitre 4.",
    "The score was {number} to 12 on {day}.", "I paid {number} dollars in {place}.", "Dear Customer, your order {number} shipped.",
    "Cher client, votre commande {number} est partie.", "Hello World, {day} again.", "Hi Team, see you on {day}.", "Bonjour Madame, il fait {number} degrés.",
    "Regards from {place}!", "C'est {mois}, enfin.", "This is {place}, not {place}.", "I'm from {place}.", "Je suis de {place}.",
    "My name is on the list for {place}.", "Je m'appelle toujours en {mois} pour rien.", "Call me on {day}.", "Ask for help in {place}.",
    "Born in {month}, raised in {place}.", "Né en {mois} à {place}.", "Thanks {day} is over.", "Merci pour {mois}.",
]


def name_of(faker, style):
    """Returns a first name, a surname or both."""
    first, last = faker.first_name(), faker.last_name()
    return {"f": first, "l": last, "n": f"{first} {last}", "t": first.lower()}[style]


def sentence(cued, faker, locale):
    """Fills a template and returns the line with the positions of its names."""
    template = pick(CUED if cued else UNCUED)
    text, spans = "", []
    for index, part in enumerate(template.replace("}", "{").split("{")):
        if index % 2 == 1:
            value = name_of(faker, part)
            start = len(text.encode())
            spans.append({"kind": "name", "start": start, "end": start + len(value.encode())})
            part = value
        text += part
    return {"text": text, "spans": spans, "cued": cued, "locale": locale}


def print_names():
    fakers = {locale: Faker(locale) for locale in LOCALES}
    for index, faker in enumerate(fakers.values()):
        faker.seed_instance(SEED + index)
    for index in range(SENTENCES):
        locale = LOCALES[index % len(LOCALES)]
        line = sentence(DRAWN.random() < CUED_SHARE, fakers[locale], locale)
        print(json.dumps(line, ensure_ascii=False))


def print_look_alikes():
    lines = {}
    while len(lines) < 500:
        text = pick(LOOK_ALIKES)
        for slot, values in SLOTS.items():
            while f"{{{slot}}}" in text:
                text = text.replace(f"{{{slot}}}", pick(values), 1)
        lines[text] = None
    print("\n".join(lines))


if __name__ == "__main__":
    print_names() if sys.argv[1] == "names" else print_look_alikes()
