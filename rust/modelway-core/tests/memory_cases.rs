//! Models that share a device, case by case: who stays, who is loaded, whose turn it is, how long it takes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what can't be is a failed test")]

use modelway_core::admit::{Admission, Answer, Ask, BackendResources, Effects, ModelResources, Refusal, Why};
use modelway_core::fair::Share;
use modelway_core::limits::Limits;
use modelway_core::swap::Policy;
use modelway_core::users::UserLimits;
use modelway_core::vram::Device;
use modelway_core::{Millis, Ticket};

fn bytes(memory_bytes: u64) -> ModelResources {
    ModelResources { memory_bytes, max_concurrent: Some(1), ..ModelResources::default() }
}

fn pinned(memory_bytes: u64) -> ModelResources {
    ModelResources { is_pinned: true, ..bytes(memory_bytes) }
}

/// Ten bytes that are loaded at our word; nobody lingers.
fn managed() -> Device {
    let policy = Policy { linger_percent: 0, ..Policy::default() };
    Device { capacity: Some(10), is_managed: true, policy, ..Device::default() }
}

fn admission(device: Device, models: &[ModelResources]) -> Admission {
    let mut admission = Admission::new(UserLimits::default(), 100, Limits::default());
    let device = admission.add_device(device);
    let backend = admission.add_backend(device, BackendResources::default());
    for model in models {
        admission.add_model(backend, *model);
    }
    admission
}

fn asked(admission: &mut Admission, model: usize, now: Millis) -> (Answer, Effects) {
    let ask = Ask { model, share: Share::of(1), tokens: 1, deadline: None, is_retry: false };
    admission.admit(&ask, now)
}

fn queued(admission: &mut Admission, model: usize, now: Millis) -> (Ticket, Effects) {
    match asked(admission, model, now) {
        (Answer::Queued(ticket), effects) => (ticket, effects),
        other => panic!("{other:?}"),
    }
}

fn admitted(admission: &mut Admission, model: usize, now: Millis) -> Ticket {
    match asked(admission, model, now).0 {
        Answer::Admitted(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn finish(admission: &mut Admission, ticket: Ticket, now: Millis) -> Effects {
    admission.finish(ticket, None, now).unwrap()
}

fn wait_ms(admission: &Admission, model: usize, now: Millis) -> Option<Millis> {
    admission.load(model, now).wait_ms
}

#[test]
fn a_pinned_model_stays_and_who_can_not_fit_beside_it_is_told() {
    let mut admission = admission(managed(), &[pinned(4), bytes(6), bytes(6), bytes(7)]);
    let (_, effects) = queued(&mut admission, 1, 0);
    assert_eq!(effects.load.as_slice(), [1]);
    let never = asked(&mut admission, 3, 0).0;
    assert_eq!(never, Answer::Refused(Refusal { why: Why::Memory, when: None }), "4 of 10 are not to be had");
    let first = admission.loaded(1, None, None, 10).granted[0];
    let (embedded, effects) = queued(&mut admission, 0, 20);
    assert_eq!(effects.load.as_slice(), [0]);
    assert_eq!(admission.loaded(0, None, None, 30).granted.as_slice(), [embedded]);
    let _ = finish(&mut admission, embedded, 40);
    let (other, effects) = queued(&mut admission, 2, 50);
    assert!(effects.is_empty(), "the pinned one is idle, and stays");
    assert_eq!(finish(&mut admission, first, 5_000).evicted.as_slice(), [1]);
    assert_eq!(admission.gone(1, 5_010).load.as_slice(), [2]);
    // Measured, the pinned one takes more: beside it nothing of six bytes ever fits.
    let effects = admission.loaded(0, Some(5), None, 5_020);
    assert_eq!(effects.refused.as_slice(), [(other, Refusal { why: Why::Memory, when: None })]);
}

#[test]
fn what_is_unpinned_can_go() {
    let mut admission = admission(managed(), &[pinned(6), bytes(6)]);
    let answer = asked(&mut admission, 1, 0).0;
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    assert!(admission.loaded(0, None, None, 0).is_empty());
    assert!(admission.set_model(0, bytes(6), 1_000).is_empty());
    let (_, effects) = queued(&mut admission, 1, 2_000);
    assert_eq!(effects.evicted.as_slice(), [0]);
}

#[test]
fn a_preload_is_a_claim_until_it_is_loaded() {
    let mut admission = admission(managed(), &[bytes(6), bytes(6), bytes(11)]);
    assert_eq!(admission.preload(0, 0).unwrap().load.as_slice(), [0]);
    assert!(admission.preload(0, 1).unwrap().is_empty(), "once is enough");
    assert!(admission.preload(1, 2).unwrap().is_empty());
    assert_eq!(admission.preload(2, 2), Err(Refusal { why: Why::Memory, when: None }));
    // The first gives way at once: nobody uses it.
    assert_eq!(admission.loaded(0, None, None, 400).evicted.as_slice(), [0]);
    assert_eq!(admission.gone(0, 410).load.as_slice(), [1]);
    // Who asks and leaves again does not end it.
    let (ticket, _) = queued(&mut admission, 1, 420);
    let _ = admission.cancel(ticket, 430);
    assert!(admission.loaded(1, None, None, 800).is_empty());
    assert!(admission.residency(0).is_resident(1));
    assert_eq!(admission.next_wake(), None);
    let (_, effects) = queued(&mut admission, 0, 5_000);
    assert_eq!(effects.evicted.as_slice(), [1], "it is like any other then");
}

#[test]
fn a_preload_that_fails_is_over_and_others_load_by_themselves() {
    let mut ours = admission(managed(), &[bytes(6), bytes(6)]);
    assert_eq!(ours.preload(0, 0).unwrap().load.as_slice(), [0]);
    assert!(ours.failed(0, 10).is_empty());
    assert_eq!(ours.residency(0).in_use(), 0);
    assert_eq!(ours.next_wake(), None);
    let theirs = Device { is_managed: false, ..managed() };
    let mut theirs = admission(theirs, &[bytes(6)]);
    assert!(theirs.preload(0, 0).unwrap().is_empty());
    assert_eq!(theirs.residency(0).in_use(), 0);
}

#[test]
fn a_preload_outlives_neither_its_backend_s_memory_nor_our_say() {
    let mut admission = admission(managed(), &[bytes(6), bytes(6)]);
    assert_eq!(admission.preload(0, 0).unwrap().load.as_slice(), [0]);
    let _ = admission.preload(1, 0).unwrap();
    let less = Device { capacity: Some(5), ..managed() };
    assert!(admission.set_device(0, less, 1).is_empty());
    assert!(admission.loaded(0, None, None, 2).is_empty(), "the other can't be had any more");
    let unmanaged = Device { is_managed: false, computes_alone: true, ..managed() };
    assert!(admission.set_device(0, unmanaged, 3).is_empty());
    let ticket = admitted(&mut admission, 0, 4);
    let _ = finish(&mut admission, ticket, 5);
}

#[test]
fn the_wait_for_a_model_counts_its_load_and_that_of_others() {
    let mut admission = admission(managed(), &[bytes(6), bytes(6), bytes(4)]);
    // Nothing is known: a quarter of a second.
    assert_eq!([0, 1, 2].map(|model| wait_ms(&admission, model, 0)), [Some(250); 3]);
    let (first, _) = queued(&mut admission, 0, 0);
    assert_eq!(admission.place(first, 100).unwrap().eta_ms, Some(150));
    assert_eq!(admission.place(first, 240).unwrap().eta_ms, Some(25), "never quite there until it is");
    assert_eq!(wait_ms(&admission, 2, 100), Some(400), "its own load after the one under way");
    let _ = admission.loaded(0, None, Some(1_000.0), 1_000);
    assert_eq!(wait_ms(&admission, 0, 1_000), None, "one runs, and nobody knows for how long");
    // What runs may go on for four times both loads; then it goes.
    assert_eq!(wait_ms(&admission, 1, 1_000), Some(2 * 4 * 250 + 250));
    let (second, _) = queued(&mut admission, 1, 1_000);
    assert_eq!(admission.place(second, 2_000).unwrap().eta_ms, Some(1_000 + 250));
    let (third, effects) = queued(&mut admission, 2, 2_000);
    assert_eq!(effects.load.as_slice(), [2], "it fits beside");
    assert_eq!(admission.place(third, 2_200).unwrap().eta_ms, Some(50));
    let _ = admission.loaded(2, None, Some(300.0), 2_300);
    let _ = finish(&mut admission, third, 2_310);
    assert_eq!(wait_ms(&admission, 2, 2_310), Some(0), "warm and free");
    let effects = finish(&mut admission, first, 3_000);
    assert_eq!(effects.evicted.as_slice(), [0]);
    assert_eq!(wait_ms(&admission, 0, 3_000), Some(250 + 4 * 2 * 1_000 + 1_000), "others stand before it");
}

#[test]
fn behind_a_load_others_of_the_queue_take_their_time() {
    let mut admission = admission(managed(), &[bytes(6), bytes(6)]);
    let (first, _) = queued(&mut admission, 0, 0);
    let _ = admission.loaded(0, None, Some(400.0), 400);
    let _ = finish(&mut admission, first, 500);
    let _ = admission.gone(0, 600);
    let (next, _) = queued(&mut admission, 0, 1_000);
    let (last, _) = queued(&mut admission, 0, 1_000);
    assert_eq!(admission.place(next, 1_000).unwrap().eta_ms, Some(400));
    assert_eq!(admission.place(last, 1_000).unwrap().eta_ms, Some(400 + 100), "after one of 100 ms");
    let _ = admission.loaded(0, None, Some(400.0), 1_400);
    let _ = finish(&mut admission, next, 1_500);
    // The pace is that of serving: the time of the load is not in it.
    let _ = queued(&mut admission, 0, 1_500);
    assert!(wait_ms(&admission, 0, 1_500).unwrap() <= 300, "{:?}", wait_ms(&admission, 0, 1_500));
}

#[test]
fn a_request_that_would_come_too_late_for_the_load_is_told_so() {
    let mut admission = admission(managed(), &[bytes(6), bytes(6)]);
    let ask = Ask { model: 0, share: Share::of(1), tokens: 1, deadline: Some(200), is_retry: false };
    let (answer, effects) = admission.admit(&ask, 0);
    assert_eq!(answer, Answer::Refused(Refusal { why: Why::Deadline, when: Some(50) }));
    assert_eq!(effects.load.as_slice(), [0], "the next one will find it");
}

#[test]
fn where_others_load_by_themselves_only_what_is_told_makes_a_model_cold() {
    let mut admission = admission(Device::default(), &[bytes(0), bytes(0)]);
    assert!(!admission.is_tracked());
    assert_eq!(wait_ms(&admission, 1, 0), Some(0));
    assert!(admission.loaded(0, Some(6), None, 0).is_empty());
    assert!(admission.is_tracked());
    let waits = admission.waits(0);
    assert_eq!([0, 1].map(|model| (waits.wait_ms(model), waits.is_cold(model))), [(0, false), (250, true)]);
    admission.note_load(1, 3_000.0, 0);
    assert_eq!(wait_ms(&admission, 1, 0), Some(3_000), "as who asked it has seen");
    // It is let in all the same, and is there from then on.
    let ticket = admitted(&mut admission, 1, 0);
    let _ = finish(&mut admission, ticket, 10);
    assert_eq!(wait_ms(&admission, 1, 10), Some(0));
    let _ = admission.gone(1, 20);
    assert_eq!(wait_ms(&admission, 1, 20), Some(3_000));
}

/// Two models that are in memory at once, of which one computes at a time.
fn alone() -> Admission {
    let mut admission =
        admission(Device { computes_alone: true, ..managed() }, &[bytes(4), bytes(4), bytes(2)]);
    for model in 0..3 {
        let _ = admission.loaded(model, None, None, 0);
    }
    admission
}

#[test]
fn on_a_cpu_one_model_at_a_time_computes() {
    let mut admission = alone();
    let first = admitted(&mut admission, 0, 0);
    let (second, _) = queued(&mut admission, 1, 10);
    let (third, _) = queued(&mut admission, 2, 20);
    assert_eq!(admission.place(second, 20).unwrap().eta_ms, Some(990), "a turn lasts a second at most");
    let (more, _) = queued(&mut admission, 0, 30);
    // It serves its queue until it is idle.
    assert_eq!(finish(&mut admission, first, 100).granted.as_slice(), [more]);
    assert_eq!(finish(&mut admission, more, 200).granted.as_slice(), [second]);
    assert_eq!(finish(&mut admission, second, 300).granted.as_slice(), [third]);
    assert!(finish(&mut admission, third, 400).granted.is_empty());
    let free = admitted(&mut admission, 0, 500);
    let _ = finish(&mut admission, free, 510);
    assert_eq!(admission.next_wake(), None);
}

#[test]
fn on_a_cpu_nobody_waits_for_long_beside_a_busy_model() {
    let mut admission = alone();
    let mut running = admitted(&mut admission, 0, 0);
    let (other, _) = queued(&mut admission, 1, 100);
    let mut now = 0;
    let closed = loop {
        now += 300;
        let (next, _) = queued(&mut admission, 0, now);
        let effects = finish(&mut admission, running, now);
        if effects.granted.as_slice() == [other] {
            break next;
        }
        assert_eq!(effects.granted.as_slice(), [next]);
        running = next;
    };
    assert_eq!(now, 1_200, "at 1,100 the second is over, and what runs ends at 1,200");
    let (_, effects) = queued(&mut admission, 1, now);
    assert!(effects.is_empty());
    // Requests to the first take 300 ms: after four times that the other's turn is over.
    assert_eq!(admission.next_wake(), Some(2_400));
    assert!(admission.tick(2_400).is_empty());
    let again = finish(&mut admission, other, 3_200);
    assert_eq!(again.granted.as_slice(), [closed]);
}

#[test]
fn on_a_cpu_a_turn_that_is_given_to_who_leaves_goes_on() {
    let mut admission = alone();
    let first = admitted(&mut admission, 0, 0);
    let (leaver, _) = queued(&mut admission, 1, 10);
    let (other, _) = queued(&mut admission, 2, 20);
    // The turn of the first is over, so that its newcomer waits, too.
    assert!(admission.tick(1_010).is_empty());
    let (newcomer, _) = queued(&mut admission, 0, 1_015);
    assert!(admission.cancel(leaver, 1_016).unwrap().is_empty(), "one slot, and it is taken");
    assert!(admission.cancel(other, 1_017).unwrap().is_empty());
    assert_eq!(finish(&mut admission, first, 1_020).granted.as_slice(), [newcomer]);
}

#[test]
fn computing_alone_needs_no_capacity_and_no_sizes() {
    let mut admission =
        admission(Device { computes_alone: true, ..Device::default() }, &[bytes(0), bytes(0)]);
    let first = admitted(&mut admission, 0, 0);
    let (other, _) = queued(&mut admission, 1, 1);
    assert_eq!(finish(&mut admission, first, 2).granted.as_slice(), [other]);
}
