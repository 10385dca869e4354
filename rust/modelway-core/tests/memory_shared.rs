//! Devices that several backends share, and the part of a device that embedding models have for themselves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what can't be is a failed test")]

use modelway_core::admit::{Admission, Answer, Ask, BackendResources, Effects, ModelResources};
use modelway_core::fair::Share;
use modelway_core::limits::Limits;
use modelway_core::swap::Policy;
use modelway_core::users::UserLimits;
use modelway_core::vram::{Device, ModelNumber, Stage};
use modelway_core::{Millis, Ticket};

fn bytes(memory_bytes: u64) -> ModelResources {
    ModelResources { memory_bytes, max_concurrent: Some(1), ..ModelResources::default() }
}

fn embeds(memory_bytes: u64) -> ModelResources {
    ModelResources { makes_embeddings: true, ..bytes(memory_bytes) }
}

/// A hundred bytes that are loaded at our word; nobody lingers.
fn hundred() -> Device {
    let policy = Policy { linger_percent: 0, ..Policy::default() };
    Device { capacity: Some(100), is_managed: true, policy, ..Device::default() }
}

/// One device, and for each list of models a backend that has them.
fn admission(device: Device, backends: &[&[ModelResources]]) -> Admission {
    let mut admission = Admission::new(UserLimits::default(), 100, Limits::default());
    let device = admission.add_device(device);
    for models in backends {
        let backend = admission.add_backend(device, BackendResources::default());
        for model in *models {
            admission.add_model(backend, *model);
        }
    }
    admission
}

fn asked(admission: &mut Admission, model: ModelNumber, now: Millis) -> (Answer, Effects) {
    let ask = Ask { model, share: Share::of(1), tokens: 1, deadline: None, is_retry: false };
    admission.admit(&ask, now)
}

fn queued(admission: &mut Admission, model: ModelNumber, now: Millis) -> (Ticket, Effects) {
    match asked(admission, model, now) {
        (Answer::Queued(ticket), effects) => (ticket, effects),
        other => panic!("{other:?}"),
    }
}

fn admitted(admission: &mut Admission, model: ModelNumber, now: Millis) -> Ticket {
    match asked(admission, model, now).0 {
        Answer::Admitted(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn finish(admission: &mut Admission, ticket: Ticket, now: Millis) -> Effects {
    admission.finish(ticket, None, now).unwrap()
}

fn is_resident(admission: &Admission, model: ModelNumber) -> bool {
    admission.residency(0).is_resident(model)
}

#[test]
fn two_backends_on_one_device_share_its_memory_and_its_loads() {
    let mut admission = admission(hundred(), &[&[bytes(60)], &[bytes(60), bytes(30)]]);
    let (first, effects) = queued(&mut admission, 0, 0);
    assert_eq!(effects.load.as_slice(), [0]);
    let (second, effects) = queued(&mut admission, 1, 0);
    assert!(effects.is_empty(), "one load at a time, whosever it is");
    let effects = admission.loaded(0, None, Some(10.0), 10);
    assert_eq!((effects.granted.as_slice(), effects.load.as_slice()), (&[first][..], &[][..]));
    let (third, effects) = queued(&mut admission, 2, 25);
    assert_eq!(effects.load.as_slice(), [2], "it fits beside");
    assert_eq!([0, 1].map(|backend| admission.residency(backend).in_use()), [90, 90]);
    assert_eq!(admission.loaded(2, None, Some(10.0), 35).granted.as_slice(), [third]);
    let _ = finish(&mut admission, third, 36);
    assert_eq!(finish(&mut admission, first, 37).evicted.as_slice(), [0], "for a model of the other backend");
    assert_eq!(admission.gone(0, 40).load.as_slice(), [1]);
    assert_eq!(admission.loaded(1, None, Some(10.0), 50).granted.as_slice(), [second]);
}

#[test]
fn two_backends_on_one_cpu_compute_one_at_a_time() {
    let mut admission =
        admission(Device { computes_alone: true, ..hundred() }, &[&[bytes(10)], &[bytes(10)]]);
    for model in 0..2 {
        let _ = admission.loaded(model, None, None, 0);
    }
    let first = admitted(&mut admission, 0, 0);
    let (second, _) = queued(&mut admission, 1, 10);
    assert_eq!(finish(&mut admission, first, 100).granted.as_slice(), [second]);
}

#[test]
fn a_backend_that_moves_takes_along_what_it_has_and_who_waits() {
    let mut ours = admission(hundred(), &[&[bytes(60)]]);
    let shared = ours.add_device(Device { computes_alone: true, ..hundred() });
    let other = ours.add_backend(shared, BackendResources::default());
    for model in [bytes(60), bytes(30)] {
        ours.add_model(other, model);
    }
    for model in 0..2 {
        let _ = ours.loaded(model, None, Some(700.0), 0);
    }
    let _ = ours.preload(2, 0).unwrap();
    let running = admitted(&mut ours, 0, 0);
    let theirs = admitted(&mut ours, 1, 0);
    let (waits, _) = queued(&mut ours, 0, 5);
    let effects = ours.set_backend(0, shared, &BackendResources::default(), 10);
    assert!(effects.is_empty(), "what runs goes on");
    let residency = ours.residency(0);
    let held: Vec<_> = residency.held().map(|one| (one.model, one.stage, one.running)).collect();
    assert_eq!(held, [(0, Stage::Ready, 1), (1, Stage::Ready, 1), (2, Stage::Loading, 0)]);
    assert_eq!(
        (residency.in_use(), residency.capacity()),
        (150, Some(100)),
        "more than there is, until some is idle"
    );
    assert!(ours.loaded(2, None, None, 20).is_empty());
    // Both ran, and the turn is that of the one that was there.
    assert!(finish(&mut ours, running, 40).granted.is_empty());
    assert_eq!(finish(&mut ours, theirs, 50).granted.as_slice(), [waits]);
    assert_eq!(ours.load(0, 60).wait_ms, None, "as nobody knows how long it runs");
}

#[test]
fn who_waits_for_a_model_of_a_backend_that_moves_waits_on() {
    let mut ours = admission(hundred(), &[&[bytes(60)], &[bytes(60)]]);
    let (first, _) = queued(&mut ours, 0, 0);
    let (second, _) = queued(&mut ours, 1, 7);
    let own = ours.add_device(hundred());
    let effects = ours.set_backend(1, own, &BackendResources::default(), 10);
    assert_eq!(effects.load.as_slice(), [1], "there is room, and nobody else loads");
    assert_eq!(ours.loaded(1, None, None, 20).granted.as_slice(), [second]);
    assert_eq!(ours.loaded(0, None, None, 20).granted.as_slice(), [first]);
    assert_eq!([0, 1].map(|backend| ours.residency(backend).in_use()), [60, 60]);
}

#[test]
fn embedding_models_and_others_push_only_their_own_kind_out() {
    // The part is 8: a tenth, and no more than the largest needs.
    let mut admission = admission(hundred(), &[&[bytes(92), bytes(92), embeds(8), embeds(5)]]);
    for model in [0, 2] {
        let _ = admission.loaded(model, None, Some(100.0), 0);
    }
    let (second_chat, effects) = queued(&mut admission, 1, 1_000);
    assert_eq!((effects.evicted.as_slice(), effects.load.as_slice()), (&[0][..], &[][..]));
    let (other, effects) = queued(&mut admission, 3, 1_001);
    assert!(effects.is_empty(), "one unload or load at a time");
    let effects = admission.gone(0, 1_002);
    assert_eq!(effects.evicted.as_slice(), [2], "embedding models first: they are short");
    assert_eq!(admission.gone(2, 1_003).load.as_slice(), [3]);
    let effects = admission.loaded(3, None, Some(10.0), 1_013);
    assert_eq!((effects.granted.as_slice(), effects.load.as_slice()), (&[other][..], &[1][..]));
    assert_eq!(admission.loaded(1, None, Some(100.0), 1_113).granted.as_slice(), [second_chat]);
    assert!(is_resident(&admission, 3) && admission.residency(0).in_use() == 97);
}

#[test]
fn the_room_of_an_embedding_model_is_kept_for_it() {
    let models = [bytes(50), bytes(45), embeds(10)];
    let mut with = admission(hundred(), &[&models]);
    let mut without = admission(Device { embedding_bytes: Some(0), ..hundred() }, &[&models]);
    for (admission, is_kept) in [(&mut with, true), (&mut without, false)] {
        let _ = admission.loaded(0, None, None, 0);
        let (_, effects) = queued(admission, 1, 1_000);
        assert_eq!(effects.evicted.as_slice(), if is_kept { &[0][..] } else { &[][..] });
        assert_eq!(effects.load.as_slice(), if is_kept { &[][..] } else { &[1][..] });
    }
}

#[test]
fn an_embedding_model_larger_than_its_part_is_like_any_other() {
    let mut admission = admission(hundred(), &[&[bytes(90), embeds(11), embeds(4)]]);
    for model in [0, 2] {
        let _ = admission.loaded(model, None, None, 0);
    }
    let (_, effects) = queued(&mut admission, 1, 1_000);
    assert_eq!(effects.evicted.as_slice(), [0]);
    assert!(is_resident(&admission, 2), "the part is that of the smaller one");
}

#[test]
fn a_pinned_embedding_model_has_its_place_in_the_part_and_leaves_less_to_others() {
    let pinned = ModelResources { is_pinned: true, ..embeds(6) };
    let mut admission = admission(hundred(), &[&[bytes(90), pinned, embeds(4), embeds(5)]]);
    for model in [0, 1, 2] {
        let _ = admission.loaded(model, None, None, 0);
    }
    let (_, effects) = queued(&mut admission, 3, 1_000);
    assert_eq!(effects.evicted.as_slice(), [0], "5 beside the 6 are more than a tenth");
}

#[test]
fn a_model_that_needs_all_there_is_takes_the_part_too() {
    let mut admission = admission(hundred(), &[&[bytes(95), embeds(10)]]);
    let _ = admission.loaded(1, None, None, 0);
    let (chat, effects) = queued(&mut admission, 0, 1_000);
    assert_eq!(effects.evicted.as_slice(), [1]);
    assert_eq!(admission.gone(1, 1_001).load.as_slice(), [0]);
    assert_eq!(admission.loaded(0, None, None, 1_100).granted.as_slice(), [chat]);
    let _ = finish(&mut admission, chat, 1_200);
    let (_, effects) = queued(&mut admission, 1, 2_000);
    assert_eq!(effects.evicted.as_slice(), [0], "and gives it back");
}

#[test]
fn an_embedding_neither_waits_for_an_answer_on_a_cpu_nor_keeps_one_waiting() {
    let mut admission =
        admission(Device { computes_alone: true, ..hundred() }, &[&[bytes(40), bytes(40), embeds(5)]]);
    for model in 0..3 {
        let _ = admission.loaded(model, None, None, 0);
    }
    let answer = admitted(&mut admission, 0, 0);
    let embedding = admitted(&mut admission, 2, 10);
    let (other, _) = queued(&mut admission, 1, 20);
    assert_eq!(finish(&mut admission, answer, 5_000).granted.as_slice(), [other], "beside the embedding");
    let _ = finish(&mut admission, embedding, 5_010);
    let _second = admitted(&mut admission, 2, 5_020);
    assert_eq!(admission.load(1, 5_020).running, 1);
}

#[test]
fn the_wait_for_an_embedding_model_is_that_of_its_own_part() {
    let mut admission = admission(hundred(), &[&[bytes(90), bytes(80), embeds(10)]]);
    let _ = admission.loaded(0, None, Some(1_000.0), 0);
    let _running = admitted(&mut admission, 0, 0);
    assert_eq!(admission.load(2, 0).wait_ms, Some(250), "its room is there; a load that was never measured");
    assert_eq!(admission.load(1, 0).wait_ms, Some(8 * 250 + 250), "as long as others may pass, and its load");
}
