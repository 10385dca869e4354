//! The admission behind a lock, in every order in which three threads can take it: admit, finish and cancel.
//! Who is queued sleeps until told; a lost wake-up or two that wait for each other are a deadlock, which loom
//! reports. All interleavings are tried, without a bound on preemptions.

#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a poisoned lock is a failed test")]

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use modelway_core::admit::{Admission, Answer, Ask, BackendResources, Effects, ModelResources};
use modelway_core::fair::Share;
use modelway_core::limits::Limits;
use modelway_core::swap::Policy;
use modelway_core::users::UserLimits;
use modelway_core::vram::Device;

struct Shared {
    admission: Mutex<Admission>,
    granted: Condvar,
}

#[derive(Clone, Copy)]
enum Caller {
    /// Waits for its turn and finishes.
    Patient,
    /// Cancels at once, waiting, admitted or granted meanwhile.
    Leaver,
}

impl Shared {
    /// Two models of six bytes with one slot each, on a backend of ten.
    fn new() -> Arc<Self> {
        let mut admission = Admission::new(UserLimits::default(), 10, Limits::default());
        // Nobody rings here when an idle model has lingered.
        let policy = Policy { linger_percent: 0, ..Policy::default() };
        let device = admission.add_device(Device { capacity: Some(10), policy, ..Device::default() });
        let backend = admission.add_backend(device, BackendResources::default());
        let model = ModelResources { max_concurrent: Some(1), memory_bytes: 6, ..ModelResources::default() };
        for _ in 0..2 {
            admission.add_model(backend, model);
        }
        Arc::new(Self { admission: Mutex::new(admission), granted: Condvar::new() })
    }

    fn wake(&self, effects: &Effects) {
        if !effects.granted.is_empty() {
            self.granted.notify_all();
        }
    }

    fn call(&self, model: usize, user: u64, caller: Caller) {
        let ask = Ask { model, share: Share::of(user), tokens: 10, deadline: None, is_retry: false };
        let (answer, effects) = self.admission.lock().unwrap().admit(&ask, 0);
        self.wake(&effects);
        let (Answer::Admitted(ticket) | Answer::Queued(ticket)) = answer else { panic!("{answer:?}") };
        let mut admission = self.admission.lock().unwrap();
        let effects = match caller {
            Caller::Leaver => admission.cancel(ticket, 0),
            Caller::Patient => {
                while !admission.is_admitted(ticket) {
                    admission = self.granted.wait(admission).unwrap();
                }
                assert!(admission.residency(0).in_use() <= 10);
                assert!((0..2).all(|model| admission.load(model, 0).running <= 1));
                admission.finish(ticket, Some(20), 0)
            }
        };
        assert_eq!(admission.cancel(ticket, 0), None, "given back once");
        drop(admission);
        self.wake(&effects.unwrap());
    }
}

fn in_every_order(calls: [(usize, Caller); 3]) {
    loom::model(move || {
        let shared = Shared::new();
        let [main, others @ ..] = calls;
        let others = others.map(|(model, caller)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.call(model, model as u64, caller))
        });
        shared.call(main.0, 7, main.1);
        for other in others {
            other.join().unwrap();
        }
        let admission = shared.admission.lock().unwrap();
        for model in 0..2 {
            let load = admission.load(model, 0);
            assert_eq!((load.running, load.waiting), (0, 0));
        }
        assert_eq!(admission.residency(0).in_use(), admission.residency(0).idle_bytes());
    });
}

#[test]
fn a_slot_is_passed_on_in_every_order() {
    in_every_order([(0, Caller::Patient), (0, Caller::Patient), (0, Caller::Leaver)]);
}

#[test]
fn memory_is_passed_on_in_every_order() {
    in_every_order([(0, Caller::Patient), (1, Caller::Patient), (0, Caller::Patient)]);
}

#[test]
fn who_leaves_memory_or_its_queue_blocks_nobody() {
    in_every_order([(0, Caller::Patient), (1, Caller::Leaver), (1, Caller::Patient)]);
}
