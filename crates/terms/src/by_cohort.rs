//! A pair of values: one of the canary, one of stable.
//!
//! In JSON, a pair is an object with the fields `canary` and `stable`. Where a format has had an
//! array of two since before, [`as_array`] keeps it.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

use crate::Cohort;

/// One value for each cohort.
///
/// ```
/// use jeffrey_terms::Cohort;
/// use jeffrey_terms::by_cohort::ByCohort;
///
/// let mut requests = ByCohort { canary: 60, stable: 540 };
/// requests[Cohort::Canary] += 1;
/// assert_eq!(requests.map(|count| count * 2), ByCohort { canary: 122, stable: 1_080 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByCohort<T> {
    /// Value of the canary cohort.
    pub canary: T,
    /// Value of the stable cohort.
    pub stable: T,
}

impl<T> ByCohort<T> {
    /// Computes the value of each cohort, the canary's first.
    pub fn new_with(mut value_of: impl FnMut(Cohort) -> T) -> Self {
        Self { canary: value_of(Cohort::Canary), stable: value_of(Cohort::Stable) }
    }

    /// Returns the value of one cohort.
    pub const fn get(&self, cohort: Cohort) -> &T {
        match cohort {
            Cohort::Canary => &self.canary,
            Cohort::Stable => &self.stable,
        }
    }

    /// Returns the value of one cohort, to change it.
    pub const fn get_mut(&mut self, cohort: Cohort) -> &mut T {
        match cohort {
            Cohort::Canary => &mut self.canary,
            Cohort::Stable => &mut self.stable,
        }
    }

    /// Converts both values with the same function, the canary's first.
    pub fn map<U>(self, mut convert: impl FnMut(T) -> U) -> ByCohort<U> {
        ByCohort { canary: convert(self.canary), stable: convert(self.stable) }
    }

    /// Returns both values with their cohorts, the canary's first.
    pub fn iter(&self) -> impl Iterator<Item = (Cohort, &T)> {
        [(Cohort::Canary, &self.canary), (Cohort::Stable, &self.stable)].into_iter()
    }
}

impl<T> Index<Cohort> for ByCohort<T> {
    type Output = T;

    fn index(&self, cohort: Cohort) -> &T {
        self.get(cohort)
    }
}

impl<T> IndexMut<Cohort> for ByCohort<T> {
    fn index_mut(&mut self, cohort: Cohort) -> &mut T {
        self.get_mut(cohort)
    }
}

impl<T> From<[T; 2]> for ByCohort<T> {
    /// Takes the canary's value first, then stable's.
    fn from([canary, stable]: [T; 2]) -> Self {
        Self { canary, stable }
    }
}

impl<T> From<ByCohort<T>> for [T; 2] {
    /// Returns the canary's value first, then stable's.
    fn from(pair: ByCohort<T>) -> Self {
        [pair.canary, pair.stable]
    }
}

/// Writes a pair as an array, the canary's value first, for `#[serde(with = "…")]`.
pub mod as_array {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::ByCohort;

    /// Writes one pair as an array of two values.
    ///
    /// # Errors
    /// The error of the serializer.
    pub fn serialize<T: Serialize, S: Serializer>(
        pair: &ByCohort<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        [&pair.canary, &pair.stable].serialize(serializer)
    }

    /// Reads one pair from an array of two values.
    ///
    /// # Errors
    /// The error of the deserializer, also for an array of another length.
    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ByCohort<T>, D::Error> {
        <[T; 2]>::deserialize(deserializer).map(ByCohort::from)
    }

    /// Writes a pair that may be absent: an array of two values, or null.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        use super::ByCohort;

        /// Writes the pair as an array; `None` as null.
        ///
        /// # Errors
        /// The error of the serializer.
        pub fn serialize<T: Serialize, S: Serializer>(
            pair: &Option<ByCohort<T>>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            pair.as_ref().map(|pair| [&pair.canary, &pair.stable]).serialize(serializer)
        }

        /// Reads the pair from an array; null as `None`.
        ///
        /// # Errors
        /// The error of the deserializer, also for an array of another length.
        pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<ByCohort<T>>, D::Error> {
            Ok(Option::<[T; 2]>::deserialize(deserializer)?.map(ByCohort::from))
        }
    }

    /// Writes a queue of pairs as an array of arrays.
    pub mod queue {
        use std::collections::VecDeque;

        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        use super::ByCohort;

        /// Writes each pair as an array, in the queue's order.
        ///
        /// # Errors
        /// The error of the serializer.
        pub fn serialize<T: Serialize, S: Serializer>(
            pairs: &VecDeque<ByCohort<T>>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(pairs.iter().map(|pair| [&pair.canary, &pair.stable]))
        }

        /// Reads each pair from an array, in the same order.
        ///
        /// # Errors
        /// The error of the deserializer, also for a pair of another length.
        pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<VecDeque<ByCohort<T>>, D::Error> {
            let pairs = Vec::<[T; 2]>::deserialize(deserializer)?;
            Ok(pairs.into_iter().map(ByCohort::from).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn each_cohort_has_its_own_value_and_the_canary_comes_first() {
        let mut pair = ByCohort::new_with(|cohort| cohort.name().len());
        assert_eq!(pair, ByCohort { canary: 6, stable: 6 });
        pair[Cohort::Stable] = 1;
        *pair.get_mut(Cohort::Canary) += 2;
        assert_eq!((pair[Cohort::Canary], *pair.get(Cohort::Stable)), (8, 1));
        let listed: Vec<_> = pair.iter().collect();
        assert_eq!(listed, [(Cohort::Canary, &8), (Cohort::Stable, &1)]);
        let mut order = Vec::new();
        let doubled = pair.map(|value| {
            order.push(value);
            2 * value
        });
        assert_eq!(<[usize; 2]>::from(doubled), [16, 2]);
        assert_eq!((order, ByCohort::from([16, 2])), (vec![8, 1], doubled));
    }

    #[test]
    fn a_pair_is_an_object_and_an_array_where_one_is_asked_for() {
        #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
        struct Row {
            object: ByCohort<u64>,
            #[serde(with = "as_array")]
            array: ByCohort<u64>,
            #[serde(default, with = "as_array::option")]
            absent: Option<ByCohort<u64>>,
            #[serde(with = "as_array::queue")]
            queue: VecDeque<ByCohort<u64>>,
        }
        let pair = ByCohort { canary: 1, stable: 2 };
        let rows = [
            (
                Row { object: pair, array: pair, absent: Some(pair), queue: [pair, pair].into() },
                r#"{"object":{"canary":1,"stable":2},"array":[1,2],"absent":[1,2],"queue":[[1,2],[1,2]]}"#,
            ),
            (
                Row { object: pair, array: pair, ..Row::default() },
                r#"{"object":{"canary":1,"stable":2},"array":[1,2],"absent":null,"queue":[]}"#,
            ),
        ];
        for (row, json) in rows {
            assert_eq!(serde_json::to_string(&row).unwrap(), json);
            assert_eq!(serde_json::from_str::<Row>(json).unwrap(), row);
        }
        let without = r#"{"object":{"canary":0,"stable":0},"array":[0,0],"queue":[]}"#;
        assert_eq!(serde_json::from_str::<Row>(without).unwrap(), Row::default());
        let short = without.replace("[0,0]", "[0]");
        assert!(serde_json::from_str::<Row>(&short).is_err());
    }
}
