//! Words around a name: those that announce one, and those that are none although they have a capital.
//!
//! All lists are in small letters without accents, as [`super::scanner::FoldedWord`] reads them.

use super::scanner::FoldedWord;

/// Titles before a name. `m` and `me` count only with their capital.
pub(super) const TITLES: &str = "mme mlle mr mrs ms miss mx dr pr prof maitre docteur monsieur madame mademoiselle sir professeur professor \
                                 doctor sgt capt lt col herr frau senor senora signor signora messieurs mesdames uncle aunt auntie \
                                 oncle tonton tante tata tatie papy mamie papi abbe father reverend rev imam rabbi inspecteur \
                                 officer detective judge captain lieutenant inspector sergeant corporal sheriff coach senator commander";

/// Titles after which a known name in small letters counts too.
pub(super) const SMALL_TITLES: &str =
    "mme mlle mr mrs ms dr monsieur madame mademoiselle docteur doctor prof";

/// Words in small letters that are listed names, but not behind « c'est » and the like.
pub(super) const SMALL_WORDS: &str = "ben mate lasse jai chus die tore read marry vit jure pas plus comment pourquoi toujours jamais bien mal \
                                      ainsi comme encore not wrong on in the a hope mark will bill may bebe drew hung \
                                      hella neva devan samu jose sava lala landin youri amor buena verde oman ceylon taurus orion avon basel \
                                      chanel koko odessa";

/// Ends of surnames of many countries, for surnames that the list lacks.
pub(super) const SURNAME_ENDS: [&str; 34] = [
    "sson", "dottir", "ovic", "evic", "ovich", "evich", "ov", "ova", "eva", "sky", "ski", "ska",
    "enko", "chuk", "auskas", "iene", "aite", "elis", "enas", "unas", "onis", "inen", "yan",
    "oglu", "shvili", "adze", "berg", "stein", "mann", "opoulos", "escu", "ez", "swamy", "nathan",
];

/// Words before a first name in small letters: « j'ai vu kévin », `talk to sarah`.
pub(super) const SMALL_PREPOSITIONS: &str = "avec vu voir with to told met avec appele appeler chez contre pour saw loves love hate hates miss dit a u you thanks thank merci bisous bises ok yo bro tell morning night anniv birthday t \
                                             et and by from demande aime deteste quitte rencontre connais know";

/// Verbs that only a person is the subject of, behind a first name that is also a word or a place.
pub(super) const PERSON_VERBS: &str = "told lied texted yelled shouted laughed cried smiled kissed hugged cheated dumped ghosted promised";

/// More such verbs, behind a first name that is also a word: a place does these things in the news.
pub(super) const MORE_PERSON_VERBS: &str = "said says asked called hates thinks married";

/// French participles behind « est » that tell of a person.
pub(super) const PERSON_STATES: &str = "parti partie venu venue mort morte enceinte malade amoureux amoureuse rentre rentree tombe tombee";

/// Titles of one or two letters.
pub(super) const SHORT_TITLES: &str = "m me";

/// Words directly before a name that is announced: « nommé Karim », `signed Ann`.
pub(super) const ANNOUNCING: &str =
    "named prenomme prenommee nommee surnomme surnommee nicknamed signe signee signed";

/// Words before a colon, a comma or a line break that a name follows.
pub(super) const LABELS: &str = "nom prenom prenoms name firstname lastname surname client cliente patient patiente auteur author \
                                 titulaire beneficiaire destinataire expediteur holder recipient sender from de attn";

/// Closing words of a letter, before the name of its writer.
pub(super) const CLOSINGS: &str = "cordialement regards sincerely bisous bises bise love cheers amicalement best xoxo xx merci thanks yours \
                                   affectueusement respectueusement salutations sentiments faithfully truly wishes amities tendresse";

/// Greetings, after which a single word with a capital is a name.
pub(super) const GREETINGS: &str =
    "dear cher chere chers cheres hi hello hey bonjour bonsoir salut coucou hola yo";

/// Persons whose name follows directly: « mon mari Karim », `my boss Oluwaseun`.
pub(super) const RELATIVES: &str = "mari femme epouse epoux conjoint conjointe frere soeur fils fille pere mere ami amie copain copine collegue \
                                    voisin voisine patron patronne chef cheffe sour cousin cousine neveu niece husband wife brother sister son \
                                    daughter dad mom mum mother friend boyfriend girlfriend colleague coworker neighbor neighbour boss \
                                    manager supervisor nephew roommate partner fiance fiancee conseiller conseillere technicien \
                                    technicienne livreur interlocuteur interlocutrice ex bff crush coloc psy beauf hubby stepdad stepmom fille";

/// Verbs that ask for a person: `ask for …`, « demandez … ».
pub(super) const ASKING: &str =
    "demandez demander demande appelez contactez contacter contact joignez";

/// Words behind a name that only a person has: `… speaking`, « … à l'appareil ».
pub(super) const SPEAKING: &str = "speaking calling here";

/// Words that are surnames behind a title although they are no names elsewhere.
pub(super) const TITLE_SURNAMES: &str = "brown white black gray grey green king prince west north page best major bishop england french english \
                                         paris london love young long good house day star blue cook";

/// Particles that can begin a surname after a title.
pub(super) const FIRST_PARTICLES: &str = "de d da di del della dos von van bin ibn al el ben abu";

/// Particles inside a name.
pub(super) const PARTICLES: &str = "de da di del della dos das do van von der den ten ter zu la le du des bin ibn al el ben abu y e af av san o";

/// Words before a name that make it a place, a work or a brand: « rue Victor Hugo », `Lake Victoria`.
pub(super) const PLACE_WORDS: &str = "rue avenue boulevard place square lycee college ecole hopital clinique stade station gare metro pont tour \
                                      saint sainte st ste san santa lac mont ile ville port fort hotel restaurant cafe bar prix trophee coupe \
                                      quartier parc jardin rond-point impasse allee quai route lake mount mt hotel street airport aeroport \
                                      university universite school hospital team marque brand film movie book livre album chanson song serie \
                                      series game jeu tournoi fondation foundation museum musee theatre groupe band cyclone ouragan hurricane \
                                      storm tempete operation projet project port camp new north south east west nord sud est ouest los las el \
                                      the this these those cape cap notre-dame notre";

/// Words behind a name that make it a place or a thing.
pub(super) const PLACE_WORDS_AFTER: &str = "street avenue road lane drive airport university park stadium hospital school college bridge island \
                                            islands bay beach county city town station museum award awards day days church cathedral hotel inc ltd \
                                            corp llc lake river mountain hills valley square place tower hall theatre theater center centre \
                                            foundation institute festival cup league prize building house";

/// Words of [`PLACE_WORDS_AFTER`] that are no surnames, so that they end a name: « Charles de Gaulle Airport ».
pub(super) const NO_SURNAMES: &str = "street avenue road airport university stadium hospital school college bridge station museum award \
                                      awards cathedral hotel inc ltd corp llc institute festival theatre theater foundation";

/// Articles and words that make the word behind them a thing: `the grace`, « la rose ».
pub(super) const DETERMINERS: &str = "my mon ma ton ta son sa the a an this that these those some any no every each his her its our your their le la les l un une des du ce \
                                      cet cette ces mes tes ses nos vos leur leurs quel quelle aucun aucune chaque in en au aux dans sur sous";

/// Words with a capital that are no names, in any place of a sentence, by their first letter.
const NOT_NAMES: [&str; 26] = [
    "a about accueil address adresse africa africain african after again agent ah ai airbnb \
     album alexa algerien alive all allemand allemande alors also always am amazing amazon \
     america americain americaine american an and android anglais anglaise angry annexe \
     another any anybody anyone aout api apple apres april are article as asia at attention \
     au august aussi australia australian aux avait avant avec avenue avez avons avril \
     awesome",
    "bac back bank banque batman be beautiful because been before belge best better bien \
     black blue bonjour bonsoir book both bravo bref britain british brown buddhist busy \
     but by",
    "c caf call called can canada canadian canadien captain car catholic cdd cdi ce ces cet \
     cette chapter cher chere chez china chinese chinois christ christian christmas cia \
     client cliente clients club college colonel combien come comment company congrats \
     congratulations coucou could covid cpam css customer customers",
    "d dad dans de dead dear december decembre deja democrat depuis des desole desolee \
     diary did dieu dimanche dire directeur direction director directrice dit do doc \
     docteur doctor does dois doit dommage donc done dont down dr du during",
    "each early east easter edf eight elle elles email emploi encore enfin england english \
     ensuite entre episode equipe es espagnol espagnole est et etait etes eu europe \
     european europeen even everybody everyone excited",
    "facebook faire fait faut fbi february feel felicitations fevrier few figure film fine \
     first firstname five folks for fort four francais francaise france free french friday \
     friend friends from fwd",
    "gay general genial german germany get glad go god going good google got gray great \
     green grey group guys",
    "had halloween happy has hate have he hello her here hey hi hindu his home hospital \
     hotel how ht html",
    "i ici id ier if il ill ils im impossible impots in india indian infirmiere instagram \
     internet into iphone ireland irish is it italian italien italienne italy its ive",
    "j jamais january janvier japan japanese japonais je jesus jeudi jewish journal juillet \
     juin july june just",
    "king kitty know",
    "l la la-bas lake las last lastname late le les let lets leur leurs licence like linux \
     london look lord los love lucky lundi",
    "ma ma'am mac madam madame mademoiselle mai mail maire mais maitre mal malgre mama \
     maman mamie manager many march mardi mario marocain married mars master may maybe \
     medecin merci mercredi merry mes mesdames messieurs microsoft might minister ministre \
     miss mission mlle mme mms mom mon monday monopoly monsieur mont more most mount movie \
     mr mr-and mrs ms much mum muslim must my",
    "n name nasa nato ne need netflix never new next ni nice nine no nobody noel nom non \
     nord north nos not notre nous november novembre now nurse",
    "objet october octobre of off officer offline oh ok okay old on one online only ont onu \
     or orange otan other ou ouest oui our out over own",
    "page papa papy paques par parce parfait parisien parisienne part pas paypal pdf \
     pendant people perhaps personne peut peux phone pink please plus pokemon pole police \
     pour pourquoi pregnant prenom president presidente prince princess professeur proud \
     puis",
    "quand que quebecois queen quel quelle quelqu'un qui quoi",
    "ramadan ratp rdv re ready real red republican restaurant rien road russia russian",
    "sa sad saint sainte sales salut same samedi san sans santa saturday sauf sav school \
     scotland scottish season second section see selon september septembre sergeant service \
     ses seven shall she should si signature since single sinon sir siri six sms sncf so \
     society some somebody someone sommes son song sont sorry sous south spain spanish \
     speaker spiderman sql st staff star stars ste still straight street subject such sud \
     suis suisse sunday super superman support sur sure surname",
    "ta table tata teacher team tel telephone ten tes than thank thanks thanksgiving that \
     the their then there these they think this those three thursday tiktok tired to today \
     tomorrow ton tonight tonton too toujours tous tout toute toutes trans tres trop ttc tu \
     tuesday tunisien tva twitter two",
    "uber uk un under une university until up urgent url urssaf us usa",
    "va vais vas vegan vendredi vers version very veut veux visa voici voila vont vos votre \
     vous",
    "wales want wars was we wednesday well welsh were west what whatsapp when where which \
     while white who why will windows with world would",
    "",
    "yellow yes yesterday york you your youtube",
    "",
];

/// Returns whether a word is no name although it may have a capital.
pub(super) fn is_no_name(word: &FoldedWord) -> bool {
    let letter = word.as_str().bytes().next().filter(u8::is_ascii_lowercase);
    letter.is_some_and(|letter| word.is_in(NOT_NAMES[usize::from(letter - b'a')]))
}
