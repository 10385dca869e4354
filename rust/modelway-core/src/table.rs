//! The routing table: an immutable snapshot of models, defaults and chains, built once with every
//! error found, and swapped as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::classify::{Classify, Keywords, OwnWords, SHIPPED, TrainedClassifier, Weights};
use crate::ewma::Millis;
use crate::fallback::{self, Target, Written};
use crate::first_token::Budgets;
use crate::model_set::{ModelIndex, ModelSet};
use crate::named::nearest;
use crate::profile::{CostTier, LicenseTier, Locality, ModelProfile};
use crate::task::TaskClass;

/// What a table is built from: names as written, not yet known to mean anything.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The models; implicit ones stand after the declared ones.
    pub models: Vec<ModelProfile>,
    /// The first model of a class.
    pub defaults: Vec<(TaskClass, String)>,
    /// What a task or model falls back to: names of tasks and models.
    pub fallbacks: Vec<(String, Vec<String>)>,
    /// Keywords of the classifier.
    pub keywords: Keywords,
    /// A file of weights for the classifier; `None`: the shipped ones.
    pub weights: Option<Vec<u8>>,
    /// The probability below which no class is followed; `None`: that of the weights.
    pub threshold: Option<f32>,
    /// The shares in which classes are expected; those not named share the rest as the weights have them.
    pub priors: Vec<(TaskClass, f32)>,
    /// How soon a first token is wanted.
    pub budgets: Budgets,
    /// Whether a model that is in memory passes one that would have to be loaded first.
    pub prefer_warm: bool,
    /// Licences, and tiers of them, whose models serve nothing.
    pub forbidden_licenses: Vec<String>,
}

/// One thing that keeps a table from being built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    /// Where in the configuration, as in `fallbacks.code[1]`.
    pub path: String,
    /// What is wrong with which value, and the remedy.
    pub message: String,
}

/// How a model ranks among a class's candidates; smaller is better. Of equal ranks those of others come last;
/// then licence, cost and latency decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The first choice.
    First,
    /// The n-th of its chain.
    Chain(u16),
    /// The class is one of its strengths.
    Strong,
    /// Nothing is said of the class.
    Neutral,
    /// The class is one of its weaknesses.
    Weak,
}

/// The routing table.
pub struct RoutingTable {
    models: Vec<ModelProfile>,
    names: FxHashMap<String, ModelIndex>,
    /// The first choice of a class: the configured default, else the best model on this machine that is
    /// good at it.
    first: [Option<ModelIndex>; TaskClass::COUNT],
    /// Whether that is the configured default.
    is_first_written: [bool; TaskClass::COUNT],
    written: Written,
    /// For each class all models, best first.
    order: [Vec<(ModelIndex, Rank)>; TaskClass::COUNT],
    budgets: Budgets,
    prefers_warm: bool,
    /// Models whose licence is forbidden.
    forbidden: ModelSet,
    has_models_elsewhere: bool,
    classifier: Arc<dyn Classify>,
}

impl std::fmt::Debug for RoutingTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoutingTable").field("models", &self.models.len()).finish_non_exhaustive()
    }
}

impl RoutingTable {
    /// Builds a table, or tells everything that is wrong.
    ///
    /// # Errors
    /// All problems: unknown names with the nearest known one, names used twice, cycles, dead ends.
    pub fn build(settings: Settings) -> Result<Self, Vec<BuildError>> {
        let mut builder = Builder { errors: Vec::new(), names: FxHashMap::default() };
        builder.index_names(&settings.models);
        let forbidden = forbidden(&settings);
        let first = builder.resolve_first_choices(&settings, &forbidden);
        let written = builder.resolve_fallbacks(&settings, &first);
        let weights = builder.read_weights(&settings);
        let Some(weights) = weights.filter(|_| builder.errors.is_empty()) else {
            return Err(builder.errors);
        };
        let models = settings.models;
        let mut table = Self {
            names: builder.names,
            first,
            is_first_written: std::array::from_fn(|task| {
                settings.defaults.iter().any(|(written, _)| written.index() == task)
            }),
            written,
            order: Default::default(),
            budgets: settings.budgets,
            prefers_warm: settings.prefer_warm,
            forbidden,
            has_models_elsewhere: models.iter().any(|model| !model.site.is_here()),
            classifier: Arc::new(OwnWords(TrainedClassifier::new(weights, &settings.keywords))),
            models,
        };
        table.order = std::array::from_fn(|task| table.ranked(TaskClass::ALL[task]));
        Ok(table)
    }

    fn ranked(&self, task: TaskClass) -> Vec<(ModelIndex, Rank)> {
        let chain = self.chain_of(Target::Task(task));
        let first = self.first[task.index()];
        // Nobody wrote a first choice and nothing leads on from it: then the best is one of equals.
        let is_equal = chain.is_empty() && !self.is_first_written[task.index()];
        let rank_of = |index: ModelIndex, model: &ModelProfile| {
            if first == Some(index) {
                if is_equal { Rank::Strong } else { Rank::First }
            } else if let Some(place) = chain.iter().position(|link| *link == index) {
                Rank::Chain(place as u16)
            } else if model.strengths.contains(task) {
                Rank::Strong
            } else if model.weaknesses.contains(task) {
                Rank::Weak
            } else {
                Rank::Neutral
            }
        };
        let mut order: Vec<_> =
            indexed(&self.models).map(|(index, model)| (index, rank_of(index, model))).collect();
        // A stable sort: what is equal in everything stays in the order of the configuration.
        order.sort_by_key(|(index, rank)| {
            (*rank, self.is_external(*index), first != Some(*index), merit(self.model(*index)))
        });
        order
    }

    /// The models that follow the first choice of a task or a model, each once.
    #[must_use]
    pub fn chain_of(&self, target: Target) -> Vec<ModelIndex> {
        fallback::resolve(target, &self.written, |task| self.first[task.index()])
    }

    /// The chain of a task or a model by name. A model without a chain of its own follows those of the
    /// classes that it is the first choice of.
    #[must_use]
    pub fn fallback_chain(&self, name: &str) -> Option<Vec<ModelIndex>> {
        if let Some(task) = TaskClass::parse(name) {
            return Some(self.chain_of(Target::Task(task)));
        }
        let model = self.find(name)?;
        if self.written.contains_key(&Target::Model(model)) {
            return Some(self.chain_of(Target::Model(model)));
        }
        let mut chain: Vec<ModelIndex> = Vec::new();
        for task in TaskClass::ALL.iter().filter(|task| self.first[task.index()] == Some(model)) {
            for link in self.chain_of(Target::Task(*task)) {
                if !chain.contains(&link) {
                    chain.push(link);
                }
            }
        }
        Some(chain)
    }

    /// Every model, in the order of the configuration.
    #[must_use]
    pub fn models(&self) -> &[ModelProfile] {
        &self.models
    }

    /// The model at `index`, which must be of this table.
    #[must_use]
    pub fn model(&self, index: ModelIndex) -> &ModelProfile {
        &self.models[usize::from(index)]
    }

    /// The model with this id or alias; Ollama's `:latest` may be left out.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ModelIndex> {
        self.names.get(name).copied()
    }

    /// The known name most like `name`.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.names.keys().map(String::as_str))
    }

    /// All models for a class, best first, with their ranks.
    #[must_use]
    pub fn order(&self, task: TaskClass) -> &[(ModelIndex, Rank)] {
        &self.order[task.index()]
    }

    /// Whether a model that is in memory passes one that would have to be loaded first.
    #[must_use]
    pub const fn prefers_warm(&self) -> bool {
        self.prefers_warm
    }

    /// Whether the model serves nothing for its licence.
    #[must_use]
    pub fn is_forbidden(&self, index: ModelIndex) -> bool {
        self.forbidden.contains(index)
    }

    /// Whether the model runs with somebody else: it stands behind those of the same rank that do not.
    #[must_use]
    pub fn is_external(&self, index: ModelIndex) -> bool {
        self.model(index).site.location == Locality::External
    }

    /// Whether any model is not on this device.
    #[must_use]
    pub const fn has_models_elsewhere(&self) -> bool {
        self.has_models_elsewhere
    }

    /// How soon a first token is wanted.
    #[must_use]
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// How soon a first token is wanted for a task.
    #[must_use]
    pub const fn budget_ms(&self, task: TaskClass) -> Millis {
        self.budgets.of(task)
    }

    /// The classifier in force.
    #[must_use]
    pub fn classifier(&self) -> &dyn Classify {
        &*self.classifier
    }
}

/// What orders models that nothing else tells apart, best first: licence, cost, latency.
fn merit(model: &ModelProfile) -> (LicenseTier, CostTier, u64) {
    (model.license_tier, model.cost_tier, model.avg_ttft_ms.unwrap_or(u64::MAX))
}

/// The models whose licence, or its tier, is named as forbidden.
fn forbidden(settings: &Settings) -> ModelSet {
    let mut set = ModelSet::none(settings.models.len());
    let is_meant = |model: &ModelProfile, name: &str| match LicenseTier::parse(name) {
        Some(tier) => tier == model.license_tier,
        None => model.license.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name)),
    };
    for (index, model) in indexed(&settings.models) {
        if settings.forbidden_licenses.iter().any(|name| is_meant(model, name)) {
            set.insert(index);
        }
    }
    set
}

fn indexed(models: &[ModelProfile]) -> impl Iterator<Item = (ModelIndex, &ModelProfile)> {
    (0..).zip(models)
}

/// Collects every error while names are given their meaning.
struct Builder {
    errors: Vec<BuildError>,
    names: FxHashMap<String, ModelIndex>,
}

impl Builder {
    fn read_weights(&mut self, settings: &Settings) -> Option<Weights> {
        let weights = Weights::parse(settings.weights.as_deref().unwrap_or(SHIPPED));
        let weights = weights.map_err(|problem| self.error("classifier.weights".to_owned(), problem)).ok()?;
        let tuned = weights.tuned(settings.threshold, &settings.priors);
        tuned.map_err(|problem| self.error("classifier.priors".to_owned(), problem)).ok()
    }

    fn error(&mut self, path: String, message: String) {
        self.errors.push(BuildError { path, message });
    }

    fn index_names(&mut self, models: &[ModelProfile]) {
        if models.len() > usize::from(ModelIndex::MAX) {
            self.error("models".to_owned(), format!("{} models are too many; at most 65,535", models.len()));
            return;
        }
        for (index, model) in indexed(models) {
            self.claim(format!("models[{index}].id"), &model.model_id, index, models);
        }
        for (index, model) in indexed(models) {
            for (place, alias) in model.aliases.iter().enumerate() {
                self.claim(format!("models[{index}].aliases[{place}]"), alias, index, models);
            }
        }
        // Ollama's default tag may be left out, where that leaves no doubt.
        for (index, model) in indexed(models) {
            if let Some(short) = model.model_id.strip_suffix(":latest") {
                self.names.entry(short.to_owned()).or_insert(index);
            }
        }
    }

    fn claim(&mut self, path: String, name: &str, index: ModelIndex, models: &[ModelProfile]) {
        let is_auto = name.eq_ignore_ascii_case("auto") || name.to_ascii_lowercase().starts_with("auto:");
        if TaskClass::parse(name).is_some() || is_auto {
            let message = format!(
                "a model can't be called {name:?}: that name means a task; choose another id or alias"
            );
            self.error(path, message);
        } else if let Some(other) = self.names.insert(name.to_owned(), index)
            && other != index
        {
            let other = &models[usize::from(other)].model_id;
            self.error(path, format!("{name:?} already means the model {other:?}; choose another name"));
        }
    }

    fn target(&mut self, path: String, name: &str) -> Option<Target> {
        if let Some(task) = TaskClass::parse(name) {
            return Some(Target::Task(task));
        }
        let found = self.names.get(name).copied().map(Target::Model);
        if found.is_none() {
            let known = TaskClass::ALL.iter().map(|task| task.short());
            let remedy = match nearest(name, self.names.keys().map(String::as_str).chain(known)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "declare it under [[models]] or use a task's name".to_owned(),
            };
            self.error(path, format!("no model or task is called {name:?}; {remedy}"));
        }
        found
    }

    fn resolve_first_choices(
        &mut self,
        settings: &Settings,
        forbidden: &ModelSet,
    ) -> [Option<ModelIndex>; TaskClass::COUNT] {
        let mut first = std::array::from_fn(|task| {
            indexed(&settings.models)
                .filter(|(_, model)| model.strengths.contains(TaskClass::ALL[task]))
                .filter(|(_, model)| model.site.is_here())
                .min_by_key(|(index, model)| (forbidden.contains(*index), merit(model)))
                .map(|(index, _)| index)
        });
        for (task, name) in &settings.defaults {
            let path = format!("defaults.{}", task.short());
            match self.target(path.clone(), name) {
                Some(Target::Model(model)) => first[task.index()] = Some(model),
                Some(Target::Task(_)) => {
                    self.error(path, format!("{name:?} is a task; name the model that serves it"));
                }
                None => {}
            }
        }
        first
    }

    fn resolve_fallbacks(
        &mut self,
        settings: &Settings,
        first: &[Option<ModelIndex>; TaskClass::COUNT],
    ) -> Written {
        let mut written = Written::new();
        let mut path_of = HashMap::new();
        for (name, links) in &settings.fallbacks {
            let Some(start) = self.target(format!("fallbacks.{name}"), name) else { continue };
            let mut targets = Vec::with_capacity(links.len());
            for (place, link) in links.iter().enumerate() {
                let path = format!("fallbacks.{name}[{place}]");
                match self.target(path.clone(), link) {
                    Some(Target::Task(task)) if first[task.index()].is_none() => {
                        let task = task.short();
                        let message = format!(
                            "the task {task:?} has no model, so this leads nowhere; add defaults.{task} or take it out"
                        );
                        self.error(path, message);
                    }
                    Some(target) => targets.push(target),
                    None => {}
                }
            }
            let path = format!("fallbacks.{name}");
            if let Some(earlier) = path_of.get(&start) {
                self.error(path, format!("{earlier} is the chain of the same model; keep one of them"));
                continue;
            }
            path_of.insert(start, path);
            written.insert(start, targets);
        }
        self.refuse_cycles(settings, &written, &path_of);
        written
    }

    /// Each cycle is told once, at the entry it was written first.
    fn refuse_cycles(&mut self, settings: &Settings, written: &Written, path_of: &HashMap<Target, String>) {
        let mut told: Vec<Target> = Vec::new();
        for (name, _) in &settings.fallbacks {
            let start = match TaskClass::parse(name) {
                Some(task) => Some(Target::Task(task)),
                None => self.names.get(name).copied().map(Target::Model),
            };
            let Some(start) = start.filter(|start| !told.contains(start)) else { continue };
            if let Some(way) = fallback::cycle_through(start, written) {
                let names: Vec<&str> = way
                    .iter()
                    .map(|target| match target {
                        Target::Task(task) => task.short(),
                        Target::Model(model) => settings.models[usize::from(*model)].model_id.as_str(),
                    })
                    .collect();
                let message = format!(
                    "the chain leads back to where it began ({}); take one entry out",
                    names.join(" -> ")
                );
                let path = path_of.get(&start).cloned().unwrap_or_default();
                self.error(path, message);
                told.extend(way);
            }
        }
    }
}
