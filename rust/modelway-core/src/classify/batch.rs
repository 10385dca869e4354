//! Many texts at once, on all cores.

use std::num::NonZero;
use std::thread;

/// Texts below which another thread costs more than it brings.
const WORTH_A_THREAD: usize = 256;

/// `work` done for each of `texts`, in their order.
pub fn each_text<T: Send, S: AsRef<str> + Sync>(texts: &[S], work: impl Fn(&str) -> T + Sync) -> Vec<T> {
    let run = &|texts: &[S]| texts.iter().map(|text| work(text.as_ref())).collect::<Vec<T>>();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(texts.len() / WORTH_A_THREAD).max(1);
    let (first, rest) = texts.split_at(texts.len().div_ceil(threads));
    if rest.is_empty() {
        return run(first);
    }
    thread::scope(|scope| {
        let others: Vec<_> = rest.chunks(first.len()).map(|share| scope.spawn(move || run(share))).collect();
        let mut all = run(first);
        for other in others {
            match other.join() {
                Ok(more) => all.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::each_text;

    #[test]
    fn results_stand_in_the_order_of_the_texts() {
        for count in [0, 1, 511, 512, 5_000] {
            let texts: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            assert_eq!(each_text(&texts, str::to_owned), texts);
        }
    }
}
