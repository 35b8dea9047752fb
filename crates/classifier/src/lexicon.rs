//! Scores folded text by keywords, and finds the explicit anger that the tie-break requires.
//!
//! The keyword route answers only when there is no usable model. It counts words, so it knows
//! neither irony nor context. The patterns are data, in `lexicon/anger.tsv` and
//! `lexicon/fallback.tsv` (`#` begins a comment). They match [`fold`]ed text, so they are plain
//! ASCII. Phrases of the label `none` are false friends ("furious pace", "rage de dents", "never
//! been so"): words inside them are neither hits nor negators. Explicit anger counts as anger too.
//! Of overlapping matches the one that begins first wins, then the longer one; within one label the
//! earlier line wins. The time is linear in the text (and n log n in the number of matches). The
//! file exceeds 600 lines because half of it is test sentences, which belong beside the lists.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use jeffrey_terms::Label;

/// Folds text to lower case with ASCII apostrophes and hyphens, plain spaces, no Latin accents and
/// half-width ASCII.
///
/// All other characters are kept, emoji too. Composed and decomposed accents fold alike: combining
/// marks U+0300 to U+036F are dropped.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        let c = match c {
            // Full-width ASCII has a fixed distance from ASCII.
            '！'..='～' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            _ => c,
        };
        if c.is_ascii() && c != '`' {
            folded.push(c.to_ascii_lowercase());
        } else {
            c.to_lowercase().for_each(|lower| push_folded(&mut folded, lower));
        }
    }
    folded
}

/// Appends one lower-case character without its accent.
fn push_folded(folded: &mut String, c: char) {
    let plain = match c {
        '\u{300}'..='\u{36f}' => "",
        '’' | 'ʼ' | '‘' | '´' | '`' => "'",
        '\u{a0}' | '\u{202f}' | '\u{2007}' | '\u{3000}' => " ",
        '\u{2010}' | '\u{2011}' => "-",
        'à'..='å' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ǻ' | 'ȁ' | 'ȃ' | 'ȧ' | 'ạ'..='ặ' => "a",
        'æ' | 'ǽ' | 'ǣ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ȅ' | 'ȇ' | 'ȩ' | 'ẹ'..='ệ' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' | 'ǧ' | 'ǵ' => "g",
        'ĥ' | 'ħ' | 'ȟ' => "h",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' | 'ǐ' | 'ȉ' | 'ȋ' | 'ỉ'..='ị' => "i",
        'ĵ' | 'ǰ' => "j",
        'ķ' | 'ǩ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' | 'ǹ' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'ơ' | 'ǒ' | 'ǫ' | 'ǿ' | 'ȯ' | 'ọ'..='ợ' => {
            "o"
        }
        'œ' => "oe",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'þ' => "th",
        'ù'..='ü'
        | 'ũ'
        | 'ū'
        | 'ŭ'
        | 'ů'
        | 'ű'
        | 'ų'
        | 'ư'
        | 'ǔ'
        | 'ǖ'
        | 'ǘ'
        | 'ǚ'
        | 'ǜ'
        | 'ụ'..='ự' => "u",
        'ŵ' | 'ẁ' | 'ẃ' | 'ẅ' => "w",
        'ý' | 'ÿ' | 'ŷ' | 'ỳ'..='ỹ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return folded.push(c),
    };
    folded.push_str(plain);
}

/// Returns the first explicit expression of anger, in French or English, as a byte range of the
/// folded text.
///
/// A negated expression ("pas en colère") does not count, and neither does a false friend.
pub(super) fn find_anger_expression(text: &str) -> Option<Range<usize>> {
    let folded = fold(text);
    let hidden = find_spans(&FALSE_FRIENDS, &folded);
    let anger = retain_visible(find_spans(&EXPLICIT_ANGER, &folded), &hidden);
    if anger.is_empty() {
        return None;
    }
    let mut words = NegationScanner::from_folded(&folded, &hidden);
    anger.into_iter().find(|span| !words.is_negated(span.start))
}

/// Returns the part of `text` whose [`fold`] covers this byte range of the folded text, in whole
/// characters.
pub(super) fn original_slice<'a>(text: &'a str, folded: &Range<usize>) -> &'a str {
    let (mut start, mut end, mut folded_index) = (None, text.len(), 0);
    for (index, c) in text.char_indices() {
        if folded_index >= folded.end {
            end = index;
            break;
        }
        folded_index += fold(c.encode_utf8(&mut [0; 4])).len();
        if folded_index > folded.start {
            start.get_or_insert(index);
        }
    }
    &text[start.unwrap_or(end)..end]
}

/// Returns the keyword scores in the order of [`Label::ALL`]: all above 0, summing to 1.
///
/// A score is `(hits + 0.1) / (all hits + 0.8)`, so one single hit gives 0.611. A negated hit does
/// not count, except that negated joy counts as frustration. Neutral phrases ("please find
/// attached") count only when no emotion is found. Without any hit the score is 0.333 for neutral
/// and 0.095 for each other label.
pub(super) fn score_keywords(text: &str) -> [f32; 8] {
    let mut hits = count_keyword_hits(&fold(text));
    let neutral = Label::Neutral.index();
    let feelings: f64 = hits.iter().sum::<f64>() - hits[neutral];
    if feelings > 0.0 {
        hits[neutral] = 0.0;
    } else if hits[neutral] == 0.0 {
        hits[neutral] = NEUTRAL_HIT_IF_EMPTY;
    }
    let total: f64 = hits.iter().sum();
    hits.map(|hit| ((hit + SMOOTHING) / (total + SMOOTHING * 8.0)) as f32)
}

/// Counts the matches of each label after negation.
fn count_keyword_hits(folded: &str) -> [f64; 8] {
    let hidden = find_spans(&FALSE_FRIENDS, folded);
    let mut matches = Vec::new();
    for label in Label::ALL {
        let label_spans = find_spans(&LABEL_PATTERNS[label.index()], folded);
        matches.extend(retain_visible(label_spans, &hidden).into_iter().map(|span| (span, label)));
    }
    matches.sort_unstable_by_key(|(span, _)| (span.start, usize::MAX - span.end));
    let mut hits = [0.0; 8];
    let mut words = NegationScanner::from_folded(folded, &hidden);
    let mut covered_end = 0;
    for (span, label) in matches {
        if span.start < covered_end {
            continue;
        }
        covered_end = span.end;
        // An emoji is never negated: in "pas content 😡" it still counts.
        let is_word = folded.as_bytes()[span.start].is_ascii_alphanumeric();
        if !(is_word && words.is_negated(span.start)) {
            hits[label.index()] += 1.0;
        } else if label == Label::Joy {
            hits[Label::Frustration.index()] += 1.0;
        }
    }
    hits
}

/// Returns all matches in order, without overlaps.
fn find_spans(pattern: &Regex, folded: &str) -> Vec<Range<usize>> {
    pattern.find_iter(folded).map(|hit| hit.range()).collect()
}

/// Keeps the spans that overlap no hidden span; both inputs are in order.
fn retain_visible(mut spans: Vec<Range<usize>>, hidden: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut hidden = hidden.iter().peekable();
    spans.retain(|span| {
        while hidden.next_if(|hide| hide.end <= span.start).is_some() {}
        hidden.peek().is_none_or(|hide| hide.start >= span.end)
    });
    spans
}

/// Words of a folded text, read once from left to right.
struct NegationScanner {
    words: Vec<LexiconWord>,
    /// Number of words that begin before the position of the last query.
    words_passed: usize,
}

struct LexiconWord {
    start: usize,
    /// Number of the clause that contains the word.
    clause: usize,
    is_negator: bool,
}

impl NegationScanner {
    fn from_folded(folded: &str, hidden: &[Range<usize>]) -> Self {
        let mut hidden = hidden.iter().peekable();
        let mut words: Vec<LexiconWord> = Vec::new();
        let mut clause = 0;
        // The last "ne" or "n'": its clause, and its index among the words.
        let mut ne: Option<(usize, usize)> = None;
        let mut index = 0;
        while let Some(c) = folded[index..].chars().next() {
            let start = index;
            if !(c.is_alphanumeric() || c == '\'') {
                index += c.len_utf8();
                clause += usize::from(CLAUSE_ENDS.contains(c));
                continue;
            }
            let tail = &folded[start..];
            let len = tail.find(|c: char| !(c.is_alphanumeric() || c == '\''));
            index = start + len.unwrap_or(tail.len());
            let word = folded[start..index].trim_matches('\'');
            clause += usize::from(CONTRASTS.contains(&word));
            while hidden.next_if(|hide| hide.end <= start).is_some() {}
            let is_hidden = hidden.peek().is_some_and(|hide| hide.start < index);
            if word == "ne" || word.starts_with("n'") {
                ne = Some((clause, words.len()));
            }
            let ne_near = ne.is_some_and(|(ne_clause, ne_index)| {
                ne_clause == clause && words.len() - ne_index <= NEGATION_WORDS_MAX
            });
            let negator = !is_hidden && (is_negator_word(word) || (word == "plus" && ne_near));
            words.push(LexiconWord { start, clause, is_negator: negator });
        }
        Self { words, words_passed: 0 }
    }

    /// Returns whether a negator is among the last words before `start`, within the same clause.
    ///
    /// Calls must go from left to right; that keeps the whole scan linear.
    fn is_negated(&mut self, start: usize) -> bool {
        while self.words.get(self.words_passed).is_some_and(|word| word.start < start) {
            self.words_passed += 1;
        }
        let clause = match self.words.get(self.words_passed) {
            Some(word) if word.start == start => Some(word.clause),
            // The position is inside a word ("n'aime", "d'horreur"), so its clause applies.
            _ => self.words_passed.checked_sub(1).map(|last| self.words[last].clause),
        };
        let words_before =
            &self.words[self.words_passed.saturating_sub(NEGATION_WORDS_MAX)..self.words_passed];
        words_before.iter().any(|word| Some(word.clause) == clause && word.is_negator)
    }
}

/// Returns whether a word negates the words after it. "plus" is not a negator here: without "ne" it
/// means "more".
fn is_negator_word(word: &str) -> bool {
    // In "qu'aucun" and "d'aucune" the part after the elision decides.
    let last = word.rsplit('\'').next().unwrap_or(word);
    word.ends_with("n't") || word.starts_with("n'") || NEGATORS.contains(&last)
}

/// Patterns of explicit anger, compiled apart from the labels' patterns. The tie-break needs only
/// these and the false friends, so a prediction of the model does not pay for compiling the rest.
static EXPLICIT_ANGER: LazyLock<Regex> = LazyLock::new(|| compile_alternatives(anger_rows()));

static FALSE_FRIENDS: LazyLock<Regex> =
    LazyLock::new(|| compile_alternatives(fallback_rows("none")));

/// Patterns of each label, in the order of [`Label::ALL`].
static LABEL_PATTERNS: LazyLock<[Regex; 8]> = LazyLock::new(|| {
    Label::ALL.map(|label| match label {
        Label::Anger => compile_alternatives(anger_rows().chain(fallback_rows(label.name()))),
        _ => compile_alternatives(fallback_rows(label.name())),
    })
});

/// Rows `(lang, pattern)` of explicit anger.
fn anger_rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    data_rows(ANGER_TSV).filter_map(|row| row.split_once('\t'))
}

/// Rows `(lang, pattern)` of one label in the fallback lexicon.
fn fallback_rows(label: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    data_rows(FALLBACK_TSV)
        .filter_map(move |row| row.strip_prefix(label)?.strip_prefix('\t')?.split_once('\t'))
}

/// Lines of a file that are neither comments nor empty.
fn data_rows(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// Compiles the rows `(lang, pattern)` into one expression that matches any of them.
fn compile_alternatives<'a>(rows: impl Iterator<Item = (&'a str, &'a str)>) -> Regex {
    let sources: Vec<String> = rows.map(|(lang, pattern)| row_pattern(lang, pattern)).collect();
    // The files are compiled in, and a test compiles each of their lines.
    Regex::new(&sources.join("|")).expect("the lexicon's patterns compile")
}

/// Returns the expression of one row. Words match between word boundaries, emoji (`any`) anywhere.
fn row_pattern(lang: &str, pattern: &str) -> String {
    match lang {
        "any" => format!("(?:{pattern})"),
        // The boundaries are ASCII ones, because the regex automaton gives up on Unicode ones.
        _ => format!(r"(?-u:\b(?:{})\b)", pattern.replace(' ', r"(?:[ \t\r\n-]+)")),
    }
}

const ANGER_TSV: &str = include_str!("lexicon/anger.tsv");

const FALLBACK_TSV: &str = include_str!("lexicon/fallback.tsv");

/// Added to each count, so that every score is above 0: a list of words can rule out no label.
const SMOOTHING: f64 = 0.1;

/// Part of a hit that neutral gets when nothing is found: enough to win, and few enough to stay
/// below 0.4, which is low confidence.
const NEUTRAL_HIT_IF_EMPTY: f64 = 0.25;

/// Reach of a negation, in words: "je ne suis pas du tout content".
const NEGATION_WORDS_MAX: usize = 3;

const CLAUSE_ENDS: &str = ".,;:!?…\n()[]\"«»“”–—|/";

/// Words that begin a new clause.
const CONTRASTS: [&str; 9] =
    ["although", "because", "but", "however", "mais", "parce", "pourtant", "though", "yet"];

/// Words that negate. English forms ending in "n't" and French ones beginning with "n'" are
/// recognised by their form instead.
const NEGATORS: [&str; 33] = [
    "aint", "arent", "aucun", "aucune", "barely", "cannot", "cant", "couldnt", "didnt", "doesnt",
    "guere", "hardly", "hasnt", "havent", "isnt", "jamais", "ne", "neither", "never", "ni", "no",
    "nor", "not", "nothing", "pa", "pas", "rien", "sans", "shouldnt", "wasnt", "without", "wont",
    "wouldnt",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn top_label(text: &str) -> Label {
        let scores = score_keywords(text);
        let best = Label::ALL
            .into_iter()
            .rev()
            .max_by(|a, b| scores[a.index()].total_cmp(&scores[b.index()]));
        best.unwrap()
    }

    const JOY: &[&str] = &[
        "I'm so happy for you both!",
        "We won the cup, I can't wait to celebrate",
        "She was thrilled with her new bike",
        "What a relief, the tests came back clean",
        "hahaha that joke was hilarious",
        "Thank you so much, you made my day",
        "I've never been so proud of my sister",
        "This garden is lovely and I am grateful",
        "Je suis tellement heureuse aujourd'hui",
        "Merci beaucoup, ça me fait plaisir !",
        "J'adore ce film",
        "On a gagné, c'est génial",
        "mdrrr trop drôle",
        "Quel soulagement, tout va bien",
        "Je suis fière de toi",
        "Je n'ai jamais été aussi heureux",
        "J’ai hâte de vous revoir",
        "🎉🥳",
    ];
    const SADNESS: &[&str] = &[
        "I feel so lonely tonight",
        "My grandmother passed away last week",
        "He broke my heart",
        "I cried all night",
        "I miss you every day",
        "She is depressed and hopeless",
        "We are grieving, the funeral is tomorrow",
        "I am deeply sorry and full of regret",
        "Je suis triste depuis ton départ",
        "J'ai le cœur brisé",
        "Elle pleure dans sa chambre",
        "Tu me manques",
        "J'ai perdu mon chien hier",
        "Je me sens seul",
        "Toutes mes condoléances",
        "Je suis déprimé, à quoi bon",
        "😭💔",
    ];
    const ANGER: &[&str] = &[
        "I am furious with you",
        "How dare you speak to me like that",
        "He is livid",
        "Shut up, you liar",
        "I hate you",
        "This is outrageous and unacceptable",
        "She was shaking with rage",
        "You betrayed me and you will pay for this",
        "Je suis furieuse contre lui",
        "Il est vert de rage",
        "Tu m'as trahi, salaud",
        "C'est inadmissible, un scandale",
        "Ça me met hors de moi",
        "La moutarde me monte au nez",
        "Ferme-la, espèce d'abruti",
        "Je te déteste",
        "🤬🤬",
    ];
    const FEAR: &[&str] = &[
        "I'm scared of the dark",
        "She was terrified by the noise",
        "I am worried about my exam",
        "He panicked when the lights went out",
        "I feel anxious before every flight",
        "That nightmare again, my hands are shaking",
        "Someone is following me",
        "The dentist makes me nervous",
        "J'ai peur du noir",
        "Je suis terrifiée à l'idée d'y aller",
        "Elle angoisse avant l'examen",
        "Je m'inquiète pour mon fils",
        "J'ai la boule au ventre",
        "Il craint le pire",
        "C'est effrayant",
        "Je flippe grave",
        "😱😨",
    ];
    const SURPRISE: &[&str] = &[
        "Wow, I didn't see that coming",
        "I can't believe it",
        "What a surprise to find you here",
        "She was astonished by the answer",
        "OMG no way",
        "He turned up out of the blue",
        "I was stunned to hear my name",
        "To my amazement the door was open",
        "Je n'en reviens pas",
        "Quelle surprise de te voir ici",
        "C'est incroyable",
        "Je ne m'y attendais pas",
        "Elle est restée bouche bée",
        "J'hallucine",
        "Qui l'eût cru",
        "Ça m'étonne de lui",
        "😲🤯",
    ];
    const DISGUST: &[&str] = &[
        "That is disgusting",
        "The smell makes me sick",
        "Yuck, there is a hair in my soup",
        "I nearly vomited",
        "The toilets were filthy",
        "Ewww gross",
        "His behaviour is repulsive",
        "The milk had gone rancid and the stench was vile",
        "C'est dégueulasse",
        "Ça me dégoûte",
        "Beurk, ce plat est infect",
        "Ça pue ici",
        "J'ai envie de vomir",
        "Cette odeur est écœurante",
        "Il y a du moisi sur le pain",
        "Quel personnage répugnant",
        "🤮",
    ];
    const NEUTRAL: &[&str] = &[
        "The meeting is at 10:30",
        "Please find attached the report",
        "For your information, the office moves in June",
        "The train leaves from platform four",
        "The table is made of wood",
        "Water boils at 100 degrees Celsius",
        "The shop opens on Monday",
        "He put the keys in the drawer",
        "La réunion est prévue à 14 h",
        "Veuillez trouver le document ci-joint",
        "Pour information, le bureau déménage en juin",
        "Le train part à 8 h 15",
        "La table est en bois",
        "Le magasin ouvre lundi",
        "Il a posé les clés dans le tiroir",
        "La Loire est un fleuve",
        "",
    ];
    const FRUSTRATION: &[&str] = &[
        "This is so frustrating",
        "The app keeps crashing",
        "I'm fed up with this printer",
        "My login doesn't work",
        "I've been on hold for two hours",
        "Ugh, stuck in traffic again",
        "He gets on my nerves",
        "I am not happy with the service",
        "J'en ai marre",
        "Ça ne marche toujours pas",
        "Je n'en peux plus",
        "Cette appli m'énerve",
        "Je ne suis pas content du résultat",
        "Quelle perte de temps",
        "Pff, encore en retard",
        "Je suis déçu par ce produit",
        "J'aime pas ce clavier",
        "🙄",
    ];

    #[test]
    fn plain_sentences_get_their_label_in_both_languages() {
        let tables = [JOY, SADNESS, ANGER, FEAR, SURPRISE, DISGUST, NEUTRAL, FRUSTRATION];
        let mut wrong = Vec::new();
        for (label, table) in Label::ALL.into_iter().zip(tables) {
            for text in table {
                if top_label(text) != label {
                    wrong.push(format!("{text}: {} for {label}", top_label(text)));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_negated_word_does_not_count_and_negated_joy_is_frustration() {
        for (text, label) in [
            ("I am not afraid", Label::Neutral),
            ("I'm never really angry", Label::Neutral),
            ("She isnt sad", Label::Neutral),
            ("Je n'ai pas peur", Label::Neutral),
            ("Je ne suis plus du tout triste", Label::Neutral),
            ("Sans aucune colère", Label::Neutral),
            ("Je n'aime pas ce café", Label::Frustration),
            ("I don't love it", Label::Frustration),
            ("Je ne suis plus heureux ici", Label::Frustration),
            // Without "ne", "plus" means more. A clause ends the reach of its negation.
            ("Je suis plus heureux ici", Label::Joy),
            ("No, I am happy", Label::Joy),
            ("Not rich but happy", Label::Joy),
            ("pas content 😡", Label::Anger),
            ("not only happy", Label::Joy),
        ] {
            assert_eq!(top_label(text), label, "{text}");
        }
    }

    #[test]
    fn explicit_anger_is_found_where_it_stands() {
        for text in [
            "I am FURIOUS!!",
            "He was livid",
            "they were enraged",
            "Seething inside",
            "mad as hell",
            "beside myself with rage",
            "I'm seeing red",
            "My blood is boiling",
            "she's pissed off",
            "Je suis furax",
            "Je suis en rage",
            "folle de rage",
            "Ça me met hors de moi",
            "elle est hors d’elle",
            "en colère noire",
            "en cole\u{300}re",
            "je bous",
            "J'ai vu rouge",
            "ivre de colère",
            "Il est sorti de ses gonds",
            "Ｆｕｒｉｅｕｘ",
            "not sad but furious",
        ] {
            assert!(find_anger_expression(text).is_some(), "{text}");
        }
        assert_eq!(find_anger_expression("É… je suis FURAX"), Some(13..18));
    }

    #[test]
    fn what_was_folded_is_found_again_as_it_was_written() {
        for (text, written) in [
            ("É… je suis FURAX !", "FURAX"),
            ("Elle est en cole\u{300}re.", "en cole\u{300}re"),
            ("Straße, œuf : Ｆｕｒｉｅｕｘ", "Ｆｕｒｉｅｕｘ"),
            ("furious", "furious"),
            ("elle est hors d’elle", "hors d’elle"),
        ] {
            let span = find_anger_expression(text).expect(text);
            assert_eq!(original_slice(text, &span), written, "{text}");
        }
        assert_eq!([original_slice("", &(0..3)), original_slice("ab", &(5..7))], ["", ""]);
    }

    #[test]
    fn negations_and_false_friends_are_no_anger() {
        for text in [
            "",
            "I am not furious",
            "I was never really angry",
            "he isn't mad as hell",
            "Je ne suis pas furieux",
            "pas en colère",
            "plus jamais en colère",
            "sans être furieuse",
            "J'ai une rage de dents",
            "en rage de dents",
            "une rage dedents",
            "a furious pace",
            "Fast and Furious 7",
            "Angry Birds",
            "I see red flags",
            "Un chien enragé",
            "une furieuse envie de chocolat",
            "La rage de vaincre",
            "outre-mer, il est outre-Manche",
            "je bous d'impatience",
            "une voiture rouge",
            "frustrating and annoying",
            "j'en ai marre",
            "I made a mad dash for it",
        ] {
            assert_eq!(find_anger_expression(text), None, "{text}");
        }
    }

    #[test]
    fn composed_decomposed_and_typographic_forms_fold_alike() {
        for (text, plain) in [
            ("Énervé", "enerve"),
            ("E\u{301}nerve\u{301}", "enerve"),
            ("ça", "ca"),
            ("c\u{327}a", "ca"),
            ("CŒUR Æ Straße ẞ", "coeur ae strasse ss"),
            ("İstanbul", "istanbul"),
            ("ế ệ ǘ ñ ý", "e e u n y"),
            ("l’eau l‘eau lʼeau l´eau l`eau", "l'eau l'eau l'eau l'eau l'eau"),
            ("Ｈｉ！\u{a0}ok\u{3000}", "hi! ok "),
            ("😡 Привет 日本", "😡 привет 日本"),
        ] {
            assert_eq!(fold(text), plain, "{text}");
            assert_eq!(fold(plain), plain, "{text} folded twice");
        }
    }

    #[test]
    fn every_line_compiles_alone_and_matches_nothing_empty() {
        let anger = data_rows(ANGER_TSV).map(|row| format!("anger\t{row}"));
        for row in data_rows(FALLBACK_TSV).map(str::to_owned).chain(anger) {
            let columns: Vec<&str> = row.split('\t').collect();
            let [label, lang, pattern] = columns[..] else { panic!("three columns: {row}") };
            assert!(label == "none" || Label::from_name(label).is_some(), "{row}");
            assert!(["any", "en", "fr"].contains(&lang), "{row}");
            assert!(lang == "any" || pattern.is_ascii(), "{row}");
            let regex = Regex::new(&row_pattern(lang, pattern)).expect(&row);
            for text in ["", " ", "'", "xq"] {
                assert!(!regex.is_match(text), "{row} matches {text:?}");
            }
        }
    }

    #[test]
    fn scores_are_finite_and_sum_to_one_whatever_the_text() {
        let nothing = score_keywords("");
        assert!((nothing[Label::Neutral.index()] - 0.333).abs() < 0.001);
        assert!((nothing[0] - 0.095).abs() < 0.001);
        assert!((score_keywords("happy")[0] - 0.611).abs() < 0.001);
        // Any generator is good enough; this one is Knuth's (MMIX), with a seed, so that a failure
        // can be reproduced.
        let mut random = 42_u64;
        let mut next = move |below: u32| {
            random = random.wrapping_mul(6_364_136_223_846_793_005);
            random = random.wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(random >> 33).unwrap() % below
        };
        let pieces =
            ["pas", "n'", "'", "en rage", "😡", "furious pace", "\u{301}", ":(", "ne ", " "];
        for _ in 0..2_000 {
            let mut text = String::new();
            for _ in 0..next(40) {
                match next(3) {
                    0 => text.extend(char::from_u32(next(0x11_0000))),
                    1 => text.extend(char::from_u32(next(0x250))),
                    _ => text.push_str(pieces[next(10) as usize]),
                }
            }
            let scores = score_keywords(&text);
            assert!(scores.iter().all(|score| score.is_finite() && *score > 0.0), "{text:?}");
            assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{text:?}");
            let folded = fold(&text);
            assert!(find_anger_expression(&text).is_none_or(|span| folded.get(span).is_some()));
        }
    }

    #[test]
    fn the_longest_text_is_read_in_one_pass() {
        // Quadratic work on these would take minutes instead of a moment.
        for piece in ["😡", "a", "pas ", "furieux ", "not happy ", "en ", "'", "grr", "ne marche "]
        {
            let text = piece.repeat(64 * 1024 / piece.len());
            assert!((score_keywords(&text).iter().sum::<f32>() - 1.0).abs() < 1e-6, "{piece}");
            let _found = find_anger_expression(&text);
        }
    }
}
