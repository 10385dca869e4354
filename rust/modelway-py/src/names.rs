//! The named enums of the core as Python classes.
//!
//! A member compares equal to its own short form and hashes like it, so that `decision.task == "code"`
//! and a dictionary by short names both work.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// The short names of kinds of data.
pub(crate) fn kind_names(py: Python<'_>, kinds: modelway_core::DataKinds) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, kinds.iter().map(modelway_core::DataKind::short).collect::<Vec<_>>())
}

macro_rules! python_enum {
    ($enum:ident, $what:literal, $doc:literal, $($variant:ident),+ $(,)?) => {
        #[doc = $doc]
        #[pyclass(frozen, module = "modelway._core")]
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $enum { $($variant),+ }

        impl From<modelway_core::$enum> for $enum {
            fn from(core: modelway_core::$enum) -> Self {
                match core { $(modelway_core::$enum::$variant => Self::$variant),+ }
            }
        }

        impl From<$enum> for modelway_core::$enum {
            fn from(ours: $enum) -> Self {
                match ours { $($enum::$variant => Self::$variant),+ }
            }
        }

        impl $enum {
            fn core(self) -> modelway_core::$enum {
                self.into()
            }

            /// From a member or a name.
            #[allow(dead_code, reason = "not every enum is an argument")]
            pub(crate) fn from_any(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                if let Ok(member) = value.cast::<Self>() {
                    return Ok(*member.get());
                }
                Self::parse(&crate::arguments::text(value.cast::<PyString>()?))
            }
        }

        #[pymethods]
        impl $enum {
            #[getter]
            fn name(&self) -> &'static str {
                self.core().name()
            }

            #[staticmethod]
            fn parse(name: &str) -> PyResult<Self> {
                modelway_core::$enum::parse(name).map(Self::from).ok_or_else(|| {
                    let known = modelway_core::$enum::ALL.iter().flat_map(|member| [member.short(), member.name()]);
                    let remedy = match modelway_core::named::nearest(name, known) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => {
                            let all: Vec<_> = modelway_core::$enum::ALL.iter().map(|member| member.short()).collect();
                            format!("there are {}", all.join(", "))
                        }
                    };
                    PyValueError::new_err(format!("no {} is called {name:?}; {remedy}", $what))
                })
            }

            #[staticmethod]
            fn all(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                PyTuple::new(py, modelway_core::$enum::ALL.iter().map(|member| Self::from(*member)))
            }

            fn __str__(&self) -> &'static str {
                self.core().short()
            }

            fn __repr__(&self) -> String {
                format!("{}.{}", stringify!($enum), self.core().name())
            }

            fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
                if let Ok(member) = other.cast::<Self>() {
                    return self == member.get();
                }
                other.cast::<PyString>().is_ok_and(|text| text.to_string_lossy() == self.core().short())
            }

            fn __ne__(&self, other: &Bound<'_, PyAny>) -> bool {
                !self.__eq__(other)
            }

            fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
                PyString::new(py, self.core().short()).hash()
            }

            fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
                let parse = py.get_type::<Self>().getattr("parse")?;
                (parse, (self.core().short(),)).into_pyobject(py)
            }
        }
    };
}

python_enum!(
    TaskClass,
    "task",
    "What kind of answer a prompt wants.",
    QuickResponse,
    DeepThinking,
    CodeGeneration,
    Mathematical,
    Creative,
    ToolUse,
    Embedding,
    General,
);
python_enum!(
    ModelCapability,
    "capability",
    "What a model can do at all.",
    TextGeneration,
    CodeGeneration,
    MathReasoning,
    LowLatency,
    DeepReasoning,
    CreativeWriting,
    ToolUse,
    VisionInput,
    AudioInput,
    ImageGeneration,
);
python_enum!(
    LatencyClass,
    "latency class",
    "How soon a warm model's first token comes.",
    Instant,
    Fast,
    Standard,
    Deliberate,
);
python_enum!(CostTier, "cost tier", "What an answer costs in money.", Free, Low, Medium, High);
python_enum!(
    LicenseTier,
    "licence tier",
    "How free a model's weights are.",
    Permissive,
    Copyleft,
    Restricted,
    Proprietary,
    Unknown,
);
python_enum!(Locality, "location", "Where a model runs.", Device, Lan, External);
python_enum!(
    SelectionReason,
    "reason",
    "Why this model.",
    ExplicitModel,
    ExplicitTask,
    Classified,
    Structure,
    Context,
    Default,
    Unsure,
    Fallback,
    Capability,
    ContextLength,
    Warm,
    Privacy,
);

/// What a configuration calls so.
pub(crate) fn known<T>(parse: impl Fn(&str) -> Option<T>, name: &str) -> PyResult<T> {
    parse(name).ok_or_else(|| PyValueError::new_err(format!("{name:?} is none of the core's names")))
}

/// What a configuration calls so, all of it.
pub(crate) fn all_known<T, C: FromIterator<T>>(
    parse: impl Fn(&str) -> Option<T>,
    names: &[String],
) -> PyResult<C> {
    names.iter().map(|name| known(&parse, name)).collect()
}
