//! `--language`: the language of sentences about a release.
//!
//! Only the flag decides. The locale of the terminal does not, so that a script gets the same
//! output everywhere.

use clap::ValueEnum;
use jeffrey_edge::catalogue::render::Catalogue;

/// Flag of the commands that print sentences about a release.
#[derive(clap::Args)]
pub(super) struct LanguageFlag {
    /// Language of the sentences about a release; tables and headings stay in English
    #[arg(long, global = true, value_name = "LANGUAGE", value_enum)]
    #[arg(default_value_t = SentenceLanguage::En)]
    language: SentenceLanguage,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum SentenceLanguage {
    En,
    Fr,
}

impl LanguageFlag {
    /// Returns the catalogue of the language.
    pub(super) const fn catalogue(&self) -> Catalogue {
        match self.language {
            SentenceLanguage::En => Catalogue::ENGLISH,
            SentenceLanguage::Fr => Catalogue::FRENCH,
        }
    }
}
