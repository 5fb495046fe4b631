//! Searches what can become of one key: every order in which the commands of a few attempts arrive, with calls that are
//! given up, commands that arrive late or twice, crashes and a loss of data.
//!
//! It runs the operations of the library's `protocol/` themselves. Only the register and the attempts are a model.

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use super::{
    replay::Path,
    rules::Without,
    steps::{self, Call},
    world::{Bounds, World},
};

/// What a search has found.
#[derive(Debug)]
pub(super) struct Found {
    /// How many states were visited.
    pub(super) states: usize,
    /// How many steps lead from the start to the state that was visited last.
    pub(super) depth: usize,
    /// Every state within the bounds was visited.
    pub(super) exhaustive: bool,
    /// The promise that is broken, and the steps that break it.
    pub(super) broken: Option<(&'static str, Vec<String>)>,
    /// Paths that end all over the search.
    pub(super) paths: Vec<Path>,
}

/// A state that was visited, by its place in the list of all.
struct Visited {
    from: usize,
    depth: usize,
    what: String,
    call: Option<Call>,
}

/// Visits the states within the bounds, the nearest first, at most `most` of them.
///
/// `without` leaves a rule out. Returns up to `paths` paths.
pub(super) fn search(bounds: Bounds, without: Option<Without>, most: usize, paths: usize) -> Found {
    let mut seen = HashSet::<u64, BuildHasherDefault<DefaultHasher>>::default();
    let mut visited = vec![Visited { from: 0, depth: 0, what: String::new(), call: None }];
    let mut frontier = std::collections::VecDeque::from([(0, World::new(bounds))]);
    let mut exhaustive = true;
    while let Some((from, world)) = frontier.pop_front() {
        for step in steps::all(&world, without) {
            if !seen.insert(hash(&step.world)) {
                continue;
            }
            let depth = visited[from].depth + 1;
            visited.push(Visited { from, depth, what: step.what, call: step.call });
            let broken = step.world.broken.or_else(|| {
                let answered = steps::is_answered(&step.world, without);
                (!answered).then_some("a later attempt is answered")
            });
            if let Some(promise) = broken {
                let path = trace(&visited, visited.len() - 1).map(|step| step.what.clone()).collect();
                return Found {
                    states: visited.len(),
                    depth,
                    exhaustive: false,
                    broken: Some((promise, path)),
                    paths: Vec::new(),
                };
            }
            if visited.len() < most {
                frontier.push_back((visited.len() - 1, step.world));
            } else {
                exhaustive = false;
            }
        }
        if visited.len() >= most {
            exhaustive = false;
            break;
        }
    }
    let depth = visited.last().map_or(0, |last| last.depth);
    let every = (visited.len() / paths.max(1)).max(1);
    let ends = (1..visited.len()).rev().step_by(every).take(paths);
    let paths = ends.map(|end| Path::new(trace(&visited, end).filter_map(|step| step.call.clone()))).collect();
    Found { states: visited.len(), depth, exhaustive, broken: None, paths }
}

fn hash(world: &World) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(world)
}

/// The steps from the start to a state.
fn trace(visited: &[Visited], end: usize) -> impl Iterator<Item = &Visited> {
    let mut path = Vec::new();
    let mut at = end;
    while at != 0 {
        path.push(&visited[at]);
        at = visited[at].from;
    }
    path.into_iter().rev()
}
