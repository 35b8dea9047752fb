//! Sentence templates of a load test in two languages; their `{slots}` are filled at random.
//!
//! The sentences were written for this file. They share no run of four words with the sets that
//! evaluate a model (tested in `texts.rs`), so a load test never shows a model its evaluation data.
//! All personal data is fictitious: mail and web addresses use the names that RFC 2606 reserves, IP
//! addresses are those of RFC 5737 and RFC 3849, and telephone numbers are those that Arcep and
//! Ofcom reserve for fiction.

/// Templates and slot values of one language.
pub(super) struct SentenceTemplates {
    /// Sentences with one clear emotion, and neutral ones.
    pub(super) plain: &'static [&'static str],
    /// Sentences between anger and frustration, and sentences with mixed feelings.
    pub(super) borderline: &'static [&'static str],
    /// Sentences with personal data that has to be masked; `#` is any digit.
    pub(super) personal: &'static [&'static str],
    /// Sentences in slang, as friends write them.
    pub(super) slang: &'static [&'static str],
    /// Sentences that mean the opposite of their words.
    pub(super) sarcasm: &'static [&'static str],
    /// Name of each slot and its values, separated by `|`; `#` is any digit.
    pub(super) slots: &'static [(&'static str, &'static str)],
}

/// English templates and slot values.
pub(super) const ENGLISH: SentenceTemplates = SentenceTemplates {
    plain: &[
        "{who} got the job in {city}, we opened a bottle {when}!",
        "Best soup I've eaten all {season}, compliments to the cook in {city}.",
        "{who} sent me tulips {when}, I hum all day long.",
        "{thing} arrived early and runs like clockwork, lovely.",
        "We danced {where} with {who} until midnight, what a wonderful crowd.",
        "Hurray, {who} passed the exam in {city}, cake all round!",
        "{who} moved to {city} {when}, leaving a hollow flat.",
        "I keep laying a second plate for {who}, then I remember.",
        "Our old cat died {when}, a candle burns {where} for her.",
        "Nobody rang on my birthday, so I sat {where} and wept a little.",
        "Listening to the tape that {who} left me, and missing those years.",
        "How dare {who} read my letters {where}, outrageous!",
        "You billed {thing} {number} times, then accused me of lying, I'm boiling with rage.",
        "Stop shouting at {who}, it's shameful and I will not stand for it!",
        "They towed my van from {city} without a word, I could scream with anger.",
        "{who} smashed {thing} on purpose {when}, sheer malice, I could explode!",
        "Footsteps {where}, {number} of them, then the lights died, I'm trembling.",
        "The scan is due {when}, I cannot stop imagining the worst.",
        "I daren't go out alone {when} since {who} was robbed {where}.",
        "The plane to {city} dropped like a stone, I thought we would all die.",
        "A stranger waited {where} for {number} hours, please send somebody, it frightens me.",
        "Wait, {who} lives in {city} now? Since when?",
        "Inside the box for {thing}: {number} live crickets, what on earth!",
        "Well I never, {who} speaks fluent Finnish!",
        "Out of nowhere {who} turned up {where} with a pony, I was speechless.",
        "They gave {thing} away for free {when}? Somebody pinch me.",
        "Hair in the sauce and mould on the plate of {who} {where}, revolting.",
        "The fridge {where} stinks of rotten fish, my stomach turned when {who} opened it.",
        "{who} spat into the sink {where}, how utterly vile.",
        "The sheets of that hotel in {city} were sticky {when}, I feel filthy.",
        "{number} slugs in the salad {where}, yuck, take it away.",
        "{service} signs me out after {number} seconds {when}, every single attempt.",
        "Still on hold with support about {thing}, {number} calls and no progress.",
        "{number} restarts {when}, yet {thing} refuses to pair, sigh.",
        "{service} loses my form on page {number}, what a slog.",
        "The manual for {thing} skips the one page I need, typical.",
        "The train to {city} leaves from platform {number}.",
        "{who} works {where} on weekdays from nine to five.",
        "Please send {thing} back to the depot in {city}.",
        "{service} lists {number} opening hours for {city}.",
        "{thing} weighs {number} kilos and comes with a cable.",
        "The meeting with {who} moved from {city} to room {number}.",
    ],
    borderline: &[
        "I'm annoyed with {service} and, frankly, close to losing my temper with {who}.",
        "{number} weeks without {thing}: is this incompetence, or are you mocking me?",
        "I'd be angry about {thing} if I weren't so worn out by it.",
        "{service} failed {number} times {when}, then {who} put the blame on me.",
        "Part of me is glad {who} left for {city}, part of me aches.",
        "Proud of {who}, yet a bit jealous, if that makes sense.",
        "The trip to {city} was gorgeous and I cried for half of it.",
        "Nice of {who} to apologise {when}, though I don't believe a word.",
        "I laughed {where} when {who} fell, and felt awful right after.",
        "{thing} is finally fixed, after {number} visits that nobody should need.",
        "I'm grumbling about {service}, but {who} drives me to outright rage.",
        "Relieved that {thing} works, furious that it took {number} letters.",
        "The news from {city} scares me and, oddly, gives me hope.",
        "Not sure whether to scold {who} or hug them for what happened {where}.",
        "{number} forms for one refund of {thing}, I could cry or bite somebody.",
        "Leaving {city} {when}: my heart is heavy, my bags are light, I'm smiling.",
    ],
    personal: &[
        "Please answer {mail} about {thing}, {number} weeks is long enough.",
        "{who} can be called on {phone} {when}, thank you.",
        "Refund {thing} to {iban}, asking wears me out.",
        "My address is {mail} and my number {phone}, why has nobody written?",
        "Somebody signed in from {ip} {when}, that frightens me.",
        "See {link} for pictures of {thing}, what a state!",
        "Wrong account! It should read {iban}, not the one of {who}.",
        "Lovely help {when}, write to {mail} and I'll send you a cake.",
        "{who} never picks up at {phone}, and {service} is no better.",
    ],
    slang: &[
        "ngl {thing} slaps, lowkey obsessed",
        "bruh {service} is down AGAIN im deadd",
        "{who} ghosted me fr, feeling kinda meh",
        "omg {who} in {city}?? no wayyy",
        "tbh idk abt {thing}, its whatevs",
        "ewww {where} smells like feet lmao",
        "yo {service} got me heated rn smh",
        "gonna see {who} {when} yesss cant wait",
    ],
    sarcasm: &[
        "Oh brilliant, {service} is taking another nap, just what I needed.",
        "Congratulations on delivering {thing} to {city}, I only live elsewhere.",
        "Sure, {number} passwords a day is exactly how I hoped to grow old.",
        "What a treat, {who} explaining {thing} to me again.",
        "Bravo, {number} hours of music on hold, when is the album out?",
        "Of course it rained {where}, the sun has better manners than {service}.",
    ],
    slots: &[
        (
            "thing",
            "the parcel|my order|the new router|the dishwasher|the desk lamp|my headset|\
             the coffee grinder|the garden bench|the printer|the tablet|my raincoat|\
             the bike helmet|the wall clock|the baby monitor",
        ),
        (
            "service",
            "the booking page|the bank app|the parking app|the library site|the tax portal|\
             the rail website|the clinic portal|the payroll tool|the streaming app|\
             the council site|the school portal|the repair desk",
        ),
        (
            "who",
            "my godmother|the neighbour|our manager|my uncle|a colleague|my flatmate|\
             the lady downstairs|my cousin|our old teacher|my grandson|the caretaker|\
             my stepfather|the nurse|aunt Maeve",
        ),
        (
            "when",
            "this morning|last night|on Monday|before lunch|after work|yesterday evening|\
             on Tuesday at noon|over the weekend|around ten|at dawn|during the break|\
             on the third of May",
        ),
        (
            "where",
            "in the kitchen|in the stairwell|by the canal|behind the shed|in the basement|\
             in the waiting room|at the playground|at the canteen|on the ferry|under the bridge|\
             in the attic|at the gym",
        ),
        ("city", "Leeds|Lyon|Bristol|Nantes|Cork|Ghent|Oslo|Turin|Porto"),
        ("season", "spring|summer|autumn|winter|month|year"),
        ("number", "two|three|four|five|six|seven|eight|nine|eleven|twelve"),
        (
            "mail",
            "robin.vale##@example.org|k.marlow#@example.com|desk-##@post.example|\
             ines_##@example.net",
        ),
        ("phone", "+44 7700 900###|020 7946 0###|(555) 555-01##|+44 20 7946 0###"),
        ("iban", "{iban-gb}|{iban-fr}"),
        ("ip", "192.0.2.##|198.51.100.##|203.0.113.##|2001:db8::##"),
        ("link", "https://example.org/p/####|http://www.example.com/album?id=###"),
    ],
};

/// French templates and slot values.
pub(super) const FRENCH: SentenceTemplates = SentenceTemplates {
    plain: &[
        "Champagne, {who} décroche enfin son diplôme à {city} !",
        "{who} chante {where} depuis l'aube, quelle joie dans l'immeuble.",
        "Merci pour {thing}, je saute de bonheur, vraiment.",
        "On rit encore de notre week-end à {city}, c'était magique.",
        "Hourra, {thing} fonctionne du premier coup, bravo l'équipe !",
        "{who} m'a offert des pivoines {when}, j'en souris toujours.",
        "{who} part vivre à {city}, la maison sonne creux.",
        "Je relis les lettres de grand-mère {where} et je pleure doucement.",
        "Plus personne ne m'attend {where}, quelle solitude.",
        "Notre vieux chat s'est éteint {when}, il manque déjà.",
        "{who} ne répond plus depuis {number} mois, tout s'écroule autour de moi.",
        "De quel droit {who} fouille mes tiroirs {where}, me voilà furax !",
        "Vous m'avez menti {number} fois pour {thing}, honte à vous, la colère m'étouffe !",
        "Qu'on arrête de hurler sur {who}, je ne le tolère pas !",
        "{who} a cassé {thing} exprès {when}, j'enrage.",
        "Facturer {number} fois {thing}, c'est du vol, la rage me gagne !",
        "Quelque chose gratte {where} et la lumière vient de sauter, je tremble.",
        "J'attends l'appel du médecin {when}, la peur me ronge.",
        "Un inconnu rôde {where} depuis {number} heures, venez vite, au secours !",
        "L'avion pour {city} a plongé {when}, cramponnée au siège, je priais.",
        "Depuis le cambriolage, {who} n'ose plus dormir sans lumière.",
        "Quoi, {who} habite à {city} maintenant ? Première nouvelle !",
        "J'ouvre le carton et, à la place, {number} grillons vivants !",
        "Tiens donc, {who} parle couramment finnois, qui l'eût cru ?",
        "{who} a surgi {where} avec un poney, incroyable, les mots me manquent.",
        "On donne {thing} gratuitement {when} ? Il m'a fallu relire l'affiche.",
        "Du moisi dans l'assiette de {who} {where}, immonde.",
        "Le frigo {where} empeste le poisson pourri, mon estomac se retourne.",
        "{who} a craché par terre {where}, quelle horreur répugnante.",
        "{number} limaces dans la salade à {city}, beurk, remportez ça.",
        "Les draps de cet hôtel à {city} collaient {when}, je me sens sale.",
        "{service} me déconnecte toutes les {number} secondes, c'est lassant.",
        "Toujours en attente pour {thing}, {number} appels et rien n'avance.",
        "{number} redémarrages pour {thing} {when}, et encore ce code d'erreur, pfff.",
        "{service} efface mon dossier à la page {number}, quelle impasse.",
        "La notice saute justement la page utile pour {thing}, évidemment.",
        "Le train pour {city} part voie {number}.",
        "{who} travaille {where} de neuf heures à midi.",
        "Merci de renvoyer {thing} au dépôt de {city}.",
        "{service} affiche {number} horaires pour {city}.",
        "Pour {thing}, prévoir {number} kilos et un câble.",
        "Le rendez-vous avec {who} passe de {city} à la salle {number}.",
    ],
    borderline: &[
        "{service} m'agace, mais {who}, franchement, réveille en moi une rage noire.",
        "{number} semaines sans {thing} : incompétence, ou vous vous moquez de moi ?",
        "Je me fâcherais pour {thing} si la lassitude ne gagnait pas.",
        "{service} a planté {number} fois {when}, puis {who} m'a accusé.",
        "Contente que {who} parte pour {city}, et pourtant ça me serre la gorge.",
        "Fier de {who}, un peu jaloux aussi, allez comprendre.",
        "Le voyage à {city} était splendide, j'ai pleuré la moitié du temps.",
        "{who} s'excuse {when}, beau geste, auquel je ne crois guère.",
        "J'ai ri {where} quand {who} a glissé, puis j'ai eu honte.",
        "Ça remarche, pour {thing}, au bout de {number} visites dont je me serais passé.",
        "Je râle contre {service}, mais {who} me fait carrément sortir de mes gonds.",
        "Soulagée pour {thing}, remontée contre ces {number} courriers inutiles.",
        "Les nouvelles de {city} m'inquiètent et, bizarrement, me rassurent.",
        "Gronder {who} ou l'embrasser après l'histoire {where}, j'hésite encore.",
        "{number} formulaires pour {thing}, entre larmes et morsure mon cœur balance.",
        "Je quitte {city} {when}, le cœur lourd, la valise légère, le sourire aux lèvres.",
    ],
    personal: &[
        "Répondez à {mail} à propos de {thing}, {number} semaines, ça suffit.",
        "{who} est joignable au {phone} {when}, merci beaucoup.",
        "Remboursez {thing} sur {iban}, réclamer chaque semaine m'épuise.",
        "Mon adresse est {mail}, mon numéro {phone}, pourquoi ce silence ?",
        "Une connexion depuis {ip} {when}, voilà qui m'effraie.",
        "Les photos sont sur {link}, regardez dans quel état est {thing} !",
        "Mauvais compte ! Il fallait lire {iban}, pas celui d'un autre.",
        "Accueil charmant {when}, écrivez à {mail}, je vous enverrai un gâteau.",
        "{who} ne décroche jamais au {phone}, et {service} ne vaut guère mieux.",
    ],
    slang: &[
        "wesh {service} bug encore jsuis deg",
        "frr {who} m'a mis un vent, la loose",
        "jsp trop pour {thing}, bof bof",
        "mdrrr {who} à {city} ?? nan tu mens",
        "azy {service} me saoule grave là",
        "trop hâte de voir {who} {when} ptdr",
        "beurkk ça schlingue {where} srx",
        "{thing} c de la balle, jkiffe",
    ],
    sarcasm: &[
        "Formidable, {service} refait la sieste, comme si la journée était trop simple.",
        "Félicitations, {thing} est à {city}, dommage que j'habite ailleurs.",
        "Mais oui, {number} mots de passe par jour, le rêve de toute une vie.",
        "Quel régal, {who} m'explique encore {thing}.",
        "Bravo pour vos {number} heures de flûte au téléphone, l'album sort quand ?",
        "Évidemment qu'il pleut {where}, même le soleil est mieux élevé que {who}.",
    ],
    slots: &[
        (
            "thing",
            "le colis|ma commande|la nouvelle box|le lave-vaisselle|la lampe|mon casque|\
             le moulin à café|le banc du jardin|l'imprimante|la tablette|mon imperméable|\
             la cafetière|l'horloge|la poussette",
        ),
        (
            "service",
            "l'appli de la banque|le site de la mairie|la page de réservation|\
             le portail des impôts|l'appli du parking|le site du train|l'espace client|\
             le portail de l'école|la messagerie du cabinet|le logiciel de paie|\
             le guichet en ligne|l'atelier de réparation",
        ),
        (
            "who",
            "ma sœur|mon parrain|notre cheffe|mon oncle|une collègue|mon colocataire|la gardienne|\
             mon cousin|notre ancien prof|mon petit-fils|la dame du dessous|ma marraine|\
             la pharmacienne|tante Maïa",
        ),
        (
            "when",
            "ce matin|hier soir|lundi|avant midi|après le travail|dimanche dernier|\
             mardi vers dix heures|ce week-end|tout à l'heure|cette nuit|pendant la pause|\
             le trois mai",
        ),
        (
            "where",
            "dans la cuisine|sur le palier|au bord du canal|derrière la remise|à la cave|\
             chez le dentiste|sur le parking|à la cantine|sur le bac|sous le pont|\
             au grenier|au gymnase",
        ),
        ("city", "Lyon|Nantes|Lille|Brest|Dijon|Namur|Genève|Tours|Metz"),
        ("number", "deux|trois|quatre|cinq|six|sept|huit|neuf|onze|douze"),
        (
            "mail",
            "camille.vallon##@example.org|k.marlot#@example.com|accueil-##@poste.example|\
             ines_##@example.net",
        ),
        ("phone", "01 99 00 ## ##|06 39 98 ## ##|+33 6 39 98 ## ##|0465710###"),
        ("iban", "{iban-fr}|{iban-gb}"),
        ("ip", "192.0.2.##|198.51.100.##|203.0.113.##|2001:db8::##"),
        ("link", "https://example.org/p/####|http://www.example.com/album?id=###"),
    ],
};

/// Sentences with both languages; their slots get French values.
pub(super) const MIXED_LANGUAGES: &[&str] = &[
    "Sorry mais {service} is down, c'est relou.",
    "So happy, {who} vient enfin me voir à {city} !",
    "Oh my god, {thing} est déjà là, what a surprise !",
    "Honestly, {who} me rend dingue, I can't anymore.",
    "Feeling sad {when}, toute la bande est partie à {city}.",
    "Quick update : {thing} part {when}, see you soon.",
    "{where}, it smells so bad, c'est dégueu.",
    "Je flippe, someone is hiding {where}, help me.",
];

/// Emoji, separated by spaces; a text of emoji has 1 to 5 of them.
pub(super) const EMOJI: &str =
    "😀 😂 🥰 😢 😭 😡 🤬 😱 😨 😮 🤯 🤢 🤮 😐 🙃 😤 😩 🎉 ❤️ 💔 👍 👎 🙏 👩‍👧 🇫🇷";
