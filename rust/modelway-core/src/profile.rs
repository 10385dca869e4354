//! What the router knows of a model: where it runs, what it can do, what it costs.

use crate::named::named_enum;
use crate::task::{TaskClass, TaskSet};

named_enum! {
    /// What a model can do at all.
    ModelCapability {
        /// Writes text.
        TextGeneration => "text_generation",
        /// Writes code well.
        CodeGeneration => "code_generation",
        /// Reasons about mathematics well.
        MathReasoning => "math_reasoning",
        /// Answers at once.
        LowLatency => "low_latency",
        /// Reasons in many steps.
        DeepReasoning => "deep_reasoning",
        /// Writes with style.
        CreativeWriting => "creative_writing",
        /// Calls tools.
        ToolUse => "tool_use",
        /// Reads images.
        VisionInput => "vision_input",
        /// Hears audio.
        AudioInput => "audio_input",
        /// Makes images.
        ImageGeneration => "image_generation",
    }
}

named_enum! {
    /// How soon the first token of a warm model comes.
    LatencyClass {
        /// Under 100 ms.
        Instant => "instant",
        /// 100 to 500 ms.
        Fast => "fast",
        /// 500 ms to 2 s.
        Standard => "standard",
        /// 2 s and more: thinking models.
        Deliberate => "deliberate",
    }
}

impl LatencyClass {
    /// The class of an average time to the first token, in milliseconds.
    #[must_use]
    pub const fn of_ttft_ms(ttft_ms: u64) -> Self {
        match ttft_ms {
            0..100 => Self::Instant,
            100..500 => Self::Fast,
            500..2000 => Self::Standard,
            _ => Self::Deliberate,
        }
    }
}

named_enum! {
    /// What an answer costs in money, cheapest first.
    CostTier {
        /// Nothing.
        Free => "free",
        /// Little.
        Low => "low",
        /// Noticeable.
        Medium => "medium",
        /// Much.
        High => "high",
    }
}

named_enum! {
    /// How free a model's weights are, most preferred first; what is unknown ranks last.
    LicenseTier {
        /// Apache 2.0, MIT and the like.
        Permissive => "permissive",
        /// GPL, LGPL and the like.
        Copyleft => "copyleft",
        /// Community licences with conditions.
        Restricted => "restricted",
        /// An API of somebody else's weights.
        Proprietary => "proprietary",
        /// Not stated.
        Unknown => "unknown",
    }
}

named_enum! {
    /// Where a model runs.
    Locality {
        /// On this machine.
        Device => "device",
        /// On another machine of the local network.
        Lan => "lan",
        /// Anywhere else.
        External => "external",
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(u16);

impl CapabilitySet {
    /// Whether `capability` is in the set.
    #[must_use]
    pub const fn contains(self, capability: ModelCapability) -> bool {
        self.0 & (1 << capability as u16) != 0
    }

    /// The members, in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = ModelCapability> {
        ModelCapability::ALL.iter().copied().filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<ModelCapability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = ModelCapability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |bits, capability| bits | 1 << capability as u16))
    }
}

/// Where a server or a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// How far away.
    pub location: Locality,
    /// What consent to it names: a host, with its port where that is not the usual one. `None` on this device.
    pub destination: Option<String>,
    /// Whether it is on the local network and the user wrote its literal address.
    pub is_own_network: bool,
}

impl Site {
    /// On this device.
    pub const HERE: Self = Self { location: Locality::Device, destination: None, is_own_network: false };

    /// Whether nothing leaves this device on its way there. What has a destination is elsewhere, whatever is said.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.location == Locality::Device && self.destination.is_none()
    }
}

/// One model, as configured or discovered.
#[derive(Clone, Debug)]
pub struct ModelProfile {
    /// The unique name users know it by.
    pub model_id: String,
    /// The backend that serves it.
    pub backend_id: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// Classes it is good at.
    pub strengths: TaskSet,
    /// Classes it should not be asked for.
    pub weaknesses: TaskSet,
    /// What it can do at all.
    pub capabilities: CapabilitySet,
    /// Average time to the first token when warm, where known.
    pub avg_ttft_ms: Option<u64>,
    /// Average speed, where known.
    pub avg_tokens_per_sec: Option<f32>,
    /// Context length in tokens; unknown refuses nothing.
    pub max_context: Option<u32>,
    /// Memory it takes when loaded, where known.
    pub memory_bytes: Option<u64>,
    /// Whether it streams.
    pub supports_streaming: bool,
    /// Whether it takes tool definitions.
    pub supports_tools: bool,
    /// What an answer costs.
    pub cost_tier: CostTier,
    /// How free its weights are.
    pub license_tier: LicenseTier,
    /// Its licence by its short name, where recognised.
    pub license: Option<String>,
    /// Where it runs.
    pub site: Site,
}

impl ModelProfile {
    /// Whether it makes embeddings and is good at nothing else.
    #[must_use]
    pub fn only_makes_embeddings(&self) -> bool {
        self.strengths.iter().eq([TaskClass::Embedding])
    }

    /// The latency class of its average time to the first token, where known.
    #[must_use]
    pub fn latency_class(&self) -> Option<LatencyClass> {
        self.avg_ttft_ms.map(LatencyClass::of_ttft_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::{CapabilitySet, LatencyClass, ModelCapability};

    #[test]
    fn latency_classes_meet_at_the_designs_limits() {
        for (ttft_ms, class) in [
            (0, LatencyClass::Instant),
            (99, LatencyClass::Instant),
            (100, LatencyClass::Fast),
            (499, LatencyClass::Fast),
            (500, LatencyClass::Standard),
            (1_999, LatencyClass::Standard),
            (2_000, LatencyClass::Deliberate),
            (u64::MAX, LatencyClass::Deliberate),
        ] {
            assert_eq!(LatencyClass::of_ttft_ms(ttft_ms), class, "{ttft_ms} ms");
        }
    }

    #[test]
    fn a_capability_set_holds_every_member_apart() {
        for capability in ModelCapability::ALL.iter().copied() {
            let set: CapabilitySet = [capability].into_iter().collect();
            assert_eq!(set.iter().collect::<Vec<_>>(), [capability]);
        }
    }
}
