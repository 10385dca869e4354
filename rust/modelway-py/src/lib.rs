//! The Python face of modelway-core: arguments in, one core call, results out. No policy here.

mod admission;
mod arguments;
mod batch;
mod clock;
mod decision;
mod egress;
mod errors;
mod fair_queue;
mod features;
mod gate;
mod memory;
mod names;
mod outcome;
mod profile;
mod rate_limiter;
mod refusals;
mod request;
mod router;
mod rules;
mod semaphore;
mod settings;
mod stakes;
mod training;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// The yardstick of the benchmarks: methods that take their arguments and return None.
#[pyclass(frozen, module = "modelway._core")]
struct EmptyCall;

#[pymethods]
impl EmptyCall {
    #[new]
    fn new() -> Self {
        Self
    }

    #[pyo3(signature = (text))]
    #[expect(clippy::unused_self, reason = "the cost of a method is what is measured")]
    fn call(&self, text: &Bound<'_, PyString>) {
        let _ = text;
    }

    #[pyo3(signature = (text, outcome))]
    #[expect(clippy::unused_self, reason = "the cost of a method is what is measured")]
    fn call_two(&self, text: &Bound<'_, PyString>, outcome: &Bound<'_, outcome::RequestOutcome>) {
        let _ = (text, outcome);
    }
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<names::TaskClass>()?;
    module.add_class::<names::ModelCapability>()?;
    module.add_class::<names::LatencyClass>()?;
    module.add_class::<names::CostTier>()?;
    module.add_class::<names::LicenseTier>()?;
    module.add_class::<names::Locality>()?;
    module.add_class::<names::SelectionReason>()?;
    module.add_class::<profile::ModelProfile>()?;
    module.add_class::<outcome::ModelHealth>()?;
    module.add_class::<outcome::RequestOutcome>()?;
    module.add_class::<request::RoutingRequest>()?;
    module.add_class::<decision::Classification>()?;
    module.add_class::<decision::RoutingDecision>()?;
    module.add_class::<batch::ClassificationBatch>()?;
    module.add_class::<features::FeatureBatch>()?;
    module.add_class::<training::TrainingSet>()?;
    module.add_function(wrap_pyfunction!(training::shipped_weights, module)?)?;
    module.add_function(wrap_pyfunction!(training::silent_weights, module)?)?;
    module.add_function(wrap_pyfunction!(features::feature_batch, module)?)?;
    module.add_function(wrap_pyfunction!(stakes::stakes_of, module)?)?;
    module.add_function(wrap_pyfunction!(stakes::stakes_features, module)?)?;
    module.add("feature_space", features::feature_space(module.py())?)?;
    module.add("classifier_fingerprint", features::fingerprint())?;
    module.add_class::<router::CoreRouter>()?;
    module.add_class::<egress::EgressPass>()?;
    module.add_class::<admission::Admitted>()?;
    module.add_class::<admission::Queued>()?;
    module.add_class::<admission::Effects>()?;
    module.add_class::<admission::Alert>()?;
    module.add_class::<admission::ModelLoad>()?;
    module.add_class::<memory::Resident>()?;
    module.add_class::<gate::Permit>()?;
    module.add_class::<gate::Place>()?;
    module.add_class::<semaphore::CoreSemaphore>()?;
    module.add_class::<fair_queue::CoreFairQueue>()?;
    module.add_class::<rate_limiter::CoreRateLimiter>()?;
    module.add_class::<EmptyCall>()?;
    let facts = PyDict::new(module.py());
    facts.set_item("version", env!("CARGO_PKG_VERSION"))?;
    facts.set_item("profile", if cfg!(debug_assertions) { "debug" } else { "release" })?;
    facts.set_item("target", std::env::consts::ARCH)?;
    module.add("build_profile", facts)
}
