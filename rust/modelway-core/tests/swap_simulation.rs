//! The plan over simulated traffic: a device, models that load and serve, and clients that ask again when answered.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what can't be is a failed test")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use modelway_core::Millis;
use modelway_core::swap::{Claim, Doing, Plan, Policy, Resident, View, plan};

/// Times in hundredths of a millisecond would be closer; a load is hundreds of milliseconds.
#[derive(Clone, Copy)]
struct Kind {
    bytes: u64,
    load_ms: Millis,
    service_ms: Millis,
    slots: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrive(usize),
    Served(usize),
    Loaded(usize),
    Unloaded(usize),
    Look,
}

#[derive(Clone)]
struct Model {
    kind: Kind,
    doing: Option<Doing>,
    since: Millis,
    is_closed: bool,
    running: usize,
    /// Who waits, and since when.
    queue: VecDeque<(usize, Millis)>,
}

struct Device {
    capacity: u64,
    models: Vec<Model>,
    policy: Policy,
    now: Millis,
    events: BTreeSet<(Millis, u64, What)>,
    count: u64,
    loads: usize,
    promised: Vec<usize>,
    waits: Vec<(usize, Millis)>,
    /// For each request its model.
    requests: Vec<usize>,
}

impl Device {
    fn new(capacity: u64, kinds: &[Kind], policy: Policy) -> Self {
        let model = |kind: &Kind| Model {
            kind: *kind,
            doing: None,
            since: 0,
            is_closed: false,
            running: 0,
            queue: VecDeque::new(),
        };
        Self {
            capacity,
            models: kinds.iter().map(model).collect(),
            policy,
            now: 0,
            events: BTreeSet::new(),
            count: 0,
            loads: 0,
            promised: Vec::new(),
            waits: Vec::new(),
            requests: Vec::new(),
        }
    }

    fn at(&mut self, when: Millis, what: What) {
        self.count += 1;
        self.events.insert((when, self.count, what));
    }

    fn arrive(&mut self, model: usize, after: Millis) -> usize {
        self.requests.push(model);
        let request = self.requests.len() - 1;
        self.at(self.now + after, What::Arrive(request));
        request
    }

    /// Runs to the end; `next` says what its client asks when a request is answered.
    fn run(&mut self, mut next: impl FnMut(usize) -> Option<(usize, Millis)>) {
        while let Some((when, _, what)) = self.events.pop_first() {
            self.now = when;
            match what {
                What::Arrive(request) => {
                    let model = self.requests[request];
                    self.models[model].queue.push_back((request, self.now));
                }
                What::Served(request) => {
                    let model = self.requests[request];
                    self.models[model].running -= 1;
                    if self.models[model].running == 0 {
                        self.models[model].doing = Some(Doing::Idle(self.now));
                    }
                    if let Some((model, after)) = next(request) {
                        self.arrive(model, after);
                    }
                }
                What::Loaded(model) => {
                    self.models[model].doing = Some(Doing::Idle(self.now));
                    self.models[model].since = self.now;
                }
                What::Unloaded(model) => self.models[model].doing = None,
                What::Look => {}
            }
            self.settle();
        }
        assert!(self.models.iter().all(|model| model.queue.is_empty()), "nobody is forgotten");
    }

    fn settle(&mut self) {
        loop {
            for number in 0..self.models.len() {
                self.serve(number);
            }
            let plan = self.plan();
            self.promised = plan.promised.to_vec();
            for (number, model) in self.models.iter_mut().enumerate() {
                model.is_closed = plan.closed.contains(&number);
            }
            if let Some(when) = plan.look_again {
                assert!(when > self.now, "{when} at {}", self.now);
                self.at(when, What::Look);
            }
            for number in &plan.unload {
                assert!(matches!(self.models[*number].doing, Some(Doing::Idle(_))));
                self.models[*number].doing = Some(Doing::Unloading);
                self.at(self.now + 5, What::Unloaded(*number));
            }
            if let Some(number) = plan.load {
                let model = &mut self.models[number];
                assert!(model.doing.is_none());
                model.doing = Some(Doing::Loading);
                let after = model.kind.load_ms;
                self.loads += 1;
                self.at(self.now + after, What::Loaded(number));
            }
            let held: u64 = self.models.iter().filter(|m| m.doing.is_some()).map(|m| m.kind.bytes).sum();
            assert!(held <= self.capacity, "memory");
            if plan.unload.is_empty() && plan.load.is_none() {
                return;
            }
        }
    }

    fn serve(&mut self, number: usize) {
        loop {
            let model = &mut self.models[number];
            let is_warm = matches!(model.doing, Some(Doing::Idle(_) | Doing::Busy(_))) && !model.is_closed;
            if !is_warm || model.running >= model.kind.slots {
                return;
            }
            let Some((request, since)) = model.queue.pop_front() else { return };
            model.running += 1;
            let end = self.now + model.kind.service_ms;
            model.doing = Some(Doing::Busy(end));
            self.waits.push((number, self.now - since));
            self.at(end, What::Served(request));
        }
    }

    fn plan(&self) -> Plan {
        let residents: Vec<_> = self
            .models
            .iter()
            .enumerate()
            .filter_map(|(model, one)| {
                Some(Resident {
                    model,
                    bytes: one.kind.bytes,
                    doing: one.doing?,
                    since: one.since,
                    load_ms: one.kind.load_ms,
                    uses: 30,
                    is_pinned: false,
                    is_closed: one.is_closed,
                })
            })
            .collect();
        let claims: Vec<_> = self
            .models
            .iter()
            .enumerate()
            .filter(|(_, one)| !one.queue.is_empty() && (one.doing.is_none() || one.is_closed))
            .map(|(model, one)| Claim {
                model,
                bytes: one.kind.bytes,
                since: one.queue[0].1,
                mean_since: one.queue.iter().map(|(_, since)| since).sum::<u64>() / one.queue.len() as u64,
                waiting: one.queue.len() as u32,
                load_ms: one.kind.load_ms,
            })
            .collect();
        plan(
            &View {
                capacity: self.capacity,
                residents: &residents,
                claims: &claims,
                promised: &self.promised,
            },
            &self.policy,
            self.now,
        )
    }

    fn longest_wait(&self) -> Millis {
        self.waits.iter().map(|(_, wait)| *wait).max().unwrap_or(0)
    }
}

const SMOL: Kind = Kind { bytes: 1, load_ms: 530, service_ms: 110, slots: 1 };

/// Eight clients of their own A, B, A, B...; odd ones start with B.
fn own_lists(clients: usize, total: usize, think_ms: Millis) -> Device {
    let mut device = Device::new(1, &[SMOL, SMOL], Policy::default());
    let mut sent = clients;
    let mut client_of = BTreeMap::new();
    let mut turn = vec![0_usize; clients];
    for client in 0..clients {
        let request = device.arrive(client % 2, 0);
        client_of.insert(request, client);
    }
    let mut count = clients;
    device.run(|request| {
        let client = client_of[&request];
        turn[client] += 1;
        if sent >= total {
            return None;
        }
        sent += 1;
        client_of.insert(count, client);
        count += 1;
        Some(((client + turn[client]) % 2, think_ms))
    });
    device
}

/// Workers that take the next of one alternating list.
fn shared_list(workers: usize, total: usize, think_ms: Millis) -> Device {
    let mut device = Device::new(1, &[SMOL, SMOL], Policy::default());
    let mut sent = 0;
    for _ in 0..workers {
        device.arrive(sent % 2, 0);
        sent += 1;
    }
    device.run(|_| {
        (sent < total).then(|| {
            sent += 1;
            ((sent - 1) % 2, think_ms)
        })
    });
    device
}

#[test]
fn alternating_clients_are_served_in_batches() {
    for think_ms in [0, 1, 5] {
        let device = own_lists(8, 60, think_ms);
        println!(
            "own lists, think {think_ms}: {} loads, {} ms, longest wait {}",
            device.loads,
            device.now,
            device.longest_wait()
        );
        assert_eq!(device.waits.len(), 60);
        assert!(device.loads <= 11);
        let device = shared_list(8, 60, think_ms);
        println!(
            "shared list, think {think_ms}: {} loads, {} ms, longest wait {}",
            device.loads,
            device.now,
            device.longest_wait()
        );
        assert!(device.loads <= 7);
        let device = own_lists(1, 60, think_ms);
        println!("one client, think {think_ms}: {} loads, {} ms", device.loads, device.now);
    }
}

#[test]
fn who_waits_beside_a_busy_model_waits_no_longer_than_the_bound() {
    // Two clients keep A busy for 60 s; B is asked for now and then.
    let mut device = Device::new(1, &[SMOL, SMOL], Policy::default());
    device.arrive(0, 0);
    device.arrive(0, 50);
    for k in 0..6 {
        device.arrive(1, 3_000 + k * 9_000);
    }
    let kinds = device.requests.clone();
    let mut total = kinds.len();
    let mut is_a: BTreeMap<usize, bool> = kinds.iter().enumerate().map(|(i, m)| (i, *m == 0)).collect();
    device.run(|request| {
        (is_a[&request] && total < 500).then(|| {
            is_a.insert(total, true);
            total += 1;
            (0, 1)
        })
    });
    let of = |model| {
        let mut waits: Vec<_> = device.waits.iter().filter(|(m, _)| *m == model).map(|(_, w)| *w).collect();
        waits.sort_unstable();
        (waits[waits.len() * 95 / 100], *waits.last().unwrap(), waits.len())
    };
    println!("A p95/max/n {:?}, B {:?}, loads {}", of(0), of(1), device.loads);
    assert!(of(1).1 <= 30_000);
}
