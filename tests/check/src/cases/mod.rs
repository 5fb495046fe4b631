//! All cases.

mod at_once;
mod faults;
mod keys;
mod lifetime;
mod other;
mod policy;
mod problems;
mod replay;

use crate::case::Case;

/// The groups and their cases, in the order in which they run.
pub(crate) const GROUPS: [(&str, &[Case]); 8] = [
    ("keys", keys::CASES),
    ("replay", replay::CASES),
    ("other", other::CASES),
    ("at-once", at_once::CASES),
    ("faults", faults::CASES),
    ("policy", policy::CASES),
    ("lifetime", lifetime::CASES),
    ("problems", problems::CASES),
];

pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    GROUPS.iter().flat_map(|(_, cases)| cases.iter())
}

/// The cases that the user wants: ids such as `replay/3`, or groups.
pub(crate) fn chosen(only: &[String]) -> Result<Vec<&'static Case>, String> {
    let fits = |case: &Case, wanted: &str| case.id == wanted || case.id.split('/').next() == Some(wanted);
    for wanted in only {
        if !all().any(|case| fits(case, wanted)) {
            return Err(format!("--only: there is no case or group `{wanted}`; --list shows them"));
        }
    }
    Ok(all().filter(|case| only.is_empty() || only.iter().any(|wanted| fits(case, wanted))).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_id_is_its_group_and_a_number_of_its_own() {
        let ids: BTreeSet<_> = all().map(|case| case.id).collect();
        assert_eq!(ids.len(), all().count());
        for (group, cases) in GROUPS {
            for (number, case) in (1..).zip(cases) {
                assert_eq!(case.id, format!("{group}/{number}"));
            }
        }
    }

    #[test]
    fn cases_are_chosen_by_id_and_by_group() {
        let ids = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|&id| id.to_owned()).collect();
            chosen(&only).map(|cases| cases.iter().map(|case| case.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(&["replay/3", "keys/1"]).unwrap(), ["keys/1", "replay/3"]);
        assert_eq!(ids(&["problems"]).unwrap().len(), problems::CASES.len());
        assert_eq!(ids(&[]).unwrap().len(), all().count());
        assert!(ids(&["replay/99"]).is_err() && ids(&["re"]).is_err());
    }
}
