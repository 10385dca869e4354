//! What a request costs in a queue of 100,000 users and in one of 10, in one interleaved run.
//!
//! `cargo bench --package modelway-core` prints the medians and their ratio, which must not be above 3: a bar of
//! the design, as a busy gateway must not get slower for being busy.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![allow(clippy::panic, reason = "a measurement of something else is none")]

use std::time::Instant;

use modelway_core::admit::{Admission, Answer, Ask, BackendResources, ModelResources};
use modelway_core::fair::Share;
use modelway_core::limits::Limits;
use modelway_core::users::UserLimits;
use modelway_core::vram::Device;
use modelway_core::{Millis, Ticket};

/// Requests a sample; samples a size.
const REQUESTS: u32 = 20_000;
const SAMPLES: usize = 15;
const BAR: f64 = 3.0;

/// A queue in which each of so many users always has one request waiting for the one slot.
struct Crowd {
    admission: Admission,
    /// Who asked, by the tickets' numbers: to ask again. Small, as looking it up is measured too.
    users: Vec<u32>,
    running: Ticket,
    now: Millis,
}

impl Crowd {
    fn of(users: u32) -> Self {
        let mut admission = Admission::new(UserLimits::default(), 1, Limits::default());
        let device = admission.add_device(Device::default());
        let resources = BackendResources { max_waiting: 200_000, ..BackendResources::default() };
        let backend = admission.add_backend(device, resources);
        admission.add_model(backend, ModelResources { max_concurrent: Some(1), ..ModelResources::default() });
        let (Answer::Admitted(running), _) = admission.admit(&ask(0, 1), 0) else {
            panic!("nobody else is there")
        };
        let mut crowd = Self { admission, users: vec![0, 0], running, now: 0 };
        (1..=users).for_each(|user| crowd.ask(user));
        crowd
    }

    fn ask(&mut self, user: u32) {
        let tokens = 100 + (u64::from(user) * 31 + self.now * 17) % 900;
        let (Answer::Queued(ticket), _) = self.admission.admit(&ask(user, tokens), self.now) else {
            panic!("the slot is taken")
        };
        assert_eq!(ticket.number(), self.users.len() as u64, "numbers follow each other");
        self.users.push(user);
    }

    /// The one that runs ends, the next goes on, and whoever ended comes back.
    fn turn(&mut self) {
        self.now += 1;
        let effects = self.admission.finish(self.running, Some(500), self.now);
        let Some(&[next]) = effects.as_ref().map(|effects| effects.granted.as_slice()) else {
            panic!("one goes on")
        };
        let user = self.users[self.running.number() as usize];
        self.running = next;
        self.ask(user);
    }

    fn nanoseconds_a_turn(&mut self) -> f64 {
        let start = Instant::now();
        (0..REQUESTS).for_each(|_| self.turn());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS)
    }
}

fn ask(user: u32, tokens: u64) -> Ask {
    Ask { model: 0, share: Share::of(user.into()), tokens, deadline: None, is_retry: false }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() {
    let mut few = Crowd::of(10);
    let mut many = Crowd::of(100_000);
    let pairs: Vec<(f64, f64)> =
        (0..SAMPLES).map(|_| (few.nanoseconds_a_turn(), many.nanoseconds_a_turn())).collect();
    let few = median(pairs.iter().map(|(few, _)| *few).collect());
    let many = median(pairs.iter().map(|(_, many)| *many).collect());
    println!("admit + finish, 10 users waiting      {few:8.0} ns");
    println!("admit + finish, 100,000 users waiting {many:8.0} ns");
    println!("ratio                                 {:8.2} (bar: {BAR})", many / few);
}
