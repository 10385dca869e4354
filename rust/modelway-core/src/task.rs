//! What kind of answer a prompt wants.

use crate::named::named_enum;

named_enum! {
    /// Task classes of the design document.
    TaskClass {
        /// A short answer is all that is wanted.
        QuickResponse => "quick",
        /// Several steps of reasoning decide the quality.
        DeepThinking => "deep",
        /// Code, commands, queries, configuration; debugging and explaining given code.
        CodeGeneration => "code",
        /// Calculate, solve, prove, derive.
        Mathematical => "math",
        /// A text whose value is its invention or style.
        Creative => "creative",
        /// An action or live data through a tool.
        ToolUse => "tool_use",
        /// Vectors instead of text; decided by the endpoint, never read from a prompt.
        Embedding => "embedding",
        /// The rest.
        General => "general",
    }
}

impl TaskClass {
    /// How many classes there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The class's place in arrays of `COUNT`.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A set of task classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskSet(u8);

impl TaskSet {
    /// Whether `task` is in the set.
    #[must_use]
    pub const fn contains(self, task: TaskClass) -> bool {
        self.0 & (1 << task as u8) != 0
    }

    /// The members, in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = TaskClass> {
        TaskClass::ALL.iter().copied().filter(move |task| self.contains(*task))
    }
}

impl FromIterator<TaskClass> for TaskSet {
    fn from_iter<I: IntoIterator<Item = TaskClass>>(tasks: I) -> Self {
        Self(tasks.into_iter().fold(0, |bits, task| bits | 1 << task as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::{TaskClass, TaskSet};

    #[test]
    fn every_name_and_short_form_parses_back() {
        for task in TaskClass::ALL.iter().copied() {
            assert_eq!(TaskClass::parse(task.name()), Some(task));
            assert_eq!(TaskClass::parse(&task.short().to_uppercase()), Some(task));
        }
        assert_eq!(TaskClass::parse("codex"), None);
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: TaskSet = [TaskClass::General, TaskClass::QuickResponse].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [TaskClass::QuickResponse, TaskClass::General]);
        assert!(!set.contains(TaskClass::Creative));
    }
}
