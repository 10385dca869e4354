//! Which model serves: a pure function of the table, the request, the reading of its text and the
//! models as they are now.
//!
//! Candidates stand in order in the table, so a decision looks at the first and goes on only where a
//! hard filter rejects it: it costs the same with three models and with a hundred. The chain and the
//! rejected candidates are worked out only when somebody reads them.

use std::borrow::Cow;
use std::sync::Arc;

use crate::classify::{Basis, Reading, complexity_of_length, context, is_background};
use crate::egress::{Gate, Sending, WallMillis};
use crate::ewma::Millis;
use crate::fallback::Target;
use crate::kinds::DataKinds;
use crate::live::{Burden, Live, TieBreak};
use crate::model_set::{ModelIndex, ModelSet};
use crate::profile::{ModelCapability, ModelProfile};
use crate::reason::{Rejection, SelectionReason};
use crate::request::{Request, estimate_tokens};
use crate::table::{Rank, RoutingTable};
use crate::task::TaskClass;

/// What a request demands of any model that is to serve it.
#[derive(Clone, Copy, Debug)]
struct Needs {
    tools: bool,
    vision: bool,
    tokens: u64,
}

/// Why no model can serve.
#[derive(Clone, Debug, PartialEq)]
pub enum SelectError {
    /// The table has no models.
    NoModels,
    /// The caller named a model that nothing here has; the nearest known name.
    UnknownModel(Option<String>),
    /// Embeddings are not served.
    Embedding,
    /// Every model that is left for other reasons is too short.
    ContextTooLong {
        /// Tokens needed.
        needed: u64,
        /// The longest context among the models that were left.
        longest: u32,
    },
    /// Only these could serve, and nobody has consented to what the request would send to them; the most wanted first.
    ConsentRequired(Vec<ModelIndex>, DataKinds),
    /// Nothing is left; every model with why.
    NoneLeft(Vec<(ModelIndex, Rejection)>),
}

/// The gate, and when it is passed. Needed only where models are elsewhere.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The gate in force.
    pub gate: Arc<Gate>,
    /// The moment.
    pub now: WallMillis,
}

/// The decision. Keeps the table it was made from, so that names are read lazily and stay right.
#[derive(Clone, Debug)]
pub struct Decision {
    table: Arc<RoutingTable>,
    chosen: ModelIndex,
    explicit: Option<ModelIndex>,
    task: TaskClass,
    reason: SelectionReason,
    reading: Option<Reading>,
    needs: Needs,
    live: Option<Arc<Live>>,
    /// By what models elsewhere are judged; `None`: nothing goes there.
    outgoing: Option<(Checkpoint, Sending)>,
    tie_break: Option<TieBreak>,
}

/// Decides.
///
/// Order of candidates: the caller's model; then for the class the configured default, its chain,
/// models with the class in `strengths` (the best of them stands for a default that is not configured), the others, those with it in `weaknesses`.
/// Among models of the same rank those go first that have not failed lately, then those whose first token is expected
/// in time for the task, then those that begin sooner; models of others stand behind all these. Where the caller, else
/// the configuration, prefers warm models and the caller named none, one that is in memory passes those that would have
/// to be loaded, but for one with the class in `weaknesses` or of others, and one that has failed lately where the other
/// has not.
///
/// # Errors
/// [`SelectError`], when no model can serve.
pub fn select(
    table: &Arc<RoutingTable>,
    request: &Request<'_>,
    live: Option<Arc<Live>>,
    checkpoint: Option<Checkpoint>,
) -> Result<Decision, SelectError> {
    if table.models().is_empty() {
        return Err(SelectError::NoModels);
    }
    let explicit = match request.model {
        None => None,
        Some(name) => Some(
            table
                .find(name)
                .ok_or_else(|| SelectError::UnknownModel(table.nearest(name).map(str::to_owned)))?,
        ),
    };
    let (task, base_reason, reading) = class_of(table, request)?;
    let needs = Needs {
        tools: request.has_tools,
        vision: request.has_images,
        tokens: request.context_tokens.unwrap_or_else(|| estimate_tokens(request.prompt)),
    };
    let mut decision = Decision {
        table: Arc::clone(table),
        chosen: 0,
        explicit,
        task,
        reason: base_reason,
        reading,
        needs,
        live,
        outgoing: checkpoint.map(|checkpoint| (checkpoint, request.sending(task))),
        tie_break: None,
    };
    let mut first_rejected = None;
    let found = decision.first_candidate(|model| match decision.rejection(model) {
        None => true,
        Some(rejection) => {
            first_rejected.get_or_insert(rejection);
            false
        }
    });
    let Some(chosen) = found else { return Err(decision.why_none()) };
    if let Some(named) = explicit.filter(|named| decision.rejection(*named) == Some(Rejection::Consent)) {
        return Err(decision.consent_required(vec![named]));
    }
    (decision.chosen, decision.tie_break) = decision.best_of_equals(chosen);
    decision.reason = match first_rejected {
        Some(rejection) => rejection.as_reason(),
        None if explicit.is_some() => SelectionReason::ExplicitModel,
        None => base_reason,
    };
    let prefers_warm = request.prefer_warm.unwrap_or_else(|| table.prefers_warm());
    if prefers_warm && let Some(warm) = decision.warm_instead() {
        (decision.chosen, decision.tie_break, decision.reason) = (warm, None, SelectionReason::Warm);
    }
    Ok(decision)
}

/// The class of a request, why, and what was read for it.
///
/// # Errors
/// [`SelectError::Embedding`].
pub fn class_of(
    table: &RoutingTable,
    request: &Request<'_>,
) -> Result<(TaskClass, SelectionReason, Option<Reading>), SelectError> {
    match request.task {
        Some(TaskClass::Embedding) => Err(SelectError::Embedding),
        Some(task) => Ok((task, SelectionReason::ExplicitTask, None)),
        None if request.has_tools => Ok((TaskClass::ToolUse, SelectionReason::Structure, None)),
        None if request.may_be_of_a_client() && is_background(request.system(), request.prompt) => {
            Ok((TaskClass::QuickResponse, SelectionReason::Structure, None))
        }
        None => {
            let reading = match request.conversation {
                Some(conversation) => context::read(table.classifier(), request.prompt, conversation),
                None => table.classifier().read(request.prompt),
            };
            Ok((reading.task, reason_of(&reading), Some(reading)))
        }
    }
}

const fn reason_of(reading: &Reading) -> SelectionReason {
    match reading.basis {
        Basis::Empty => SelectionReason::Default,
        Basis::Unsure => SelectionReason::Unsure,
        Basis::Words => SelectionReason::Classified,
        Basis::Structure => SelectionReason::Structure,
        Basis::Context => SelectionReason::Context,
    }
}

impl Decision {
    /// The model that serves.
    #[must_use]
    pub fn model(&self) -> &ModelProfile {
        self.table.model(self.chosen)
    }

    /// The class of the request.
    #[must_use]
    pub const fn task(&self) -> TaskClass {
        self.task
    }

    /// Why this model.
    #[must_use]
    pub const fn reason(&self) -> SelectionReason {
        self.reason
    }

    /// What the classifier read; `None` where the caller's word or the frame of the request decided the class.
    #[must_use]
    pub const fn reading(&self) -> Option<&Reading> {
        self.reading.as_ref()
    }

    /// How much thought the request takes, in [0, 1]; without a reading from its length alone.
    #[must_use]
    pub fn complexity(&self) -> f32 {
        self.reading.as_ref().map_or_else(|| complexity_of_length(self.needs.tokens), |read| read.complexity)
    }

    /// The request's length in tokens, given or estimated.
    #[must_use]
    pub const fn context_tokens(&self) -> u64 {
        self.needs.tokens
    }

    /// How soon the first token is wanted for its task.
    #[must_use]
    pub fn budget_ms(&self) -> Millis {
        self.table.budget_ms(self.task)
    }

    /// The table the decision was made from.
    #[must_use]
    pub fn table(&self) -> &RoutingTable {
        &self.table
    }

    /// The models that follow if the chosen one fails: those that pass the same filters, in order.
    #[must_use]
    pub fn chain(&self) -> Vec<ModelIndex> {
        let mut done = ModelSet::none(self.table.models().len());
        done.insert(self.chosen);
        let mut chain = Vec::new();
        self.first_of(&self.live_order(), |model| {
            if !done.contains(model) && self.rejection(model).is_none() {
                done.insert(model);
                chain.push(model);
            }
            false
        });
        chain
    }

    /// Every model that could not be chosen, or was passed over for one in memory, with why, in the order of candidates.
    #[must_use]
    pub fn rejected(&self) -> Vec<(ModelIndex, Rejection)> {
        let mut seen = ModelSet::none(self.table.models().len());
        let mut rejected = Vec::new();
        // Only where a warm model serves instead, models were passed over that could have served.
        let is_warm = self.reason == SelectionReason::Warm;
        let mut has_come = !is_warm;
        let order = if is_warm { self.live_order() } else { self.table.order(self.task).into() };
        self.first_of(&order, |model| {
            let is_passed = !has_come && model != self.chosen && self.is_cold(model);
            has_come |= model == self.chosen;
            let why = self.rejection(model).or_else(|| is_passed.then_some(Rejection::Cold));
            if let Some(why) = why
                && !seen.contains(model)
            {
                seen.insert(model);
                rejected.push((model, why));
            }
            false
        });
        rejected
    }

    /// The models that lack nothing but consent to what the request would send there.
    #[must_use]
    pub fn needs_consent(&self) -> Vec<ModelIndex> {
        let lacks_consent = |(model, why)| (why == Rejection::Consent).then_some(model);
        self.rejected().into_iter().filter_map(lacks_consent).collect()
    }

    /// The kinds of data that models elsewhere were judged by; none where there are no such models.
    #[must_use]
    pub fn kinds(&self) -> DataKinds {
        self.outgoing.as_ref().map_or(DataKinds::NONE, |(_, sending)| sending.kinds)
    }

    /// What decided between the chosen model and those of the same rank; `None`: none of them is burdened more
    /// than it or has a less free licence, or it came first anyhow.
    #[must_use]
    pub fn tie_break(&self) -> Option<TieBreak> {
        let is_open = || self.reason != SelectionReason::Warm && !self.is_callers(self.chosen);
        self.tie_break
            .or_else(|| (is_open() && self.is_chosen_for_its_license()).then_some(TieBreak::License))
    }

    /// Whether of the models that are equal to the chosen one but for their merits another would serve, if licences
    /// counted nothing.
    fn is_chosen_for_its_license(&self) -> bool {
        let key_of = |model| self.order_of_equals(model);
        let equals = self.equals_of(self.chosen).filter(|model| key_of(*model) == key_of(self.chosen));
        let merits = |index: ModelIndex| {
            let model = self.table.model(index);
            (model.cost_tier, model.avg_ttft_ms.unwrap_or(u64::MAX), index)
        };
        let tier = |index| self.table.model(index).license_tier;
        let otherwise = equals.min_by_key(|model| merits(*model));
        otherwise.is_some_and(|other| tier(self.chosen) < tier(other))
    }

    /// Whether the caller's word leads to `model`.
    fn is_callers(&self, model: ModelIndex) -> bool {
        self.explicit
            .is_some_and(|named| named == model || self.table.chain_of(Target::Model(named)).contains(&model))
    }

    /// The models of the same rank that could serve, `model` among them.
    fn equals_of(&self, model: ModelIndex) -> impl Iterator<Item = ModelIndex> {
        let order = self.table.order(self.task);
        let rank = order.iter().find(|(index, _)| *index == model).map(|(_, rank)| *rank);
        let equals = order.iter().filter(move |(_, other)| Some(*other) == rank).map(|(model, _)| *model);
        equals.filter(|model| self.rejection(*model).is_none())
    }

    /// What orders models of the same rank before their merits do: a request leaves the user's own machines only where
    /// none of them can serve it as well, however long that takes.
    fn order_of_equals(&self, model: ModelIndex) -> (bool, Burden) {
        (self.table.is_external(model), self.burden(model))
    }

    /// Of the models that are equal to `first` so far the one with the least burden, and why it is not `first`.
    fn best_of_equals(&self, first: ModelIndex) -> (ModelIndex, Option<TieBreak>) {
        if self.burden(first) == Burden::default() {
            return (first, None);
        }
        if self.is_callers(first) {
            return (first, None);
        }
        let best = self.equals_of(first).min_by_key(|model| self.order_of_equals(*model)).unwrap_or(first);
        (best, self.burden(best).less_for(self.burden(first)))
    }

    /// The first model in memory, where the chosen one would have to be loaded.
    fn warm_instead(&self) -> Option<ModelIndex> {
        if self.explicit.is_some() || !self.is_cold(self.chosen) {
            return None;
        }
        let is_ailing = |model| self.burden(model).is_ailing;
        let fitting = |(model, rank): &&(ModelIndex, Rank)| {
            let is_fit = *rank != Rank::Weak && !self.table.is_external(*model);
            is_fit && is_ailing(*model) <= is_ailing(self.chosen)
        };
        let order = self.live_order();
        let candidates = order.iter().filter(fitting).map(|(model, _)| *model);
        candidates.into_iter().find(|model| !self.is_cold(*model) && self.rejection(*model).is_none())
    }

    fn is_cold(&self, model: ModelIndex) -> bool {
        self.live.as_ref().is_some_and(|live| live.is_cold(model))
    }

    fn burden(&self, model: ModelIndex) -> Burden {
        self.live.as_ref().map_or_else(Burden::default, |live| live.burden(model, self.budget_ms()))
    }

    /// The order of the class, where equals stand by their burden.
    fn live_order(&self) -> Cow<'_, [(ModelIndex, Rank)]> {
        let order = self.table.order(self.task);
        if self.live.is_none() {
            return Cow::Borrowed(order);
        }
        let mut order = order.to_vec();
        // A stable sort: what is burdened alike stays in the order of the table.
        order.sort_by_key(|(model, rank)| (*rank, self.order_of_equals(*model)));
        Cow::Owned(order)
    }

    /// The first of all models in the table's order that `accept` accepts; the caller's model and its chain may
    /// be offered twice.
    fn first_candidate(&self, accept: impl FnMut(ModelIndex) -> bool) -> Option<ModelIndex> {
        self.first_of(self.table.order(self.task), accept)
    }

    fn first_of(
        &self,
        order: &[(ModelIndex, Rank)],
        mut accept: impl FnMut(ModelIndex) -> bool,
    ) -> Option<ModelIndex> {
        if let Some(explicit) = self.explicit {
            let own = std::iter::once(explicit).chain(self.table.chain_of(Target::Model(explicit)));
            if let Some(found) = own.into_iter().find(|model| accept(*model)) {
                return Some(found);
            }
        }
        order.iter().map(|(model, _)| *model).find(|model| accept(*model))
    }

    /// Whether the request may go to a model.
    fn judge(&self, model: &ModelProfile) -> Result<(), Rejection> {
        if model.site.is_here() {
            return Ok(());
        }
        let Some((Checkpoint { gate, now }, sending)) = &self.outgoing else {
            return Err(Rejection::External);
        };
        gate.judge(&model.site, &model.model_id, *sending, *now).map(|_| ())
    }

    /// Why a model can't be chosen: what no time and no shortening changes comes first, and consent last, so that
    /// nobody is asked for it in vain.
    fn rejection(&self, index: ModelIndex) -> Option<Rejection> {
        let model = self.table.model(index);
        let judged = self.judge(model).err();
        if self.table.is_forbidden(index) {
            Some(Rejection::License)
        } else if judged.is_some_and(|why| why != Rejection::Consent) {
            judged
        } else if self.needs.tools && !model.supports_tools {
            Some(Rejection::Tools)
        } else if self.needs.vision && !model.capabilities.contains(ModelCapability::VisionInput) {
            Some(Rejection::Images)
        } else if model.max_context.is_some_and(|context| u64::from(context) < self.needs.tokens) {
            Some(Rejection::ContextLength)
        } else if self.live.as_ref().is_some_and(|live| !live.is_available(index)) {
            Some(Rejection::Unavailable)
        } else {
            judged
        }
    }

    fn consent_required(&self, models: Vec<ModelIndex>) -> SelectError {
        SelectError::ConsentRequired(models, self.kinds())
    }

    fn why_none(&self) -> SelectError {
        let rejected = self.rejected();
        let needs_consent = self.needs_consent();
        if !needs_consent.is_empty() {
            return self.consent_required(needs_consent);
        }
        let is_too_short = |(model, why): &&(ModelIndex, Rejection)| {
            *why == Rejection::ContextLength && self.judge(self.table.model(*model)).is_ok()
        };
        let longest = rejected
            .iter()
            .filter(is_too_short)
            .filter_map(|(model, _)| self.table.model(*model).max_context)
            .max();
        // Where a model was only too busy or broken, waiting helps and shortening does not.
        match longest {
            Some(longest) if !rejected.iter().any(|(_, why)| *why == Rejection::Unavailable) => {
                SelectError::ContextTooLong { needed: self.needs.tokens, longest }
            }
            _ => SelectError::NoneLeft(rejected),
        }
    }
}
