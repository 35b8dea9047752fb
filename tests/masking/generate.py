"""Generates French and English sentences with personal data, and the positions of that data.

    generate.py [COUNT] > generated.jsonl

The output has COUNT lines of each kind (2,000 by default) and twice as many harmless lines. Faker
(fr_FR, en_US) supplies the values that it has. This script draws the others and computes their check
digits itself, not with the code under test. The same seed and version of Faker give the same lines.
Each line is {"text", "spans": [{"kind", "start", "end"}]} with positions in bytes of UTF-8.
"""

import base64
import hashlib
import json
import random
import sys

from faker import Faker

SEED = 20260501
DRAWN = random.Random(SEED)
FR, EN = Faker("fr_FR"), Faker("en_US")
FR.seed_instance(SEED)
EN.seed_instance(SEED + 1)
DIGITS, HEX = "0123456789", "0123456789abcdef"
BASE62 = DIGITS + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
pick = DRAWN.choice


def signs(alphabet, count):
    return "".join(pick(alphabet) for _ in range(count))


def grouped(text, sizes, separator=" "):
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return separator.join(part for part in parts if part)


def blank():
    """Returns a space as people and word processors write it."""
    return pick([" ", " ", " ", "\u00a0", "\u202f"])


def luhn_digit(body):
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value // 10 + value % 10
    return str(-total % 10)


def mod97(text):
    return int("".join(str(int(sign, 36)) for sign in text)) % 97


def email():
    faker = pick([FR, EN])
    return pick([faker.email, faker.safe_email, faker.free_email, faker.company_email, faker.ascii_email])()


def url():
    faker = pick([FR, EN])
    user = faker.user_name()
    return pick([
        faker.url,
        faker.uri,
        lambda: faker.url() + faker.uri_path() + "?" + f"user={user}&id={signs(DIGITS, 5)}",
        lambda: f"https://{user}:{signs(BASE62, 9)}@{faker.domain_name()}/{faker.uri_path()}",
        lambda: f"www.{faker.domain_name()}/{faker.uri_path()}",
        lambda: f"{faker.domain_word()}.{pick(['com', 'fr', 'org', 'net'])}/{user}",
        lambda: f"http://{faker.ipv4()}:8080/{faker.uri_path()}#{user}",
    ])()


def phone():
    def british():
        body = pick([("020", 4, 4), ("0161", 3, 4), ("07" + signs(DIGITS, 3), 6), ("01632", 6)])
        head, *rest = body
        national = " ".join([head, *(signs(DIGITS, size) for size in rest)])
        return pick([national, "+44 " + national[1:], "+44" + national[1:].replace(" ", "")])

    def french():
        pairs = ["0" + pick("123456789"), *(signs(DIGITS, 2) for _ in range(4))]
        between = pick([" ", ".", "-", "", "\u00a0", "\u202f"])
        head = pick(["0", "0", "+33 ", "+33", "0033 ", "+33 (0)"])
        return head + between.join(pairs)[1:]

    def abroad():
        code = pick(["49", "32", "41", "39", "34", "351", "212", "352"])
        return f"+{code} {signs('123456789', 2)} {signs(DIGITS, 3)} {signs(DIGITS, 4)}"

    return pick([FR.phone_number, EN.phone_number, french, french, british, abroad])()


def card():
    faker = pick([FR, EN])
    number = faker.credit_card_number()
    sizes = {14: (4, 6, 4), 15: (4, 6, 5)}.get(len(number), (4, 4, 4, 4, 4))
    return pick([number, grouped(number, sizes, blank()), grouped(number, sizes, "-")])


def iban():
    countries = {"DE": 18, "BE": 12, "ES": 20, "CH": 17, "PT": 21, "LU": 16, "AT": 16, "PL": 24}
    letters = {"GB": ("NWBK", 14), "NL": ("INGB", 10), "IE": ("BOFI", 14), "IT": ("X", 22)}
    country = pick(["FR", "FR", *countries, *letters])
    if country == "FR":
        text = FR.iban()
    else:
        head, count = letters.get(country, ("", countries.get(country, 0)))
        body = head + signs(DIGITS, count)
        text = f"{country}{98 - mod97(body + country + '00'):02d}{body}"
    return pick([text, grouped(text, [4] * 9, blank()), grouped(text, [4] * 9), grouped(text, [4] * 9, "-")])


def ssn():
    return EN.ssn().replace("-", pick(["-", "-", "-", " "]))


def nino():
    first, second = "ABCEGHJKLMNOPRSTWXYZ", "ABCEGHJKLMNPRSTWXYZ"
    head = signs(first, 1) + signs(second, 1)
    if head in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ"):
        return nino()
    text = head + signs(DIGITS, 6) + pick("ABCD")
    return pick([text, grouped(text, (2, 2, 2, 2, 1), blank()), text.lower()])


def nir():
    department = pick(["2A", "2B", *(f"{number:02d}" for number in range(1, 96) if number != 20)])
    body = f"{pick('12')}{signs(DIGITS, 2)}{DRAWN.randint(1, 12):02d}{department}{signs(DIGITS, 6)}"
    number = int(body.replace("2A", "19").replace("2B", "18") if department in ("2A", "2B") else body)
    text = f"{body}{97 - number % 97:02d}"
    return pick([text, grouped(text, (1, 2, 2, 2, 3, 3, 2), blank()), grouped(text, (13, 2))])


def siren_digits():
    body = pick("345789") + signs(DIGITS, 7)
    return body + luhn_digit(body)


def siren():
    return pick([FR.siren, siren_digits, lambda: grouped(siren_digits(), (3, 3, 3), blank())])()


def siret():
    def drawn():
        body = siren_digits() + f"000{signs(DIGITS, 1)}"
        text = body + luhn_digit(body)
        return pick([text, grouped(text, (3, 3, 3, 5), blank())])

    def post():
        # For La Poste, the plain sum of the digits is a multiple of five.
        body = "356000000" + signs(DIGITS, 4)
        return body + str(-sum(map(int, body)) % 5 + pick([0, 5]))

    return pick([FR.siret, drawn, drawn, drawn, post])()


def vat():
    company = siren_digits()
    key = f"{(12 + 3 * (int(company) % 97)) % 97:02d}"
    return pick([f"FR{key}{company}", f"FR {key} {company}", f"FR {key} {grouped(company, (3, 3, 3), blank())}"])


BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def base58check(payload):
    data = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = BASE58[rest] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def bech32(prefix, version, program):
    values, carry, bits = [version], 0, 0
    for byte in program:
        carry, bits = carry << 8 | byte, bits + 8
        while bits >= 5:
            bits -= 5
            values.append(carry >> bits & 31)
    if bits:
        values.append(carry << (5 - bits) & 31)
    check = 1
    expanded = [ord(sign) >> 5 for sign in prefix] + [0] + [ord(sign) & 31 for sign in prefix]
    for value in expanded + values + [0] * 6:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    check ^= 1 if version == 0 else 0x2BC830A3
    values += [check >> 5 * (5 - place) & 31 for place in range(6)]
    return prefix + "1" + "".join(BECH32[value] for value in values)


def crypto():
    return pick([
        lambda: base58check(b"\x00" + DRAWN.randbytes(20)),
        lambda: base58check(b"\x05" + DRAWN.randbytes(20)),
        lambda: base58check(pick([b"\x30", b"\x1e", b"\x41"]) + DRAWN.randbytes(20)),
        lambda: bech32(pick(["bc", "ltc"]), 0, DRAWN.randbytes(20)),
        lambda: bech32("bc", 0, DRAWN.randbytes(32)),
        lambda: bech32("bc", 1, DRAWN.randbytes(32)),
        lambda: "0x" + signs(HEX, 40),
        lambda: "0x" + "".join(pick([sign, sign.upper()]) for sign in signs(HEX, 40)),
    ])()


def secret():
    """Returns a prefix and a secret; a password counts as a secret only after a prefix that names it."""

    def token():
        part = lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")
        claims = json.dumps({"sub": signs(DIGITS, 8), "iat": DRAWN.randint(1_600_000_000, 1_700_000_000)})
        return ".".join([part(b'{"alg":"HS256","typ":"JWT"}'), part(claims.encode()), part(DRAWN.randbytes(32))])

    password = lambda: EN.password(length=DRAWN.randint(8, 16), special_chars=False)
    return pick([
        lambda: ("", "AKIA" + signs(DIGITS + "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 16)),
        lambda: ("", "ghp_" + signs(BASE62, 36)),
        lambda: ("", pick(["sk_live_", "sk_test_", "rk_live_"]) + signs(BASE62, 24)),
        lambda: ("", f"xoxb-{signs(DIGITS, 12)}-{signs(DIGITS, 12)}-{signs(BASE62, 24)}"),
        lambda: ("", "AIza" + signs(BASE62 + "-_", 34) + signs(BASE62, 1)),
        lambda: ("", "sk-" + signs(BASE62, 48)),
        lambda: ("", token()),
        lambda: ("", signs(BASE62, DRAWN.randint(32, 64))),
        lambda: (pick(["api_key=", "token: ", "clé API : "]), signs(HEX, 32)),
        lambda: (pick(["password=", "pwd: ", "mot de passe : ", "MDP : ", "my password is "]), password()),
        lambda: ("Authorization: Bearer ", signs(BASE62, 40)),
    ])()


def mac():
    text = signs(HEX, 12)
    text = pick([text, text.upper()])
    return pick([EN.mac_address(), grouped(text, [2] * 6, ":"), grouped(text, [2] * 6, "-"), grouped(text, [4] * 3, ".")])


def handle():
    faker = pick([FR, EN])
    return "@" + pick([faker.user_name, lambda: faker.first_name().lower().encode("ascii", "ignore").decode() + pick(["_", ""]) + signs(DIGITS, 2)])()


def address():
    def french():
        text = FR.street_address()
        return text if text[0].isdigit() else f"{FR.building_number()} {text}"

    return pick([
        french,
        lambda: f"{french()}{pick([', ', ' ', chr(10)])}{FR.postcode()} {FR.city()}",
        EN.street_address,
        EN.address,
        lambda: EN.address().replace("\n", ", "),
    ])()


def account():
    """Returns the words before an account, and the account: RIB with its key, sort code, account number."""

    def rib():
        bank, branch, number = signs(DIGITS, 5), signs(DIGITS, 5), signs(DIGITS, 10) + pick(DIGITS + "ACKMTZ")
        plain = "".join(str((int(sign, 36) - 10) % 9 + 1 + (sign >= "S")) if sign.isalpha() else sign for sign in number)
        key = 97 - (89 * int(bank) + 15 * int(branch) + 3 * int(plain)) % 97
        return f"{bank}{pick([' ', ''])}{branch} {number} {key:02d}"

    pair = lambda: signs(DIGITS, 2)
    return pick([
        lambda: (pick(["RIB ", "", "RIB : "]), rib()),
        lambda: (pick(["sort code ", "Sort Code: "]), f"{pair()}-{pair()}-{pair()}"),
        lambda: ("", f"{pair()}-{pair()}-{pair()} {signs('123456789', 1)}{signs(DIGITS, 7)}"),
        lambda: (pick(["bank account ", "my bank account number is ", "savings account "]), signs("123456789", 1) + signs(DIGITS, 7)),
    ])()


def birthdate():
    day, month, year = DRAWN.randint(1, 28), DRAWN.randint(1, 12), DRAWN.randint(1930, 2012)
    french = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
    english = "January February March April May June July August September October November December".split()
    before = pick(["né le ", "née le ", "date de naissance : ", "DOB ", "born on ", "date of birth: "])
    return before, pick([
        f"{day:02d}/{month:02d}/{year}", f"{day}.{month}.{year}", f"{year}-{month:02d}-{day:02d}", f"{day:02d}-{month:02d}-{year % 100:02d}",
        f"{day} {french[month - 1]} {year}", f"{english[month - 1]} {day}, {year}", f"{day} {english[month - 1][:3]} {year}",
    ])


def gps():
    latitude, longitude = DRAWN.uniform(12, 89), DRAWN.uniform(-179, 179)
    places = DRAWN.randint(4, 7)
    before = pick(["", "", "GPS ", "coordonnées : ", "my position: "])
    return before, f"{pick(['', '-'])}{latitude:.{places}f}{pick([', ', ',', ' '])}{longitude:.{places}f}"


def name():
    """Returns the words that announce a name, and the name."""
    faker = pick([FR, EN])
    full = f"{faker.first_name()} {faker.last_name()}"
    return pick([
        lambda: (pick(["je m'appelle ", "mon nom est ", "my name is ", "signé : ", "Mme ", "Mr. ", "Dr. "]), full),
        lambda: (pick(["Mme ", "Monsieur ", "Mr. ", "Mrs "]), faker.last_name()),
        lambda: (pick(["je m'appelle ", "my name is ", "mon mari ", "my sister "]), faker.first_name()),
        lambda: ("", full),
    ])()


def nhs_number():
    body = signs("4567", 1) + signs(DIGITS, 8)
    check = 11 - sum(int(digit) * weight for digit, weight in zip(body, range(10, 1, -1))) % 11
    return nhs_number() if check == 10 else grouped(body + str(check % 11), pick([(3, 3, 4), (10,)]))


def sin():
    body = signs("1234567", 1) + signs(DIGITS, 7)
    return grouped(body + luhn_digit(body), (3, 3, 3), pick([" ", "-"]))


def document():
    letters = "ABCDEFGHJKLMNPRTVWXYZ"
    return pick([
        lambda: (pick(["passeport ", "passeport n° ", "passport number "]), signs(DIGITS, 2) + signs(letters, 2) + signs(DIGITS, 5)),
        lambda: (pick(["passport ", "my passport number is "]), pick(["5", "A"]) + signs(DIGITS, 8)),
        lambda: (pick(["CNI ", "carte d'identité n° "]), signs("123456789", 1) + signs(DIGITS, 11)),
        lambda: (pick(["permis n° ", "permis de conduire "]), signs("123456789", 1) + signs(DIGITS, 11)),
        lambda: (pick(["driver's license ", "driving licence "]), signs(letters, 1) + signs(DIGITS, 7)),
        lambda: (pick(["numéro fiscal ", "numéro fiscal : "]), grouped(pick("123") + signs(DIGITS, 12), pick([(2, 2, 3, 3, 3), (13,)]))),
        lambda: (pick(["NHS number ", "NHS no. "]), nhs_number()),
        lambda: (pick(["SIN ", "social insurance number "]), sin()),
    ])()


def plate():
    letters = "ABCDEFGHJKLMNPQRSTVWXYZ"
    return pick([
        lambda: (pick(["plaque ", "immatriculée ", ""]), f"{signs(letters, 2)}-{signs(DIGITS, 3)}-{signs(letters, 2)}"),
        lambda: ("immatriculation ", f"{signs('123456789', 1)}{signs(DIGITS, 2)} {signs(letters, 3)} {signs('123456789', 2)}"),
        lambda: (pick(["reg ", "my car ", "number plate "]), f"{signs(letters, 2)}{signs(DIGITS, 2)} {signs(letters, 3)}"),
        lambda: (pick(["license plate ", "plate "]), f"{signs('123456789', 1)}{signs(letters, 3)}{signs(DIGITS, 3)}"),
        lambda: ("Kennzeichen ", f"{pick(['B', 'M', 'HH', 'K'])}-{signs(letters, 2)} {signs('123456789', 1)}{signs(DIGITS, 3)}"),
    ])()


def postcode():
    inner = lambda: signs("123456789", 1) + signs("ABDEFHJLNPQRUWXYZ", 2)
    outer = lambda: pick(["SW1A", "M4", "LS11", "BS8", "E14", "EH3", "NW10", "CF24", "G12", "W1D", "OX4", "YO10"])
    canada = "ABCEGHJKLMNPRSTVXY"
    return pick([
        lambda: ("", f"{outer()} {inner()}"),
        lambda: ("postcode ", f"{outer()} {inner()}".lower()),
        lambda: ("", f"{pick(canada)}{pick(DIGITS)}{pick(canada)} {pick(DIGITS)}{pick(canada)}{pick(DIGITS)}"),
    ])()


KINDS = {
    "account": account, "birthdate": birthdate, "gps": gps, "id": document, "name": name, "plate": plate, "postcode": postcode,
    "address": address, "card": card, "crypto": crypto, "email": email, "handle": handle, "iban": iban,
    "ip": lambda: pick([EN.ipv4, EN.ipv4_private, EN.ipv4_public])(), "ipv6": EN.ipv6, "mac": mac, "nino": nino,
    "nir": nir, "phone": phone, "secret": secret, "siren": siren, "siret": siret, "ssn": ssn, "url": url, "vat": vat,
}

# Sentences around a value: `ANY` fits every kind, `OWN` fits one kind and often names it.
ANY = [
    "Voici : {}. Merci de votre aide.", "Je vous envoie ça : {}", "{} – c'est noté ?", "On m'a répondu « {} » et rien d'autre.",
    "Pourquoi {} apparaît sur mon écran ?", "🙂 {} 🙂", "Here it is: {}. Thanks!", "I got {} and I am so confused.",
    "Is {} right?", "They wrote back ({}), finally.", "{}\nThat is all I have.", "still waiting, {}, since Monday",
]
OWN = {
    "account": ["Le virement sur {} est refusé.", "They emptied {} overnight."],
    "birthdate": ["Mon dossier : {}, merci de corriger.", "For the form: {}, thanks."],
    "gps": ["On est bloqués ici : {}.", "Pick me up at {}, please."],
    "id": ["J'ai tout perdu : {}, au secours.", "They asked for {} again."],
    "name": ["Hier, {} a tout cassé.", "Then {} said nothing at all."],
    "plate": ["J'ai vu {} partir en trombe.", "I saw {} drive off."],
    "postcode": ["Le livreur ne trouve pas {}.", "Nobody delivers to {}."],
    "address": ["J'habite {} depuis dix ans.", "Livrez au {}, s'il vous plaît.", "Notre nouvelle adresse : {}", "I live at {}, come by!",
                "Please ship it to {}.", "She moved to {} last year."],
    "card": ["Ma carte {} a été débitée deux fois !", "Le paiement par CB {} est refusé.", "My card {} was declined again.", "Charge it to {}, exp 04/29."],
    "crypto": ["Envoyez les fonds sur {} avant ce soir.", "I sent it to {} and nothing came."],
    "email": ["Écrivez-moi à {}, je suis furieux.", "Mon mail : {}", "Reach me at {}.", "Email {} bounced."],
    "handle": ["Suis {} sur Insta, c'est génial.", "Merci {} !", "Shout out to {} for the help", "cc {} please"],
    "iban": ["Virez le remboursement sur {} svp.", "Mon IBAN est {}.", "Wire it to {} today."],
    "ip": ["Mon IP est {}, je suis bloqué.", "Le serveur {} ne répond plus.", "Blocked from {} again", "ping {} times out"],
    "ipv6": ["Mon adresse IPv6 est {}.", "Le routeur annonce {} sans arrêt.", "Cannot reach {} from home."],
    "mac": ["La box a pour adresse MAC {}.", "The adapter {} keeps dropping."],
    "nino": ["Mon numéro britannique est {}.", "My National Insurance number is {}.", "NI no {}, thanks"],
    "nir": ["Mon numéro de sécu est {}.", "NIR {}, née en Corse.", "My French social security number: {}"],
    "phone": ["Appelez-moi au {}, c'est urgent.", "Mon numéro : {}", "Joignable au {} après 18h.", "Call me at {}.", "My cell is {} ok", "Text {} when you arrive"],
    "secret": ["{} ne marche plus.", "I leaked {} by mistake!", "J'ai collé {} dans le ticket, oups.", "it says {} is invalid"],
    "siren": ["Notre SIREN est {}.", "RCS Lyon {}", "Société immatriculée sous le numéro {}.", "The company {} never paid us."],
    "siret": ["Notre SIRET est {}.", "Établissement {} fermé.", "The SIRET is {}, check it."],
    "ssn": ["Mon SSN américain est {}.", "My SSN is {}.", "Social security {} was stolen!"],
    "url": ["Regarde {} tout de suite !", "Le lien {} est mort.", "See {} for details.", "I clicked {} by mistake"],
    "vat": ["TVA intracommunautaire {}.", "N° TVA : {}", "VAT number {} is refused."],
}


def harmless():
    """Returns a sentence without personal data, in most cases with numbers."""
    number = DRAWN.randint
    return pick([
        lambda: f"Rendez-vous le {number(1, 28):02d}/{number(1, 12):02d}/{number(2019, 2027)} à {number(8, 19)}h{number(10, 59)}.",
        lambda: f"The meeting moved to {number(2019, 2027)}-{number(1, 12):02d}-{number(1, 28):02d} {number(10, 20)}:{number(10, 59)}.",
        lambda: f"La commande n° {number(10**7, 10**9)} n'est jamais arrivée.",
        lambda: f"Order #{number(10**9, 10**10)} is late, again.",
        lambda: f"J'ai payé {number(1, 999)} {number(100, 999)},{number(10, 99)} € pour rien.",
        lambda: f"It cost me ${number(1, 99)},{number(100, 999)}.{number(10, 99)}!",
        lambda: f"On a gagné {number(0, 7)}-{number(0, 7)} hier soir, quel match.",
        lambda: f"Version {number(1, 9)}.{number(0, 30)}.{number(0, 30)} crashes on start.",
        lambda: f"Le train de {number(5, 22)}:{number(10, 59)} a {number(2, 90)} minutes de retard.",
        lambda: f"Il y avait {number(1, 99)} {number(100, 999)} {number(100, 999)} personnes, dingue.",
        lambda: f"Ticket {number(10**5, 10**9)} still open after {number(2, 60)} days.",
        lambda: f"{number(1, 99)} % des gens en {number(1950, 2026)} pensaient pareil.",
        lambda: FR.sentence(nb_words=12),
        lambda: EN.sentence(nb_words=12),
    ])()


def line(template, kind, before, value):
    head, tail = template.split("{}")
    head += before
    start = len(head.encode())
    span = {"kind": kind, "start": start, "end": start + len(value.encode())}
    return {"text": head + value + tail, "spans": [span]}


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    for kind, make in KINDS.items():
        for _ in range(count):
            made = make()
            before, value = made if isinstance(made, tuple) else ("", made)
            print(json.dumps(line(pick(ANY + OWN[kind] * 2), kind, before, value), ensure_ascii=False))
    for _ in range(2 * count):
        print(json.dumps({"text": harmless(), "spans": []}, ensure_ascii=False))


if __name__ == "__main__":
    main()
