//! The ids of stored events, so that an event counts once however often it arrives.
//!
//! An id is a UUIDv7: a time, and 74 random bits. The ids of each minute are kept as ten bytes each,
//! with the number of the batch that has the event. Two events share these bytes by chance once in 2⁷⁴.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use jeffrey_terms::ResponseId;

/// Bytes of an id that are kept.
const ID_BYTES: usize = 10;

/// An event's id: the minute that it names, and the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// Minute in which the id was made, counted since 1970.
    pub minute: u64,
    bytes: [u8; ID_BYTES],
}

impl EventId {
    /// Reads an id. One that is no UUIDv7 is known by its hash, and by the time of its event.
    pub fn new(id: &str, event_time_ms: u64) -> Self {
        let (minute, bytes) = match parse_uuid(id) {
            Some(uuid) => (uuid.created_at().0 / 60_000, uuid.as_bytes().last_chunk().copied()),
            None => {
                let hash = Sha256::digest(id.as_bytes());
                (event_time_ms / 60_000, hash.first_chunk().copied())
            }
        };
        Self { minute, bytes: bytes.unwrap_or_default() }
    }
}

/// Parses the text of a UUIDv7; `None` if it is another text.
fn parse_uuid(text: &str) -> Option<ResponseId> {
    let digits = text.replace('-', "");
    let number = (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok())??;
    ResponseId::from_bytes(number.to_be_bytes())
}

/// Ids of one minute, with the number of the batch that has the event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MinuteIds {
    batches: HashMap<[u8; ID_BYTES], u64>,
    /// Ids that the last checkpoint does not have, in the order of their arrival.
    unsaved: Vec<([u8; ID_BYTES], u64)>,
}

impl MinuteIds {
    /// Returns the number of the first event in the batch that has the event of an id.
    pub fn batch_of(&self, id: EventId) -> Option<u64> {
        self.batches.get(&id.bytes).copied()
    }

    /// Adds the id of an event in the batch that begins at `first_seq`.
    pub fn insert(&mut self, id: EventId, first_seq: u64) {
        if self.batches.insert(id.bytes, first_seq).is_none() {
            self.unsaved.push((id.bytes, first_seq));
        }
    }

    /// Number of ids of the minute.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Returns whether there is no id.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Returns whether the last checkpoint has every id.
    pub fn is_saved(&self) -> bool {
        self.unsaved.is_empty()
    }

    /// Encodes the ids that the last checkpoint does not have, grouped by batch: the number of its first
    /// event, the number of ids, and the ids.
    pub fn encode_unsaved(&self) -> Vec<u8> {
        let mut encoded = Vec::new();
        for batch in self.unsaved.chunk_by(|(_, first_seq), (_, next)| first_seq == next) {
            encoded.extend(batch.first().map_or(0, |(_, first_seq)| *first_seq).to_le_bytes());
            encoded.extend((batch.len() as u32).to_le_bytes());
            encoded.extend(batch.iter().flat_map(|(id, _)| id));
        }
        encoded
    }

    /// Notes that a checkpoint has every id.
    pub fn mark_saved(&mut self) {
        self.unsaved.clear();
    }

    /// Adds the ids of one [`encode_unsaved`](Self::encode_unsaved). Returns `None` if the value is not
    /// one.
    pub fn add_saved(&mut self, mut encoded: &[u8]) -> Option<()> {
        while !encoded.is_empty() {
            let (first_seq, rest) = encoded.split_first_chunk()?;
            let (count, rest) = rest.split_first_chunk()?;
            let bytes = u32::from_le_bytes(*count) as usize * ID_BYTES;
            let (ids, rest) = rest.split_at_checked(bytes)?;
            let first_seq = u64::from_le_bytes(*first_seq);
            for id in ids.as_chunks().0 {
                self.batches.insert(*id, first_seq);
            }
            encoded = rest;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_terms::UnixMs;
    use proptest::prelude::*;

    fn id(ms: u64, random: [u8; 10]) -> EventId {
        EventId::new(&ResponseId::new(UnixMs(ms), random).to_string(), 0)
    }

    #[test]
    fn the_minute_is_that_of_the_id_and_not_of_the_event() {
        assert_eq!(id(180_001, [1; 10]).minute, 3);
        assert_eq!(EventId::new("no uuid", 120_000).minute, 2);
        assert_ne!(EventId::new("a", 0), EventId::new("b", 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn ids_are_read_back_with_their_batch(
            ids in prop::collection::hash_map(any::<[u8; 10]>(), 1_u64..5, 0..50), cut in 0_usize..50,
        ) {
            let ids: Vec<(EventId, u64)> =
                ids.into_iter().map(|(random, seq)| (id(60_000, random), seq)).collect();
            let (mut written, mut read) = (MinuteIds::default(), MinuteIds::default());
            for part in [&ids[..cut.min(ids.len())], &ids[cut.min(ids.len())..]] {
                part.iter().for_each(|(id, seq)| written.insert(*id, *seq));
                read.add_saved(&written.encode_unsaved()).unwrap();
                written.mark_saved();
            }
            prop_assert_eq!(&read, &written);
            for (id, seq) in ids {
                prop_assert_eq!(read.batch_of(id), Some(seq));
            }
        }

        #[test]
        fn no_value_makes_the_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = MinuteIds::default().add_saved(&bytes);
        }
    }
}
