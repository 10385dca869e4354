//! Settings as Python hands them over: plain dicts of plain values, one field each.

use modelway_core::{
    Budgets, CostTier, Keywords, LicenseTier, Locality, ModelCapability, ModelProfile, Rules, Settings, Site,
    TaskClass,
};
use pyo3::prelude::*;

use crate::names::{all_known, known};
use crate::rules::{RawRules, UserHash};

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RawModel {
    id: String,
    backend: String,
    aliases: Vec<String>,
    strengths: Vec<String>,
    weaknesses: Vec<String>,
    capabilities: Vec<String>,
    avg_ttft_ms: Option<u64>,
    avg_tokens_per_sec: Option<f32>,
    max_context: Option<u32>,
    memory_bytes: Option<u64>,
    supports_streaming: bool,
    supports_tools: bool,
    cost_tier: String,
    license_tier: String,
    #[pyo3(default)]
    license: Option<String>,
    location: String,
    #[pyo3(default)]
    destination: Option<String>,
    #[pyo3(default)]
    is_own_network: bool,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RawBudgets {
    quick: u64,
    standard: u64,
    deep: u64,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RawSettings {
    models: Vec<RawModel>,
    defaults: Vec<(String, String)>,
    fallbacks: Vec<(String, Vec<String>)>,
    keywords: Vec<(String, Vec<String>)>,
    weights: Option<Vec<u8>>,
    threshold: Option<f32>,
    priors: Vec<(String, f32)>,
    #[pyo3(default)]
    budgets_ms: Option<RawBudgets>,
    #[pyo3(default)]
    prefer_warm: bool,
    #[pyo3(default)]
    forbid_licenses: Vec<String>,
}

impl RawModel {
    fn profile(self) -> PyResult<ModelProfile> {
        Ok(ModelProfile {
            model_id: self.id,
            backend_id: self.backend,
            aliases: self.aliases,
            strengths: all_known(TaskClass::parse, &self.strengths)?,
            weaknesses: all_known(TaskClass::parse, &self.weaknesses)?,
            capabilities: all_known(ModelCapability::parse, &self.capabilities)?,
            avg_ttft_ms: self.avg_ttft_ms,
            avg_tokens_per_sec: self.avg_tokens_per_sec,
            max_context: self.max_context,
            memory_bytes: self.memory_bytes,
            supports_streaming: self.supports_streaming,
            supports_tools: self.supports_tools,
            cost_tier: known(CostTier::parse, &self.cost_tier)?,
            license_tier: known(LicenseTier::parse, &self.license_tier)?,
            license: self.license,
            site: Site {
                location: known(Locality::parse, &self.location)?,
                destination: self.destination,
                is_own_network: self.is_own_network,
            },
        })
    }
}

/// The core's settings and rules from Python's dict.
pub(crate) fn read(raw: &Bound<'_, PyAny>, users: &UserHash) -> PyResult<(Settings, Rules)> {
    let rules = raw.extract::<RawRules>()?.rules(users)?;
    let raw: RawSettings = raw.extract()?;
    let by_task = |name: &str| known(TaskClass::parse, name);
    let settings = Settings {
        models: raw.models.into_iter().map(RawModel::profile).collect::<PyResult<_>>()?,
        defaults: raw
            .defaults
            .into_iter()
            .map(|(task, model)| Ok((by_task(&task)?, model)))
            .collect::<PyResult<_>>()?,
        fallbacks: raw.fallbacks,
        keywords: Keywords(
            raw.keywords
                .into_iter()
                .map(|(task, words)| Ok((by_task(&task)?, words)))
                .collect::<PyResult<_>>()?,
        ),
        weights: raw.weights,
        threshold: raw.threshold,
        priors: raw
            .priors
            .into_iter()
            .map(|(task, share)| Ok((by_task(&task)?, share)))
            .collect::<PyResult<_>>()?,
        budgets: raw.budgets_ms.map_or_else(Budgets::default, |budgets| Budgets {
            quick_ms: budgets.quick,
            standard_ms: budgets.standard,
            deep_ms: budgets.deep,
        }),
        prefer_warm: raw.prefer_warm,
        forbidden_licenses: raw.forbid_licenses,
    };
    Ok((settings, rules))
}
