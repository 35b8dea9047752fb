"""Prints the findings of presidio-analyzer's pattern recognisers, run without a language model.

Input: texts as JSON strings, one per line. Output: for each text, a list of {"kind", "start", "end"}
with this project's names of the kinds, and positions in bytes of UTF-8. Exits with 3 if presidio is
not installed.
"""

import json
import logging
import sys

try:
    from presidio_analyzer import predefined_recognizers as made
except ImportError:
    sys.exit(3)

logging.disable(logging.CRITICAL)

KINDS = {
    "CREDIT_CARD": "card", "CRYPTO": "crypto", "EMAIL_ADDRESS": "email", "IBAN_CODE": "iban", "IP_ADDRESS": "ip",
    "MAC_ADDRESS": "mac", "PHONE_NUMBER": "phone", "UK_NINO": "nino", "URL": "url", "US_SSN": "ssn",
}
NAMES = [
    "CreditCardRecognizer", "CryptoRecognizer", "EmailRecognizer", "IbanRecognizer", "IpRecognizer", "MacAddressRecognizer",
    "UkNinoRecognizer", "UrlRecognizer", "UsSsnRecognizer",
]
# Every recogniser reads every text, like `jeffrey mask`. The phone recogniser gets the countries that
# this project claims to support.
recognizers = [getattr(made, name)() for name in NAMES if hasattr(made, name)]
recognizers.append(made.PhoneRecognizer(supported_regions=("FR", "US", "GB")))

for line in sys.stdin:
    text = json.loads(line)
    place = [0]
    for sign in text:
        place.append(place[-1] + len(sign.encode()))
    found = []
    for recognizer in recognizers:
        entities = list(recognizer.supported_entities)
        for result in recognizer.analyze(text, entities, None) or []:
            kind = KINDS.get(result.entity_type)
            if kind == "ip" and ":" in text[result.start : result.end]:
                kind = "ipv6"
            if kind:
                found.append({"kind": kind, "start": place[result.start], "end": place[result.end]})
    print(json.dumps(found))
