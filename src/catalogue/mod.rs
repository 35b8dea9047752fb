//! Sentences about a release: a message is a code with arguments, and a catalogue renders it in one
//! language.
//!
//! The rollout and the gateway say what happened as a [`Message`](message::Message). The gateway
//! links the English catalogue only and sends code, arguments and the English text. The dashboard
//! and the command line render the same message in English or French, from `en.json` or `fr.json`.
//!
//! A catalogue has a template for each code, such as `rolled back: {cause}`. The placeholder says
//! how an argument is written; see [`Catalogue`](render::Catalogue). The entries `format.…` are the
//! conventions of the language: decimal mark, percent sign and the marks between the parts of a
//! list. `www/dashboard/messages.js` renders the same templates; `tests/data/messages.jsonl` holds
//! both renderers to the same sentences.

pub mod code;

pub mod message;

pub mod render;

pub mod time;
