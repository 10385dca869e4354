//! Fallback chains, resolved once when the table is built.
//!
//! The configuration writes a chain as names of tasks and models. A task stands for its first model,
//! and what that task or model falls back to itself follows after everything that was written
//! explicitly (breadth first): who writes `code = ["deep", "general"]` wants general second, whatever
//! deep falls back to.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use crate::model_set::ModelIndex;
use crate::task::TaskClass;

/// What a name in a chain means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A task: its first model.
    Task(TaskClass),
    /// A model.
    Model(ModelIndex),
}

/// The chains as written: what each task or model falls back to, in order.
pub type Written = HashMap<Target, Vec<Target>>;

/// The models that follow `start`'s first choice, each once.
///
/// `first` gives the first model of a task; a task without one adds nothing itself.
pub fn resolve(
    start: Target,
    written: &Written,
    first: impl Fn(TaskClass) -> Option<ModelIndex>,
) -> Vec<ModelIndex> {
    let model_of = |target| match target {
        Target::Task(task) => first(task),
        Target::Model(model) => Some(model),
    };
    // A task leads on to the chain of its first model too, where one is written for it.
    let names_of = |target| [Some(target), model_of(target).map(Target::Model)].into_iter().flatten();
    let mut chain = Vec::new();
    let mut is_in: HashSet<ModelIndex> = model_of(start).into_iter().collect();
    let mut waiting: VecDeque<Target> = names_of(start).collect();
    let mut seen: HashSet<Target> = waiting.iter().copied().collect();
    while let Some(target) = waiting.pop_front() {
        for next in written.get(&target).into_iter().flatten().copied() {
            waiting.extend(names_of(next).filter(|name| seen.insert(*name)));
            if let Some(model) = model_of(next)
                && is_in.insert(model)
            {
                chain.push(model);
            }
        }
    }
    chain
}

/// A shortest way from a name back to itself, if there is one: the names on it, `start` first and last.
#[must_use]
pub fn cycle_through(start: Target, written: &Written) -> Option<Vec<Target>> {
    let mut came_from: HashMap<Target, Target> = HashMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(target) = waiting.pop_front() {
        for next in written.get(&target).into_iter().flatten().copied() {
            if next == start {
                let mut way = vec![start];
                let mut step = Some(target).filter(|last| *last != start);
                while let Some(here) = step {
                    way.push(here);
                    step = came_from.get(&here).copied().filter(|before| *before != start);
                }
                way.push(start);
                way.reverse();
                return Some(way);
            }
            if let Entry::Vacant(unseen) = came_from.entry(next) {
                unseen.insert(target);
                waiting.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Target, Written, cycle_through, resolve};
    use crate::task::TaskClass;

    const CODE: Target = Target::Task(TaskClass::CodeGeneration);
    const DEEP: Target = Target::Task(TaskClass::DeepThinking);
    const GENERAL: Target = Target::Task(TaskClass::General);

    fn first(task: TaskClass) -> Option<u16> {
        match task {
            TaskClass::CodeGeneration => Some(1),
            TaskClass::DeepThinking => Some(2),
            TaskClass::General => Some(0),
            _ => None,
        }
    }

    #[test]
    fn what_is_written_comes_before_what_follows_from_it() {
        let written = Written::from([(CODE, vec![DEEP, GENERAL]), (DEEP, vec![Target::Model(7)])]);
        assert_eq!(resolve(CODE, &written, first), [2, 0, 7]);
        assert_eq!(resolve(GENERAL, &written, first), [0_u16; 0]);
    }

    #[test]
    fn models_lead_on_to_their_own_chains_and_nothing_comes_twice() {
        let (a, b, c) = (Target::Model(10), Target::Model(11), Target::Model(12));
        let written =
            Written::from([(a, vec![b, b]), (b, vec![c]), (CODE, vec![a]), (Target::Model(1), vec![c])]);
        assert_eq!(resolve(a, &written, first), [11, 12]);
        assert_eq!(resolve(CODE, &written, first), [10, 12, 11], "the first model's own chain comes beside");
        let by_task = Written::from([(CODE, vec![DEEP]), (Target::Model(2), vec![a])]);
        assert_eq!(resolve(CODE, &by_task, first), [2, 10], "also that of a task on the way");
    }

    #[test]
    fn cycles_are_found_and_shown() {
        let written = Written::from([(CODE, vec![DEEP]), (DEEP, vec![GENERAL, CODE])]);
        assert_eq!(cycle_through(CODE, &written), Some(vec![CODE, DEEP, CODE]));
        assert_eq!(cycle_through(GENERAL, &written), None);
        let selfish = Written::from([(CODE, vec![CODE])]);
        assert_eq!(cycle_through(CODE, &selfish), Some(vec![CODE, CODE]));
        assert_eq!(resolve(CODE, &selfish, first), [0_u16; 0]);
    }
}
