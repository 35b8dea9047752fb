"""Builds names.bin, the first names and surnames that the mask knows.

    build.py EN.dic FR.dic EN.json FR.json > names.bin

Sources: the person providers of Faker (MIT License). The Hunspell dictionaries of the npm packages
dictionary-en 4.0.0 (MIT and BSD) and dictionary-fr 3.0.0 (MPL 2.0), and the lists of all forms of words of
an-array-of-english-words 2.0.0 and an-array-of-french-words 2.0.0 (MIT), only tell which names are also words.
The same versions give the same bytes. NOTICE at the root of the repository names the sources.

Names are folded to a-z and cut at spaces, hyphens and apostrophes. `names.bin` is a list of them in
alphabetical order, in blocks of 32, front-coded: a byte with the number of letters shared with the name
before (0 at the start of a block), bit 6 for a surname and bit 7 for a name that is no form of any word; then
the other letters as 1 to 26. The last letter of a name has bit 7
set, and its class in bits 5 and 6. The file begins with the number of blocks and the offset of each, as
16 bits, least significant first.
"""

import importlib
import json
import re
import struct
import sys
import unicodedata

import faker.providers.person as person

FIRST_NAMES = """fr_FR fr_BE fr_CA fr_CH fr_DZ en en_GB en_US en_IE en_IN en_KE en_NG en_NZ en_PK es_ES es_MX es_CO es_AR
pt_BR pt_PT it_IT de_DE de_AT nl_NL nl_BE tr_TR pl_PL ro_RO cs_CZ sv_SE da_DK no_NO fi_FI id_ID ha_NG ig_NG yo_NG zu_ZA
sw tw_GH hr_HR vi_VN ja_JP""".split()
SURNAMES = """fr_FR fr_BE fr_CA fr_CH fr_DZ en_GB en_US en_IN en_KE en_NG en_PK es_ES es_MX pt_BR pt_PT it_IT de_DE
nl_NL id_ID tr_TR ha_NG ig_NG yo_NG tw_GH pl_PL ro_RO cs_CZ sv_SE da_DK no_NO vi_VN hu_HU ja_JP""".split()

# A surname; a first name; a first name that is also a word; one that is also a place, a month or a brand.
SURNAME, FIRST, WORD, PLACE = range(4)

# Names that dictionaries list as words too, although almost everybody means a person by them.
RATHER_NAMES = """christine stella abbey abel adele agathe alan albert alexandra alexandre alix amandine ana andre andrew anne annie antoine aurore
aurelie auguste augustin baptiste barney ben benjamin benoit bernard bette bob bobby bradley brad brandon brigitte
caroline catherine cecile celeste charles charlie charlotte chris christophe clarisse claude clemence clement clementine
colin colleen cyril dan daniel danny david devin denis diane dick dolly donald donna doug douglas ed eddy edgar edmond
emilie eric ernest esther etienne eugene eugenie eve fabien fanny felicity felix fernand florian florentin francois frances
fred frederic frederique fritz gabriel gaston george georges gerard germaine gilles gillie gloria graham greg gregory guillaume
gus gustave hank harry hector helene henri henry herbert herve hugo hugues isabelle isidore jack jackie jacqueline jacques
james jane janet janine jasmine jean jeanne jeannette jeff jenny jeremie jeremy jerome jerry jessica jim jimmy joe joel joey
johanna john johnny jonathan joseph josephine josh joshua jules julia julie julien juliette justine karen karim ken kenneth
kevin kim laetitia laura laure laurence laurent lea leo leon leonard leonie lester lewis lily linda lionel lisa lisette
liz loris louis louise lucas lucie lucien ludovic luke lydia madeleine maggie maya marc marcel marcelle margaret marguerite
maria marianne marie marion martha marthe martial martin martine mathieu mathilde matt matthew matthieu maud maurice maxime
maxim meg melanie michael michel michele micheline mickey mike molly monica monique moussa nadine nancy natalie nathalie
nathan ned nelson nicholas nick nicolas nicole nina noemie nora odette odile oceane olivier oliver otto pamela pascal pascale
pat patrice patricia patrick patty paul paula paulette pauline pedro peggy percy perrine peter phil philip philippe pol polly
rachel ralph ramon raoul raymond rebecca regine rene renee richard rick rob robert roberta roger roland romain roman rosalie
ronald roy ruth sally sam samantha samuel sandra sandrine sandy sarah sebastien serge sheila sherry simon simone sophie stan
steve steven suzanne suzie sylvain sylvie sylvia ted teddy terence terry thelma theo theodore theresa thierry thomas tim
timothy tina toby tom tommy tony tristan valentin valerie vanessa veronica veronique vicky victor vincent virginie walter
wally wendy wilfried william willy xavier yann yannick yvan yvette yvonne zoe""".split()

# Names above that are words in small letters all the same, and others that are none although a dictionary has them.
SMALL_WORDS = """teddy martial clementine madeleine marguerite dolly jasmine lily serge roman romain aurore sally josh stan jack nick pat
dick harry rob bob ed eddy jean pol dan liz meg sandy sherry regine diane constance tony toby robin frances george gloria adele marie peter louis
clement colin olivier valentin charlotte marcel celeste abbey felicity vera rosa brent marina alma stella maxim matt""".split()
SMALL_NAMES = """emma brandon mary anna sean kyle tyler jake logan noah sharon jill judy alison rory tara bonnie jessie alec lena carmen malik
tiffany juliet isabel zack erica kara cory amelia kylie joanna isabella amir abigail tammy lizzie matilda elise millie aida nelly moira nellie
ollie felicia ramona minnie hamza erick hakim carina mollie gracie dominick eugenia debby alexia marina lydia sofia alma vera rosa betty gilbert
kelly craig riley shawn clarence brock ronnie corey brent jess neal""".split()

# Names of places, brands, months and works that are also first names, and first names that are also common words
# in capitals.
RATHER_PLACES = """reno angeles arlington adelaide alexandrie apollo bedford caesar cleveland columbus dijon dow francisco hampton harley
hilton hong isis kobe liban malte nile oran regina salvador santa trinidad aimee amie blanche cherie honore mette
philippine reed abu africa afrique alabama alexa alexandria alger algeria allemagne alsace amazon america amerique
andorra anglia apple arabia aragon argentina arizona asia asie athena athens atlanta austin australia bali barcelona
belfast berlin bordeaux boston brasil bretagne brest brighton bristol britain britannia brittany brooklyn cairo
california cambridge canada carolina catalina chad charleston chelsea chicago china chine christ colombia columbia
congo constantine cordoba corsica cortana cuba cyprus dakota dallas delhi denver diesel dior disney dublin dubai
edimbourg egypt easter england erin essex ethiopia europa europe facebook flandre florence florida france francia
geneva geneve genoa georgia germany ghana gibraltar google granada greece grenoble havana hawaii helsinki hermes
holland hollande houston hungary india indiana inde ireland islam israel italia italy jackson jakarta jamaica java
jersey jerusalem jordan juneau kansas kent kentucky kenya kingston korea lancaster lebanon leeds lexus lima limoges
lincoln lisbon london londres lorraine louisiana lourdes louvre lyon mali madrid malaysia manchester marseille
maryland mecca melbourne memphis mercedes mexico miami michigan milan milano milton minecraft missouri monaco montana
montreal morocco moscou moscow nairobi nancy nantes naples nevada newton nigeria nice nike nokia normandie normandy
norway oracle oregon orlando orleans oslo ottawa oxford palestine panama paris pari persia peru philadelphia phoenix
poland porsche portland porto prague preston princeton provence qatar quebec raleigh ramadan reims rennes richmond
roma rome russia sahara salem samsung santiago savannah scotland senegal seoul seville shanghai sicily siena singapore
siri sofia somalia spain stanford strasbourg stuttgart surrey sydney syria tahiti taiwan tennessee tesla texas toledo
tokyo toronto toulon toulouse tours trinity troy tunis turin turkey uganda ukraine utah valencia valentino vegas
venezia venice venus vermont verona versailles victoria vienna vietnam virginia wales washington wellington windsor
winnipeg winston wyoming york zambia zara zurich january february march april june july august september october
november december janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre monday tuesday
wednesday thursday friday saturday sunday lundi mardi mercredi jeudi vendredi samedi dimanche oscar mario zelda noel
bible koran allah messi messiah lord king queen prince princess duke knight major general doctor baby boss sir lady
madame mister miss master mr mrs sun moon sky star earth world god dieu life may van blue red""".split()

# Words that no text needs as names; they would be found in every sentence.
NEVER = """ii iii iv vi vii viii ix xi xii saint santa chus jai doc miss hai per german del von nan ira emis imo che ing ty alla nam tord dee lu el dev muni lan chante le les la par an tu elle son over us said te love come little vu cas mal ville ta ever lot case aime side job line less
general true early friend else among ah media us my her his she he it is are you we they the and not but so to of in on at an
one two ti ne sa se si de du da do don des un une et ou on ma mes au aux il ils en y ce ces cet ca man red reason
age north west south east art chance summer avis press peace add cher link sister judge author brain
unique spring cash clair carry maire sad stone vide maman mad roll tea till road street please thanks merci
bonjour hello hi hey dear you your me new this that what who yes no ok can did get had has have how its let not now off old
our out own put say see too two use was way why with sans pour sur dans avec mais plus tout tous bien non oui va vas vais fait""".split()


def fold(name):
    pairs = {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ı": "i", "ð": "d", "þ": "th"}
    small = "".join(pairs.get(sign, sign) for sign in name.lower())
    return unicodedata.normalize("NFD", small).encode("ascii", "ignore").decode()


def names_of(locales, kind):
    """Returns the folded parts of all names of a kind (`first_name`, `last_name`) in these locales."""
    found = set()
    for locale in locales:
        provider = importlib.import_module(f"{person.__name__}.{locale}").Provider
        for attribute in dir(provider):
            values = getattr(provider, attribute)
            romanized = attribute.startswith(kind.replace("name", "romanized"))
            if not (attribute.startswith(kind) or romanized) or not isinstance(values, (tuple, list, dict)):
                continue
            for value in values:
                parts = re.split(r"[ '’-]", fold(value)) if isinstance(value, str) else []
                found |= {part for part in parts if re.fullmatch("[a-z]{2,15}", part)}
    return found


def words_of(path):
    """Returns the words of a Hunspell dictionary that are written in small letters."""
    with open(path, encoding="utf-8") as lines:
        words = {re.split(r"[/\t]", line)[0].strip() for line in lines}
    return {fold(word) for word in words if word.islower()}


# First names that dictionaries do not list, or list only as names, and that are words in capitals too.
RATHER_WORDS = "ravi victoire pascal christian max rich rob drew chase grant art".split()


def class_of(name, first, words):
    if name not in first:
        return SURNAME
    if name in RATHER_PLACES:
        return PLACE
    # Plurals and French feminines are not in the dictionaries: « claire », « victoires ».
    is_word = name in RATHER_WORDS or name in words or name[-1] in "se" and name[:-1] in words
    return WORD if is_word and name not in RATHER_NAMES else FIRST


def is_no_word(name, forms):
    """Returns whether a name in small letters can be nothing else."""
    rather = name in RATHER_NAMES and name not in SMALL_WORDS or name in SMALL_NAMES
    return rather or name not in forms and name not in SMALL_WORDS


def encode(names, surnames, forms):
    blocks = []
    before = ""
    for index, (name, kind) in enumerate(names):
        if index % 32 == 0:
            blocks.append(bytearray())
            before = ""
        shared = 0
        while shared < min(len(name) - 1, len(before)) and name[shared] == before[shared]:
            shared += 1
        letters = [ord(letter) - 96 for letter in name[shared:]]
        letters[-1] |= 0x80 | kind << 5
        blocks[-1] += bytes([shared | (name in surnames) << 6 | is_no_word(name, forms) << 7, *letters])
        before = name
    # Half the offset fits in 16 bits, so each block is filled up to an even length.
    for block in blocks:
        if len(block) % 2:
            block.append(0xFF)
    offset, offsets = 0, []
    for block in blocks:
        offsets.append(offset // 2)
        offset += len(block)
    return struct.pack(f"<{1 + len(offsets)}H", len(offsets), *offsets) + b"".join(blocks)


def main():
    first, surnames = names_of(FIRST_NAMES, "first_name"), names_of(SURNAMES, "last_name")
    words = set().union(*(words_of(path) for path in sys.argv[1:3]))
    forms = set(words)
    for path in sys.argv[3:]:
        with open(path, encoding="utf-8") as file:
            forms |= {fold(word) for word in json.load(file)}
    names = sorted((first | surnames) - set(NEVER))
    classes = [(name, class_of(name, first, words)) for name in names]
    sys.stdout.buffer.write(encode(classes, surnames, forms))


if __name__ == "__main__":
    main()
