//! Work on many things on all cores: threads take the next block when they are done with one, so that none
//! waits for the one that had the long texts.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// As many threads as there are cores for this process.
#[must_use]
pub fn all_cores() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// `work` done for each block, on so many threads. Which thread does which block is left to chance: what a
/// block's work writes must depend on the block alone.
pub fn share<B>(
    threads: NonZero<usize>,
    blocks: impl ExactSizeIterator<Item = B> + Send,
    work: impl Fn(B) + Sync,
) {
    let others = threads.get().min(blocks.len()).saturating_sub(1);
    let queue = Mutex::new(blocks);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some(block) = next() {
            work(block);
        }
    };
    // A panic of a thread comes back out of the scope.
    thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(run);
        }
        run();
    });
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::share;

    #[test]
    fn each_block_is_done_once_whatever_the_threads() {
        for threads in [1, 2, 3, 64] {
            for count in [0, 1, 2, 1_000] {
                let mut done = vec![0; count];
                share(NonZero::new(threads).unwrap(), done.chunks_mut(7).enumerate(), |(block, items)| {
                    for item in items {
                        *item += block + 1;
                    }
                });
                let wanted: Vec<usize> = (0..count).map(|place| place / 7 + 1).collect();
                assert_eq!(done, wanted, "{threads} threads, {count} items");
            }
        }
    }
}
