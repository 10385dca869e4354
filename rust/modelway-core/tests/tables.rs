//! The tables of cases in `tests/data`, each row held against the core.

#![allow(clippy::unwrap_used, reason = "what can't be read must fail the test")]

mod support;

use modelway_core::classify::{READABLE, is_background, own_words};
use modelway_core::request::{Message, Role, digest};
use modelway_core::{
    Classify, DataKinds, OutcomeKind, Reading, Request, RequestOutcome, Router, RoutingTable, Rules,
    SelectError, TieBreak,
};
use serde_json::Value;
use support::{all_hold, classifier, consents, ids, plain, rules, settings, strings, task};

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, wanted: &T) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{what} is {seen:?}, not {wanted:?}")) }
}

/// How many classes are at least as likely as `name`, itself left out.
fn above(reading: &Reading, name: &str) -> usize {
    let ours = reading.probabilities[task(name).index()];
    READABLE
        .iter()
        .filter(|other| **other != task(name) && reading.probabilities[other.index()] >= ours)
        .count()
}

#[test]
fn selection() {
    let classifier = classifier();
    let models = settings(&serde_json::json!({"models": ["only"]}));
    let router = Router::new(models, Rules::default()).unwrap();
    all_hold("selection", |row| {
        let text = row["text"].as_str().unwrap();
        let reading = classifier.read(text);
        expect("task", &reading.task, &task(row["task"].as_str().unwrap()))?;
        let confidence = reading.confidence();
        if let Some(bound) = row["above"].as_f64() {
            expect("above", &(f64::from(confidence) > bound), &true)?;
        }
        if let Some(bound) = row["below"].as_f64() {
            expect("below", &(f64::from(confidence) < bound), &true)?;
        }
        if let Some(second) = row["visible"].as_str() {
            expect("visible among the first two", &(above(&reading, second) <= 1), &true)?;
        }
        if let Some(reason) = row["reason"].as_str() {
            let decision =
                router.select(&Request { prompt: text, ..Request::default() }, || 0, || 0).unwrap();
            expect("reason", &decision.reason().short(), &reason)?;
        }
        let (again, evidence) = classifier.explain(text);
        expect("explained reading", &again, &reading)?;
        let characters = text.chars().count();
        expect(
            "evidence inside",
            &evidence.iter().all(|found| found.start < found.end && found.end <= characters),
            &true,
        )
    });
}

#[test]
fn chains() {
    all_hold("chains", |row| match (RoutingTable::build(settings(row)), row["errors"].as_array()) {
        (Ok(table), None) => row["chains"].as_object().unwrap().iter().try_for_each(|(name, wanted)| {
            let chain = table.fallback_chain(name).ok_or_else(|| format!("{name} is unknown"))?;
            expect(name, &ids(&table, chain), &strings(wanted))
        }),
        (Err(errors), Some(wanted)) => {
            let mut paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
            let mut wanted_paths: Vec<&str> =
                wanted.iter().map(|error| error["path"].as_str().unwrap()).collect();
            paths.sort_unstable();
            wanted_paths.sort_unstable();
            expect("the paths", &paths, &wanted_paths)?;
            wanted.iter().try_for_each(|error| {
                let says = error["says"].as_str().unwrap();
                let is_said = errors
                    .iter()
                    .any(|seen| seen.path == error["path"].as_str().unwrap() && seen.message.contains(says));
                expect(says, &is_said, &true)
            })
        }
        (Ok(_), Some(_)) => Err("no error".to_owned()),
        (Err(errors), None) => Err(format!("{errors:?}")),
    });
}

/// A moment of 2027.
const NOW: u64 = 1_800_000_000_000;

#[test]
fn decisions() {
    all_hold("decisions", |row| {
        let router = Router::new(settings(row), rules(row)).map_err(|errors| format!("{errors:?}"))?;
        router.set_consents(consents(row));
        for name in strings(&row["down"]) {
            let outcome = RequestOutcome::of(OutcomeKind::Timeout);
            for _ in 0..5 {
                router.record(&name, None, &outcome, 0, 0.0).ok_or_else(|| format!("no model {name}"))?;
            }
        }
        let asked = &row["request"];
        let request = Request {
            prompt: asked["prompt"].as_str().unwrap_or_default(),
            conversation: None,
            task: asked["task"].as_str().map(task),
            model: asked["model"].as_str(),
            has_tools: asked["tools"].as_bool().unwrap_or_default(),
            has_images: asked["images"].as_u64().is_some_and(|images| images > 0),
            context_tokens: asked["context_tokens"].as_u64(),
            kinds: None,
            is_kept_here: asked["allow_external"].as_bool() == Some(false),
            prefer_warm: None,
        };
        held(row, &router, router.select(&request, || 0, || NOW))
    });
}

fn held(
    row: &Value,
    router: &Router,
    found: Result<modelway_core::Decision, SelectError>,
) -> Result<(), String> {
    match (found, row["error"].as_str()) {
        (Ok(decision), None) => {
            let table = decision.table();
            expect("tie break", &decision.tie_break().map(TieBreak::short), &row["tie_break"].as_str())?;
            expect("model", &decision.model().model_id.as_str(), &row["model"].as_str().unwrap())?;
            expect("reason", &decision.reason().short(), &row["reason"].as_str().unwrap())?;
            expect("chain", &ids(table, decision.chain()), &strings(&row["chain"]))?;
            expect("needs consent", &ids(table, decision.needs_consent()), &strings(&row["needs_consent"]))?;
            let rejected = decision.rejected().into_iter().map(|(index, why)| (index, why.short()));
            expect("rejected", &named(table, rejected), &pairs(&row["rejected"]))
        }
        (Err(error), Some(wanted)) => {
            let (kind, rejected) = match &error {
                SelectError::NoModels => ("no_models", Vec::new()),
                SelectError::UnknownModel(_) => ("unknown_model", Vec::new()),
                SelectError::Embedding => ("embedding", Vec::new()),
                SelectError::ContextTooLong { .. } => ("context_too_long", Vec::new()),
                SelectError::ConsentRequired(..) => ("consent_required", Vec::new()),
                SelectError::NoneLeft(rejected) => ("none_left", rejected.clone()),
            };
            expect("error", &kind, &wanted)?;
            if let SelectError::ConsentRequired(models, kinds) = &error {
                expect("models", &ids(&router.table(), models.clone()), &strings(&row["needs_consent"]))?;
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.short().to_owned()).collect();
                expect("kinds", &kinds, &strings(&row["kinds"]))?;
            }
            if let SelectError::ContextTooLong { needed, longest } = error {
                expect("needed", &Some(needed), &row["needed"].as_u64())?;
                expect("longest", &Some(u64::from(longest)), &row["longest"].as_u64())?;
            }
            let rejected = rejected.into_iter().map(|(index, why)| (index, why.short()));
            expect("rejected", &named(&router.table(), rejected), &pairs(&row["rejected"]))
        }
        (found, wanted) => Err(format!("{found:?} for error {wanted:?}")),
    }
}

fn named(table: &RoutingTable, rejected: impl Iterator<Item = (u16, &'static str)>) -> Vec<(String, String)> {
    rejected.map(|(index, why)| (table.model(index).model_id.clone(), why.to_owned())).collect()
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let text = |item: &Value| item.as_str().unwrap().to_owned();
    value.as_array().into_iter().flatten().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

// No row: the configuration makes a model of every unknown default.
#[test]
fn a_default_must_name_a_model_that_is_there() {
    let mut wrong = settings(
        &serde_json::json!({"models": ["deepseek"], "defaults": {"code": "depseek", "math": "deep"}}),
    );
    wrong.models.push(plain("auto:fast"));
    let errors = RoutingTable::build(wrong).unwrap_err();
    let said: Vec<_> = errors.iter().map(|error| (error.path.as_str(), error.message.as_str())).collect();
    let wanted = [
        ("models[1].id", "that name means a task"),
        ("defaults.code", "did you mean \"deepseek\"?"),
        ("defaults.math", "\"deep\" is a task; name the model that serves it"),
    ];
    assert_eq!(said.len(), wanted.len(), "{said:?}");
    for ((path, message), (wanted_path, fragment)) in said.iter().zip(wanted) {
        assert!(*path == wanted_path && message.contains(fragment), "{path}: {message}");
    }
}

#[test]
fn wrappers() {
    all_hold("wrappers", |row| {
        let text = row["text"].as_str().unwrap();
        let own = own_words(text);
        if row["whole"].as_bool().is_some() {
            return expect("own words", &own, &Some(0..text.len()));
        }
        expect("own words", &own.map(|range| &text[range]), &row["own"].as_str())
    });
}

#[test]
fn background_calls() {
    all_hold("background", |row| {
        let system = row["system"].as_str().unwrap_or_default();
        let is_one = is_background(system, row["prompt"].as_str().unwrap());
        expect("background", &Some(is_one), &row["background"].as_bool())
    });
}

#[test]
fn m13_m14_conversations() {
    let models = settings(&serde_json::json!({"models": ["only"]}));
    let router = Router::new(models, Rules::default()).unwrap();
    all_hold("conversations", |row| {
        let roles = [Role::User, Role::Assistant].into_iter().cycle();
        let turns = strings(&row["turns"]);
        let messages = roles
            .zip(turns)
            .map(|(role, text)| Message { role, text, images: 0, more: DataKinds::NONE })
            .collect();
        let seen = digest(messages, None);
        let request =
            Request { prompt: &seen.prompt, conversation: Some(&seen.conversation), ..Request::default() };
        let decision = router.select(&request, || 0, || 0).unwrap();
        expect("task", &decision.task().short(), &row["task"].as_str().unwrap())?;
        row["reason"].as_str().map_or(Ok(()), |reason| expect("reason", &decision.reason().short(), &reason))
    });
}
