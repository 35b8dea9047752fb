//! Finds names of persons in French and English text.
//!
//! Three things count: a word that announces a name before it (a title, « je m'appelle », `Dear`), the
//! list of names, and the capitals. A first name that is no other word counts alone; one that is also a
//! word, a place or a month needs its context; an unknown word needs a word that announces it. Small
//! letters count after such a word, or when no word has the form of the name. A name has at most six parts, and each part is read once.

use super::cue::WordsBefore;
use super::name_announcement::{Announcement, announcement_of, follows_name_word};
use super::name_list::NameClass;
use super::name_parts::{NameEnd, NamePart, find_part};
use super::name_words as words;
use super::normalize::BARRIER;
use super::scanner::{FoldedWord, Scanner, is_word_char};
use super::{PiiKind, PiiMatch};

/// Matches the name of a person.
pub(super) fn match_name(scanner: &Scanner<'_>, pos: usize) -> Option<PiiMatch> {
    let before = scanner.char_before(pos);
    let is_argument = before == '(' && pos > 1 && is_word_char(scanner.char_at(pos - 2));
    // The second half of « Saint-Étienne » is no name of its own.
    let is_half = before == '-' && pos > 1 && is_word_char(scanner.char_at(pos - 2));
    if is_half
        || is_argument
        || is_word_char(before)
        || matches!(before, '@' | '#' | '/' | '\\' | '.' | '$' | '<')
    {
        return None;
    }
    let first = NamePart::read(scanner, pos)?;
    let after = (scanner.char_at(first.end), scanner.char_at(first.end + 1));
    if is_word_char(after.0)
        || matches!(after, ('.' | '@' | '/', next) if is_word_char(next))
        || matches!(after.0, '(' | '=' | '@' | '<' | '{')
    {
        return None;
    }
    // An unknown word in small letters needs a word that introduces it.
    if !first.is_capital && first.class.is_none() && !follows_name_word(scanner, pos) {
        return None;
    }
    let before = WordsBefore::read(scanner, pos);
    let (announcement, cue) = announcement_of(scanner, pos, &before);
    let end = match first.is_capital {
        true => capital_name_end(scanner, &first, announcement, &before),
        // « Dr. van der Zijl »
        false
            if announcement == Announcement::Title
                && first.word.is_in(words::FIRST_PARTICLES)
                && !before
                    .word(0)
                    .is_in("oncle tonton tante tata tatie papy papi mamie uncle aunt auntie") =>
        {
            let name = NameEnd::read(scanner, &first);
            (name.parts >= 2).then_some(name.end)
        }
        false => small_name_end(scanner, &first, announcement, &before),
    }?;
    let found = scanner.match_span(PiiKind::Name, pos, end)?;
    let rule = match announcement {
        Announcement::Title => "name after a title",
        Announcement::Introduction => "name after the words that introduce it",
        Announcement::Address => "name after a greeting or a word for a person",
        Announcement::Copula => "known name after « c'est », `this is` or the like",
        Announcement::None => "known first name with a capital",
    };
    Some(found.because(rule, cue.filter(|_| announcement != Announcement::None)))
}

/// Returns the end of a name that begins with a capital; `None` when nothing shows that it is one.
fn capital_name_end(
    scanner: &Scanner<'_>,
    first: &NamePart,
    announcement: Announcement,
    before: &WordsBefore,
) -> Option<usize> {
    let initial = first.is_initial(scanner);
    let single_letter = first.end == first.start + 1;
    if single_letter && !initial || first.is_saint && announcement != Announcement::Title {
        return None;
    }
    let name = NameEnd::read(scanner, first);
    // « my daughter June », « Noël Pouliot »: a listed name that is no name elsewhere.
    if !initial
        && !first.is_candidate()
        && !is_strong_upper(first)
        && !is_named_here(first, &name, announcement, before)
    {
        return None;
    }
    let is_full = name.parts >= 2;
    let stands_out = first.is_first() || is_full && name.has_known;
    let accepted = match announcement {
        Announcement::Title | Announcement::Introduction => !initial || is_full,
        Announcement::Address => {
            let greets =
                before.word(0).is_in(words::GREETINGS) && !before.word(0).is_in("dear cher chere");
            let ends =
                matches!(scanner.char_at(name.end), ',' | '!' | '.' | '\n' | ':' | '-' | BARRIER)
                    || name.end >= scanner.len();
            !initial && (first.is_any_first() || is_full || !greets || ends)
        }
        Announcement::Copula => {
            let (next, _) = scanner.word_at(scanner.scan_at_most(name.end, 1, |ch| ch == ' '));
            let speaks = next.is_in(words::SPEAKING)
                || next.is_in("from de du speaking a") && first.is_any_first();
            let person = before.word(0).is_in("suis m am im moi");
            stands_out
                || speaks
                || is_full && person && !first.class.is_some_and(|class| class == NameClass::Place)
        }
        Announcement::None => is_known_name(scanner, first, &name, before),
    };
    accepted.then_some(name.end)
}

/// Returns whether a word that is no name elsewhere is one here: « my daughter June », « Noël Pouliot »,
/// « Mme Le Goff », `Mr White`.
fn is_named_here(
    first: &NamePart,
    name: &NameEnd,
    announcement: Announcement,
    before: &WordsBefore,
) -> bool {
    let is_full = name.parts >= 2;
    let behind_title =
        is_full && first.word.is_in("le la de du des d") || first.word.is_in(words::TITLE_SURNAMES);
    let beside_name = name.second_is_surname
        || name.second_known
            && first.class == Some(NameClass::Word)
            && !first.word.is_in("will may");
    let announced = match announcement {
        Announcement::Title => behind_title || first.is_any_first(),
        Announcement::Introduction => first.is_any_first(),
        Announcement::Address => {
            first.is_any_first() && !before.word(0).is_in("hi hello hey bonjour bonsoir salut")
        }
        Announcement::Copula | Announcement::None => false,
    };
    announced || is_full && first.is_any_first() && beside_name
}

/// Returns whether a part in capitals is a known name: « DUPONT », « LÉA ».
fn is_strong_upper(part: &NamePart) -> bool {
    part.is_upper && part.class.is_some() && !words::is_no_name(&part.word)
}

/// Returns whether a name without an announcement is one by the list and its context.
fn is_known_name(
    scanner: &Scanner<'_>,
    first: &NamePart,
    name: &NameEnd,
    before: &WordsBefore,
) -> bool {
    let w0 = before.word(0);
    let adjacent = before.place(0).is_some_and(|(_, end)| {
        scanner.chars(end, first.start).all(|ch| matches!(ch, ' ' | '-' | '\'' | '.'))
    });
    let (next, next_end) =
        scanner.word_at(scanner.scan_at_most(name.end, 1, |ch| matches!(ch, ' ' | '-')));
    let is_capital = scanner.char_at(next_end - next.as_str().len()).is_uppercase();
    let place_after = next.is_in(words::PLACE_WORDS_AFTER) && is_capital
        || next.is_in("airport street avenue stadium university");
    if adjacent && w0.is_in(words::PLACE_WORDS) || place_after || is_numbered(scanner, name.end) {
        return false;
    }
    // A capital in the middle of a sentence is one on purpose.
    let is_inside = before.place(0).is_some_and(|(start, end)| {
        scanner.char_at(start).is_lowercase()
            && scanner.chars(end, first.start).all(|ch| matches!(ch, ' ' | '-' | '\'' | ','))
    });
    let is_determined = adjacent && w0.is_in(words::DETERMINERS);
    // « Victor » of « rue Victor Hugo » was refused, and so is « Hugo ».
    let follows_name = adjacent
        && before.place(0).is_some_and(|(start, end)| {
            scanner.char_at(start).is_uppercase()
                && !words::is_no_name(&w0)
                && find_part(scanner, start, end).is_some()
        });
    let is_title = first.is_initial(scanner) && scanner.char_at(first.start) == 'M';
    if follows_name || is_title || first.is_upper && name.parts < 2 {
        return false;
    }
    match first.class {
        // « Ben voyons », `Roger that`
        Some(NameClass::First) if name.parts == 1 && is_interjection(first, &next) => false,
        Some(NameClass::First) => {
            let is_where = adjacent && w0.is_in("in en") && scanner.char_at(name.end) != '\'';
            name.parts >= 2 || first.end - first.start >= 3 && !is_where
        }
        Some(NameClass::Word) => {
            let next = scanner.scan_at_most(name.end, 1, |ch| ch == ' ');
            let single = name.parts == 1 && is_inside && !scanner.char_at(next).is_uppercase();
            // « Pourquoi Capucine Bonnet … »
            let follows_word = is_inside || adjacent && words::is_no_name(&w0);
            let acts = name.parts == 1 && has_person_verb(scanner, name.end, true);
            !is_determined
                && (acts || name.second_known || single || name.parts >= 2 && follows_word)
        }
        Some(NameClass::Place) => {
            let acts = name.parts == 1 && has_person_verb(scanner, name.end, false);
            (acts || name.second_is_surname) && !is_determined
        }
        Some(NameClass::Surname) | None => {
            let reversed = first.class.is_some() && name.second_is_first && !is_determined;
            let initials = first.is_initial(scanner)
                && (name.second_known || name.initials > 1 && name.parts > 0);
            let beside_surname = (name.second_is_surname || name.parts >= 2 && name.has_foreign)
                && !is_determined
                && (is_inside || starts_sentence(scanner, first.start) && !name.second_is_first);
            reversed || initials || beside_surname || is_coordinated(scanner, first, before)
        }
    }
}

/// Returns whether « et » or `and` joins an unknown word with a capital to a listed name before it.
fn is_coordinated(scanner: &Scanner<'_>, first: &NamePart, before: &WordsBefore) -> bool {
    let listed = before.place(1).and_then(|(start, end)| {
        let is_capital = scanner.char_at(start).is_uppercase();
        let is_name = is_capital && !words::is_no_name(&before.word(1));
        find_part(scanner, start, end).filter(|listed| is_name && listed.class == NameClass::First)
    });
    let between = before.place(1).map_or(0, |(_, end)| first.start - end);
    first.is_candidate() && before.word(0).is_in("and et") && between <= 6 && listed.is_some()
}

/// Returns whether the verb at `end` needs a person as its subject: « m'a », `told`. Verbs that a place
/// may govern as well count only with `is_word`.
fn has_person_verb(scanner: &Scanner<'_>, end: usize, is_word: bool) -> bool {
    let pos = scanner.scan_at_most(end, 1, |ch| ch == ' ');
    let (verb, verb_end) = scanner.word_at(pos);
    let (next, _) = scanner.word_at(verb_end + 1);
    let french =
        verb.is_in("m t") && scanner.char_at(verb_end) == '\'' && next.is_in("a avait aime")
            || verb.is_in("est") && next.is_in(words::PERSON_STATES);
    let english =
        verb.is_in(words::PERSON_VERBS) || is_word && verb.is_in(words::MORE_PERSON_VERBS);
    pos > end && (english || is_word && french)
}

/// Returns whether a first name is an interjection, by the word behind it.
fn is_interjection(first: &NamePart, next: &FoldedWord) -> bool {
    first.word.is_in("ben") && next.is_in("voyons moi toi oui non alors je j tu il on c ca quoi si tiens la le les ouais dis merde")
        || first.word.is_in("roger") && next.is_in("that")
        || first.word.is_in("jesus") && next.is_in("marie")
}

/// Returns whether a sentence begins at `pos`.
fn starts_sentence(scanner: &Scanner<'_>, pos: usize) -> bool {
    let before =
        (0..3).map(|back| scanner.char_before(pos.saturating_sub(back))).find(|ch| *ch != ' ');
    matches!(before, Some('.' | '!' | '?' | '\n' | BARRIER | '"' | '«' | ':' | '-'))
}

/// Returns whether a number or a Roman numeral follows, as in « Henri IV » or `John 3:16`.
fn is_numbered(scanner: &Scanner<'_>, end: usize) -> bool {
    let pos = scanner.scan_at_most(end, 1, |ch| ch == ' ');
    let to = scanner.scan_at_most(pos, 6, |ch| matches!(ch, 'I' | 'V' | 'X'));
    let roman = pos > end
        && to > pos
        && scanner.is_word_end(to)
        && !(to == pos + 1 && scanner.char_at(pos) == 'I');
    let digits = scanner.scan_at_most(pos, 4, |ch| ch.is_ascii_digit());
    roman
        || pos > end && scanner.starts_with(pos, "ier") && scanner.is_word_end(pos + 3)
        || digits > pos
            && matches!(scanner.char_at(digits), ':' | ',' | '.' | '-')
            && scanner.char_at(digits + 1).is_ascii_digit()
}

/// Returns the end of a name in small letters, which only a word before it announces.
fn small_name_end(
    scanner: &Scanner<'_>,
    first: &NamePart,
    announcement: Announcement,
    before: &WordsBefore,
) -> Option<usize> {
    let is_long = first.end - first.start >= 3;
    let is_place = first.class == Some(NameClass::Place);
    let greets = before.word(0).is_in(words::GREETINGS);
    let is_listed = matches!(first.class, Some(NameClass::First | NameClass::Surname));
    let accepted = match announcement {
        Announcement::Title => {
            let is_surname = is_listed && before.word(0).is_in(words::SMALL_TITLES);
            is_surname || is_long && before.word(0).is_in("mr mrs mme mlle")
        }
        Announcement::Introduction if before.word(0).is_in(words::CLOSINGS) => first.is_first(),
        Announcement::Introduction => {
            first.is_any_first() || is_named_alone(scanner, first, before)
        }
        Announcement::Address if before.word(0).is_in(words::RELATIVES) && first.is_any_first() => {
            // « ma copine jade »
            is_long && (first.is_first() || before.word(1).is_in("mon ma ton ta son sa"))
        }
        Announcement::Address => is_long && (first.is_first() || is_place && greets),
        Announcement::Copula => {
            is_long && (first.is_first() || is_place && before.word(0).is_in("m im am"))
        }
        Announcement::None => {
            let letters_min = if before.word(0).is_in(words::SMALL_PREPOSITIONS) { 4 } else { 5 };
            let is_place =
                before.word(0).is_in(words::PLACE_WORDS) || is_numbered(scanner, first.end);
            let is_verb =
                scanner.char_at(first.end) == '\'' && scanner.char_at(first.end + 1) == 't';
            let is_long = first.end - first.start >= letters_min;
            first.is_first() && first.is_no_word && is_long && !is_place && !is_verb
        }
    };
    if !accepted || words::is_no_name(&first.word) || first.word.is_in(words::SMALL_WORDS) {
        return None;
    }
    let next = first.end + 1;
    let second = NamePart::read(scanner, next).filter(|_| scanner.char_at(first.end) == ' ');
    let second = second.filter(|part| {
        let is_name = !matches!(part.class, None | Some(NameClass::Word));
        is_name
            && part.end - part.start >= 3
            && !part.word.is_in(words::SMALL_WORDS)
            && !words::is_no_name(&part.word)
            && scanner.is_word_end(part.end)
    });
    Some(second.map_or(first.end, |part| part.end))
}

/// Returns whether an unknown word in small letters directly behind « je m'appelle » or `my name is` is a
/// name: nothing goes on behind it but « et » or `and`, and it is no participle.
fn is_named_alone(scanner: &Scanner<'_>, first: &NamePart, before: &WordsBefore) -> bool {
    let direct = before.word(0).is_in("appelle mappelle")
        || before.word(0).is_in("is est") && before.word(1).is_in("name nom prenom");
    let (next, _) = scanner.word_at(scanner.scan_at_most(first.end, 1, |ch| ch == ' '));
    let ends = matches!(scanner.char_at(first.end), '.' | ',' | '!' | '?' | '\n' | ')' | BARRIER);
    let participle = ["ed", "ing", "tten", "lled", "e"].iter().any(|end| {
        scanner.starts_with(first.end - end.len(), end) && !before.word(0).is_in("appelle mappelle")
    });
    direct && (ends || next.is_in("et and")) && !participle && first.end - first.start >= 3
}
