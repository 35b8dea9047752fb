//! Numbers that were given to somebody: telephones, cards, accounts, social security, companies.
//!
//! A run of digits is read with what stands between them; each rule says which lengths, groups and
//! check it needs. Where a number without a check could be an order as well, the words before it
//! decide, the nearest one first.

use super::checks::{french_vat, iban, iban_length, luhn, nir, nir_shape, siret};
use super::seen::{Seen, is_word};
use super::{Kind, Match};

/// Digits that are read at most: an IBAN's have letters and are read elsewhere.
const DIGITS_MAX: usize = 24;

/// What stands between two digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// Nothing.
    None,
    /// One blank, or several.
    Blank,
    Break,
    Dash,
    Dot,
    Paren,
    Slash,
    /// Punctuation and a blank: two numbers, unless one is cut by a line.
    Wide,
}

/// Digits with what stands before each and where each ends.
struct Run {
    digits: [u8; DIGITS_MAX],
    gaps: [Gap; DIGITS_MAX],
    ends: [usize; DIGITS_MAX],
    length: usize,
}

impl Run {
    fn read(seen: &Seen<'_>, from: usize) -> Self {
        let mut run = Self {
            digits: [0; DIGITS_MAX],
            gaps: [Gap::None; DIGITS_MAX],
            ends: [from; DIGITS_MAX],
            length: 0,
        };
        let mut at = from;
        let mut gap = Gap::None;
        while run.length < DIGITS_MAX {
            let Some(digit) = seen.sign(at).to_digit(10) else { break };
            run.digits[run.length] = digit as u8;
            run.gaps[run.length] = gap;
            run.ends[run.length] = at + 1;
            run.length += 1;
            let next = seen.run_within(at + 1, 4, |c| {
                matches!(c, ' ' | '-' | '_' | '.' | '/' | '(' | ')' | '\n')
            });
            gap = gap_of(seen, at + 1, next);
            at = next;
        }
        run
    }

    fn digits(&self) -> &[u8] {
        &self.digits[..self.length]
    }

    /// Whether a number can end after so many digits.
    fn ends(&self, count: usize) -> bool {
        count > 0 && count <= self.length && (count == self.length || self.gaps[count] != Gap::None)
    }

    /// Digits of each group among the first `count`.
    fn groups(&self, count: usize) -> Vec<usize> {
        let mut groups = Vec::new();
        for place in 0..count {
            match groups.last_mut() {
                Some(group) if self.gaps[place] == Gap::None => *group += 1,
                _ => groups.push(1),
            }
        }
        groups
    }

    /// Whether what stands between the first `count` digits is among these.
    fn gaps_are(&self, count: usize, allowed: &[Gap]) -> bool {
        self.gaps[1..count].iter().all(|gap| *gap == Gap::None || allowed.contains(gap))
    }

    /// Whether groups break only before these digits, or where a line breaks.
    fn breaks_only_before(&self, count: usize, places: &[usize]) -> bool {
        (1..count).all(|place| {
            matches!(self.gaps[place], Gap::None | Gap::Break) || places.contains(&place)
        })
    }
}

fn gap_of(seen: &Seen<'_>, from: usize, to: usize) -> Gap {
    let mut signs = seen.signs(from, to).filter(|sign| *sign != ' ');
    let (first, second) = (signs.next(), signs.next());
    match (first, second, to - from) {
        (None, _, 0) => Gap::None,
        (None, _, _) => Gap::Blank,
        (Some('('), Some(')'), _) | (Some(')'), Some('('), _) => Gap::Wide,
        (Some('(' | ')'), None | Some('-' | '.' | ' '), _) => Gap::Paren,
        (Some('-'), Some('('), _) => Gap::Paren,
        (Some('\n'), None, _) | (Some('-' | '.'), Some('\n'), _) => Gap::Break,
        (Some('-' | '_'), None, 1 | 3) => Gap::Dash,
        (Some('.'), None, 1 | 3) => Gap::Dot,
        (Some('/'), None, 1) => Gap::Slash,
        _ => Gap::Wide,
    }
}

const BETWEEN: [Gap; 4] = [Gap::Blank, Gap::Break, Gap::Dash, Gap::Dot];

/// Words that say a number is somebody's telephone.
const CALLED: &str = "tel telephone telephones tels phone phones mobile mobiles portable portables cell \
                      cellphone fax whatsapp sms call* ring text appel* rappel* joindre joignable fixe gsm \
                      numero contact* dial reach";

/// Words that say a number is a thing's.
pub(super) const THING: &str = "commande commandes cmd order orders ordre ref reference references ticket tickets dossier \
                     dossiers facture factures invoice invoices colis tracking suivi parcel isbn ean upc sku article \
                     articles id ids identifiant build version timestamp epoch serie serial lot batch contrat contract \
                     transaction reservation booking case issue bug code codes devis modele model produit product \
                     item population habitants total page pages postid tweet montant amount solde prix price barre barres barcode gencod";

const CARDS: &str = "carte cartes cb card cards visa mastercard amex maestro discover diners credit debit bancaire paiement";
const COMPANIES: &str =
    "siren siret sirene rcs entreprise societe company insee etablissement registre immatricul*";
const SOCIAL: &str = "ssn social security securite secu sociale nir insee assure*";

/// Numbers that begin with a digit, a `+` or a bracket.
pub(super) fn any(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let sign = seen.sign(at);
    let before = seen.before(at);
    if !(sign.is_ascii_digit() || matches!(sign, '+' | '('))
        || before.is_ascii_digit()
        || before == '_'
    {
        return None;
    }
    // The rest of a decimal, of a date, of a range; but not the second of « 0612…/0755… ».
    let inner = matches!(before, '.' | ',' | '/' | '-' | ':' | '\'')
        && at > 1
        && seen.sign(at - 2).is_ascii_digit()
        && !(before == '/' && ten_digits(seen, at) && at > 10 && ten_digits(seen, at - 11));
    if inner || matches!(before, '$' | '€' | '£' | '#') {
        return None;
    }
    let glued = before.is_alphabetic() && (before as u32) < 0x2e80;
    if !sign.is_ascii_digit() {
        return if sign == '+' && glued && !before.is_lowercase() { None } else { phone(seen, at) };
    }
    if glued {
        // « appelle0612345678 »; but not an order `CMD0612345678`.
        return if before.is_lowercase() && sign == '0' { phone(seen, at) } else { None };
    }
    let run = Run::read(seen, at);
    let french = fifteen(seen, at);
    if run.length < 7 || french.is_some() && !card_of_fifteen(seen, at, &run) {
        return french;
    }
    social(seen, at, &run)
        .or_else(|| card(seen, at, &run))
        .or(french)
        .or_else(|| company(seen, at, &run))
        .or_else(|| phone(seen, at))
}

/// Whether ten digits in one begin there as those of a French telephone do.
fn ten_digits(seen: &Seen<'_>, at: usize) -> bool {
    seen.sign(at) == '0'
        && matches!(seen.sign(at + 1), '1'..='9')
        && !seen.before(at).is_ascii_digit()
        && seen.run_within(at, 11, |sign| sign.is_ascii_digit()) == at + 10
}

/// A payment card: a prefix of its brand, one of its lengths, and Luhn.
fn card(seen: &Seen<'_>, at: usize, run: &Run) -> Option<Match> {
    let number = |from: usize, to: usize| {
        run.digits()[from..to.min(run.length)].iter().fold(0, |n, d| n * 10 + u32::from(*d))
    };
    if run.length < 12 {
        return None;
    }
    let lengths: &[usize] = match (run.digits[0], number(0, 2), number(0, 4)) {
        (4, _, _) => &[19, 16, 13],
        (_, 34 | 37, _) => &[15],
        (_, 51..=55, _) | (_, _, 2221..=2720) => &[16],
        (_, 36 | 38 | 39, _) | (_, _, 3000..=3059) => &[14, 16],
        (_, 35, _) => &[16, 15],
        (_, _, 1800 | 2131) => &[15, 16],
        (_, 60 | 62 | 64 | 65, _) => &[19, 18, 17, 16],
        (_, 50 | 56..=58 | 63 | 67 | 68 | 69, _) | (_, _, 604) => &[19, 18, 17, 16, 15, 14, 13, 12],
        _ => return None,
    };
    let told = seen.cue(at, CARDS, COMPANIES);
    // Digit by digit, or in pairs, where it is called one.
    let any_groups = |count: usize| told == Some(true) || run.gaps[1..count].contains(&Gap::Break);
    let count = *lengths.iter().find(|count| {
        let groups = run.groups(**count);
        run.ends(**count)
            && run.gaps_are(**count, &BETWEEN)
            && groups.iter().rev().skip(1).all(|group| *group >= 3 || any_groups(**count))
            && luhn(&run.digits[..**count])
    })?;
    // A SIRET is fourteen digits too; most end in 00 and three more.
    let establishment = told == Some(false) || run.digits[9..11] == [0, 0];
    if count == 14 && told != Some(true) && establishment && company(seen, at, run).is_some() {
        return None;
    }
    // Thirteen digits are an EAN as well; a bare number may be an order's.
    let bare = run.groups(count).len() == 1;
    let ean = count == 13
        && run.digits[0] != 4
        && (ean(&run.digits[..13]) || matches!(number(0, 3), 978 | 979));
    let thing = bare && count < 16 && seen.cue(at, CARDS, THING) == Some(false);
    if told != Some(true) && ((ean && bare) || thing || goes_on(seen, run, count)) {
        return None;
    }
    seen.found(Kind::Card, at, run.ends[count - 1])
}

/// Whether fifteen digits that could be a NIR are rather a card: Luhn, the prefix of one, and neither
/// the groups of a NIR nor a word for it.
fn card_of_fifteen(seen: &Seen<'_>, at: usize, run: &Run) -> bool {
    let groups = run.groups(run.length.min(15));
    !matches!(groups[0], 1 | 13)
        && luhn(&run.digits[..15.min(run.length)])
        && card(seen, at, run).is_some()
        && !seen.told(at, SOCIAL)
}

/// The check digit of an EAN or an ISBN of thirteen: weights 1 and 3 (GS1).
fn ean(digits: &[u8]) -> bool {
    let weighed = digits
        .iter()
        .enumerate()
        .map(|(place, digit)| u32::from(*digit) * if place % 2 == 0 { 1 } else { 3 });
    weighed.sum::<u32>() % 10 == 0
}

/// Whether the run is part of something longer: `1234-5678-…`.
fn goes_on(seen: &Seen<'_>, run: &Run, count: usize) -> bool {
    let end = run.ends[count - 1];
    let part =
        matches!(seen.sign(end), '-' | '/' | '.' | ',') && seen.sign(end + 1).is_ascii_digit();
    part || seen.sign(end).is_alphanumeric()
}

/// SIRET and SIREN: Luhn, groups of three, and of five at the end.
fn company(seen: &Seen<'_>, at: usize, run: &Run) -> Option<Match> {
    let inner = |place: &usize| matches!(place, 3 | 6 | 9);
    let grouped = |count: usize| {
        (1..count).all(|place| {
            matches!(run.gaps[place], Gap::None | Gap::Break) || inner(&place) || place > 9
        })
    };
    let allowed = |count: usize| run.gaps_are(count, &BETWEEN) && grouped(count) && run.ends(count);
    if run.length >= 14 && allowed(14) && siret(&run.digits[..14]) && !goes_on(seen, run, 14) {
        return seen.found(Kind::Siret, at, run.ends[13]);
    }
    if run.length < 9 || !allowed(9) || !luhn(&run.digits[..9]) || goes_on(seen, run, 9) {
        return None;
    }
    let told = seen.cue(at, COMPANIES, THING);
    let spaced = run.groups(9).len() > 1;
    let sum = spaced && counted(seen, run.ends[8]);
    let more = run.length > 9
        && matches!(run.gaps[9], Gap::Blank | Gap::Dash | Gap::Dot)
        && run.groups(run.length).len() > 3;
    let social = seen.told(at, "ssn social");
    let other = told == Some(false) || sum || social || more && told.is_none();
    (!other).then(|| seen.found(Kind::Siren, at, run.ends[8]))?
}

/// Whether a unit follows: money, people, distance.
fn counted(seen: &Seen<'_>, at: usize) -> bool {
    let at = seen.blanks(at);
    let units = "euro euros eur usd dollar dollars f francs km kg g m habitants inhabitants people personnes \
                 visiteurs vues views pounds livres yen octets bytes tonnes users utilisateurs votes voix fois times";
    matches!(seen.sign(at), '€' | '$' | '£' | '%' | '¥') || seen.word(at).0.is_in(units)
}

/// An American social security number: 3, 2 and 4 digits with the same sign between, of those that
/// are given out (<https://www.ssa.gov/employer/randomization.html>); nine in one where it is called so.
fn social(seen: &Seen<'_>, at: usize, run: &Run) -> Option<Match> {
    if run.length < 9 || !run.ends(9) {
        return None;
    }
    let number =
        |from: usize, to: usize| run.digits[from..to].iter().fold(0, |n, d| n * 10 + u32::from(*d));
    let (area, group, serial) = (number(0, 3), number(3, 5), number(5, 9));
    if matches!(area, 0 | 666 | 900..) || group == 0 || serial == 0 {
        return None;
    }
    let gap = run.gaps[3];
    let shape = BETWEEN.contains(&gap)
        && (run.gaps[5] == gap || run.gaps[3..6].contains(&Gap::Break))
        && run.breaks_only_before(9, &[3, 5])
        && run.gaps[5] != Gap::None;
    let bare = run.groups(9).len() == 1 && seen.told(at, "ssn social") && !seen.told(at, "siren");
    let other = goes_on(seen, run, 9) || shape && counted(seen, run.ends[8]);
    ((shape || bare) && !other).then(|| seen.found(Kind::Ssn, at, run.ends[8]))?
}

/// A French NIR: fifteen signs, blanks among them or not; thirteen where it is called so.
fn fifteen(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let mut signs = Vec::with_capacity(15);
    let mut ends = Vec::with_capacity(15);
    let mut next = at;
    while signs.len() < 15 {
        let sign = seen.sign(next);
        let corsica = signs.len() == 6 && matches!(sign, 'A' | 'B' | 'a' | 'b');
        if !sign.is_ascii_digit() && !corsica {
            break;
        }
        signs.push(sign);
        ends.push(next + 1);
        next = seen.run_within(next + 1, 3, |sign| matches!(sign, ' ' | '-' | '.' | '\n' | '/'));
    }
    let whole = |count: usize| !is_word(seen.sign(ends[count - 1]));
    if signs.len() == 15 && whole(15) && nir(&signs) {
        return seen.found(Kind::Nir, at, ends[14]);
    }
    if signs.len() == 13 && whole(13) && nir_shape(&signs) {
        if let Some(end) = key_apart(seen, &signs, ends[12]) {
            return seen.found(Kind::Nir, at, end);
        }
        // Written in its own groups: 1 84 12 76 451 089.
        let grouped = [1, 3, 5, 7, 10].iter().all(|place| ends[*place] - ends[place - 1] > 1);
        if grouped && ends[12] - at == 18 {
            return seen.found(Kind::Nir, at, ends[12]);
        }
    }
    let told = signs.len() >= 13 && whole(13) && nir_shape(&signs[..13]) && seen.told(at, SOCIAL);
    (told && (signs.len() == 13 || whole(signs.len())))
        .then(|| seen.found(Kind::Nir, at, if signs.len() == 15 { ends[14] } else { ends[12] }))?
}

/// After a NIR's key that is named or bracketed: « 1 84 12 76 451 089 clé 35 », « (35) ».
fn key_apart(seen: &Seen<'_>, signs: &[char], end: usize) -> Option<usize> {
    let skip = |at| seen.run_within(at, 3, |sign| matches!(sign, ' ' | '(' | '|' | ':' | ','));
    let at = skip(end);
    let (word, word_end) = seen.word(at);
    let from = if word.is_in("cle clef key") { skip(word_end) } else { at };
    let to = seen.run_within(from, 3, |sign| sign.is_ascii_digit());
    let whole: Vec<char> = signs.iter().copied().chain(seen.signs(from, to)).collect();
    (from > end && to - from == 2 && nir(&whole)).then_some(to)
}

/// A telephone: international with `+` or `00`, or national of France, Britain or North America;
/// any other where it is called so.
fn phone(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let mut from = at;
    let mut bracket = false;
    if seen.sign(from) == '(' {
        (from, bracket) = (from + 1, true);
    }
    let plus = seen.sign(from) == '+';
    if plus {
        from = seen.run_within(from + 1, 2, |sign| matches!(sign, ' ' | '('));
    }
    let run = Run::read(seen, from);
    if run.length < 7 || (!plus && bracket && run.gaps[1..6].iter().all(|gap| *gap != Gap::Paren)) {
        return None;
    }
    let count = match (plus, &run.digits[..2]) {
        (true, _) => international(seen, &run, 0),
        (false, [0, 0]) => international(seen, &run, 2),
        (false, _) => national(seen, at, &run),
    };
    let count = count.or_else(|| (!plus).then(|| called(seen, at, &run)).flatten())?;
    let end = run.ends[count - 1];
    let rest = matches!(seen.sign(end), '.' | '/' | ':')
        && seen.sign(end + 1).is_ascii_digit()
        && !(seen.sign(end) == '/' && ten_digits(seen, end + 1))
        && run.groups(count).len() == 1;
    if rest || (plus && counted(seen, end)) {
        return None;
    }
    seen.found(Kind::Phone, at, extension(seen, end))
}

/// After an extension: `x123`, `ext. 12`, `poste 5`.
fn extension(seen: &Seen<'_>, end: usize) -> usize {
    let at = seen.run_within(end, 2, |sign| matches!(sign, ' ' | ','));
    let (word, mut next) = seen.word(at);
    if !word.is_in("x ext extension poste") {
        return end;
    }
    next = seen.run_within(next, 2, |sign| matches!(sign, ' ' | '.' | ':'));
    let to = seen.run_within(next, 6, |sign| sign.is_ascii_digit());
    if (1..=5).contains(&(to - next)) { to } else { end }
}

/// Whether a unit of time follows: « 35 ans », « 18h ».
fn after_is_time(seen: &Seen<'_>, at: usize) -> bool {
    let (word, _) = seen.word(seen.run_within(at, 1, |sign| sign == ' '));
    word.is_in("an ans h heure heures min minutes mn")
}

const PHONE_GAPS: [Gap; 6] = [Gap::Blank, Gap::Break, Gap::Dash, Gap::Dot, Gap::Paren, Gap::Slash];

/// Digits of an international number whose country code starts after `skip` digits (E.164: fifteen
/// at most). France, North America and Britain have one length; of others all that follows is taken.
fn international(seen: &Seen<'_>, run: &Run, skip: usize) -> Option<usize> {
    let digits = run.digits().get(skip..)?;
    let trunk = |place: usize| digits.get(place) == Some(&0) && run.gaps[skip + place] != Gap::None;
    let exact: &[usize] = match digits {
        [0, ..] | [] => return None,
        [1, ..] => &[11],
        [3, 3, ..] if trunk(2) || digits.get(2) == Some(&0) => &[12],
        [3, 3, ..] => &[11],
        [4, 4, ..] if digits.get(2) == Some(&0) => &[13, 12],
        [4, 4, ..] => &[12, 11],
        _ => &[],
    };
    let fits = |count: &usize| run.ends(*count) && run.gaps_are(*count, &PHONE_GAPS);
    let known = exact.iter().map(|count| count + skip).find(|count| fits(count));
    let open = || (skip + 8..=skip + 15).rev().find(|count| fits(count));
    let count = known.or_else(open)?;
    // `00…` begins many an order number: more digits, or a word before, are asked of it.
    let start = run.ends[0] - 1;
    let sure = skip == 0 || count >= 11 && seen.cue(start, CALLED, THING) != Some(false);
    sure.then_some(count)
}

/// Digits of a number as France, Britain and North America write theirs at home.
fn national(seen: &Seen<'_>, at: usize, run: &Run) -> Option<usize> {
    let digits = run.digits();
    // A mobile in one run is an order only where it is called so at once.
    let mobile = matches!(digits, [0, 6 | 7, ..]);
    let told = || match mobile && run.ends(10) && run.groups(10).len() == 1 {
        true => seen.near_cue(at, CALLED, THING),
        false => seen.cue(at, CALLED, THING),
    };
    let bare = |count: usize| run.groups(count).len() == 1;
    let fits = |count: usize| run.ends(count) && run.gaps_are(count, &PHONE_GAPS);
    let free = |count: usize| !bare(count) || told() != Some(false);
    if let [0, 1..=9, ..] = digits {
        let groups = run.groups(run.length);
        // Six pairs or more are no telephone, unless they are two, or a mobile and an age or an hour; a day, a month
        // and a year are a date.
        let two =
            groups.len() == 10 && groups.iter().all(|group| *group == 2) && digits[10] == 0 && {
                let pair = |place: usize| 10 * digits[2 * place] + digits[2 * place + 1];
                // « 01 02 03 04 … » counts.
                pair(1) != pair(0) + 1
            };
        let aged = mobile && groups.len() == 6 && after_is_time(seen, run.ends[run.length - 1]);
        let pairs = groups.len() > 5
            && groups[..6].iter().all(|group| *group == 2)
            && run.gaps[10] == run.gaps[2]
            && !(two || aged);
        let date =
            groups.len() > 2 && groups[..3] == [2, 2, 4] && matches!(digits[4..6], [1, 9] | [2, 0]);
        // « 0 6 1 2 … »; from 0 1 on, somebody counts.
        let single = matches!(digits[1], 6 | 7) && run.groups(10.min(run.length)).len() == 10;
        let wide = groups.iter().take(5).all(|group| *group >= 2);
        let counting =
            groups.starts_with(&[2, 2]) && after_pairs(seen, at) && !after_five_pairs(seen, at);
        if fits(10)
            && !pairs
            && !counting
            && !date
            && (wide || single || told() == Some(true))
            && free(10)
            && uniform(run, 10)
        {
            return Some(10);
        }
        let british = matches!(digits[1], 1 | 2 | 3 | 5 | 7 | 8 | 9);
        let groups = run.groups(11.min(run.length));
        let shape = matches!(
            groups[..],
            [11] | [5, 6] | [5, 3, 3] | [3, 4, 4] | [4, 3, 4] | [5, 2, 4] | [4, 7] | [3, 8]
        );
        return (british && fits(11) && shape && free(11)).then_some(11);
    }
    let skip =
        usize::from(digits[0] == 1 && (run.gaps[1] != Gap::None || run.ends(11) && !run.ends(10)));
    let count = 10 + skip;
    let area = |place: usize| matches!(digits.get(skip + place), Some(2..=9));
    let breaks = run.breaks_only_before(count.min(run.length), &[skip, skip + 3, skip + 6]);
    if !fits(count) || !breaks {
        return None;
    }
    let split = run.gaps[skip + 3] != Gap::None && run.gaps[skip + 6] != Gap::None;
    let bracket = run.gaps[skip + 3] == Gap::Paren;
    let shape = match (split || bracket, bare(count)) {
        // With dashes or dots three, three and four digits are nothing else.
        (true, _) => {
            area(0) || bracket || run.gaps[skip + 3] != Gap::Blank || seen.told(at, CALLED)
        }
        (false, true) => skip == 0 && area(0) && area(3) && told() != Some(false),
        (false, false) => area(0) && area(3),
    };
    let sum = run.gaps[skip + 3] == Gap::Blank && counted(seen, run.ends[count - 1]);
    (shape && !sum && (skip == 0 || split || told() == Some(true))).then_some(count)
}

/// Whether two pairs of digits stand before: then this is the end of a longer row.
fn after_pairs(seen: &Seen<'_>, at: usize) -> bool {
    let pair = |end: usize| {
        end >= 3
            && seen.sign(end - 1) == ' '
            && seen.sign(end - 2).is_ascii_digit()
            && seen.sign(end - 3).is_ascii_digit()
            && !seen.before(end - 3).is_ascii_digit()
    };
    pair(at) && pair(at - 3)
}

/// Whether a whole telephone in pairs stands before.
fn after_five_pairs(seen: &Seen<'_>, at: usize) -> bool {
    let Some(from) = at.checked_sub(15) else { return false };
    let pair = |place: usize| {
        seen.sign(place).is_ascii_digit()
            && seen.sign(place + 1).is_ascii_digit()
            && seen.sign(place + 2) == ' '
    };
    let last = |place: usize| seen.sign(place + 1).to_digit(10).unwrap_or(0);
    seen.sign(from) == '0'
        && !seen.before(from).is_ascii_digit()
        && last(from + 3) != (last(from) + 1) % 10
        && (0..5).all(|number| pair(from + 3 * number))
}

/// Whether the same sign stands between all groups, but where a line breaks or a bracket closes.
fn uniform(run: &Run, count: usize) -> bool {
    let mut kinds = run.gaps[1..count]
        .iter()
        .filter(|gap| matches!(gap, Gap::Blank | Gap::Dash | Gap::Dot | Gap::Slash));
    let first = kinds.next();
    let other = kinds.filter(|gap| Some(*gap) != first).count();
    other <= 1
}

/// Seven to thirteen digits behind a word that says they are a telephone.
fn called(seen: &Seen<'_>, at: usize, run: &Run) -> Option<usize> {
    let strong = "tel telephone phone mobile portable cell cellphone fax whatsapp sms gsm call calling appelez \
                  appeler appelle rappeler rappelez joindre dial";
    let fits = |count: &usize| run.ends(*count) && run.gaps_are(*count, &PHONE_GAPS);
    let count = (7..=13).rev().find(fits)?;
    let groups = run.groups(count);
    let date = matches!(groups[..], [2, 2, 4] | [4, 2, 2] | [1, 2, 4] | [2, 1, 4] | [1, 1, 4]);
    let near = seen.cue(at, strong, THING) == Some(true);
    (near && !date && !counted(seen, run.ends[count - 1])).then_some(count)
}

/// Numbers that begin with letters: IBAN, French VAT, NINO.
pub(super) fn lettered(seen: &Seen<'_>, at: usize) -> Option<Match> {
    let letters = [seen.sign(at), seen.sign(at + 1)];
    if !letters.iter().all(char::is_ascii_alphabetic) || is_word(seen.before(at)) {
        return None;
    }
    account(seen, at, letters).or_else(|| vat(seen, at)).or_else(|| nino(seen, at, letters))
}

/// The next `count` letters and digits with where the last ends; one sign or two may stand between.
fn compact(seen: &Seen<'_>, at: usize, count: usize) -> Option<(Vec<char>, usize)> {
    let mut signs = Vec::with_capacity(count);
    let mut next = at;
    loop {
        let sign = seen.sign(next);
        if !sign.is_ascii_alphanumeric() {
            return None;
        }
        signs.push(sign);
        if signs.len() == count {
            return Some((signs, next + 1));
        }
        next = seen.run_within(next + 1, 2, |sign| matches!(sign, ' ' | '-' | '.' | '\n'));
    }
}

fn account(seen: &Seen<'_>, at: usize, country: [char; 2]) -> Option<Match> {
    let check = seen.run_within(at + 2, 2, |sign| sign == ' ' || sign == '-');
    if !seen.sign(check).is_ascii_digit() {
        return None;
    }
    let (signs, to) = compact(seen, at, iban_length(&country)?)?;
    // « is 40 … »: small letters only without blanks.
    let capitals = country.iter().all(char::is_ascii_uppercase);
    let small = country.iter().all(char::is_ascii_lowercase) && to - at == signs.len();
    let same =
        signs.iter().all(|sign| sign.is_ascii_digit() || sign.is_ascii_uppercase() == capitals);
    (same && (capitals || small) && iban(&signs) && seen.word_ends(to))
        .then(|| seen.found(Kind::Iban, at, to))?
}

fn vat(seen: &Seen<'_>, at: usize) -> Option<Match> {
    if !seen.starts_with(at, "fr") {
        return None;
    }
    let (signs, to) = compact(seen, at, 13)?;
    (french_vat(&signs[2..]) && seen.word_ends(to)).then(|| seen.found(Kind::Vat, at, to))?
}

/// A British National Insurance number: letters that are given out, six digits, A to D
/// (<https://www.gov.uk/hmrc-internal-manuals/national-insurance-manual/nim39110>).
fn nino(seen: &Seen<'_>, at: usize, letters: [char; 2]) -> Option<Match> {
    let [first, second] = letters.map(|sign| sign.to_ascii_uppercase());
    let never = ["BG", "GB", "NK", "KN", "TN", "NT", "ZZ"];
    if "DFIQUV".contains(first)
        || "DFIOQUV".contains(second)
        || never.iter().any(|pair| pair.chars().eq([first, second]))
    {
        return None;
    }
    let (signs, to) = compact(seen, at, 9)?;
    let digits = signs[2..8].iter().all(char::is_ascii_digit);
    let last = matches!(signs[8].to_ascii_uppercase(), 'A'..='D');
    // « au 12 34 56 a »: small letters only without blanks.
    let small = signs.iter().any(char::is_ascii_lowercase) && to - at > 9;
    (digits && last && !small && seen.word_ends(to)).then(|| seen.found(Kind::Nino, at, to))?
}
