//! Tests of all recognisers together.
//!
//! Tables give one text and its masked form; properties check that masking twice changes nothing
//! and that ranges fit the text.

use proptest::prelude::*;

use super::*;

fn mask_to_string(text: &str) -> String {
    mask(text).to_string()
}

#[test]
fn each_kind_is_found() {
    for (text, expected) in [
        ("à jean.dupont@ex.fr.", "à [EMAIL]."),
        ("jean point dupont arobase ex point fr, merci", "[EMAIL], merci"),
        ("john at gmail dot com", "[EMAIL]"),
        ("jean [at] gmail.com", "[EMAIL]"),
        ("jean%40gmail%2Ecom", "[EMAIL]"),
        ("voir https://a:b@ex.org/x?y=z#f (oui)", "voir [URL] (oui)"),
        ("voir (http://ex.org/a_(b)).", "voir ([URL])."),
        ("www.ex.org, ex.com/a", "[URL], [URL]"),
        ("06 12 34 56 78, 0612345678", "[PHONE], [PHONE]"),
        ("+33 (0)6 12 34 56 78!", "[PHONE]!"),
        ("0033612345678 (555) 234-5678", "[PHONE] [PHONE]"),
        ("+44 20 7946 0958, 020 7946 0958", "[PHONE], [PHONE]"),
        ("06 12\n34 56 78", "[PHONE]"),
        ("192.168.1.254:80", "[IP]:80"),
        ("fe80::1 2001:db8:0:0:1:2:3:4", "[IPV6] [IPV6]"),
        ("00:1A:2b:3c:4d:5e 001a.2b3c.4d5e", "[MAC] [MAC]"),
        ("4111 1111 1111 1111 et 378282246310005", "[CARD] et [CARD]"),
        ("FR76 3000 6000 0112 3456 7890 189 merci", "[IBAN] merci"),
        ("078-05-1120", "[SSN]"),
        ("AB 12 34 56 C, ab123456c", "[NINO], [NINO]"),
        ("2 55 08 14 168 025 38", "[NIR]"),
        ("732 829 320, 732 829 320 00074", "[SIREN], [SIRET]"),
        ("FR 40 303 265 045", "[VAT]"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "[CRYPTO]"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "[CRYPTO]"),
        ("0x52908400098527886E0F7030069857D2E4169EE7", "[CRYPTO]"),
        ("password=hunter22, ok", "password=[SECRET], ok"),
        ("mon mot de passe est soleil42.", "mon mot de passe est [SECRET]."),
        ("AKIAIOSFODNN7EXAMPLE", "[SECRET]"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "[SECRET]"),
        ("merci @jeanne_d !", "merci [HANDLE] !"),
        ("12 bis, rue de la Paix, 75002 Paris.", "[ADDRESS]."),
        ("au 12 rue de la paix", "au [ADDRESS]"),
        ("at 742 Evergreen Terrace, Springfield, IL 62704", "at [ADDRESS]"),
        ("10 Downing Street, London SW1A 2AA", "[ADDRESS]"),
    ] {
        assert_eq!(mask_to_string(text), expected, "{text}");
    }
}

#[test]
fn what_stands_beside_it_does_not_hide_it() {
    for (text, expected) in [
        ("06 51 20 84 17 07 62 31 95 48", "[PHONE] [PHONE]"),
        ("06 51 20 84 17 42 ans", "[PHONE] 42 ans"),
        ("rappel 06 51 20 84 17 17h30", "rappel [PHONE] 17h30"),
        ("06 51 20 84 17 69003 Lyon", "[PHONE] 69003 Lyon"),
        ("0651208417/0762319548", "[PHONE]/[PHONE]"),
        ("Merci pour ma commande, 0651208417", "Merci pour ma commande, [PHONE]"),
        ("La facture est payée. 0651208417", "La facture est payée. [PHONE]"),
        ("commande 0651208417", "commande 0651208417"),
        ("réf. 0651208417", "réf. 0651208417"),
        ("2 55 08 14 168 025 clé 38", "[NIR]"),
        ("2 55 08 14 168 025 (38)", "[NIR])"),
        ("2 55 08 14 168 025", "[NIR]"),
        ("mdp Sapin!42", "mdp [SECRET]"),
        ("mot de passe → Sapin!42", "mot de passe → [SECRET]"),
        ("code PIN : 7315, svp", "code PIN : [SECRET], svp"),
        ("ma carte 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "ma carte [CARD]"),
        ("9 rue des 5 Diamants 75013 Paris", "[ADDRESS]"),
        ("5 rue Foch, 97170 Petit-à-Bourg", "[ADDRESS]"),
        ("ecris a lea.roy at free.fr", "ecris a [EMAIL]"),
        ("wa.me/33651208417 ou t.me/lea_roy", "[URL] ou [URL]"),
    ] {
        assert_eq!(mask_to_string(text), expected, "{text}");
    }
}

#[test]
fn what_is_nobody_s_stays() {
    for text in [
        "le 12/03/2024 à 14h30, 2024-03-12T14:30:00Z, 12.03.2024",
        "commande 123456782, order 4012345678",
        "1 234 567,89 €, $1,234.56, 12 345 678 euros",
        "version 1.2.3.4, v2.0.1, node.js, e.g. this, i.e. that, ASP.NET",
        "3-2, 10:45:12, 16:9, 1/2, 50 %",
        "std::fs::File, a::b, @Override, @media (x), npm i @angular/core@17.0.1",
        "see you @ 5pm, 3 @ $4.00",
        "ISBN 978-2-07-036822-8",
        "550e8400-e29b-41d4-a716-446655440000",
        "75011 Paris",
        "my password is wrong, mot de passe incorrect",
        "3 places libres, 2 cours de maths, 5 minutes",
        "la 3e avenue, 2 rue bloquée, 3 allées de fleurs, 2 impasses",
        "24 Hour Drive, 2 Lane Road, 360 Street View, 5 Star Street",
        "11 12 13 14 15 16, 01 02 03 04 05 06 07",
    ] {
        assert_eq!(mask_to_string(text), text);
    }
}

#[test]
fn a_preview_has_fifty_characters_and_whole_placeholders() {
    let placeholder = "[EMAIL]";
    for chars_before in 0..60 {
        let text = format!("{} a@ex.fr {}", "é".repeat(chars_before), "è".repeat(60));
        let masked = mask(&text);
        let preview = masked.preview();
        let count = preview.as_str().chars().count();
        assert!(count <= 50 && masked.as_str().starts_with(preview.as_str()));
        let whole = chars_before + 1 + placeholder.len() <= 50;
        assert_eq!(preview.as_str().contains(placeholder), whole, "{chars_before}");
        assert_eq!(preview.as_str().contains('['), whole, "{chars_before}");
        assert_eq!(count, if whole || chars_before >= 49 { 50 } else { chars_before + 1 });
    }
}

/// Generates texts from pieces that recognisers look for, in any order.
fn any_pieces() -> impl Strategy<Value = String> {
    let pieces = [
        "06",
        "12",
        "0612345678",
        "+33",
        "4111 1111 1111 1111",
        " ",
        "-",
        ".",
        "\n",
        "@",
        "a",
        "jean",
        "ex.fr",
        "://",
        "http",
        "www.",
        "[EMAIL]",
        "[",
        "]",
        "arobase",
        "point",
        "at",
        "dot",
        "rue",
        "de",
        "Paris",
        "75011",
        "FR76",
        "::",
        "fe80",
        "1",
        "0",
        "é",
        "\u{301}",
        "\u{200b}",
        "０",
        "%40",
        "%",
        "&#64;",
        "(",
        ")",
        "password",
        "=",
        "x",
        "Street",
        "Main",
        "🙂",
        "\u{10ffff}",
        "2A",
        "AB",
        "C",
        "\u{a0}",
        ",",
        "/",
        "\"",
        "sk_live_",
        "7f3A9c",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40)
        .prop_map(|pieces| pieces.concat())
}

fn assert_mask_laws(text: &str) {
    let (masked, spans) = mask_with_spans(text);
    assert_eq!(mask(masked.as_str()), masked, "{text:?}");
    let mut last = 0;
    for span in &spans {
        assert!(span.start >= last && span.end > span.start, "{text:?} {span:?}");
        assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
        last = span.end;
    }
    let mut expected = masked.as_str();
    for PiiSpan { kind, .. } in &spans {
        let index = expected.find(kind.placeholder()).expect("a placeholder for each");
        expected = &expected[index + 1..];
    }
    let preview = masked.preview();
    assert!(preview.as_str().chars().count() <= MaskedText::PREVIEW_CHARS_MAX);
    assert!(masked.as_str().starts_with(preview.as_str()));
}

#[test]
fn a_preview_shows_no_half_of_what_was_not_read_to_its_end() {
    let long = "x".repeat(3_000);
    let link = format!("https://shop.example/{}", "a".repeat(900));
    for text in [
        format!("{link} {} write to jean.dupont@example.org", "b".repeat(60)),
        format!("{link} call 06 12 34 {} 56 78", " ".repeat(70)),
        format!("eyJ{long}.eyJ{long}.{long}"),
        format!("Hello {long}"),
        format!("{long} jean.dupont@example.org"),
        // A placeholder that stood in the text, across the end of what is shown.
        format!(
            "{}[EMAIL]arobase [EMAIL] passwordMainpoint1[EMAIL]4111 1111 1111 1111{}",
            "0a".repeat(361),
            "0a".repeat(300)
        ),
    ] {
        let (whole, preview) = (mask(&text).preview(), mask_preview(&text));
        assert!(whole.as_str().starts_with(preview.as_str()), "{preview} of {whole}");
    }
    let text = format!("Write to jean.dupont@example.org, please. {}", "Thank you! ".repeat(6_000));
    assert_eq!(mask_preview(&text), mask(&text).preview(), "the beginning is all that matters");
    assert_eq!(mask_preview("Call 06 12 34 56 78").as_str(), "Call [PHONE]");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masking_twice_is_masking_once(text in any_pieces()) {
        assert_mask_laws(&text);
    }

    /// A preview of a long text is the beginning of the preview of the whole.
    #[test]
    fn a_preview_of_a_long_text_shows_nothing_that_the_mask_hides(
        text in any_pieces(), fill in "[a-z0-9@. +]{1,6}", length in 0_usize..1_300,
    ) {
        let text = format!("{}{text}{}", fill.repeat(length / fill.len()), fill.repeat(300));
        let (whole, preview) = (mask(&text).preview(), mask_preview(&text));
        prop_assert!(whole.as_str().starts_with(preview.as_str()), "{preview} of {whole}");
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        assert_mask_laws(&text);
    }

    #[test]
    fn nothing_of_an_address_is_left(
        before in "[a-zé ]{0,20} ", local in "[a-z]{3,8}[.][a-z]{3,8}", host in "[a-z]{3,9}", number in "[1-9] [0-9]{2} [0-9]{2} [0-9]{2} [0-9]{2}",
    ) {
        let text = format!("{before}{local}@{host}.fr puis 0{number}.");
        let masked = mask(&text);
        prop_assert!(!masked.as_str().contains(&local) && !masked.as_str().contains(&number), "{}", masked);
    }
}

/// Returns how many characters the recognisers read while they mask `text`.
fn chars_read(text: &str) -> u64 {
    scanner::CHARS_READ.with(|read| read.set(0));
    mask(text);
    scanner::CHARS_READ.with(std::cell::Cell::get)
}

#[test]
fn eight_times_the_text_is_eight_times_the_reading() {
    for piece in [
        "a",
        "1",
        "0 6 ",
        "né le ",
        "code ",
        "Jean ",
        "J.",
        "Jean-",
        "de ",
        "zéro ",
        "quatre-vingt-",
        "12,",
        "A1 ",
        "AB-",
        "48.8566, ",
        "M. ",
        "@",
        "x_",
        "bât C, ",
        "lieu-dit ",
        "c'est léa ",
        "my name is ",
        "20041 ",
        "\n",
        "06*",
        "a.",
        "-",
        "::",
        "eyJ",
        "http://",
        "=",
        "Dear Léa, 06 12 34 56 78 ",
    ] {
        let length = 1_500 / piece.len();
        let (short, long) =
            (chars_read(&piece.repeat(length)), chars_read(&piece.repeat(8 * length)));
        assert!(long <= 9 * short, "{piece:?}: {short} and {long}");
    }
}
