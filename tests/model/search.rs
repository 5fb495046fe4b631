//! A breadth-first search: it visits every state once and keeps the shortest path to it.

use std::{collections::HashMap, sync::LazyLock};

use crate::{
    BOUNDS, WITH_STEPS, invariants,
    rules::{Call, PROTOCOL, Rules},
    steps,
    world::{Faults, World},
};

/// A state and how it was first reached.
pub(crate) struct State {
    pub(crate) world: World,
    from: usize,
    by: Option<usize>,
    what: &'static str,
    call: Option<Call>,
}

pub(crate) struct Search {
    pub(crate) states: Vec<State>,
    pub(crate) steps: usize,
    pub(crate) depth: usize,
    /// The promise that is broken, and the path to the state that breaks it.
    pub(crate) broken: Option<(&'static str, Vec<String>)>,
}

pub(crate) fn search(rules: Rules, bounds: Faults) -> Search {
    let start = World::new(bounds);
    let mut seen = HashMap::from([(start.clone(), 0)]);
    let mut search = Search { states: Vec::new(), steps: 0, depth: 0, broken: None };
    search.states.push(State { world: start, from: 0, by: None, what: "", call: None });
    let mut at = 0;
    while at < search.states.len() {
        if let Some(promise) = invariants::broken(rules, &search.states[at].world) {
            search.broken = Some((promise, search.path(at).map(State::told).collect()));
            return search;
        }
        for next in steps::all(rules, &search.states[at].world) {
            search.steps += 1;
            let index = search.states.len();
            if *seen.entry(next.world.clone()).or_insert(index) == index {
                search.states.push(State {
                    world: next.world,
                    from: at,
                    by: next.by,
                    what: next.what,
                    call: next.call,
                });
            }
        }
        at += 1;
    }
    search.depth = search.path(search.states.len() - 1).count();
    search
}

impl State {
    fn told(&self) -> String {
        match self.by {
            Some(by) => format!("attempt {by} {}", self.what),
            None => self.what.to_owned(),
        }
    }
}

/// The search of the unchanged protocol, made once for all tests.
pub(crate) fn of_the_protocol() -> &'static Search {
    static SEARCH: LazyLock<Search> = LazyLock::new(|| search(PROTOCOL, BOUNDS));
    &SEARCH
}

/// The same for handlers with a step.
pub(crate) fn of_steps() -> &'static Search {
    static SEARCH: LazyLock<Search> = LazyLock::new(|| search(PROTOCOL, WITH_STEPS));
    &SEARCH
}

impl Search {
    /// The states on the path to a state. The first state, in which nothing has happened, is left out.
    fn path(&self, to: usize) -> impl Iterator<Item = &State> {
        let back = std::iter::successors(Some(to), |&at| Some(self.states[at].from)).take_while(|&at| at != 0);
        let mut path: Vec<_> = back.collect();
        path.reverse();
        path.into_iter().map(|at| &self.states[at])
    }

    /// The calls to the store on the path to a state.
    pub(crate) fn calls(&self, to: usize) -> Vec<Call> {
        self.path(to).filter_map(|state| state.call).collect()
    }
}
