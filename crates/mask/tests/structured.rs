//! Forms of personal data as people write them, and look-alikes that are no personal data.
//!
//! Each row of a table is one text and its masked form. A look-alike has the form of a kind, but not
//! the words around it, or the words without the form.

use jeffrey_mask::mask;

/// Masks each text and compares it with the expected one; all rows that differ are reported together.
fn assert_masked(rows: &[(&str, &str)]) {
    let differences: Vec<String> = rows
        .iter()
        .map(|(text, expected)| (text, expected, mask(text)))
        .filter(|(_, expected, masked)| masked.as_str() != **expected)
        .map(|(text, expected, masked)| {
            format!(
                "{text:?}\n  is      {masked:?}\n  expected {expected:?}",
                masked = masked.as_str()
            )
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_date_after_a_word_for_a_birth_is_masked() {
    assert_masked(&[
        ("Je suis né le 12/03/1984 à Brest.", "Je suis né le [BIRTHDATE] à Brest."),
        ("née le 3 septembre 1991", "née le [BIRTHDATE]"),
        ("née à Saint-Étienne le 1er mai 84", "née à Saint-Étienne le [BIRTHDATE]"),
        ("ne le 12 03 1984 a Lille", "ne le [BIRTHDATE] a Lille"),
        ("né(e) le : 12.03.84", "né(e) le : [BIRTHDATE]"),
        ("Date de naissance : 1984-03-12", "Date de naissance : [BIRTHDATE]"),
        ("date de naissance\n12/03/1984", "date de naissance\n[BIRTHDATE]"),
        ("DOB 03/12/84", "DOB [BIRTHDATE]"),
        ("DOB: 12-Mar-1984", "DOB: [BIRTHDATE]"),
        ("D.O.B. 12/03/1984", "D.O.B. [BIRTHDATE]"),
        ("I was born on March 12th, 1984 in Leeds", "I was born on [BIRTHDATE] in Leeds"),
        ("born 12 March 1984", "born [BIRTHDATE]"),
        ("born the 12th of March 1984", "born the [BIRTHDATE]"),
        ("my birthday is 12/03/1984", "my birthday is [BIRTHDATE]"),
        ("je suis du 12/03/1984", "je suis du [BIRTHDATE]"),
        ("date of birth is Sept. 3, 1991", "date of birth is [BIRTHDATE]"),
    ]);
}

#[test]
fn number_plates_are_masked() {
    assert_masked(&[
        ("Plaque AB-123-CD volée", "Plaque [PLATE] volée"),
        ("Une Clio grise, AB-123-CD, m'a percuté", "Une Clio grise, [PLATE], m'a percuté"),
        ("ma plaque c'est ab 123 cd", "ma plaque c'est [PLATE]"),
        ("immatriculée AB123CD", "immatriculée [PLATE]"),
        ("immatriculation 1234 AB 75", "immatriculation [PLATE]"),
        ("my car AB12 CDE was towed", "my car [PLATE] was towed"),
        ("reg AB12CDE", "reg [PLATE]"),
        ("license plate 7ABC123", "license plate [PLATE]"),
        ("plate number ABC-1234", "plate number [PLATE]"),
        ("plate no: KL 07 AB 1234", "plate no: [PLATE]"),
        ("Kennzeichen B-AB 1234", "Kennzeichen [PLATE]"),
        ("the car with plates M-XY 123 left", "the car with plates [PLATE] left"),
    ]);
}

#[test]
fn numbers_of_documents_are_masked_after_the_name_of_the_document() {
    assert_masked(&[
        ("passeport 12AB34567", "passeport [ID]"),
        ("Mon passeport n° 12AB34567 est perdu.", "Mon passeport n° [ID] est perdu."),
        ("passport number 533401372 expired", "passport number [ID] expired"),
        ("my US passport is A12345678", "my US passport is [ID]"),
        ("Passport No:\nC01X00T47", "Passport No:\n[ID]"),
        ("CNI X4RTBPFV4", "CNI [ID]"),
        ("carte d'identité n°880692310285", "carte d'identité n°[ID]"),
        ("national ID 12345678Z", "national ID [ID]"),
        ("my ID card number is L01X00T47", "my ID card number is [ID]"),
        ("titre de séjour 9903012345", "titre de séjour [ID]"),
        ("permis n° 840112345678", "permis n° [ID]"),
        (
            "Mon numéro de permis de conduire est le 13AA00002.",
            "Mon numéro de permis de conduire est le [ID].",
        ),
        ("driving licence MORGA657054SM9IJ", "driving licence [ID]"),
        ("driver's license D1234567", "driver's license [ID]"),
        ("numéro fiscal 30 12 345 678 901", "numéro fiscal [ID]"),
        ("mon n° fiscal : 3012345678901", "mon n° fiscal : [ID]"),
        ("UTR 12345 67890", "UTR [ID]"),
        ("my ITIN is 912-70-1234", "my ITIN is [ID]"),
        ("NHS number 943 476 5919", "NHS number [ID]"),
        ("NHS no. 9434765919", "NHS no. [ID]"),
        ("my SIN is 046 454 286", "my SIN is [ID]"),
        ("social insurance number 046454286", "social insurance number [ID]"),
        ("mon NAS : 046-454-286", "mon NAS : [ID]"),
        ("DL# D1234567", "DL# [ID]"),
        ("NINO QQ123456C", "NINO [NINO]"),
        ("SSN 078051120", "SSN [SSN]"),
        ("SSN#078051120", "SSN#[SSN]"),
        ("my social is 078051120", "my social is [SSN]"),
        ("ss number 078 05 1120", "ss number [SSN]"),
        ("1840276451089", "[NIR]"),
        ("2 84 02 76 451 089", "[NIR]"),
    ]);
}

#[test]
fn bank_accounts_are_masked_as_a_whole() {
    assert_masked(&[
        ("RIB 20041 01005 0500013M026 06", "RIB [ACCOUNT]"),
        ("RIB : 30002 00550 0000157841Z 25", "RIB : [ACCOUNT]"),
        ("20041010050500013M02606", "[ACCOUNT]"),
        ("sort code 20-45-77 account 12345678", "sort code [ACCOUNT] account [ACCOUNT]"),
        ("Sort Code: 204577, Account: 12345678", "Sort Code: [ACCOUNT], Account: [ACCOUNT]"),
        ("pay 20-45-77 12345678 please", "pay [ACCOUNT] please"),
        ("routing 021000021 account 123456789", "routing [ACCOUNT] account [ACCOUNT]"),
        ("my bank account number is 12345678", "my bank account number is [ACCOUNT]"),
        ("compte bancaire 0500013M026", "compte bancaire [ACCOUNT]"),
        ("compte n° 12345678901", "compte n° [ACCOUNT]"),
        ("account number: 00012345, sort: 11-22-33", "account number: [ACCOUNT], sort: [ACCOUNT]"),
    ]);
}

#[test]
fn telephones_are_masked_however_their_digits_are_separated() {
    assert_masked(&[
        ("06,12,34,56,78", "[PHONE]"),
        ("06:12:34:56:78", "[PHONE]"),
        ("06*12*34*56*78", "[PHONE]"),
        ("06|12|34|56|78", "[PHONE]"),
        ("06 / 12 / 34 / 56 / 78", "[PHONE]"),
        ("06_12_34_56_78", "[PHONE]"),
        ("06~12~34~56~78 merci", "[PHONE] merci"),
        ("06..12..34..56..78", "[PHONE]"),
        ("o6 12 34 56 78", "[PHONE]"),
        ("O612345678", "[PHONE]"),
        ("06 12 34 56 7\n8", "[PHONE]"),
        ("0612\n345678", "[PHONE]"),
        ("mon tel 6 12 34 56 78", "mon tel [PHONE]"),
        ("mon numéro c'est 6.12.34.56.78", "mon numéro c'est [PHONE]"),
        ("6 12 34 56 78", "[PHONE]"),
        ("06 douze 34 56 78", "[PHONE]"),
        ("zéro six douze trente-quatre cinquante-six soixante-dix-huit", "[PHONE]"),
        (
            "appelle au zero sept quatre-vingt-dix-huit vingt et un zero cinq quatre-vingts.",
            "appelle au [PHONE].",
        ),
        ("oh seven seven double zero nine double zero one two three", "[PHONE]"),
        ("call five five five two three four five six seven eight", "call [PHONE]"),
        ("my number is 138 0013 8000", "my number is [PHONE]"),
        ("her number is 050-123-4567", "her number is [PHONE]"),
        ("my cell: five five five, one two three, four five six seven", "my cell: [PHONE]"),
    ]);
}

#[test]
fn unfinished_addresses_and_user_names_of_networks_are_masked() {
    assert_masked(&[
        ("jeanne.dupont@gmail", "[EMAIL]"),
        ("écris à jeanne.dupont@gmail, merci", "écris à [EMAIL], merci"),
        ("jeanne.dupont@gmail,com", "[EMAIL]"),
        ("jeanne@exemple,fr svp", "[EMAIL] svp"),
        ("jeanne at gmail com", "[NAME] at gmail com"),
        ("jeanne.dupont chez gmail point com", "[EMAIL]"),
        ("tom chez hotmail.fr", "[EMAIL]"),
        ("bob.smith at gmail", "[EMAIL]"),
        ("bob.smith@hotmail.c0m", "[EMAIL]"),
        ("insta jeanne_d75", "insta [HANDLE]"),
        ("mon insta c'est lea.mrt", "mon insta c'est [HANDLE]"),
        ("discord jeanne#1234", "discord [HANDLE]"),
        ("add me on snap: tomtom99", "add me on snap: [HANDLE]"),
        ("my twitter is tom_h", "my twitter is [HANDLE]"),
        ("pseudo : DarkKev_59", "pseudo : [HANDLE]"),
        ("mon IP est 192.168.1.1.1.", "mon IP est [IP]."),
    ]);
}

#[test]
fn codes_that_open_something_are_masked() {
    assert_masked(&[
        ("code SMS 482913", "code SMS [SECRET]"),
        ("digicode 45B12", "digicode [SECRET]"),
        ("le digicode est 1234A", "le digicode est [SECRET]"),
        ("code de la porte : 4521", "code de la porte : [SECRET]"),
        ("code portail 7890#", "code portail [SECRET]"),
        ("the gate code is 4521", "the gate code is [SECRET]"),
        ("door code 4521*", "door code [SECRET]"),
        ("verification code 482-913", "verification code [SECRET]"),
        ("your code is 482913", "your code is [SECRET]"),
        ("Votre code : 482913", "Votre code : [SECRET]"),
        ("482913 is your Google code", "[SECRET] is your Google code"),
        ("482913 est votre code de connexion", "[SECRET] est votre code de connexion"),
        ("code PIN 4821", "code PIN [SECRET]"),
        ("One-time code 00912", "One-time code [SECRET]"),
    ]);
}

#[test]
fn places_without_a_street_are_masked() {
    assert_masked(&[
        ("bât C, appt 23, 93200 Saint-Denis", "[ADDRESS]"),
        ("bat C, appt 23", "[ADDRESS]"),
        ("lieu-dit Le Bourg, 24200 Sarlat", "[ADDRESS]"),
        ("au lieu-dit Les Quatre Vents", "au [ADDRESS]"),
        ("SW1A 2AA", "[POSTCODE]"),
        ("I live in M1 1AE now", "I live in [POSTCODE] now"),
        ("postcode sw1a2aa", "postcode [POSTCODE]"),
        ("K1A 0B1", "[POSTCODE]"),
        ("postal code h2x1y4", "postal code [POSTCODE]"),
        ("48.85661, 2.35222", "[GPS]"),
        ("GPS 48.8566 2.3522", "GPS [GPS]"),
        ("51.5074, -0.1278", "[GPS]"),
        ("Latitude 45.764043, longitude 4.835659.", "Latitude [GPS]."),
        ("48°51'24\"N 2°21'03\"E", "[GPS]"),
        ("48.8566° N, 2.3522° E", "[GPS]"),
        ("N 48° 51.400 E 2° 21.050", "[GPS]"),
        ("our zip is 90210-1234", "our zip is [POSTCODE]"),
    ]);
}

#[test]
fn look_alikes_stay() {
    let texts = [
        // Dates that are no dates of birth.
        "Je ne viens pas avant le 12/03/2024",
        "On ne sait rien depuis le 12 mars 1984",
        "the party is on 12/03/2024",
        "her birthday party is on 12/06/2025",
        "morte le 12 mars 1984",
        "born in 1984",
        "Born on 02/29, poor thing.",
        // Plates.
        "une plaque de plâtre BA13",
        "plaque chauffante 2000W",
        "modèle AB-123-CD",
        "réf. AB-123-CD épuisée",
        "the car did 120000 miles",
        "voiture 12, place 87",
        "vol AF1234",
        // Documents.
        "my passport expires 12/03/2028",
        "passeport valable jusqu'au 2028-03-12",
        "mon passeport, appelez-moi",
        "permis de construire 07512324 00001",
        "MIT license 2024",
        "license key 2024",
        "carte d'identité périmée depuis 2019",
        "impôts 2024 : 1 234 567 €",
        "la fiscalité de 2023 et 2024",
        "NHS waiting list 7 500 000 people",
        "the sin of 2024",
        "1700000000000",
        "commande 1840276451089",
        // Accounts.
        "My account was closed on 12-03-24",
        "the score was 20-45-77",
        "sort the code by 10-20-30 groups",
        "My account was charged 45.99",
        "Le compte à rebours est à 120.",
        "an account of 12345678 people",
        // Telephones.
        "loto : 06,12,23,34,45",
        "01,02,03,04,05",
        "one two three four five six seven eight nine ten",
        "un deux trois quatre cinq six sept huit neuf dix",
        "le 6 12 34 56 78 au loto",
        "zéro faute, six points, douze élèves",
        "the order number is 4012345678",
        "06:12:34",
    ];
    assert_masked(&texts.map(|text| (text, text)));
}

#[test]
fn words_for_networks_codes_and_places_without_a_value_stay() {
    let texts = [
        // Networks and mail.
        "insta est en panne",
        "Instagram 2024 update",
        "twitter is down again",
        "discord server v2",
        "chez Gmail tout va bien",
        "chez moi point final",
        "see you @home",
        // Codes.
        "code erreur 4521",
        "code postal 59000",
        "code promo SUMMER20",
        "error code 482913",
        "the dress code is 1920s",
        "le code de la route 2024",
        "Le code est 4-8-2, pas 4-8-3.",
        "your zip code is 90210",
        "The security code of conduct has 1200 pages.",
        "OTP is the 2024 trend.",
        "Access code of ethics 2023",
        "my pin cushion has 1200 needles",
        "I looked at gmail",
        // Places.
        "bâtiment C",
        "appt 23",
        "un lieu-dit charmant",
        "MacBook M1 8GB",
        "un SSD de 1TB",
        "I'm from SW1 and love it.",
        "75011 Paris",
        "accuracy 91.2345, 92.3456",
        "0.1234, 0.5678",
        "x = 3.14159265 environ",
        "12.5, 13.5",
    ];
    assert_masked(&texts.map(|text| (text, text)));
}
