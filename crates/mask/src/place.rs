//! Finds places without a street: pairs of coordinates, British and Canadian postcodes, places named
//! « lieu-dit », and flats that are written before their town.
//!
//! A British or Canadian postcode stands for a few houses, a French or American one for a town. So
//! only the former count alone.

use super::cue::WordsBefore;
use super::scanner::{Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// Words that name a position, before its coordinates.
const GPS_CUES: &str =
    "gps coord* latitude lat longitude position localisation location point latlng";

/// Words before two decimals that are no place.
const MEASURES: &str = "accuracy score scores loss value values valeur valeurs moyenne mean average price prices cours ratio \
                        rate taux weights poids vecteur vector array tenseur tensor resultat results";

/// Matches a latitude and a longitude: with degrees and points of the compass, or two decimals of four
/// places or more.
pub(super) fn match_gps(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let first = scanner.char_at(pos);
    let before = scanner.char_before(pos);
    let starts = first.is_ascii_digit()
        || first == '-' && scanner.char_at(pos + 1).is_ascii_digit()
        || matches!(first, 'N' | 'S') && matches!(scanner.char_at(pos + 1), ' ' | '0'..='9');
    if !starts || is_word_char(before) || matches!(before, '.' | ',' | '-') {
        return None;
    }
    let latitude = read_coordinate(scanner, pos)?;
    let mut next =
        scanner.scan_at_most(latitude.end, 3, |ch| matches!(ch, ' ' | ',' | ';' | '/' | '\n'));
    let (word, word_end) = scanner.word_at(next);
    // « Latitude 45.764043, longitude 4.835659 »
    if word.is_in("longitude long lon lng et and") {
        next = scanner.scan_at_most(word_end, 3, |ch| matches!(ch, ' ' | ':' | '='));
    }
    let longitude = read_coordinate(scanner, next).filter(|_| next > latitude.end)?;
    let exact = latitude.is_exact() && longitude.is_exact();
    if latitude.degrees > 90
        || longitude.degrees > 180
        || !exact
        || is_word_char(scanner.char_at(longitude.end))
    {
        return None;
    }
    let found = scanner.match_span(PiiKind::Gps, pos, longitude.end)?;
    let words = WordsBefore::read(scanner, pos);
    if let Some(cue) = words.nearest(6, GPS_CUES, MEASURES) {
        return Some(
            found.because("latitude and longitude after a word for a position", Some(cue)),
        );
    }
    if latitude.has_point && longitude.has_point {
        return Some(found.because("latitude and longitude with points of the compass", None));
    }
    // Without a word, one of the two must be larger than most measured values.
    let large = latitude.degrees >= 10 || longitude.degrees >= 10;
    let plain = word_end == next && large && !words.contains(6, MEASURES);
    let ends = !matches!(scanner.char_at(longitude.end), '%' | '€' | '$');
    (plain && ends).then(|| found.because("two decimals in the range of coordinates", None))
}

/// A latitude or a longitude as it is written.
struct Coordinate {
    degrees: u32,
    decimals: usize,
    /// The coordinate has minutes of arc.
    has_minutes: bool,
    /// A point of the compass follows: `N`, `S`, `E`, `W` or `O` (« ouest »).
    has_point: bool,
    end: usize,
}

impl Coordinate {
    /// Returns whether the coordinate tells a place from its neighbours a kilometre away.
    fn is_exact(&self) -> bool {
        self.decimals >= 4 || self.has_point && (self.has_minutes || self.decimals >= 2)
    }
}

/// Reads `48.8566`, `-0.1278°`, `48° 51' 24" N`, `48.8566° N` or `N 48° 51.400`.
fn read_coordinate(scanner: &Scanner<'_>, pos: usize) -> Option<Coordinate> {
    let leads = matches!(scanner.char_at(pos), 'N' | 'S' | 'E' | 'W' | 'O');
    let number = if leads { scanner.scan_at_most(pos + 1, 1, |ch| ch == ' ') } else { pos };
    let from = scanner.scan_at_most(number, 1, |ch| matches!(ch, '-' | '+'));
    let whole = scanner.scan_at_most(from, 4, |ch| ch.is_ascii_digit());
    if whole == from || whole - from > 3 {
        return None;
    }
    let degrees =
        scanner.chars(from, whole).filter_map(|ch| ch.to_digit(10)).fold(0, |n, d| n * 10 + d);
    let (mut end, mut decimals) = (whole, 0);
    if scanner.char_at(whole) == '.' {
        end = scanner.scan_at_most(whole + 1, 16, |ch| ch.is_ascii_digit());
        decimals = end - whole - 1;
    }
    let mut has_minutes = false;
    if scanner.char_at(end) == '°' {
        end += 1;
        for _ in 0..2 {
            let number = scanner.scan_at_most(end, 1, |ch| ch == ' ');
            let to = scanner.scan_at_most(number, 8, |ch| ch.is_ascii_digit() || ch == '.');
            let mark = scanner.scan_at_most(to, 2, |ch| matches!(ch, '\'' | '"' | '′' | '″' | '”'));
            let is_decimal = scanner.chars(number, to).any(|ch| ch == '.');
            if to == number || mark == to && !is_decimal {
                break;
            }
            (end, has_minutes) = (mark, true);
        }
    }
    let point = scanner.scan_at_most(end, 1, |ch| ch == ' ');
    let trails = !leads
        && matches!(scanner.char_at(point), 'N' | 'S' | 'E' | 'W' | 'O')
        && !is_word_char(scanner.char_at(point + 1));
    let end = if trails { point + 1 } else { end };
    Some(Coordinate { degrees, decimals, has_minutes, has_point: leads || trails, end })
}

/// Areas of British postcodes (Royal Mail, Postcode Address File).
const BRITISH_AREAS: &str = "AB AL B BA BB BD BH BL BN BR BS BT CA CB CF CH CM CO CR CT CV CW DA DD DE DG DH DL DN DT DY E EC EH \
     EN EX FK FY G GL GU HA HD HG HP HR HS HU HX IG IP IV JE KA KT KW KY L LA LD LE LL LN LS LU M ME MK ML N NE NG NN NP NR NW \
     OL OX PA PE PH PL PO PR RG RH RM S SA SE SG SK SL SM SN SO SP SR SS ST SW SY TA TD TF TN TQ TR TS TW UB W WA WC WD WF WN \
     WR WS WV YO ZE GY IM";

/// Matches a British postcode, `SW1A 2AA`, or a Canadian one, `K1A 0B1`. Capitals and the space may
/// lack after a word for it.
pub(super) fn match_postcode(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    if !scanner.char_at(pos).is_ascii_alphanumeric() || !scanner.is_word_start(pos) {
        return None;
    }
    if scanner.char_at(pos).is_ascii_digit() {
        return match_long_zip(scanner, pos);
    }
    let end = scanner.scan_at_most(pos, 8, |ch| ch.is_ascii_alphanumeric() || ch == ' ');
    let british = (5..=8).filter(|length| pos + length <= end);
    let british = british.rev().find_map(|length| british_postcode(scanner, pos, pos + length));
    let (to, code) = british.or_else(|| canadian_postcode(scanner, pos))?;
    let is_capital = scanner.chars(pos, to).all(|ch| !ch.is_ascii_lowercase());
    let has_space = scanner.chars(pos, to).any(|ch| ch == ' ');
    let found = scanner.match_span(PiiKind::Postcode, pos, to)?;
    let cue = WordsBefore::read(scanner, pos).nearest(4, "postcode postcodes postal zip cp", "");
    if cue.is_some() {
        return Some(found.because("postcode after a word for it", cue));
    }
    // « MacBook M1 8GB », « M1 2ND »: units and ordinals end like a postcode.
    let short =
        to - pos <= 6 && ["GB", "TB", "HZ", "ND", "RD", "TH", "ST"].contains(&code.as_str());
    (is_capital && has_space && !short).then(|| found.because("form and area of a postcode", None))
}

/// Matches an American code of nine digits, `90210-1234`, which stands for a few houses, after « zip ».
fn match_long_zip(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let to = scanner.scan_at_most(pos, 6, |ch| ch.is_ascii_digit());
    let end = scanner.scan_at_most(to + 1, 5, |ch| ch.is_ascii_digit());
    if to - pos != 5 || scanner.char_at(to) != '-' || end - to != 5 || !scanner.is_word_end(end) {
        return None;
    }
    let cue = WordsBefore::read(scanner, pos).nearest(4, "zip zipcode postal", "")?;
    let found = scanner.match_span(PiiKind::Postcode, pos, end)?;
    Some(found.because("American code of nine digits after a word for it", Some(cue)))
}

/// Returns the end of a British postcode that fills `pos` to `to`, and its last two letters.
fn british_postcode(scanner: &Scanner<'_>, pos: usize, to: usize) -> Option<(usize, String)> {
    let upper = |pos: usize| scanner.char_at(pos).to_ascii_uppercase();
    let inner = |ch: char| ch.is_ascii_uppercase() && !"CIKMOV".contains(ch);
    if !scanner.is_word_end(to)
        || !upper(to - 3).is_ascii_digit()
        || !inner(upper(to - 2))
        || !inner(upper(to - 1))
    {
        return None;
    }
    let outward_end = if scanner.char_at(to - 4) == ' ' { to - 4 } else { to - 3 };
    let outward: String = (pos..outward_end).map(upper).collect();
    let letters = outward.chars().take_while(char::is_ascii_uppercase).count();
    let mut rest = outward.chars().skip(letters);
    let has_digits = rest.next().is_some_and(|ch| ch.is_ascii_digit())
        && rest.next().is_none_or(|ch| ch.is_ascii_alphanumeric())
        && rest.next().is_none();
    let is_known = BRITISH_AREAS.split(' ').any(|area| area == &outward[..letters]);
    (has_digits && is_known).then(|| (to, (to - 2..to).map(upper).collect()))
}

/// Returns the end of a Canadian postcode and its last two characters. The letters D, F, I, O, Q and U
/// are not used (<https://en.wikipedia.org/wiki/Postal_codes_in_Canada>).
fn canadian_postcode(scanner: &Scanner<'_>, pos: usize) -> Option<(usize, String)> {
    let has_space = usize::from(scanner.char_at(pos + 3) == ' ');
    let to = pos + 6 + has_space;
    let code: String =
        scanner.chars(pos, to).filter(|ch| *ch != ' ').map(|ch| ch.to_ascii_uppercase()).collect();
    let fits = code.chars().enumerate().all(|(index, ch)| match index % 2 {
        0 => ch.is_ascii_uppercase() && !"DFIOQU".contains(ch),
        _ => ch.is_ascii_digit(),
    });
    let is_code = fits && code.len() == 6 && !code.starts_with(['W', 'Z']);
    (is_code && scanner.is_word_end(to)).then(|| (to, code[4..].to_owned()))
}

/// Returns the end of the name of a place after `lieu-dit`: words in capitals and the particles
/// between them.
pub(super) fn named_place_end(scanner: &Scanner<'_>, pos: usize) -> Option<usize> {
    let from = ["lieu-dit ", "lieudit ", "lieu dit ", "lieux-dits "]
        .into_iter()
        .find(|name| scanner.starts_with(pos, name))
        .map(|name| pos + name.len())?;
    let (mut at, mut end) =
        (scanner.scan_at_most(from, 2, |ch| matches!(ch, ' ' | '"' | '«')), None);
    for _ in 0..6 {
        let to = scanner.scan_at_most(at, 24, |ch| ch.is_alphabetic());
        let (word, _) = scanner.word_at(at);
        if scanner.char_at(at).is_uppercase() {
            end = Some(to);
        } else if to == at || !word.is_in("le la les l de du des d a au aux sur sous en") {
            break;
        }
        if !matches!(scanner.char_at(to), ' ' | '-' | '\'') {
            break;
        }
        at = to + 1;
    }
    end
}
