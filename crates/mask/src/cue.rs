//! Words around a value that tell what it is.

use super::scanner::Scanner;

/// Words before a number that mark it as an order, a product, an amount or another thing.
pub(super) const NON_PERSONAL_CUES: &str = "commande commandes cmd order orders ordre ref reference references ticket tickets dossier \
                     dossiers facture factures invoice invoices colis tracking suivi parcel isbn ean upc sku article \
                     articles id ids identifiant build version timestamp epoch serie serial lot batch contrat contract \
                     transaction reservation booking case issue bug code codes devis modele model produit product \
                     item population habitants total page pages postid tweet montant amount solde prix price barre barres barcode gencod";

/// Returns whether a unit follows: money, people, distance.
pub(super) fn is_quantity(scanner: &Scanner<'_>, pos: usize) -> bool {
    let pos = scanner.skip_spaces(pos);
    let units = "euro euros eur usd dollar dollars f francs km kg g m habitants inhabitants people personnes \
                 visiteurs vues views pounds livres yen octets bytes tonnes users utilisateurs votes voix fois times";
    matches!(scanner.char_at(pos), '€' | '$' | '£' | '%' | '¥')
        || scanner.word_at(pos).0.is_in(units)
}
