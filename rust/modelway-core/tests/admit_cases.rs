//! What the admission promises, case by case.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what can't be is a failed test")]

use std::num::{NonZeroU32, NonZeroU64};

use modelway_core::admit::{Admission, Answer, Ask, BackendResources, ModelResources, Refusal, Why};
use modelway_core::budget::RetryPolicy;
use modelway_core::fair::Share;
use modelway_core::limits::{Limits, Unit};
use modelway_core::quota::Quota;
use modelway_core::rate::Rate;
use modelway_core::swap::Policy;
use modelway_core::users::UserLimits;
use modelway_core::vram::Device;
use modelway_core::{Millis, Ticket};

fn ask(model: usize, user: u64) -> Ask {
    Ask { model, share: Share::of(user), tokens: 100, deadline: None, is_retry: false }
}

fn per_second(count: u32, burst: u64) -> Rate {
    let second = NonZeroU32::new(1_000).unwrap();
    Rate::new(NonZeroU32::new(count).unwrap(), second, NonZeroU64::new(burst).unwrap())
}

fn requests(count: u32, burst: u64) -> Limits {
    Limits { requests: Some(per_second(count, burst)), tokens: None }
}

fn slots(max_concurrent: u32) -> ModelResources {
    ModelResources { max_concurrent: Some(max_concurrent), ..ModelResources::default() }
}

fn bytes(memory_bytes: u64) -> ModelResources {
    ModelResources { memory_bytes, ..ModelResources::default() }
}

/// One backend with so much memory, and these models.
fn admission(memory_bytes: Option<u64>, models: &[ModelResources]) -> Admission {
    let mut admission = Admission::new(UserLimits::default(), 100, Limits::default());
    let policy = Policy { linger_percent: 0, ..Policy::default() };
    let device = admission.add_device(Device { capacity: memory_bytes, policy, ..Device::default() });
    let backend = admission.add_backend(device, BackendResources::default());
    for model in models {
        admission.add_model(backend, *model);
    }
    admission
}

fn admitted(admission: &mut Admission, ask: &Ask, now: Millis) -> Ticket {
    match admission.admit(ask, now).0 {
        Answer::Admitted(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn queued(admission: &mut Admission, ask: &Ask, now: Millis) -> Ticket {
    match admission.admit(ask, now).0 {
        Answer::Queued(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn refused(admission: &mut Admission, ask: &Ask, now: Millis) -> Refusal {
    match admission.admit(ask, now).0 {
        Answer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_limits_everybody_passes() {
    let mut admission = admission(None, &[ModelResources::default()]);
    let tickets: Vec<_> = (0..1_000).map(|user| admitted(&mut admission, &ask(0, user), 0)).collect();
    assert_eq!(admission.load(0, 0).running, 1_000);
    for ticket in tickets {
        assert!(admission.finish(ticket, Some(7), 1).unwrap().granted.is_empty());
        assert_eq!(admission.finish(ticket, Some(7), 1), None);
    }
    assert_eq!((admission.load(0, 0).running, admission.next_wake()), (0, None));
}

#[test]
fn slots_are_passed_on_in_fair_order() {
    let mut admission = admission(None, &[slots(1)]);
    let running = admitted(&mut admission, &ask(0, 1), 0);
    let [a, b] = [1, 1].map(|user| queued(&mut admission, &ask(0, user), 0));
    let other = queued(&mut admission, &ask(0, 2), 0);
    let places = [a, b, other].map(|ticket| admission.place(ticket, 0).unwrap().position);
    assert_eq!(places, [1, 3, 2]);
    assert_eq!(admission.finish(running, None, 10).unwrap().granted.as_slice(), [a]);
    assert_eq!(admission.cancel(other, 20).unwrap().granted.as_slice(), []);
    assert_eq!(admission.finish(a, None, 30).unwrap().granted.as_slice(), [b]);
    assert!(admission.is_admitted(b) && !admission.is_admitted(a));
}

#[test]
fn a_grant_that_comes_while_its_owner_leaves_goes_to_the_next() {
    let mut admission = admission(None, &[slots(1)]);
    let running = admitted(&mut admission, &ask(0, 1), 0);
    let leaver = queued(&mut admission, &ask(0, 2), 0);
    let next = queued(&mut admission, &ask(0, 3), 0);
    assert_eq!(admission.finish(running, None, 1).unwrap().granted.as_slice(), [leaver]);
    assert_eq!(admission.cancel(leaver, 1).unwrap().granted.as_slice(), [next]);
    assert_eq!(admission.load(0, 0).running, 1);
}

#[test]
fn who_comes_too_late_is_told_at_once_when_to_come_back() {
    let mut admission = admission(None, &[slots(1)]);
    let running = admitted(&mut admission, &ask(0, 1), 0);
    let at_once = Ask { deadline: Some(0), ..ask(0, 2) };
    let unknown = refused(&mut admission, &at_once, 0);
    assert_eq!(
        unknown,
        Refusal { why: Why::Deadline, when: Some(1_000) },
        "nothing is known of the pace yet"
    );
    let first = queued(&mut admission, &ask(0, 2), 0);
    let second = queued(&mut admission, &ask(0, 3), 0);
    assert_eq!(admission.finish(running, None, 2_000).unwrap().granted.as_slice(), [first]);
    // One goes on every two seconds, so the newcomer would go on in four.
    let patient = Ask { deadline: Some(6_100), ..ask(0, 4) };
    let impatient = Ask { deadline: Some(5_000), ..ask(0, 5) };
    let refusal = refused(&mut admission, &impatient, 2_000);
    assert_eq!(refusal, Refusal { why: Why::Deadline, when: Some(3_000) });
    let third = queued(&mut admission, &patient, 2_000);
    assert_eq!(admission.load(0, 0).waiting, 2);
    assert_eq!(admission.finish(first, None, 4_000).unwrap().granted.as_slice(), [second]);
    assert_eq!(admission.finish(second, None, 6_000).unwrap().granted.as_slice(), [third]);
}

#[test]
fn the_queue_is_bounded_for_all_models_of_a_backend() {
    let mut admission = Admission::new(UserLimits::default(), 10, Limits::default());
    let device = admission.add_device(Device::default());
    let backend =
        admission.add_backend(device, BackendResources { max_waiting: 3, ..BackendResources::default() });
    let models = [(); 2].map(|()| admission.add_model(backend, slots(1)));
    let running = models.map(|model| admitted(&mut admission, &ask(model, 1), 0));
    for model in [0, 1, 0] {
        queued(&mut admission, &ask(model, 2), 0);
    }
    assert_eq!(refused(&mut admission, &ask(1, 3), 0).why, Why::QueueFull);
    assert_eq!(admission.finish(running[0], None, 1).unwrap().granted.len(), 1);
    queued(&mut admission, &ask(1, 3), 1);
}

#[test]
fn l6_no_window_exceeds_its_limit_and_the_rest_is_queued_or_told_when() {
    // 50/s in all and 20/s for each of two backends; 200 requests at once, of which half can wait 2 s.
    let mut admission = Admission::new(UserLimits::default(), 10, requests(50, 1));
    for _ in 0..2 {
        let limits = requests(20, 1);
        let device = admission.add_device(Device::default());
        let backend =
            admission.add_backend(device, BackendResources { limits, ..BackendResources::default() });
        admission.add_model(backend, ModelResources::default());
    }
    let mut passed: [Vec<Millis>; 2] = Default::default();
    let mut waiting = Vec::new();
    let mut refusals = 0;
    for number in 0..200 {
        let model = number % 2;
        let deadline = Some(if number < 100 { 0 } else { 2_000 });
        match admission.admit(&Ask { deadline, ..ask(model, number as u64) }, 0).0 {
            Answer::Admitted(_) => passed[model].push(0),
            Answer::Queued(ticket) => waiting.push((ticket, model)),
            Answer::Refused(Refusal { why, when }) => {
                refusals += 1;
                assert_eq!(why, Why::Deadline);
                assert!(when.is_some_and(|when| when > 0));
            }
        }
    }
    assert!(refusals >= 98, "those without patience");
    while let Some(due) = admission.next_wake() {
        for ticket in admission.tick(due).granted {
            let (_, model) = waiting.iter().find(|(other, _)| *other == ticket).unwrap();
            passed[*model].push(due);
        }
    }
    assert_eq!(passed.concat().len() + refusals, 200, "who waits is served in the end");
    let mut all = passed.concat();
    all.sort_unstable();
    for (times, most) in [(&passed[0], 20), (&passed[1], 20), (&all, 50)] {
        for (first, begin) in times.iter().enumerate() {
            let in_window = times[first..].iter().take_while(|time| **time < begin + 1_000).count();
            assert!(in_window <= most, "{in_window} in the second from {begin}");
        }
    }
}

#[test]
fn an_expensive_request_gets_its_part_of_a_shared_rate() {
    let mut admission = Admission::new(UserLimits::default(), 10, Limits::default());
    let limits = Limits { requests: None, tokens: Some(per_second(1_000, 1_000)) };
    let device = admission.add_device(Device::default());
    let backend = admission.add_backend(device, BackendResources { limits, ..BackendResources::default() });
    let [cheap, dear] = [(); 2].map(|()| admission.add_model(backend, ModelResources::default()));
    admitted(&mut admission, &Ask { tokens: 900, ..ask(cheap, 1) }, 0);
    let big = queued(&mut admission, &Ask { tokens: 1_000, ..ask(dear, 2) }, 0);
    // 100 tokens are there, but somebody who came earlier waits for them.
    let small = queued(&mut admission, &ask(cheap, 1), 0);
    assert_eq!(admission.next_wake(), Some(900));
    assert_eq!(admission.tick(900).granted.as_slice(), [big]);
    assert_eq!(admission.tick(1_000).granted.as_slice(), [small]);
}

#[test]
fn a_user_sees_limits_before_they_bite() {
    let day = NonZeroU64::new(86_400_000).unwrap();
    let limits =
        UserLimits { rates: requests(1, 2), request_quota: None, token_quota: Some(Quota::new(250, day, 0)) };
    let mut admission = Admission::new(limits, 10, Limits::default());
    let device = admission.add_device(Device::default());
    let backend = admission.add_backend(device, BackendResources::default());
    admission.add_model(backend, slots(1));
    let running = admitted(&mut admission, &ask(0, 1), 0);
    let waiting = queued(&mut admission, &ask(0, 1), 0);
    assert_eq!(admission.standing(1, 0).quota_tokens.unwrap().remaining, 50, "who waits has been charged");
    let quota = refused(&mut admission, &ask(0, 1), 0);
    assert_eq!(quota, Refusal { why: Why::UserQuota(Unit::Tokens), when: Some(86_400_000) });
    let rate = refused(&mut admission, &Ask { tokens: 1, ..ask(0, 1) }, 0);
    assert_eq!(rate, Refusal { why: Why::UserRate(Unit::Requests), when: Some(1_000) });
    let never = refused(&mut admission, &Ask { tokens: 251, ..ask(0, 1) }, 0);
    assert_eq!(never, Refusal { why: Why::UserQuota(Unit::Tokens), when: None });
    let _ = admission.cancel(waiting, 0).unwrap();
    let _ = admission.finish(running, Some(30), 0).unwrap();
    assert_eq!(admission.standing(1, 0).quota_tokens.unwrap().remaining, 220);
}

#[test]
fn retries_draw_on_the_budget_of_their_backend() {
    let mut admission = Admission::new(UserLimits::default(), 10, Limits::default());
    let retries = RetryPolicy { percent: 50, reserve_per_s: 0 };
    let device = admission.add_device(Device::default());
    let backend = admission.add_backend(device, BackendResources { retries, ..BackendResources::default() });
    admission.add_model(backend, ModelResources::default());
    let retry = Ask { is_retry: true, ..ask(0, 1) };
    assert_eq!(refused(&mut admission, &retry, 0), Refusal { why: Why::Retries, when: Some(1_000) });
    for _ in 0..2 {
        admitted(&mut admission, &ask(0, 1), 0);
    }
    admitted(&mut admission, &retry, 0);
    assert_eq!(refused(&mut admission, &retry, 0).why, Why::Retries);
}

#[test]
fn a_retry_is_no_second_request_of_its_user() {
    let users = UserLimits { rates: requests(1, 1), ..UserLimits::default() };
    let mut admission = Admission::new(users, 10, Limits::default());
    let device = admission.add_device(Device::default());
    let backend = admission.add_backend(device, BackendResources::default());
    for _ in 0..2 {
        admission.add_model(backend, ModelResources::default());
    }
    let first = admitted(&mut admission, &ask(0, 1), 0);
    let _ = admission.finish(first, Some(0), 0).unwrap();
    let second = admitted(&mut admission, &Ask { is_retry: true, ..ask(1, 1) }, 0);
    assert_eq!(refused(&mut admission, &ask(0, 1), 0).why, Why::UserRate(Unit::Requests));
    // One that did not happen gives back what it was charged: nothing.
    let _ = admission.cancel(second, 0).unwrap();
    assert_eq!(admission.standing(1, 0).requests.unwrap().remaining, 0);
}

#[test]
fn l4_idle_models_make_room_and_none_in_vain() {
    // L4: 16 GB; models of 8, 4 and 2, then another 8.
    let mut admission = admission(Some(16), &[8, 4, 2, 8].map(bytes));
    let first: Vec<Ticket> = (0..3).map(|model| admitted(&mut admission, &ask(model, 1), 0)).collect();
    // The one of 8 is used so often that nobody waits for it to be idle.
    let _others: Vec<Ticket> = (0..3).map(|_| admitted(&mut admission, &ask(0, 1), 0)).collect();
    assert_eq!(admission.residency(0).in_use(), 14);
    // The one of 4 is idle, but that would not be enough: nothing is unloaded in vain.
    let _ = admission.finish(first[1], None, 1).unwrap();
    let waits = queued(&mut admission, &ask(3, 1), 3);
    assert_eq!(admission.residency(0).in_use(), 14);
    let effects = admission.finish(first[2], None, 4).unwrap();
    assert_eq!((effects.granted.as_slice(), effects.evicted.as_slice()), (&[waits][..], &[1, 2][..]));
    assert_eq!(admission.residency(0).in_use(), 16);
}

#[test]
fn a_model_that_finds_no_room_waits_a_bounded_time() {
    // Two requests to the first model always overlap, so it never gets idle by itself.
    let mut admission = admission(Some(10), &[6, 6, 3].map(bytes));
    let mut running = admitted(&mut admission, &ask(0, 1), 0);
    let waits = queued(&mut admission, &ask(1, 2), 0);
    let (mut now, mut passed) = (0, 0);
    let closed = loop {
        now += 100;
        let _ = admission.tick(now);
        match admission.admit(&ask(0, 1), now).0 {
            Answer::Admitted(next) => {
                passed += 1;
                assert!(admission.finish(running, None, now).unwrap().granted.is_empty());
                running = next;
            }
            Answer::Queued(closed) => break closed,
            Answer::Refused(refusal) => panic!("{refusal:?}"),
        }
    };
    // Loading either is thought to take 250 ms: others pass for four times both.
    assert_eq!((now, passed), (2_000, 19));
    let _fits_beside_it = admitted(&mut admission, &ask(2, 3), now);
    let effects = admission.finish(running, None, now + 1).unwrap();
    assert_eq!(effects.evicted.as_slice(), [0]);
    assert_eq!(effects.granted.as_slice(), [waits]);
    assert_eq!(admission.finish(waits, None, now + 2).unwrap().granted.as_slice(), [closed]);
}

#[test]
fn a_managed_backend_is_told_what_to_do_and_tells_when_it_has() {
    let mut admission = Admission::new(UserLimits::default(), 100, Limits::default());
    let policy = Policy { linger_percent: 0, ..Policy::default() };
    let managed = Device { capacity: Some(10), is_managed: true, policy, ..Device::default() };
    let device = admission.add_device(managed);
    let backend = admission.add_backend(device, BackendResources::default());
    for _ in 0..3 {
        admission.add_model(backend, bytes(6));
    }
    let (answer, effects) = admission.admit(&ask(0, 1), 0);
    let Answer::Queued(first) = answer else { panic!("{answer:?}") };
    assert_eq!((effects.load.as_slice(), admission.next_wake()), (&[0][..], None));
    let second = queued(&mut admission, &ask(0, 2), 1);
    let other = queued(&mut admission, &ask(1, 3), 2);
    let _ = admission.cancel(first, 3).unwrap();
    assert!(!admission.is_admitted(second), "still loading, and not for the first alone");
    let effects = admission.loaded(0, Some(7), Some(400.0), 500);
    assert_eq!(effects.granted.as_slice(), [second]);
    assert_eq!(admission.residency(0).in_use(), 7);
    let effects = admission.finish(second, None, 600).unwrap();
    assert_eq!(
        (effects.evicted.as_slice(), effects.load.as_slice()),
        (&[0][..], &[][..]),
        "one after the other"
    );
    let returning = queued(&mut admission, &ask(0, 2), 601);
    assert_eq!(admission.gone(0, 650).load.as_slice(), [1]);
    // It can't be loaded: who waits for it is told, and the next one's turn has come.
    let effects = admission.failed(1, 700);
    assert_eq!(effects.refused.as_slice(), [(other, Refusal { why: Why::NotLoaded, when: None })]);
    assert_eq!(effects.load.as_slice(), [0]);
    assert_eq!(admission.loaded(0, None, None, 900).granted.as_slice(), [returning]);
    assert!(admission.gone(0, 950).load.is_empty(), "what is said of a model in use is not believed");
    assert!(admission.residency(0).is_resident(0));
    let _ = admission.finish(returning, None, 1_000);
    assert_eq!(admission.residency(0).in_use(), admission.residency(0).idle_bytes());
}

#[test]
fn what_became_impossible_is_refused() {
    let mut admission = admission(Some(10), &[6, 6].map(bytes));
    let running = admitted(&mut admission, &ask(0, 1), 0);
    let waits = queued(&mut admission, &ask(1, 1), 0);
    let less = Device { capacity: Some(5), ..Device::default() };
    let effects = admission.set_device(0, less, 1);
    assert_eq!(effects.refused.as_slice(), [(waits, Refusal { why: Why::Memory, when: None })]);
    assert_eq!(admission.finish(waits, None, 2), None);
    assert!(admission.finish(running, None, 3).is_some(), "what runs goes on");
}
