//! The values that a handler's steps have saved, and how they are saved.

mod encoding;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

pub(crate) use self::encoding::Value;
use self::encoding::{cost, decode, encode};
#[cfg(feature = "_sql")]
pub(crate) use self::encoding::{decode_one, encode_one};
use crate::store::{Acquired, StoreError};

/// The steps of one attempt: its own, and those that earlier attempts saved.
pub(crate) struct Steps {
    known: Mutex<Known>,
    /// Held during a save, so that an older state never overwrites a newer one.
    pub(crate) saving: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    values: BTreeMap<String, Value>,
    /// The names that this attempt has used.
    used: BTreeSet<String>,
    /// The steps that the store has, encoded.
    saved: Bytes,
    /// Steps were added since the last save.
    unsaved: bool,
    /// A step was committed in a transaction of the handler's, or may have been.
    in_transaction: bool,
    /// A step that may have been committed with its claim. Nothing may overwrite it before that is known.
    doubt: Option<Doubt>,
}

/// A step whose transaction may have been committed.
#[cfg_attr(not(feature = "_sql"), allow(dead_code))]
struct Doubt {
    name: String,
    value: Bytes,
    /// All steps with this one, encoded.
    steps: Bytes,
}

/// A name that an attempt uses. It can be used again if the step does not end, because it failed or was dropped.
pub(crate) struct UsedName<'a> {
    steps: &'a Steps,
    name: &'a str,
    ran: bool,
}

impl UsedName<'_> {
    /// Called when the step has ended, in this attempt or an earlier one.
    pub(crate) fn ran(mut self) {
        self.ran = true;
    }
}

impl Drop for UsedName<'_> {
    fn drop(&mut self) {
        if !self.ran {
            self.steps.known().used.remove(self.name);
        }
    }
}

impl Steps {
    /// The steps that the store returned with a claim. `None` when they cannot be read.
    pub(crate) fn inherited(acquired: Option<&Acquired>) -> Option<Self> {
        let saved = acquired.map(|claim| claim.steps.clone()).unwrap_or_default();
        let known = Known { values: decode(&saved)?, saved, ..Known::default() };
        Some(Self { known: Mutex::new(known), saving: tokio::sync::Mutex::new(()) })
    }

    /// Marks a name as used. `None` if this attempt has used it: a second step of that name would get the value of the first
    /// one, and its effect would be missing.
    pub(crate) fn enter<'a>(&'a self, name: &'a str) -> Option<UsedName<'a>> {
        let is_new = self.known().used.insert(name.to_owned());
        is_new.then_some(UsedName { steps: self, name, ran: false })
    }

    /// The value that this attempt or an earlier one has saved under a name.
    pub(crate) fn find(&self, name: &str) -> Option<Value> {
        self.known().values.get(name).cloned()
    }

    /// Whether any step has run, saved or not.
    pub(crate) fn any(&self) -> bool {
        let known = self.known();
        known.unsaved || known.in_transaction || known.doubt.is_some() || !known.saved.is_empty()
    }

    /// The steps that the store has. They are needed when a lost claim is created again.
    pub(super) fn saved(&self) -> Bytes {
        self.known().saved.clone()
    }

    pub(super) fn has_unsaved(&self) -> bool {
        self.known().unsaved
    }

    /// Adds a step's value. All values together may take `limit` bytes. If a value does not fit, only the fact that the
    /// step ran is kept. The first value of a name stays.
    pub(crate) fn add(&self, name: &str, value: Value, limit: usize) -> Value {
        let mut known = self.known();
        let value = if known.has_room(name, &value, limit) { value } else { Value::TooLarge };
        known.unsaved = true;
        known.values.entry(name.to_owned()).or_insert(value).clone()
    }

    /// All steps, encoded. `None` if the store has them already.
    pub(super) fn to_save(&self) -> Option<Bytes> {
        let known = self.known();
        known.unsaved.then(|| encode(&known.values))
    }

    /// Called when the store has taken these steps. Others may have been added since.
    pub(super) fn saved_as(&self, steps: Bytes) {
        let mut known = self.known();
        known.unsaved = encode(&known.values) != steps;
        known.saved = steps;
    }

    /// All steps and one more, encoded. `None` if they do not fit into `limit` bytes.
    #[cfg(feature = "_sql")]
    pub(crate) fn with(&self, name: &str, value: &Bytes, limit: usize) -> Option<Bytes> {
        let known = self.known();
        let value = Value::Kept(value.clone());
        known.has_room(name, &value, limit).then(|| {
            let mut values = known.values.clone();
            values.insert(name.to_owned(), value);
            encode(&values)
        })
    }

    /// Called before a step is committed with its claim. From now on it is in doubt whether it is, until one of the next
    /// three functions is called: the future that commits it may be dropped.
    #[cfg(feature = "_sql")]
    pub(crate) fn commits(&self, name: &str, value: Bytes, steps: Bytes) {
        self.known().doubt = Some(Doubt { name: name.to_owned(), value, steps });
    }

    /// Called when a step was committed with its claim. The store has its steps since.
    #[cfg(feature = "_sql")]
    pub(crate) fn committed(&self) {
        let mut known = self.known();
        if let Some(Doubt { name, value, steps }) = known.doubt.take() {
            known.values.insert(name, Value::Kept(value));
            known.unsaved = encode(&known.values) != steps;
            known.saved = steps;
        }
    }

    /// Called when a step was not committed.
    #[cfg(feature = "_sql")]
    pub(crate) fn not_committed(&self) {
        self.known().doubt = None;
    }

    /// Called with the steps that the store has. Returns whether the step in doubt is among them.
    #[cfg(feature = "_sql")]
    pub(crate) fn settled(&self, found: &Bytes) -> bool {
        let committed = self.known().doubt.as_ref().is_some_and(|doubt| doubt.steps == *found);
        if committed {
            self.committed();
        } else {
            self.not_committed();
        }
        committed
    }

    /// Whether it is not known if a step was committed.
    #[cfg(feature = "_sql")]
    pub(crate) fn in_doubt(&self) -> bool {
        self.known().doubt.is_some()
    }

    /// Called when a step is committed in its own row. The next save also gives its value to the store if there is
    /// room, so that it is kept for as long as the claim.
    #[cfg(feature = "_sql")]
    pub(crate) fn committed_in_row(&self, name: &str, value: Bytes, limit: usize) {
        let mut known = self.known();
        known.in_transaction = true;
        let value = Value::Kept(value);
        if !known.values.contains_key(name) && known.has_room(name, &value, limit) {
            known.unsaved = true;
            known.values.insert(name.to_owned(), value);
        }
    }

    /// Called when a step may have been committed in its own row.
    #[cfg(feature = "_sql")]
    pub(crate) fn in_transaction(&self) {
        self.known().in_transaction = true;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // The data is never left half changed, so a poisoned lock can be used.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether all values together take at most `limit` bytes with this one.
    fn has_room(&self, name: &str, value: &Value, limit: usize) -> bool {
        let used: usize = self.values.iter().map(|(name, value)| cost(name, value)).sum();
        used + cost(name, value) <= limit
    }
}

/// Why a step's value was not saved.
#[derive(Debug)]
pub(crate) enum NotSaved {
    /// Another attempt has the key.
    Lost,
    /// The attempt has ended.
    Ended,
    /// The store did not take it. The next save includes it.
    Later(StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(value: &'static [u8]) -> Value {
        Value::Kept(Bytes::from_static(value))
    }

    #[test]
    fn what_does_not_fit_is_known_to_have_run() {
        let steps = Steps::inherited(None).unwrap();
        assert_eq!(steps.add("a", kept(b"1234"), 20), kept(b"1234"));
        assert_eq!(steps.add("b", kept(b"1234"), 20), Value::TooLarge);
        let earlier = Acquired { steps: encode(&steps.known().values), ..Acquired::new(1, true) };
        let next = Steps::inherited(Some(&earlier)).unwrap();
        assert_eq!(next.find("b"), Some(Value::TooLarge));
        assert!(next.any() && !next.has_unsaved());
    }

    #[test]
    fn steps_that_cannot_be_read_are_no_steps_of_ours() {
        let earlier = Acquired { steps: Bytes::from_static(b"\x02later"), ..Acquired::new(1, true) };
        assert!(Steps::inherited(Some(&earlier)).is_none());
    }

    #[test]
    fn the_first_value_of_a_name_stays() {
        let steps = Steps::inherited(None).unwrap();
        steps.add("a", kept(b"1"), 100);
        assert_eq!(steps.add("a", kept(b"2"), 100), kept(b"1"));
    }

    #[test]
    fn a_name_is_free_again_if_its_step_did_not_end() {
        let steps = Steps::inherited(None).unwrap();
        let used = steps.enter("a").unwrap();
        assert!(steps.enter("a").is_none() && steps.enter("b").is_some());
        drop(used);
        steps.enter("a").unwrap().ran();
        assert!(steps.enter("a").is_none());
    }

    #[cfg(feature = "_sql")]
    #[test]
    fn a_step_that_is_committed_with_its_claim_is_saved_and_what_is_added_meanwhile_is_not() {
        let (steps, value) = (Steps::inherited(None).unwrap(), Bytes::from_static(b"1"));
        let all = steps.with("a", &value, 100).unwrap();
        steps.commits("a", value.clone(), all.clone());
        assert!(steps.in_doubt() && steps.any());
        steps.committed();
        assert_eq!((steps.in_doubt(), steps.has_unsaved(), steps.saved()), (false, false, all));
        assert_eq!(steps.find("a"), Some(kept(b"1")));
        steps.commits("b", value.clone(), steps.with("b", &value, 100).unwrap());
        steps.add("c", kept(b"3"), 100);
        steps.committed();
        assert!(steps.has_unsaved());
        let steps = Steps::inherited(None).unwrap();
        steps.commits("a", value.clone(), steps.with("a", &value, 100).unwrap());
        steps.not_committed();
        assert!(!steps.in_doubt() && !steps.any());
    }

    #[cfg(feature = "_sql")]
    #[test]
    fn a_step_that_is_committed_in_its_own_row_is_saved_as_well_if_there_is_room() {
        for (limit, found) in [(100, Some(kept(b"1"))), (0, None)] {
            let steps = Steps::inherited(None).unwrap();
            steps.committed_in_row("a", Bytes::from_static(b"1"), limit);
            assert_eq!((steps.any(), steps.has_unsaved(), steps.find("a")), (true, found.is_some(), found));
        }
        let steps = Steps::inherited(None).unwrap();
        steps.in_transaction();
        assert!(steps.any() && !steps.has_unsaved());
        let earlier =
            Acquired { steps: encode(&BTreeMap::from([("a".to_owned(), kept(b"1"))])), ..Acquired::new(1, true) };
        let next = Steps::inherited(Some(&earlier)).unwrap();
        next.committed_in_row("a", Bytes::from_static(b"2"), 100);
        assert_eq!((next.has_unsaved(), next.find("a")), (false, Some(kept(b"1"))));
    }
}
