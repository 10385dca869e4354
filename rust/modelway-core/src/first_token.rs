//! How soon the first token of a warm model is wanted. A budget ranks models; it ends no request.

use crate::ewma::Millis;
use crate::task::TaskClass;

/// The budgets of a first token. Without any, every model keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// For quick answers.
    pub quick_ms: Millis,
    /// For everything else.
    pub standard_ms: Millis,
    /// For deep thinking.
    pub deep_ms: Millis,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { quick_ms: Millis::MAX, standard_ms: Millis::MAX, deep_ms: Millis::MAX }
    }
}

impl Budgets {
    /// That of a task.
    #[must_use]
    pub const fn of(&self, task: TaskClass) -> Millis {
        match task {
            TaskClass::QuickResponse => self.quick_ms,
            TaskClass::DeepThinking => self.deep_ms,
            TaskClass::CodeGeneration
            | TaskClass::Mathematical
            | TaskClass::Creative
            | TaskClass::ToolUse
            | TaskClass::Embedding
            | TaskClass::General => self.standard_ms,
        }
    }

    /// Which of them a first token exceeds that is expected after so long. What is not known keeps all.
    #[must_use]
    pub fn exceeded(&self, first_token_ms: Option<Millis>) -> [bool; 3] {
        let expected_ms = first_token_ms.unwrap_or(0);
        [expected_ms > self.quick_ms, expected_ms > self.standard_ms, expected_ms > self.deep_ms]
    }
}

#[cfg(test)]
mod tests {
    use super::Budgets;
    use crate::task::TaskClass;

    #[test]
    fn each_task_has_its_own_and_without_any_all_are_kept() {
        let budgets = Budgets { quick_ms: 100, standard_ms: 2_000, deep_ms: 30_000 };
        let of = TaskClass::ALL.iter().map(|task| budgets.of(*task)).collect::<Vec<_>>();
        assert_eq!(of, [100, 30_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000]);
        for (expected_ms, exceeded) in [
            (None, [false; 3]),
            (Some(100), [false; 3]),
            (Some(101), [true, false, false]),
            (Some(30_000), [true, true, false]),
            (Some(30_001), [true; 3]),
        ] {
            assert_eq!(budgets.exceeded(expected_ms), exceeded, "{expected_ms:?}");
            assert_eq!(Budgets::default().exceeded(expected_ms), [false; 3]);
        }
    }
}
