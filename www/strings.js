// All texts of the page in English and French. Both tables have the same keys, and the English texts equal
// those in index.html; a test checks both.

/** @typedef {"en" | "fr"} Language */

const en = {
  title: "Emotion of a text, computed in this page",
  heading: "Which emotion does a text carry?",
  privacy: "The model runs inside this page. What you type is never sent or stored.",
  language: "Language",
  loading: "Loading the model",
  preparing: "Checking and starting the model",
  ready: "The model is ready.",
  failed: "The model could not be loaded",
  failedReason: "Reason:",
  retry: "Try again",
  yourText: "Your text",
  examples: "Examples",
  clear: "Clear",
  refused: "Not classified:",
  result: "Result",
  idle: "Type a text or choose an example.",
  confidence: "confidence",
  lowConfidence: "low confidence",
  truncated: "truncated: only the beginning was read",
  scores: "Score of each emotion",
  emotion: "Emotion",
  score: "Score",
  route: "Route",
  rule: "Rule applied",
  noRule: "none",
  skipped: "Routes skipped",
  duration: "Computing time in this page",
  preview: "Masked log preview",
  masked: "masked in the whole text:",
  tokens: "Tokens",
  tokensNote: "The encoder’s input; ▁ starts a word.",
  server: "Server response",
  serverNote: "The text is sent to this page’s server only when you press this button.",
  user: "As user",
  ask: "Ask the server",
  unreachable: "The server cannot be reached.",
  status: "Status",
  cohort: "Cohort",
  confidenceTitle: "Confidence",
  roundTrip: "Round trip",
  headers: "Headers",
  name: "Name",
  value: "Value",
  body: "Body",
  batch: "Many texts",
  batchNote:
    "A CSV file with a column “text”, or a text file with one text per line. At most 100,000 rows and 16 MiB. The file does not leave this page.",
  file: "Choose a file, or drop one here",
  unread: "Not read:",
  rows: "Rows",
  of: "of",
  stop: "Stop",
  stopped: "stopped",
  download: "Download as CSV",
  byEmotion: "Rows by emotion",
  answers: "Predictions",
  line: "Line",
  text: "Text",
  refusedRows: "Not classified",
  back: "Back",
  next: "Next",
  batchDone: "All rows are processed.",
  model: "Model",
};

/** @type {typeof en} */
const fr = {
  title: "Émotion d’un texte, calculée dans cette page",
  heading: "Quelle émotion un texte porte-t-il ?",
  privacy: "Le modèle tourne dans cette page. Ce que vous tapez n’est ni envoyé ni conservé.",
  language: "Langue",
  loading: "Chargement du modèle",
  preparing: "Vérification et démarrage du modèle",
  ready: "Le modèle est prêt.",
  failed: "Le modèle n’a pas pu être chargé",
  failedReason: "Raison :",
  retry: "Réessayer",
  yourText: "Votre texte",
  examples: "Exemples",
  clear: "Effacer",
  refused: "Non classé :",
  result: "Résultat",
  idle: "Tapez un texte ou choisissez un exemple.",
  confidence: "confiance",
  lowConfidence: "confiance faible",
  truncated: "tronqué : seul le début a été lu",
  scores: "Score de chaque émotion",
  emotion: "Émotion",
  score: "Score",
  route: "Voie",
  rule: "Règle appliquée",
  noRule: "aucune",
  skipped: "Voies ignorées",
  duration: "Temps de calcul dans cette page",
  preview: "Aperçu masqué du journal",
  masked: "masqué dans tout le texte :",
  tokens: "Jetons",
  tokensNote: "Ce que l’encodeur lit ; ▁ commence un mot.",
  server: "Réponse du serveur",
  serverNote: "Seulement à la demande : ce bouton envoie le texte au serveur de cette page.",
  user: "En tant que",
  ask: "Demander au serveur",
  unreachable: "Le serveur est injoignable.",
  status: "Statut",
  cohort: "Cohorte",
  confidenceTitle: "Confiance",
  roundTrip: "Aller-retour",
  headers: "En-têtes",
  name: "Nom",
  value: "Valeur",
  body: "Corps",
  batch: "Beaucoup de textes",
  batchNote:
    "Un fichier CSV avec une colonne « text », ou un fichier texte d’un texte par ligne. Au plus 100 000 lignes et 16 Mio. Le fichier ne quitte pas cette page.",
  file: "Choisissez un fichier ou déposez-le ici",
  unread: "Non lu :",
  rows: "Lignes",
  of: "sur",
  stop: "Arrêter",
  stopped: "arrêté",
  download: "Télécharger en CSV",
  byEmotion: "Lignes par émotion",
  answers: "Prédictions",
  line: "Ligne",
  text: "Texte",
  refusedRows: "Non classées",
  back: "Précédent",
  next: "Suivant",
  batchDone: "Toutes les lignes sont traitées.",
  model: "Modèle",
};

export const strings = { en, fr };

/**
 * Display names of the classifier's labels, routes, rules and reasons. A name without an entry is shown unchanged.
 * @type {Record<Language, Record<string, string>>}
 */
export const names = {
  en: {
    joy: "Joy",
    sadness: "Sadness",
    anger: "Anger",
    fear: "Fear",
    surprise: "Surprise",
    disgust: "Disgust",
    neutral: "Neutral",
    frustration: "Frustration",
    linear_head: "linear head",
    prototypes: "prototypes",
    regex: "keywords",
    empty: "empty text",
    tiebreak_anger_keyword_standard: "tie-break: anger keywords, standard gap",
    tiebreak_anger_keyword_extended: "tie-break: anger keywords, extended gap",
    dimension_mismatch: "its dimension differs from the encoder’s",
    encoder_failed: "the encoder failed",
    no_model: "no model",
    not_finite: "scores not finite",
  },
  fr: {
    joy: "Joie",
    sadness: "Tristesse",
    anger: "Colère",
    fear: "Peur",
    surprise: "Surprise",
    disgust: "Dégoût",
    neutral: "Neutre",
    frustration: "Frustration",
    linear_head: "tête linéaire",
    prototypes: "prototypes",
    regex: "mots-clés",
    empty: "texte vide",
    tiebreak_anger_keyword_standard: "départage : mots de colère, écart standard",
    tiebreak_anger_keyword_extended: "départage : mots de colère, écart étendu",
    dimension_mismatch: "sa dimension diffère de celle de l’encodeur",
    encoder_failed: "l’encodeur a échoué",
    no_model: "pas de modèle",
    not_finite: "scores non finis",
  },
};

/** @type {Record<Language, string[]>} */
export const examples = {
  en: [
    "I am furious, this is unacceptable!",
    "Thank you so much, you made my day.",
    "The meeting starts at two in room B.",
    "Three hours on hold, and then the line went dead. Call me on +44 20 7946 0958.",
  ],
  fr: [
    "Je suis furieux, c’est inadmissible !",
    "Merci infiniment, vous avez illuminé ma journée.",
    "La réunion commence à 14 h en salle B.",
    "Trois heures d’attente, puis on m’a raccroché au nez. Rappelez-moi au 06 12 34 56 78.",
  ],
};

/**
 * The page's first language: `lang` in the URL, else the browser's first that is English or French, else English.
 * @param {string} search query of the URL
 * @param {readonly string[]} preferred the browser's languages, best first
 * @returns {Language}
 */
export function detectLanguage(search, preferred) {
  const candidates = [new URLSearchParams(search).get("lang") ?? "", ...preferred];
  for (const tag of candidates) {
    const language = tag.slice(0, 2).toLowerCase();
    if (language === "en" || language === "fr") return language;
  }
  return "en";
}
