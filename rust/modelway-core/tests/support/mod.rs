//! The tables in `tests/data` of the repository, which the Python tests read too.
//!
//! A routing row holds `models` (a name, or an object with the fields read below), `defaults`, `fallbacks`,
//! `timeouts`, `privacy`, `consents`, `forbid` and what is asked and expected of them.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a row that can't be read must fail its test")]

use modelway_core::classify::{SHIPPED, Weights};
use modelway_core::egress::Policy;
use modelway_core::{
    Budgets, Consent, CostTier, DataKind, Keywords, LicenseTier, Locality, ModelCapability, ModelProfile,
    RoutingTable, Rules, Settings, Site, TaskClass, TrainedClassifier,
};
use proptest::test_runner::{Config, RngSeed};
use serde_json::Value;

/// So many random cases, the same in every run: a property that fails, fails for everybody.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() }
}

/// The rows of a table, in order.
pub(crate) fn rows(table: &str) -> Vec<Value> {
    let path = format!("{}/../../tests/data/{table}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// The keywords of the default configuration.
pub(crate) fn keywords() -> Keywords {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Keywords(vec![
        (TaskClass::CodeGeneration, words("function code debug implement refactor")),
        (TaskClass::Mathematical, words("calculate solve equation integral prove")),
        (TaskClass::Creative, words("write poem story compose imagine")),
    ])
}

/// The shipped classifier with the keywords of the default configuration.
pub(crate) fn classifier() -> TrainedClassifier {
    let weights = Weights::parse(SHIPPED).unwrap_or_else(|error| panic!("{error}"));
    TrainedClassifier::new(weights, &keywords())
}

/// The strings of a list; none where it is absent.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    let text = |item: &Value| item.as_str().unwrap_or_else(|| panic!("{item} is no string")).to_owned();
    value.as_array().map(|items| items.iter().map(text).collect()).unwrap_or_default()
}

/// The class of a name in a row.
pub(crate) fn task(name: &str) -> TaskClass {
    TaskClass::parse(name).unwrap_or_else(|| panic!("no task {name}"))
}

/// A model of the table, local and without merits, under this name.
pub(crate) fn plain(id: &str) -> ModelProfile {
    ModelProfile {
        model_id: id.to_owned(),
        backend_id: "here".to_owned(),
        aliases: Vec::new(),
        strengths: [].into_iter().collect(),
        weaknesses: [].into_iter().collect(),
        capabilities: [ModelCapability::TextGeneration].into_iter().collect(),
        avg_ttft_ms: None,
        avg_tokens_per_sec: None,
        max_context: None,
        memory_bytes: None,
        supports_streaming: true,
        supports_tools: false,
        cost_tier: CostTier::Free,
        license_tier: LicenseTier::Unknown,
        license: None,
        site: Site::HERE,
    }
}

fn profile(row: &Value) -> ModelProfile {
    if let Some(id) = row.as_str() {
        return plain(id);
    }
    let text = |field: &str| row[field].as_str();
    let tasks = |field: &str| strings(&row[field]).iter().map(|name| task(name)).collect();
    let is = |field: &str| row[field].as_bool().unwrap_or_default();
    let mut capabilities = vec![ModelCapability::TextGeneration];
    capabilities.extend(is("vision").then_some(ModelCapability::VisionInput));
    ModelProfile {
        aliases: strings(&row["aliases"]),
        strengths: tasks("strengths"),
        weaknesses: tasks("weaknesses"),
        capabilities: capabilities.into_iter().collect(),
        avg_ttft_ms: row["ttft_ms"].as_u64(),
        max_context: row["context"].as_u64().map(|tokens| tokens.try_into().unwrap()),
        supports_tools: is("tools"),
        cost_tier: text("cost").map_or(CostTier::Free, |name| CostTier::parse(name).unwrap()),
        license_tier: text("license").map_or(LicenseTier::Unknown, |name| LicenseTier::parse(name).unwrap()),
        license: text("license").map(|tier| license_of(tier).to_owned()),
        site: Site {
            location: text("location").map_or(Locality::Device, |name| Locality::parse(name).unwrap()),
            destination: text("destination").map(str::to_owned),
            is_own_network: text("location") == Some("lan") && !row["destination"].is_null(),
        },
        ..plain(text("id").unwrap())
    }
}

/// A licence of a tier.
fn license_of(tier: &str) -> &str {
    match tier {
        "permissive" => "apache-2.0",
        "copyleft" => "gpl",
        "restricted" => "llama3.1",
        _ => tier,
    }
}

/// The rules that a row describes.
pub(crate) fn rules(row: &Value) -> Rules {
    let is = |key: &str, default| row["privacy"][key].as_bool().unwrap_or(default);
    let egress = Policy {
        allow_external: is("allow_external", false),
        allow_lan: is("allow_lan", false),
        secret_scan: is("secret_scan", true),
    };
    Rules { egress, ..Rules::default() }
}

/// The consents of a row.
pub(crate) fn consents(row: &Value) -> Vec<Consent> {
    let consent = |(place, consent): (usize, &Value)| Consent {
        id: format!("consent-{place}"),
        destination: consent["destination"].as_str().unwrap().to_owned(),
        model: consent["model"].as_str().map(str::to_owned),
        kinds: strings(&consent["kinds"]).iter().map(|kind| DataKind::parse(kind).unwrap()).collect(),
        since: consent["since_s"].as_u64().map(|since| since * 1_000),
        until: consent["until_s"].as_u64().map(|until| until * 1_000),
    };
    row["consents"].as_array().into_iter().flatten().enumerate().map(consent).collect()
}

/// The settings that a row describes.
pub(crate) fn settings(row: &Value) -> Settings {
    let entries = |field: &str| row[field].as_object().cloned().unwrap_or_default();
    Settings {
        models: row["models"].as_array().into_iter().flatten().map(profile).collect(),
        defaults: entries("defaults")
            .iter()
            .map(|(name, model)| (task(name), model.as_str().unwrap().to_owned()))
            .collect(),
        fallbacks: entries("fallbacks").iter().map(|(name, links)| (name.clone(), strings(links))).collect(),
        keywords: keywords(),
        budgets: budgets(&row["timeouts"]),
        forbidden_licenses: strings(&row["forbid"]),
        ..Settings::default()
    }
}

/// The budgets of a row, where it has none those of the default configuration.
fn budgets(row: &Value) -> Budgets {
    let of = |key: &str, default| row[key].as_u64().unwrap_or(default);
    Budgets {
        quick_ms: of("quick_ms", 100),
        standard_ms: of("standard_ms", 2_000),
        deep_ms: of("deep_ms", 30_000),
    }
}

/// The ids of models.
pub(crate) fn ids(table: &RoutingTable, models: impl IntoIterator<Item = u16>) -> Vec<String> {
    models.into_iter().map(|index| table.model(index).model_id.clone()).collect()
}

/// Fails with every row that does not hold, not only the first.
pub(crate) fn all_hold(table: &str, check: impl Fn(&Value) -> Result<(), String>) {
    let rows = rows(table);
    assert!(!rows.is_empty(), "{table} is empty");
    let failures: Vec<String> = rows
        .iter()
        .filter_map(|row| check(row).err().map(|why| format!("{}: {why}", row["id"].as_str().unwrap_or("?"))))
        .collect();
    assert!(failures.is_empty(), "{table}: {} rows do not hold\n{}", failures.len(), failures.join("\n"));
}
