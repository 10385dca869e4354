//! The gate against a slow and obvious twin, over random tables, consents, policies, requests and moments; and that a
//! pass is void from the moment on at which its consent is gone, in whatever thread.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what can't be read must fail the test")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use modelway_core::egress::Policy;
use modelway_core::{
    Consent, DataKind, DataKinds, Locality, Pass, Rejection, Request, Router, Rules, SelectError, Settings,
    Site, TaskClass,
};
use proptest::prelude::*;
use support::{cases, plain};

const HOSTS: [&str; 3] = ["api.example.com", "10.0.0.5:8000", "llm.example.org"];

/// What happens to a router.
#[derive(Clone, Debug)]
enum Step {
    Consents(Vec<Consent>),
    Configuration(Vec<Site>, Policy),
    /// A request to the n-th model, with these kinds beside text, kept from others or not.
    Clear(usize, DataKinds, bool),
    /// The n-th of the passes made so far is used.
    Take(usize),
    Later(u64),
}

fn site() -> impl Strategy<Value = Site> {
    let elsewhere = prop_oneof![Just(Locality::Lan), Just(Locality::External)];
    prop_oneof![
        1 => Just(Site::HERE),
        // Whatever is said of its place, what has a destination is not here.
        1 => Just(Site { destination: Some(HOSTS[0].to_owned()), ..Site::HERE }),
        6 => (elsewhere, proptest::option::weighted(0.9, proptest::sample::select(HOSTS.to_vec())), any::<bool>())
            .prop_map(|(location, host, is_own_network)| Site {
                location, destination: host.map(str::to_owned), is_own_network,
            }),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    (proptest::bool::weighted(0.8), any::<bool>(), proptest::bool::weighted(0.2)).prop_map(
        |(allow_external, allow_lan, secret_scan)| Policy { allow_external, allow_lan, secret_scan },
    )
}

fn kinds() -> impl Strategy<Value = DataKinds> {
    proptest::sample::subsequence(DataKind::ALL, 0..4).prop_map(|kinds| kinds.into_iter().collect())
}

/// Few, so that the same ones come again.
fn consent() -> impl Strategy<Value = Consent> {
    let kinds = prop_oneof![Just(DataKind::ALL.iter().copied().collect::<DataKinds>()), kinds()];
    let model = proptest::option::weighted(0.3, (0_usize..3).prop_map(|index| format!("m{index}")));
    let (since, until) =
        (proptest::option::weighted(0.3, 0_u64..40), proptest::option::weighted(0.3, 0_u64..40));
    (0_usize..3, kinds, model, since, until).prop_map(|(host, kinds, model, since, until)| Consent {
        id: format!("to-{host}"),
        destination: HOSTS[host].to_owned(),
        model,
        kinds,
        since,
        until,
    })
}

fn steps() -> impl Strategy<Value = (Vec<Site>, Policy, Vec<Step>)> {
    let sites = || proptest::collection::vec(site(), 3);
    let known = proptest::collection::vec(consent(), 1..5);
    (sites(), policy(), known).prop_flat_map(move |(first, at_first, known)| {
        let count = known.len();
        let given = proptest::sample::subsequence(known, 0..=count);
        let step = prop_oneof![
            3 => given.prop_map(Step::Consents),
            1 => (sites(), policy()).prop_map(|(sites, policy)| Step::Configuration(sites, policy)),
            6 => (0_usize..3, kinds(), proptest::bool::weighted(0.1))
                .prop_map(|(model, kinds, is_kept_here)| Step::Clear(model, kinds, is_kept_here)),
            4 => any::<usize>().prop_map(Step::Take),
            2 => (0_u64..10).prop_map(Step::Later),
        ];
        (Just(first), Just(at_first), proptest::collection::vec(step, 0..40))
    })
}

fn table(sites: &[Site]) -> Settings {
    let profile = |(index, site): (usize, &Site)| modelway_core::ModelProfile {
        site: site.clone(),
        ..plain(&format!("m{index}"))
    };
    Settings { models: sites.iter().enumerate().map(profile).collect(), ..Settings::default() }
}

fn rules(egress: Policy) -> Rules {
    Rules { egress, ..Rules::default() }
}

/// By whose word something may leave.
#[derive(Clone, Debug, PartialEq)]
enum Word {
    OwnNetwork,
    Of(Consent),
}

/// What the twin knows.
struct Twin {
    sites: Vec<Site>,
    policy: Policy,
    consents: Vec<Consent>,
    now: u64,
}

impl Twin {
    fn is_timely(&self, consent: &Consent) -> bool {
        consent.since.unwrap_or(0) <= self.now && consent.until.unwrap_or(u64::MAX) > self.now
    }

    fn judge(&self, model: usize, kinds: DataKinds, is_kept_here: bool) -> Result<Option<Word>, Rejection> {
        let site = &self.sites[model];
        let is_lan = site.location == Locality::Lan;
        match (&site.destination, site.location) {
            (None, Locality::Device) => return Ok(None),
            (Some(_), Locality::Lan) if self.policy.allow_lan && site.is_own_network => {
                return Ok(Some(Word::OwnNetwork));
            }
            (None, _) => return Err(if is_lan { Rejection::Lan } else { Rejection::External }),
            _ => {}
        }
        let holds = |kind| kinds.iter().any(|own| own == kind);
        for (is_in_the_way, why) in [
            (!self.policy.allow_external, if is_lan { Rejection::Lan } else { Rejection::External }),
            (is_kept_here, Rejection::LocalOnly),
            (self.policy.secret_scan, Rejection::Unscanned),
            (holds(DataKind::Images), Rejection::ImagesLeave),
        ] {
            if is_in_the_way {
                return Err(why);
            }
        }
        let covers = |consent: &&Consent| {
            Some(&consent.destination) == site.destination.as_ref()
                && consent.model.clone().is_none_or(|only| only == format!("m{model}"))
                && DataKind::ALL
                    .iter()
                    .all(|kind| !holds(*kind) || consent.kinds.iter().any(|own| own == *kind))
                && self.is_timely(consent)
        };
        let found = self.consents.iter().find(covers);
        found.map(|consent| Some(Word::Of(consent.clone()))).ok_or(Rejection::Consent)
    }

    /// Whether the word still stands as it was given.
    fn stands(&self, word: &Word) -> bool {
        match word {
            Word::OwnNetwork => self.policy.allow_lan,
            Word::Of(consent) => {
                let is_open = self.policy.allow_external && !self.policy.secret_scan;
                is_open && self.consents.contains(consent)
            }
        }
    }
}

/// A pass, and what the twin says of it.
struct Made {
    pass: Pass,
    word: Word,
    is_void: bool,
    is_taken: bool,
}

fn answer(cleared: Result<Option<Pass>, SelectError>) -> Result<Option<Pass>, Rejection> {
    cleared.map_err(|error| match error {
        SelectError::ConsentRequired(..) => Rejection::Consent,
        SelectError::NoneLeft(rejected) => rejected[0].1,
        other => panic!("{other:?}"),
    })
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn nothing_leaves_but_by_a_word_that_stands((sites, policy, steps) in steps()) {
        let router = Router::new(table(&sites), rules(policy)).unwrap();
        let mut twin = Twin { sites, policy, consents: Vec::new(), now: 0 };
        let mut made: Vec<Made> = Vec::new();
        for step in steps {
            match step {
                Step::Later(ms) => twin.now += ms,
                Step::Consents(consents) => {
                    router.set_consents(consents.clone());
                    twin.consents = consents;
                }
                Step::Configuration(sites, policy) => {
                    router.replace(table(&sites), rules(policy), 0).unwrap();
                    (twin.sites, twin.policy) = (sites, policy);
                }
                Step::Clear(model, more, is_kept_here) => {
                    let kinds = more.with(DataKind::Text, true);
                    let request = Request {
                        kinds: Some(more),
                        is_kept_here,
                        task: Some(TaskClass::General),
                        ..Request::default()
                    };
                    let found = answer(router.clear(&format!("m{model}"), &request, "r", || twin.now));
                    match (found, twin.judge(model, kinds, is_kept_here)) {
                        (Ok(None), Ok(None)) => {}
                        (Ok(Some(pass)), Ok(Some(word))) => {
                            prop_assert_eq!(Some(&pass.destination), twin.sites[model].destination.as_ref());
                            prop_assert_eq!((pass.kinds, pass.request_id.as_str()), (kinds, "r"));
                            let id = match &word { Word::OwnNetwork => "allow_lan", Word::Of(consent) => &consent.id };
                            prop_assert_eq!(pass.consent(), id);
                            made.push(Made { pass, word, is_void: false, is_taken: false });
                        }
                        (Err(why), Err(wanted)) => prop_assert_eq!(why, wanted),
                        (found, wanted) => prop_assert!(false, "{:?}, not {:?}", found, wanted),
                    }
                }
                Step::Take(which) if !made.is_empty() => {
                    let count = made.len();
                    let one = &mut made[which % count];
                    let is_timely = match &one.word { Word::OwnNetwork => true, Word::Of(consent) => twin.is_timely(consent) };
                    let is_good = !one.is_void && is_timely;
                    prop_assert_eq!(one.pass.is_valid(twin.now), is_good);
                    prop_assert_eq!(one.pass.take(twin.now), is_good && !one.is_taken);
                    one.is_taken |= is_good;
                }
                Step::Take(_) => {}
            }
            // What does not stand for a moment never stands again.
            for one in &mut made {
                one.is_void |= !twin.stands(&one.word);
            }
        }
    }
}

fn to(host: &str) -> Consent {
    Consent {
        id: "one".to_owned(),
        destination: host.to_owned(),
        model: None,
        kinds: DataKinds::of_text(""),
        since: None,
        until: None,
    }
}

const OPEN: Policy = Policy { allow_external: true, allow_lan: true, secret_scan: false };

fn elsewhere(location: Locality, is_own_network: bool) -> Site {
    Site { location, destination: Some(HOSTS[0].to_owned()), is_own_network }
}

#[test]
fn a_revocation_is_seen_by_every_pass_that_is_taken_after_it() {
    let router = Router::new(table(&[elsewhere(Locality::External, false)]), rules(OPEN)).unwrap();
    let request = Request { task: Some(TaskClass::General), ..Request::default() };
    for _ in 0..300 {
        router.set_consents(vec![to(HOSTS[0])]);
        let is_revoked = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    loop {
                        let was_revoked = is_revoked.load(Ordering::SeqCst);
                        let cleared = router.clear("m0", &request, "r", || 0);
                        let was_revoked_when_cleared = is_revoked.load(Ordering::SeqCst);
                        let is_taken = cleared.as_ref().is_ok_and(|pass| pass.as_ref().unwrap().take(0));
                        assert!(!(was_revoked && cleared.is_ok()), "cleared after the revocation");
                        assert!(!(was_revoked_when_cleared && is_taken), "taken after the revocation");
                        if was_revoked {
                            break;
                        }
                    }
                });
            }
            threads.spawn(|| {
                router.set_consents(Vec::new());
                is_revoked.store(true, Ordering::SeqCst);
            });
        });
    }
}

#[test]
fn two_threads_take_a_pass_once() {
    let router = Router::new(table(&[elsewhere(Locality::Lan, true)]), rules(OPEN)).unwrap();
    for _ in 0..300 {
        let pass = router.clear("m0", &Request::default(), "r", || 0).unwrap().unwrap();
        let taken = std::thread::scope(|threads| {
            let both = [(); 2].map(|()| threads.spawn(|| pass.take(0)));
            both.into_iter().map(|thread| thread.join().unwrap()).filter(|taken| *taken).count()
        });
        assert_eq!(taken, 1);
    }
}

#[test]
fn only_the_own_network_is_asked_what_it_has() {
    let sites = [
        ("here", Site::HERE, Ok(false)),
        ("own", elsewhere(Locality::Lan, true), Ok(true)),
        ("by name", elsewhere(Locality::Lan, false), Err(())),
        ("provider", elsewhere(Locality::External, true), Err(())),
    ];
    let named = || sites.iter().map(|(name, site, _)| ((*name).to_owned(), site.clone())).collect();
    let router = Router::new(table(&[Site::HERE]), Rules { sites: named(), ..rules(OPEN) }).unwrap();
    router.set_consents(vec![to(HOSTS[0])]);
    for (name, _, wanted) in &sites {
        let pass = router.clear_control(name).map_err(|_| ());
        assert_eq!(pass.map(|pass| pass.is_some()), *wanted, "{name}");
    }
    let pass = router.clear_control("own").unwrap().unwrap();
    router.replace(table(&[Site::HERE]), Rules { sites: named(), ..Rules::default() }, 0).unwrap();
    assert!(!pass.take(0) && router.clear_control("own").is_err(), "allow_lan is no more");
    assert_eq!(router.clear_control("nobody").unwrap_err(), modelway_core::router::NoControl::Unknown);
}
